/* kernels/cuda_decode_state.cuh: greatest scores and sums of a part of the line of units: how they are spread over the computing warps, folded, left
 * for other blocks of threads and taken from them. */
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
    bool any;

    __device__ void add(const state &y, float scale2)
    {
        if (!any) {
            *this = y;
            any = true;
            return;
        }
#pragma unroll
        for (int n = 0; n < NT; n++) {
            const struct fold f[2] = { fold_of(most[2 * n], y.most[2 * n], scale2), fold_of(most[2 * n + 1], y.most[2 * n + 1], scale2) };
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

    __device__ void leave(const struct decode_job &j, int slot)
    {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
        float *to = slot_at(j, slot);
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int i = 0; i < M_TILES * 4; i++) {
                const int head = 8 * n + 2 * t + i % 2, d = (warp + 8 * (i / 4)) * 16 + g + i % 4 / 2 * 8;
                if (head < j.group && d < dim) to[head * (dim + 2) + d] = o[i / 4][n][i % 4];
            }
            if (threadIdx.x % 32 == 0 && 8 * n + warp < j.group) {
                to[(8 * n + warp) * (dim + 2) + dim] = l_most[n];
                to[(8 * n + warp) * (dim + 2) + dim + 1] = l[n];
            }
        }
        any = false;
    }

    __device__ void load(const struct decode_job &j, int slot)
    {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
        const float *from = slot_at(j, slot);
#pragma unroll
        for (int n = 0; n < NT; n++) {
#pragma unroll
            for (int i = 0; i < M_TILES * 4; i++) {
                const int head = 8 * n + 2 * t + i % 2, d = (warp + 8 * (i / 4)) * 16 + g + i % 4 / 2 * 8;
                o[i / 4][n][i % 4] = head < j.group && d < dim ? __ldcg(from + head * (dim + 2) + d) : 0;
            }
#pragma unroll
            for (int c = 0; c < 2; c++) {
                const int head = 8 * n + 2 * t + c;
                most[2 * n + c] = head < j.group ? __ldcg(from + head * (dim + 2) + dim) : 0;
            }
            const int head = 8 * n + warp;
            l_most[n] = head < j.group ? __ldcg(from + head * (dim + 2) + dim) : 0;
            l[n] = head < j.group ? __ldcg(from + head * (dim + 2) + dim + 1) : 0;
        }
    }

    /* O / l to the pair's query heads.  sum: shared, [NT 8]. */
    __device__ void write(const struct decode_job &j, float *out, float *sum)
    {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
        warps_meet();
#pragma unroll
        for (int n = 0; n < NT; n++)
            if (threadIdx.x % 32 == 0) sum[8 * n + warp] = l[n];
        warps_meet();
#pragma unroll
        for (int i = 0; i < NT * M_TILES * 4; i++) {
            const int n = i / 4 % NT, m = i / 4 / NT, head = 8 * n + 2 * t + i % 2, d = (warp + 8 * m) * 16 + g + i % 4 / 2 * 8;
            if (head < j.group && d < dim) out[head * dim + d] = __fdiv_rn(o[m][n][i % 4], sum[head]);
        }
        any = false;
    }
};

/* What this block of threads has left so far: the others may take it. */
__device__ static void tell(const struct decode_job &j, int what)
{
    __threadfence();
    warps_meet();
    if (threadIdx.x == 0) asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(&j.left[blockIdx.x]), "r"(what) : "memory");
}

/* Blocks of threads first .. last have left it: a thread asks each. */
__device__ static void wait_for(const struct decode_job &j, int first, int last, int what)
{
    for (int block = first + (int)threadIdx.x; block <= last; block += WARPS * 32) {
        int left;
        do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(left) : "l"(&j.left[block]) : "memory");
        while (left < what);
    }
    warps_meet();
}

/* The blocks of threads after this one, in the order of their units. */
struct follower {
    int block, start, end, n_blocks, n_units;

    /* The owner of a unit. */
    __device__ void find(int unit)
    {
        while (unit >= end) {
            block++;
            start = end;
            end = unit_start(block + 1, n_blocks, n_units);
        }
    }
};

/* Parts that others have left, first, first + step, .. below end, in order; slot_of(follower, unit).  All that lie between are asked: each
 * tells in the end, and waits for later ones alone. */
template <int DIM, int NT, class Slot>
__device__ static void add_others(state<DIM, NT> &into, const struct decode_job &j, struct follower f, int first, int end, int step, int what, const Slot &slot_of)
{
    constexpr int PARTS = NT * state<DIM, NT>::M_TILES, SOME = PARTS == 1 ? 8 : PARTS == 2 ? 4 : 1; /* as many as registers hold */
    if (first >= end) return;
    wait_for(j, f.block + 1, unit_owner(first + (end - 1 - first) / step * step, f.n_blocks, f.n_units), what);
    for (; first < end; first += SOME * step) {
        state<DIM, NT> y[SOME];
#pragma unroll
        for (int i = 0; i < SOME; i++) {
            if (first + i * step >= end) break;
            f.find(first + i * step);
            y[i].load(j, slot_of(f, first + i * step));
        }
#pragma unroll
        for (int i = 0; i < SOME; i++) {
            if (first + i * step >= end) break;
            into.add(y[i], j.scale2);
        }
    }
}

#endif
