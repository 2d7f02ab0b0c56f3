/* kernels/cuda_chunk_merge.cu: folds an item's nodes into its rows' results, a warp for each packed row. */
#include "kernels/cuda_chunk.cuh"

static constexpr int THREADS = 128, BLOCKS_EACH = 6; /* blocks of threads on a multiprocessor */
static constexpr int AHEAD = 8;                      /* nodes that a warp reads before it folds the first of them */

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

    __device__ void add(const sums &y, float scale2)
    {
        const struct fold f = fold_of(most, y.most, scale2);
        most = f.most;
        sum = fold_sum(sum, y.sum, f);
#pragma unroll
        for (int i = 0; i < V; i++)
            o[i] = make_float4(fold_sum(o[i].x, y.o[i].x, f), fold_sum(o[i].y, y.o[i].y, f),
                               fold_sum(o[i].z, y.o[i].z, f), fold_sum(o[i].w, y.o[i].w, f));
    }
};

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

/* The row's nodes in order: each segment's by themselves, then the segments.  Tokens past its position weigh nothing in them. */
template <int V>
__device__ static void fold_row(const struct chunk_job &j, const struct merge_row &r, struct sums<V> &x)
{
    const int lane = threadIdx.x % 32, dim = j.kv.head_dim;
    const size_t step = (size_t)PACK * (dim + 2);
    const float *nodes = node_at(j, r.kv_head, r.item, 0), *stats = nodes + (size_t)PACK * dim + r.packed;
    struct sums<V> y;
    x.clear();
    y.clear();
    for (int base = 0; base < r.n_cells; base += 32) {
        const int cell = base + lane;
        const bool has = cell < r.n_cells && has_node(*j.plan, r, cell);
        const float most = has ? stats[cell * step] : 0, sum = has ? stats[cell * step + PACK] : 0;
        const uint32_t opens = __ballot_sync(0xffffffffu, cell % r.each == 0);
        for (uint32_t left = __ballot_sync(0xffffffffu, has); left != 0;) {
            struct sums<V> z[AHEAD];
            uint32_t now = left;
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                const float4 *at =
                    (const float4 *)(nodes + (base + __ffs((int)left) - 1) * step + (size_t)r.packed * dim);
#pragma unroll
                for (int k = 0; k < V; k++)
                    if (left != 0 && 4 * (lane + 32 * k) < dim) z[i].o[k] = at[lane + 32 * k];
                left &= left - 1;
            }
#pragma unroll
            for (int i = 0; i < AHEAD; i++) {
                const int from = __ffs((int)now) - 1;
                if (now == 0) break;
                z[i].most = __shfl_sync(0xffffffffu, most, from);
                z[i].sum = __shfl_sync(0xffffffffu, sum, from);
                if (opens >> from & 1) {
                    x.add(y, j.scale2);
                    y.clear();
                }
                y.add(z[i], j.scale2);
                now &= now - 1;
            }
        }
    }
    x.add(y, j.scale2);
}

template <int V>
__global__ static void __launch_bounds__(THREADS, BLOCKS_EACH) merge_kernel(const __grid_constant__ struct chunk_job j)
{
    dependency_wait();
    const int n = j.kv.n_kv_heads * j.plan->n_items * PACK, n_warps = (int)gridDim.x * (THREADS / 32);
    const int lane = threadIdx.x % 32, dim = j.kv.head_dim;
    for (int at = ((int)blockIdx.x * THREADS + (int)threadIdx.x) / 32; at < n; at += n_warps) {
        struct merge_row r;
        if (!find_row(j, at, r)) continue;
        const int head = r.kv_head * j.group + (j.plan->items[r.item].packed + r.packed) % j.group;
        const int out_row = j.rows[r.row].out_row;
        struct sums<V> x;
        fold_row(j, r, x);
        float4 *out = (float4 *)(j.out + ((size_t)out_row * j.n_heads + head) * dim);
#pragma unroll
        for (int k = 0; k < V; k++)
            if (4 * (lane + 32 * k) < dim)
                out[lane + 32 * k] = make_float4(__fdiv_rn(x.o[k].x, x.sum), __fdiv_rn(x.o[k].y, x.sum),
                                                 __fdiv_rn(x.o[k].z, x.sum), __fdiv_rn(x.o[k].w, x.sum));
    }
}

int chunk_merge(struct device *d, const struct chunk_job *j)
{
    const unsigned n_blocks = (unsigned)(d->n_sms * BLOCKS_EACH);
    return j->kv.head_dim <= 128 ? cuda_launch(d, "attention's merge", merge_kernel<1>, n_blocks, THREADS, 0, 1, *j)
                                 : cuda_launch(d, "attention's merge", merge_kernel<2>, n_blocks, THREADS, 0, 1, *j);
}
