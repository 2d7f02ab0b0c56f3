/* core/plan_lanes.h: families of a config become the lanes of a run: names, owners of caches, clean twins, and the
 * refusal of lanes that do the same. */
#ifndef CORE_PLAN_LANES_H
#define CORE_PLAN_LANES_H

#include "core/axes.h"
#include "core/config.h"
#include "core/lane.h"

/* The lanes as every run has them but for `clean`, which depends on a run's lengths. */
struct plan_lanes {
    struct lane_spec *lanes;         /* owned [n]; lane 0 is dense */
    const struct config_lane **from; /* owned [n], borrowed from the config; NULL for lane 0 */
    int n;
};

/* -1 after errors in c->diag, or without memory. */
int  plan_lanes_open(struct plan_lanes *l, struct config *c);
void plan_lanes_close(struct plan_lanes *l);

/* A run's lengths: n_tokens of step s is prefill_tokens + s + 1. */
struct plan_lengths {
    int prefill_tokens, n_steps, n_layers, batch;
};

/* Whether the lane reads every block at every step of such a run. */
bool plan_lane_reads_all(const struct lane_spec *l, const struct plan_lengths *n);
/* Whether both read the same number of blocks at every step; their block sizes are equal. */
bool plan_lanes_same_budget(const struct lane_spec *a, const struct lane_spec *b, const struct plan_lengths *n);

/* Whether both are rectified after the same steps, the last of the run left out: what is rectified then is read by no step. */
bool plan_lanes_same_schedule(const struct lane_spec *a, const struct lane_spec *b, int n_steps);

/* Refuses (or, with allow_equal, warns of) equal lanes and of lanes that are the control; refuses what the lengths
 * or the model forbid; warns of lanes that differ in their schedules alone, where no step of the run sees that.  Errors go to c->diag; -1 for no memory alone. */
int  plan_lanes_check(const struct plan_lanes *l, struct config *c, const struct plan_lengths *n, struct notes *warnings);

/* Fills in `clean` of lanes [n_lanes]. */
void plan_lanes_twins(struct lane_spec *lanes, int n_lanes, const struct plan_lengths *n);

#endif
