/* kernels/attend_avx2.c: attend_kernels.h over vectors of 8 floats.  12 accumulators, 3 queries and 1 tile fill the 16
 * registers. */
#include "kernels/attend_kernels.h"
#include "kernels/exact_math_avx2.h"

#include <immintrin.h>
#include <math.h>

typedef __m256 vf;
typedef __m256d vd;
enum { VF_WIDTH = 8, VD_WIDTH = 4 };
#define MAX_PAIRS 3
#define MAX_TILES 2
#define KERNELS attend_kernels_avx2

static inline vf vf_zero(void) { return _mm256_setzero_ps(); }
static inline vf vf_set1(float x) { return _mm256_set1_ps(x); }
static inline vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_exp(vf x) { return exact_expf_avx2(x); }
static inline float vf_fold(const vf *v)
{
    const __m256 x8 = _mm256_add_ps(v[0], v[1]);
    const __m128 x4 = _mm_add_ps(_mm256_castps256_ps128(x8), _mm256_extractf128_ps(x8, 1));
    const __m128 x2 = _mm_add_ps(x4, _mm_movehl_ps(x4, x4));
    return _mm_cvtss_f32(_mm_add_ss(x2, _mm_movehdup_ps(x2)));
}
static inline vd vd_zero(void) { return _mm256_setzero_pd(); }
static inline vd vd_add(vd a, vd b) { return _mm256_add_pd(a, b); }
static inline vd vd_from(const float *p) { return _mm256_cvtps_pd(_mm_loadu_ps(p)); }
static inline double vd_fold(const vd *v)
{
    const __m256d x4 = _mm256_add_pd(_mm256_add_pd(v[0], v[2]), _mm256_add_pd(v[1], v[3]));
    const __m128d x2 = _mm_add_pd(_mm256_castpd256_pd128(x4), _mm256_extractf128_pd(x4, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x2, _mm_unpackhi_pd(x2, x2)));
}

#include "kernels/attend_kernels_code.h"
