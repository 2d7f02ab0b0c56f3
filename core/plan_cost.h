/* core/plan_cost.h: what a run costs, before it runs: arithmetic, memory, bytes, an estimate of time.
 *
 * Arithmetic (a fused multiply-add counts 2).  A row is one token of one lane going through the network.
 *   products of a row     2 x weights of the layers; with logits 2 x hidden x vocab more
 *   attention of a row    4 x n_heads x head_dim x tokens read, each layer
 *   scoring (minmax)      4 x n_kv_heads x head_dim x blocks, each sparse layer
 *   mass                  2 x n_heads x head_dim x tokens, each layer, of sparse rows: the scores of what is not read
 *   rectification         a row without logits for each token of the window, attending to all before it
 * Of experiment latency: each timed step once as a whole and once in parts, and as many rectifications of a whole interval.
 * Memory: what the engine would allocate, counted by the engine itself (core/run.h, run_memory), the trace's chunk
 * buffers, and fixed_bytes for the program.                                                               */
#ifndef CORE_PLAN_COST_H
#define CORE_PLAN_COST_H

#include "core/forward.h"

struct cost_inputs {
    uint64_t weight_bytes;         /* as the back end packs them */
    uint64_t fixed_bytes;          /* the program itself and its libraries */
    const struct backend *be;      /* whose cache and workspace are counted */
    double flop_per_second;        /* for the time; 0: not known here */
};

struct run_cost {
    double prefill_flop, step_flop, rectify_flop; /* of the whole run */
    double rows_per_step;          /* lanes and rectified tokens together, mean */
    uint64_t memory[N_MEMORY_PARTS]; /* resident, enum memory_part; the trace's buffers and the program among the measures' and the buffers' */
    uint64_t peak_bytes;           /* their sum */
    uint64_t trace_bytes;          /* uncompressed */
    uint64_t step_read_bytes;      /* weights once, and K and V of every lane, at the last step */
};

/* Weights at bits + 2 x 32 / group bits each; 24 MiB for the program; the CPU; 40 GFLOP/s for each thread. */
void cost_inputs_default(struct cost_inputs *in, const struct model *model);

struct run_plan; /* lanes, lengths, metrics and every of it are read */
int  run_cost(struct run_cost *cost, const struct model *m, const struct cost_inputs *in, const struct run_plan *r);

/* Of lane l at a step: K and V read by all layers together, in the cache's element size. */
double cost_lane_read_bytes(const struct model_shape *m, const struct cost_inputs *in, const struct lane_spec *l, int n_tokens);

#endif
