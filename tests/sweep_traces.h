/* tests/sweep_traces.h: the traces of a sweep of any size, with the variables of the five default groups and values that
 * compress as badly as measured ones.  A set of ten lanes (clean, never, five intervals, equal, its clean, stale) for each
 * sparsity.  Distances grow as the logarithm of the stale tokens, times 1 + text / 8.                             */
#ifndef TESTS_SWEEP_TRACES_H
#define TESTS_SWEEP_TRACES_H

#include "tests/sample_run.h"

enum { SWEEP_SET = 10 };

struct sweep {
    int n_lanes, n_steps, n_layers, text;
    struct lane_spec *lanes; /* [n_lanes] */
    uint64_t noise;
};

static inline double sweep_noise(struct sweep *w)
{
    w->noise = w->noise * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (double)(w->noise >> 40) * 0x1p-24;
}

static inline void sweep_lane(struct lane_spec *l, int i)
{
    static const struct {
        const char *family;
        int interval, equal_bytes, cache_of, clean; /* places in the set, -1: own; -2: dense */
    } set[SWEEP_SET] = {
        { "clean", 0, 0, -2, 0 }, { "sparse", 0, 0, -1, 0 },  { "resa", 8, 0, -1, 0 },    { "resa", 16, 0, -1, 0 },
        { "resa", 32, 0, -1, 0 }, { "resa", 64, 0, -1, 0 },   { "resa", 128, 0, -1, 0 },  { "equal", 0, 32, -1, 8 },
        { "clean", 0, 32, -2, 8 }, { "stale", 0, 0, 1, -2 },
    };
    const int place = (i - 1) % SWEEP_SET, first = 1 + (i - 1) / SWEEP_SET * SWEEP_SET;
    *l = (struct lane_spec){ .selector = SELECT_MINMAX, .block_size = 16, .local_blocks = 1, .min_blocks = 2,
                             .cache_of = LANE_OWN };
    if (i == 0) {
        *l = (struct lane_spec){ .name = "dense", .family = "dense", .block_size = 16, .cache_of = LANE_OWN,
                                 .active_millionths = 1000000 };
        return;
    }
    l->sparsity = place == 9 ? 0 : 0.99 - 0.01 * ((i - 1) / SWEEP_SET);
    l->interval = set[place].interval;
    l->equal_bytes = set[place].equal_bytes;
    l->cache_of = set[place].cache_of == -2 ? 0 : set[place].cache_of == -1 ? LANE_OWN : first + set[place].cache_of;
    l->clean = set[place].clean == -2 ? 0 : first + set[place].clean;
    l->active_millionths = lane_active_millionths(l->sparsity, l->equal_bytes);
    snprintf(l->family, sizeof l->family, "%s", set[place].family);
    snprintf(l->name, sizeof l->name, "%s/%d-f%d-e%d", set[place].family, first, l->interval, l->equal_bytes);
}

/* The size of a variable: growing for what accumulates. */
static inline double sweep_level(const struct sweep *w, enum record_var v, int lane, int step)
{
    const struct lane_spec *l = &w->lanes[lane];
    const int stale = l->cache_of == 0 || lane == 0 ? 0 : lane_stale_tokens(l->cache_of > 0 ? &w->lanes[l->cache_of] : l, step);
    const bool distance = v == VAR_K_ACCUM || v == VAR_V_ACCUM || v == VAR_ATTN_ACCUM || v == VAR_HIDDEN_ACCUM;
    if (v == VAR_STALE_TOKENS) return stale;
    if (v == VAR_TOKEN || v == VAR_TARGET) return (step + (v == VAR_TARGET)) * 7919 % 997;
    if (lane == 0) return 0;
    return (distance ? 0 : 0.2) + 0.05 * (1 + w->text / 8.0) * log1p(stale);
}

static inline void sweep_record(struct sweep *w, const struct record_layout *layout, void *record, int step)
{
    record_clear(layout, record);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const struct record_var_def *def = &record_var_defs[v];
        char *at = record_at(layout, record, (enum record_var)v);
        const int each = def->dims == DIMS_STEP_LANE_LAYER ? layout->n_layers : 1;
        if (!at || (each == 1 && def->dims != DIMS_STEP_LANE)) continue;
        for (int lane = 0; lane < layout->n_lanes; lane++) {
            const struct lane_spec *l = &w->lanes[lane];
            const double level = sweep_level(w, (enum record_var)v, lane, step);
            if ((v == VAR_K_RECT_DRIFT || v == VAR_V_RECT_DRIFT) && !lane_rectifies_after(l, step)) continue;
            for (int i = lane * each; i < (lane + 1) * each; i++) {
                const double x = def->type == REC_F32 ? level * (1 + 0.2 * sweep_noise(w)) : level;
                if (def->type == REC_F32) ((float *)at)[i] = (float)x;
                if (def->type == REC_I32) ((int32_t *)at)[i] = (int32_t)x;
                if (def->type == REC_I64) ((int64_t *)at)[i] = 1000 + lane;
                if (def->type == REC_U8) ((uint8_t *)at)[i] = (uint8_t)(sweep_noise(w) < 0.9);
            }
        }
    }
}

/* FOLDER/runs/textN.h5; the folder is there. */
static inline int sweep_write(const char *folder, int text, int n_lanes, int n_steps, int n_layers)
{
    struct sweep w = { .n_lanes = n_lanes, .n_steps = n_steps, .n_layers = n_layers, .text = text, .noise = (uint64_t)text };
    struct sample_run s;
    struct trace *t = NULL;
    float *spread = NULL;
    char id[32], path[4096 + 64];
    snprintf(id, sizeof id, "text%d", text);
    snprintf(path, sizeof path, "%s/runs/%s.h5", folder, id);
    if (sample_open(&s, id, n_steps, 31, 0) != 0) return -1;
    int rc = mem_alloc((void **)&w.lanes, (size_t)n_lanes, sizeof *w.lanes, "lanes");
    for (int i = 0; i < n_lanes && rc == 0; i++) sweep_lane(&w.lanes[i], i);
    snprintf(s.run.source, sizeof s.run.source, "%s", id);
    s.run.lanes = w.lanes;
    s.run.n_lanes = n_lanes;
    s.model.shape.n_layers = n_layers;
    record_layout_init(&s.layout, n_lanes, n_layers, SAMPLE_HEADS, 0, 31);
    mem_free(s.record);
    s.record = NULL;
    if (rc == 0) rc = mem_alloc((void **)&s.record, 1, s.layout.n_bytes, "record");
    if (rc == 0) rc = mem_alloc((void **)&spread, (size_t)n_layers * SAMPLE_HEADS, sizeof *spread, "spread");
    if (rc == 0) rc = trace_open(&t, path, &s.run, &s.model, &s.layout, &s.prov, "name: sweep\n");
    for (int step = 0; step < n_steps && rc == 0; step++) {
        sweep_record(&w, &s.layout, s.record, step);
        rc = trace_write(t, step, s.record);
    }
    if (rc == 0) rc = trace_finish(t, spread, spread, NULL, n_steps);
    trace_close(t);
    mem_free(spread);
    mem_free(w.lanes);
    sample_close(&s);
    return rc;
}

#endif
