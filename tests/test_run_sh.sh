#!/usr/bin/env bash
# tests/test_run_sh.sh: the scripts themselves: run.sh, the include rule, the summing up of tests.
#
# run.sh is tried in a copy of the project that holds a stub in place of the program, in a folder with spaces in its
# path.  The stub writes down how it was called.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
n=0 bad=0

# check NAME COMMAND..: one test; what the command printed is shown when it fails.
check() {
    local name=$1
    shift
    n=$((n + 1))
    if "$@" > "$scratch/said" 2>&1; then
        echo "ok $n - $name"
    else
        bad=1
        echo "not ok $n - $name"
        sed 's/^/# /' "$scratch/said"
    fi
}

# gives STATUS PATTERN COMMAND..: the command's status, and an extended regular expression that its output matches.
gives() {
    local want=$1 pattern=$2 status out
    shift 2
    out=$("$@" 2>&1 < /dev/null)
    status=$?
    printf 'status %s:\n%s\n' "$status" "$out"
    [ "$status" -eq "$want" ] && grep -Eq -- "$pattern" <<< "$out"
}

is() { # is WANT GOT
    printf 'wanted: %s\n   got: %s\n' "$1" "$2"
    [ "$1" = "$2" ]
}

# ---- run.sh ---------------------------------------------------------------------------------------------------------
project="$scratch/a project"
mkdir -p "$project/configs" "$project/stubs" "$scratch/else where"
cp "$here/run.sh" "$project/"
echo 'name: quickstart' > "$project/configs/quickstart.yaml"
echo 'name: own' > "$scratch/else where/my own.yaml"
export CALLS="$scratch/calls"

# All packages are there, as far as dpkg-query says; MISSING names one that is not.
cat > "$project/stubs/dpkg-query" <<'END'
#!/bin/sh
for last; do :; done
[ "$last" = "${MISSING-}" ] && exit 1
echo installed
END
cat > "$project/stubs/apt-get" <<'END'
#!/bin/sh
echo "apt-get $*" >> "$CALLS"
case $* in *install*) exit "${APT_STATUS-0}" ;; esac
END
cat > "$project/stubs/id" <<'END'
#!/bin/sh
echo "${STUB_UID-0}"
END
cat > "$project/stubs/nvcc" <<'END'
#!/bin/sh
END
cat > "$project/stubs/sudo" <<'END'
#!/bin/sh
echo "sudo $1 $2" >> "$CALLS"
"$@"
END
cat > "$project/Makefile" <<'END'
all: build/resa
build/resa: resa.sh
	@test -z "$$FAIL_BUILD" || { echo "cc: no such thing" >&2; exit 1; }
	@mkdir -p build
	@cp resa.sh build/resa
where:
	@echo build/resa
END
cat > "$project/resa.sh" <<'END'
#!/bin/bash
{ printf '%s' "$(basename "$PWD")"; printf ' [%s]' "$@"; echo; } >> "$CALLS"
[ "$1" = "${FAIL_AT-}" ] && { echo "resa: failed as asked" >&2; exit "$FAIL_STATUS"; }
case $1 in
    run)
        if [ -n "${WAIT-}" ]; then
            trap 'sleep 0.2; echo "interrupted; to go on: the same again"; exit 130' INT
            touch "$WAIT"
            for i in $(seq 100); do sleep 0.1; done
        fi
        mkdir -p results/x
        touch results/x/index.csv
        echo 'run 1 of 1'
        echo 'results: results/x'
        ;;
    report) touch "$2/report.html" ;;
esac
END
chmod +x "$project"/stubs/* "$project/resa.sh"
export PATH="$project/stubs:$PATH"
run="$project/run.sh"
calls() { touch "$CALLS"; tr '\n' ';' < "$CALLS"; rm -f "$CALLS"; }

check "--help says how it is called" gives 0 'usage: ./run.sh \[CONFIG\]' "$run" --help
check "an unknown option is refused" gives 2 'unknown option: --fast' "$run" --fast
check "a missing config is refused" gives 2 'no such config: no.yaml' "$run" no.yaml
check "and the project's own are named" gives 2 '^configs/quickstart.yaml$' "$run" no.yaml
check "an argument that overrides nothing is refused" gives 2 'not of the form key=value: fast' "$run" configs/quickstart.yaml fast
check "--setup takes no config" gives 2 'no further arguments' "$run" --setup configs/quickstart.yaml
check "a refusal calls nothing" is '' "$(calls)"

check "--setup with all in place says nothing" is '' "$("$run" --setup=dev 2>&1)"
check "and installs nothing" is '' "$(calls)"
export MISSING=libgsl-dev
check "--setup says what it installs" gives 0 'installing with .*apt-get: libgsl-dev$' "$run" --setup
check "and installs that alone" is 'apt-get -q install -y --no-install-recommends libgsl-dev' \
    "$(grep -o 'apt-get -q install.*' "$CALLS")"
export MISSING=python3-xarray
check "what only the tests need is not installed to run" is '' "$("$run" --setup 2>&1)"
check "but to test" gives 0 'apt-get: python3-xarray$' "$run" --setup=test
export APT_STATUS=100
check "a failed installation is an error that names the packages" gives 1 'could not install: python3-xarray' "$run" --setup=test
unset APT_STATUS
rm -f "$CALLS"
check "who is not root installs through sudo" gives 0 'installing with sudo apt-get' env STUB_UID=1000 "$run" --setup=test
check "update and installation both" is 2 "$(grep -c '^sudo ' "$CALLS")"
unset MISSING
# A PATH of a system that is neither Debian nor has the libraries.
mkdir "$scratch/bare"
for tool in bash dirname tr; do ln -s "$(command -v "$tool")" "$scratch/bare/$tool"; done
check "without apt-get it lists what to install" gives 1 'missing, by their Debian names: gcc make .*libhdf5-dev' \
    env PATH="$scratch/bare" "$scratch/bare/bash" "$run" --setup
mkdir "$scratch/no sudo"
cp "$project/stubs/apt-get" "$project/stubs/dpkg-query" "$scratch/no sudo/"
for tool in bash sh dirname tr head; do ln -s "$(command -v "$tool")" "$scratch/no sudo/$tool"; done
printf '#!/bin/sh\necho 1000\n' > "$scratch/no sudo/id"
chmod +x "$scratch/no sudo/id"
check "without root or sudo it says what to have installed" gives 1 'Neither root nor sudo here.*apt-get install nettle-dev$' \
    env PATH="$scratch/no sudo" MISSING=nettle-dev "$scratch/no sudo/bash" "$run" --setup
rm -f "$CALLS"

# A caller's folder with a quickstart of its own, which is not the default's.
mkdir "$scratch/else where/configs"
echo 'name: not this' > "$scratch/else where/configs/quickstart.yaml"
cd "$scratch/else where" || exit 1
check "by default it builds, fetches, runs and reports the quickstart" gives 0 "results: $scratch/a project/results/x" "$run"
check "in this order, from the project's folder" is \
    'a project [fetch] [configs/quickstart.yaml];a project [run] [configs/quickstart.yaml];a project [report] [results/x];' "$(calls)"
check "the report is where it says" gives 0 "^report.html +$scratch/a project/results/x/report.html" "$run"
check "a second build says nothing" is '' "$("$run" 2>&1 > /dev/null)"
rm -f "$CALLS"
check "a config and overrides of another folder" gives 0 'results: ' "$run" 'my own.yaml' 'a.b=[1, 2]' name=x
check "reach the program whole" is "a project [fetch] [$scratch/else where/my own.yaml] [a.b=[1, 2]] [name=x]" \
    "$(head -n 1 "$CALLS")"
rm -f "$CALLS"
check "overrides alone go with the quickstart" gives 0 'results: ' "$run" a=1
check "and only with it" is 'a project [fetch] [configs/quickstart.yaml] [a=1]' "$(head -n 1 "$CALLS")"
rm -f "$CALLS"
rm -r configs
check "a config of the project is found from anywhere" gives 0 'results: ' "$run" configs/quickstart.yaml
rm -f "$CALLS"
check "or by its path" gives 0 'results: ' "$run" '../a project/configs/quickstart.yaml'
check "which the program sees from the root" is 'a project [fetch] [configs/quickstart.yaml]' "$(head -n 1 "$CALLS")"
rm -f "$CALLS"
check "a failed fetch passes its status on" env FAIL_AT=fetch FAIL_STATUS=2 \
    bash -c '"$1"; [ $? -eq 2 ]' - "$run"
check "and nothing runs after it" is 'a project [fetch] [configs/quickstart.yaml];' "$(calls)"
check "a failed run passes its status on" env FAIL_AT=run FAIL_STATUS=1 bash -c '"$1"; [ $? -eq 1 ]' - "$run"
check "and nothing is reported" is 'a project [fetch] [configs/quickstart.yaml];a project [run] [configs/quickstart.yaml];' "$(calls)"
check "a failed report passes its status on" env FAIL_AT=report FAIL_STATUS=1 bash -c '"$1"; [ $? -eq 1 ]' - "$run"
touch "$project/resa.sh"
check "a failed build is an error" gives 1 'the build failed' env FAIL_BUILD=1 "$run"
rm -f "$CALLS"

# Ctrl-C: the terminal sends SIGINT to the whole foreground group, here a group made by setsid.  A shell starts what is
# in the background with SIGINT ignored, hence Python, which starts it with the default.
interrupt() {
    WAIT="$scratch/waits" /usr/bin/python3 - "$run" <<'END'
import os, signal, subprocess, sys, time
p = subprocess.Popen(sys.argv[1], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                     preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
for _ in range(200):
    if os.path.exists(os.environ["WAIT"]): break
    time.sleep(0.05)
os.killpg(p.pid, signal.SIGINT)
said, _ = p.communicate(timeout=20)
print(p.returncode, said)
sys.exit(not (p.returncode == 130 and "interrupted; to go on" in said))
END
}
check "Ctrl-C ends it with 130 and with what the program said" interrupt

# ---- the include rule -----------------------------------------------------------------------------------------------
copy="$scratch/copy"
mkdir -p "$copy/core" "$copy/kernels" "$copy/experiments" "$copy/analysis" "$copy/tests"
cp "$here/Makefile" "$copy/"
cp "$here/tests/layers.awk" "$copy/tests/"
for folder in core kernels experiments analysis; do echo '#include "core/err.h"' > "$copy/$folder/a.c"; done
printf '#include "core/a.h"\n#include "kernels/a.h"\n#include "experiments/a.h"\n#include "analysis/a.h"\n' > "$copy/experiments/main.c"
layers() { make -s -C "$copy" layers; }
forbidden() { # forbidden FILE INCLUDE: is refused where it stands
    printf '#include <stdio.h>\n#include "%s"\n' "$2" > "$copy/$1"
    gives 2 "^$1:2: error: " layers
    local result=$?
    rm "$copy/$1"
    return $result
}
check "the include rule lets pass what is allowed, and main.c all" gives 0 '^$' layers
check "core may not include kernels" forbidden core/b.h kernels/x.h
check "core may not include analysis" forbidden core/b.c analysis/x.h
check "kernels may not include experiments" forbidden kernels/b.cu experiments/x.h
check "experiments may not include analysis" forbidden experiments/b.c analysis/x.h
check "analysis may not include experiments" forbidden analysis/b.c experiments/x.h
check "analysis may not include kernels" forbidden analysis/b.c kernels/x.h
check "nothing includes tests" forbidden core/b.c tests/x.h
check "an include is written from the root" forbidden core/b.c err.h
check "and not by way of .." forbidden core/b.c ../kernels/x.h
check "this project keeps the rule" gives 0 '^$' make -s -C "$here" layers

# ---- summing up -----------------------------------------------------------------------------------------------------
sum() { TEST_SECONDS=2 bash "$here/tests/run_tests.sh" "$@"; }
tap() { # tap NAME LINE..: a test script that prints the lines and then runs what FINALLY holds
    local name=$1
    shift
    { printf 'echo "%s"\n' "$@"; echo "${FINALLY-}"; } > "$scratch/$name.sh"
}
tap good '1..2' 'ok 1 - a' 'ok 2 - b'
tap skips '1..3' 'ok 1 - a # SKIP no model' '# skip: no model' 'not ok 2 # SKIP b' 'not ok 3 # SKIP c'
tap fails '1..2' 'ok 1 - a' 'not ok 2 - b' '# b is off by one'
tap short '1..3' 'ok 1 - a'
tap mute 'hello'
FINALLY='exit 3' tap status '1..1' 'ok 1 - a'
# shellcheck disable=SC2016
FINALLY='kill -SEGV $$' tap crash '1..1' 'ok 1 - a'
FINALLY='sleep 20' tap slow '1..1' 'ok 1 - a'
tap none '1..0 # SKIP nothing to test'
check "what passes says one line" is '2 passed, 0 failed, 0 skipped' "$(sum "$scratch/good.sh")"
check "skipped tests are listed by reason" is \
    '2 skipped: no model (skips.sh);1 skipped: no reason given (skips.sh);0 passed, 0 failed, 3 skipped;' \
    "$(sum "$scratch/skips.sh" | tr '\n' ';')"
check "a file may skip itself" gives 0 '^1 skipped: nothing to test \(none.sh\)$' sum "$scratch/none.sh"
check "a failure is shown with its output" gives 1 '^# b is off by one$' sum "$scratch/fails.sh"
check "and is counted beside the rest" gives 1 '^3 passed, 1 failed, 0 skipped$' sum "$scratch/fails.sh" "$scratch/good.sh"
check "a crash is a failure" gives 1 'crashed: signal 11' sum "$scratch/crash.sh"
check "fewer results than planned are a failure" gives 1 'planned 3 tests, gave the results of 1' sum "$scratch/short.sh"
check "no TAP is a failure" gives 1 'printed no TAP' sum "$scratch/mute.sh"
check "a bad exit status is a failure" gives 1 'exit status 3' sum "$scratch/status.sh"
check "a test that hangs is stopped" gives 1 'stopped after 2 seconds' sum "$scratch/slow.sh"
check "a missing test is a failure" gives 1 '0 passed, 1 failed' sum "$scratch/not there"

echo "1..$n"
exit "$bad"
