#if defined(__AVX512F__)
#include "kernels/exact_math_avx512.h"

typedef double v8d __attribute__((vector_size(64)));

static inline void exp8(v8d *x)
{
    *x = (v8d)exact_exp_avx512((__m512d)*x);
}

#define PASSES logit_passes_avx512
#include "kernels/measure_logits_passes.h"
#endif
