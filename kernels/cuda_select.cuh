/* kernels/cuda_select.cuh: what scoring and selection know of a row.
 *
 * Rows and lanes come from the host, no kernel writes them: both kernels read them before they wait for the kernel before. */
#ifndef KERNELS_CUDA_SELECT_CUH
#define KERNELS_CUDA_SELECT_CUH

#include "kernels/cuda_kv.cuh"

struct select_job {
    struct select_args a;
    int64_t *total;     /* tally's */
    struct kv_cache kv;
    struct block_lists lists;
    int group;
    float scale;
};

static constexpr int FEW_KEY_SETS = 16;

/* With the table of sets, which is the host's. */
template <int N_SETS> struct select_sets {
    struct select_job s;
    struct key_set sets[N_SETS];
};

template <int N_SETS> static inline struct select_sets<N_SETS> with_sets(const struct select_job &j)
{
    struct select_sets<N_SETS> job = { j, {} };
    for (int i = 0; i < j.a.n_sets; i++) job.sets[i] = j.a.sets[i];
    return job;
}

/* What a row may read and must choose as core/lane.h counts it. */
struct budget {
    int n_tokens, n_blocks, n_selected, n_local;
    int n_rest, k; /* k of the first n_rest blocks are chosen by the selector; the local ones follow */
};

__device__ static inline struct budget budget_of(const struct lane_params &l, int position)
{
    struct budget b;
    b.n_tokens = position + 1;
    b.n_blocks = (b.n_tokens + l.block_size - 1) / l.block_size;
    const int share = (int)(((int64_t)b.n_blocks * l.active_millionths + 999999) / 1000000);
    b.n_selected = min(max(max(share, l.min_blocks), max(l.local_blocks, 1)), b.n_blocks);
    b.n_local = min(l.local_blocks, b.n_selected);
    b.n_rest = b.n_blocks - b.n_local;
    b.k = b.n_selected - b.n_local;
    return b;
}

__device__ static inline bool selects(const struct select_job &j, const struct row &row)
{
    return (row.flags & ROW_SPARSE) && j.a.layer >= j.a.lanes[row.lane].dense_layers;
}

/* The address is translated, and its line fetched, before it is needed. */
__device__ static inline void prefetch(const void *p)
{
    asm volatile("prefetch.global.L2 [%0];" ::"l"(p));
}

/* Scores of the blocks that minmax rows choose from: j.a.scores. */
int cuda_score(struct device *d, const struct select_job &j);

#endif
