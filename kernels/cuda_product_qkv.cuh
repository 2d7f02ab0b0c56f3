/* kernels/cuda_product_qkv.cuh: what becomes of a sum that is an element of q, k or v: what rope_append makes of it, the same bits.
 *
 * For models without a norm of q and k, and lanes that nothing perturbs: then an element needs but its pair.  Heads do not reach from one tile of
 * outputs into the next. */
#ifndef KERNELS_CUDA_PRODUCT_QKV_CUH
#define KERNELS_CUDA_PRODUCT_QKV_CUH

#include "kernels/cuda_product.cuh"
#include "kernels/cuda_rope.cuh"

/* An output as an element of q, k or v. */
struct qkv_column {
    struct column own, other; /* other: of its pair */
    int element, kv_head;     /* kv_head: -1: of q */
    int apart;                /* the other's place less its own */
    int pair;
    bool second, is_v;
};

__device__ static inline struct qkv_column qkv_column_of(const struct product_job &j, int out)
{
    const int dim = j.kv.head_dim, head = out / dim - j.rope.n_heads, e = out % dim;
    const struct rope_place p = rope_place_of(e, dim / 2, j.rope.style);
    const bool is_v = head >= j.kv.n_kv_heads;
    return { column_of(j, out), column_of(j, out - e + p.other), e, max(is_v ? head - j.kv.n_kv_heads : head, -1), p.other - e, p.pair, p.second, is_v };
}

/* Of a row. */
struct turn {
    float cosine, sine;
};

__device__ static inline struct turn turn_at(const struct product_job &j, const struct qkv_column &c, int row)
{
    const size_t at = (size_t)row * (size_t)(j.kv.head_dim / 2) + (size_t)c.pair;
    const bool is = row < j.n_rows;
    return { load_if(is, j.rope.cosine + at), load_if(is, j.rope.sine + at) };
}

/* sum, other: the sums of the column and of its pair's other. */
__device__ static inline void qkv_put(const struct product_job &j, const struct qkv_column &c, const struct row &row, int r, float sum, float other, float scale,
                                      const struct turn &t)
{
    if (c.own.at < 0 || r >= j.n_rows) return;
    float x = sum_of(c.own, sum, scale, 0);
    if (!c.is_v) {
        const float y = sum_of(c.other, other, scale, 0);
        x = rope_turned(c.second ? y : x, c.second ? x : y, t.cosine, t.sine, c.second);
    }
    if (c.kv_head >= 0) x = kv_append(j.kv, j.rope.layer, row, c.kv_head, c.element, c.is_v, x);
    j.y[(size_t)r * (size_t)j.n_out + (size_t)c.own.at] = x;
}

#endif
