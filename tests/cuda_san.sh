#!/usr/bin/env bash
# tests/cuda_san.sh TEST[:PATTERN]..: the device's tests under each tool of compute-sanitizer.
#
# Each test of a program runs by itself, so that one that takes long hides no other; with PATTERN, those that cmocka finds with it, together.
# JOBS run at once (a quarter of the processors if not set, whose threads they share): beside too many others none gets anywhere.
#
# A line for each tool and test as it ends: clean, that it uses no device, the errors found, or that it took longer than LIMIT seconds (1200 if not set).
# TOOLS names fewer tools.  Logs lie in the folder LOGS, a new one of mktemp's if not set.  Exit status 1 where anything else was seen than the
# first two; a machine without the sanitizer or a device is skipped.
set -u
unset CMOCKA_MESSAGE_OUTPUT # as a person reads it is how it is read below
tools=${TOOLS:-racecheck initcheck memcheck synccheck} # the slowest first
logs=${LOGS:-$(mktemp -d)}
jobs=${JOBS:-$((($(nproc) + 3) / 4))}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((($(nproc) + jobs - 1) / jobs))}
if ! command -v compute-sanitizer > /dev/null || ! nvidia-smi > /dev/null 2>&1; then
    echo "SKIP test-cuda-san: no compute-sanitizer, or no device"
    exit 0
fi
mkdir -p "$logs"

# TEST:PATTERN of each test of a program, as its source lists them.
tests_of() {
    local names
    case $1 in *:*) echo "$1" && return ;; esac
    mapfile -t names < <(grep -oE 'cmocka_unit_test[a-z_]*\([A-Za-z_0-9]+' "$(dirname "${BASH_SOURCE[0]}")/$(basename "$1").c" 2> /dev/null | sed 's/.*(//')
    [ ${#names[@]} -gt 0 ] || names=('*')
    printf "$1:%s\n" "${names[@]}"
}

# One tool, one test.  A test of which all was skipped is not clean.
one() {
    local tool=$1 test=${2%%:*} pattern=${2#*:} options=() log begin status verdict
    [ "$tool" = memcheck ] && options=(--report-api-errors no) # the tests ask for more memory than there is, and see what comes of it
    log=$logs/$tool-$(basename "$test")-${pattern//[^a-z_0-9]/_}.log
    begin=$SECONDS
    timeout "${LIMIT:-1200}" compute-sanitizer --tool "$tool" "${options[@]}" --error-exitcode 9 "$test" "$pattern" > "$log" 2>&1
    status=$?
    verdict="failed, exit status $status: $log"
    [ $status = 0 ] && verdict=clean
    [ $status = 1 ] && grep -qE 'SUMMARY: 0 (errors|hazards)' "$log" && verdict="nothing found, but a test failed under the tool (one counts free memory, of which the tool and tests beside it take some): $log"
    [ $status = 0 ] && ! grep -qE 'PASSED +\] [1-9]' "$log" && verdict="no test of that name: $log"
    [ $status = 0 ] && grep -qE 'SKIPPED' "$log" && verdict="skipped: $log"
    [ $status = 255 ] && grep -q 'PASSED' "$log" && grep -q 'before first instrumented API call' "$log" && verdict='uses no device'
    [ $status = 124 ] && verdict="did not end in ${LIMIT:-1200} s, and had found $(grep -c '^========= .*\(Error\|Race\|Invalid\)' "$log")"
    echo "$tool $(basename "$test") $pattern: $verdict ($((SECONDS - begin)) s)"
    [ "$verdict" = clean ] || [ "$verdict" = 'uses no device' ]
}

failed=0 running=0
for tool in $tools; do
    for test in "$@"; do
        while read -r each; do
            if [ $running = "$jobs" ]; then
                wait -n || failed=1
                running=$((running - 1))
            fi
            one "$tool" "$each" < /dev/null &
            running=$((running + 1))
        done < <(tests_of "$test")
    done
done
while [ $running -gt 0 ]; do
    wait -n || failed=1
    running=$((running - 1))
done
exit $failed
