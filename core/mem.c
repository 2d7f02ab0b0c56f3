#include "core/mem.h"

#include "core/err.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN_BYTES = 64 };
static _Atomic long fail_in_n = -1;

void mem_fail_after(long n)
{
    fail_in_n = n;
}

int mem_alloc(void **p, size_t n, size_t size, const char *what)
{
    *p = NULL;
    if (size != 0 && n > (SIZE_MAX - ALIGN_BYTES) / size)
        return fail("%s: %zu x %zu bytes is more than memory can address", what, n, size);
    const size_t bytes = (n * size + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
    const long left = fail_in_n;
    if (left >= 0) fail_in_n = left - 1;
    void *q = left == 0 ? NULL : aligned_alloc(ALIGN_BYTES, bytes ? bytes : ALIGN_BYTES);
    if (!q) return fail("%s: out of memory: %zu bytes", what, bytes);
    memset(q, 0, bytes ? bytes : ALIGN_BYTES);
    *p = q;
    return 0;
}

int mem_grow(void **p, size_t n_old, size_t n_new, size_t size, const char *what)
{
    void *q = NULL;
    if (mem_alloc(&q, n_new, size, what) != 0) return -1;
    if (*p && n_old) memcpy(q, *p, (n_old < n_new ? n_old : n_new) * size);
    mem_free(*p);
    *p = q;
    return 0;
}

void mem_free(void *p)
{
    free(p);
}

int mem_strndup(char **p, const char *text, size_t n)
{
    if (mem_alloc((void **)p, n + 1, 1, "text") != 0) return -1;
    memcpy(*p, text, n);
    return 0;
}

int mem_strdup(char **p, const char *text)
{
    return mem_strndup(p, text, strlen(text));
}
