/* kernels/kv_tile.h: where the CPU's float32 tiles of a context lie (the storage is core/kv_cache.h's).
 *
 * A context is named by its store (or KV_PREFIX), a tail or NO_TAIL, and its last position: tiles below first_own_tile are
 * the prefix's, the last tile is the tail's where there is one, the others are the store's.            */
#ifndef KERNELS_KV_TILE_H
#define KERNELS_KV_TILE_H

#include "core/ops.h"

/* Index of the tile's first element in the array named by *where. */
enum kv_where { KV_IN_PREFIX, KV_IN_STORE };
static inline size_t kv_tile_at(const struct kv_cache *c, int layer, int store, int kv_head, int tile, enum kv_where *where)
{
    *where = store == KV_PREFIX || tile < c->first_own_tile ? KV_IN_PREFIX : KV_IN_STORE;
    return *where == KV_IN_PREFIX ? kv_prefix_at(c, layer, kv_head, tile) : kv_own_at(c, layer, store, kv_head, tile);
}

/* f32 [head_dim][KV_TILE]. */
static inline float *kv_k_tile(const struct kv_cache *c, int layer, int store, int kv_head, int tile)
{
    enum kv_where where;
    const size_t at = kv_tile_at(c, layer, store, kv_head, tile, &where);
    return (float *)(where == KV_IN_PREFIX ? c->k_prefix : c->k_own) + at;
}

/* f32 [KV_TILE][head_dim]. */
static inline float *kv_v_tile(const struct kv_cache *c, int layer, int store, int kv_head, int tile)
{
    enum kv_where where;
    const size_t at = kv_tile_at(c, layer, store, kv_head, tile, &where);
    return (float *)(where == KV_IN_PREFIX ? c->v_prefix : c->v_own) + at;
}

static inline float *kv_k_tail(const struct kv_cache *c, int tail, int kv_head)
{
    return (float *)c->k_tail + kv_tail_at(c, tail, kv_head);
}

static inline float *kv_v_tail(const struct kv_cache *c, int tail, int kv_head)
{
    return (float *)c->v_tail + kv_tail_at(c, tail, kv_head);
}

/* 0 where positions below n_tokens of that store are within the cache; else -1 with a message. */
int kv_check(const struct kv_cache *c, const char *operation, int layer, int store, int n_tokens);
/* The same of a row's position, and of its tail or NO_TAIL. */
int kv_check_row(const struct kv_cache *c, const char *operation, int layer, int store, int tail, int position);

#endif
