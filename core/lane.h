/* core/lane.h: a lane, that is one decoding policy with its own KV cache, or a probe that reads another's.
 *
 * Lane 0 of every run is `dense`, the reference.  The words are the config's: sparsity is the
 * share of blocks NOT read.                                                                            */
#ifndef CORE_LANE_H
#define CORE_LANE_H

#include <stdbool.h>
#include <stdint.h>

enum selector_id { SELECT_DENSE, SELECT_MINMAX, SELECT_RANDOM, SELECT_WINDOW, SELECT_ORACLE, SELECT_REPLAY, N_SELECTORS };

enum { LANE_NAME_MAX = 128, LANE_OWN = -1, LANE_NONE = -1, MAX_LANES = 1024 };

struct lane_spec {
    char name[LANE_NAME_MAX];      /* family/s0.9-b16-f32.., a probe's ends in @ and its owner's name */
    char family[64];
    enum selector_id selector;     /* SELECT_DENSE: lane 0 only.  A control lane is minmax at sparsity 0 */
    double sparsity;               /* 0 .. 1, as configured */
    int active_millionths;         /* 1000000 - round(1e6 sparsity) + round(1e6 / equal_bytes), at most 1000000 */
    int block_size, local_blocks, min_blocks, dense_layers;
    int interval;                  /* 0: never rectified */
    int phase, dense_until, equal_bytes;
    double perturb;
    int cache_of;                  /* LANE_OWN, or the lane whose cache this probe reads */
    int clean;                     /* the clean twin: the probe of the dense cache with the same policy and budget; the lane itself; or
                                      LANE_NONE */
};

static inline bool lane_is_probe(const struct lane_spec *l)
{
    return l->cache_of != LANE_OWN;
}

/* active_millionths of these settings. */
int lane_active_millionths(double sparsity, int equal_bytes);

/* Blocks of a context, and the blocks that one (kv_head, layer) of this lane reads of it:
 * n_sel = min(M, max(ceil(M * active_millionths / 1000000), min_blocks, local_blocks, 1)).  */
static inline int lane_n_blocks(const struct lane_spec *l, int n_tokens)
{
    return (n_tokens + l->block_size - 1) / l->block_size;
}
int lane_n_selected(const struct lane_spec *l, int n_tokens);

/* Tokens in those blocks: the last block may be partial.  It is among them where local_blocks >= 1 or where all are
 * read; with local_blocks 0 it may or may not be, and this is the most. */
int lane_n_read_tokens(const struct lane_spec *l, int n_tokens);

/* Whether the lane is rectified after step s (its tokens start at step dense_until). */
bool lane_rectifies_after(const struct lane_spec *l, int step);
/* The first step of the window rectified after step s: one past the last rectification, or dense_until. */
int lane_window_start(const struct lane_spec *l, int step);
/* Suffix tokens before step s's that a sparse step of this lane wrote and that no rectification has rewritten.  For a lane with its
 * own cache: a probe's are its owner's. */
int lane_stale_tokens(const struct lane_spec *l, int step);

#endif
