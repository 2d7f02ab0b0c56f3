/* kernels/cuda_rope.cuh: what becomes of single elements of q, k and v, the same whichever kernel has them. */
#ifndef KERNELS_CUDA_ROPE_CUH
#define KERNELS_CUDA_ROPE_CUH

#include "kernels/cuda_kv.cuh"

/* The pair of a head's elements that element e is of, and whether it is the second. */
struct rope_place {
    int pair, other; /* other: the pair's other element */
    bool second;
};

__device__ static inline struct rope_place rope_place_of(int e, int n_pairs, enum rope_style style)
{
    if (style == ROPE_PAIRS) return { e / 2, e ^ 1, e % 2 == 1 };
    const bool second = e >= n_pairs;
    return { second ? e - n_pairs : e, second ? e - n_pairs : e + n_pairs, second };
}

/* The first or the second element of the pair (x0, x1), turned.  Products of float32 numbers are exact in double: one rounding to double, one to
 * float32. */
__device__ static inline float rope_turned(float x0, float x1, float cosine, float sine, bool second)
{
    const double a = second ? sine : cosine, b = second ? cosine : -sine;
    return (float)((double)x0 * a + (double)x1 * b);
}

/* Element e of a KV head's k or v of a row to its store or tail, with e of all tokens of the tail's tile; what the cache then holds. */
__device__ static inline float kv_append(const struct kv_cache &c, int layer, const struct row &row, int kv_head, int e, bool is_v, float x)
{
    const __half h = __float2half_rn(x), nan = __ushort_as_half(0xffff);
    const struct token to = token_of(c, layer, row.store, row.tail, row.position, kv_head, row.position);
    (is_v ? to.v : to.k)[e] = h;
    if (row.tail == NO_TAIL) return __half2float(h);
    const int first = row.position / KV_TILE * KV_TILE;
    for (int p = first; p < first + KV_TILE; p++) {
        if (p == row.position) continue;
        const struct token tail = token_of(c, layer, row.store, row.tail, row.position, kv_head, p);
        const struct token from = token_of(c, layer, row.store, NO_TAIL, row.position, kv_head, p);
        (is_v ? tail.v : tail.k)[e] = p < row.position ? (is_v ? from.v : from.k)[e] : nan;
    }
    return __half2float(h);
}

#endif
