#include "kernels/cpu.h"
#include "kernels/kv_tile.h"

#include "core/err.h"
#include "core/ints.h"

#include <math.h>

/* Blocks that a set may hold: the prefix's set holds whole blocks only. */
static int set_end(const struct kv_cache *kv, const struct key_set *s)
{
    const int end = s->first_block + s->n_tiles * KEY_TILE;
    return s->store == KV_PREFIX ? min_int(end, kv->prefix_tokens / s->block_size) : end;
}

/* Widens one block's key, mn and mn + head_dim * KEY_TILE, by a key whose elements are k_step apart.  Memory that was
 * never written (NaN) counts as an empty block. */
static void key_fold(float *mn, const float *k, int head_dim, int k_step)
{
    float *mx = mn + (size_t)head_dim * KEY_TILE;
    for (int i = 0; i < head_dim; i++) {
        const float x = k[(size_t)i * (size_t)k_step];
        float *low = &mn[(size_t)i * KEY_TILE], *high = &mx[(size_t)i * KEY_TILE];
        *low = *low <= x ? *low : x;
        *high = *high >= x ? *high : x;
    }
}

static float *key_of(const struct kv_cache *kv, const struct key_set *s, int layer, int kv_head, int block)
{
    return s->keys + key_tile_at(kv, s, layer, kv_head, block) + (block - s->first_block) % KEY_TILE;
}

int cpu_keys_commit(struct device *d, const struct keys_commit_args *a)
{
    const struct kv_cache *kv = a->kv;
    const int dim = kv->head_dim, n_items = a->n_sets * kv->n_kv_heads;
    const size_t stride = (size_t)(a->n_heads + 2 * kv->n_kv_heads) * (size_t)dim;
#pragma omp parallel for num_threads(d->n_threads) schedule(static)
    for (int item = 0; item < n_items; item++) {
        const struct key_set *s = &a->sets[item / kv->n_kv_heads];
        const int h = item % kv->n_kv_heads, end = set_end(kv, s);
        for (int r = 0; r < a->n_rows; r++) {
            const struct row *row = &a->rows[r];
            const int block = row->position / s->block_size;
            if (row->tail != NO_TAIL || row->store != s->store || block < s->first_block || block >= end) continue;
            key_fold(key_of(kv, s, a->layer, h, block), a->qkv + (size_t)r * stride + (size_t)(a->n_heads + h) * (size_t)dim,
                     dim, 1);
        }
    }
    return 0;
}

static void key_build(const struct keys_build_args *a, const struct key_set *s, int kv_head, int block)
{
    const int dim = a->kv->head_dim;
    float *mn = key_of(a->kv, s, a->layer, kv_head, block), *mx = mn + (size_t)dim * KEY_TILE;
    for (int i = 0; i < dim; i++) {
        mn[(size_t)i * KEY_TILE] = INFINITY;
        mx[(size_t)i * KEY_TILE] = -INFINITY;
    }
    const int to = min_int((block + 1) * s->block_size, a->n_tokens);
    for (int p = block * s->block_size; p < to; p++)
        key_fold(mn, kv_k_tile(a->kv, a->layer, s->store, kv_head, p / KV_TILE) + p % KV_TILE, dim, KV_TILE);
}

int cpu_keys_build(struct device *d, const struct keys_build_args *a)
{
    const struct key_set *s = &a->sets[a->set];
    TRY(kv_check(a->kv, "keys_build", a->layer, s->store, a->n_tokens), "block keys");
    const int first = a->from_block, last = min_int(a->to_block, set_end(a->kv, s) - 1);
    if (first < s->first_block)
        return fail("keys_build: block %d is below the set's first, %d", first, s->first_block);
    const int n_blocks = last - first + 1, n_items = n_blocks > 0 ? n_blocks * a->kv->n_kv_heads : 0;
#pragma omp parallel for num_threads(d->n_threads) schedule(static) if (n_items > KEY_TILE)
    for (int item = 0; item < n_items; item++) key_build(a, s, item / n_blocks, first + item % n_blocks);
    return 0;
}
