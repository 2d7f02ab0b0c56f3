/* kernels/attend_avx512.c: attend_kernels.h over vectors of 16 floats.  24 accumulators, 6 queries and 1 tile fill 31 of the
 * 32 registers. */
#include "kernels/attend_kernels.h"
#include "kernels/exact_math_avx512.h"

#include <immintrin.h>
#include <math.h>

typedef __m512 vf;
typedef __m512d vd;
enum { VF_WIDTH = 16, VD_WIDTH = 8 };
#define MAX_PAIRS 6
#define MAX_TILES 4
#define KERNELS attend_kernels_avx512

static inline vf vf_zero(void) { return _mm512_setzero_ps(); }
static inline vf vf_set1(float x) { return _mm512_set1_ps(x); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_exp(vf x) { return exact_expf_avx512(x); }
static inline float vf_fold(const vf *v)
{
    const __m256 x8 = _mm256_add_ps(_mm512_castps512_ps256(v[0]), _mm512_extractf32x8_ps(v[0], 1));
    const __m128 x4 = _mm_add_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    const __m128 x2 = _mm_add_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_add_ss(x2, _mm_movehdup_ps(x2)));
}
static inline vd vd_zero(void) { return _mm512_setzero_pd(); }
static inline vd vd_add(vd a, vd b) { return _mm512_add_pd(a, b); }
static inline vd vd_from(const float *p) { return _mm512_cvtps_pd(_mm256_loadu_ps(p)); }
static inline double vd_fold(const vd *v)
{
    const __m512d x8 = _mm512_add_pd(v[0], v[1]);
    const __m256d x4 = _mm256_add_pd(_mm512_castpd512_pd256(x8), _mm512_extractf64x4_pd(x8, 1));
    const __m128d x2 = _mm_add_pd(_mm256_castpd256_pd128(x4), _mm256_extractf128_pd(x4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x2, _mm_unpackhi_pd(x2, x2)));
}

#include "kernels/attend_kernels_code.h"
