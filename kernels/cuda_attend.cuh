/* kernels/cuda_attend.cuh: scores of a chunk of tokens on the tensor cores, which attention and block mass share.
 *
 * Tokens are the rows of an mma, query heads its columns, padded to 8 NT of them.  A column's scores do not depend on the others. */
#ifndef KERNELS_CUDA_ATTEND_CUH
#define KERNELS_CUDA_ATTEND_CUH

#include "kernels/cuda_kv.cuh"

static constexpr int ATTEND_THREADS = 256;
static_assert(ATTEND_THREADS >= ATTEND_CHUNK, "a thread finds one token of a chunk");

/* Shared memory of a block of threads.  Row strides are such that neither mma's operands nor a warp's scores collide in a bank. */
template <int DIM, int NT> struct attend_shared {
    static constexpr int N = NT * 8, Q_STRIDE = DIM + 32, S_STRIDE = ATTEND_CHUNK + 4, V_STRIDE = DIM + 8;
    __half v[ATTEND_CHUNK][V_STRIDE];
    __half q[N][Q_STRIDE];
    float s[N][S_STRIDE];              /* scores; then, in the same places, their exponentials in fp16, at a stride of 2 S_STRIDE */
    struct token token[ATTEND_CHUNK];  /* NULL past the chunk's end */
    int limit[N];                      /* tokens that the column reads of its context */
    float most[N], sum[N], run_most[N], run_sum[N], total_most[N], total_sum[N];
};

/* The query heads of one KV head, of consecutive rows, as columns; zeros in the others. */
template <int DIM, int NT>
__device__ static void load_queries(attend_shared<DIM, NT> &sh, const float *qkv, int stride, const int32_t *q_row, int q_row_step, int n_rows,
                                    int group, int first_head, int dim)
{
    for (int i = threadIdx.x; i < NT * 8 * DIM; i += ATTEND_THREADS) {
        const int column = i / DIM, d = i % DIM, row = column / group;
        const float x = row < n_rows && d < dim ? qkv[(size_t)q_row[(size_t)row * q_row_step] * stride + (size_t)(first_head + column % group) * dim + d] : 0;
        sh.q[column][d] = __float2half_rn(x);
    }
}

/* sh.s[column][token] of the chunk's tokens; sh.token and sh.q are ready. */
template <int DIM, int NT> __device__ static void chunk_scores(attend_shared<DIM, NT> &sh, int n_tokens, int dim, float scale)
{
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const uint4 zero = make_uint4(0, 0, 0, 0);
    for (int tile = warp; tile * 16 < n_tokens; tile += ATTEND_THREADS / 32) {
        const __half *k = sh.token[tile * 16 + g].k, *k8 = sh.token[tile * 16 + g + 8].k;
        uint4 a[DIM / 32], a8[DIM / 32];
#pragma unroll
        for (int i = 0; i < DIM / 32; i++) {
            const bool in = i * 32 + t * 8 < dim;
            a[i] = in && k ? ((const uint4 *)k)[i * 4 + t] : zero;
            a8[i] = in && k8 ? ((const uint4 *)k8)[i * 4 + t] : zero;
        }
#pragma unroll
        for (int n = 0; n < NT; n++) {
            float c[4] = { 0, 0, 0, 0 };
#pragma unroll
            for (int i = 0; i < DIM / 32; i++) mma_32(c, a[i], a8[i], *(const uint4 *)&sh.q[n * 8 + g][i * 32 + t * 8]);
            sh.s[n * 8 + 2 * t][tile * 16 + g] = c[0] * scale;
            sh.s[n * 8 + 2 * t + 1][tile * 16 + g] = c[1] * scale;
            sh.s[n * 8 + 2 * t][tile * 16 + g + 8] = c[2] * scale;
            sh.s[n * 8 + 2 * t + 1][tile * 16 + g + 8] = c[3] * scale;
        }
    }
}

/* The least template width that holds a head_dim. */
#define ATTEND_DIMS(X, dim) ((dim) <= 32 ? X(32) : (dim) <= 64 ? X(64) : (dim) <= 96 ? X(96) : (dim) <= 128 ? X(128) : X(256))

static inline float attend_scale_of(int head_dim)
{
    return (float)(1 / sqrt((double)head_dim));
}

#endif
