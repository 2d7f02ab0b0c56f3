/* core/mem.h: host memory that fails with a message instead of a NULL somebody forgets.
 *
 * Every block is zeroed and aligned to 64 bytes.  mem_free(NULL) is fine.  mem_fail_after(n) makes the
 * n-th allocation from now fail (n = 0: the next), for tests of what happens without memory; -1: never. */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include <stddef.h>

int  mem_alloc(void **p, size_t n, size_t size, const char *what); /* n * size bytes, overflow checked */
int  mem_grow(void **p, size_t n_old, size_t n_new, size_t size, const char *what); /* keeps the first n_old */
void mem_free(void *p);
void mem_fail_after(long n);

/* MEM_NEW(&ptr, n, "what"): n zeroed elements of the pointer's own type. */
#define MEM_NEW(pp, n, what) mem_alloc((void **)(pp), (size_t)(n), sizeof **(pp), (what))

int mem_strdup(char **p, const char *text);
int mem_strndup(char **p, const char *text, size_t n);

#endif
