#include "kernels/cpu.h"
#include "kernels/kv_tile.h"

#include "core/err.h"

#include <string.h>

int kv_check(const struct kv_cache *c, const char *operation, int layer, int store, int n_tokens)
{
    const int n_tiles = store == KV_PREFIX ? c->prefix_tiles : c->first_own_tile + c->own_tiles;
    if (layer < 0 || layer >= c->n_layers) return fail("%s: layer %d of %d", operation, layer, c->n_layers);
    if (store != KV_PREFIX && (store < 0 || store >= c->n_stores))
        return fail("%s: store %d of %d", operation, store, c->n_stores);
    if (n_tokens < 0 || n_tokens > n_tiles * KV_TILE)
        return fail("%s: %d tokens in a cache for %d", operation, n_tokens, n_tiles * KV_TILE);
    return 0;
}

int kv_check_row(const struct kv_cache *c, const char *operation, int layer, int store, int tail, int position)
{
    if (position < 0) return fail("%s: position %d", operation, position);
    if (kv_check(c, operation, layer, store, position + 1) != 0) return -1;
    if (tail == NO_TAIL) return 0;
    if (tail < 0 || tail >= c->n_tails) return fail("%s: tail %d of %d", operation, tail, c->n_tails);
    if (store == KV_PREFIX || position / KV_TILE < c->first_own_tile)
        return fail("%s: a tail needs a store that holds its tile", operation);
    return 0;
}

static void copy_token(const struct kv_copy_args *a, int kv_head, int position)
{
    const size_t dim = (size_t)a->kv->head_dim;
    const int tile = position / KV_TILE, slot = position % KV_TILE;
    const float *k = kv_k_tile(a->kv, a->layer, a->from_store, kv_head, tile) + slot;
    float *k_to = kv_k_tile(a->kv, a->layer, a->to_store, kv_head, tile) + slot;
    for (size_t i = 0; i < dim; i++) k_to[i * KV_TILE] = k[i * KV_TILE];
    memcpy(kv_v_tile(a->kv, a->layer, a->to_store, kv_head, tile) + (size_t)slot * dim,
           kv_v_tile(a->kv, a->layer, a->from_store, kv_head, tile) + (size_t)slot * dim, dim * sizeof(float));
}

int cpu_kv_copy(struct device *d, const struct kv_copy_args *a)
{
    (void)d;
    TRY(kv_check(a->kv, "kv_copy", a->layer, a->from_store, a->to), "source");
    TRY(kv_check(a->kv, "kv_copy", a->layer, a->to_store, a->to), "target");
    if (a->from < 0 || (a->to_store != KV_PREFIX && a->from < a->to && a->from / KV_TILE < a->kv->first_own_tile))
        return fail("kv_copy: position %d is not in the target store, which begins at %d", a->from,
                    a->kv->first_own_tile * KV_TILE);
    for (int h = 0; h < a->kv->n_kv_heads; h++)
        for (int p = a->from; p < a->to; p++) copy_token(a, h, p);
    return 0;
}

/* One token's sums, in the order kv_head, head_dim: chains of doubles, so they cannot depend on anything else. */
static void compare_token(const struct kv_compare_args *a, int position, double *squares)
{
    const size_t dim = (size_t)a->kv->head_dim;
    const int tile = position / KV_TILE;
    const size_t slot = (size_t)(position % KV_TILE);
    double k_diff = 0, k_ref = 0, v_diff = 0, v_ref = 0;
    for (int h = 0; h < a->kv->n_kv_heads; h++) {
        const float *k = kv_k_tile(a->kv, a->layer, a->store, h, tile) + slot;
        const float *kr = kv_k_tile(a->kv, a->layer, a->ref_store, h, tile) + slot;
        const float *v = kv_v_tile(a->kv, a->layer, a->store, h, tile) + slot * dim;
        const float *vr = kv_v_tile(a->kv, a->layer, a->ref_store, h, tile) + slot * dim;
        for (size_t i = 0; i < dim; i++) {
            const double r = (double)kr[i * KV_TILE], kd = (double)k[i * KV_TILE] - r;
            const double w = (double)vr[i], vd = (double)v[i] - w;
            k_diff += kd * kd;
            k_ref += r * r;
            v_diff += vd * vd;
            v_ref += w * w;
        }
    }
    squares[0] = k_diff;
    squares[1] = k_ref;
    squares[2] = v_diff;
    squares[3] = v_ref;
}

int cpu_kv_compare(struct device *d, const struct kv_compare_args *a)
{
    TRY(kv_check(a->kv, "kv_compare", a->layer, a->store, a->to), "store");
    TRY(kv_check(a->kv, "kv_compare", a->layer, a->ref_store, a->to), "reference");
    if (a->from < a->kv->prefix_tokens)
        return fail("kv_compare: position %d lies in the prefix of %d tokens", a->from, a->kv->prefix_tokens);
#pragma omp parallel for num_threads(d->n_threads) schedule(static)
    for (int p = a->from; p < a->to; p++)
        compare_token(a, p, a->squares + 4 * (size_t)(p - a->kv->prefix_tokens));
    return 0;
}

/* Welford's update (Welford 1962) of n elements by their count-th value; the reciprocal is taken once per row. */
static void spread_row(const float *x, double *state, size_t n, int count)
{
    const double inv = 1.0 / (double)count;
    for (size_t i = 0; i < n; i++) {
        double *mean = &state[2 * i], *m2 = &state[2 * i + 1];
        if (count == 1) *mean = *m2 = 0;
        const double v = (double)x[i], delta = v - *mean;
        *mean += delta * inv;
        *m2 += delta * (v - *mean);
    }
}

int cpu_spread(struct device *d, const struct spread_args *a)
{
    const size_t n = (size_t)a->n_kv_heads * (size_t)a->head_dim;
    const size_t q = (size_t)a->n_heads * (size_t)a->head_dim, stride = q + 2 * n;
    enum { PIECE = 64 }; /* elements that one thread takes through all rows */
    const int n_pieces = (int)((2 * n + PIECE - 1) / PIECE);
#pragma omp parallel for num_threads(d->n_threads) schedule(static)
    for (int piece = 0; piece < n_pieces; piece++) {
        const size_t from = (size_t)piece * PIECE, to = from + PIECE < 2 * n ? from + PIECE : 2 * n;
        for (int r = 0; r < a->n_rows; r++) {
            if (a->rows[r].position == 0) continue;
            const size_t mid = from > n ? from : to < n ? to : n; /* from .. mid-1 are k, mid .. to-1 are v */
            const float *k = a->k_plain + (size_t)r * n, *v = a->qkv + (size_t)r * stride + q;
            spread_row(k + from, a->state + 2 * from, mid - from, a->rows[r].position);
            spread_row(v + mid, a->state + 2 * mid, to - mid, a->rows[r].position);
        }
    }
    return 0;
}
