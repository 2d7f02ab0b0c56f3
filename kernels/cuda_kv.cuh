/* kernels/cuda_kv.cuh: where the tokens and the block keys of a cache lie, on the device: core/kv_cache.h's places for kernels.
 *
 * A tile of K is [KV_TILE][head_dim] here, as one of V is, so that tokens of one (layer, store, KV head) follow each other. */
#ifndef KERNELS_CUDA_KV_CUH
#define KERNELS_CUDA_KV_CUH

#include "kernels/cuda_device.cuh"

/* Row of a token in k_prefix and v_prefix or, *own, in k_own and v_own, as arrays [rows][head_dim]. */
__device__ static inline size_t token_row(const struct kv_cache &c, int layer, int store, int kv_head, int position, bool *own)
{
    *own = store != KV_PREFIX && position / KV_TILE >= c.first_own_tile;
    if (*own)
        return (((size_t)layer * c.n_stores + store) * c.n_kv_heads + kv_head) * c.own_tiles * KV_TILE + (size_t)(position - c.first_own_tile * KV_TILE);
    return ((size_t)layer * c.n_kv_heads + kv_head) * c.prefix_tiles * KV_TILE + (size_t)position;
}

/* Index of its first element. */
__device__ static inline size_t token_at(const struct kv_cache &c, int layer, int store, int kv_head, int position, bool *own)
{
    return token_row(c, layer, store, kv_head, position, own) * (size_t)c.head_dim;
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

/* Block keys are fp16, as K is, so that min and max are exact.  The blocks of a (layer, KV head) follow each other in tiles of CUDA_KEY_TILE (the
 * last may be narrower): [head_dim][2: min, max][blocks of the tile].  The sign of a query's element says which of min and max a score
 * takes; a row of either is 128 bytes, so what is not taken is not read.  Memory that was never written, NaN, is an empty block. */
static constexpr int CUDA_KEY_TILE = 64;

struct block_key {
    __half *low; /* min[0] */
    int width;   /* of the tile: max[i] is width further on than min[i], min[i + 1] another width */
};

__device__ static inline struct block_key key_at(const struct kv_cache &c, const struct key_set &s, int layer, int kv_head, int block)
{
    const int b = block - s.first_block, first = b / CUDA_KEY_TILE * CUDA_KEY_TILE, n_blocks = s.n_tiles * KEY_TILE;
    const size_t before = ((size_t)layer * c.n_kv_heads + kv_head) * n_blocks + first;
    return { (__half *)s.keys + before * c.head_dim * 2 + b % CUDA_KEY_TILE, min(CUDA_KEY_TILE, n_blocks - first) };
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
