/* The product with AVX-512 (F): 16 lanes, 32 registers. */
#include <immintrin.h>
#include <stdint.h>

#define LANES 16
#define TILE_ROWS 9
#define TILE_VECS 2
#define WIDE_VECS 4

typedef __m512 vec;
typedef __m512i ivec;

static inline vec vec_load(const float *p)
{
    return _mm512_load_ps(p);
}

static inline void vec_store(float *p, vec a)
{
    _mm512_store_ps(p, a);
}

static inline vec vec_set(float x)
{
    return _mm512_set1_ps(x);
}

static inline vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

static inline vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

static inline vec vec_of_ints(ivec a)
{
    return _mm512_cvtepi32_ps(a);
}

static inline vec vec_of_bytes(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_load_si128((const void *)p)));
}

static inline vec vec_of_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const void *)p));
}

static inline vec vec_of_bf16(const uint16_t *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_load_si256((const void *)p)), 16));
}

static inline ivec ivec_load(const void *p)
{
    return _mm512_load_si512(p);
}

static inline ivec ivec_set(int x)
{
    return _mm512_set1_epi32(x);
}

static inline ivec ivec_and(ivec a, ivec b)
{
    return _mm512_and_si512(a, b);
}

static inline ivec ivec_or(ivec a, ivec b)
{
    return _mm512_or_si512(a, b);
}

static inline ivec ivec_right(ivec a, int n)
{
    return _mm512_srli_epi32(a, (unsigned)n);
}

static inline ivec ivec_left(ivec a, int n)
{
    return _mm512_slli_epi32(a, (unsigned)n);
}

#include "kernels/product_simd.h"

const struct product_kernels product_avx512 = { simd_panels, simd_multiply };
