/* core/run_measure.c: what a step measures, and the fields of a record that the host knows. */
#include "core/run.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>

static struct measure measure(const struct run *r)
{
    const int step = ((const int32_t *)r->t.step.host)[0];
    return (struct measure){ .layout = run_step_is_full(r, step) ? &r->layout : &r->thin, .record = r->record,
                             .n_lanes = r->plan->n_lanes, .row_of_lane = r->t.row_of_lane.dev, .twin = r->t.twin.dev,
                             .diverged = r->diverged, .end = r->t.end.dev, .step = r->t.step.dev };
}

int run_measure_layer(void *run, int layer)
{
    struct run *r = run;
    const struct model_shape *s = &r->w->model->shape;
    const struct forward *f = &r->f;
    struct measure m = measure(r);
    const bool parts = r->pass.n_parts_rows > 0;
    const struct measure_layer_args a = {
        .m = m, .layer = layer, .n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .head_dim = s->head_dim, .hidden = s->hidden,
        .qkv = f->qkv, .attn = f->attn, .resid = f->hidden,
        .spread = r->spread ? r->spread + (size_t)layer * 2 * (size_t)s->n_kv_heads : NULL, .lists = &f->lists, .lanes = f->params,
        .rows = f->rows.dev, .mass = run_has(r, METRIC_MASS | METRIC_HEADS) ? f->mass : NULL, .stale = f->stale, .mass_blocks = f->mass_blocks,
        .attn_select = parts ? f->attn_select : NULL, .attn_cache = parts ? f->attn_cache : NULL,
        .mass_dense = parts ? f->mass_dense : NULL, .squares = r->squares, .n_layers = s->n_layers, .n_steps = r->plan->n_steps,
        .store_of_lane = r->t.store.dev };
    return r->w->be->measure_layer(r->w->dev, &a);
}

int run_measure_cache(struct run *r, enum record_var k_var, enum record_var v_var, const struct table *from)
{
    if (!r->squares) return 0;
    const struct measure_cache_args a = { .m = measure(r), .k_var = k_var, .v_var = v_var, .n_layers = r->kv.n_layers,
                                          .n_steps = r->plan->n_steps, .squares = r->squares, .from = from->dev, .to = r->t.to.dev };
    return r->w->be->measure_cache(r->w->dev, &a);
}

int run_measure_logits(struct run *r)
{
    const struct model_shape *s = &r->w->model->shape;
    const struct measure_logits_args a = { .m = measure(r), .vocab = s->vocab, .hidden = s->hidden, .logits = r->f.logits,
                                           .hidden_state = r->f.final, .tokens = r->tokens, .target_at = r->t.target_at.dev,
                                           .rows = r->f.rows.dev };
    return r->w->be->measure_logits(r->w->dev, &a);
}

/* k_spread = sqrt(sum over head_dim of the mean squared deviation over positions 1 .. P-1). */
static void spread_of(const struct model_shape *s, const double *state, int n_tokens, float *out, double *out_dev)
{
    for (int h = 0; h < s->n_kv_heads; h++) {
        double sum = 0;
        for (int d = 0; d < s->head_dim; d++) sum += state[2 * (h * s->head_dim + d) + 1];
        const double spread = n_tokens > 0 ? sqrt(sum / n_tokens) : NAN;
        out[h] = (float)spread;
        out_dev[h] = spread;
    }
}

int run_finish_spread(struct run *r)
{
    if (!r->spread) return 0;
    const struct model_shape *s = &r->w->model->shape;
    const size_t elems = (size_t)(s->n_kv_heads * s->head_dim), heads = (size_t)s->n_kv_heads, layers = (size_t)s->n_layers;
    double *state = NULL, *spread = NULL;
    int rc = MEM_NEW(&state, 4 * layers * elems, "spread") || MEM_NEW(&spread, 2 * layers * heads, "spread") ? -1 : 0;
    if (rc == 0) rc = r->w->be->download(r->w->dev, state, r->spread_state, 4 * layers * elems * sizeof *state);
    if (rc == 0) rc = r->w->be->sync(r->w->dev);
    for (size_t l = 0; rc == 0 && l < layers; l++) {
        spread_of(s, state + 4 * l * elems, r->plan->prefill_tokens - 1, r->k_spread + l * heads, spread + 2 * l * heads);
        spread_of(s, state + 4 * l * elems + 2 * elems, r->plan->prefill_tokens - 1, r->v_spread + l * heads,
                  spread + (2 * l + 1) * heads);
    }
    if (rc == 0) rc = r->w->be->upload(r->w->dev, r->spread, spread, 2 * layers * heads * sizeof *spread);
    mem_free(state);
    mem_free(spread);
    return rc;
}

int64_t run_key_bytes(const struct model_shape *s, int element_bytes, const struct lane_spec *l, int n_tokens)
{
    if (l->selector != SELECT_MINMAX) return 0;
    const int layers = s->n_layers - (l->dense_layers < s->n_layers ? l->dense_layers : s->n_layers);
    const int64_t key = 2 * (int64_t)s->head_dim * element_bytes * s->n_kv_heads;
    return (lane_n_blocks(l, n_tokens) * (int64_t)layers + s->n_layers) * key;
}

void run_rectify_cost(const struct model_shape *s, int element_bytes, int window, int n_tokens, int64_t *bytes, int64_t *flop)
{
    const int64_t kv = 2 * (int64_t)s->n_kv_heads * s->head_dim, q = (int64_t)s->n_heads * s->head_dim, h = s->hidden;
    *bytes = kv * element_bytes * ((int64_t)(s->n_layers - 1) * n_tokens + (int64_t)s->n_layers * window);
    const int64_t linear = 2 * h * (2 * q + kv) + 6 * h * s->ffn;
    int64_t context = 0; /* sum over the window's tokens of the tokens they attend to */
    for (int i = 0; i < window; i++) context += n_tokens - i;
    *flop = (s->n_layers - 1) * (linear * window + 4 * q * context) + 2 * h * kv * window;
}

/* Tokens that a row read, over layers and KV heads. */
static int64_t tokens_read(const struct run *r, const struct run_slot *slot, int row)
{
    int64_t n = 0;
    for (int h = 0; h < r->kv.n_kv_heads; h++) n += slot->tally[row * r->kv.n_kv_heads + h];
    return n;
}

static void fill_lane(const struct run *r, const struct run_slot *slot, int lane)
{
    const struct run_plan *p = r->plan;
    const struct model_shape *shape = &r->w->model->shape;
    const struct lane_spec *l = &p->lanes[lane], *owner = lane_is_probe(l) ? &p->lanes[l->cache_of] : l;
    const int step = slot->step, row = slot->row_of_lane[lane], n_tokens = p->prefill_tokens + step + 1;
    const int64_t head_bytes = 2 * (int64_t)r->kv.head_dim * r->element_bytes, heads = (int64_t)r->kv.n_layers * r->kv.n_kv_heads;
    uint8_t *rectified = record_at(&r->layout, slot->record, VAR_RECTIFIED);
    if (step < owner->dense_until) { /* lane 0's token, target and bytes */
        int32_t *token = record_at(&r->layout, slot->record, VAR_TOKEN), *target = record_at(&r->layout, slot->record, VAR_TARGET);
        token[lane] = token[0];
        target[lane] = target[0];
    } else if (row < 0) {
        return; /* after its end: nothing is there */
    }
    rectified[lane] = row >= 0 && !lane_is_probe(l) && lane_rectifies_after(l, step);
    const int64_t all = heads * n_tokens, tokens = row >= 0 ? tokens_read(r, slot, row) : all;
    ((int32_t *)record_at(&r->layout, slot->record, VAR_STALE_TOKENS))[lane] = lane_stale_tokens(owner, step);
    ((float *)record_at(&r->layout, slot->record, VAR_ACTIVE_SHARE))[lane] =
        row >= 0 ? (float)((double)tokens / (double)all) : NAN;
    ((int64_t *)record_at(&r->layout, slot->record, VAR_KV_READ_BYTES))[lane] = (tokens + heads) * head_bytes;
    ((int64_t *)record_at(&r->layout, slot->record, VAR_KEY_READ_BYTES))[lane] = row >= 0 ? run_key_bytes(shape, r->element_bytes, l, n_tokens) : 0;
    int64_t *bytes = (int64_t *)record_at(&r->layout, slot->record, VAR_RECTIFY_BYTES) + lane;
    int64_t *flop = (int64_t *)record_at(&r->layout, slot->record, VAR_RECTIFY_FLOP) + lane;
    *bytes = *flop = 0;
    if (rectified[lane]) run_rectify_cost(shape, r->element_bytes, step + 1 - lane_window_start(l, step), n_tokens, bytes, flop);
}

void run_fill_record(const struct run *r, const struct run_slot *slot)
{
    ((int32_t *)record_at(&r->layout, slot->record, VAR_CONTEXT_TOKENS))[0] = r->plan->prefill_tokens + slot->step + 1;
    for (int lane = 0; lane < r->plan->n_lanes; lane++) fill_lane(r, slot, lane);
}
