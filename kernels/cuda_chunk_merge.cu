/* kernels/cuda_chunk_merge.cu: folds an item's nodes into its rows' results, a warp for each segment of a packed row, or for the row.
 *
 * A warp does one of them or a few, each at the pace of its loads: so it reads many nodes ahead where rows are few, and there are many warps where
 * rows are many; and the code is short, since it is fetched from far and executed once. */
#include "kernels/cuda_chunk.cuh"

static constexpr int WARPS = 8; /* of a block of threads */

/* A packed row of an item of which no pair of blocks has all cells. */
struct merge_row {
    int kv_head, item, packed, n_cells, first, done, row;
    int each; /* cells of a segment */
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
    r.each = max(FOLD_GROUPS / p.cell_groups, 1);
    r.packed = at % PACK;
    r.item = at / PACK % p.n_items;
    r.kv_head = at / PACK / p.n_items;
    const struct chunk_item t = p.items[r.item];
    r.n_cells = item_cells(p, r.item);
    r.first = r.kv_head * p.n_cells + t.cell;
    const int alone = pair_end(p, r.first, 0);
    if (r.packed >= t.n_packed || alone >= r.n_cells) return false;
    r.row = t.run + (t.packed + r.packed) / j.group;
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
                    z[i][k] = __ldcs((const float4 *)(nodes + (from + i) * step + 128 * k)); /* once: others stay in L2 */
        if (from == 0) prepare_folds(x, node, scale2, folds);
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            const float4 at = folds[from + i];
            if (all >> (from + i) & 1) x.add(at.z, z[i], { 0, at.x, at.y });
        }
    }
}

/* Of the row's nodes in 32 cells from `base` on, in order, into y, which goes on from the nodes before.  False: there is none. */
template <int V, int AHEAD>
__device__ static bool fold_cells(const struct chunk_job &j, const struct merge_row &r, int base, struct sums<V> &y,
                                  float4 *folds)
{
    const int lane = threadIdx.x % 32, dim = j.kv.head_dim, n_pieces = (dim / 4 - lane + 31) / 32, cell = base + lane;
    const size_t stride = (size_t)node_stride(dim), step = PACK * (stride + 2);
    const float *nodes = node_at(j, r.first, 0), *stats = nodes + PACK * stride + r.packed;
    const bool has = cell < r.n_cells && has_node(*j.plan, r, cell);
    const struct node_stats node = { has ? stats[cell * step] : -INFINITY, has ? stats[cell * step + PACK] : 0 };
    const uint32_t all = __ballot_sync(0xffffffffu, has);
    nodes += base * step + r.packed * stride + node_column(r.packed, 4 * lane);
    if (all != 0) fold_nodes<V, AHEAD>(y, all, node, nodes, step, n_pieces, j.scale2, folds);
    return all != 0;
}

/* What the warps of a block have of their segments. */
template <int V> struct merge_shared {
    float4 folds[WARPS][32], o[WARPS][V][32];
    float most[WARPS], sum[WARPS];
    bool has[WARPS];
};

/* Segments that warps from `warp` on folded, in order. */
template <int V>
__device__ static void add_segments(const struct merge_shared<V> &sh, int warp, int n, float scale2, struct sums<V> &x)
{
    for (int w = warp; w < warp + n; w++) {
        if (!sh.has[w]) continue;
        float4 y[V];
#pragma unroll
        for (int k = 0; k < V; k++) y[k] = sh.o[w][k][threadIdx.x % 32];
        const struct fold f = fold_of(x.most, sh.most[w], scale2);
        x.add(sh.sum[w], y, f);
        x.most = f.most;
    }
}

template <int V>
__device__ static void write_row(const struct chunk_job &j, const struct merge_row &r, int out_row,
                                 const struct sums<V> &x)
{
    const int lane = threadIdx.x % 32, dim = j.kv.head_dim,
              head = r.kv_head * j.group + (j.plan->items[r.item].packed + r.packed) % j.group;
    float4 *out = (float4 *)(j.out + ((size_t)out_row * j.n_heads + head) * dim);
#pragma unroll
    for (int k = 0; k < V; k++)
        if (4 * (lane + 32 * k) < dim)
            out[lane + 32 * k] = make_float4(__fdiv_rn(x.o[k].x, x.sum), __fdiv_rn(x.o[k].y, x.sum),
                                             __fdiv_rn(x.o[k].z, x.sum), __fdiv_rn(x.o[k].w, x.sum));
}

/* A row's segments by `each` warps, or where cells are segments the row by one.  BLOCKS: of threads, on a multiprocessor. */
template <int V, int AHEAD, int BLOCKS>
__global__ static void __launch_bounds__(32 * WARPS, BLOCKS) merge_kernel(const __grid_constant__ struct chunk_job j)
{
    __shared__ struct merge_shared<V> sh;
    dependents_launch();
    const int n_segments = j.plan->n_segments, rows = max(WARPS / n_segments, 1), each = WARPS / rows;
    const int n = j.kv.n_kv_heads * j.plan->n_items * PACK, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll 1
    for (int at = (int)blockIdx.x * rows; at < n; at += (int)gridDim.x * rows) {
        struct merge_row r;
        const bool is = find_row(j, at + warp / each, r);
        const int out_row = is ? j.rows[r.row].out_row : 0;
        struct sums<V> x, y;
        x.clear();
        dependency_wait(); /* the plan and the rows have long been there: chunk_kernel, which let this one begin, had waited for them */
        if (r.each == 1) { /* of all items, or of none */
            if (is)
                for (int base = 0; base < r.n_cells; base += 32) fold_cells<V, AHEAD>(j, r, base, x, sh.folds[warp]);
        } else {
            for (int from = 0; from < n_segments; from += each) {
                const int base = (from + warp % each) * r.each;
                y.clear();
                const bool has = is && base < r.n_cells && fold_cells<V, AHEAD>(j, r, base, y, sh.folds[warp]);
                __syncthreads();
#pragma unroll
                for (int k = 0; k < V; k++) sh.o[warp][k][lane] = y.o[k];
                if (lane == 0) {
                    sh.most[warp] = y.most;
                    sh.sum[warp] = y.sum;
                    sh.has[warp] = has;
                }
                __syncthreads();
                if (warp % each == 0) add_segments<V>(sh, warp, each, j.scale2, x);
            }
        }
        if (is && warp % each == 0) write_row<V>(j, r, out_row, x);
    }
    dependency_wait();
}

template <int V, int AHEAD, int BLOCKS> static int launch(struct device *d, const struct chunk_job *j)
{
    const unsigned n_blocks = (unsigned)(d->n_sms * BLOCKS);
    return cuda_launch(d, "attention's merge", merge_kernel<V, AHEAD, BLOCKS>, n_blocks, 32 * WARPS, 0, 1, *j);
}

int chunk_merge(struct device *d, const struct chunk_job *j)
{
    static constexpr int DEEP = 2, WIDE = 3;
    const bool few = (long)j->n_rows * j->n_heads <= (long)d->n_sms * DEEP * WARPS;
    if (j->kv.head_dim > 128) return few ? launch<2, 8, DEEP>(d, j) : launch<2, 4, WIDE>(d, j);
    return few ? launch<1, 16, DEEP>(d, j) : launch<1, 8, WIDE>(d, j);
}
