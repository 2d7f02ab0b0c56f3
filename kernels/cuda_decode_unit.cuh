/* kernels/cuda_decode_unit.cuh: a unit's scores, weights and sums, on mma.
 *
 * For the scores each computing warp has 16 tokens, as the rows of an mma whose columns are the group's query heads; for the weighted sums 16
 * elements of head_dim.  So every state is spread over all of them. */
#ifndef KERNELS_CUDA_DECODE_UNIT_CUH
#define KERNELS_CUDA_DECODE_UNIT_CUH

#include "kernels/cuda_decode_copy.cuh"
#include "kernels/cuda_decode_state.cuh"

template <int DIM, int NT> struct queries {
    uint32_t b[DIM / 16][NT][2];

    __device__ void load(const struct decode_job &j, const struct place &p)
    {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
        const float *q = j.qkv + (size_t)p.row.q_row * j.qkv_stride + (size_t)(p.kv_head * j.group) * dim;
#pragma unroll
        for (int k = 0; k < DIM / 16; k++)
#pragma unroll
            for (int i = 0; i < NT * 2; i++) {
                const int head = i / 2 * 8 + g, d = k * 16 + i % 2 * 8 + 2 * t;
                const float2 x = head < j.group && d < dim ? *(const float2 *)(q + head * dim + d) : make_float2(0, 0);
                const __half2 h = __floats2half2_rn(x.x, x.y);
                b[k][i / 2][i % 2] = *(const uint32_t *)&h;
            }
    }
};

__device__ static void load_matrix(uint32_t a[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(shared_address(p)));
}

__device__ static void load_transposed(uint32_t a[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(shared_address(p)));
}

/* Scores of the warp's 16 tokens, -inf past n. */
template <int DIM, int NT>
__device__ static void unit_scores(const char *k, const queries<DIM, NT> &q, int n, float s[NT][4])
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < NT * 4; i++) s[i / 4][i % 4] = 0;
    uint32_t a[DIM / 16][4];
#pragma unroll
    for (int step = 0; step < DIM / 16; step++)
        load_matrix(a[step], k + tile_at(DIM / REGION_ELEMS, warp * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
    for (int step = 0; step < DIM / 16; step++)
#pragma unroll
        for (int i = 0; i < NT; i++)
            mma(s[i], a[step][0], a[step][1], a[step][2], a[step][3], q.b[step][i][0], q.b[step][i][1]);
    const int row = warp * 16 + lane / 4;
    if (n >= UNIT) return;
#pragma unroll
    for (int i = 0; i < NT * 4; i++)
        if (row + i % 4 / 2 * 8 >= n) s[i / 4][i % 4] = -INFINITY;
}

/* The unit's greatest scores, then its weights in sh.e and sh.p. */
template <int DIM, int NT>
__device__ static void unit_weights(decode_shared<DIM, NT> &sh, float s[NT][4], float scale2, state<DIM, NT> &y)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 2 * NT; i++) {
        float most = fmaxf(s[i / 2][i % 2], s[i / 2][i % 2 + 2]);
        for (int o = 4; o < 32; o *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, o));
        if (g == 0) sh.most[i / 2 * 8 + 2 * t + i % 2][warp] = most;
    }
    warps_meet();
#pragma unroll
    for (int i = 0; i < NT; i++) {
        float bias[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const float4 low = *(const float4 *)&sh.most[i * 8 + 2 * t + c][0],
                         high = *(const float4 *)&sh.most[i * 8 + 2 * t + c][4];
            y.most[2 * i + c] = fmaxf(fmaxf(fmaxf(low.x, low.y), fmaxf(low.z, low.w)),
                                      fmaxf(fmaxf(high.x, high.y), fmaxf(high.z, high.w)));
            bias[c] = attend_bias(y.most[2 * i + c], scale2);
        }
        const float even = __shfl_sync(0xffffffffu, y.most[2 * i], warp / 2),
                    odd = __shfl_sync(0xffffffffu, y.most[2 * i + 1], warp / 2);
        y.l_most[i] = warp % 2 ? odd : even;
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const int head = i * 8 + 2 * t + c % 2, token = warp * 16 + g + c / 2 * 8;
            const float e = attend_weight(s[i][c], scale2, bias[c % 2]);
            sh.e[head][token] = e;
            sh.p[head][token] = __float2half_rn(e);
        }
    }
    warps_meet();
}

/* Zeros in the rows of V past n. */
template <int DIM> __device__ static void clear_past(char *v, int n)
{
#pragma unroll 1
    for (int i = threadIdx.x; i < (UNIT - n) * (DIM / 8); i += WARPS * 32)
        *(uint4 *)(v + tile_at(DIM / REGION_ELEMS, n + i / (DIM / 8), i % (DIM / 8))) = make_uint4(0, 0, 0, 0);
    copies_follow();
    warps_meet();
}

/* V as the left operands of the mma's of elements d0 .. d0 + 15. */
template <int DIM> __device__ static void load_values(const char *v, int d0, uint32_t a[UNIT / 16][4])
{
    const int lane = threadIdx.x % 32;
    const char *from = v + tile_at(DIM / REGION_ELEMS, lane / 16 * 8 + lane % 8, d0 / 8 + lane / 8 % 2);
#pragma unroll
    for (int step = 0; step < UNIT / 16; step++)
        load_transposed(a[step], from + step * (DIM / REGION_ELEMS) * REGION_ROWS * REGION_ROW_BYTES);
}

/* Sums of V, and of the weights of head 8 n + warp in the order that cuda_fold.cuh states. */
template <int DIM, int NT>
__device__ static void unit_values(const decode_shared<DIM, NT> &sh, const char *v, state<DIM, NT> &y)
{
    static constexpr int order[] = { 8, 16, 1, 2, 4 };
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int m = 0; m < state<DIM, NT>::M_TILES; m++) {
        uint32_t a[UNIT / 16][4];
        const bool has_values = DIM / 16 >= WARPS || warp < DIM / 16;
        if (has_values) load_values<DIM>(v, (warp + WARPS * m) * 16, a);
#pragma unroll
        for (int i = 0; i < NT; i++) {
            uint32_t p[UNIT / 32][4];
#pragma unroll
            for (int step = 0; step < UNIT / 32; step++)
                load_matrix(p[step], sh.p[i * 8 + lane % 8] + step * 32 + lane / 8 * 8);
            if (m == 0) {
                const float *e = sh.e[i * 8 + warp] + lane;
                y.l[i] = __fadd_rn(__fadd_rn(e[0], e[32]), __fadd_rn(e[64], e[96]));
            }
            y.o[m][i][0] = y.o[m][i][1] = y.o[m][i][2] = y.o[m][i][3] = 0;
#pragma unroll
            for (int step = 0; step < UNIT / 16; step++) {
                const uint32_t *b = &p[step / 2][step % 2 * 2];
                if (has_values) mma(y.o[m][i], a[step][0], a[step][1], a[step][2], a[step][3], b[0], b[1]);
                if (m == 0 && step < 5) y.l[i] = __fadd_rn(y.l[i], __shfl_xor_sync(0xffffffffu, y.l[i], order[step]));
            }
        }
    }
}

/* A unit's scores, weights and sums; releases its tiles. */
template <int DIM, int NT>
__device__ static void unit_compute(decode_shared<DIM, NT> &sh, const queries<DIM, NT> &q, int n, float scale2,
                                    struct ring_place &at, state<DIM, NT> &y)
{
    typedef decode_shared<DIM, NT> S;
    float s[NT][4];
    barrier_wait(&sh.full[at.tile], at.round % 2);
    unit_scores<DIM, NT>(sh.ring[at.tile], q, n, s);
    ring_release<S>(sh, at);
    unit_weights(sh, s, scale2, y);
    char *v = sh.ring[at.tile];
    barrier_wait(&sh.full[at.tile], at.round % 2);
    if (n < UNIT) clear_past<DIM>(v, n);
    unit_values(sh, v, y);
    ring_release<S>(sh, at);
}

#endif
