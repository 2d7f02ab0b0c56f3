/* core/results_index.h: rows of index.csv, one for each lane of a run, and the means in them.                  */
#ifndef CORE_RESULTS_INDEX_H
#define CORE_RESULTS_INDEX_H

#include "core/trace_read.h"

#include <time.h>

/* The rows of one trace, as text, and the file that they were made from. */
struct results_rows {
    char *run_id;                  /* owned */
    char *text;                    /* owned; NULL: the trace could not be read */
    long long size_bytes;
    struct timespec changed;
    bool seen;                     /* in the rebuild that is going on */
};
void results_rows_free(struct results_rows *rows, int n);

/* What the index says of one lane of a run; NaN where the trace does not have it. */
struct lane_summary {
    double nll;                    /* mean over steps, nats */
    double nll_above_dense;        /* mean over the steps at which lane and lane 0 predict the same token after the same stream */
    double kl_mean, kl_median;     /* logit_kl */
    double top1_agreement;
    double k_drift;                /* mean over steps and layers 1 and up */
    double k_cache_drift_end;      /* mean over layers 1 and up at the last step that has it */
    double kept_mass;              /* mean over steps and layers */
    double bytes_per_step;         /* K, V, block keys and rectification */
    double time_per_step;          /* experiment latency: median step and the median rectification's share, seconds */
};
/* summaries: [n_lanes] */
int results_summarise(const struct trace_file *f, struct lane_summary *summaries);

/* The commit that made a trace, -dirty appended where it was. */
int results_commit(const struct trace_file *f, char *commit, size_t n_bytes);

#endif
