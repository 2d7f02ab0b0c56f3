/* kernels/cuda_top.cuh: the best k of n by a cluster of C blocks of T threads, ties to the lower index, in the order of the index.
 *
 * Scores become unsigned integers of the same order (NaN counts as -inf, -0 as 0).  A range of the keys, at first one that a sample of them
 * suggests, is cut into bins of equal width, the last one open, and what falls into each is counted; the bin that holds the k-th largest is
 * the next range, until it is taken whole, holds a few keys that are compared with each other, or one value.  A pass in the order of the
 * index then hands out what is above and the first of what is equal.
 *
 * Each warp of the cluster has a run of consecutive indices.  What a block has counted it writes into the others' shared memory, so that
 * each decides by itself what all decide, between two barriers of the cluster. */
#ifndef KERNELS_CUDA_TOP_CUH
#define KERNELS_CUDA_TOP_CUH

#include "kernels/cuda_top_keys.cuh"

static constexpr int TOP_BITS = 11, TOP_BINS = 1 << TOP_BITS, TOP_GROUPS = TOP_BINS / 32;
static constexpr int TOP_FEW = 64, TOP_WARPS = 128, TOP_CLUSTER = 8; /* warps and blocks of a cluster, at most */

struct top_part {
    uint64_t least, most, mean;
};

struct top_tally {
    int above, equal;
};

struct top_found {
    uint64_t key;
    int index;
};

/* Other blocks of the cluster write groups, tallies and found, and read bins. */
struct top_shared {
    int bins[TOP_BINS];
    int groups[TOP_CLUSTER][TOP_GROUPS];  /* sums of 32 bins */
    struct top_tally tallies[TOP_WARPS];
    struct top_found found[TOP_FEW];
    struct top_part parts[32];
    int n_found;
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

/* About the mean. */
__device__ static inline uint32_t warp_mean(uint32_t x)
{
    return __reduce_add_sync(0xffffffffu, x / 32);
}

__device__ static inline uint64_t warp_mean(uint64_t x)
{
    x /= 32;
    for (int o = 16; o > 0; o /= 2) x += __shfl_xor_sync(0xffffffffu, x, o);
    return x;
}

/* The sum over the lanes up to this one. */
__device__ static inline int warp_upto(int x)
{
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int o = 1; o < 32; o *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, x, o);
        if (lane >= o) x += other;
    }
    return x;
}

/* The range of a sample, one key for each thread, and a bound that somewhat more than the best tenth is usually above. */
template <class K> struct top_range {
    K least, most, likely;
};

template <int T> __device__ static inline void top_clear(struct top_shared &s)
{
    for (int i = threadIdx.x; i < TOP_BINS; i += T) s.bins[i] = 0;
}

/* x: this thread's.  Also clears what is counted in shared memory. */
template <int T, class K> __device__ static struct top_range<K> top_sample(struct top_shared &s, K x)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    top_clear<T>(s);
    if (threadIdx.x == 0) s.n_found = 0;
    const K low = warp_least(x), high = (K)~warp_least((K)~x), part = warp_mean(x);
    if (lane == 0) s.parts[warp] = { low, high, part };
    __syncthreads();
    const struct top_part p = s.parts[lane % (T / 32)];
    top_range<K> r = { warp_least((K)p.least), (K)~warp_least((K)~(K)p.most), 0 };
    const K mean = min(max(warp_mean((K)p.mean), r.least), r.most) - r.least;
    r.likely = r.least + (mean - mean / 8) + (r.most - r.least) / 8;
    return r;
}

/* Where the want-th is, from the highest bin down; bin -1: below all of them. */
struct top_place {
    int bin, above, in, before; /* before: of those in the bin, the ones in blocks of lower rank */
};

/* By each warp for itself, between barriers of the cluster. */
template <int C> __device__ static inline struct top_place top_find(struct top_shared &s, int want)
{
    constexpr int N = TOP_GROUPS / 32;
    const int lane = threadIdx.x % 32, rank = cluster_rank<C>();
    int in[N] = {}, sum = 0;
#pragma unroll
    for (int i = 0; i < N; i++) {
#pragma unroll
        for (int c = 0; c < C; c++) in[i] += s.groups[c][TOP_GROUPS - 1 - lane * N - i];
        sum += in[i];
    }
    int upto = warp_upto(sum);
    struct top_place p = { -1, __shfl_sync(0xffffffffu, upto, 31), 0, 0 };
    if (p.above < want) return p;
    int lane_of = __ffs((int)__ballot_sync(0xffffffffu, upto >= want)) - 1, above = upto - sum, group = TOP_GROUPS - 1 - lane * N;
#pragma unroll
    for (int i = 0; i < N - 1; i++)
        if (above + in[i] < want) {
            above += in[i];
            group--;
        } else break;
    above = __shfl_sync(0xffffffffu, above, lane_of);
    group = __shfl_sync(0xffffffffu, group, lane_of);
    int x[C], before = 0;
    sum = 0;
#pragma unroll
    for (int c = 0; c < C; c++) x[c] = *cluster_at<C>(&s.bins[group * 32 + 31 - lane], c);
#pragma unroll
    for (int c = 0; c < C; c++) {
        sum += x[c];
        before += c < rank ? x[c] : 0;
    }
    upto = above + warp_upto(sum);
    lane_of = __ffs((int)__ballot_sync(0xffffffffu, upto >= want)) - 1;
    p.bin = group * 32 + 31 - lane_of;
    p.above = __shfl_sync(0xffffffffu, upto - sum, lane_of);
    p.in = __shfl_sync(0xffffffffu, sum, lane_of);
    p.before = __shfl_sync(0xffffffffu, before, lane_of);
    return p;
}

/* The sums of groups of bins, to all blocks of the cluster. */
template <int T, int C> __device__ static inline void top_tell(struct top_shared &s)
{
    constexpr int N = TOP_GROUPS / (T / 32);
    const int lane = threadIdx.x % 32, first = threadIdx.x / 32 * N;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int sum = __reduce_add_sync(0xffffffffu, s.bins[(first + i) * 32 + lane]);
        if (lane < C) *cluster_at<C>(&s.groups[cluster_rank<C>()][first + i], lane) = sum;
    }
}

/* The range that the k-th largest is in, and what is chosen of it: all, of a few keys the best, or of one value the first. */
enum top_kind { TOP_ALL, TOP_BEST, TOP_FIRST };
template <class K> struct top_edge {
    K least, most;
    int want, in, before;
    enum top_kind kind;
};

__device__ static inline int bit_length(uint32_t x)
{
    return 32 - __clz((int)x);
}

__device__ static inline int bit_length(uint64_t x)
{
    return 64 - __clzll((long long)x);
}

template <int T, int C, class Source>
__device__ static auto top_find_edge(struct top_shared &s, int k, const Source &keys, const struct top_range<typename Source::K> &sample)
{
    typedef typename Source::K K;
    struct top_edge<K> e = { 0, (K)~(K)0, k, keys.n, 0, TOP_FIRST };
    K low = k < keys.n / 4 ? sample.likely : sample.least, high = sample.most; /* what is cut into bins, between least and most */
    while (true) {
        const int shift = max(bit_length((K)(high - low)) - TOP_BITS, 0);
        keys.each([&](int first, const K (&x)[TOP_ITEMS]) {
#pragma unroll
            for (int r = 0; r < TOP_ITEMS; r++)
                if (first + r < keys.n && x[r] >= low && x[r] <= e.most) atomicAdd(&s.bins[(int)min((K)((x[r] - low) >> shift), (K)(TOP_BINS - 1))], 1);
        });
        __syncthreads();
        top_tell<T, C>(s);
        cluster_sync<C>();
        const struct top_place p = top_find<C>(s, e.want);
        e.want -= p.above;
        if (p.bin < 0) {
            e.in -= p.above;
            e.most = low - 1;
            low = sample.least < low ? sample.least : e.least;
        } else {
            e.in = p.in;
            e.before = p.before;
            e.least = low + ((K)p.bin << shift);
            const K width = ((K)1 << shift) - 1; /* least + width may be more than K holds */
            if (p.bin < TOP_BINS - 1 && e.most - e.least > width) e.most = e.least + width;
            low = e.least;
            e.kind = e.in == e.want ? TOP_ALL : e.in <= TOP_FEW ? TOP_BEST : TOP_FIRST;
            if (e.kind != TOP_FIRST || e.least == e.most) return e;
        }
        high = e.most;
        cluster_sync<C>(); /* all have read the bins */
        top_clear<T>(s);
        __syncthreads();
    }
}

/* Of the edge's keys the want-th in the order of selection; *below: how many of the chosen ones have an index below first.  By a warp. */
template <class K> __device__ static inline struct top_found top_best(const struct top_shared &s, const struct top_edge<K> &e, int first, int *below)
{
    struct top_found last = { 0, 0 };
    *below = 0;
    for (int base = 0; base < e.in; base += 32) {
        const int i = base + threadIdx.x % 32;
        const struct top_found x = s.found[i < e.in ? i : 0];
        int before = 0;
#pragma unroll 4
        for (int l = 0; l < e.in; l++) {
            const struct top_found y = s.found[l];
            before += (K)y.key > (K)x.key || ((K)y.key == (K)x.key && y.index < x.index);
        }
        *below += __popc(__ballot_sync(0xffffffffu, i < e.in && before < e.want && x.index < first));
        const unsigned is = __ballot_sync(0xffffffffu, i < e.in && before == e.want - 1);
        if (is) last = s.found[base + __ffs((int)is) - 1];
    }
    return last;
}

/* Of a thread's keys, those above the edge and those in it, a bit each. */
struct top_bits {
    unsigned above, equal;
};

template <class K> __device__ static inline struct top_bits top_bits_of(const struct top_edge<K> &e, int first, int n, const K (&x)[TOP_ITEMS])
{
    struct top_bits b = { 0, 0 };
#pragma unroll
    for (int r = 0; r < TOP_ITEMS; r++) {
        if (x[r] > e.most) b.above |= 1u << r;
        if (x[r] >= e.least) b.equal |= 1u << r;
    }
    const int n_in = min(max(n - first, 0), TOP_ITEMS);
    const unsigned in = (1u << n_in) - 1;
    b.equal &= in & ~b.above;
    b.above &= in;
    if (e.kind != TOP_ALL) return b;
    return { b.above | b.equal, 0 };
}

/* take(rank, index) for each of the k best, in the order of the index.  By all threads of the cluster, which has come to a barrier before. */
template <int T, int C, class Source, class Take>
__device__ static void top_take(struct top_shared &s, int k, const Source &keys, const struct top_range<typename Source::K> &sample, const Take &take)
{
    typedef typename Source::K K;
    const struct top_edge<K> e = top_find_edge<T, C>(s, k, keys, sample);
    struct top_bits kept = { 0, 0 };
    const int lane = threadIdx.x % 32, warp = cluster_rank<C>() * (T / 32) + (int)threadIdx.x / 32, n = keys.n;
    int above = 0, equal = 0;
    keys.each([&](int first, const K (&x)[TOP_ITEMS]) {
        const struct top_bits b = top_bits_of(e, first, n, x);
        kept = b;
        above += __popc(b.above);
        equal += __popc(b.equal);
        if (e.kind != TOP_BEST || b.equal == 0) return;
#pragma unroll
        for (int r = 0; r < TOP_ITEMS; r++)
            if (b.equal >> r & 1) {
                const int at = e.before + atomicAdd(&s.n_found, 1);
                for (int c = 0; c < C; c++) *cluster_at<C>(&s.found[at], c) = { x[r], first + r };
            }
    });
    above = __reduce_add_sync(0xffffffffu, above);
    equal = __reduce_add_sync(0xffffffffu, equal);
    if (lane < C) *cluster_at<C>(&s.tallies[warp], lane) = { above, equal };
    cluster_sync<C>();
    above = equal = 0;
    for (int i = lane; i < warp; i += 32) {
        above += s.tallies[i].above;
        equal += s.tallies[i].equal;
    }
    above = __reduce_add_sync(0xffffffffu, above);
    equal = __reduce_add_sync(0xffffffffu, equal);
    struct top_found last = { 0, 0 };
    int below = e.kind == TOP_FIRST ? min(equal, e.want) : 0;
    if (e.kind == TOP_BEST) last = top_best(s, e, keys.from, &below);
    int rank = above + below;
    keys.each([&](int first, const K (&x)[TOP_ITEMS]) {
        struct top_bits b = Source::IS_HELD ? kept : top_bits_of(e, first, n, x);
        int ties = e.want - equal;
        if (e.kind == TOP_FIRST) {
            const int own = __popc(b.equal), upto = warp_upto(own);
            ties -= upto - own;
            equal += __shfl_sync(0xffffffffu, upto, 31);
        }
        if (b.equal)
#pragma unroll
            for (int r = 0; r < TOP_ITEMS; r++)
                if ((b.equal >> r & 1) &&
                    (e.kind == TOP_FIRST ? ties-- > 0 : x[r] > (K)last.key || (x[r] == (K)last.key && first + r <= last.index)))
                    b.above |= 1u << r;
        const int own = __popc(b.above), upto = warp_upto(own);
        int at = rank + upto - own;
        for (unsigned left = b.above; left; left &= left - 1) take(at++, first + __ffs((int)left) - 1);
        rank += __shfl_sync(0xffffffffu, upto, 31);
    });
}

template <int T, int C, bool HELD, class Key, class Take>
__device__ static void top_select_as(struct top_shared &s, int n, int k, const Key &key, const Take &take)
{
    typename Key::type one = key.get((int)((2 * threadIdx.x + 1) * (unsigned)n / (2 * T)));
    struct top_source<Key, T, C, HELD> keys(key, n);
    const auto sample = top_sample<T>(s, key.order(one));
    if (HELD) keys.order(keys.held);
    top_take<T, C>(s, k, keys, sample, take);
}

template <int T, int C, class Key, class Take> __device__ static void top_select(struct top_shared &s, int n, int k, const Key &key, const Take &take)
{
    if (k <= 0) return;
    if (n <= T * C * TOP_ITEMS) top_select_as<T, C, true>(s, n, k, key, take);
    else top_select_as<T, C, false>(s, n, k, key, take);
}

#endif
