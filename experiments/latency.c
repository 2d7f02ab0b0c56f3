/* experiments/latency.c: how long a decode step takes: one policy at a time, over a batch of sequences with whole contexts of noise.
 *
 * The policies take turns, a few steps and parts each, forth and back: what slows the machine down for a while falls on all of them.
 * Everything is timed before anything is written: a record holds a step of every lane. */
#include "experiments/experiment.h"
#include "experiments/interrupt.h"

#include "core/err.h"
#include "core/latency.h"
#include "core/mem.h"
#include "core/trace.h"

#include <math.h>
#include <stdlib.h>

static const enum record_var part_vars[N_LATENCY_PARTS] = {
    [LATENCY_PRODUCT] = VAR_PRODUCT_TIME,
    [LATENCY_SELECT] = VAR_SELECT_TIME,
    [LATENCY_ATTEND] = VAR_ATTEND_TIME,
    [LATENCY_OTHER] = VAR_OTHER_TIME,
};

enum { ROUNDS = 4 };

/* What is timed of a lane, [n_steps] each, by variable; NaN where it was not. */
struct times {
    int n_steps, n_lanes;
    float *samples;  /* owned [N_RECORD_VARS - VAR_STEP_TIME][n_lanes][n_steps] */
};

static float *times_of(const struct times *t, enum record_var v, int lane)
{
    return t->samples + ((size_t)(v - VAR_STEP_TIME) * (size_t)t->n_lanes + (size_t)lane) * (size_t)t->n_steps;
}

static int times_open(struct times *t, const struct run_plan *plan)
{
    const size_t n = (size_t)(N_RECORD_VARS - VAR_STEP_TIME) * (size_t)plan->n_lanes * (size_t)plan->n_steps;
    *t = (struct times){ .n_steps = plan->n_steps, .n_lanes = plan->n_lanes };
    TRY(MEM_NEW(&t->samples, n, "times"), "latency");
    for (size_t i = 0; i < n; i++) t->samples[i] = NAN;
    return 0;
}

/* Steps first .. end - 1 of a lane, and as many of each part. */
static int time_lane(struct latency *l, const struct run_plan *plan, int lane, int first, int end, const struct times *t)
{
    const struct lane_spec *spec = &plan->lanes[lane];
    const struct latency_bytes b = latency_step_bytes(plan, l->w->be, l->w->model, lane, plan->n_steps - 1);
    latency_start(l, lane);
    latency_steps(l, first, end);
    TRY(latency_time_step(l, times_of(t, VAR_STEP_TIME, lane), times_of(t, VAR_CLOCK, lane)), "steps");
    for (int part = 0; part < N_LATENCY_PARTS && !interrupt_asked(); part++) {
        if (part == LATENCY_SELECT && spec->selector == SELECT_DENSE) continue;
        TRY(latency_time_parts(l, 1u << part, times_of(t, part_vars[part], lane)), "parts");
    }
    if (spec->interval > 0 && !interrupt_asked()) TRY(latency_time_rectify(l, times_of(t, VAR_RECTIFY_TIME, lane)), "rectification");
    TRY(latency_time_read(l, (uint64_t)(b.kv + b.keys + b.weights), times_of(t, VAR_READ_TIME, lane)), "plain read");
    return latency_check(l);
}

static void fill_lane(const struct record_layout *layout, void *record, const struct latency *l, int lane, int step, const struct times *t)
{
    const struct run_plan *p = l->plan;
    const struct lane_spec *spec = &p->lanes[lane];
    const struct latency_bytes b = latency_step_bytes(p, l->w->be, l->w->model, lane, step);
    const int n = p->prefill_tokens + step + 1;
    const int dense = spec->dense_layers < l->kv.n_layers ? spec->dense_layers : l->kv.n_layers;
    const double tokens = (double)dense * n + (double)(l->kv.n_layers - dense) * lane_n_read_tokens(spec, n);
    for (enum record_var v = VAR_STEP_TIME; v < N_RECORD_VARS; v++)
        if (v != VAR_STEP_BYTES) ((float *)record_at(layout, record, v))[lane] = times_of(t, v, lane)[step];
    ((int64_t *)record_at(layout, record, VAR_STEP_BYTES))[lane] = b.kv + b.keys + b.weights;
    ((int64_t *)record_at(layout, record, VAR_KV_READ_BYTES))[lane] = b.kv;
    ((int64_t *)record_at(layout, record, VAR_KEY_READ_BYTES))[lane] = b.keys;
    ((int64_t *)record_at(layout, record, VAR_RECTIFY_BYTES))[lane] = b.rectify;
    ((int64_t *)record_at(layout, record, VAR_RECTIFY_FLOP))[lane] = b.rectify_flop;
    ((int32_t *)record_at(layout, record, VAR_TOKEN))[lane] = p->stream[p->start + step];
    ((int32_t *)record_at(layout, record, VAR_TARGET))[lane] = p->stream[p->start + step + 1];
    ((int32_t *)record_at(layout, record, VAR_STALE_TOKENS))[lane] = 0;
    ((uint8_t *)record_at(layout, record, VAR_RECTIFIED))[lane] = 0;
    ((float *)record_at(layout, record, VAR_ACTIVE_SHARE))[lane] = (float)(tokens / ((double)l->kv.n_layers * n));
}

static int write_records(struct trace *trace, const struct record_layout *layout, const struct latency *l, const struct times *t)
{
    void *record = NULL;
    TRY(mem_alloc(&record, 1, layout->n_bytes, "record"), "latency");
    int rc = 0;
    for (int step = 0; step < t->n_steps && rc == 0; step++) {
        record_clear(layout, record);
        ((int32_t *)record_at(layout, record, VAR_CONTEXT_TOKENS))[0] = l->plan->prefill_tokens + step + 1;
        for (int lane = 0; lane < t->n_lanes; lane++) fill_lane(layout, record, l, lane, step, t);
        rc = trace_write(trace, step, record);
    }
    mem_free(record);
    return rc;
}

/* Every lane's steps once, for what they write; these times are not kept. */
static int warm_up(struct latency *l, const struct run_plan *plan, const struct times *t)
{
    for (int lane = 0; lane < plan->n_lanes && !interrupt_asked(); lane++) {
        latency_start(l, lane);
        TRY(latency_time_step(l, times_of(t, VAR_STEP_TIME, lane), NULL), "lane %s: steps", plan->lanes[lane].name);
    }
    return 0;
}

static int time_all(struct latency *l, const struct run_plan *plan, const struct times *t, struct progress *progress)
{
    const int n_rounds = plan->n_steps < ROUNDS ? plan->n_steps : ROUNDS, n_turns = n_rounds * plan->n_lanes;
    if (warm_up(l, plan, t) != 0) return -1;
    for (int turn = 0; turn < n_turns && !interrupt_asked(); turn++) {
        const int round = turn / plan->n_lanes, forth = turn % plan->n_lanes, lane = round % 2 ? plan->n_lanes - 1 - forth : forth;
        const int first = plan->n_steps * round / n_rounds, end = plan->n_steps * (round + 1) / n_rounds;
        TRY(time_lane(l, plan, lane, first, end, t), "lane %s", plan->lanes[lane].name);
        progress_add(progress, plan->flop / n_turns, turn + 1, n_turns);
    }
    return 0;
}

static int latency_run(struct session *s, const struct run_plan *plan, const char *path, struct progress *progress)
{
    struct latency l = { 0 };
    struct times t = { 0 };
    struct record_layout layout;
    struct trace *trace = NULL;
    record_layout_init(&layout, plan->n_lanes, s->model.shape.n_layers, s->model.shape.n_kv_heads, 0, plan->metrics);
    provenance_start(&s->provenance);
    int rc = times_open(&t, plan);
    if (rc == 0) rc = trace_open(&trace, path, plan, &s->model, &layout, &s->provenance, s->config_text);
    if (rc == 0) rc = latency_open(&l, plan, &s->weights);
    if (rc == 0) rc = time_all(&l, plan, &t, progress);
    const bool interrupted = rc == 0 && interrupt_asked();
    if (rc == 0 && !interrupted) rc = write_records(trace, &layout, &l, &t);
    provenance_stop(&s->provenance);
    if (rc == 0 && !interrupted) rc = trace_finish(trace, NULL, NULL, NULL, plan->n_steps);
    trace_close(trace);
    latency_close(&l);
    mem_free(t.samples);
    return interrupted ? EXIT_INTERRUPTED : rc == 0 ? EXIT_OK : EXIT_FAILED;
}

const struct experiment experiment_latency = {
    .name = "latency",
    .run = latency_run,
};
