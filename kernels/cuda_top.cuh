/* kernels/cuda_top.cuh: the best k of n by a block of threads, ties to the lower index, in the order of the index.
 *
 * Scores become unsigned integers of the same order (NaN counts as -inf, -0 as 0).  The k-th largest is found from its highest byte
 * down, by counting; a pass in the order of the index then hands out what is above it and the first of what equals it. */
#ifndef KERNELS_CUDA_TOP_CUH
#define KERNELS_CUDA_TOP_CUH

#include "kernels/cuda_device.cuh"

__device__ static inline uint64_t ordered_f32(float x)
{
    const uint32_t bits = __float_as_uint(x == x ? x + 0.0f : -INFINITY);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ static inline uint64_t ordered_f64(double x)
{
    const uint64_t bits = (uint64_t)__double_as_longlong(x == x ? x + 0.0 : -(double)INFINITY);
    return bits & 0x8000000000000000u ? ~bits : bits | 0x8000000000000000u;
}

struct top_shared {
    int bins[256], warps[32];
    int bin, above;
};

/* Among the bins, from the highest down, the one that holds the want-th; by warp 0. */
__device__ static inline void top_find_bin(struct top_shared &s, int want)
{
    if (threadIdx.x >= 32) return;
    const int lane = threadIdx.x;
    int sum = 0, before;
    for (int i = 0; i < 8; i++) sum += s.bins[255 - lane * 8 - i];
    int upto = sum;
    for (int o = 1; o < 32; o *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, upto, o);
        if (lane >= o) upto += other;
    }
    before = upto - sum;
    if (before >= want || upto < want) return;
    int bin = 255 - lane * 8;
    while (before + s.bins[bin] < want) before += s.bins[bin--];
    s.bin = bin;
    s.above = before;
}

/* The k-th largest key (1 <= k <= n) of BITS bits, and how many keys equal to it are among the k best.  key(i): a function of the index. */
template <int BITS, class Key> __device__ static uint64_t top_threshold(struct top_shared &s, int n, int k, const Key &key, int *n_equal)
{
    uint64_t prefix = 0, mask = 0;
    int want = k;
    for (int shift = BITS - 8; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < 256; i += blockDim.x) s.bins[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            const uint64_t x = key(i);
            if ((x & mask) == prefix) atomicAdd(&s.bins[(x >> shift) & 255], 1);
        }
        __syncthreads();
        top_find_bin(s, want);
        __syncthreads();
        want -= s.above;
        prefix |= (uint64_t)s.bin << shift;
        mask |= (uint64_t)255 << shift;
        __syncthreads();
    }
    *n_equal = want;
    return prefix;
}

/* Threads below this one for which it holds, and *all of them. */
__device__ static inline int top_rank(struct top_shared &s, bool holds, int *all)
{
    const unsigned vote = __ballot_sync(0xffffffffu, holds);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    __syncthreads();
    if (lane == 0) s.warps[warp] = __popc(vote);
    __syncthreads();
    int before = 0;
    *all = 0;
    for (int w = 0; w < (int)blockDim.x / 32; w++) {
        before += w < warp ? s.warps[w] : 0;
        *all += s.warps[w];
    }
    return before + __popc(vote & ((1u << lane) - 1));
}

/* take(rank, index) for each of the k best, in the order of the index. */
template <int BITS, class Key, class Take> __device__ static void top_select(struct top_shared &s, int n, int k, const Key &key, const Take &take)
{
    if (k <= 0) return;
    int n_equal, equal_before = 0, chosen_before = 0;
    const uint64_t t = top_threshold<BITS>(s, n, k, key, &n_equal);
    for (int base = 0; base < n; base += blockDim.x) {
        const int i = base + threadIdx.x;
        const uint64_t x = i < n ? key(i) : 0;
        int n_all;
        const int rank = equal_before + top_rank(s, i < n && x == t, &n_all);
        equal_before += n_all;
        const bool chosen = i < n && (x > t || (x == t && rank < n_equal));
        const int at = chosen_before + top_rank(s, chosen, &n_all);
        chosen_before += n_all;
        if (chosen) take(at, i);
    }
}

#endif
