#include "core/plan_cost.h"

#include "core/kv_cache.h"
#include "core/lane_table.h"
#include "core/plan.h"
#include "core/record.h"

#include <omp.h>

enum { MAX_SAMPLED_STEPS = 4096 };

static double tensor_packed_bytes(const struct tensor *t)
{
    if (!t->data) return 0;
    const struct tensor_format *f = tensor_format(t->type);
    const double bits = f->bits + (f->group ? 64.0 / f->group : 0);
    return (double)t->n_rows * t->n_cols * bits / 8;
}

void cost_inputs_default(struct cost_inputs *in, const struct model *model)
{
    double bytes = tensor_packed_bytes(&model->embedding);
    if (!model->shape.tied) bytes += tensor_packed_bytes(&model->output);
    for (int i = 0; i < model->shape.n_layers; i++) {
        const struct model_layer *l = &model->layers[i];
        const struct tensor *const all[] = { &l->q, &l->k, &l->v, &l->o, &l->gate, &l->up, &l->down };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++) bytes += tensor_packed_bytes(all[k]);
    }
    *in = (struct cost_inputs){ .weight_bytes = (uint64_t)bytes,
                                .fixed_bytes = 100u << 20,
                                .chunk_rows = 256,
                                .cache_element_bytes = 4,
                                .flop_per_second = 40e9 * omp_get_max_threads() };
}

/* ---- arithmetic ---- */

static double layer_weights(const struct model_shape *m)
{
    const double hidden = m->hidden, q = (double)m->n_heads * m->head_dim, kv = (double)m->n_kv_heads * m->head_dim;
    return hidden * (2 * q + 2 * kv + 3.0 * m->ffn);
}

static double row_flop(const struct model_shape *m)
{
    return 2 * m->n_layers * layer_weights(m);
}

static double logits_flop(const struct model_shape *m)
{
    return 2.0 * m->hidden * m->vocab;
}

static double attend_flop(const struct model_shape *m, double n_tokens)
{
    return 4.0 * m->n_heads * m->head_dim * n_tokens * m->n_layers;
}

/* Tokens that a lane reads in one sparse layer. */
static double tokens_read(const struct lane_spec *l, int n_tokens)
{
    const double read = (double)lane_n_selected(l, n_tokens) * l->block_size;
    return read < n_tokens ? read : n_tokens;
}

static int sparse_layers(const struct model_shape *m, const struct lane_spec *l)
{
    if (l->selector == SELECT_DENSE) return 0;
    return l->dense_layers < m->n_layers ? m->n_layers - l->dense_layers : 0;
}

static double lane_step_flop(const struct model_shape *m, const struct lane_spec *l, int n_tokens, unsigned metrics)
{
    const int sparse = sparse_layers(m, l);
    const double share = (double)sparse / m->n_layers;
    double flop = row_flop(m) + logits_flop(m) + (1 - share) * attend_flop(m, n_tokens);
    flop += share * attend_flop(m, tokens_read(l, n_tokens));
    if (l->selector == SELECT_MINMAX) flop += 4.0 * m->n_kv_heads * m->head_dim * lane_n_blocks(l, n_tokens) * sparse;
    if (l->selector == SELECT_ORACLE || (metrics & METRIC_MASS)) flop += share * attend_flop(m, n_tokens) / 2;
    return flop;
}

/* The rectification after step s: rows of its window, each attending to all tokens before it and itself. */
static double lane_rectify_flop(const struct model_shape *m, const struct lane_spec *l, int step, int prefill_tokens,
                                double *n_rows)
{
    if (!lane_rectifies_after(l, step)) return 0;
    const int window = step + 1 - lane_window_start(l, step);
    const double context = prefill_tokens + step + 1 - (window - 1) / 2.0;
    *n_rows += window;
    return window * (row_flop(m) + attend_flop(m, context));
}

static void add_flop(struct run_cost *cost, const struct model_shape *m, const struct cost_run *r)
{
    const double p = r->prefill_tokens;
    const int stride = (r->n_steps + MAX_SAMPLED_STEPS - 1) / MAX_SAMPLED_STEPS;
    double n_rows = 0;
    cost->prefill_flop = p * (row_flop(m) + attend_flop(m, (p + 1) / 2)) + logits_flop(m);
    for (int i = 0; i < r->n_lanes; i++) {
        const struct lane_spec *l = &r->lanes[i];
        for (int s = l->dense_until; s < r->n_steps; s += stride) {
            const int n = r->n_steps - s < stride ? r->n_steps - s : stride; /* steps that this one stands for */
            cost->step_flop += n * lane_step_flop(m, l, r->prefill_tokens + s + 1, r->metrics);
            n_rows += n;
        }
        for (int s = l->dense_until; s < r->n_steps && l->interval > 0; s++)
            cost->rectify_flop += lane_rectify_flop(m, l, s, r->prefill_tokens, &n_rows);
    }
    cost->rows_per_step = n_rows / r->n_steps;
}

/* ---- bytes ---- */

double cost_lane_read_bytes(const struct model_shape *m, const struct cost_inputs *in, const struct lane_spec *l,
                            int n_tokens)
{
    const int sparse = sparse_layers(m, l);
    const double tokens = (double)(m->n_layers - sparse) * n_tokens + sparse * tokens_read(l, n_tokens);
    return tokens * 2 * m->n_kv_heads * m->head_dim * in->cache_element_bytes;
}

static uint64_t buffer_bytes(const struct model_shape *m, const struct cost_inputs *in, const struct cost_run *r)
{
    const uint64_t rows = (uint64_t)(in->chunk_rows > r->n_lanes ? in->chunk_rows : r->n_lanes);
    const uint64_t heads = (uint64_t)m->n_heads * (uint64_t)m->head_dim;
    const uint64_t kv = (uint64_t)m->n_kv_heads * (uint64_t)m->head_dim;
    const uint64_t row = 3 * (uint64_t)m->hidden + 2 * heads + 2 * kv + 3 * (uint64_t)m->ffn;
    const uint64_t scores = (uint64_t)m->n_heads * (uint64_t)(r->prefill_tokens + r->n_steps);
    const uint64_t sums = (uint64_t)r->n_lanes * (uint64_t)m->n_layers * (uint64_t)r->n_steps;
    return in->fixed_bytes + 4 * rows * row + 4 * (uint64_t)r->n_lanes * ((uint64_t)m->vocab + scores) + 16 * sums;
}

static uint64_t trace_bytes(const struct model_shape *m, const struct cost_run *r)
{
    struct record_layout layout;
    int n_slots = 0;
    for (int i = 1; i < r->n_lanes && (r->metrics & METRIC_SELECTION); i++) {
        const int n = lane_n_selected(&r->lanes[i], r->prefill_tokens + r->n_steps);
        if (n > n_slots) n_slots = n;
    }
    record_layout_init(&layout, r->n_lanes, m->n_layers, m->n_kv_heads, n_slots, r->metrics);
    return (uint64_t)layout.n_bytes * (uint64_t)r->n_steps;
}

static int add_memory(struct run_cost *cost, const struct model_shape *m, const struct cost_inputs *in,
                      const struct cost_run *r)
{
    struct lane_table t;
    int rc = lane_table_open(&t, r->lanes, r->n_lanes, r->prefill_tokens, r->n_steps);
    if (rc == 0) {
        const int end = r->prefill_tokens + r->n_steps;
        struct kv_cache c = { .n_layers = m->n_layers,
                              .n_kv_heads = m->n_kv_heads,
                              .head_dim = m->head_dim,
                              .prefix_tokens = r->prefill_tokens,
                              .prefix_tiles = (r->prefill_tokens + KV_TILE - 1) / KV_TILE,
                              .first_own_tile = r->prefill_tokens / KV_TILE,
                              .n_stores = t.n_stores,
                              .n_tails = t.n_tails };
        c.own_tiles = (end + KV_TILE - 1) / KV_TILE - c.first_own_tile;
        const uint64_t element = 2 * (uint64_t)in->cache_element_bytes; /* K and V */
        cost->prefix_bytes = element * kv_prefix_elems(&c);
        cost->suffix_bytes = element * (kv_own_elems(&c) + kv_tail_elems(&c));
        for (int i = 0; i < t.n_sets; i++) cost->key_bytes += 4 * (uint64_t)key_set_elems(&c, &t.sets[i]);
    }
    lane_table_close(&t);
    return rc;
}

int run_cost(struct run_cost *cost, const struct model_shape *m, const struct cost_inputs *in, const struct cost_run *r)
{
    *cost = (struct run_cost){ .weight_bytes = in->weight_bytes };
    add_flop(cost, m, r);
    if (add_memory(cost, m, in, r) != 0) return -1;
    cost->buffer_bytes = buffer_bytes(m, in, r);
    cost->trace_bytes = trace_bytes(m, r);
    cost->seconds = (cost->prefill_flop + cost->step_flop + cost->rectify_flop) / in->flop_per_second;
    double read = (double)in->weight_bytes;
    for (int i = 0; i < r->n_lanes; i++)
        read += cost_lane_read_bytes(m, in, &r->lanes[i], r->prefill_tokens + r->n_steps);
    cost->step_read_bytes = (uint64_t)read;
    return 0;
}
