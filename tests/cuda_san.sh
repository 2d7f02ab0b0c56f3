#!/usr/bin/env bash
# tests/cuda_san.sh TEST[:PATTERN]..: the device's tests under each tool of compute-sanitizer, side by side.
#
# A line for each tool and test: clean, that it uses no device, the errors found, or that it took longer than LIMIT seconds (1200 if not set).
# TOOLS names fewer tools.  Logs lie in the folder LOGS, a new one of mktemp's if not set.  Exit status 1 where anything else was seen than the
# first two; a machine without the sanitizer or a device is skipped.
set -u
tools=${TOOLS:-memcheck racecheck initcheck synccheck}
logs=${LOGS:-$(mktemp -d)}
if ! command -v compute-sanitizer > /dev/null || ! nvidia-smi > /dev/null 2>&1; then
    echo "SKIP test-cuda-san: no compute-sanitizer, or no device"
    exit 0
fi
mkdir -p "$logs"

# One tool, one test.  A test of which all was skipped is not clean.
one() {
    local tool=$1 test=${2%%:*} pattern=${2#*:} options=() log begin status verdict
    [ "$pattern" = "$2" ] && pattern='*'
    log=$logs/$tool-$(basename "$test").log
    [ "$tool" = memcheck ] && options=(--report-api-errors no) # the tests ask for more memory than there is, and see what comes of it
    begin=$SECONDS
    timeout "${LIMIT:-1200}" compute-sanitizer --tool "$tool" "${options[@]}" --error-exitcode 9 "$test" "$pattern" > "$log" 2>&1
    status=$?
    verdict="failed, exit status $status: $log"
    [ $status = 0 ] && verdict=clean
    [ $status = 1 ] && grep -q 'ERROR SUMMARY: 0 errors' "$log" && verdict="nothing found, but a test failed under the tool (one counts free memory, of which the tool takes some): $log"
    [ $status = 0 ] && grep -qE 'SKIPPED' "$log" && verdict="skipped: $log"
    [ $status = 255 ] && grep -q 'PASSED' "$log" && grep -q 'before first instrumented API call' "$log" && verdict='uses no device'
    [ $status = 124 ] && verdict="did not end in ${LIMIT:-1200} s, and had found $(grep -c '^========= .*\(Error\|Race\|Invalid\)' "$log")"
    echo "$tool $(basename "$test") $pattern: $verdict ($((SECONDS - begin)) s)"
    [ "$verdict" = clean ] || [ "$verdict" = 'uses no device' ]
}

pids=()
for test in "$@"; do
    for tool in $tools; do
        one "$tool" "$test" &
        pids+=($!)
    done
done
failed=0
for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
exit $failed
