/* experiments/drift.c: what sparse decoding does to the cache: one run, all lanes side by side, every step into the trace. */
#include "experiments/experiment.h"
#include "experiments/interrupt.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/run.h"
#include "core/trace.h"

#include <stdlib.h>

/* Records that are due, into the trace. */
static int drain(struct run *r, struct trace *trace)
{
    int step;
    const void *record;
    while ((record = run_take(r, &step)) != NULL) TRY(trace_write(trace, step, record), "trace, step %d", step);
    return step < 0 ? -1 : 0;
}

/* Work of a step, in the units of run->flop: even over the steps. */
static int decode(struct run *r, struct trace *trace, struct progress *progress)
{
    const double work = r->plan->flop / (r->plan->n_steps + 1);
    TRY(run_prefill(r), "prefill");
    progress_add(progress, work, 0, r->plan->n_steps);
    while (!run_done(r) && !interrupt_asked()) {
        TRY(run_step(r), "decoding");
        if (drain(r, trace) != 0) return -1;
        progress_add(progress, work, r->n_stepped, r->plan->n_steps);
    }
    run_drain(r);
    return drain(r, trace);
}

static int finish(struct session *s, struct run *r, struct trace *trace)
{
    int32_t *divergence = NULL;
    int rc = MEM_NEW(&divergence, r->plan->n_lanes, "divergence");
    if (rc == 0) rc = run_first_divergence(r, divergence);
    provenance_stop(&s->provenance);
    if (rc == 0)
        rc = trace_finish(trace, r->k_spread, r->v_spread, r->plan->follow == FOLLOW_SELF ? divergence : NULL, r->n_stepped);
    mem_free(divergence);
    return rc;
}

static int drift_run(struct session *s, const struct run_plan *plan, const char *path, struct progress *progress)
{
    struct run r = { 0 };
    struct trace *trace = NULL;
    provenance_start(&s->provenance);
    int rc = run_open(&r, plan, &s->weights);
    if (rc == 0) rc = trace_open(&trace, path, plan, &s->model, &r.layout, &s->provenance, s->config_text);
    if (rc == 0 && s->be != backends[0]) rc = trace_write_behind(trace); /* the CPU's steps have all of its cores */
    if (rc == 0) rc = decode(&r, trace, progress);
    const bool interrupted = rc == 0 && interrupt_asked() && !run_done(&r);
    if (rc == 0 && !interrupted) rc = finish(s, &r, trace);
    trace_close(trace);
    run_close(&r);
    return interrupted ? EXIT_INTERRUPTED : rc == 0 ? EXIT_OK : EXIT_FAILED;
}

const struct experiment experiment_drift = {
    .name = "drift",
    .run = drift_run,
};
