#include "kernels/exact_math.h"

typedef double v8d __attribute__((vector_size(64)));

static inline void exp8(v8d *x)
{
    for (int i = 0; i < 8; i++) (*x)[i] = exact_exp((*x)[i]);
}

#define PASSES logit_passes_portable
#include "kernels/measure_logits_passes.h"
