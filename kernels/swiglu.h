/* kernels/swiglu.h: out[i] = gate[i] / (1 + exp(-gate[i])) * up[i] for n elements, the same bits from each (internal to kernels/). */
#ifndef KERNELS_SWIGLU_H
#define KERNELS_SWIGLU_H

void swiglu_portable(int n, const float *gate, const float *up, float *out);
#ifdef __x86_64__
void swiglu_avx2(int n, const float *gate, const float *up, float *out);
void swiglu_avx512(int n, const float *gate, const float *up, float *out);
#endif

#endif
