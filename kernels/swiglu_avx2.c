#include "kernels/swiglu.h"

#include "kernels/exact_math_avx2.h"

void swiglu_avx2(int n, const float *gate, const float *up, float *out)
{
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 g = _mm256_loadu_ps(gate + i), minus = _mm256_xor_ps(g, _mm256_set1_ps(-0.0f));
        const __m256 silu = _mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1), exact_expf_avx2(minus)));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(silu, _mm256_loadu_ps(up + i)));
    }
    swiglu_portable(n - i, gate + i, up + i, out + i);
}
