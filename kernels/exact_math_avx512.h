/* kernels/exact_math_avx512.h: exact_expf for 16 floats and exact_exp for 8 doubles, the same bits as exact_math.h.
 * Only for files that are compiled for AVX-512 (F, BW, VL, DQ). */
#ifndef KERNELS_EXACT_MATH_AVX512_H
#define KERNELS_EXACT_MATH_AVX512_H

#include "kernels/exact_math.h"

#include <immintrin.h>

static inline __m512 exact_expf_avx512(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(EXPF_MAGIC);
    const __m512 t = _mm512_fmadd_ps(x, _mm512_set1_ps(EXPF_LOG2E), magic), n = _mm512_sub_ps(t, magic);
    const __m512 high = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXPF_LN2_HI), x);
    const __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-EXPF_LN2_LO), high);
    __m512 q = _mm512_fmadd_ps(_mm512_set1_ps(EXPF_Q4), r, _mm512_set1_ps(EXPF_Q3));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(EXPF_Q2));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(EXPF_Q1));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(EXPF_Q0));
    const __m512 p = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(r, r), q, r), _mm512_set1_ps(1));
    const __m512i y = _mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(t), 23));
    const __mmask16 kept = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXPF_LOW), _CMP_NLT_UQ);
    const __mmask16 over = _mm512_cmp_ps_mask(x, _mm512_set1_ps(EXPF_HIGH), _CMP_NLE_UQ); /* NaN too */
    return _mm512_mask_add_ps(_mm512_castsi512_ps(_mm512_maskz_mov_epi32(kept, y)), over, x, _mm512_set1_ps(INFINITY));
}

static inline __m512d exact_exp_avx512(__m512d x)
{
    static const double c[10] = { EXP_Q9, EXP_Q8, EXP_Q7, EXP_Q6, EXP_Q5, EXP_Q4, EXP_Q3, EXP_Q2, EXP_Q1, EXP_Q0 };
    const __m512d magic = _mm512_set1_pd(EXP_MAGIC);
    const __m512d t = _mm512_fmadd_pd(x, _mm512_set1_pd(EXP_LOG2E), magic), n = _mm512_sub_pd(t, magic);
    const __m512d high = _mm512_fmadd_pd(n, _mm512_set1_pd(-EXP_LN2_HI), x);
    const __m512d r = _mm512_fmadd_pd(n, _mm512_set1_pd(-EXP_LN2_LO), high);
    __m512d q = _mm512_set1_pd(EXP_Q10);
    for (int i = 0; i < 10; i++) q = _mm512_fmadd_pd(q, r, _mm512_set1_pd(c[i]));
    const __m512d p = _mm512_add_pd(_mm512_fmadd_pd(_mm512_mul_pd(r, r), q, r), _mm512_set1_pd(1));
    const __m512i y = _mm512_add_epi64(_mm512_castpd_si512(p), _mm512_slli_epi64(_mm512_castpd_si512(t), 52));
    const __mmask8 kept = _mm512_cmp_pd_mask(x, _mm512_set1_pd(EXP_LOW), _CMP_NLT_UQ);
    const __mmask8 over = _mm512_cmp_pd_mask(x, _mm512_set1_pd(EXP_HIGH), _CMP_NLE_UQ);
    return _mm512_mask_add_pd(_mm512_castsi512_pd(_mm512_maskz_mov_epi64(kept, y)), over, x,
                              _mm512_set1_pd((double)INFINITY));
}

#endif
