#include "kernels/block_top.h"
#include "kernels/cpu.h"
#include "kernels/cpu_device.h"
#include "kernels/row_block.h"

#include "core/err.h"
#include "core/ints.h"
#include "core/philox.h"

#include <string.h>

/* One (row, KV head) at work. */
struct selecting {
    const struct select_args *args;
    const struct attend_kernels *kernels;
    const struct lane_params *lane;
    int row, kv_head, n_tokens;
    int n_blocks, n_selected, n_local;
    int n_rest, k;      /* k of the first n_rest blocks are chosen by the selector; the local ones follow */
    float *q;           /* [head_dim] */
    float *score;       /* [n_blocks + KEY_TILE] */
    int32_t *key;       /* [n_blocks + KEY_TILE] */
    double *mass;       /* [n_blocks], in the same memory */
};

static const float *row_head(const struct selecting *w, int head)
{
    const int dim = w->args->kv->head_dim, n_heads = w->args->n_heads + 2 * w->args->kv->n_kv_heads;
    return w->args->qkv + ((size_t)w->row * (size_t)n_heads + (size_t)head) * (size_t)dim;
}

/* One for each KV head: the mean of its group of query heads, times head_dim^-0.5. */
static void pool_query(const struct selecting *w)
{
    const int dim = w->args->kv->head_dim, group = w->args->n_heads / w->args->kv->n_kv_heads;
    const float scale = attend_scale(dim), count = (float)group;
    memcpy(w->q, row_head(w, w->kv_head * group), (size_t)dim * sizeof(float));
    for (int g = 1; g < group; g++) {
        const float *q = row_head(w, w->kv_head * group + g);
        for (int i = 0; i < dim; i++) w->q[i] += q[i];
    }
    for (int i = 0; i < dim; i++) w->q[i] = w->q[i] / count * scale;
}

/* Score of the current token's block, its key widened by that token's. */
static float score_current(const struct selecting *w, const float *mn)
{
    const int dim = w->args->kv->head_dim;
    const float *mx = mn + (size_t)dim * KEY_TILE, *k = row_head(w, w->args->n_heads + w->kv_head);
    float score = 0;
    for (int i = 0; i < dim; i++) {
        const float low = mn[(size_t)i * KEY_TILE] <= k[i] ? mn[(size_t)i * KEY_TILE] : k[i];
        const float high = mx[(size_t)i * KEY_TILE] >= k[i] ? mx[(size_t)i * KEY_TILE] : k[i];
        const float a = w->q[i] * high, b = w->q[i] * low;
        score += a > b ? a : b;
    }
    return score;
}

static void set_scores(const struct selecting *w, const struct key_set *s, int n_blocks, float *score)
{
    const float *keys = s->keys + key_tile_at(w->args->kv, s, w->args->layer, w->kv_head, s->first_block);
    if (n_blocks > 0)
        w->kernels->key_scores(w->q, w->args->kv->head_dim, keys, (n_blocks + KEY_TILE - 1) / KEY_TILE, score);
}

static void select_minmax(const struct selecting *w, int32_t *chosen)
{
    const struct key_set *own = &w->args->sets[w->lane->key_set];
    const int current = w->n_blocks - 1, from_prefix = min_int(own->first_block, w->n_rest);
    pool_query(w);
    if (from_prefix > 0) set_scores(w, &w->args->sets[w->lane->prefix_set], from_prefix, w->score);
    set_scores(w, own, w->n_rest - own->first_block, w->score + own->first_block);
    if (current < w->n_rest) {
        const size_t tile = key_tile_at(w->args->kv, own, w->args->layer, w->kv_head, current);
        w->score[current] = score_current(w, own->keys + tile + (current - own->first_block) % KEY_TILE);
    }
    block_top(w->kernels, w->score, w->key, w->n_rest, w->k, chosen);
}

/* Every block draws a number, the k largest are chosen (of two equal ones the lower block): uniform without replacement
 * up to equal numbers, at most 2^-32 for a pair.  Block i's number is word i mod 4 of
 *     Philox4x32-10(key = seed, counter = {i / 4, layer * 2^16 + kv_head, step, PHILOX_SELECT}),
 * the same for all lanes, so that a larger budget holds the smaller one's blocks. */
static void select_random(const struct selecting *w, int32_t *chosen)
{
    const int step = w->n_tokens - 1 - w->args->kv->prefix_tokens;
    uint32_t key[2], word[4];
    philox_key(w->args->seed, key);
    for (int i = 0; i < w->n_rest; i += 4) {
        const uint32_t counter[4] = { (uint32_t)i / 4, (uint32_t)w->args->layer << 16 | (uint32_t)w->kv_head, (uint32_t)step,
                                      PHILOX_SELECT };
        philox4x32(counter, key, word);
        for (int n = 0; n < 4; n++) w->key[i + n] = (int32_t)(word[n] ^ 0x80000000u); /* in order as signed numbers */
    }
    block_top_keys(w->kernels, w->key, w->n_rest, w->k, chosen);
}

/* Block 0 and the last of the others. */
static void select_window(const struct selecting *w, int32_t *chosen)
{
    for (int i = 0; i < w->k; i++) chosen[i] = i == 0 ? 0 : w->n_rest - w->k + i;
}

static void select_oracle(const struct selecting *w, int32_t *chosen)
{
    const int group = w->args->n_heads / w->args->kv->n_kv_heads;
    for (int b = 0; b < w->n_rest; b++) {
        double sum = 0;
        for (int g = 0; g < group; g++)
            sum += w->args->mass[((size_t)w->row * (size_t)w->args->n_heads + (size_t)(w->kv_head * group + g)) *
                                     (size_t)w->args->mass_blocks +
                                 (size_t)b];
        w->mass[b] = sum / group;
    }
    block_top_f64(w->mass, w->n_rest, w->k, chosen);
}

/* The host has checked the list (core/replay.h); the local blocks are in it. */
static void select_replay(const struct selecting *w, int32_t *chosen)
{
    const struct select_args *a = w->args;
    const size_t list = (size_t)a->rows[w->row].lane * (size_t)a->kv->n_kv_heads + (size_t)w->kv_head;
    memcpy(chosen, a->replay + list * (size_t)a->lists->max_blocks, (size_t)w->n_selected * sizeof *chosen);
}

static bool row_selects(const struct select_args *a, int row)
{
    return (a->rows[row].flags & ROW_SPARSE) && a->layer >= a->lanes[a->rows[row].lane].dense_layers;
}

/* Fills in the budget: lane_n_selected() of core/lane.h. */
static struct selecting selecting_of(const struct select_args *a, int row)
{
    const struct lane_params *l = &a->lanes[a->rows[row].lane];
    const struct lane_spec spec = { .selector = (enum selector_id)l->selector, .block_size = l->block_size,
                                    .local_blocks = l->local_blocks, .min_blocks = l->min_blocks,
                                    .active_millionths = l->active_millionths };
    struct selecting w = { .args = a, .lane = l, .row = row, .n_tokens = a->rows[row].position + 1 };
    w.n_blocks = lane_n_blocks(&spec, w.n_tokens);
    w.n_selected = lane_n_selected(&spec, w.n_tokens);
    w.n_local = min_int(l->local_blocks, w.n_selected);
    w.n_rest = w.n_blocks - w.n_local;
    w.k = w.n_selected - w.n_local;
    return w;
}

static void select_row(struct selecting *w)
{
    const struct block_lists *lists = w->args->lists;
    const size_t list = (size_t)w->row * (size_t)w->args->kv->n_kv_heads + (size_t)w->kv_head;
    int32_t *chosen = lists->blocks + list * (size_t)lists->max_blocks;
    switch (w->lane->selector) {
    case SELECT_MINMAX: select_minmax(w, chosen); break;
    case SELECT_RANDOM: select_random(w, chosen); break;
    case SELECT_WINDOW: select_window(w, chosen); break;
    case SELECT_REPLAY: select_replay(w, chosen); break;
    default: select_oracle(w, chosen); break;
    }
    for (int i = 0; i < w->n_local && w->lane->selector != SELECT_REPLAY; i++) chosen[w->k + i] = w->n_rest + i;
    lists->count[list] = w->n_selected;
    /* All blocks are whole but the last of the context. */
    const int last = w->n_blocks - 1, missing = w->n_blocks * w->lane->block_size - w->n_tokens;
    lists->tokens[list] = w->n_selected * w->lane->block_size - (chosen[w->n_selected - 1] == last ? missing : 0);
}

static int set_check(const struct select_args *a, const struct row *row, const struct selecting *w)
{
    const struct lane_params *l = w->lane;
    if (l->selector == SELECT_ORACLE)
        return a->mass && w->n_blocks <= a->mass_blocks ? 0 : fail("select: lane %d: oracle needs block mass", row->lane);
    if (l->selector == SELECT_REPLAY) return a->replay ? 0 : fail("select: lane %d: replay needs lists", row->lane);
    if (l->selector != SELECT_MINMAX) return 0;
    if (l->key_set < 0) return fail("select: lane %d: minmax needs block keys", row->lane);
    const struct key_set *s = &a->sets[l->key_set];
    if (s->store != row->store || s->block_size != l->block_size || w->n_blocks <= s->first_block ||
        w->n_blocks > s->first_block + s->n_tiles * KEY_TILE)
        return fail("select: lane %d: key set %d does not hold blocks of %d tokens up to position %d of store %d", row->lane,
                    l->key_set, l->block_size, row->position, row->store);
    if (s->first_block > 0 && (l->prefix_set < 0 || a->sets[l->prefix_set].block_size != l->block_size))
        return fail("select: lane %d: blocks below %d have no keys", row->lane, s->first_block);
    return 0;
}

/* Checks every row; *n_tokens becomes the longest context. */
static int select_check(const struct select_args *a, int *n_tokens)
{
    for (int r = 0; r < a->n_rows; r++) {
        *n_tokens = max_int(*n_tokens, a->rows[r].position + 1);
        if (!row_selects(a, r)) continue;
        const struct selecting w = selecting_of(a, r);
        if (w.lane->selector <= SELECT_DENSE || w.lane->selector >= N_SELECTORS)
            return fail("select: lane %d: selector %d", a->rows[r].lane, w.lane->selector);
        if (w.n_selected > a->lists->max_blocks)
            return fail("select: lane %d: %d blocks in a list for %d", a->rows[r].lane, w.n_selected, a->lists->max_blocks);
        TRY(set_check(a, &a->rows[r], &w), "row %d", r);
    }
    return 0;
}

/* Scores stay in the thread's own workspace: args.scores is for back ends that need them in one piece. */
int cpu_select(struct device *d, const struct select_args *a)
{
    const int n_kv = a->kv->n_kv_heads, dim = a->kv->head_dim, group = a->n_heads / n_kv;
    int n_tokens = 0;
    TRY(select_check(a, &n_tokens), "selection");
    struct scratch first;
    TRY(cpu_workspace_holds(d, scratch_layout(&first, d->workspace, group, dim, a->n_rows, n_tokens), "select"), "selection");
    const size_t half = (size_t)n_tokens + KEY_TILE; /* the scratch's s is at least 13 times as large */
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 4)
    for (int item = 0; item < a->n_rows * n_kv; item++) {
        const int row = item % a->n_rows, kv_head = item / a->n_rows;
        if (!row_selects(a, row)) {
            a->lists->count[row * n_kv + kv_head] = -1;
            a->lists->tokens[row * n_kv + kv_head] = a->rows[row].position + 1;
            continue;
        }
        struct scratch s;
        scratch_layout(&s, cpu_workspace(d), group, dim, a->n_rows, n_tokens);
        struct selecting w = selecting_of(a, row);
        w.kernels = attend_kernels_for(d->isa, dim);
        w.kv_head = kv_head;
        w.q = s.q;
        w.score = s.s;
        w.key = (int32_t *)(void *)(s.s + half);
        w.mass = (double *)(void *)s.s;
        select_row(&w);
    }
    return 0;
}

int cpu_choose(struct device *d, const struct choose_args *a)
{
    const struct select_args *s = &a->select;
    const struct tally_args tally = { s->n_rows, s->kv->n_kv_heads, s->layer, s->lists, a->total };
    const struct keys_commit_args commit = { s->n_rows, s->layer, s->n_heads, s->n_sets, s->rows, s->sets, s->qkv, s->kv };
    TRY(cpu_select(d, s), "select");
    TRY(cpu_tally(d, &tally), "tally");
    return cpu_keys_commit(d, &commit);
}
