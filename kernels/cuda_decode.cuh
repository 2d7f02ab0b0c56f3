/* kernels/cuda_decode.cuh: attention of a few rows, its units (cuda_fold.cuh) divided evenly among the blocks of threads.
 *
 * A pair is a row and a KV head.  The units of all pairs stand in one line, in the order of the pairs: block of threads c of C takes those from
 * start(c) to start(c + 1).  What becomes of them it leaves in slots, as O, m, l of the pair's query heads, and tells; then each of the blocks
 * that begin within a pair, or the one that has all of it, folds what they all left of it, for some of its elements.  All blocks of threads run
 * at the same time.
 *
 *   long line    (FOLD_UNITS and more for each block): a segment is left by the block where it begins, as far as that block has it, and from
 *                there on in groups.  A group is cut by one border at most: the block before the border computes its part first of all, and leaves
 *                it; the block behind goes on from there, last of all.
 *   short line   units are left.
 *
 * Slots: a short line's units; or of each block of a long line FOLD_GROUPS, for groups of the segment that it begins within, and one for the group
 * cut at its end; then one for each segment. */
#ifndef KERNELS_CUDA_DECODE_CUH
#define KERNELS_CUDA_DECODE_CUH

#include "kernels/cuda_fold.cuh"
#include "kernels/cuda_kv.cuh"
#include "kernels/cuda_matrix.cuh"

static constexpr int
    MAX_PAIRS = 512,
    MAX_DECODE_BLOCKS =
        144; /* of threads, one on a multiprocessor: a whole chip of compute capability 9.0 has so many */
static constexpr int BLOCK_SLOTS = FOLD_GROUPS + 1;
static_assert(FOLD_UNITS <= BLOCK_SLOTS, "a short line's units have slots");
static constexpr int MAX_PARTS =
    MAX_DECODE_BLOCKS; /* segments of a pair; the groups of one in a short line are no more */

static constexpr int WARPS = 8, UNIT = ATTEND_CHUNK; /* that compute; tokens of a unit */

struct decode_job {
    struct kv_cache kv;
    const struct attend_row *rows;
    int n_rows, n_heads, group, layer, qkv_stride;
    const float *qkv;
    bool listed;
    struct block_lists lists;
    float scale2;
    float *out;
    void *operand; /* as of attend_args */
    bool bf16;     /* its elements */
    int n_blocks;  /* of threads: multiprocessors */
    int *left;     /* [n_blocks] what each has told: 2 more after each launch */
    float *state;  /* slots */
};

/* The line, cut for n_blocks blocks of threads.  Products stay below 2^32: rows_at_once() sees to it. */
struct line {
    int n_units, n_blocks;

    __device__ int start(int block) const
    {
        return (int)((unsigned)n_units * (unsigned)block / (unsigned)n_blocks);
    }

    __device__ int owner(int unit) const
    {
        return (int)((((unsigned)unit + 1) * (unsigned)n_blocks - 1) / (unsigned)n_units);
    }

    __device__ bool is_short() const
    {
        return n_units < FOLD_UNITS * n_blocks;
    }
};

/* O [group heads][head_dim]; greatest score, sum, 0, 0 of each head. */
__host__ __device__ static inline int slot_floats(int group, int head_dim)
{
    return (group * (head_dim + 4) + 31) / 32 * 32;
}

__device__ static inline float *slot_at(const struct decode_job &j, int slot)
{
    return j.state + (size_t)slot * (size_t)slot_floats(j.group, j.kv.head_dim);
}

/* Of a group that the block completed. */
__device__ static inline int group_slot(int block, int group)
{
    return block * BLOCK_SLOTS + group % FOLD_GROUPS;
}

__device__ static inline int cut_slot(int block)
{
    return block * BLOCK_SLOTS + FOLD_GROUPS;
}

/* segment: its first unit. */
__device__ static inline int segment_slot(const struct decode_job &j, int segment, int pair)
{
    return j.n_blocks * BLOCK_SLOTS + segment / SEGMENT_UNITS + pair;
}

/* Workspace of a launch: the slots.  d->work has as much for the rows that cuda_attend() takes at a time. */
size_t cuda_decode_bytes(int n_rows, int n_heads, int n_kv_heads, int head_dim, int max_tokens);
int cuda_decode(struct device *d, const struct decode_job *j);

#endif
