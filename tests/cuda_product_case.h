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

#endif
