/* kernels/attend_portable.c: attend_kernels.h in plain C. */
#include "kernels/attend_kernels.h"
#include "kernels/exact_math.h"

#include <math.h>

typedef float vf;
typedef double vd;
enum { VF_WIDTH = 1, VD_WIDTH = 1 };
#define MAX_PAIRS 1
#define MAX_TILES 1
#define KERNELS attend_kernels_portable

static inline vf vf_zero(void) { return 0; }
static inline vf vf_set1(float x) { return x; }
static inline vf vf_load(const float *p) { return *p; }
static inline void vf_store(float *p, vf x) { *p = x; }
static inline vf vf_add(vf a, vf b) { return a + b; }
static inline vf vf_sub(vf a, vf b) { return a - b; }
static inline vf vf_mul(vf a, vf b) { return a * b; }
static inline vf vf_fma(vf a, vf b, vf c) { return fmaf(a, b, c); }
static inline vf vf_max(vf a, vf b) { return a > b ? a : b; }
static inline vf vf_exp(vf x) { return exact_expf(x); }
static inline float vf_fold(const vf *v)
{
    float x[KV_TILE];
    for (int i = 0; i < KV_TILE; i++) x[i] = v[i];
    for (int half = KV_TILE / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}
static inline vd vd_zero(void) { return 0; }
static inline vd vd_add(vd a, vd b) { return a + b; }
static inline vd vd_from(const float *p) { return (double)*p; }
static inline double vd_fold(const vd *v)
{
    double x[KV_TILE];
    for (int i = 0; i < KV_TILE; i++) x[i] = v[i];
    for (int half = KV_TILE / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) x[i] += x[i + half];
    return x[0];
}

#include "kernels/attend_kernels_code.h"

const struct attend_kernels *attend_kernels_for(enum cpu_isa isa, int head_dim)
{
    if (isa == CPU_AVX512 && head_dim % 16 == 0) return &attend_kernels_avx512;
    return isa == CPU_PORTABLE ? &attend_kernels_portable : &attend_kernels_avx2;
}
