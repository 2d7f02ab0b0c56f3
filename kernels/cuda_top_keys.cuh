/* kernels/cuda_top_keys.cuh: what cuda_top.cuh chooses from: keys, the runs of them that the warps of a cluster have, and how its blocks of
 * threads reach each other. */
#ifndef KERNELS_CUDA_TOP_KEYS_CUH
#define KERNELS_CUDA_TOP_KEYS_CUH

#include "kernels/cuda_device.cuh"

static constexpr int TOP_ITEMS = 8; /* consecutive keys of a thread */

__device__ static inline uint32_t ordered_f32(float x)
{
    const uint32_t bits = __float_as_uint(x == x ? x + 0.0f : -INFINITY);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ static inline uint64_t ordered_f64(double x)
{
    const uint64_t bits = (uint64_t)__double_as_longlong(x == x ? x + 0.0 : -(double)INFINITY);
    return bits & 0x8000000000000000u ? ~bits : bits | 0x8000000000000000u;
}

/* ---- cluster ---- */

template <int C> __device__ static inline int cluster_rank()
{
    int r = 0;
    if (C > 1) asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}

template <int C> __device__ static inline void cluster_arrive()
{
    if (C > 1) asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

template <int C> __device__ static inline void cluster_wait()
{
    if (C > 1) asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

template <int C> __device__ static inline void cluster_sync()
{
    if (C == 1) __syncthreads();
    cluster_arrive<C>();
    cluster_wait<C>();
}

/* The same place in the shared memory of another block of the cluster. */
template <int C, class X> __device__ static inline X *cluster_at(X *x, int rank)
{
    if (C > 1) asm("mapa.u64 %0, %0, %1;" : "+l"(x) : "r"(rank));
    return x;
}

/* ---- keys ---- */

/* key.get(i) is a key and key.get(first, n, x) fills x with TOP_ITEMS of them, of which those from n on may be anything; key.order(x) of one is what
 * is compared, so that many can be on their way before the first is looked at. */
template <class K, class F> struct top_key {
    typedef K type;
    F f;

    __device__ K get(int i) const
    {
        return f(i);
    }

    __device__ void get(int first, int n, K (&x)[TOP_ITEMS]) const
    {
#pragma unroll
        for (int r = 0; r < TOP_ITEMS; r++) x[r] = first + r < n ? f(first + r) : 0;
    }

    __device__ static K order(K x)
    {
        return x;
    }
};

template <class K, class F> __device__ static inline struct top_key<K, F> top_key_of(const F &f)
{
    return { f };
}

/* Keys of a warp's run, computed or read again in each pass, or held in registers.  each(f): f(first, x) by whole warps, x the lane's keys
 * from index first on. */
template <class Key, int T, int C, bool HELD> struct top_source {
    typedef typename Key::type K;
    static constexpr bool IS_HELD = HELD;
    const Key &key;
    int n, from, to; /* the run */
    K held[TOP_ITEMS];

    __device__ top_source(const Key &key, int n): key(key), n(n)
    {
        const int warp = cluster_rank<C>() * (T / 32) + (int)threadIdx.x / 32, tile = 32 * TOP_ITEMS;
        const int length = HELD ? tile : (n + tile * (T / 32) * C - 1) / (tile * (T / 32) * C) * tile;
        from = min(warp * length, n);
        to = min(from + length, n);
        if (HELD && from < to) key.get(from + (int)threadIdx.x % 32 * TOP_ITEMS, n, held);
    }

    __device__ void order(K (&x)[TOP_ITEMS]) const
    {
#pragma unroll
        for (int r = 0; r < TOP_ITEMS; r++) x[r] = key.order(x[r]);
    }

    template <class F> __device__ void each(const F &f) const
    {
        for (int base = from; base < to; base += 32 * TOP_ITEMS) {
            const int first = base + (int)threadIdx.x % 32 * TOP_ITEMS;
            if (HELD) {
                f(first, held);
                break;
            }
            K x[TOP_ITEMS];
            key.get(first, n, x);
            order(x);
            f(first, x);
        }
    }
};

#endif
