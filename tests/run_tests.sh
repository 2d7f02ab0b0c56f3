#!/usr/bin/env bash
# tests/run_tests.sh TEST..: runs test programs (binaries, .py, .sh) that print TAP and sums them up.
#
# Says nothing of what passed.  Of a program with a failure all else is shown; skipped tests are listed by their reason;
# the last line is `N passed, N failed, N skipped`.  Exit status 1 if anything failed.  A program that crashes, runs past
# TEST_SECONDS (default 300), prints no TAP or fewer results than it planned has failed, whatever it printed before.
#
# The reason of a skipped cmocka test is what it printed before skip(), as in print_message("# skip: no model\n").
set -uo pipefail

export CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1}"
export UBSAN_OPTIONS="${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}"
export GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-1000}" # as the program sets it (experiments/waiting.h)
unset MAKEFLAGS MFLAGS MAKELEVEL # a test that runs make starts afresh
seconds=${TEST_SECONDS:-300}
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
passed=0 failed=0 skipped=0
limit=(--kill-after=5 "$seconds")
# On a terminal the tests stay in its foreground group, or Ctrl-C would not reach them.
if [ -t 2 ]; then limit=(--foreground "${limit[@]}"); fi

# tally TEST STATUS < LOG: one line "PASSED FAILED SKIPPED"; reasons of skips are added to the file skips, what else is
# wrong to the file wrong.
tally() {
    awk -v file="$1" -v status="$2" -v seconds="$seconds" -v skips="$scratch/skips" -v wrong="$scratch/wrong" '
        function skip(reason, name) { n_skip++; print reason "\t" file "\t" name >> skips }
        function broken(what) { n_fail++; print file ": " what >> wrong }
        /^1\.\.[0-9]+/ {
            n_plan += substr($1, 4)
            if (substr($1, 4) == 0 && match(toupper($0), /# *SKIP/)) {
                skip(substr($0, RSTART + RLENGTH + 1), "all")
                all = 1
            }
            next
        }
        /^Bail out!/ { broken($0); next }
        /^(not )?ok([ \t]|$)/ {
            n_point++
            if (match(toupper($0), /# *SKIP/)) {
                before = substr($0, 1, RSTART - 1); after = substr($0, RSTART + RLENGTH)
                sub(/^[ \t:]+/, "", after); sub(/[ \t]+$/, "", after)
                if (before ~ / - /) { sub(/^.* - /, "", before); skip(after == "" ? "no reason given" : after, before) }
                else skip(note == "" ? "no reason given" : note, after)
            } else if ($1 == "ok") n_pass++
            else n_fail++
            note = ""
            next
        }
        {
            line = $0
            sub(/^[# \t]+/, "", line)
            if (line != "") { sub(/^[Ss][Kk][Ii][Pp][A-Za-z]*[: \t]+/, "", line); note = line }
        }
        END {
            if (status == 124 || status == 137) broken("stopped after " seconds " seconds")
            else if (status > 128) broken("crashed: signal " status - 128)
            else if (n_point == 0 && !all) broken("printed no TAP (exit status " status ")")
            else if (n_point != n_plan && !all) broken("planned " n_plan + 0 " tests, gave the results of " n_point)
            else if (status != 0 && n_fail == 0) broken("exit status " status)
            print n_pass + 0, n_fail + 0, n_skip + 0
        }'
}

: > "$scratch/skips"
for test in "$@"; do
    case $test in
        *.py) command=(/usr/bin/python3 "$test") ;;
        *.sh) command=(bash "$test") ;;
        */*) command=("$test") ;;
        *) command=("./$test") ;;
    esac
    if [ -t 2 ]; then printf '\r\033[K%s' "$test" >&2; fi
    : > "$scratch/wrong"
    # In a subshell without stderr, so that bash's own word on a crash stays out of the way.
    (timeout "${limit[@]}" "${command[@]}" < /dev/null > "$scratch/log" 2>&1; exit $?) 2> /dev/null
    status=$?
    read -r p f s < <(tally "$test" "$status" < "$scratch/log")
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    if [ -t 2 ]; then printf '\r\033[K' >&2; fi
    if [ "$f" -gt 0 ]; then
        printf -- '---- %s: %d failed\n' "$test" "$f"
        grep -v "^ok[ \t]" "$scratch/log"
        cat "$scratch/wrong"
        printf '\n'
    fi
done

# "N skipped: REASON (test, test)": one line for each reason.
awk -F '\t' '
    {
        if (!($1 in n)) order[++n_reasons] = $1
        n[$1]++
        name = $2; sub(/^.*\//, "", name)
        if (!(($1, name) in seen)) { seen[$1, name] = 1; where[$1] = where[$1] (where[$1] == "" ? "" : ", ") name }
    }
    END { for (i = 1; i <= n_reasons; i++) printf "%d skipped: %s (%s)\n", n[order[i]], order[i], where[order[i]] }
' "$scratch/skips"
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
