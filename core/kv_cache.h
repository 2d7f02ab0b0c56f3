/* core/kv_cache.h: the KV cache of a run: one dense prefix that all lanes share, and each lane's own suffix.
 *
 * Storage is in tiles of KV_TILE tokens by absolute position (tile t holds positions t*KV_TILE ..), the same grid for
 * every lane whatever its block size, so that attention walks the same tiles in the same order for any selection.
 * Within a tile K is [head_dim][KV_TILE] (a score is then one chain over head_dim for KV_TILE tokens at once, with no
 * horizontal sum) and V is [KV_TILE][head_dim].  A back end may choose the element type; the CPU's is float32.
 *
 *   k_prefix [layer][kv_head][prefix_tiles][head_dim][KV_TILE]            v_prefix [..][KV_TILE][head_dim]
 *   k_own    [layer][store][kv_head][own_tiles][head_dim][KV_TILE]        v_own    [..][KV_TILE][head_dim]
 *   k_tail   [probe][kv_head][head_dim][KV_TILE]                          v_tail   [probe][kv_head][KV_TILE][head_dim]
 *
 * A store is the suffix of one lane with a cache of its own (lane 0's is store 0).  It begins at tile first_own_tile =
 * prefix_tokens / KV_TILE, the tile that straddles the boundary: it holds a copy of those few prefix tokens.  Positions in
 * tiles below first_own_tile are read from the prefix, the others from the store.  A tail is a probe's scratch copy of
 * the last tile, its own token in place of the owner's; it is used within one layer and forgotten.
 * Unwritten slots hold NaN.  All memory is the back end's, touched only by operations.                     */
#ifndef CORE_KV_CACHE_H
#define CORE_KV_CACHE_H

#include <stddef.h>

enum { KV_TILE = 16 };

struct kv_cache {
    int n_layers, n_kv_heads, head_dim;
    int prefix_tokens, prefix_tiles;    /* prefix_tiles = ceil(prefix_tokens / KV_TILE) */
    int first_own_tile, own_tiles;      /* own_tiles covers positions first_own_tile*KV_TILE .. prefix_tokens + n_steps - 1 */
    int n_stores, n_tails;
    void *k_prefix, *v_prefix, *k_own, *v_own, *k_tail, *v_tail; /* owned, device memory */
};

/* Elements of one (layer, kv_head) tile run, and of each array. */
static inline size_t kv_tile_elems(const struct kv_cache *c)
{
    return (size_t)c->head_dim * KV_TILE;
}
static inline size_t kv_prefix_elems(const struct kv_cache *c)
{
    return (size_t)c->n_layers * (size_t)c->n_kv_heads * (size_t)c->prefix_tiles * kv_tile_elems(c);
}
static inline size_t kv_own_elems(const struct kv_cache *c)
{
    return (size_t)c->n_layers * (size_t)c->n_stores * (size_t)c->n_kv_heads * (size_t)c->own_tiles * kv_tile_elems(c);
}
static inline size_t kv_tail_elems(const struct kv_cache *c)
{
    return (size_t)c->n_tails * (size_t)c->n_kv_heads * kv_tile_elems(c);
}
/* Index of the first element of tile `tile` (an absolute tile number) of a layer, store (or KV_PREFIX) and KV head. */
enum { KV_PREFIX = -1 };
static inline size_t kv_prefix_at(const struct kv_cache *c, int layer, int kv_head, int tile)
{
    return (((size_t)layer * (size_t)c->n_kv_heads + (size_t)kv_head) * (size_t)c->prefix_tiles + (size_t)tile) * kv_tile_elems(c);
}
static inline size_t kv_own_at(const struct kv_cache *c, int layer, int store, int kv_head, int tile)
{
    return ((((size_t)layer * (size_t)c->n_stores + (size_t)store) * (size_t)c->n_kv_heads + (size_t)kv_head) * (size_t)c->own_tiles +
            (size_t)(tile - c->first_own_tile)) * kv_tile_elems(c);
}
static inline size_t kv_tail_at(const struct kv_cache *c, int tail, int kv_head)
{
    return ((size_t)tail * (size_t)c->n_kv_heads + (size_t)kv_head) * kv_tile_elems(c);
}

/* Block keys: elementwise min and max of the post-RoPE keys of each block (the paper's block keys), of the cache's
 * element type, for one block size over one store (or over the prefix, store KV_PREFIX: only its whole blocks).  In tiles of
 * KEY_TILE blocks, counted from first_block, so that a score is one chain over head_dim for KEY_TILE blocks at once:
 *
 *   keys [layer][kv_head][n_tiles][2: min, max][head_dim][KEY_TILE]     (a back end may order the blocks of a (layer, KV head) otherwise)
 *
 * Blocks below the first block of a store's set are in the prefix's set of the same block size.  A store's set covers
 * the tokens of earlier steps: the current token's key is folded in by the scoring, and committed after it.  An empty
 * block holds NaN, as fresh memory does, or +inf, -inf. */
enum { KEY_TILE = 16 };
struct key_set {
    int store;                          /* KV_PREFIX: the shared one */
    int block_size, first_block, n_tiles;
    float *keys;                        /* owned, device memory; what the elements are is the back end's affair */
};
static inline size_t key_tile_elems(const struct kv_cache *c)
{
    return (size_t)c->head_dim * 2 * KEY_TILE;
}
static inline size_t key_set_elems(const struct kv_cache *c, const struct key_set *s)
{
    return (size_t)c->n_layers * (size_t)c->n_kv_heads * (size_t)s->n_tiles * key_tile_elems(c);
}
/* Index of min[0][0] of the tile that holds `block` (absolute), for a layer and KV head. */
static inline size_t key_tile_at(const struct kv_cache *c, const struct key_set *s, int layer, int kv_head, int block)
{
    return (((size_t)layer * (size_t)c->n_kv_heads + (size_t)kv_head) * (size_t)s->n_tiles +
            (size_t)((block - s->first_block) / KEY_TILE)) * key_tile_elems(c);
}

#endif
