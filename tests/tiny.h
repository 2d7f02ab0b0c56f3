/* tests/tiny.h: a small synthetic model on the CPU, and runs made by hand, for tests of the engine. */
#ifndef TESTS_TINY_H
#define TESTS_TINY_H

#include "core/run.h"

enum { TINY_MAX_LANES = 64, TINY_DENSE = -2 }; /* TINY_DENSE: cache_of of a probe of lane 0, as 0 means "own" here */

struct tiny {
    const struct backend *be;
    struct device *dev;
    struct model model;
    struct weights weights;
    struct lane_spec lanes[TINY_MAX_LANES];
    int n_lanes;
    int32_t stream[4096];
    struct run_plan plan;
};

/* Every variable of every step of a run: [n_steps] records of layout, one after another; plus what the rows held. */
struct tiny_result {
    struct record_layout layout;
    int n_steps, vocab;
    char *records;           /* owned [n_steps][layout.n_bytes] */
    float *logits;           /* owned [n_steps][n_lanes][vocab], by lane; NaN where the lane has no row */
    float *k_spread, *v_spread; /* owned [n_layers][n_kv_heads] or NULL */
    int32_t first_divergence[TINY_MAX_LANES];
};

/* isa: "portable", "avx2", "avx512" or NULL for the best; n_threads 0: as many as there are. */
void tiny_open(struct tiny *t, enum model_family family, const char *isa, int n_threads);
void tiny_open_model(struct tiny *t, const char *source, const char *isa, int n_threads);
/* To another back end, the lanes with it; -1 with a message where there is no such device. */
int  tiny_move(struct tiny *t, const char *backend);
/* tiny_open() on another back end; false, and says so, where there is no such device.  To be closed either way. */
bool tiny_open_on(struct tiny *t, enum model_family family, const char *backend);
void tiny_close(struct tiny *t);
/* Lane 0 (dense) is there already; returns the lane's index.  Zero fields get the defaults (block 8, local 1, min 1, own cache). */
int  tiny_add(struct tiny *t, const char *name, double sparsity, struct lane_spec settings);
/* Five lanes at sparsity 0.7 beside lane 0, with their clean twins, in this order: control (which is dense), clean, sparse, one rectified every
 * `interval` steps and one rectified at each step. */
struct tiny_cast {
    int control, clean, sparse, resa, f1;
};
struct tiny_cast tiny_add_cast(struct tiny *t, int interval);
/* Clean twins as the plan would find them are set by hand: */
void tiny_twin(struct tiny *t, int lane, int clean);
void tiny_plan(struct tiny *t, int prefill_tokens, int n_steps, unsigned metrics);
/* Runs it all; chunk_rows 0: the default.  poke, where not NULL, is called before each step. */
void tiny_run(struct tiny *t, struct tiny_result *out, int chunk_rows, void (*poke)(struct run *r, int step));
void tiny_result_close(struct tiny_result *r);

/* One element of a recorded variable. */
float tiny_f32(const struct tiny_result *r, int step, enum record_var v, int lane, int layer);
int   tiny_i32(const struct tiny_result *r, int step, enum record_var v, int lane);
const float *tiny_logits(const struct tiny_result *r, int step, int lane);
/* A lane of one run and one of another, which may be the same run: the same bits in a step? */
bool tiny_same_logits(const struct tiny_result *a, int lane_a, const struct tiny_result *b, int lane_b, int step);

#endif
