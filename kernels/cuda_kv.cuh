/* kernels/cuda_kv.cuh: where the tokens and the block keys of a cache lie, on the device: core/kv_cache.h's places for kernels.
 *
 * A tile of K is [KV_TILE][head_dim] here, as one of V is, so that tokens of one (layer, store, KV head) follow each other. */
#ifndef KERNELS_CUDA_KV_CUH
#define KERNELS_CUDA_KV_CUH

#include "kernels/cuda_device.cuh"

/* Index of a token's first element, in k_prefix and v_prefix or, *own, in k_own and v_own. */
__device__ static inline size_t token_at(const struct kv_cache &c, int layer, int store, int kv_head, int position, bool *own)
{
    const int tile = position / KV_TILE;
    const size_t dim = (size_t)c.head_dim;
    *own = store != KV_PREFIX && tile >= c.first_own_tile;
    if (*own)
        return ((((size_t)layer * c.n_stores + store) * c.n_kv_heads + kv_head) * c.own_tiles * KV_TILE +
                (size_t)(position - c.first_own_tile * KV_TILE)) * dim;
    return (((size_t)layer * c.n_kv_heads + kv_head) * c.prefix_tiles * KV_TILE + (size_t)position) * dim;
}

/* The same in the tail of a probe. */
__device__ static inline size_t tail_at(const struct kv_cache &c, int tail, int kv_head, int position)
{
    return (((size_t)tail * c.n_kv_heads + kv_head) * KV_TILE + (size_t)(position % KV_TILE)) * (size_t)c.head_dim;
}

struct token {
    __half *k, *v; /* [head_dim] each */
};

/* A token of the context that ends at position `last`, seen with that context's tail. */
__device__ static inline struct token token_of(const struct kv_cache &c, int layer, int store, int tail, int last, int kv_head, int position)
{
    struct token t;
    if (tail != NO_TAIL && position / KV_TILE == last / KV_TILE) {
        const size_t at = tail_at(c, tail, kv_head, position);
        t.k = (__half *)c.k_tail + at;
        t.v = (__half *)c.v_tail + at;
        return t;
    }
    bool own;
    const size_t at = token_at(c, layer, store, kv_head, position, &own);
    t.k = (__half *)(own ? c.k_own : c.k_prefix) + at;
    t.v = (__half *)(own ? c.v_own : c.v_prefix) + at;
    return t;
}

/* min[0] of a block; min[i] is i * KEY_TILE further on, max[i] (head_dim + i) * KEY_TILE. */
__device__ static inline float *key_at(const struct kv_cache &c, const struct key_set &s, int layer, int kv_head, int block)
{
    const int b = block - s.first_block;
    const size_t tile = ((size_t)layer * c.n_kv_heads + kv_head) * s.n_tiles + b / KEY_TILE;
    return s.keys + tile * c.head_dim * 2 * KEY_TILE + b % KEY_TILE;
}

/* One past the last block that a set may hold. */
__device__ __host__ static inline int key_set_end(const struct kv_cache &c, const struct key_set &s)
{
    const int end = s.first_block + s.n_tiles * KEY_TILE;
    return s.store == KV_PREFIX && c.prefix_tokens / s.block_size < end ? c.prefix_tokens / s.block_size : end;
}

/* Tokens that the cache has room for, whatever the store. */
static inline int kv_max_tokens(const struct kv_cache *c)
{
    const int prefix = c->prefix_tiles * KV_TILE, own = (c->first_own_tile + c->own_tiles) * KV_TILE;
    return prefix > own ? prefix : own;
}

#endif
