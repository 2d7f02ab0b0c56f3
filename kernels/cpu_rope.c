#include "kernels/cpu.h"
#include "kernels/kv_tile.h"
#include "kernels/perturb.h"

#include "core/err.h"

#include <math.h>
#include <string.h>

/* x * weight / sqrt(mean(x^2) + eps) of one head, in double, rounded once. */
static void head_norm(float *x, const float *weight, int dim, double eps)
{
    double squares = 0;
    for (int i = 0; i < dim; i++) squares += (double)x[i] * (double)x[i];
    const double root = sqrt(squares / dim + eps);
    for (int i = 0; i < dim; i++) x[i] = (float)((double)x[i] * (double)weight[i] / root);
}

/* The products are exact in double, so that each element is rounded as good as once. */
static void head_rotate(float *x, const float *cosine, const float *sine, int n_pairs, enum rope_style style)
{
    const int step = style == ROPE_PAIRS ? 2 : 1, apart = style == ROPE_PAIRS ? 1 : n_pairs;
    for (int i = 0; i < n_pairs; i++) {
        float *a = &x[i * step], *b = a + apart;
        const double x0 = (double)*a, x1 = (double)*b, c = (double)cosine[i], s = (double)sine[i];
        *a = (float)(x0 * c - x1 * s);
        *b = (float)(x0 * s + x1 * c);
    }
}

/* Tokens of the store's tile before the row's own; NaN from it on. */
static void tail_fill(const struct rope_append_args *a, const struct row *row, int kv_head)
{
    const int tile = row->position / KV_TILE;
    const size_t dim = (size_t)a->kv->head_dim, n = (size_t)(row->position % KV_TILE);
    const float *k = kv_k_tile(a->kv, a->layer, row->store, kv_head, tile);
    const float *v = kv_v_tile(a->kv, a->layer, row->store, kv_head, tile);
    float *k_tail = kv_k_tail(a->kv, row->tail, kv_head), *v_tail = kv_v_tail(a->kv, row->tail, kv_head);
    memset(k_tail, 0xff, dim * KV_TILE * sizeof(float));
    memset(v_tail, 0xff, dim * KV_TILE * sizeof(float));
    for (size_t i = 0; i < dim; i++) memcpy(k_tail + i * KV_TILE, k + i * KV_TILE, n * sizeof(float));
    memcpy(v_tail, v, n * dim * sizeof(float));
}

static void row_append(const struct rope_append_args *a, const struct row *row, const float *k, const float *v)
{
    const size_t dim = (size_t)a->kv->head_dim, slot = (size_t)(row->position % KV_TILE);
    const int tile = row->position / KV_TILE;
    for (int h = 0; h < a->kv->n_kv_heads; h++, k += dim, v += dim) {
        const bool in_tail = row->tail != NO_TAIL;
        if (in_tail) tail_fill(a, row, h);
        float *k_to = in_tail ? kv_k_tail(a->kv, row->tail, h) : kv_k_tile(a->kv, a->layer, row->store, h, tile);
        float *v_to = in_tail ? kv_v_tail(a->kv, row->tail, h) : kv_v_tile(a->kv, a->layer, row->store, h, tile);
        for (size_t i = 0; i < dim; i++) k_to[i * KV_TILE + slot] = k[i];
        memcpy(v_to + slot * dim, v, dim * sizeof(float));
    }
}

static void rope_row(const struct rope_append_args *a, int r)
{
    const int dim = a->kv->head_dim, n_kv = a->kv->n_kv_heads, n_pairs = dim / 2, kv_dim = n_kv * dim;
    const struct row *row = &a->rows[r];
    float *q = a->qkv + (size_t)r * (size_t)(a->n_heads + 2 * n_kv) * (size_t)dim;
    float *k = q + (size_t)a->n_heads * (size_t)dim, *v = k + kv_dim;
    const float *cosine = a->cosine + (size_t)r * (size_t)n_pairs, *sine = a->sine + (size_t)r * (size_t)n_pairs;
    for (int h = 0; a->q_norm && h < a->n_heads; h++) head_norm(q + h * dim, a->q_norm, dim, a->eps);
    for (int h = 0; a->k_norm && h < n_kv; h++) head_norm(k + h * dim, a->k_norm, dim, a->eps);
    if (a->k_plain) memcpy(a->k_plain + (size_t)r * (size_t)kv_dim, k, (size_t)kv_dim * sizeof(float));
    for (int h = 0; h < a->n_heads + n_kv; h++) head_rotate(q + h * dim, cosine, sine, n_pairs, a->style);
    const double e = a->lanes && row->flags & ROW_PERTURB ? (double)a->lanes[row->lane].perturb : 0;
    if (e > 0) {
        const int step = row->position - a->kv->prefix_tokens;
        perturb(k, kv_dim, e, a->seed, step, a->layer, 0);
        perturb(v, kv_dim, e, a->seed, step, a->layer, 1);
    }
    row_append(a, row, k, v);
}

int cpu_rope_append(struct device *d, const struct rope_append_args *a)
{
    const struct kv_cache *kv = a->kv;
    for (int r = 0; r < a->n_rows; r++) {
        const struct row *row = &a->rows[r];
        TRY(kv_check_row(kv, "rope_append", a->layer, row->store, row->tail, row->position), "row %d", r);
        if (row->store != KV_PREFIX && row->position / KV_TILE < kv->first_own_tile)
            return fail("rope_append: row %d: position %d is not in the row's store", r, row->position);
    }
    /* A probe's row reads other slots of its store's tile than the owner's row writes in this call: they do not race. */
#pragma omp parallel for num_threads(d->n_threads) schedule(static)
    for (int r = 0; r < a->n_rows; r++) rope_row(a, r);
    return 0;
}
