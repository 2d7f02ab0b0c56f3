/* tests/report_fixture.h: results folders with numbers that can be worked out by hand, for tests of the report.
 *
 * Eight lanes: dense, clean, never, f8, stale, equal 8, its clean twin, control; three layers, 16 steps.  Everything is a small
 * multiple of a power of two, so that float32 holds it exactly.  A lane's NLL is the dense lane's + BASE[lane] + SLOPE[lane] * text. */
#ifndef TESTS_REPORT_FIXTURE_H
#define TESTS_REPORT_FIXTURE_H

#include "tests/sample_run.h"
#include "tests/temp_folder.h"

enum { DENSE, CLEAN, NEVER, F8, STALE, EQUAL, CLEAN_EQUAL, CONTROL, N_FIXTURE_LANES, N_FIXTURE_STEPS = 16 };

static const double BASE[N_FIXTURE_LANES] = { 0, 0.25, 0.5, 0.375, 0.125, 0.3125, 0.1875, 0 };
static const double SLOPE[N_FIXTURE_LANES] = { 0, 0.03125, 0.0625, 0.0625, 0.015625, 0.03125, 0.03125, 0 };

/* What a test changes; zero: nothing. */
struct fixture {
    int n_lanes;      /* 0: all; else the first ones */
    unsigned metrics; /* 0: the default five */
    bool no_metrics;
    bool loops;        /* the stream repeats after four tokens */
    bool noisy;        /* the control lane drifts */
    bool same;         /* f8 is what never is */
    int missing_steps; /* f8 has no values in so many first steps */
    bool infinite;     /* f8's NLL is infinite at step 3 of text 0 */
    int ends;          /* f8 has no row from this step on; 0: it does not end */
    enum follow follow;
    int parts;          /* with FOLLOW_SELF: the step at which never's and f8's streams leave the dense lane's */
    int interval;       /* 0: 8; else f8's and what equal spends */
    bool two_sets;      /* f8 is of another sparsity */
    int text_add;       /* the texts' numbers begin here */
    const char *source; /* NULL: "text0" .. */
    const char *commit; /* NULL: the program's */
};

static inline double fixture_nll(int text, int step, int lane)
{
    return 2 + 0.125 * (step % 4) + BASE[lane] + SLOPE[lane] * text;
}

static inline double fixture_value(const struct fixture *fix, enum record_var v, int text, int step, int lane,
                                   int layer)
{
    if (lane == F8 && fix->ends && step >= fix->ends)
        return record_var_defs[v].type == REC_F32 ? (double)NAN : record_var_defs[v].type == REC_U8 ? 255 : -1;
    if (fix->parts && step >= fix->parts && (lane == NEVER || lane == F8)) {
        if (v == VAR_TOP1_MATCH) return 255;
        if (v == VAR_TOKEN || v == VAR_TARGET) return 50 + step;
        if (v == VAR_LOGIT_KL || v == VAR_K_ACCUM) return (double)NAN;
    }
    if (lane == F8 && step < fix->missing_steps && record_var_defs[v].type == REC_F32) return (double)NAN;
    if (lane == F8 && fix->same && v != VAR_K_RECT_DRIFT) lane = NEVER;
    switch (v) {
    case VAR_TOKEN:
        return fix->loops ? 10 + step % 4 : 10 + step;
    case VAR_TARGET:
        return fix->loops ? 10 + (step + 1) % 4 : 11 + step;
    case VAR_NLL:
        if (fix->infinite && lane == F8 && text == 0 && step == 3) return (double)INFINITY;
        return fixture_nll(text, step, lane);
    case VAR_LOGIT_KL:
        return lane == DENSE || lane == CONTROL ? 0
                                                : BASE[lane] * (step % 4 == 0 ? 5 : 1); /* mean 2 BASE, median BASE */
    case VAR_TOP1_MATCH:
        return lane == NEVER ? step % 2 : 1;
    case VAR_K_DRIFT:
        if (lane == DENSE || (lane == CONTROL && !fix->noisy)) return 0;
        return layer == 0 ? 64 : layer * 0.125; /* mean over layers 1 and up 0.1875 */
    case VAR_V_DRIFT:
        return layer * 0.25;
    case VAR_K_ACCUM:
        return lane == DENSE || lane == CLEAN || lane == CLEAN_EQUAL || lane == CONTROL ? 0
               : layer == 0                                                             ? 64
                                                                                        : BASE[lane];
    case VAR_K_CACHE_DRIFT:
        return layer == 0 ? 64 : step * 0.0625;
    case VAR_K_RECT_DRIFT:
        return lane == F8 && (step + 1) % 8 == 0 ? 0 : (double)NAN;
    case VAR_STALE_TOKENS:
        return lane == NEVER || lane == EQUAL || lane == STALE || lane == CONTROL ? step : lane == F8 ? step % 8 : 0;
    case VAR_ATTN_ERR:
        return BASE[lane] * layer; /* mean over all layers: BASE */
    case VAR_KV_READ_BYTES:
        return 1000 + lane;
    case VAR_KEY_READ_BYTES:
        return 100;
    case VAR_RECTIFY_BYTES:
        return lane == F8 && (step + 1) % 8 == 0 ? 800 : 0; /* 100 a step */
    default:
        return 0.5;
    }
}

static inline void fixture_lane(struct lane_spec *l, const char *name, const char *family, double sparsity,
                                int interval, int equal_bytes, int cache_of, int clean)
{
    *l = (struct lane_spec){ .selector = SELECT_MINMAX,
                             .sparsity = sparsity,
                             .block_size = 16,
                             .local_blocks = 1,
                             .min_blocks = 2,
                             .interval = interval,
                             .equal_bytes = equal_bytes,
                             .cache_of = cache_of,
                             .clean = clean };
    l->active_millionths = 1000000 - (int)lround(1e6 * sparsity) + (equal_bytes ? (int)lround(1e6 / equal_bytes) : 0);
    snprintf(l->name, sizeof l->name, "%s", name);
    snprintf(l->family, sizeof l->family, "%s", family);
}

static inline void fixture_lanes(struct lane_spec *l)
{
    fixture_lane(&l[DENSE], "dense", "dense", 0, 0, 0, LANE_OWN, 0);
    l[DENSE].selector = SELECT_DENSE;
    fixture_lane(&l[CLEAN], "clean/a", "clean", 0.9, 0, 0, DENSE, CLEAN);
    fixture_lane(&l[NEVER], "sparse/a", "sparse", 0.9, 0, 0, LANE_OWN, CLEAN);
    fixture_lane(&l[F8], "resa/a", "resa", 0.9, 8, 0, LANE_OWN, CLEAN);
    fixture_lane(&l[STALE], "stale/a", "stale", 0, 0, 0, NEVER, DENSE);
    fixture_lane(&l[EQUAL], "equal/a", "equal", 0.9, 0, 8, LANE_OWN, CLEAN_EQUAL);
    fixture_lane(&l[CLEAN_EQUAL], "clean/b", "clean", 0.9, 0, 8, DENSE, CLEAN_EQUAL);
    fixture_lane(&l[CONTROL], "control", "control", 0, 0, 0, LANE_OWN, DENSE);
}

static inline void fixture_record(const struct fixture *fix, const struct record_layout *layout, void *record, int text,
                                  int step)
{
    record_clear(layout, record);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        void *at = record_at(layout, record, (enum record_var)v);
        const bool layered = record_var_defs[v].dims == DIMS_STEP_LANE_LAYER;
        const int per_lane = layered ? layout->n_layers : 1;
        if (!at || (!layered && record_var_defs[v].dims != DIMS_STEP_LANE)) continue;
        for (int i = 0; i < layout->n_lanes * per_lane; i++) {
            const double x =
                fixture_value(fix, (enum record_var)v, text, step, i / per_lane, layered ? i % per_lane : 0);
            if (record_var_defs[v].type == REC_F32) ((float *)at)[i] = (float)x;
            if (record_var_defs[v].type == REC_I32) ((int32_t *)at)[i] = (int32_t)x;
            if (record_var_defs[v].type == REC_I64) ((int64_t *)at)[i] = (int64_t)x;
            if (record_var_defs[v].type == REC_U8) ((uint8_t *)at)[i] = (uint8_t)x;
        }
    }
}

/* FOLDER/runs/TEXT.h5 */
static inline int fixture_run(const struct fixture *fix, const char *folder, int text)
{
    struct sample_run s;
    struct lane_spec lanes[N_FIXTURE_LANES];
    int32_t divergence[N_FIXTURE_LANES];
    struct trace *t = NULL;
    char id[32], path[PATH_MAX + 64], source[64];
    const unsigned metrics = fix->no_metrics ? 0 : fix->metrics ? fix->metrics : 31;
    snprintf(id, sizeof id, "run%d", text);
    snprintf(path, sizeof path, "%s/runs/%s.h5", folder, id);
    snprintf(source, sizeof source, "%s%d", fix->source ? fix->source : "text", text);
    if (sample_open(&s, id, N_FIXTURE_STEPS, metrics, 0) != 0) return -1;
    fixture_lanes(lanes);
    if (fix->interval) lanes[F8].interval = lanes[EQUAL].equal_bytes = lanes[CLEAN_EQUAL].equal_bytes = fix->interval;
    if (fix->two_sets) lanes[F8].sparsity = 0.5;
    s.run.follow = fix->follow;
    for (int i = 0; i < N_FIXTURE_LANES; i++) divergence[i] = fix->parts && (i == NEVER || i == F8) ? fix->parts : -1;
    s.run.lanes = lanes;
    s.run.n_lanes = fix->n_lanes ? fix->n_lanes : N_FIXTURE_LANES;
    snprintf(s.run.source, sizeof s.run.source, "%s", source);
    snprintf(s.run.origin, sizeof s.run.origin, "%s", text % 2 ? "debian:a-package" : "file");
    if (fix->commit) s.prov.commit = fix->commit;
    record_layout_init(&s.layout, s.run.n_lanes, SAMPLE_LAYERS, SAMPLE_HEADS, 0, metrics);
    mem_free(s.record);
    int rc = mem_alloc((void **)&s.record, 1, s.layout.n_bytes, "record");
    if (rc == 0) rc = trace_open(&t, path, &s.run, &s.model, &s.layout, &s.prov, "name: fixture\n");
    for (int step = 0; step < N_FIXTURE_STEPS && rc == 0; step++) {
        fixture_record(fix, &s.layout, s.record, text + fix->text_add, step);
        rc = trace_write(t, step, s.record);
    }
    const float *spread = metrics & METRIC_DRIFT ? s.spread : NULL;
    if (rc == 0) rc = trace_finish(t, spread, spread, fix->follow == FOLLOW_SELF ? divergence : NULL, N_FIXTURE_STEPS);
    trace_close(t);
    sample_close(&s);
    return rc;
}

#endif
