#include "core/plan_cost.h"

#include "core/latency.h"
#include "core/record.h"
#include "core/run.h"
#include "core/trace.h"

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
                                .fixed_bytes = 24u << 20,
                                .be = backends[0],
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
    flop += share * attend_flop(m, lane_n_read_tokens(l, n_tokens));
    if (l->selector == SELECT_MINMAX) flop += 4.0 * m->n_kv_heads * m->head_dim * lane_n_blocks(l, n_tokens) * sparse;
    if (l->selector == SELECT_ORACLE || (metrics & (METRIC_MASS | METRIC_HEADS))) flop += share * attend_flop(m, n_tokens) / 2;
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

static void add_flop(struct run_cost *cost, const struct model_shape *m, const struct run_plan *r)
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

/* Every lane in turn: steps and as many of their parts, and rectifications of a whole window. */
static void add_timed_flop(struct run_cost *cost, const struct model_shape *m, const struct run_plan *r)
{
    const int n = r->prefill_tokens + r->n_steps;
    const double times = (double)r->n_steps * r->batch;
    for (int i = 0; i < r->n_lanes; i++) {
        const struct lane_spec *l = &r->lanes[i];
        cost->step_flop += 2 * times * lane_step_flop(m, l, n, r->metrics);
        cost->rectify_flop += times * l->interval * (row_flop(m) + attend_flop(m, n - (l->interval - 1) / 2.0));
    }
    cost->rows_per_step = r->batch;
}

/* ---- bytes ---- */

double cost_lane_read_bytes(const struct model_shape *m, const struct cost_inputs *in, const struct lane_spec *l,
                            int n_tokens)
{
    const int sparse = sparse_layers(m, l);
    const double tokens = (double)(m->n_layers - sparse) * n_tokens + sparse * lane_n_read_tokens(l, n_tokens);
    return tokens * 2 * m->n_kv_heads * m->head_dim * in->be->cache_element_bytes;
}

static void trace_cost(struct run_cost *cost, const struct model_shape *m, const struct run_plan *r)
{
    struct record_layout layout;
    int n_slots = 0;
    for (int i = 1; i < r->n_lanes && (r->metrics & METRIC_SELECTION); i++) {
        const int n = lane_n_selected(&r->lanes[i], r->prefill_tokens + r->n_steps);
        if (n > n_slots) n_slots = n;
    }
    record_layout_init(&layout, r->n_lanes, m->n_layers, m->n_kv_heads, n_slots, r->metrics);
    cost->trace_bytes = (uint64_t)layout.n_bytes * (uint64_t)r->n_steps;
    cost->memory[MEMORY_MEASURES] += trace_buffer_bytes(&layout, r->n_steps);
}

int run_cost(struct run_cost *cost, const struct model *model, const struct cost_inputs *in, const struct run_plan *r)
{
    const struct model_shape *m = &model->shape;
    *cost = (struct run_cost){ 0 };
    (r->batch ? add_timed_flop : add_flop)(cost, m, r);
    if ((r->batch ? latency_memory : run_memory)(r, model, in->be, cost->memory) != 0) return -1;
    cost->memory[MEMORY_WEIGHTS] += in->weight_bytes;
    cost->memory[MEMORY_BUFFERS] += in->fixed_bytes;
    trace_cost(cost, m, r);
    for (int i = 0; i < N_MEMORY_PARTS; i++) cost->peak_bytes += cost->memory[i];
    double read = 0;
    for (int i = 0; i < r->n_lanes; i++) {
        const double lane = cost_lane_read_bytes(m, in, &r->lanes[i], r->prefill_tokens + r->n_steps);
        if (r->batch == 0) read += lane;
        else if (lane * r->batch > read) read = lane * r->batch; /* one at a time */
    }
    cost->step_read_bytes = in->weight_bytes + (uint64_t)read;
    return 0;
}
