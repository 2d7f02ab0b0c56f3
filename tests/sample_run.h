/* tests/sample_run.h: a small run with known numbers, for tests of what is made from traces.
 *
 * Every value follows from its variable, step and place: sample_value().  Lanes: 0 dense, 1 clean (a probe of the dense
 * cache), 2 resa (interval 8), 3 stale (a probe of lane 2).                                                  */
#ifndef TESTS_SAMPLE_RUN_H
#define TESTS_SAMPLE_RUN_H

#include "core/mem.h"
#include "core/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLE_LANES = 4, SAMPLE_LAYERS = 3, SAMPLE_HEADS = 2, SAMPLE_PROMPT = 20, SAMPLE_START = 24 };

struct sample_run {
    struct lane_spec lanes[SAMPLE_LANES];
    int32_t stream[SAMPLE_START + 8];
    struct run_plan run;
    struct model model;
    struct record_layout layout;
    struct provenance prov;
    char *record;           /* owned, one step's */
    float spread[SAMPLE_LAYERS * SAMPLE_HEADS];
    int32_t divergence[SAMPLE_LANES];
    bool behind;            /* sample_write() leaves the writing to the trace's thread */
};

/* Where the value is "not there": rectification drift but after every 8th step, argmax and top3_hit of some steps,
 * blocks_read of lane 0. */
static inline bool sample_missing(enum record_var v, int step, size_t i)
{
    if (v == VAR_K_RECT_DRIFT || v == VAR_V_RECT_DRIFT) return (step + 1) % 8 != 0;
    if (v == VAR_ARGMAX || v == VAR_TOP3_HIT) return step % 8 == 5;
    return v == VAR_BLOCKS_READ && i < SAMPLE_LAYERS;
}

static inline double sample_value(enum record_var v, int step, size_t i)
{
    switch (record_var_defs[v].type) {
    case REC_F32: return (float)((int)v * 1000 + step) + (float)(i % 1000) / 64;
    case REC_I32: return (int)v * 1000 + step + (int)i;
    case REC_I64: return 5e9 + step * 100.0 + (double)i;
    case REC_U8: return (double)(((size_t)step + i) % 2);
    }
    return 0;
}

static inline void sample_record(struct sample_run *s, int step)
{
    record_clear(&s->layout, s->record);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        void *at = record_at(&s->layout, s->record, (enum record_var)v);
        const size_t n = at ? record_var_count(&s->layout, (enum record_var)v) : 0;
        for (size_t i = 0; i < n; i++) {
            const double x = sample_value((enum record_var)v, step, i);
            if (sample_missing((enum record_var)v, step, i)) continue;
            if (record_var_defs[v].type == REC_F32) ((float *)at)[i] = (float)x;
            if (record_var_defs[v].type == REC_I32) ((int32_t *)at)[i] = (int32_t)x;
            if (record_var_defs[v].type == REC_I64) ((int64_t *)at)[i] = (int64_t)x;
            if (record_var_defs[v].type == REC_U8) ((uint8_t *)at)[i] = (uint8_t)x;
        }
    }
}

static inline void sample_lanes(struct sample_run *s)
{
    const struct lane_spec base = { .selector = SELECT_MINMAX, .sparsity = 0.9, .active_millionths = 100000, .block_size = 16,
                                    .local_blocks = 1, .min_blocks = 2, .cache_of = LANE_OWN, .clean = 1 };
    struct lane_spec *l = s->lanes;
    for (int i = 0; i < SAMPLE_LANES; i++) l[i] = base;
    snprintf(l[0].name, sizeof l[0].name, "dense");
    snprintf(l[0].family, sizeof l[0].family, "dense");
    l[0].selector = SELECT_DENSE;
    l[0].sparsity = 0;
    l[0].active_millionths = 1000000;
    l[0].clean = 0;
    snprintf(l[1].name, sizeof l[1].name, "clean/s0.9-b16-fnever@dense");
    snprintf(l[1].family, sizeof l[1].family, "clean");
    l[1].cache_of = 0;
    snprintf(l[2].name, sizeof l[2].name, "resa/s0.9-b16-f8");
    snprintf(l[2].family, sizeof l[2].family, "resa");
    l[2].interval = 8;
    l[2].perturb = 0.125;
    snprintf(l[3].name, sizeof l[3].name, "st\xc3\xa4le/s0-b16-fnever@resa/s0.9-b16-f8"); /* a letter beyond ASCII */
    snprintf(l[3].family, sizeof l[3].family, "stale");
    l[3].sparsity = 0;
    l[3].active_millionths = 1000000;
    l[3].cache_of = 2;
    l[3].clean = 0;
}

/* n_slots: 0 without the selection group. */
static inline int sample_open(struct sample_run *s, const char *id, int n_steps, unsigned metrics, int n_slots)
{
    char arg[] = "resa", *argv[] = { arg };
    memset(s, 0, sizeof *s);
    sample_lanes(s);
    for (int i = 0; i < SAMPLE_START + 8; i++) s->stream[i] = 100 + i;
    for (int i = 0; i < SAMPLE_LAYERS * SAMPLE_HEADS; i++) s->spread[i] = 1.0f + (float)i / 4;
    for (int i = 0; i < SAMPLE_LANES; i++) s->divergence[i] = i - 1;
    s->run = (struct run_plan){ .source = "a text", .origin = "debian:a-package", .stream = s->stream, .n_stream = SAMPLE_START + 8, .start = SAMPLE_START,
                                .prefill_tokens = SAMPLE_PROMPT, .n_steps = n_steps, .seed = UINT64_MAX, .follow = FOLLOW_TEXT,
                                .top_p = 1, .eos_id = -1, .metrics = metrics, .every = 1, .lanes = s->lanes,
                                .n_lanes = SAMPLE_LANES, .prompt_digest = "0123", .hash8 = "89abcdef" };
    snprintf(s->run.id, sizeof s->run.id, "%s", id);
    snprintf(s->model.name, sizeof s->model.name, "synthetic");
    s->model.shape = (struct model_shape){ .family = FAMILY_LLAMA, .n_layers = SAMPLE_LAYERS, .hidden = 64, .ffn = 128,
                                           .n_heads = 4, .n_kv_heads = SAMPLE_HEADS, .head_dim = 16, .vocab = 256, .context = 512 };
    record_layout_init(&s->layout, SAMPLE_LANES, SAMPLE_LAYERS, SAMPLE_HEADS, n_slots, metrics);
    if (provenance_open(&s->prov, 1, argv) != 0) return -1;
    snprintf(s->prov.device, sizeof s->prov.device, "cpu");
    snprintf(s->prov.isa, sizeof s->prov.isa, "portable");
    s->prov.n_threads = 1;
    return mem_alloc((void **)&s->record, 1, s->layout.n_bytes, "record");
}

static inline void sample_close(struct sample_run *s)
{
    provenance_close(&s->prov);
    mem_free(s->record);
    s->record = NULL;
}

/* Steps 0 .. n_steps-1 of the sample, to path; -1 with fail_text() and no file. */
static inline int sample_write(struct sample_run *s, const char *path, int n_steps)
{
    struct trace *t = NULL;
    int rc = trace_open(&t, path, &s->run, &s->model, &s->layout, &s->prov, "name: sample\n");
    if (rc == 0 && s->behind) rc = trace_write_behind(t);
    for (int step = 0; step < n_steps && rc == 0; step++) {
        sample_record(s, step);
        rc = trace_write(t, step, s->record);
    }
    const bool drift = s->run.metrics & METRIC_DRIFT;
    if (rc == 0)
        rc = trace_finish(t, drift ? s->spread : NULL, drift ? s->spread : NULL,
                          s->run.follow == FOLLOW_SELF ? s->divergence : NULL, n_steps);
    trace_close(t);
    return rc;
}

#endif
