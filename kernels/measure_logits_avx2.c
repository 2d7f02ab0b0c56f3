#if defined(__AVX2__)
#include "kernels/exact_math_avx2.h"

typedef double v8d __attribute__((vector_size(64)));

static inline void exp8(v8d *x)
{
    __m256d half[2];
    memcpy(half, x, sizeof half);
    half[0] = exact_exp_avx2(half[0]);
    half[1] = exact_exp_avx2(half[1]);
    memcpy(x, half, sizeof half);
}

#define PASSES logit_passes_avx2
#include "kernels/measure_logits_passes.h"
#endif
