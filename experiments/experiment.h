/* experiments/experiment.h: the kinds of experiment, a table; a config names one of them (core/config.h: experiment_names). */
#ifndef EXPERIMENTS_EXPERIMENT_H
#define EXPERIMENTS_EXPERIMENT_H

#include "experiments/progress.h"
#include "experiments/session.h"

#include "core/results.h"

struct experiment {
    const char *name;     /* as in configs */
    /* One run into its trace at path.  EXIT_OK, EXIT_FAILED (fail_text() says why, no trace is left) or EXIT_INTERRUPTED. */
    int (*run)(struct session *s, const struct run_plan *run, const char *path, struct progress *progress);
};

extern const struct experiment experiment_drift, experiment_latency;
extern const struct experiment *const experiments[]; /* NULL-terminated */

const struct experiment *experiment_find(const char *name); /* one of core/config.h's experiment_names; NULL: none */

#endif
