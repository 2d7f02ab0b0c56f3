/* kernels/cuda_decode_state.cuh: greatest scores and sums of a part of the line of units: how they are spread over the computing warps, folded, left
 * in a slot and taken from one. */
#ifndef KERNELS_CUDA_DECODE_STATE_CUH
#define KERNELS_CUDA_DECODE_STATE_CUH

#include "kernels/cuda_decode.cuh"

__device__ static void warps_meet()
{
    asm volatile("bar.sync 1, %0;" ::"n"(WARPS * 32) : "memory");
}

/* Greatest scores and sums of a part of the line.  Of lane l of warp w, g = l / 4 and t = l % 4: o[i][n][c] is element
 * (w + 8 i) 16 + g + c / 2 * 8 of head 8 n + 2 t + c % 2, most[2 n + c] belongs to head 8 n + 2 t + c, and head 8 n + w has l[n], l_most[n]. */
template <int DIM, int NT> struct state {
    static constexpr int M_TILES = (DIM / 16 + WARPS - 1) / WARPS;
    float most[2 * NT], o[M_TILES][NT][4], l_most[NT], l[NT];

    /* first: y is the first part. */
    __device__ void add(const state &y, bool first, float scale2)
    {
        if (first) {
            *this = y;
            return;
        }
#pragma unroll
        for (int n = 0; n < NT; n++) {
            const struct fold f[2] = { fold_of(most[2 * n], y.most[2 * n], scale2),
                                       fold_of(most[2 * n + 1], y.most[2 * n + 1], scale2) };
#pragma unroll
            for (int i = 0; i < M_TILES; i++)
#pragma unroll
                for (int c = 0; c < 4; c++) o[i][n][c] = fold_sum(o[i][n][c], y.o[i][n][c], f[c % 2]);
            most[2 * n] = f[0].most;
            most[2 * n + 1] = f[1].most;
            const struct fold fl = fold_of(l_most[n], y.l_most[n], scale2);
            l[n] = fold_sum(l[n], y.l[n], fl);
            l_most[n] = fl.most;
        }
    }

    __device__ void leave(const struct decode_job &j, int slot) const
    {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
        float *to = slot_at(j, slot);
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int i = 0; i < M_TILES * 4; i++) {
                const int head = 8 * n + 2 * t + i % 2, d = (warp + 8 * (i / 4)) * 16 + g + i % 4 / 2 * 8;
                if (head < j.group && d < dim) to[head * dim + d] = o[i / 4][n][i % 4];
            }
            if (threadIdx.x % 32 == 0 && 8 * n + warp < j.group)
                *(float4 *)(to + j.group * dim + (8 * n + warp) * 4) = make_float4(l_most[n], l[n], 0, 0);
        }
    }

    __device__ void take(const struct decode_job &j, int slot)
    {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
        const float *from = slot_at(j, slot), *stats = from + j.group * dim;
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int i = 0; i < M_TILES * 4; i++) {
                const int head = 8 * n + 2 * t + i % 2, d = (warp + 8 * (i / 4)) * 16 + g + i % 4 / 2 * 8;
                o[i / 4][n][i % 4] = head < j.group && d < dim ? __ldcg(from + head * dim + d) : 0;
            }
#pragma unroll
            for (int c = 0; c < 2; c++) {
                const int head = 8 * n + 2 * t + c;
                most[2 * n + c] = head < j.group ? __ldcg(stats + head * 4) : 0;
            }
            const int head = 8 * n + warp;
            l_most[n] = head < j.group ? __ldcg(stats + head * 4) : 0;
            l[n] = head < j.group ? __ldcg(stats + head * 4 + 1) : 0;
        }
    }
};

#endif
