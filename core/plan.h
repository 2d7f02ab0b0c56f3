/* core/plan.h: what a config means: runs, and the lanes of each.
 *
 * A run decodes one prompt (source x start x tokens x seed) through lane 0 (`dense`) and the sparse lanes.
 * plan_open() expands families and axes, names everything, checks what can only be known with the model and the
 * texts at hand (lengths, equal lanes, twins), and prices it.  The engine and the trace read run_plan and no config. */
#ifndef CORE_PLAN_H
#define CORE_PLAN_H

#include "core/config.h"
#include "core/lane.h"
#include "core/model.h"

#include <stdio.h>

/* How the next token is chosen after a step. */
enum follow { FOLLOW_TEXT, FOLLOW_REFERENCE, FOLLOW_SELF };

/* Metric groups of the trace, bits of run_plan.metrics. */
enum metric {
    METRIC_DRIFT = 1, METRIC_CACHE = 2, METRIC_ATTENTION = 4, METRIC_MASS = 8, METRIC_LOGITS = 16,
    METRIC_PARTS = 32, METRIC_HEADS = 64, METRIC_SELECTION = 128, METRIC_TIME = 256
};

struct run_plan {
    char id[160];                  /* SOURCE-pTOKENS-oSTART[-sSEED]-HASH8 */
    char source[64];               /* the source's short name: its file's base name, "chat", "ids", "random" */
    char origin[80];               /* where the source comes from, see struct prompt_source */
    const int32_t *stream;         /* borrowed from the plan: the source's tokens [n_stream] */
    int n_stream;
    int start, prefill_tokens;     /* the prefix is stream[start - prefill_tokens .. start - 1]; step s feeds stream[start + s] */
    int n_steps;
    int batch;                     /* latency: independent sequences that are decoded together; 0: lanes share one prompt */
    uint64_t seed;
    enum follow follow;
    double temperature, top_p;     /* temperature 0: greedy */
    bool stop_eos;
    int eos_id;                    /* -1 none */
    unsigned metrics;              /* enum metric bits */
    char *replay;                  /* owned by the plan: the trace whose block lists lanes of selector replay read, or NULL */
    char replay_id[160];           /* its run_id, "" without one */
    int every;                     /* [step, lane, layer] variables at steps with (s+1) % every == 0 */
    const struct lane_spec *lanes; /* owned by the plan, of this run (twins depend on the run's lengths) */
    int n_lanes;                   /* lane 0 included */
    char prompt_digest[65];        /* SHA-256 of the tokens prefix + followed text */
    char hash8[9];
    /* Prices, see plan_cost.c. */
    double flop;                   /* of the whole run */
    uint64_t peak_bytes;           /* resident: packed weights + prefix + suffixes + buffers */
    uint64_t trace_bytes;          /* uncompressed */
};

struct plan {
    struct config config;          /* owned */
    struct run_plan *runs;         /* owned [n_runs] */
    int n_runs;
    char **warnings;               /* borrowed from the store [n_warnings]: lanes that allow_equal let through, and that never differ */
    int n_warnings;
    struct plan_store *store;      /* owned: token streams, lanes, prices */
};

/* model has been opened by config_open_model(); it must outlive the plan.  Takes the config over, also where it fails: the
 * config is zeroed, and its close is plan_close().  What is wrong with the config goes to p->config.diag as in
 * config_open(): config_n_errors(&p->config) is above 0 (exit status 2). */
int  plan_open(struct plan *p, struct config *config, const struct model *model);
void plan_close(struct plan *p);   /* safe on a zeroed, half-opened or closed plan */

/* Prices every run anew, with what a back end says of itself; plan_open() does it with the defaults of plan_cost.h. */
struct cost_inputs;
int  plan_price(struct plan *p, const struct model *model, const struct cost_inputs *inputs);
int  plan_print(const struct plan *p, const struct model *model, FILE *out); /* for `resa plan` */
int  plan_write_yaml(const struct plan *p, FILE *out);                       /* plan.yaml: every default written out, the runs listed */

#endif
