"""experiments/waiting.h: what the threads' library read when the program runs, as the library itself says (OMP_DISPLAY_ENV)."""
import os
import re
import subprocess

RESA = os.environ.get("RESA", "build/resa")


def spins(**settings):
    """GOMP_SPINCOUNT each time the program was loaded, and its output."""
    env = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | settings
    done = subprocess.run([RESA, "--version"], env=env | {"OMP_DISPLAY_ENV": "verbose"}, capture_output=True, text=True, timeout=60)
    return re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr), done.stdout


number = 0


def check(name, good, skip=""):
    global number
    number += 1
    print(f"{'ok' if good or skip else 'not ok'} {number} - {name}{' # SKIP ' + skip if skip else ''}")


plain, said = spins()
other = "" if plain else "not GNU OpenMP"
check("the program sets it once, and says what it says", len(plain) == 2 and plain[-1] == "1000" and said.startswith("resa "), other)
check("a user's GOMP_SPINCOUNT stands", spins(GOMP_SPINCOUNT="7")[0] == ["7"], other)
check("a user's OMP_WAIT_POLICY stands", len(spins(OMP_WAIT_POLICY="passive")[0]) == 1, other)
print(f"1..{number}")
