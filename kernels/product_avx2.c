/* The product with AVX2, FMA and F16C: 8 lanes, 16 registers. */
#include <immintrin.h>
#include <stdint.h>

#define LANES 8
#define TILE_ROWS 6
#define TILE_VECS 2
#define WIDE_VECS 4

typedef __m256 vec;
typedef __m256i ivec;

static inline vec vec_load(const float *p)
{
    return _mm256_load_ps(p);
}

static inline void vec_store(float *p, vec a)
{
    _mm256_store_ps(p, a);
}

static inline vec vec_set(float x)
{
    return _mm256_set1_ps(x);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

static inline vec vec_of_ints(ivec a)
{
    return _mm256_cvtepi32_ps(a);
}

static inline vec vec_of_bytes(const uint8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p)));
}

static inline vec vec_of_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_load_si128((const void *)p));
}

static inline vec vec_of_bf16(const uint16_t *p)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_load_si128((const void *)p)), 16));
}

static inline ivec ivec_load(const void *p)
{
    return _mm256_load_si256(p);
}

static inline ivec ivec_set(int x)
{
    return _mm256_set1_epi32(x);
}

static inline ivec ivec_and(ivec a, ivec b)
{
    return _mm256_and_si256(a, b);
}

static inline ivec ivec_or(ivec a, ivec b)
{
    return _mm256_or_si256(a, b);
}

static inline ivec ivec_right(ivec a, int n)
{
    return _mm256_srli_epi32(a, n);
}

static inline ivec ivec_left(ivec a, int n)
{
    return _mm256_slli_epi32(a, n);
}

#include "kernels/product_simd.h"

const struct product_kernels product_avx2 = { simd_panels, simd_multiply };
