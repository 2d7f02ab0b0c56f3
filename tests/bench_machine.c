#include "tests/bench_machine.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FMA_CHAINS = 12, FMA_STEPS = 600000, FMA_PASSES = 25, READ_PASSES = 9 };
static const size_t READ_BYTES = (size_t)256 << 20; /* several times the last cache */

double bench_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct spread bench_spread(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_size);
    return (struct spread){ n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]), x[0], x[n - 1] };
}

#ifdef __x86_64__
#include <immintrin.h>

__attribute__((target("avx2,fma"))) static float fma_avx2(void)
{
    __m256 c[FMA_CHAINS];
    const __m256 a = _mm256_set1_ps(0.5f);
    for (int i = 0; i < FMA_CHAINS; i++) c[i] = _mm256_set1_ps((float)i);
    for (int n = 0; n < FMA_STEPS; n++) {
#pragma GCC unroll 12
        for (int i = 0; i < FMA_CHAINS; i++) c[i] = _mm256_fmadd_ps(c[i], a, a);
    }
    for (int i = 1; i < FMA_CHAINS; i++) c[0] = _mm256_add_ps(c[0], c[i]);
    return _mm256_cvtss_f32(c[0]);
}

__attribute__((target("avx512f"))) static float fma_avx512(void)
{
    __m512 c[FMA_CHAINS];
    const __m512 a = _mm512_set1_ps(0.5f);
    for (int i = 0; i < FMA_CHAINS; i++) c[i] = _mm512_set1_ps((float)i);
    for (int n = 0; n < FMA_STEPS; n++) {
#pragma GCC unroll 12
        for (int i = 0; i < FMA_CHAINS; i++) c[i] = _mm512_fmadd_ps(c[i], a, a);
    }
    for (int i = 1; i < FMA_CHAINS; i++) c[0] = _mm512_add_ps(c[0], c[i]);
    return _mm512_cvtss_f32(c[0]);
}
#endif

double machine_fma_window(enum cpu_isa isa, int n_threads)
{
#ifdef __x86_64__
    float sum = 0;
    if (isa == CPU_PORTABLE) return 0;
    const double flop = 2.0 * FMA_CHAINS * (isa == CPU_AVX512 ? 16 : 8) * FMA_STEPS * n_threads, from = bench_seconds();
#pragma omp parallel num_threads(n_threads) reduction(+ : sum)
    sum += isa == CPU_AVX512 ? fma_avx512() : fma_avx2();
    const double s = bench_seconds() - from;
    return sum > 0 ? 1e-9 * flop / s : 0;
#else
    (void)isa, (void)n_threads;
    return 0;
#endif
}

double machine_fma_rate(enum cpu_isa isa, int n_threads)
{
    double best = 0;
    for (int pass = 0; pass < FMA_PASSES; pass++) {
        const double rate = machine_fma_window(isa, n_threads);
        if (rate > best) best = rate;
    }
    return best;
}

double machine_read_rate(int n_threads)
{
    uint64_t *words = malloc(READ_BYTES);
    if (!words) return 0;
    memset(words, 1, READ_BYTES);
    const size_t n_words = READ_BYTES / sizeof *words;
    double best = 0;
    for (int pass = 0; pass < READ_PASSES; pass++) {
        const double from = bench_seconds();
        uint64_t sum = 0;
#pragma omp parallel for num_threads(n_threads) schedule(static) reduction(+ : sum)
        for (size_t i = 0; i < n_words; i += 8) sum += words[i]; /* a line is read whole */
        const double rate = 1e-9 * (double)READ_BYTES / (bench_seconds() - from);
        if (sum != 0 && rate > best) best = rate;
    }
    free(words);
    return best;
}
