"""tests/cuda_san.sh with a sanitizer, a device and tests that are scripts: what it says of each, and how many run at once."""
import glob
import os
import re
import stat
import subprocess
import tempfile

import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Runs the test, as the sanitizer would, between marks in a file of when it ran.
SANITIZER = """#!/bin/sh
echo begin >> "$MARKS"
while [ "${1#/}" = "$1" ]; do shift; done
"$@"; status=$?
echo end >> "$MARKS"
exit $status
"""
TESTS = {
    "clean": 'sleep 0.2; echo "[  PASSED  ] 1 test(s)."',
    "found": 'echo "========= Race reported"; echo "[  PASSED  ] 1 test(s)."; exit 9',
    "hangs": 'echo "========= Invalid read"; exec sleep 20',
    "skips": 'echo "[  SKIPPED ] 1 test(s)"; echo "[  PASSED  ] 0 test(s)."',
    "none": 'echo "[  PASSED  ] 0 test(s)."',
    "host": 'echo "[  PASSED  ] 1 test(s)."; echo "Target application terminated before first instrumented API call"; exit 255',
    "fails": 'echo "[  FAILED  ] 1 test(s)"; echo "ERROR SUMMARY: 0 errors"; exit 1',
    "races": 'echo "[  FAILED  ] 1 test(s)"; echo "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"; exit 1',
}


def script(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def run(folder, *tests, **env):
    settings = {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"], "MARKS": os.path.join(folder, "marks"), "LOGS": os.path.join(folder, "logs"),
                "LIMIT": "1", "TOOLS": "memcheck", "JOBS": "4", **env}
    return subprocess.run([os.path.join(ROOT, "tests", "cuda_san.sh"), *tests], env=settings, capture_output=True, text=True, timeout=120)


with tempfile.TemporaryDirectory() as folder:
    script(os.path.join(folder, "compute-sanitizer"), SANITIZER)
    script(os.path.join(folder, "nvidia-smi"), "#!/bin/sh\n")
    paths = {}
    for name, text in TESTS.items():
        paths[name] = os.path.join(folder, name)
        script(paths[name], f"#!/bin/sh\n{text}\n")

    done = run(folder, *paths.values())
    said = dict(re.match(r"memcheck (\w+) \*: (.*) \(\d+ s\)$", line).groups() for line in done.stdout.splitlines())
    wanted = {"clean": "clean$", "found": "failed, exit status 9: ", "hangs": "did not end in 1 s, and had found 1$", "skips": "skipped: ", "none": "no test of that name: ",
              "host": "uses no device$", "fails": "nothing found, but a test failed under the tool", "races": "nothing found, but a test failed under the tool"}
    for name, pattern in wanted.items():
        tap.report(re.match(pattern, said.get(name, "")), f"what it says of a test that is called {name}", done.stdout + done.stderr)
    tap.report(done.returncode == 1, "what is not clean gives exit status 1", done.returncode)
    done = run(folder, paths["clean"], paths["host"])
    tap.report(done.returncode == 0, "clean and without a device give exit status 0", done.stdout)

    for jobs in (1, 3):
        os.remove(os.path.join(folder, "marks"))
        run(folder, *[paths["clean"] + f":{i}" for i in range(6)], JOBS=str(jobs), LIMIT="20")
        now = most = 0
        with open(os.path.join(folder, "marks"), encoding="utf-8") as marks:
            for line in marks:
                now += 1 if line == "begin\n" else -1
                most = max(most, now)
        tap.report(most == jobs and now == 0, f"{jobs} at once, six in all", most)

    # Tests of a program are found in its source, which lies beside the script.
    listed = []
    for source in sorted(glob.glob(os.path.join(ROOT, "tests", "test_cuda*.c"))):
        program = os.path.join(folder, os.path.basename(source)[:-2])
        script(program, "#!/bin/sh\n" + TESTS["clean"].replace("0.2", "0") + "\n")
        with open(source, encoding="utf-8") as text:
            listed += [(os.path.basename(program), name) for name in re.findall(r"cmocka_unit_test(?:_setup_teardown)?\((\w+)", text.read())]
    done = run(folder, *[os.path.join(folder, name) for name in sorted({program for program, _ in listed})], LIMIT="20")
    told = re.findall(r"(test_cuda\w*) (\w+): clean", done.stdout)
    tap.report(len(listed) > 30 and sorted(told) == sorted(listed), "each test of each program by itself", set(listed) ^ set(told))
    tap.report(len(os.listdir(os.path.join(folder, "logs"))) >= len(listed) + len(TESTS), "each has a log of its own", os.listdir(os.path.join(folder, "logs")))

    os.remove(os.path.join(folder, "nvidia-smi"))
    script(os.path.join(folder, "nvidia-smi"), "#!/bin/sh\nexit 9\n")
    done = run(folder, paths["found"])
    tap.report(done.returncode == 0 and done.stdout.startswith("SKIP"), "without a device it is skipped, and says so", done.stdout)
tap.done()
