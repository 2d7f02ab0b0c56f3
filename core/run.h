/* core/run.h: one run: a prompt prefilled once, then decoded by all lanes in one batch, step by step, with rectification and
 * measurement.
 *
 *     run_open; run_prefill; while (!run_done) { run_step; while ((rec = run_take(r, &step))) ..; }
 *     run_drain; while ((rec = run_take(r, &step))) ..; run_close
 *
 * A step only enqueues; records come out RUN_LAG steps later, so that a device is never waited for inside a step.   */
#ifndef CORE_RUN_H
#define CORE_RUN_H

#include "core/forward.h"
#include "core/plan.h"
#include "core/replay.h"

enum { RUN_CHUNK_ROWS = 256 };
enum { RUN_LAG = 2, RUN_RING = RUN_LAG + 1 };

struct run_tables {                     /* staged on the host, int32 [n_lanes] unless said otherwise: */
    struct table row_of_lane, twin, store, end;
    struct table target_at, next_at, from_lane;     /* indices into the token buffer; lane whose choice is fed next */
    struct table stale_from, rect_from, cache_from, to; /* steps: windows of the cache measures */
    struct table step;                  /* [1] */
};

struct run_slot {                       /* one record on its way out, host memory */
    void *record;
    int64_t *tally;                     /* [n_lanes][n_kv_heads] by row */
    int32_t *row_of_lane;               /* [n_lanes] */
    int step;
};

struct run {
    const struct run_plan *plan;        /* borrowed */
    const struct weights *w;            /* borrowed */
    int element_bytes;                  /* of the cache */
    int chunk_rows;                     /* rows of one pass of a prefill or a rectification */
    struct memory mem;
    struct lane_table lanes;
    struct kv_cache kv;
    struct forward f;
    struct run_tables t;
    struct replay replay;               /* open where a lane replays */
    int32_t *tokens;                    /* device: prefix [prefill_tokens], then each lane's stream [n_lanes][n_steps + 1] */
    int32_t *diverged;                  /* device [n_lanes] */
    struct record_layout layout, thin;  /* thin: without the [step, lane, layer] variables, for steps that `every` leaves out */
    void *record;                       /* device: the record of the step in work */
    struct run_slot slot[RUN_RING];
    int n_taken, n_stepped;             /* records handed out; steps enqueued */
    int lag;                            /* RUN_LAG, 0 once drained */
    double *spread_state, *spread;      /* device [layer][2][kv_heads*head_dim][2]; [layer][2][kv_head] */
    float *k_spread, *v_spread;         /* host [layer][kv_head]; NULL without the drift group */
    double *squares;                    /* device [n_lanes][n_layers][n_steps][4]; NULL without the cache group */
    struct graph *graph[2];             /* recorded steps: thin, full */
    int graph_rows;                     /* rows of the recorded steps */
    int end_step;                       /* the run ends before this step: n_steps, or earlier by eos */
    int32_t *ended;                     /* host [n_lanes]: first step without the lane, INT32_MAX: none */
    struct pass pass;                   /* of the step in work */
};

int  run_open(struct run *r, const struct run_plan *plan, const struct weights *w);
/* The same with another chunk size: no result depends on it (a test). */
int  run_open_chunked(struct run *r, const struct run_plan *plan, const struct weights *w, int chunk_rows);
void run_close(struct run *r);          /* safe on a zeroed or half-opened run */
int  run_prefill(struct run *r);
int  run_step(struct run *r);
bool run_done(const struct run *r);
void run_drain(struct run *r);          /* from now on every record is handed out */
/* The next record in order (borrowed until the next run_step), or NULL where none is due or, with *step -1, a failure: the device's,
 * or a dense lane whose logits are no numbers (seen where the logits group is recorded). */
const void *run_take(struct run *r, int *step);
/* The first step whose fed token differs from lane 0's [n_lanes], -1 none. */
int  run_first_divergence(struct run *r, int32_t *out);
/* Bytes that run_open will take, by part, with the back end's workspace among the buffers; MEMORY_WEIGHTS is 0 (weights_bytes()
 * tells).  Needs no device. */
int  run_memory(const struct run_plan *plan, const struct model *model, const struct backend *be, uint64_t bytes[N_MEMORY_PARTS]);

/* Block keys that one step of a minmax lane reads (min and max of every block) and its open block's, written. */
int64_t run_key_bytes(const struct model_shape *s, int element_bytes, const struct lane_spec *l, int n_tokens);
/* A rectification reads each layer's whole cache once and writes its window; the last layer computes K, V only. */
void run_rectify_cost(const struct model_shape *s, int element_bytes, int window, int n_tokens, int64_t *bytes, int64_t *flop);

/* Steps of the lane's own stream in the token buffer. */
static inline int run_token_at(const struct run *r, int lane, int step)
{
    return r->plan->prefill_tokens + lane * (r->plan->n_steps + 1) + step;
}
/* Any of these groups. */
static inline bool run_has(const struct run *r, unsigned metrics)
{
    return (r->plan->metrics & metrics) != 0;
}
static inline bool run_step_is_full(const struct run *r, int step)
{
    return (step + 1) % r->plan->every == 0;
}

/* run_rows.c: the tables of a step. */
int  run_stage_step(struct run *r, int step);
/* run_rectify.c: what follows a step in the caches. */
int  run_copy_dense(struct run *r, int step);       /* dense_until: lane 0's tokens become the lane's */
int  run_rectify(struct run *r, int step);
/* run_measure.c */
int  run_measure_layer(void *run, int layer);
int  run_measure_cache(struct run *r, enum record_var k_var, enum record_var v_var, const struct table *from);
int  run_measure_logits(struct run *r);
int  run_finish_spread(struct run *r);
void run_fill_record(const struct run *r, const struct run_slot *slot);

#endif
