#include "kernels/reference.h"

#include "core/philox.h"

#include <math.h>

static const float *element(const struct reference_context *c, const void *prefix, const void *own, const void *tails,
                            int kv_head, int tile)
{
    if (c->tail != NO_TAIL && tile == c->position / KV_TILE) return (const float *)tails + kv_tail_at(c->kv, c->tail, kv_head);
    if (c->store == KV_PREFIX || tile < c->kv->first_own_tile)
        return (const float *)prefix + kv_prefix_at(c->kv, c->layer, kv_head, tile);
    return (const float *)own + kv_own_at(c->kv, c->layer, c->store, kv_head, tile);
}

double reference_k(const struct reference_context *c, int kv_head, int token, int i)
{
    const float *tile = element(c, c->kv->k_prefix, c->kv->k_own, c->kv->k_tail, kv_head, token / KV_TILE);
    return (double)tile[i * KV_TILE + token % KV_TILE];
}

double reference_v(const struct reference_context *c, int kv_head, int token, int i)
{
    const float *tile = element(c, c->kv->v_prefix, c->kv->v_own, c->kv->v_tail, kv_head, token / KV_TILE);
    return (double)tile[token % KV_TILE * c->kv->head_dim + i];
}

double reference_gamma(int n)
{
    const double nu = n * 0x1p-24;
    return nu / (1 - nu);
}

double reference_softmax(const struct reference_context *c, const float *q, int kv_head, const bool *read, double *probability)
{
    const int dim = c->kv->head_dim;
    const double scale = 1 / sqrt((double)dim);
    double top = -(double)INFINITY, size = 0, sum = 0, low = 0;
    for (int p = 0; p <= c->position; p++) {
        if (read && !read[p]) continue;
        double score = 0, absolute = 0;
        for (int i = 0; i < dim; i++) {
            const double x = (double)q[i] * reference_k(c, kv_head, p, i);
            score += x;
            absolute += fabs(x);
        }
        probability[p] = score * scale;
        top = fmax(top, probability[p]);
        size = fmax(size, absolute * scale);
    }
    for (int p = 0; p <= c->position; p++) {
        if (read && !read[p]) probability[p] = 0;
        else {
            /* Beyond exp's range a weight is 0 whatever the error. */
            low = fmax(low, fmin(top - probability[p], 104));
            probability[p] = exp(probability[p] - top);
            sum += probability[p];
        }
    }
    for (int p = 0; p <= c->position; p++) probability[p] /= sum;
    return expm1(2 * reference_gamma(dim + 2) * size + low * 0x1p-24 + 2 * 0x1p-24);
}

void reference_attend(const struct reference_context *c, const float *q, int kv_head, const bool *read, double *probability,
                      double *out, double *bound)
{
    const double relative = reference_softmax(c, q, kv_head, read, probability);
    const int n = c->position + 1;
    const double per_weight = 2 * relative + reference_gamma(n) + reference_gamma(n / KV_TILE + 5) + 0x1p-24;
    for (int i = 0; i < c->kv->head_dim; i++) {
        double value = 0, absolute = 0, largest = 0;
        for (int p = 0; p < n; p++) {
            if (read && !read[p]) continue;
            const double v = reference_v(c, kv_head, p, i);
            value += probability[p] * v;
            absolute += probability[p] * fabs(v);
            largest = fmax(largest, fabs(v));
        }
        out[i] = value;
        bound[i] = per_weight * absolute + n * 0x1p-126 * largest; /* weights below 2^-126 become 0 */
    }
}

double reference_block_mass(const struct reference_context *c, const float *q, int kv_head, int block_size, int stale_from,
                            double *probability, double *mass, double *stale)
{
    const double relative = reference_softmax(c, q, kv_head, NULL, probability);
    *stale = 0;
    for (int p = 0; p <= c->position; p++) {
        if (p % block_size == 0) mass[p / block_size] = 0;
        mass[p / block_size] += probability[p];
        if (p >= stale_from && p < c->position) *stale += probability[p];
    }
    return 2 * relative;
}

/* The least n with n * 1000000 >= n_blocks * active, not below the minima, not above n_blocks. */
static int budget(const struct lane_params *l, int n_blocks)
{
    int n = 0;
    while ((int64_t)n * 1000000 < (int64_t)n_blocks * l->active_millionths) n++;
    while (n < l->min_blocks || n < l->local_blocks || n < 1) n++;
    return n < n_blocks ? n : n_blocks;
}

static float minmax_score(const struct select_args *a, const struct reference_context *c, int row, int kv_head, int from, int to)
{
    const int dim = a->kv->head_dim, group = a->n_heads / a->kv->n_kv_heads;
    const float *q = a->qkv + (size_t)row * (size_t)((a->n_heads + 2 * a->kv->n_kv_heads) * dim);
    const float *k = q + (a->n_heads + kv_head) * dim, scale = (float)(1 / sqrt((double)dim));
    float score = 0;
    for (int i = 0; i < dim; i++) {
        float pooled = 0, low = INFINITY, high = -INFINITY;
        for (int g = 0; g < group; g++) pooled += q[(kv_head * group + g) * dim + i];
        pooled = pooled / (float)group * scale;
        for (int p = from; p < to; p++) {
            const float x = p == c->position ? k[i] : (float)reference_k(c, kv_head, p, i);
            low = fminf(low, x);
            high = fmaxf(high, x);
        }
        score += fmaxf(pooled * high, pooled * low);
    }
    return score;
}

static double random_score(const struct select_args *a, int row, int kv_head, int block)
{
    const int step = a->rows[row].position - a->kv->prefix_tokens;
    const uint32_t counter[4] = { (uint32_t)block / 4, (uint32_t)a->layer * 65536 + (uint32_t)kv_head, (uint32_t)step,
                                  PHILOX_SELECT };
    uint32_t key[2], word[4];
    philox_key(a->seed, key);
    philox4x32(counter, key, word);
    return (double)word[block % 4];
}

static double block_score(const struct select_args *a, const struct reference_context *c, int row, int kv_head, int block)
{
    const struct lane_params *l = &a->lanes[a->rows[row].lane];
    const int group = a->n_heads / a->kv->n_kv_heads, from = block * l->block_size, end = from + l->block_size;
    double mass = 0;
    switch (l->selector) {
    case SELECT_MINMAX: return (double)minmax_score(a, c, row, kv_head, from, end <= c->position ? end : c->position + 1);
    case SELECT_RANDOM: return random_score(a, row, kv_head, block);
    case SELECT_WINDOW: return block == 0 ? (double)INFINITY : (double)block;
    default:
        for (int g = 0; g < group; g++) mass += a->mass[(row * a->n_heads + kv_head * group + g) * a->mass_blocks + block];
        return mass / group;
    }
}

int reference_select(const struct select_args *a, int row, int kv_head, double *score, int32_t *blocks)
{
    const struct row *r = &a->rows[row];
    const struct lane_params *l = &a->lanes[r->lane];
    if (!(r->flags & ROW_SPARSE) || a->layer < l->dense_layers) return -1;
    const struct reference_context c = { a->kv, a->layer, r->store, r->tail, r->position };
    const int n_blocks = (r->position + l->block_size) / l->block_size, n = budget(l, n_blocks);
    const int n_local = l->local_blocks < n ? l->local_blocks : n;
    for (int b = 0; b < n_blocks - n_local; b++) {
        score[b] = block_score(a, &c, row, kv_head, b);
        if (isnan(score[b])) score[b] = -(double)INFINITY;
    }
    /* A block is read if fewer than the rest of the budget are better than it: of two equals the lower one is. */
    int count = 0;
    for (int b = 0; b < n_blocks; b++) {
        int better = 0;
        for (int o = 0; o < n_blocks - n_local && b < n_blocks - n_local; o++)
            better += score[o] > score[b] || (score[o] == score[b] && o < b);
        if (b >= n_blocks - n_local || better < n - n_local) blocks[count++] = b;
    }
    return count;
}
