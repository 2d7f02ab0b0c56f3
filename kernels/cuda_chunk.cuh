/* kernels/cuda_chunk.cuh: how the attention of many rows is dealt out over the device.
 *
 * Rows of one store at consecutive positions are a run.  Its packed rows (a query head of one KV head of a row: row by row, head by
 * head) are cut into items of PACK, and the tokens up to an item's last row into cells of cell_groups groups (kernels/cuda_fold.cuh).
 * The cells of all KV heads and items, in that order, are dealt to pairs of blocks of threads, cells_each to a pair: what a pair cannot
 * finish by itself, because it has not all cells of an item, it leaves in the workspace as nodes: all segments from the item's first on are
 * one, any other segment or what a pair has of its beginning is one, other groups are one each.  chunk_merge folds them in order.  How
 * cells are dealt out changes no bit of a result. */
#ifndef KERNELS_CUDA_CHUNK_CUH
#define KERNELS_CUDA_CHUNK_CUH

#include "kernels/cuda_fold.cuh"
#include "kernels/cuda_kv.cuh"

static constexpr int CHUNK_TILE = 128, PACK = 2 * CHUNK_TILE, GROUP_TOKENS = FOLD_UNITS * ATTEND_CHUNK;

struct chunk_item {
    int run, packed, n_packed; /* first row of its run; packed rows of the run before it; its own */
    int position, cell;        /* of the run's first row; cells of the items before it, of one KV head */
};

struct chunk_plan {
    int n_items, n_cells; /* n_cells: of one KV head */
    int cell_groups, cells_each;
    int n_segments;             /* the most that an item has, 1 where they are cells */
    struct chunk_item items[1]; /* n_items, and one more whose cell is n_cells */
};

struct chunk_job {
    struct kv_cache kv;
    const struct attend_row *rows;
    int n_rows, n_heads, group, layer, qkv_stride, n_pairs;
    size_t max_nodes;
    const float *qkv;
    float scale2, *out;
    struct chunk_plan *plan;
    float *
        nodes; /* [cell of all KV heads][PACK][node_stride], then [PACK] greatest scores and [PACK] sums: a node where its first cell is */
    float *totals; /* [blocks of threads][..]: segments in work where shared memory is too small for them */
};

/* Cells from .. to-1 of an item, of one KV head. */
struct chunk_part {
    int kv_head, item, from, to, n_cells;
};

__device__ static inline int item_cells(const struct chunk_plan &p, int item)
{
    return p.items[item + 1].cell - p.items[item].cell;
}

/* The last item with at most this many cells before it. */
__device__ static inline int item_of_cell(const struct chunk_plan &p, int cell)
{
    int low = 0, high = p.n_items;
    while (high - low > 1) {
        const int mid = (low + high) / 2;
        if (p.items[mid].cell <= cell)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* The part that begins with cell `at` of all KV heads and ends before cell `end`. */
__device__ static inline struct chunk_part part_at(const struct chunk_plan &p, int at, int end)
{
    struct chunk_part t;
    t.kv_head = at / p.n_cells;
    const int cell = at % p.n_cells;
    t.item = item_of_cell(p, cell);
    t.from = cell - p.items[t.item].cell;
    t.n_cells = item_cells(p, t.item);
    t.to = min(t.n_cells, t.from + end - at);
    return t;
}

/* A segment's cells. */
__device__ static inline int2 segment_cells(int cell_groups, int segment, int n_cells)
{
    const int each = max(FOLD_GROUPS / cell_groups, 1);
    return make_int2(segment * each, min((segment + 1) * each, n_cells));
}

/* One past the last cell that the pair of blocks with this cell of an item has; it may lie beyond the item.  first: cells before the item, of
 * all KV heads. */
__device__ static inline int pair_end(const struct chunk_plan &p, int first, int cell)
{
    return ((first + cell) / p.cells_each + 1) * p.cells_each - first;
}

/* Floats of a row of a node. */
__host__ __device__ static inline int node_stride(int head_dim)
{
    return (head_dim + 31) / 32 * 32;
}

/* Where element d of a packed row lies in its row of a node: rows that follow each other differ, so that what a warp has of 8 of them lies in
 * different banks of shared memory. */
__device__ static inline int node_column(int packed, int d)
{
    return d ^ packed % 4 * 8;
}

/* Position of a packed row of an item's run. */
__device__ static inline int position_of(const struct chunk_item &t, int group, int packed)
{
    return t.position + packed / group;
}

/* Of the item's last row. */
__device__ static inline int last_position(const struct chunk_item &t, int group)
{
    return position_of(t, group, t.packed + t.n_packed - 1);
}

/* first: cells before the item, of all KV heads. */
__device__ static inline float *node_at(const struct chunk_job &j, int first, int cell)
{
    return j.nodes + (size_t)(first + cell) * PACK * (node_stride(j.kv.head_dim) + 2);
}

/* Whether cuda_attend_chunk() should compute it: rows enough to share tokens, all of them dense.  It computes any dense rows right. */
static inline bool cuda_chunk_suits(const struct attend_args *a)
{
    return !a->lists && a->n_rows >= 32;
}
int cuda_attend_chunk(struct device *d, const struct attend_args *a);
size_t chunk_plan_bytes(int n_rows); /* of a plan for as many rows at most */
int chunk_make_plan(struct device *d, const struct chunk_job *j);
int chunk_merge(struct device *d, const struct chunk_job *j);

#endif
