/* kernels/cuda_top.cuh: the best k of n by a block of threads, ties to the lower index, in the order of the index.
 *
 * Scores become unsigned integers of the same order (NaN counts as -inf, -0 as 0).  A range of the keys is cut into bins of equal width and
 * what falls into each is counted; the bin that holds the k-th largest is the next range, until it is taken whole, holds a few keys that are
 * compared with each other, or one value.  A pass in the order of the index then hands out what is above and the first of what is equal.
 * Each warp has a run of consecutive indices. */
#ifndef KERNELS_CUDA_TOP_CUH
#define KERNELS_CUDA_TOP_CUH

#include "kernels/cuda_device.cuh"

static constexpr int TOP_BITS = 11, TOP_BINS = 1 << TOP_BITS; /* a whole number of bins for each thread */
static constexpr int TOP_FEW = 64, TOP_ALL = INT32_MAX;

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

struct top_shared {
    uint64_t least[32], most[32], found[TOP_FEW], threshold;
    int bins[TOP_BINS], warps[32], equal[32];
    int bin, above, in_bin, n_found, n_equal;
    float sum[32];
};

struct top_run {
    int first, end;
};

__device__ static inline struct top_run top_run_of(int n)
{
    const int length = (n + (int)blockDim.x - 1) / (int)blockDim.x * 32, first = threadIdx.x / 32 * length;
    return { first, min(first + length, n) };
}

/* Keys that are computed or read again in each pass, key(i).  each(f): f(i, is an index, key) by whole warps. */
template <class K, class Key> struct top_computed {
    typedef K type;
    const Key &key;
    struct top_run run;

    template <class F> __device__ void each(const F &f) const
    {
        for (int base = run.first; base < run.end; base += 32) {
            const int i = base + threadIdx.x % 32;
            f(i, i < run.end, i < run.end ? (K)key(i) : (K)0);
        }
    }
};

/* Keys held in registers, ITEMS for each thread. */
template <class K, int ITEMS> struct top_held {
    typedef K type;
    K x[ITEMS];
    struct top_run run;

    template <class Key> __device__ void load(const Key &key)
    {
#pragma unroll
        for (int r = 0; r < ITEMS; r++) {
            const int i = run.first + r * 32 + threadIdx.x % 32;
            x[r] = i < run.end ? (K)key(i) : (K)0;
        }
    }

    template <class F> __device__ void each(const F &f) const
    {
#pragma unroll
        for (int r = 0; r < ITEMS; r++) {
            const int base = run.first + r * 32, i = base + threadIdx.x % 32;
            if (base >= run.end) break;
            f(i, i < run.end, x[r]);
        }
    }
};

__device__ static inline uint32_t warp_least(uint32_t x)
{
    return __reduce_min_sync(0xffffffffu, x);
}

__device__ static inline uint64_t warp_least(uint64_t x)
{
    for (int o = 16; o > 0; o /= 2) {
        const uint64_t other = __shfl_xor_sync(0xffffffffu, x, o);
        x = other < x ? other : x;
    }
    return x;
}

__device__ static inline float warp_sum(float x)
{
    for (int o = 16; o > 0; o /= 2) x += __shfl_xor_sync(0xffffffffu, x, o);
    return x;
}

/* The keys' range, and a bound that somewhat more than the best tenth is usually above. */
struct top_range {
    uint64_t least, most, likely;
};

template <class Source> __device__ static struct top_range top_reduce(struct top_shared &s, int n, const Source &keys)
{
    typedef typename Source::type K;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, n_warps = blockDim.x / 32;
    K least = ~(K)0, most = 0;
    float sum = 0;
    keys.each([&](int, bool in, K x) {
        least = in && x < least ? x : least;
        most = in && x > most ? x : most;
        sum += in ? (float)x : 0.0f;
    });
    least = warp_least(least);
    most = (K)~warp_least((K)~most);
    sum = warp_sum(sum);
    if (lane == 0) {
        s.least[warp] = least;
        s.most[warp] = most;
        s.sum[warp] = sum;
    }
    __syncthreads();
    const struct top_range r = { warp_least((K)(lane < n_warps ? s.least[lane] : ~(uint64_t)0)),
                                 (K)~warp_least((K)(lane < n_warps ? ~s.most[lane] : ~(uint64_t)0)), 0 };
    const float low = (float)r.least, range = (float)(r.most - r.least), mean = warp_sum(lane < n_warps ? s.sum[lane] : 0) / (float)n - low;
    const uint64_t likely = (uint64_t)(0.875f * fminf(fmaxf(mean, 0), range) + 0.125f * range);
    return { r.least, r.most, r.least + (likely < r.most - r.least ? likely : 0) };
}

/* The sum over the threads up to this one. */
__device__ static inline int top_sum(struct top_shared &s, int x)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int o = 1; o < 32; o *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, x, o);
        if (lane >= o) x += other;
    }
    if (lane == 31) s.warps[warp] = x;
    __syncthreads();
    int before = lane < warp ? s.warps[lane] : 0;
    for (int o = 16; o > 0; o /= 2) before += __shfl_xor_sync(0xffffffffu, before, o);
    return before + x;
}

/* s.bin: from the highest down, the one that holds the want-th; -1: there are not so many. */
__device__ static inline void top_find_bin(struct top_shared &s, int want)
{
    const int n = TOP_BINS / blockDim.x, high = TOP_BINS - 1 - n * threadIdx.x;
    int sum = 0;
    for (int i = 0; i < n; i++) sum += s.bins[high - i];
    const int upto = top_sum(s, sum);
    int before = upto - sum, bin = high;
    if (threadIdx.x == blockDim.x - 1 && upto < want) s.bin = -1;
    if (before < want && want <= upto) {
        while (before + s.bins[bin] < want) before += s.bins[bin--];
        s.bin = bin;
        s.above = before;
        s.in_bin = s.bins[bin];
    }
    __syncthreads();
}

template <class Source> __device__ static void top_count(struct top_shared &s, const Source &keys, uint64_t least, uint64_t most, int shift)
{
    typedef typename Source::type K;
    for (int i = threadIdx.x; i < TOP_BINS; i += blockDim.x) s.bins[i] = 0;
    if (threadIdx.x == 0) s.n_found = 0;
    __syncthreads();
    keys.each([&](int, bool in, K x) {
        if (in && x >= (K)least && x <= (K)most) atomicAdd(&s.bins[(int)((x - (K)least) >> shift)], 1);
    });
    __syncthreads();
}

/* Of few keys in a range, the want-th. */
template <class Source> __device__ static void top_compare(struct top_shared &s, const Source &keys, uint64_t least, uint64_t most, int want)
{
    typedef typename Source::type K;
    keys.each([&](int, bool in, K x) {
        if (in && x >= (K)least && x <= (K)most) s.found[atomicAdd(&s.n_found, 1)] = x;
    });
    __syncthreads();
    if ((int)threadIdx.x < s.n_found) {
        const uint64_t x = s.found[threadIdx.x];
        int above = 0, not_below = 0;
        for (int i = 0; i < s.n_found; i++) {
            above += s.found[i] > x;
            not_below += s.found[i] >= x;
        }
        if (above < want && want <= not_below) {
            s.threshold = x;
            s.n_equal = want == not_below ? TOP_ALL : want - above;
        }
    }
    __syncthreads();
}

/* The least key that is chosen, and how many equal to it are (TOP_ALL: all). */
template <class Source> __device__ static uint64_t top_threshold(struct top_shared &s, int n, int k, const Source &keys, int *n_equal)
{
    struct top_range r = top_reduce(s, n, keys);
    int want = k;
    uint64_t least = k < n / 4 ? r.likely : r.least;
    while (least < r.most) {
        const int shift = max(64 - __clzll((long long)(r.most - least)) - TOP_BITS, 0);
        top_count(s, keys, least, r.most, shift);
        top_find_bin(s, want);
        if (s.bin < 0) { /* fewer than k are as likely as that */
            least = r.least;
            __syncthreads();
            continue;
        }
        want -= s.above;
        least += (uint64_t)s.bin << shift;
        const uint64_t most = least + ((uint64_t)1 << shift) - 1;
        r.most = most < r.most ? most : r.most;
        if (s.in_bin == want) {
            *n_equal = TOP_ALL;
            return least;
        }
        if (s.in_bin <= TOP_FEW) {
            top_compare(s, keys, least, r.most, want);
            *n_equal = s.n_equal;
            return s.threshold;
        }
        __syncthreads();
    }
    *n_equal = want;
    return least;
}

/* take(rank, index) for each of the k best, in the order of the index. */
template <class Source, class Take> __device__ static void top_select(struct top_shared &s, int n, int k, const Source &keys, const Take &take)
{
    typedef typename Source::type K;
    if (k <= 0) return;
    int n_equal;
    const K t = (K)top_threshold(s, n, k, keys, &n_equal);
    const bool all = n_equal == TOP_ALL;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int above = 0, equal = 0;
    keys.each([&](int, bool in, K x) {
        above += __popc(__ballot_sync(0xffffffffu, in && (all ? x >= t : x > t)));
        if (!all) equal += __popc(__ballot_sync(0xffffffffu, in && x == t));
    });
    __syncthreads();
    if (lane == 0) {
        s.warps[warp] = above;
        s.equal[warp] = equal;
    }
    __syncthreads();
    above = lane < warp ? s.warps[lane] : 0;
    equal = lane < warp ? s.equal[lane] : 0;
    for (int o = 16; o > 0; o /= 2) { /* in the warps before */
        above += __shfl_xor_sync(0xffffffffu, above, o);
        equal += __shfl_xor_sync(0xffffffffu, equal, o);
    }
    const unsigned lower = (1u << lane) - 1;
    keys.each([&](int i, bool in, K x) {
        const bool is_above = in && (all ? x >= t : x > t), is_equal = in && !all && x == t;
        const unsigned votes = __ballot_sync(0xffffffffu, is_above), ties = all ? 0 : __ballot_sync(0xffffffffu, is_equal);
        const int tie = equal + __popc(ties & lower);
        if (is_above || (is_equal && tie < n_equal)) take(above + __popc(votes & lower) + min(tie, n_equal), i);
        above += __popc(votes);
        equal += __popc(ties);
    });
}

/* The same of keys that key(i) computes, of type K. */
template <class K, class Key, class Take> __device__ static void top_select_computed(struct top_shared &s, int n, int k, const Key &key, const Take &take)
{
    const struct top_computed<K, Key> keys = { key, top_run_of(n) };
    top_select(s, n, k, keys, take);
}

#endif
