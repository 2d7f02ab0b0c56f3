/* tests/lint.h: read before every file that clang-tidy looks at.
 *
 * It says that fail() and fail_in() return -1: clang-tidy sees one file at a time and would else follow paths on which a
 * failure succeeds.  And it forbids the functions that know neither the room they have nor whether they failed.  */
#ifndef TESTS_LINT_H
#define TESTS_LINT_H

#include "core/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison atoi atol atoll atof gets sprintf vsprintf strtok

static inline int lint_failed(int unused)
{
    (void)unused;
    return -1;
}

#define fail(...)    lint_failed(fail(__VA_ARGS__))
#define fail_in(...) lint_failed(fail_in(__VA_ARGS__))

#endif
