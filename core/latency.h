/* core/latency.h: the time of decode steps: one policy at a time over a batch of independent sequences, cold.
 *
 * The sequences share nothing but the weights: each has a store of its own, from position 0 on.  Their contexts are not prefilled:
 * K and V are noise of the size that a model's have (unit variance before the rotation), block keys are built from them.  The policies
 * of a run are timed by turns over the same stores; every step passes over all weights and all caches, so that what it
 * reads has left the caches of the machine since the step before wherever a step reads several times what they hold.
 *
 *     latency_open; for each lane { latency_start; latency_time_step, _parts, _rectify, _read .. }; latency_close
 *
 * A time is that of the device: from a mark before a recorded step's replay to one after it, with the next replays already enqueued.
 * Step s is timed at position P + s of every sequence (P: prompt tokens): the new K and V are written, logits computed, no token
 * chosen and nothing measured.  The parts are the same step with the other operations left out, at the last position; a
 * rectification is the one that would follow the last step.                                                    */
#ifndef CORE_LATENCY_H
#define CORE_LATENCY_H

#include "core/forward.h"
#include "core/plan.h"

/* What a step consists of, by operations of core/ops.h. */
enum latency_part {
    LATENCY_PRODUCT, /* product, qkv; rope_append, which a back end may do with it */
    LATENCY_SELECT,  /* choose: scores and choice, block keys, tallies */
    LATENCY_ATTEND,  /* attend */
    LATENCY_OTHER,   /* the rest: embedding, norms, angles, activation (where not with a product) */
    N_LATENCY_PARTS
};

enum { LATENCY_FILL_ROWS = 256 };       /* tokens of a sequence that are filled at once, in all layers */

struct latency {
    const struct run_plan *plan;        /* borrowed; its batch is above 0 */
    const struct weights *w;            /* borrowed */
    struct weights filtered;            /* w with part_backend, while a part is timed */
    struct backend part_backend;
    struct memory mem;
    struct lane_table lanes;            /* lane * batch + sequence */
    struct kv_cache kv;
    struct forward f;
    int32_t *tokens;                    /* device [P + n_steps]: the stream, by position */
    float *noise;                       /* device [2 * LATENCY_FILL_ROWS][q, k, v] */
    struct graph *graph;                /* of what is being timed */
    struct pass pass;
    int lane, first, end;               /* in work: the lane; steps first .. end - 1 */
    size_t read_bytes;                  /* of the plain read */
    double clock_hz;                    /* half-way through what was timed last; NaN where it is not known */
};

int  latency_open(struct latency *l, const struct run_plan *plan, const struct weights *w);
void latency_close(struct latency *l);  /* safe on a zeroed or half-opened struct */
/* Bytes that latency_open will take, by part, as run_memory() gives them. */
int  latency_memory(const struct run_plan *plan, const struct model *model, const struct backend *be, uint64_t bytes[N_MEMORY_PARTS]);

/* Each: [n_steps] values, seconds, of which those of the steps in work are filled.  clock_hz: of the multiprocessors, read while the
 * steps run; NaN where it is not known.  Parts and rectifications read what all steps have written: each lane's steps are timed once
 * as a whole before a few of them are. */
void latency_start(struct latency *l, int lane);                              /* all of a lane's steps */
void latency_steps(struct latency *l, int first, int end);                    /* from now on, until the next start, these */
int  latency_time_step(struct latency *l, float *seconds, float *clock_hz);
int  latency_time_parts(struct latency *l, unsigned parts, float *seconds);   /* bits 1 << enum latency_part */
int  latency_time_rectify(struct latency *l, float *seconds);                 /* of a lane with an interval */
int  latency_time_rectify_parts(struct latency *l, unsigned parts, float *seconds);
int  latency_time_read(struct latency *l, uint64_t n_bytes, float *seconds);  /* a plain read of as many bytes, of the caches */
/* Whatever enqueue(context) enqueues. */
int  latency_time(struct latency *l, int (*enqueue)(void *context), void *context, float *seconds);
/* The last step once, its queries, lists and results left in the buffers. */
int  latency_step(struct latency *l);
/* Fails where a logit of the last step is not finite: times of such a step say nothing. */
int  latency_check(struct latency *l);

/* What a step of this lane must read and write at least, the whole batch: K, V and block keys; and the weights. */
struct latency_bytes {
    int64_t kv, keys, weights, rectify;  /* rectify: one rectification's K, V; 0 without one */
    int64_t rectify_flop;
};
struct latency_bytes latency_step_bytes(const struct run_plan *plan, const struct backend *be, const struct model *m, int lane, int step);

#endif
