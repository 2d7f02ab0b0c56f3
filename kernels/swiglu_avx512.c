#include "kernels/swiglu.h"

#include "kernels/exact_math_avx512.h"

void swiglu_avx512(int n, const float *gate, const float *up, float *out)
{
    for (int i = 0; i < n; i += 16) {
        const __mmask16 kept = (__mmask16)(n - i < 16 ? (1u << (n - i)) - 1 : 0xffffu);
        const __m512 g = _mm512_maskz_loadu_ps(kept, gate + i), minus = _mm512_xor_ps(g, _mm512_set1_ps(-0.0f));
        const __m512 silu = _mm512_div_ps(g, _mm512_add_ps(_mm512_set1_ps(1), exact_expf_avx512(minus)));
        _mm512_mask_storeu_ps(out + i, kept, _mm512_mul_ps(silu, _mm512_maskz_loadu_ps(kept, up + i)));
    }
}
