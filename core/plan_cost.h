/* core/plan_cost.h: what a run costs, before it runs: arithmetic, memory, bytes, an estimate of time.
 *
 * Arithmetic (a fused multiply-add counts 2).  A row is one token of one lane going through the network.
 *   products of a row     2 x weights of the layers; with logits 2 x hidden x vocab more
 *   attention of a row    4 x n_heads x head_dim x tokens read, each layer
 *   scoring (minmax)      4 x n_kv_heads x head_dim x blocks, each sparse layer
 *   mass                  2 x n_heads x head_dim x tokens, each layer, of sparse rows: the scores of what is not read
 *   rectification         a row without logits for each token of the window, attending to all before it
 * Memory: the packed weights, the shared prefix, the stores and tails, the block keys (core/kv_cache.h gives the exact
 * arrays) and the buffers, which are an estimate: activations of the widest batch, logits, per-token drift sums.   */
#ifndef CORE_PLAN_COST_H
#define CORE_PLAN_COST_H

#include "core/lane.h"
#include "core/model.h"

struct cost_inputs {
    uint64_t weight_bytes;         /* as the back end packs them */
    uint64_t fixed_bytes;          /* the program itself, its libraries, buffers of the trace */
    int chunk_rows;                /* rows of the widest batch: prefill and rectification are cut into such chunks */
    int cache_element_bytes;       /* 4 on the CPU */
    double flop_per_second;        /* for the time */
};

struct run_cost {
    double prefill_flop, step_flop, rectify_flop; /* of the whole run */
    double rows_per_step;          /* lanes and rectified tokens together, mean */
    double seconds;                /* flop / inputs.flop_per_second */
    uint64_t weight_bytes, prefix_bytes, suffix_bytes, key_bytes, buffer_bytes; /* resident; their sum is the peak */
    uint64_t trace_bytes;          /* uncompressed */
    uint64_t step_read_bytes;      /* weights once, and K and V of every lane, at the last step */
};

/* Weights at bits + 2 x 32 / group bits each; 100 MiB for the program; 256 rows; 40 GFLOP/s for each thread. */
void cost_inputs_default(struct cost_inputs *in, const struct model *model);

struct cost_run { /* what of a run decides its cost */
    const struct lane_spec *lanes;
    int n_lanes, prefill_tokens, n_steps;
    unsigned metrics;
};
int  run_cost(struct run_cost *cost, const struct model_shape *m, const struct cost_inputs *in, const struct cost_run *r);

/* Of lane l at a step: K and V read by all layers together, in the cache's element size. */
double cost_lane_read_bytes(const struct model_shape *m, const struct cost_inputs *in, const struct lane_spec *l, int n_tokens);

#endif
