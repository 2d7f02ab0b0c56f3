#include "core/latency.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/philox.h"
#include "core/run.h"

#include <math.h>
#include <string.h>

static int most_tokens(const struct run_plan *p)
{
    return p->prefill_tokens + p->n_steps;
}

/* ---- memory ---- */

static int open_cache(struct latency *l, const struct model_shape *s)
{
    struct kv_cache *c = &l->kv;
    *c = (struct kv_cache){ .n_layers = s->n_layers, .n_kv_heads = s->n_kv_heads, .head_dim = s->head_dim,
                            .own_tiles = (most_tokens(l->plan) + KV_TILE - 1) / KV_TILE, .n_stores = l->plan->batch };
    const size_t element = (size_t)l->mem.be->cache_element_bytes, own = kv_own_elems(c) * element;
    TRY(memory_take(&l->mem, MEMORY_SUFFIX, &c->k_own, own, "k"), "kv cache");
    TRY(memory_take(&l->mem, MEMORY_SUFFIX, &c->v_own, own, "v"), "kv cache");
    for (int i = 0; i < l->lanes.n_sets; i++) {
        struct key_set *k = &l->lanes.sets[i];
        TRY(memory_take(&l->mem, MEMORY_KEYS, (void **)&k->keys, key_set_elems(c, k) * element, "block keys"), "kv cache");
    }
    return 0;
}

static struct forward_options options(const struct run_plan *p)
{
    struct forward_options o = { .max_rows = LATENCY_FILL_ROWS, .max_lanes = p->batch, .max_blocks = 1, .max_context = most_tokens(p) };
    if (p->batch > o.max_rows) o.max_rows = p->batch;
    for (int i = 0; i < p->n_lanes; i++) {
        const struct lane_spec *l = &p->lanes[i];
        if (p->batch * l->interval > o.max_rows) o.max_rows = p->batch * l->interval;
        if (l->selector == SELECT_DENSE) continue;
        const int blocks = lane_n_selected(l, o.max_context);
        if (blocks > o.max_blocks) o.max_blocks = blocks;
    }
    return o;
}

static int take_all(struct latency *l, const struct model *m)
{
    const struct run_plan *p = l->plan;
    const struct forward_options o = options(p);
    const size_t noise = 2 * (size_t)LATENCY_FILL_ROWS * (size_t)shape_qkv(&m->shape) * sizeof *l->noise;
    TRY(lane_table_open_batch(&l->lanes, p->lanes, p->n_lanes, p->batch, most_tokens(p)), "latency");
    TRY(open_cache(l, &m->shape), "latency");
    TRY(forward_open(&l->f, l->w, &l->mem, &l->lanes, &l->kv, &o), "latency");
    TRY(memory_take(&l->mem, MEMORY_BUFFERS, (void **)&l->noise, noise, "noise"), "latency");
    return memory_take(&l->mem, MEMORY_BUFFERS, (void **)&l->tokens, (size_t)most_tokens(p) * sizeof *l->tokens, "tokens");
}

int latency_memory(const struct run_plan *plan, const struct model *model, const struct backend *be, uint64_t bytes[N_MEMORY_PARTS])
{
    const struct weights shape_only = { .model = model };
    struct latency l = { .plan = plan, .w = &shape_only, .mem = { .be = be, .dry = true } };
    const int rc = take_all(&l, model);
    memcpy(bytes, l.mem.bytes, sizeof l.mem.bytes);
    latency_close(&l);
    return rc;
}

/* ---- contexts of noise ---- */

/* Uniform noise of variance 1. */
static int upload_noise(struct latency *l)
{
    const size_t n = 2 * (size_t)LATENCY_FILL_ROWS * (size_t)shape_qkv(&l->w->model->shape);
    uint32_t key[2], word[4] = { 0 };
    float *host = NULL;
    TRY(MEM_NEW(&host, n, "noise"), "latency");
    philox_key(l->plan->seed, key);
    for (size_t i = 0; i < n; i++) {
        if (i % 4 == 0) philox4x32((const uint32_t[4]){ (uint32_t)(i / 4), 0, 0, PHILOX_NOISE }, key, word);
        host[i] = sqrtf(3) * philox_signed_f32(word[i % 4]);
    }
    const int rc = l->mem.be->upload(l->mem.dev, l->noise, host, n * sizeof *host);
    mem_free(host);
    return rc;
}

/* Positions from .. to-1 of one sequence, in every layer.  The noise is the same few hundred rows, each time from another row on, and
 * turned once more each time: rotations keep its size, and no two stretches of K are alike. */
static int fill_rows(struct latency *l, int store, int from, int to)
{
    const struct model_shape *s = &l->w->model->shape;
    const struct layer_weights *layers = l->w->layers;
    const int n = to - from;
    struct row *rows = l->f.rows.host;
    for (int i = 0; i < n; i++) rows[i] = (struct row){ .lane = store, .position = from + i, .store = store, .tail = NO_TAIL };
    TRY(table_upload(&l->mem, &l->f.rows, (size_t)n * sizeof *rows), "rows");
    const struct angles_args angles = { .n_rows = n, .n_pairs = s->head_dim / 2, .rows = l->f.rows.dev, .frequency = l->w->rope_frequency,
                                        .attention_factor = s->rope.attention_factor, .cosine = l->f.cosine, .sine = l->f.sine };
    TRY(l->mem.be->angles(l->mem.dev, &angles), "angles");
    for (int layer = 0; layer < s->n_layers; layer++) {
        const size_t first = (size_t)(37 * layer + 101 * store + 7 * (from / LATENCY_FILL_ROWS)) % LATENCY_FILL_ROWS;
        const struct rope_append_args a = { .n_rows = n, .layer = layer, .n_heads = s->n_heads, .rows = l->f.rows.dev, .lanes = l->f.params,
                                            .qkv = l->noise + first * (size_t)shape_qkv(s), .q_norm = layers[layer].q_norm,
                                            .k_norm = layers[layer].k_norm, .eps = s->rms_eps, .cosine = l->f.cosine,
                                            .sine = l->f.sine, .style = s->rope.style, .kv = &l->kv, .seed = l->plan->seed };
        TRY(l->mem.be->rope_append(l->mem.dev, &a), "layer %d", layer);
    }
    return 0;
}

/* The keys of the blocks of the context, and of the empty ones after it. */
static int build_keys(struct latency *l, int set, int n_tokens)
{
    const struct key_set *k = &l->lanes.sets[set];
    for (int layer = 0; layer < l->kv.n_layers; layer++) {
        const struct keys_build_args a = { .layer = layer, .set = set, .from_block = 0, .to_block = (most_tokens(l->plan) - 1) / k->block_size,
                                           .n_tokens = n_tokens, .sets = l->lanes.sets, .kv = &l->kv };
        TRY(l->mem.be->keys_build(l->mem.dev, &a), "block keys");
    }
    return 0;
}

static int fill(struct latency *l)
{
    const struct run_plan *p = l->plan;
    const int32_t *stream = p->stream + p->start - p->prefill_tokens;
    TRY(l->mem.be->upload(l->mem.dev, l->tokens, stream, (size_t)most_tokens(p) * sizeof *stream), "tokens");
    TRY(upload_noise(l), "noise");
    for (int store = 0; store < p->batch; store++)
        for (int from = 0; from < p->prefill_tokens; from += LATENCY_FILL_ROWS) {
            const int to = from + LATENCY_FILL_ROWS;
            TRY(fill_rows(l, store, from, to < p->prefill_tokens ? to : p->prefill_tokens), "sequence %d, token %d", store, from);
        }
    for (int set = 0; set < l->lanes.n_sets; set++) TRY(build_keys(l, set, p->prefill_tokens), "key set %d", set);
    return l->mem.be->sync(l->mem.dev);
}

int latency_open(struct latency *l, const struct run_plan *plan, const struct weights *w)
{
    *l = (struct latency){ .plan = plan, .w = w, .mem = { .be = w->be, .dev = w->dev } };
    TRY(take_all(l, w->model), "run %s", plan->id);
    l->f.tokens = l->tokens;
    l->f.seed = plan->seed;
    TRY(fill(l), "run %s: filling the contexts", plan->id);
    return 0;
}

void latency_close(struct latency *l)
{
    if (!l->plan) return;
    if (!l->mem.dry) {
        l->mem.be->sync(l->mem.dev);
        l->mem.be->graph_free(l->mem.dev, l->graph);
        void *const owned[] = { l->kv.k_own, l->kv.v_own, l->noise, l->tokens };
        for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) l->mem.be->release(l->mem.dev, owned[i]);
        for (int i = 0; i < l->lanes.n_sets; i++) l->mem.be->release(l->mem.dev, l->lanes.sets[i].keys);
    }
    forward_close(&l->f);
    lane_table_close(&l->lanes);
    *l = (struct latency){ 0 };
}

/* ---- bytes ---- */

struct latency_bytes latency_step_bytes(const struct run_plan *plan, const struct backend *be, const struct model *m, int lane, int step)
{
    const struct model_shape *s = &m->shape;
    const struct lane_spec *l = &plan->lanes[lane];
    const int n = plan->prefill_tokens + step + 1, dense = l->dense_layers < s->n_layers ? l->dense_layers : s->n_layers;
    const int64_t token = 2 * (int64_t)s->n_kv_heads * s->head_dim * be->cache_element_bytes, batch = plan->batch;
    const int64_t tokens = (int64_t)dense * n + (int64_t)(s->n_layers - dense) * lane_n_read_tokens(l, n);
    struct latency_bytes b = { .kv = batch * (tokens + s->n_layers) * token, .keys = batch * run_key_bytes(s, be->cache_element_bytes, l, n),
                               .weights = (int64_t)weights_bytes(be, m) };
    if (!s->tied) b.weights -= (int64_t)be->matrix_bytes((const struct tensor *[]){ &m->embedding }, 1);
    if (l->interval > 0) {
        run_rectify_cost(s, be->cache_element_bytes, l->interval, n, &b.rectify, &b.rectify_flop);
        b.rectify *= batch;
        b.rectify_flop *= batch;
    }
    return b;
}
