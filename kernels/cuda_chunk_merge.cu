/* kernels/cuda_chunk_merge.cu: folds an item's nodes into its rows' results, a warp for each packed row.
 *
 * A warp does one row or a few, each at the pace of its loads: so it reads many nodes ahead where rows are few, and there are many warps where
 * rows are many; and the code is short, since it is fetched from far and executed once. */
#include "kernels/cuda_chunk.cuh"

static constexpr int THREADS = 128;

/* A packed row of an item of which no pair of blocks has all cells. */
struct merge_row {
    int kv_head, item, packed, n_cells, first, done, each, row;
};

/* Cells 0 .. done-1, whole segments, are one node; else a segment has one of what the pair of blocks with its first cell has, and one
 * of every cell after that. */
__device__ static bool has_node(const struct chunk_plan &p, const struct merge_row &r, int cell)
{
    if (cell < r.done) return cell == 0;
    const int begins = cell / r.each * r.each;
    return cell == begins || cell >= pair_end(p, r.first, begins);
}

__device__ static bool find_row(const struct chunk_job &j, int at, struct merge_row &r)
{
    const struct chunk_plan &p = *j.plan;
    r.packed = at % PACK;
    r.item = at / PACK % p.n_items;
    r.kv_head = at / PACK / p.n_items;
    const struct chunk_item t = p.items[r.item];
    r.n_cells = item_cells(p, r.item);
    r.first = r.kv_head * p.n_cells + t.cell;
    const int alone = pair_end(p, r.first, 0);
    if (r.packed >= t.n_packed || alone >= r.n_cells) return false;
    r.row = t.run + (t.packed + r.packed) / j.group;
    r.each = max(FOLD_GROUPS / p.cell_groups, 1);
    r.done = alone / r.each * r.each;
    return true;
}

/* What a lane has of a row: V pieces of 4 elements, at 4 (lane + 32 i). */
template <int V> struct sums {
    float most, sum;
    float4 o[V];

    __device__ void clear()
    {
        most = -INFINITY;
        sum = 0;
#pragma unroll
        for (int i = 0; i < V; i++) o[i] = make_float4(0, 0, 0, 0);
    }

    __device__ void add(float y_sum, const float4 (&y)[V], const struct fold &f)
    {
        sum = fold_sum(sum, y_sum, f);
#pragma unroll
        for (int i = 0; i < V; i++)
            o[i] = make_float4(fold_sum(o[i].x, y[i].x, f), fold_sum(o[i].y, y[i].y, f), fold_sum(o[i].z, y[i].z, f),
                               fold_sum(o[i].w, y[i].w, f));
    }
};

/* A lane's: the node's greatest score, -inf where there is none, and sum. */
struct node_stats {
    float most, sum;
};

/* What folds every lane's node into x and the nodes before it, for all lanes to read: folds, 32 of this warp.  x.most: of all. */
template <int V>
__device__ static void prepare_folds(struct sums<V> &x, const struct node_stats &node, float scale2, float4 *folds)
{
    const int lane = threadIdx.x % 32;
    float upto = lane == 0 ? fmaxf(x.most, node.most) : node.most;
#pragma unroll
    for (int o = 1; o < 32; o *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, upto, o);
        if (lane >= o) upto = fmaxf(upto, before);
    }
    const float before = __shfl_up_sync(0xffffffffu, upto, 1);
    const struct fold f = fold_of(lane == 0 ? x.most : before, node.most, scale2);
    __syncwarp(); /* all have read the last ones */
    folds[lane] = make_float4(f.run, f.next, node.sum, 0);
    __syncwarp();
    x.most = __shfl_sync(0xffffffffu, upto, 31);
}

/* The nodes of 32 cells, those in `all`, are folded into x in order.  nodes: this lane's part of the first cell's; step: to the next one's. */
template <int V, int AHEAD>
__device__ static void fold_nodes(struct sums<V> &x, uint32_t all, const struct node_stats &node, const float *nodes,
                                  size_t step, int n_pieces, float scale2, float4 *folds)
{
    float4 z[AHEAD][V];
#pragma unroll 1
    for (int from = 0; from < 32 && all >> from != 0; from += AHEAD) {
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
#pragma unroll
            for (int k = 0; k < V; k++)
                if (all >> (from + i) & 1 && k < n_pieces)
                    z[i][k] = *(const float4 *)(nodes + (from + i) * step + 128 * k);
        if (from == 0) prepare_folds(x, node, scale2, folds);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const float4 at = folds[from + i];
            if (all >> (from + i) & 1) x.add(at.z, z[i], { 0, at.x, at.y });
        }
    }
}

/* The row's nodes in order: each segment's by themselves, then the segments.  Tokens past its position weigh nothing in them. */
template <int V, int AHEAD>
__device__ static void fold_row(const struct chunk_job &j, const struct merge_row &r, struct sums<V> &x, float4 *folds)
{
    const int lane = threadIdx.x % 32, dim = j.kv.head_dim, n_pieces = (dim / 4 - lane + 31) / 32;
    const size_t stride = (size_t)node_stride(dim), step = PACK * (stride + 2);
    const float *nodes = node_at(j, r.kv_head, r.item, 0), *stats = nodes + PACK * stride + r.packed;
    nodes += r.packed * stride + node_column(r.packed, 4 * lane);
    x.clear();
#pragma unroll 1
    for (int base = 0; base < r.n_cells; base += 32) { /* a segment of FOLD_GROUPS cells, or segments of one */
        const int cell = base + lane;
        const bool has = cell < r.n_cells && has_node(*j.plan, r, cell);
        const struct node_stats node = { has ? stats[cell * step] : -INFINITY, has ? stats[cell * step + PACK] : 0 };
        const uint32_t all = __ballot_sync(0xffffffffu, has);
        struct sums<V> y = x;
        if (all == 0) continue;
        if (r.each > 1) y.clear();
        fold_nodes<V, AHEAD>(y, all, node, nodes + base * step, step, n_pieces, j.scale2, folds);
        const struct fold f = fold_of(x.most, y.most, j.scale2);
        if (r.each > 1)
            x.add(y.sum, y.o, f);
        else
            x = y;
        x.most = f.most;
    }
}

/* BLOCKS: of threads, on a multiprocessor. */
template <int V, int AHEAD, int BLOCKS>
__global__ static void __launch_bounds__(THREADS, BLOCKS) merge_kernel(const __grid_constant__ struct chunk_job j)
{
    __shared__ float4 folds[THREADS / 32][32];
    dependency_wait();
    const int n = j.kv.n_kv_heads * j.plan->n_items * PACK, n_warps = (int)gridDim.x * (THREADS / 32);
    const int lane = threadIdx.x % 32, dim = j.kv.head_dim;
#pragma unroll 1
    for (int at = ((int)blockIdx.x * THREADS + (int)threadIdx.x) / 32; at < n; at += n_warps) {
        struct merge_row r;
        if (!find_row(j, at, r)) continue;
        const int head = r.kv_head * j.group + (j.plan->items[r.item].packed + r.packed) % j.group;
        const int out_row = j.rows[r.row].out_row;
        struct sums<V> x;
        fold_row<V, AHEAD>(j, r, x, folds[threadIdx.x / 32]);
        float4 *out = (float4 *)(j.out + ((size_t)out_row * j.n_heads + head) * dim);
#pragma unroll
        for (int k = 0; k < V; k++)
            if (4 * (lane + 32 * k) < dim)
                out[lane + 32 * k] = make_float4(__fdiv_rn(x.o[k].x, x.sum), __fdiv_rn(x.o[k].y, x.sum),
                                                 __fdiv_rn(x.o[k].z, x.sum), __fdiv_rn(x.o[k].w, x.sum));
    }
}

template <int V, int AHEAD, int BLOCKS> static int launch(struct device *d, const struct chunk_job *j)
{
    const unsigned n_blocks = (unsigned)(d->n_sms * BLOCKS);
    return cuda_launch(d, "attention's merge", merge_kernel<V, AHEAD, BLOCKS>, n_blocks, THREADS, 0, 1, *j);
}

int chunk_merge(struct device *d, const struct chunk_job *j)
{
    static constexpr int DEEP = 2, WIDE = 6;
    const bool few = (long)j->n_rows * j->n_heads <= (long)d->n_sms * DEEP * (THREADS / 32);
    if (j->kv.head_dim > 128) return few ? launch<2, 16, DEEP>(d, j) : launch<2, 4, WIDE>(d, j);
    return few ? launch<1, 32, DEEP>(d, j) : launch<1, 8, WIDE>(d, j);
}
