/* core/plan_store.h: what a plan owns behind its runs; core/plan*.c alone use it. */
#ifndef CORE_PLAN_STORE_H
#define CORE_PLAN_STORE_H

#include "core/axes.h"
#include "core/plan.h"
#include "core/plan_cost.h"
#include "core/plan_lanes.h"
#include "core/prompt.h"

/* Runs of the same lengths share their lanes, twins included, and their price. */
struct plan_set {
    struct plan_lengths lengths;
    struct lane_spec *lanes;      /* owned [n_lanes] */
    struct run_cost cost;
    int n_runs;
};

struct plan_store {
    struct prompt_set prompts;
    struct plan_lanes lanes;
    struct plan_set *sets;        /* owned [n_sets] */
    int n_sets;
    int *set_of_run;              /* owned [n_runs] */
    struct notes warnings;
    struct cost_inputs inputs;
};

/* The run's id: SOURCE-pTOKENS-oSTART[-sSEED]-HASH8; its prompt_digest and hash8 on the way. */
int plan_name_run(const struct plan *p, const struct model *model, struct run_plan *run, bool with_seed);

#endif
