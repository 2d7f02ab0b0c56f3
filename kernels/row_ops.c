#include "kernels/cpu.h"
#include "kernels/exact_math.h"
#include "kernels/matrix.h"
#include "kernels/swiglu.h"

/* Work below which the other threads are not worth waking, in elements. */
enum { PARALLEL_ELEMENTS = 1 << 14 };

static int threads_for(const struct device *d, int n_rows, int n)
{
    return (size_t)n_rows * (size_t)n < PARALLEL_ELEMENTS ? 1 : d->n_threads;
}

int cpu_embed(struct device *d, const struct embed_args *a)
{
    const int n_threads = threads_for(d, a->n_rows, a->hidden);
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int r = 0; r < a->n_rows; r++)
        matrix_row(a->embedding, a->tokens[a->rows[r].token_at], a->out + (size_t)r * (size_t)a->hidden);
    return 0;
}

/* Rows at a time: each sum is a serial chain, so that several side by side hide its latency. */
enum { NORM_ROWS = 8 };

/* A square of a float32 is exact in double, so that only the additions round. */
static void sum_squares(int n_rows, int n, const float *x, double *sum)
{
    for (int r = 0; r < n_rows; r++) sum[r] = 0;
    if (n_rows == NORM_ROWS) {
        for (int i = 0; i < n; i++) {
            for (int r = 0; r < NORM_ROWS; r++)
                sum[r] += (double)x[(size_t)r * (size_t)n + (size_t)i] * (double)x[(size_t)r * (size_t)n + (size_t)i];
        }
        return;
    }
    for (int r = 0; r < n_rows; r++, x += n) {
        for (int i = 0; i < n; i++) sum[r] += (double)x[i] * (double)x[i];
    }
}

/* out = (x * scale) * weight, scale = 1 / sqrt(mean + eps) in double, rounded to float32. */
static void norm_rows(const struct norm_args *a, int first, int n_rows)
{
    const size_t at = (size_t)first * (size_t)a->n;
    double sum[NORM_ROWS];
    sum_squares(n_rows, a->n, a->x + at, sum);
    for (int r = 0; r < n_rows; r++) {
        const float *x = a->x + at + (size_t)r * (size_t)a->n;
        float *out = a->out + at + (size_t)r * (size_t)a->n;
        const float scale = (float)(1 / sqrt(sum[r] / a->n + a->eps));
#pragma omp simd
        for (int i = 0; i < a->n; i++) out[i] = x[i] * scale * a->weight[i];
    }
}

int cpu_norm(struct device *d, const struct norm_args *a)
{
    const int n_threads = threads_for(d, a->n_rows, a->n);
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int r = 0; r < a->n_rows; r += NORM_ROWS)
        norm_rows(a, r, a->n_rows - r < NORM_ROWS ? a->n_rows - r : NORM_ROWS);
    return 0;
}

void swiglu_portable(int n, const float *gate, const float *up, float *out)
{
    for (int i = 0; i < n; i++) out[i] = gate[i] / (1 + exact_expf(-gate[i])) * up[i];
}

int cpu_swiglu(struct device *d, const struct swiglu_args *a)
{
    void (*swiglu)(int, const float *, const float *, float *) = swiglu_portable;
#ifdef __x86_64__
    if (d->isa == CPU_AVX2) swiglu = swiglu_avx2;
    if (d->isa == CPU_AVX512) swiglu = swiglu_avx512;
#endif
    const int n_threads = threads_for(d, a->n_rows, a->n);
    const size_t n = (size_t)a->n;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int r = 0; r < a->n_rows; r++) {
        const float *gate = a->gate_up + 2 * n * (size_t)r;
        swiglu(a->n, gate, gate + n, a->out + n * (size_t)r);
    }
    return 0;
}

int cpu_angles(struct device *d, const struct angles_args *a)
{
    const int n_threads = threads_for(d, a->n_rows, 8 * a->n_pairs);
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int r = 0; r < a->n_rows; r++) {
        const size_t at = (size_t)r * (size_t)a->n_pairs;
        for (int i = 0; i < a->n_pairs; i++) {
            double sine, cosine;
            exact_sincos(a->rows[r].position * a->frequency[i], &sine, &cosine);
            a->sine[at + (size_t)i] = (float)(sine * a->attention_factor);
            a->cosine[at + (size_t)i] = (float)(cosine * a->attention_factor);
        }
    }
    return 0;
}
