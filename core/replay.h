/* core/replay.h: block lists that an earlier run recorded (trace group `selection`), fed to the lanes of selector `replay`,
 * each with those of the trace's lane of its own name.
 *
 * The run replayed is of the same model shape, the same prefilled tokens and at least as many steps; at every step each list must
 * be one that the lane's budget allows: as many blocks as lane_n_selected() says, ascending, inside the context.  A trace is
 * untrusted: a list that is not so fails the step that needs it, with file, step, lane, layer and KV head.               */
#ifndef CORE_REPLAY_H
#define CORE_REPLAY_H

#include "core/forward.h"
#include "core/plan.h"
#include "core/trace_read.h"

enum { REPLAY_STEPS = 32 };

struct replay {
    struct trace_file trace;
    const struct run_plan *plan;   /* borrowed */
    int *lane;                     /* owned [plan->n_lanes]: the trace's lane, -1 where the lane does not replay */
    int32_t *window;               /* owned [REPLAY_STEPS][trace.n_lanes][n_layers][n_kv_heads][n_slots] */
    int first, n;                  /* its steps */
};

/* Whether a lane of the run replays. */
bool replay_is_needed(const struct run_plan *run);
/* The trace at `given` (a file, or a folder whose *.h5, or runs' *.h5, are looked through) that holds the run's prompt: *path is the
 * caller's (mem_free), run_id [160].  -1 with a message where there is none, or more than one. */
int  replay_find(const char *given, const struct run_plan *run, const struct model_shape *shape, char **path, char *run_id);

int  replay_open(struct replay *r, const struct run_plan *run, const struct model_shape *shape);
void replay_close(struct replay *r);
/* The lists of a step into a host table [n_layers][n_lanes][n_kv_heads][max_blocks], that of forward.h; -1 past a list's end. */
int  replay_stage(struct replay *r, int step, int max_blocks, int32_t *lists);

#endif
