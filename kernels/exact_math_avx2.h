/* kernels/exact_math_avx2.h: exact_expf for 8 floats and exact_exp for 4 doubles, the same bits as exact_math.h.
 * Only for files that are compiled for AVX2 and FMA. */
#ifndef KERNELS_EXACT_MATH_AVX2_H
#define KERNELS_EXACT_MATH_AVX2_H

#include "kernels/exact_math.h"

#include <immintrin.h>

static inline __m256 exact_expf_avx2(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(EXPF_MAGIC);
    const __m256 t = _mm256_fmadd_ps(x, _mm256_set1_ps(EXPF_LOG2E), magic), n = _mm256_sub_ps(t, magic);
    const __m256 high = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXPF_LN2_HI), x);
    const __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-EXPF_LN2_LO), high);
    __m256 q = _mm256_fmadd_ps(_mm256_set1_ps(EXPF_Q4), r, _mm256_set1_ps(EXPF_Q3));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(EXPF_Q2));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(EXPF_Q1));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(EXPF_Q0));
    const __m256 p = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(r, r), q, r), _mm256_set1_ps(1));
    const __m256i y = _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(t), 23));
    const __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(EXPF_LOW), _CMP_LT_OQ);
    const __m256 over = _mm256_cmp_ps(x, _mm256_set1_ps(EXPF_HIGH), _CMP_NLE_UQ); /* NaN too */
    const __m256 kept = _mm256_andnot_ps(low, _mm256_castsi256_ps(y));
    return _mm256_blendv_ps(kept, _mm256_add_ps(x, _mm256_set1_ps(INFINITY)), over);
}

static inline __m256d exact_exp_avx2(__m256d x)
{
    static const double c[10] = { EXP_Q9, EXP_Q8, EXP_Q7, EXP_Q6, EXP_Q5, EXP_Q4, EXP_Q3, EXP_Q2, EXP_Q1, EXP_Q0 };
    const __m256d magic = _mm256_set1_pd(EXP_MAGIC);
    const __m256d t = _mm256_fmadd_pd(x, _mm256_set1_pd(EXP_LOG2E), magic), n = _mm256_sub_pd(t, magic);
    const __m256d high = _mm256_fmadd_pd(n, _mm256_set1_pd(-EXP_LN2_HI), x);
    const __m256d r = _mm256_fmadd_pd(n, _mm256_set1_pd(-EXP_LN2_LO), high);
    __m256d q = _mm256_set1_pd(EXP_Q10);
    for (int i = 0; i < 10; i++) q = _mm256_fmadd_pd(q, r, _mm256_set1_pd(c[i]));
    const __m256d p = _mm256_add_pd(_mm256_fmadd_pd(_mm256_mul_pd(r, r), q, r), _mm256_set1_pd(1));
    const __m256i y = _mm256_add_epi64(_mm256_castpd_si256(p), _mm256_slli_epi64(_mm256_castpd_si256(t), 52));
    const __m256d low = _mm256_cmp_pd(x, _mm256_set1_pd(EXP_LOW), _CMP_LT_OQ);
    const __m256d over = _mm256_cmp_pd(x, _mm256_set1_pd(EXP_HIGH), _CMP_NLE_UQ);
    const __m256d kept = _mm256_andnot_pd(low, _mm256_castsi256_pd(y));
    return _mm256_blendv_pd(kept, _mm256_add_pd(x, _mm256_set1_pd((double)INFINITY)), over);
}

#endif
