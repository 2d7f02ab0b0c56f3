/* kernels/cuda_decode.cuh: attention of a few rows, its units (cuda_fold.cuh) divided evenly among the blocks of threads.
 *
 * A pair is a row and a KV head.  The units of all pairs stand in one line, in the order of the pairs: block of threads c of C takes
 * those from unit_start(c) to unit_start(c + 1).  A group, a segment and a pair are completed where they begin: what belongs to one that began in
 * an earlier block of threads is left in a slot, as O, m, l [group heads][head_dim + 2], and told.
 *
 *   of block c      LOOSE_UNITS units before its first group, then its groups before its first segment
 *   of the segments one for each that begins behind its pair's first block of threads
 *
 * The blocks of threads all run at the same time, one on a multiprocessor, and wait only for what later ones leave before they wait themselves. */
#ifndef KERNELS_CUDA_DECODE_CUH
#define KERNELS_CUDA_DECODE_CUH

#include "kernels/cuda_fold.cuh"
#include "kernels/cuda_kv.cuh"

static constexpr int MAX_PAIRS = 512, MAX_DECODE_BLOCKS = 144; /* of threads, one on a multiprocessor: a whole chip of compute capability 9.0 has so many */
static constexpr int LOOSE_UNITS = FOLD_UNITS - 1, LOOSE_SLOTS = LOOSE_UNITS + FOLD_GROUPS;

static constexpr int WARPS = 8, UNIT = ATTEND_CHUNK; /* that compute; tokens of a unit */

/* What a block of threads has left, in this order. */
enum { LEFT_UNITS = 1, LEFT_GROUPS, LEFT_SEGMENTS };

struct decode_job {
    struct kv_cache kv;
    const struct attend_row *rows;
    int n_rows, n_heads, group, layer, qkv_stride;
    const float *qkv;
    bool listed;
    struct block_lists lists;
    float scale2;
    float *out;
    int n_blocks;   /* of threads: multiprocessors */
    int *left;      /* [n_blocks] LEFT_*, [1] blocks of threads that are done; zeros between launches */
    float *state;   /* slots */
};

__device__ static inline int list_of(const struct decode_job &j, const struct attend_row &row, int kv_head)
{
    if (!j.listed || row.list_row < 0) return -1;
    const int list = row.list_row * j.kv.n_kv_heads + kv_head;
    return j.lists.count[list] < 0 ? -1 : list;
}

/* Products stay below 2^32: decode_rows() sees to it. */
__device__ static inline int unit_start(int block, int n_blocks, int n_units)
{
    return (int)((unsigned)n_units * (unsigned)block / (unsigned)n_blocks);
}

__device__ static inline int unit_owner(int unit, int n_blocks, int n_units)
{
    return (int)((((unsigned)unit + 1) * (unsigned)n_blocks - 1) / (unsigned)n_units);
}

__device__ static inline float *slot_at(const struct decode_job &j, int slot)
{
    return j.state + (size_t)slot * (size_t)(j.group * (j.kv.head_dim + 2));
}

/* first: the segment's first unit. */
__device__ static inline int segment_slot(const struct decode_job &j, int first, int pair)
{
    return j.n_blocks * LOOSE_SLOTS + first / SEGMENT_UNITS + pair;
}

/* Workspace of a launch: base, arrived, then the slots.  d->work has as much for the rows that cuda_attend() takes at a time. */
size_t cuda_decode_bytes(int n_rows, int n_heads, int n_kv_heads, int head_dim, int max_tokens);
/* Workspace of a launch: the slots.  d->work has as much for the rows that cuda_attend() takes at a time. */
size_t cuda_decode_bytes(int n_rows, int n_heads, int n_kv_heads, int head_dim, int max_tokens);
int cuda_decode(struct device *d, const struct decode_job *j);

#endif
