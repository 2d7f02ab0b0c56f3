#include "kernels/cpu_device.h"

#include "core/err.h"
#include "core/mem.h"
#include "kernels/measure.h"
#include "kernels/row_block.h"

#include <inttypes.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
    const char *key, *name;
} isa_names[] = { [CPU_PORTABLE] = { "portable", "portable" },
                  [CPU_AVX2] = { "avx2", "AVX2" },
                  [CPU_AVX512] = { "avx512", "AVX-512" } };
enum { N_ISAS = sizeof isa_names / sizeof *isa_names };

/* The union of what the files *_avx2.c and *_avx512.c are compiled for. */
static bool isa_here(enum cpu_isa isa)
{
#if defined(__x86_64__)
    if (isa == CPU_PORTABLE) return true;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c")) return false;
    if (isa == CPU_AVX2) return true;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
#else
    return isa == CPU_PORTABLE;
#endif
}

static int isa_choose(enum cpu_isa *isa)
{
    const char *want = getenv("RESA_ISA");
    if (!want || !*want) {
        *isa = isa_here(CPU_AVX512) ? CPU_AVX512 : isa_here(CPU_AVX2) ? CPU_AVX2 : CPU_PORTABLE;
        return 0;
    }
    for (int i = 0; i < N_ISAS; i++) {
        if (strcmp(want, isa_names[i].key) != 0) continue;
        if (!isa_here((enum cpu_isa)i)) return fail("RESA_ISA=%s: this processor does not have it", want);
        *isa = (enum cpu_isa)i;
        return 0;
    }
    return fail("RESA_ISA=%s: not one of portable, avx2, avx512", want);
}

int cpu_open(struct device **d, int index)
{
    *d = NULL;
    if (index != 0) return fail("cpu:%d: there is one CPU device, cpu:0", index);
    enum cpu_isa isa = CPU_PORTABLE;
    TRY(isa_choose(&isa), "cpu");
    TRY(MEM_NEW(d, 1, "cpu device"), "cpu");
    (*d)->isa = isa;
    (*d)->n_threads = omp_get_max_threads();
    return 0;
}

void cpu_close(struct device *d)
{
    if (!d) return;
    mem_free(d->workspace);
    mem_free(d);
}

int cpu_describe(const struct device *d, char *text, size_t n_bytes)
{
    snprintf(text, n_bytes, "%s, %d thread%s", isa_names[d->isa].name, d->n_threads, d->n_threads == 1 ? "" : "s");
    return 0;
}

void cpu_identify(const struct device *d, struct provenance *p)
{
    snprintf(p->isa, sizeof p->isa, "%s", isa_names[d->isa].name);
    p->n_threads = d->n_threads;
}

uint64_t cpu_free_bytes(const struct device *d)
{
    (void)d;
    FILE *f = fopen("/proc/meminfo", "r");
    if (!f) return 0;
    char line[256];
    uint64_t kib = 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) break;
    fclose(f);
    return kib * 1024;
}

/* Of one thread: a multiple of 64 bytes, so that every thread's is aligned. */
static size_t workspace_slice(const struct model_shape *shape, const struct work_extent *e)
{
    const size_t attention = row_block_workspace_bytes(shape->n_heads / shape->n_kv_heads, shape->head_dim, e->max_rows, e->max_context);
    const size_t measures = measure_workspace(shape->vocab, e->max_context);
    return ((attention > measures ? attention : measures) + 63) / 64 * 64;
}

uint64_t cpu_workspace_bytes(const struct model_shape *shape, const struct work_extent *e)
{
    return (uint64_t)workspace_slice(shape, e) * (uint64_t)omp_get_max_threads();
}

int cpu_reserve(struct device *d, const struct model_shape *shape, const struct work_extent *e)
{
    const size_t slice = workspace_slice(shape, e);
    if (slice <= d->workspace_bytes) return 0;
    mem_free(d->workspace);
    d->workspace = NULL;
    d->workspace_bytes = 0;
    TRY(mem_alloc((void **)&d->workspace, (size_t)d->n_threads, slice, "cpu workspace"), "cpu");
    d->workspace_bytes = slice;
    return 0;
}

char *cpu_workspace(const struct device *d)
{
    return d->workspace + (size_t)omp_get_thread_num() * d->workspace_bytes;
}

int cpu_workspace_holds(const struct device *d, size_t n_bytes, const char *operation)
{
    if (n_bytes <= d->workspace_bytes) return 0;
    return fail("%s: needs %zu bytes of workspace for each thread, %zu were reserved", operation, n_bytes, d->workspace_bytes);
}

int cpu_alloc(struct device *d, void **p, size_t n_bytes, const char *what)
{
    (void)d;
    TRY(mem_alloc(p, n_bytes, 1, what), "cpu");
    memset(*p, 0xff, n_bytes);
    return 0;
}

void cpu_release(struct device *d, void *p)
{
    (void)d;
    mem_free(p);
}

int cpu_upload(struct device *d, void *to, const void *host, size_t n_bytes)
{
    (void)d;
    if (n_bytes) memcpy(to, host, n_bytes);
    return 0;
}

int cpu_download(struct device *d, void *host, const void *from, size_t n_bytes)
{
    (void)d;
    if (n_bytes) memcpy(host, from, n_bytes);
    return 0;
}

int cpu_clear(struct device *d, const struct record_layout *l, void *record)
{
    (void)d;
    record_clear(l, record);
    return 0;
}

int cpu_sync(struct device *d)
{
    (void)d;
    return 0;
}

int cpu_mark(struct device *d, int i)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    d->marks[i] = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    return 0;
}

int cpu_wait(struct device *d, int i)
{
    (void)d, (void)i;
    return 0;
}

int cpu_elapsed(struct device *d, int from, int to, double *seconds)
{
    *seconds = d->marks[to] - d->marks[from];
    return 0;
}

/* One word of each line: the line is read whole.  A volatile sum, so that the loop stays. */
int cpu_read(struct device *d, const void *p, size_t n_bytes)
{
    const uint64_t *words = p;
    const size_t n_words = n_bytes / sizeof *words;
    volatile uint64_t kept;
    uint64_t sum = 0;
#pragma omp parallel for num_threads(d->n_threads) schedule(static) reduction(+ : sum)
    for (size_t i = 0; i < n_words; i += 8) sum += words[i];
    kept = sum;
    (void)kept;
    return 0;
}

double cpu_clock_hz(struct device *d)
{
    (void)d;
    return NAN;
}
