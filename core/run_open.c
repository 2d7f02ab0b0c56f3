/* core/run_open.c: what a run needs in memory, allocated once; and the same counted without allocating. */
#include "core/run.h"

#include "core/err.h"
#include "core/ints.h"
#include "core/mem.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

/* The most rows of one rectification pass. */
static int rectify_rows(const struct run_plan *plan, int chunk_rows)
{
    int most = 0;
    for (int step = 0; step < plan->n_steps; step++) {
        int rows = 0;
        for (int i = 1; i < plan->n_lanes; i++)
            if (lane_rectifies_after(&plan->lanes[i], step)) rows += step + 1 - lane_window_start(&plan->lanes[i], step);
        most = max_int(most, rows);
    }
    return most < chunk_rows ? most : chunk_rows;
}

static int open_cache(struct run *r, const struct model_shape *s)
{
    const struct run_plan *p = r->plan;
    const int last = p->prefill_tokens + p->n_steps - 1;
    r->kv = (struct kv_cache){ .n_layers = s->n_layers, .n_kv_heads = s->n_kv_heads, .head_dim = s->head_dim,
                               .prefix_tokens = p->prefill_tokens, .prefix_tiles = (p->prefill_tokens + KV_TILE - 1) / KV_TILE,
                               .first_own_tile = p->prefill_tokens / KV_TILE, .n_stores = r->lanes.n_stores,
                               .n_tails = r->lanes.n_tails };
    struct kv_cache *c = &r->kv;
    c->own_tiles = last / KV_TILE - c->first_own_tile + 1;
    const size_t element = (size_t)r->element_bytes;
    const size_t prefix = kv_prefix_elems(c) * element, own = kv_own_elems(c) * element, tail = kv_tail_elems(c) * element;
    TRY(memory_take(&r->mem, MEMORY_PREFIX, &c->k_prefix, prefix, "prefix k"), "kv cache");
    TRY(memory_take(&r->mem, MEMORY_PREFIX, &c->v_prefix, prefix, "prefix v"), "kv cache");
    TRY(memory_take(&r->mem, MEMORY_SUFFIX, &c->k_own, own, "suffix k"), "kv cache");
    TRY(memory_take(&r->mem, MEMORY_SUFFIX, &c->v_own, own, "suffix v"), "kv cache");
    TRY(memory_take(&r->mem, MEMORY_BUFFERS, &c->k_tail, tail, "tail k"), "kv cache");
    TRY(memory_take(&r->mem, MEMORY_BUFFERS, &c->v_tail, tail, "tail v"), "kv cache");
    for (int i = 0; i < r->lanes.n_sets; i++) {
        struct key_set *k = &r->lanes.sets[i];
        TRY(memory_take(&r->mem, MEMORY_KEYS, (void **)&k->keys, key_set_elems(c, k) * element, "block keys"), "kv cache");
    }
    return 0;
}

enum { N_RUN_TABLES = sizeof(struct run_tables) / sizeof(struct table) };

static struct table *run_table(struct run *r, int i)
{
    return (struct table *)(void *)&r->t + i; /* run_tables holds nothing but tables */
}

static int open_tables(struct run *r)
{
    const size_t n = (size_t)r->plan->n_lanes * sizeof(int32_t);
    for (int i = 0; i < N_RUN_TABLES; i++) TRY(table_open(&r->mem, MEMORY_BUFFERS, run_table(r, i), n, "lane table"), "run");
    return 0;
}

static int open_measures(struct run *r, const struct model_shape *s)
{
    const struct run_plan *p = r->plan;
    const size_t layers = (size_t)s->n_layers, lanes = (size_t)p->n_lanes, heads = (size_t)s->n_kv_heads;
    int n_slots = 0;
    for (int i = 1; i < p->n_lanes; i++) n_slots = max_int(n_slots, lane_n_selected(&p->lanes[i], p->prefill_tokens + p->n_steps));
    record_layout_init(&r->layout, p->n_lanes, s->n_layers, s->n_kv_heads, run_has(r, METRIC_SELECTION) ? n_slots : 0, p->metrics);
    r->thin = r->layout;
    for (int v = 0; v < N_RECORD_VARS; v++)
        if (record_var_defs[v].dims == DIMS_STEP_LANE_LAYER || record_var_defs[v].dims == DIMS_STEP_LANE_LAYER_HEAD ||
            record_var_defs[v].dims == DIMS_STEP_LANE_LAYER_HEAD_SLOT)
            r->thin.at[v] = RECORD_OFF;
    TRY(memory_take(&r->mem, MEMORY_MEASURES, &r->record, r->layout.n_bytes, "record"), "measures");
    r->mem.bytes[MEMORY_MEASURES] += RUN_RING * r->layout.n_bytes;
    if (run_has(r, METRIC_DRIFT)) {
        const size_t elems = 4 * layers * heads * (size_t)s->head_dim;
        TRY(memory_take(&r->mem, MEMORY_MEASURES, (void **)&r->spread_state, elems * sizeof(double), "spread"), "measures");
        TRY(memory_take(&r->mem, MEMORY_MEASURES, (void **)&r->spread, 2 * layers * heads * sizeof(double), "spread"), "measures");
    }
    if (!run_has(r, METRIC_CACHE)) return 0;
    const size_t n = lanes * layers * (size_t)p->n_steps * 4 * sizeof(double);
    return memory_take(&r->mem, MEMORY_MEASURES, (void **)&r->squares, n, "squares");
}

static int open_host(struct run *r, const struct model_shape *s)
{
    const size_t lanes = (size_t)r->plan->n_lanes, heads = (size_t)s->n_layers * (size_t)s->n_kv_heads;
    TRY(MEM_NEW(&r->ended, lanes, "ends"), "run");
    for (int i = 0; i < r->plan->n_lanes; i++) r->ended[i] = INT32_MAX;
    for (int i = 0; i < RUN_RING; i++) {
        TRY(mem_alloc(&r->slot[i].record, 1, r->layout.n_bytes, "record"), "run");
        TRY(MEM_NEW(&r->slot[i].tally, lanes * (size_t)s->n_kv_heads, "tally"), "run");
        TRY(MEM_NEW(&r->slot[i].row_of_lane, lanes, "rows"), "run");
    }
    if (!run_has(r, METRIC_DRIFT)) return 0;
    TRY(MEM_NEW(&r->k_spread, heads, "spread"), "run");
    return MEM_NEW(&r->v_spread, heads, "spread");
}

static struct forward_options options(const struct run *r)
{
    const struct run_plan *p = r->plan;
    struct forward_options o = { .max_lanes = p->n_lanes, .max_blocks = 1, .max_context = p->prefill_tokens + p->n_steps,
                                 .k_plain = run_has(r, METRIC_DRIFT), .mass = run_has(r, METRIC_MASS | METRIC_HEADS),
                                 .parts = run_has(r, METRIC_PARTS) };
    for (int i = 1; i < p->n_lanes; i++) o.max_blocks = max_int(o.max_blocks, lane_n_selected(&p->lanes[i], o.max_context));
    const int prefill = p->prefill_tokens < r->chunk_rows ? p->prefill_tokens : r->chunk_rows;
    o.max_rows = max_int(max_int(p->n_lanes, prefill), rectify_rows(p, r->chunk_rows));
    return o;
}

/* The streams: the prefix, and for each lane the text's tokens, which a run that follows its own choice overwrites. */
static int upload_tokens(struct run *r)
{
    const struct run_plan *p = r->plan;
    const size_t n = (size_t)p->prefill_tokens + (size_t)p->n_lanes * (size_t)(p->n_steps + 1);
    int32_t *host = NULL;
    TRY(MEM_NEW(&host, n, "tokens"), "run");
    memcpy(host, p->stream + p->start - p->prefill_tokens, (size_t)p->prefill_tokens * sizeof *host);
    for (int lane = 0; lane < p->n_lanes; lane++)
        for (int s = 0; s <= p->n_steps; s++) {
            const int at = p->start + s;
            host[run_token_at(r, lane, s)] = at < p->n_stream ? p->stream[at] : 0;
        }
    const int rc = r->w->be->upload(r->w->dev, r->tokens, host, n * sizeof *host);
    mem_free(host);
    return rc;
}

static int upload_fixed(struct run *r)
{
    const struct run_plan *p = r->plan;
    int32_t *twin = r->t.twin.host, *store = r->t.store.host, *end = r->t.end.host;
    for (int i = 0; i < p->n_lanes; i++) {
        twin[i] = p->lanes[i].clean;
        store[i] = r->lanes.store[i];
        end[i] = INT32_MAX;
    }
    const size_t n = (size_t)p->n_lanes * sizeof(int32_t);
    TRY(table_upload(&r->mem, &r->t.twin, n), "run");
    TRY(table_upload(&r->mem, &r->t.store, n), "run");
    TRY(table_upload(&r->mem, &r->t.end, n), "run");
    int32_t *none = NULL;
    TRY(MEM_NEW(&none, p->n_lanes, "divergence"), "run");
    memset(none, 0xff, n);
    const int rc = r->w->be->upload(r->w->dev, r->diverged, none, n);
    mem_free(none);
    return rc;
}

static int take_all(struct run *r, const struct model *model)
{
    const struct run_plan *p = r->plan;
    const struct model_shape *s = &model->shape;
    TRY(lane_table_open(&r->lanes, p->lanes, p->n_lanes, p->prefill_tokens, p->n_steps), "run");
    TRY(open_cache(r, s), "run");
    const struct forward_options o = options(r);
    TRY(forward_open(&r->f, r->w, &r->mem, &r->lanes, &r->kv, &o), "run");
    TRY(open_tables(r), "run");
    TRY(open_measures(r, s), "run");
    const size_t n = (size_t)p->prefill_tokens + (size_t)p->n_lanes * (size_t)(p->n_steps + 1);
    TRY(memory_take(&r->mem, MEMORY_BUFFERS, (void **)&r->tokens, n * sizeof(int32_t), "tokens"), "run");
    return memory_take(&r->mem, MEMORY_BUFFERS, (void **)&r->diverged, (size_t)p->n_lanes * sizeof(int32_t), "divergence");
}

int run_open(struct run *r, const struct run_plan *plan, const struct weights *w)
{
    return run_open_chunked(r, plan, w, RUN_CHUNK_ROWS);
}

int run_open_chunked(struct run *r, const struct run_plan *plan, const struct weights *w, int chunk_rows)
{
    *r = (struct run){ .plan = plan, .w = w, .chunk_rows = chunk_rows, .mem = { .be = w->be, .dev = w->dev }, .lag = RUN_LAG, .end_step = plan->n_steps,
                         .element_bytes = w->be->cache_element_bytes };
    TRY(take_all(r, w->model), "run %s", plan->id);
    r->f.tokens = r->tokens;
    r->f.seed = plan->seed;
    TRY(open_host(r, &w->model->shape), "run %s", plan->id);
    if (replay_is_needed(plan)) TRY(replay_open(&r->replay, plan, &w->model->shape), "run %s", plan->id);
    TRY(upload_tokens(r), "run %s", plan->id);
    return upload_fixed(r);
}

static void release_all(struct run *r)
{
    struct kv_cache *c = &r->kv;
    void *const owned[] = { c->k_prefix, c->v_prefix, c->k_own, c->v_own, c->k_tail, c->v_tail, r->tokens, r->diverged, r->record,
                            r->spread_state, r->spread, r->squares };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) r->w->be->release(r->w->dev, owned[i]);
    for (int i = 0; i < r->lanes.n_sets; i++) r->w->be->release(r->w->dev, r->lanes.sets[i].keys);
    for (int i = 0; i < 2; i++) r->w->be->graph_free(r->w->dev, r->graph[i]);
}

void run_close(struct run *r)
{
    if (!r->plan) return;
    if (!r->mem.dry) {
        r->w->be->sync(r->w->dev); /* records that nobody took are still on their way into host memory */
        release_all(r);
    }
    for (int i = 0; i < N_RUN_TABLES; i++) table_close(&r->mem, run_table(r, i));
    for (int i = 0; i < RUN_RING; i++) {
        mem_free(r->slot[i].record);
        mem_free(r->slot[i].tally);
        mem_free(r->slot[i].row_of_lane);
    }
    replay_close(&r->replay);
    mem_free(r->ended);
    mem_free(r->k_spread);
    mem_free(r->v_spread);
    forward_close(&r->f);
    lane_table_close(&r->lanes);
    *r = (struct run){ 0 };
}

int run_memory(const struct run_plan *plan, const struct model *model, const struct backend *be, uint64_t bytes[N_MEMORY_PARTS])
{
    const struct weights shape_only = { .model = model };
    struct run r = { .plan = plan, .w = &shape_only, .chunk_rows = RUN_CHUNK_ROWS, .mem = { .be = be, .dry = true },
                     .element_bytes = be->cache_element_bytes };
    const int rc = take_all(&r, model);
    memcpy(bytes, r.mem.bytes, sizeof r.mem.bytes);
    run_close(&r);
    return rc;
}
