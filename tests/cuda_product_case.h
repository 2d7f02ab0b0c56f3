/* tests/cuda_product_case.h: operands and tolerances of the CUDA back ends' products. */
#ifndef TESTS_CUDA_PRODUCT_CASE_H
#define TESTS_CUDA_PRODUCT_CASE_H

#include "kernels/reference.h"
#include "tests/cuda_pair.h"

static inline bool is_int4(const struct pair *p)
{
    return strcmp(p->cuda->name, "cuda-int4") == 0;
}

/* An mma adds 16 exact products and the sum so far: aligned to the largest and cut off rather than rounded (Fasi, Higham, Mikaitis and
 * Pranesh 2021, "Numerical behavior of NVIDIA tensor cores"), so 17 errors of 2^-24 at most of the sum of absolute values.  A segment has
 * n_in / 16 / n_segments of them and two more for rounding up; then additions of segments, bias, residual and the scale.  x and w are
 * numbers of fp16, and the power of two that scales a row rounds nothing away but what lies 2^-24 below the row's greatest. */
static inline double product_tolerance(const struct pair *p, int n_in, int n_out, double absolute, double most_x,
                                       double sum_w)
{
    const int n_segments = !is_int4(p) ? 4 : n_out > 255 * 128 ? 1 : 8; /* cuda_product.cuh */
    return reference_gamma(17 * (n_in / 16 / n_segments + 2) + 12) * absolute + 0x1p-37 * most_x * sum_w;
}

/* How far y is from what it should be, in parts of its tolerance.  y: an output of the row x, of those of t, with the weights w, added to `rest`, which is a
 * sum whose terms' sizes add up to rest_size. */
static inline double product_error(const struct pair *p, const struct tensor *t, const float *w, const float *x,
                                   double rest, double rest_size, float y)
{
    double want = rest, absolute = rest_size, most = 0, sum_w = 0;
    for (int k = 0; k < t->n_cols; k++) {
        const double term = (double)x[k] * (double)w[k];
        want += term;
        absolute += fabs(term);
        most = fmax(most, fabs((double)x[k]));
        sum_w += fabs((double)w[k]);
    }
    return fabs((double)y - want) / product_tolerance(p, t->n_cols, t->n_rows, absolute, most, sum_w);
}

/* Unit roundoff of the back end's elements. */
static inline double roundoff(const struct pair *p)
{
    return p->cuda == backends[2] ? 0x1p-8 : 0x1p-11;
}

/* Random floats that both element types hold. */
static inline float *random_elements(struct pair *p, size_t n, float size)
{
    float *x = random_floats(p, n, size);
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], 4);
        bits &= 0xffff0000u;
        memcpy(&x[i], &bits, 4);
    }
    return x;
}

/* a's product of rows[0], rows[1] .. rows, fewest first, `most` at most, of n_out outputs; the greatest number's.  Whichever kernel computes it, whatever the
 * batch, a row has the same bits; no row too many is written. */
static inline const float *product_in_batches(struct pair *p, struct product_args a, const int *rows, int n_counts,
                                              int n_out, int most)
{
    const size_t out = (size_t)n_out;
    const float *first = NULL;
    for (int i = n_counts; i-- > 0;) {
        a.n_rows = rows[i];
        a.y = on_gpu(p, NULL, (size_t)most * out * 4);
        must(p->cuda->product(p->gpu, &a));
        const float *y = from_gpu(p, a.y, (size_t)most * out * 4);
        if (!first) first = y;
        if (memcmp(y, first, (size_t)rows[i] * out * 4) != 0)
            fail_msg("%s: %d outputs: %d rows are not what they are among %d", p->cuda->name, n_out, rows[i],
                     rows[n_counts - 1]);
        for (int r = rows[i]; r < most; r++) assert_true(isnan(y[(size_t)r * out]));
    }
    return first;
}

#endif
