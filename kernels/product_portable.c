/* The product in portable C: a vector is a struct of LANES numbers. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/tensor.h"

#define LANES 16
#define TILE_ROWS 4
#define TILE_VECS 1
#define WIDE_VECS 2
#define UNROLL /* the lanes are unrolled enough */
#define EACH_LANE for (int l = 0; l < LANES; l++)

typedef struct {
    float at[LANES];
} vec;
typedef struct {
    uint32_t at[LANES];
} ivec;

/* fmaf() without the instruction: the product is exact in double, the sum is rounded to odd, so that rounding it again
 * to float32 gives what one rounding would (Boldo and Melquiond, 2008). */
static inline float fma_float(float a, float b, float c)
{
#ifdef FP_FAST_FMAF
    return fmaf(a, b, c);
#else
    const double product = (double)a * (double)b, addend = (double)c;
    double sum = product + addend;
    const double back = sum - product, error = (product - (sum - back)) + (addend - back);
    if (error > 0 || error < 0) { /* false where the sum is infinite or NaN */
        uint64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        if ((bits & 1) == 0) bits = (error > 0) == (sum > 0) ? bits + 1 : bits - 1;
        memcpy(&sum, &bits, sizeof bits);
    }
    return (float)sum;
#endif
}

static inline vec vec_load(const float *p)
{
    vec r;
    memcpy(r.at, p, sizeof r.at);
    return r;
}

static inline void vec_store(float *p, vec a)
{
    memcpy(p, a.at, sizeof a.at);
}

static inline vec vec_set(float x)
{
    vec r;
    EACH_LANE r.at[l] = x;
    return r;
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    EACH_LANE c.at[l] = fma_float(a.at[l], b.at[l], c.at[l]);
    return c;
}

static inline vec vec_mul(vec a, vec b)
{
    EACH_LANE a.at[l] *= b.at[l];
    return a;
}

static inline vec vec_of_ints(ivec a)
{
    vec r;
    EACH_LANE r.at[l] = (float)a.at[l];
    return r;
}

static inline vec vec_of_bytes(const uint8_t *p)
{
    vec r;
    EACH_LANE r.at[l] = (float)p[l];
    return r;
}

static inline vec vec_of_f16(const uint16_t *p)
{
    vec r;
    EACH_LANE r.at[l] = f16_to_f32(p[l]);
    return r;
}

static inline vec vec_of_bf16(const uint16_t *p)
{
    vec r;
    EACH_LANE r.at[l] = bf16_to_f32(p[l]);
    return r;
}

static inline ivec ivec_load(const void *p)
{
    ivec r;
    memcpy(r.at, p, sizeof r.at);
    return r;
}

static inline ivec ivec_set(int x)
{
    ivec r;
    EACH_LANE r.at[l] = (uint32_t)x;
    return r;
}

static inline ivec ivec_and(ivec a, ivec b)
{
    EACH_LANE a.at[l] &= b.at[l];
    return a;
}

static inline ivec ivec_or(ivec a, ivec b)
{
    EACH_LANE a.at[l] |= b.at[l];
    return a;
}

static inline ivec ivec_right(ivec a, int n)
{
    EACH_LANE a.at[l] >>= n;
    return a;
}

static inline ivec ivec_left(ivec a, int n)
{
    EACH_LANE a.at[l] <<= n;
    return a;
}

#include "kernels/product_simd.h"

const struct product_kernels product_portable = { simd_panels, simd_multiply };
