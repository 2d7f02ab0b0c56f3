/* tests/lint.h: read before every file that clang-tidy looks at (with LINT_TEST before a test).
 *
 * It says that fail() and fail_in() return -1: clang-tidy sees one file at a time and would else follow paths on which a
 * failure succeeds.  And it forbids the functions that do not know the room they have.                          */
#ifndef TESTS_LINT_H
#define TESTS_LINT_H

/* clang 14 does not know every feature by gcc's names. */
int lint_cpu_supports(const char *feature);
#define __builtin_cpu_supports(feature) lint_cpu_supports(feature)

#ifndef LINT_TEST /* where fail() is cmocka's */

#include "core/err.h"

#include <stdio.h>

#pragma GCC poison gets sprintf vsprintf

static inline int lint_failed(int unused)
{
    (void)unused;
    return -1;
}

#define fail(...)    lint_failed(fail(__VA_ARGS__))
#define fail_in(...) lint_failed(fail_in(__VA_ARGS__))

#endif
#endif
