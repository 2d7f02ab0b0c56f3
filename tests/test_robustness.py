#!/usr/bin/env python3
"""The program under interruption and bad circumstances: nothing is lost, nothing half-made looks whole.  Prints TAP.

$RESA is the program; each test has a folder of its own."""
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

RESA = os.path.abspath(os.environ.get("RESA", "build/resa"))
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SMOKE = os.path.join(ROOT, "configs", "smoke.yaml")
results = []


def check(name, ok, why=""):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(results)} - {name}" + ("" if ok else f"\n# {why}"), flush=True)


def skip(name, why):
    results.append(True)
    print(f"ok {len(results)} - {name} # SKIP {why}", flush=True)


def resa(folder, *args, **kwargs):
    return subprocess.run([RESA, *args], cwd=folder, capture_output=True, text=True, timeout=200, **kwargs)


def values(folder):
    """Every dataset of every trace, as bytes; attributes hold times and are left out."""
    import h5py
    found = {}
    runs = os.path.join(folder, "results", "smoke", "runs")
    for name in sorted(os.listdir(runs)):
        with h5py.File(os.path.join(runs, name), "r") as f:
            for key in f:
                data = f[key][()]
                found[name, key] = data.tobytes() if hasattr(data, "dtype") and data.dtype.kind != "O" else repr(data)
    return found


def left_over(folder):
    runs = os.path.join(folder, "results", "smoke", "runs")
    return [n for n in os.listdir(runs) if not n.endswith(".h5")] if os.path.isdir(runs) else []


LONGER = ["decode.tokens=160"]


def killed(want, seconds):
    rng = random.Random(7)
    folder = tempfile.mkdtemp(prefix="resa-kill-")
    n_killed = 0
    for _ in range(8):
        child = subprocess.Popen([RESA, "run", SMOKE, *LONGER], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0, 0.8 * seconds))  # somewhere within an undisturbed run
        if child.poll() is None:
            child.kill()
            n_killed += 1
        child.wait()
    done = resa(folder, "run", SMOKE, *LONGER)
    check("killed at random moments and started again: it completes", done.returncode == 0 and n_killed > 0, done.stderr)
    check("the same bytes in every dataset as without", values(folder) == want)
    check("nothing half-made is left", left_over(folder) == [], str(left_over(folder)))
    shutil.rmtree(folder)


def interrupted(want):
    folder = tempfile.mkdtemp(prefix="resa-int-")
    child = subprocess.Popen([RESA, "run", SMOKE, *LONGER], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs = os.path.join(folder, "results", "smoke", "runs")
    for _ in range(2000):  # until the first trace is being written
        if os.path.isdir(runs) and os.listdir(runs):
            break
        time.sleep(0.005)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    check("Ctrl-C ends with status 130", child.returncode == 130, f"{child.returncode}: {err}")
    check("and says how to go on", "to go on: " in err and "resa run" in err, err)
    check("and leaves nothing half-made", left_over(folder) == [], str(left_over(folder)))
    done = resa(folder, "run", SMOKE, *LONGER)
    check("going on completes with the same bytes", done.returncode == 0 and values(folder) == want, done.stderr)
    again = resa(folder, "run", SMOKE, *LONGER)
    check("a complete run is skipped", "were complete already" in again.stderr and "0 of 2 runs done, 2" in again.stderr, again.stderr)
    import h5py
    with h5py.File(os.path.join(runs, sorted(os.listdir(runs))[0]), "r+") as f:
        f.attrs["device"] = "cuda"  # as if another back end had made it
    mixed = resa(folder, "run", SMOKE, *LONGER)
    check("a trace of another device is neither kept nor overwritten", mixed.returncode == 1 and "was made by device cuda" in mixed.stderr,
          f"{mixed.returncode}: {mixed.stderr}")
    shutil.rmtree(folder)


def two_writers():
    folder = tempfile.mkdtemp(prefix="resa-two-")
    first = subprocess.Popen([RESA, "run", SMOKE, "decode.tokens=400"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    lock = os.path.join(folder, "results", "smoke", "runs")
    for _ in range(2000):
        if os.path.isdir(lock) and os.listdir(lock):
            break
        time.sleep(0.005)
    second = resa(folder, "run", SMOKE, "decode.tokens=400")
    check("a second writer is refused with the holder's name", second.returncode == 1 and str(first.pid) in second.stderr, second.stderr)
    first.kill()
    first.wait()
    shutil.rmtree(folder)


def no_room():
    folder = tempfile.mkdtemp(prefix="resa-full-")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    full = resa(folder, "run", SMOKE, preexec_fn=limit)
    check("a full disk: status 1 and one message that names the trace", full.returncode == 1 and ".h5" in full.stderr, full.stderr)
    check("a full disk leaves nothing half-made", left_over(folder) == [], str(left_over(folder)))
    shutil.rmtree(folder)

    folder = tempfile.mkdtemp(prefix="resa-ro-")
    open(os.path.join(folder, "results"), "w").close()  # a file where the folder should be: unwritable for root as well
    blocked = resa(folder, "run", SMOKE)
    check("an unwritable results folder: status 1, named", blocked.returncode == 1 and "results" in blocked.stderr, blocked.stderr)
    shutil.rmtree(folder)


def no_memory():
    folder = tempfile.mkdtemp(prefix="resa-mem-")
    big = ["model={synthetic: {layers: 4, hidden: 1024, heads: 8, kv_heads: 8, vocab: 120000, context: 65536}}"]
    planned = resa(folder, "plan", SMOKE, *big)
    check("the big model can be planned", planned.returncode == 0, planned.stderr)

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (600 << 20, 600 << 20))

    starved = resa(folder, "run", SMOKE, *big, preexec_fn=limit)
    check("no memory: status 1 and a message with the bytes", starved.returncode == 1 and "memory" in starved.stderr, starved.stderr)
    check("no memory leaves nothing half-made", left_over(folder) == [])
    shutil.rmtree(folder)


def state(folder):
    """Every file under results with its bytes and time; the empty dict where there is no such folder."""
    found = {}
    for at, _, names in os.walk(os.path.join(folder, "results")):
        for name in names:
            path = os.path.join(at, name)
            with open(path, "rb") as f:
                found[path] = (f.read(), os.stat(path).st_mtime_ns)
    return found


def refused():
    """What is refused before it starts writes nothing: neither a folder nor another plan over a finished study's."""
    far = ["device=cuda:999", "decode.tokens=17"]
    huge = ["model={synthetic: {layers: 512, hidden: 64, heads: 4, kv_heads: 4, vocab: 256, context: 1048576}}", "prompt.tokens=1000000",
            "decode.tokens=17"]
    folder = tempfile.mkdtemp(prefix="resa-refused-")
    for name, words, what in (("a device that is not there", far, "cuda:999"), ("more memory than there is", huge, "memory")):
        r = resa(folder, "run", SMOKE, *words)
        check(f"{name}: refused, and no folder is made", r.returncode == 1 and what in r.stderr and not os.path.exists(os.path.join(folder, "results")),
              f"{r.returncode}: {r.stderr}")
    done = resa(folder, "run", SMOKE)
    before = state(folder)
    for name, words, what in (("a device that is not there", far, "cuda:999"), ("more memory than there is", huge, "memory")):
        r = resa(folder, "run", SMOKE, *words)
        check(f"{name}: refused, and a finished study stays as it is",
              done.returncode == 0 and r.returncode == 1 and what in r.stderr and len(before) > 3 and state(folder) == before,
              f"{r.returncode}: {r.stderr}")
    shutil.rmtree(folder)


def bad_words():
    folder = tempfile.mkdtemp(prefix="resa-bad-")
    for name, args, status, word in [
        ("no command", [], 2, "usage"),
        ("an unknown command", ["plann", SMOKE], 2, "plann"),
        ("a missing config", ["run", "nowhere.yaml"], 2, "nowhere.yaml"),
        ("a wrong key", ["run", SMOKE, "lanes.sparse.sparisty=0.5"], 2, "sparsity"),
        ("a wrong override", ["plan", SMOKE, "decode.tokens=many"], 2, "decode.tokens"),
        ("a missing model", ["run", SMOKE, "model=nowhere.gguf"], 2, "nowhere.gguf"),
        ("an unknown device", ["run", SMOKE, "device=tpu"], 2, "tpu"),
        ("a device number out of range", ["run", SMOKE, "device=cuda:99999999999"], 2, "with :N, N from 0 to 999"),
        ("a device that is not there", ["run", SMOKE, "device=cuda-bf16:999"], 1, "device=cpu needs none"),
        ("info on nothing", ["info", "nowhere.h5"], 1, "nowhere.h5"),
        ("a report on nothing", ["report", "nowhere"], 1, "nowhere"),
        ("a bound that is no number", ["report", "--bound", "much", "nowhere"], 2, "--bound much"),
        ("a bound after the folder", ["report", "nowhere", "--bound", "much"], 2, "--bound much"),
        ("a bound of nothing", ["report", "--bound", "0.2"], 2, "usage: resa report"),
        ("one folder twice", ["report", ".", "./"], 2, "the same folder"),
    ]:
        r = resa(folder, *args)
        check(f"{name}: status {status}, and what is wrong is named", r.returncode == status and word in r.stderr,
              f"{r.returncode}: {r.stderr}")
    shutil.rmtree(folder)


def main():
    try:
        import h5py  # noqa: F401
    except ImportError:
        skip("interruption", "python3-h5py is missing")
        print("1..1")
        return 0
    folder = tempfile.mkdtemp(prefix="resa-want-")
    began = time.monotonic()
    done = resa(folder, "run", SMOKE, *LONGER)
    seconds = time.monotonic() - began
    check("an undisturbed run", done.returncode == 0, done.stderr)
    want = values(folder)
    again = tempfile.mkdtemp(prefix="resa-again-")
    resa(again, "run", SMOKE, *LONGER, env={**os.environ, "OMP_NUM_THREADS": "1"})
    check("twice, and with another number of threads: the same bytes in every dataset", values(again) == want and len(want) > 50)
    shutil.rmtree(again)
    killed(want, seconds)
    interrupted(want)
    two_writers()
    no_room()
    no_memory()
    refused()
    bad_words()
    shutil.rmtree(folder)
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
