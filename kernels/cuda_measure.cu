/* kernels/cuda_measure.cu: what a step measures layer by layer, and the drift of caches. */
#include "kernels/cuda_measure.cuh"
#include "kernels/cuda_top.cuh"

static constexpr int MEASURE_THREADS = 256, MAX_GROUP = 16;

struct layer_job {
    struct measure_job m;
    struct measure_layer_args a;
    struct block_lists lists;
    bool listed;
    double *sums;  /* [n_lanes][n_kv_heads][N_SUMS] */
    double *mean;  /* [n_lanes][n_kv_heads][mass_blocks]: of a group's masses, local blocks infinite */
    int32_t *best; /* [n_lanes][n_kv_heads][max_blocks]: the best blocks */
    int *arrived;  /* [n_lanes] KV heads that are done: zeros between launches */
};

/* Of one KV head of a lane. */
enum { SUM_KEPT, SUM_BEST, SUM_STALE, SUM_LEAST, SUM_READ, SUM_DENSE, SUM_OVERLAP, N_SUMS };

struct kv_vars {
    enum record_var drift, accum, norm, shift, head_drift;
};

__device__ static struct kv_vars vars_of(int kv)
{
    const struct kv_vars k = { VAR_K_DRIFT, VAR_K_ACCUM, VAR_K_NORM, VAR_K_SHIFT, VAR_K_HEAD_DRIFT };
    const struct kv_vars v = { VAR_V_DRIFT, VAR_V_ACCUM, VAR_V_NORM, VAR_V_SHIFT, VAR_V_HEAD_DRIFT };
    return kv == 0 ? k : v;
}

__device__ static size_t at_layer(const struct layer_job &j, int lane)
{
    return (size_t)lane * j.m.layout.n_layers + j.a.layer;
}

/* ---- differences of vectors ---- */

/* |x - r|^2, |r|^2 and |x - t|^2. */
struct squares {
    double diff, ref, twin;
};

/* A lane's vector, lane 0's and, or NULL, its twin's: n floats, in pieces of which each has a warp. */
struct vectors {
    const float *x, *r, *t;
    int n, n_pieces;
};

/* The squares of each piece, by all threads of the block.  of: shared, [n_pieces]. */
__device__ static void piece_squares(const struct vectors &v, struct squares *of)
{
    const int length = (v.n + v.n_pieces - 1) / v.n_pieces;
    for (int piece = threadIdx.x / 32; piece < v.n_pieces; piece += MEASURE_THREADS / 32) {
        const int end = min((piece + 1) * length, v.n);
        struct squares s = { 0, 0, 0 };
#pragma unroll 4
        for (int i = piece * length + (int)threadIdx.x % 32; i < end; i += 32) {
            const double x = v.x[i], r = v.r[i], diff = x - r, twin = v.t ? x - v.t[i] : 0;
            s.diff += diff * diff;
            s.ref += r * r;
            s.twin += twin * twin;
        }
        s = { warp_sum(s.diff), warp_sum(s.ref), warp_sum(s.twin) };
        if (threadIdx.x % 32 == 0) of[piece] = s;
    }
    __syncthreads();
}

__device__ static struct squares sum_of(const struct squares *of, int n)
{
    struct squares s = of[0];
    for (int i = 1; i < n; i++) s = { s.diff + of[i].diff, s.ref + of[i].ref, s.twin + of[i].twin };
    return s;
}

/* In a step that is not recorded in full, the norms and the squares still are. */
__device__ static bool kv_is_wanted(const struct layer_job &j, int lane, const struct kv_vars &v)
{
    return j.a.squares || has(j.m, v.drift) || has(j.m, v.head_drift) || (lane == 0 && has(j.m, v.norm));
}

/* Drift of this token's K (kv 0) or V, and its squares for the cache group. */
__device__ static void measure_kv(const struct layer_job &j, int lane, const struct measure_rows &rows, int kv, struct squares *heads)
{
    const struct measure_layer_args &a = j.a;
    const struct kv_vars v = vars_of(kv);
    if (!kv_is_wanted(j, lane, v)) return;
    const int n_kv = a.n_kv_heads, dim = a.head_dim;
    const size_t at = at_layer(j, lane), stride = (size_t)(a.n_heads + 2 * n_kv) * dim;
    const float *first = a.qkv + (size_t)(a.n_heads + kv * n_kv) * dim;
    const struct vectors all = { first + rows.row * stride, first + rows.ref * stride, rows.twin < 0 ? NULL : first + rows.twin * stride, n_kv * dim, n_kv };
    piece_squares(all, heads);
    for (int g = threadIdx.x; g < n_kv; g += MEASURE_THREADS) {
        put_f32(j.m, v.head_drift, at * n_kv + g, rel(heads[g].diff, heads[g].ref));
        if (lane == 0) put_f32(j.m, v.norm, (size_t)a.layer * n_kv + g, sqrt(heads[g].ref));
    }
    if (threadIdx.x != 0) return;
    const struct squares s = sum_of(heads, n_kv);
    put_f32(j.m, v.drift, at, rel(s.diff, s.ref));
    if (rows.twin >= 0) put_f32(j.m, v.accum, at, rel(s.twin, s.ref));
    if (a.spread && has(j.m, v.shift)) {
        double shift = 0;
        for (int g = 0; g < n_kv; g++) {
            const double spread = a.spread[kv * n_kv + g], q = rel(heads[g].diff, spread * spread);
            shift += q * q;
        }
        put_f32(j.m, v.shift, at, sqrt(shift / n_kv));
    }
    if (!a.squares || a.store_of_lane[lane] < 0) return;
    double *to = a.squares + (((size_t)lane * a.n_layers + a.layer) * a.n_steps + j.m.step[0]) * 4;
    to[2 * kv] = s.diff;
    to[2 * kv + 1] = s.ref;
}

__device__ static void measure_attention(const struct layer_job &j, int lane, const struct measure_rows &rows, struct squares *heads)
{
    const struct measure_layer_args &a = j.a;
    if (!has(j.m, VAR_ATTN_ERR) && !has(j.m, VAR_ATTN_ACCUM) && !has(j.m, VAR_ATTN_HEAD_ERR)) return;
    const int n_kv = a.n_kv_heads, group = a.n_heads / n_kv;
    const size_t at = at_layer(j, lane), n = (size_t)a.n_heads * a.head_dim;
    piece_squares({ a.attn + rows.row * n, a.attn + rows.ref * n, rows.twin < 0 ? NULL : a.attn + rows.twin * n, (int)n, a.n_heads }, heads);
    for (int g = threadIdx.x; g < n_kv && has(j.m, VAR_ATTN_HEAD_ERR); g += MEASURE_THREADS) {
        const struct squares head = sum_of(heads + g * group, group);
        put_f32(j.m, VAR_ATTN_HEAD_ERR, at * n_kv + g, rel(head.diff, head.ref));
    }
    if (threadIdx.x != 0) return;
    const struct squares s = sum_of(heads, a.n_heads);
    put_f32(j.m, VAR_ATTN_ERR, at, rel(s.diff, s.ref));
    if (rows.twin >= 0) put_f32(j.m, VAR_ATTN_ACCUM, at, rel(s.twin, s.ref));
}

/* Of one variable: x against r, n floats. */
__device__ static void measure_error(const struct layer_job &j, int lane, enum record_var v, const float *x, const float *r, int n, struct squares *pieces)
{
    piece_squares({ x, r, NULL, n, MEASURE_THREADS / 32 }, pieces);
    if (threadIdx.x != 0) return;
    const struct squares s = sum_of(pieces, MEASURE_THREADS / 32);
    put_f32(j.m, v, at_layer(j, lane), rel(s.diff, s.ref));
}

/* What lane 0 has by definition: it reads all, and nothing of its cache is stale. */
__device__ static void measure_dense(const struct layer_job &j)
{
    const size_t at = at_layer(j, 0), n_kv = j.a.n_kv_heads;
    put_f32(j.m, VAR_KEPT_MASS, at, 1);
    put_f32(j.m, VAR_KEPT_MASS_MIN, at, 1);
    put_f32(j.m, VAR_BEST_MASS, at, 1);
    put_f32(j.m, VAR_STALE_MASS, at, 0);
    put_f32(j.m, VAR_ATTN_ERR_SELECT, at, 0);
    put_f32(j.m, VAR_ATTN_ERR_CACHE, at, 0);
    put_f32(j.m, VAR_KEPT_MASS_DENSE, at, 1);
    for (size_t g = 0; g < n_kv; g++) {
        put_f32(j.m, VAR_KEPT_HEAD_MASS, at * n_kv + g, 1);
        put_f32(j.m, VAR_BEST_HEAD_MASS, at * n_kv + g, 1);
        put_f32(j.m, VAR_STALE_HEAD_MASS, at * n_kv + g, 0);
    }
    if (j.m.twin[0] == 0) put_f32(j.m, VAR_SELECT_OVERLAP, at, 1);
}

/* What a block of threads measures of a lane. */
enum { OF_K, OF_V, OF_ATTENTION, OF_SELECT, OF_CACHE, N_OF };

/* Grid: lanes, N_OF.  Shared: struct squares for each query head, or warp. */
__global__ static void __launch_bounds__(MEASURE_THREADS) lane_kernel(const __grid_constant__ struct layer_job j)
{
    extern __shared__ double shared[];
    struct squares *pieces = (struct squares *)shared;
    const int lane = blockIdx.x, of = blockIdx.y;
    const struct measure_rows rows = rows_of(j.m, lane);
    if (rows.row < 0) return;
    if (lane == 0 && of == OF_K && threadIdx.x == 0) measure_dense(j);
    if (rows.ref < 0) return;
    const struct measure_layer_args &a = j.a;
    if (of == OF_K || of == OF_V) {
        measure_kv(j, lane, rows, of == OF_V, pieces);
    } else if (of == OF_ATTENTION) {
        measure_attention(j, lane, rows, pieces);
    } else if (lane != 0) { /* lane 0's parts are 0 by definition */
        const float *part = of == OF_SELECT ? a.attn_select : a.attn_cache;
        const enum record_var v = of == OF_SELECT ? VAR_ATTN_ERR_SELECT : VAR_ATTN_ERR_CACHE;
        const size_t n = (size_t)a.n_heads * a.head_dim;
        if (part && has(j.m, v)) measure_error(j, lane, v, part + lane * n, a.attn + rows.ref * n, (int)n, pieces);
    }
}

/* The residual stream after the layer.  A block of threads for each lane. */
__global__ static void __launch_bounds__(MEASURE_THREADS) residual_kernel(const __grid_constant__ struct layer_job j)
{
    __shared__ struct squares pieces[MEASURE_THREADS / 32];
    const struct measure_rows rows = rows_of(j.m, blockIdx.x);
    const size_t n = j.a.hidden;
    if (rows.ref >= 0 && has(j.m, VAR_RESID_ERR)) measure_error(j, blockIdx.x, VAR_RESID_ERR, j.a.resid + rows.row * n, j.a.resid + rows.ref * n, (int)n, pieces);
}

/* ---- blocks ---- */

/* The blocks that a lane reads of one KV head: list[n], or all of 0 .. n-1 where list is NULL. */
struct blocks {
    const int32_t *list;
    int n;
};

__device__ static struct blocks blocks_of(const struct layer_job &j, int row, int kv_head, int n_blocks)
{
    struct blocks b = { NULL, n_blocks };
    const size_t at = (size_t)row * j.a.n_kv_heads + kv_head;
    if (!j.listed || j.lists.count[at] < 0) return b;
    b.list = j.lists.blocks + at * j.lists.max_blocks;
    b.n = j.lists.count[at];
    return b;
}

/* By a warp. */
__device__ static double mass_in(const double *mass, const struct blocks &b)
{
    double sum = 0;
#pragma unroll 4
    for (int i = threadIdx.x % 32; i < b.n; i += 32) sum += mass[b.list ? b.list[i] : i];
    return warp_sum(sum);
}

__device__ static bool holds(const struct blocks &b, int block)
{
    if (!b.list) return block < b.n;
    int low = 0, high = b.n;
    while (low < high) {
        const int mid = (low + high) / 2;
        if (b.list[mid] < block) low = mid + 1;
        else high = mid;
    }
    return low < b.n && b.list[low] == block;
}

__device__ static double jaccard(const struct blocks &a, const struct blocks &b, double *shared)
{
    double both = 0;
    for (int i = threadIdx.x; i < a.n; i += blockDim.x) both += holds(b, a.list ? a.list[i] : i);
    both = block_sum(both, shared);
    return both / (a.n + b.n - both);
}

/* The best of as many blocks as are read: the local ones, and the others by the group's mean mass. */
__device__ static struct blocks best_blocks(const struct layer_job &j, int lane, const double *mass, int kv_head, const struct blocks &read,
                                            int n_blocks, struct top_shared &top)
{
    if (read.n <= 0 || read.n >= n_blocks) return read;
    const size_t at = (size_t)lane * j.a.n_kv_heads + kv_head;
    int32_t *list = j.best + at * j.lists.max_blocks;
    double *mean = j.mean + at * j.a.mass_blocks;
    const int group = j.a.n_heads / j.a.n_kv_heads, local = n_blocks - j.a.lanes[lane].local_blocks, stride = j.a.mass_blocks;
    for (int i = threadIdx.x; i < n_blocks; i += MEASURE_THREADS) {
        double sum = 0;
#pragma unroll 8
        for (int h = 0; h < group; h++) sum += mass[(size_t)h * stride + i];
        mean[i] = i >= local ? (double)INFINITY : sum / group;
    }
    __syncthreads();
    const auto key = top_key_of<uint64_t>([=](int i) { return ordered_f64(mean[i]); });
    top_select<MEASURE_THREADS, 1>(top, n_blocks, read.n, key, [=](int rank, int block) { list[rank] = block; });
    __syncthreads();
    struct blocks b = { list, read.n };
    return b;
}

/* The lesser; NaN where one of them is. */
__device__ static double least_of(double a, double b)
{
    return a <= b || isnan(a) ? a : b;
}

/* Over the KV heads, by the thread that came last. */
__device__ static void lane_sums(const struct layer_job &j, int lane, const struct measure_rows &rows)
{
    double sums[N_SUMS] = { 0, 0, 0, INFINITY, 0, 0, 0 };
    for (int g = 0; g < j.a.n_kv_heads; g++) {
        const double *head = j.sums + ((size_t)lane * j.a.n_kv_heads + g) * N_SUMS;
#pragma unroll
        for (int i = 0; i < N_SUMS; i++) {
            const double x = __ldcg(head + i);
            sums[i] = i == SUM_LEAST ? least_of(sums[i], x) : sums[i] + x;
        }
    }
    const size_t at = at_layer(j, lane);
    put_f32(j.m, VAR_BLOCKS_READ, at, sums[SUM_READ] / j.a.n_kv_heads);
    if (rows.ref >= 0 && j.a.mass_dense) put_f32(j.m, VAR_KEPT_MASS_DENSE, at, sums[SUM_DENSE] / j.a.n_heads);
    if (rows.twin >= 0) put_f32(j.m, VAR_SELECT_OVERLAP, at, sums[SUM_OVERLAP] / j.a.n_kv_heads);
    if (!j.a.mass) return;
    put_f32(j.m, VAR_KEPT_MASS, at, sums[SUM_KEPT] / j.a.n_heads);
    put_f32(j.m, VAR_KEPT_MASS_MIN, at, sums[SUM_LEAST]);
    put_f32(j.m, VAR_BEST_MASS, at, sums[SUM_BEST] / j.a.n_heads);
    put_f32(j.m, VAR_STALE_MASS, at, sums[SUM_STALE] / j.a.n_heads);
}

/* Of one query head. */
struct head_mass {
    double kept, best, dense;
};

/* Groups mass, parts and selection.  One block of threads for each KV head and lane. */
__global__ static void __launch_bounds__(MEASURE_THREADS) head_kernel(const __grid_constant__ struct layer_job j)
{
    __shared__ double shared[32];
    __shared__ struct top_shared top;
    __shared__ struct head_mass heads[MAX_GROUP];
    const int kv_head = blockIdx.x, lane = blockIdx.y, group = j.a.n_heads / j.a.n_kv_heads, stride = j.a.mass_blocks;
    const struct measure_rows rows = rows_of(j.m, lane);
    if (rows.row < 0 || lane == 0) return;
    const int size = j.a.lanes[lane].block_size, n_blocks = (j.a.rows[rows.row].position + size) / size;
    const struct blocks read = blocks_of(j, rows.row, kv_head, n_blocks);
    const size_t at_head = at_layer(j, lane) * j.a.n_kv_heads + kv_head, first = (size_t)rows.row * j.a.n_heads + kv_head * group;
    const bool kept = j.a.mass && (has(j.m, VAR_KEPT_MASS) || has(j.m, VAR_KEPT_HEAD_MASS));
    const bool dense = rows.ref >= 0 && j.a.mass_dense && has(j.m, VAR_KEPT_MASS_DENSE);
    const double *mass = j.a.mass + first * stride, *mass_dense = j.a.mass_dense + ((size_t)lane * j.a.n_heads + kv_head * group) * stride;
    const struct blocks best = kept ? best_blocks(j, lane, mass, kv_head, read, n_blocks, top) : read;
    for (int h = threadIdx.x / 32; h < group; h += MEASURE_THREADS / 32) {
        struct head_mass x = { 0, 0, 0 };
        if (kept) x.kept = mass_in(mass + (size_t)h * stride, read);
        if (kept) x.best = best.list == read.list ? x.kept : mass_in(mass + (size_t)h * stride, best);
        if (dense) x.dense = mass_in(mass_dense + (size_t)h * stride, read);
        if (threadIdx.x % 32 == 0) heads[h] = x;
    }
    double overlap = 0;
    if (rows.twin >= 0 && has(j.m, VAR_SELECT_OVERLAP)) overlap = jaccard(read, blocks_of(j, rows.twin, kv_head, n_blocks), shared);
    if (has(j.m, VAR_SELECTED_BLOCKS)) {
        const int n_slots = j.m.layout.n_slots;
        const int n = read.list ? read.n : 0; /* a lane's dense layers read all without a selection */
        for (int i = threadIdx.x; i < n_slots; i += blockDim.x) put_i32(j.m, VAR_SELECTED_BLOCKS, at_head * n_slots + i, i < n ? read.list[i] : -1);
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    double sums[N_SUMS] = { 0, 0, 0, INFINITY, (double)read.n, 0, overlap };
    for (int h = 0; h < group; h++) {
        sums[SUM_KEPT] += heads[h].kept;
        sums[SUM_BEST] += heads[h].best;
        sums[SUM_DENSE] += heads[h].dense;
        if (!kept) continue;
        sums[SUM_STALE] += j.a.stale[first + h];
        sums[SUM_LEAST] = least_of(sums[SUM_LEAST], heads[h].kept);
    }
    if (j.a.mass) {
        put_f32(j.m, VAR_KEPT_HEAD_MASS, at_head, sums[SUM_KEPT] / group);
        put_f32(j.m, VAR_BEST_HEAD_MASS, at_head, sums[SUM_BEST] / group);
        put_f32(j.m, VAR_STALE_HEAD_MASS, at_head, sums[SUM_STALE] / group);
    }
    double *to = j.sums + ((size_t)lane * j.a.n_kv_heads + kv_head) * N_SUMS;
    for (int i = 0; i < N_SUMS; i++) to[i] = sums[i];
    __threadfence();
    if (atomicAdd(&j.arrived[lane], 1) < j.a.n_kv_heads - 1) return;
    __threadfence();
    j.arrived[lane] = 0;
    lane_sums(j, lane, rows);
}

/* On the side stream: while attention's results wait for the next layer, which overwrites them. */
static int measure_aside(struct device *d, const struct layer_job &j)
{
    const struct measure_layer_args &a = j.a;
    const size_t n_pieces = (size_t)(a.n_heads > MEASURE_THREADS / 32 ? a.n_heads : MEASURE_THREADS / 32);
    lane_kernel<<<dim3((unsigned)a.m.n_lanes, N_OF), MEASURE_THREADS, n_pieces * sizeof(struct squares), d->side>>>(j);
    LAUNCHED("measure_layer");
    const enum record_var by_head[] = { VAR_BLOCKS_READ, VAR_KEPT_MASS, VAR_KEPT_HEAD_MASS, VAR_KEPT_MASS_DENSE, VAR_SELECTED_BLOCKS };
    bool wanted = false;
    for (enum record_var v : by_head) wanted = wanted || measure_has(&a.m, v);
    if (!wanted) return 0;
    head_kernel<<<dim3((unsigned)a.n_kv_heads, (unsigned)a.m.n_lanes), MEASURE_THREADS, 0, d->side>>>(j);
    LAUNCHED("measure_layer");
    return 0;
}

static size_t mean_count(int n_lanes, int n_kv_heads, int mass_blocks)
{
    return (size_t)n_lanes * (size_t)n_kv_heads * (size_t)mass_blocks;
}

extern "C" size_t cuda_measure_layer_bytes(int n_lanes, int n_kv_heads, int mass_blocks, int max_blocks)
{
    const size_t heads = (size_t)n_lanes * (size_t)n_kv_heads;
    return (heads * N_SUMS + mean_count(n_lanes, n_kv_heads, mass_blocks)) * sizeof(double) + heads * (size_t)max_blocks * sizeof(int32_t);
}

extern "C" int cuda_measure_layer(struct device *d, const struct measure_layer_args *a)
{
    struct layer_job j;
    j.m = measure_job_of(&a->m);
    j.a = *a;
    j.listed = a->lists != NULL;
    j.lists = a->lists ? *a->lists : block_lists();
    j.arrived = d->arrived;
    const int n_lanes = a->m.n_lanes, n_kv = a->n_kv_heads, mass_blocks = a->mass ? a->mass_blocks : 0;
    TRY(cuda_work_holds(d, cuda_measure_layer_bytes(n_lanes, n_kv, mass_blocks, j.lists.max_blocks), "measure_layer"), "measures");
    j.sums = (double *)d->work; /* no product uses it */
    j.mean = j.sums + (size_t)n_lanes * (size_t)n_kv * N_SUMS;
    j.best = (int32_t *)(j.mean + mean_count(n_lanes, n_kv, mass_blocks));
    CUDA_TRY(cudaStreamWaitEvent(d->side, d->attended, 0), "measure_layer");
    TRY(measure_aside(d, j), "measures");
    CUDA_TRY(cudaEventRecord(d->measured, d->side), "measure_layer");
    CUDA_TRY(cudaStreamWaitEvent(d->stream, d->measured, 0), "measure_layer");
    /* Launched in any case, and not to begin early: what follows depends on one kernel alone. */
    residual_kernel<<<measure_has(&a->m, VAR_RESID_ERR) ? (unsigned)a->m.n_lanes : 1, MEASURE_THREADS, 0, d->stream>>>(j);
    LAUNCHED("measure_layer");
    return 0;
}

struct cache_job {
    struct measure_job m;
    struct measure_cache_args a;
};

/* One block of threads for each layer and lane: the squares of a window, summed. */
__global__ static void cache_kernel(const __grid_constant__ struct cache_job j)
{
    __shared__ double shared[32];
    dependency_wait();
    dependents_launch();
    const int layer = blockIdx.x, lane = blockIdx.y;
    if (j.a.from[lane] >= j.a.to[lane] || rows_of(j.m, lane).ref < 0) return;
    const size_t at = (size_t)lane * j.a.n_layers + layer;
    const double *squares = j.a.squares + at * j.a.n_steps * 4;
    double sum[4] = { 0, 0, 0, 0 };
    for (int t = j.a.from[lane] + threadIdx.x; t < j.a.to[lane] && lane != 0; t += blockDim.x)
        for (int i = 0; i < 4; i++) sum[i] += squares[(size_t)t * 4 + i];
    for (int i = 0; i < 4; i++) sum[i] = block_sum(sum[i], shared);
    if (threadIdx.x != 0) return;
    put_f32(j.m, j.a.k_var, at, rel(sum[0], sum[1]));
    put_f32(j.m, j.a.v_var, at, rel(sum[2], sum[3]));
}

extern "C" int cuda_measure_cache(struct device *d, const struct measure_cache_args *a)
{
    if (!measure_has(&a->m, a->k_var)) return 0;
    struct cache_job j;
    j.m = measure_job_of(&a->m);
    j.a = *a;
    return cuda_launch(d, "measure_cache", cache_kernel, dim3((unsigned)a->n_layers, (unsigned)a->m.n_lanes), 128, 0, 1, j);
}
