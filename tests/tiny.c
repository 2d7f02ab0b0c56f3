#include "tests/tiny.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int rc, const char *what)
{
    if (rc == 0) return;
    fprintf(stderr, "%s: %s\n", what, fail_text());
    abort();
}

static void open_device(struct tiny *t, const char *isa, int n_threads)
{
    if (isa)
        setenv("RESA_ISA", isa, 1);
    else
        unsetenv("RESA_ISA");
    if (n_threads > 0) omp_set_num_threads(n_threads);
    t->be = backends[0];
    must(t->be->open(&t->dev, 0), "device");
    must(weights_open(&t->weights, t->be, t->dev, &t->model), "weights");
    t->lanes[0] = (struct lane_spec){ .name = "dense", .family = "dense", .selector = SELECT_DENSE, .active_millionths = 1000000,
                                      .block_size = 16, .local_blocks = 1, .cache_of = LANE_OWN, .clean = LANE_NONE };
    t->n_lanes = 1;
}

void tiny_open(struct tiny *t, enum model_family family, const char *isa, int n_threads)
{
    *t = (struct tiny){ 0 };
    const struct synthetic_spec spec = { .layers = 3, .hidden = 64, .ffn = 96, .heads = 4, .kv_heads = 2, .head_dim = 16, .vocab = 80,
                                         .context = 4096, .family = family, .seed = 7 };
    must(model_open_synthetic(&t->model, &spec), "synthetic model");
    open_device(t, isa, n_threads);
}

int tiny_move(struct tiny *t, const char *backend)
{
    weights_close(&t->weights);
    t->be->close(t->dev);
    t->dev = NULL;
    for (int i = 0; backends[i]; i++)
        if (strcmp(backends[i]->name, backend) == 0) t->be = backends[i];
    if (strcmp(t->be->name, backend) != 0) return fail("this program was built without %s", backend);
    TRY(t->be->open(&t->dev, 0), "tiny");
    must(weights_open(&t->weights, t->be, t->dev, &t->model), backend);
    return 0;
}

bool tiny_open_on(struct tiny *t, enum model_family family, const char *backend)
{
    tiny_open(t, family, NULL, 0);
    if (tiny_move(t, backend) == 0) return true;
    printf("skipped: %s\n", fail_text());
    return false;
}

void tiny_open_model(struct tiny *t, const char *source, const char *isa, int n_threads)
{
    *t = (struct tiny){ 0 };
    must(model_open(&t->model, source), source);
    open_device(t, isa, n_threads);
}

void tiny_close(struct tiny *t)
{
    weights_close(&t->weights);
    if (t->be) t->be->close(t->dev);
    model_close(&t->model);
    *t = (struct tiny){ 0 };
}

int tiny_add(struct tiny *t, const char *name, double sparsity, struct lane_spec settings)
{
    struct lane_spec *l = &t->lanes[t->n_lanes];
    *l = settings;
    snprintf(l->name, sizeof l->name, "%s", name);
    snprintf(l->family, sizeof l->family, "%s", name);
    l->sparsity = sparsity;
    l->active_millionths = lane_active_millionths(sparsity, l->equal_bytes);
    if (l->selector == SELECT_DENSE) l->selector = SELECT_MINMAX;
    if (l->block_size == 0) l->block_size = 8;
    if (l->local_blocks == 0) l->local_blocks = 1;
    if (l->min_blocks == 0) l->min_blocks = 1;
    l->cache_of = settings.cache_of == 0 ? LANE_OWN : settings.cache_of == TINY_DENSE ? 0 : settings.cache_of;
    l->clean = LANE_NONE;
    return t->n_lanes++;
}

void tiny_twin(struct tiny *t, int lane, int clean)
{
    t->lanes[lane].clean = clean;
}

struct tiny_cast tiny_add_cast(struct tiny *t, int interval)
{
    struct tiny_cast c;
    c.control = tiny_add(t, "control", 0, (struct lane_spec){ 0 });
    c.clean = tiny_add(t, "clean", 0.7, (struct lane_spec){ .cache_of = TINY_DENSE });
    c.sparse = tiny_add(t, "sparse", 0.7, (struct lane_spec){ 0 });
    c.resa = tiny_add(t, "resa", 0.7, (struct lane_spec){ .interval = interval });
    c.f1 = tiny_add(t, "f1", 0.7, (struct lane_spec){ .interval = 1 });
    for (int i = c.clean; i <= c.f1; i++) tiny_twin(t, i, c.clean);
    tiny_twin(t, c.control, 0);
    return c;
}

void tiny_plan(struct tiny *t, int prefill_tokens, int n_steps, unsigned metrics)
{
    const uint32_t vocab = (uint32_t)t->model.shape.vocab;
    uint32_t state = 12345;
    for (int i = 0; i < (int)(sizeof t->stream / sizeof *t->stream); i++) {
        state = state * 1664525u + 1013904223u;
        t->stream[i] = (int32_t)((state >> 8) % vocab);
    }
    t->plan = (struct run_plan){ .id = "tiny", .source = "tiny", .stream = t->stream, .n_stream = 4096, .start = prefill_tokens,
                                 .prefill_tokens = prefill_tokens, .n_steps = n_steps, .seed = 1, .follow = FOLLOW_TEXT, .top_p = 1,
                                 .eos_id = -1, .metrics = metrics, .every = 1, .lanes = t->lanes, .n_lanes = t->n_lanes };
}

/* The logits of each lane's row. */
static void keep_logits(const struct tiny *t, const struct run *r, struct tiny_result *out, int step)
{
    const int32_t *row_of_lane = r->t.row_of_lane.host;
    for (int lane = 0; lane < t->n_lanes; lane++) {
        float *to = out->logits + ((size_t)step * (size_t)t->n_lanes + (size_t)lane) * (size_t)out->vocab;
        for (int i = 0; i < out->vocab; i++) to[i] = NAN;
        if (row_of_lane[lane] >= 0)
            must(t->be->download(t->dev, to, r->f.logits + (size_t)row_of_lane[lane] * (size_t)out->vocab, (size_t)out->vocab * sizeof *to),
                 "logits");
    }
    must(t->be->sync(t->dev), "logits");
}

void tiny_run(struct tiny *t, struct tiny_result *out, int chunk_rows, void (*poke)(struct run *r, int step))
{
    struct run r = { 0 };
    int taken;
    *out = (struct tiny_result){ .vocab = t->model.shape.vocab };
    must(run_open_chunked(&r, &t->plan, &t->weights, chunk_rows ? chunk_rows : RUN_CHUNK_ROWS), "run");
    out->layout = r.layout;
    must(mem_alloc((void **)&out->records, (size_t)t->plan.n_steps, r.layout.n_bytes, "records"), "records");
    must(MEM_NEW(&out->logits, (size_t)t->plan.n_steps * (size_t)t->n_lanes * (size_t)out->vocab, "logits"), "logits");
    must(run_prefill(&r), "prefill");
    for (bool more = true; more;) {
        if (run_done(&r))
            run_drain(&r);
        else {
            const int step = r.n_stepped;
            if (poke) poke(&r, step);
            must(run_step(&r), "step");
            keep_logits(t, &r, out, step);
        }
        const bool drained = run_done(&r) && r.lag == 0;
        for (const void *rec; (rec = run_take(&r, &taken)) != NULL; out->n_steps++)
            memcpy(out->records + (size_t)taken * r.layout.n_bytes, rec, r.layout.n_bytes);
        must(taken < 0 ? -1 : 0, "record");
        more = !drained;
    }
    if (r.k_spread) {
        const size_t n = (size_t)t->model.shape.n_layers * (size_t)t->model.shape.n_kv_heads;
        must(MEM_NEW(&out->k_spread, n, "spread"), "spread");
        must(MEM_NEW(&out->v_spread, n, "spread"), "spread");
        memcpy(out->k_spread, r.k_spread, n * sizeof(float));
        memcpy(out->v_spread, r.v_spread, n * sizeof(float));
    }
    must(run_first_divergence(&r, out->first_divergence), "divergence");
    run_close(&r);
}

void tiny_result_close(struct tiny_result *r)
{
    mem_free(r->records);
    mem_free(r->logits);
    mem_free(r->k_spread);
    mem_free(r->v_spread);
    *r = (struct tiny_result){ 0 };
}

static const char *record_of(const struct tiny_result *r, int step)
{
    return r->records + (size_t)step * r->layout.n_bytes;
}

float tiny_f32(const struct tiny_result *r, int step, enum record_var v, int lane, int layer)
{
    const float *at = (const float *)(const void *)(record_of(r, step) + r->layout.at[v]);
    return record_var_defs[v].dims == DIMS_STEP_LANE ? at[lane] : at[lane * r->layout.n_layers + layer];
}

int tiny_i32(const struct tiny_result *r, int step, enum record_var v, int lane)
{
    const char *at = record_of(r, step) + r->layout.at[v];
    return record_var_defs[v].type == REC_U8 ? ((const uint8_t *)at)[lane] : ((const int32_t *)(const void *)at)[lane];
}

const float *tiny_logits(const struct tiny_result *r, int step, int lane)
{
    return r->logits + ((size_t)step * (size_t)r->layout.n_lanes + (size_t)lane) * (size_t)r->vocab;
}

bool tiny_same_logits(const struct tiny_result *a, int lane_a, const struct tiny_result *b, int lane_b, int step)
{
    return memcmp(tiny_logits(a, step, lane_a), tiny_logits(b, step, lane_b), (size_t)a->vocab * sizeof(float)) == 0;
}
