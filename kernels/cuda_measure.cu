/* kernels/cuda_measure.cu: what a step measures layer by layer, and the drift of caches. */
#include "kernels/cuda_measure.cuh"
#include "kernels/cuda_top.cuh"

static constexpr int MEASURE_THREADS = 256;

struct layer_job {
    struct measure_job m;
    struct measure_layer_args a;
    struct block_lists lists;
    bool listed;
    double *sums; /* [n_lanes][n_kv_heads][N_SUMS] */
    int32_t *best;/* [n_lanes][n_kv_heads][max_blocks]: the best blocks */
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

/* Drift of this token's K (kv 0) or V, and its squares for the cache group. */
__device__ static void measure_kv(const struct layer_job &j, int lane, const struct measure_rows &rows, int kv, double *shared)
{
    const struct measure_layer_args &a = j.a;
    const struct kv_vars v = vars_of(kv);
    const int n_kv = a.n_kv_heads, dim = a.head_dim;
    const size_t at = at_layer(j, lane), stride = (size_t)(a.n_heads + 2 * n_kv) * dim, first = (size_t)(a.n_heads + kv * n_kv) * dim;
    const float *x = a.qkv + rows.row * stride + first, *r = a.qkv + rows.ref * stride + first;
    const bool one = threadIdx.x == 0;
    const double2 all = block_squares(x, r, n_kv * dim, shared);
    if (one) put_f32(j.m, v.drift, at, rel(all.x, all.y));
    double shift = 0;
    for (int g = 0; g < n_kv; g++) {
        const double2 head = block_squares(x + g * dim, r + g * dim, dim, shared);
        if (one) put_f32(j.m, v.head_drift, at * n_kv + g, rel(head.x, head.y));
        if (one && lane == 0) put_f32(j.m, v.norm, (size_t)a.layer * n_kv + g, sqrt(head.y));
        if (!a.spread) continue;
        const double spread = a.spread[kv * n_kv + g], q = rel(head.x, spread * spread);
        shift += q * q;
    }
    if (a.spread && one) put_f32(j.m, v.shift, at, sqrt(shift / n_kv));
    if (rows.twin >= 0) {
        const double2 twin = block_squares(x, a.qkv + rows.twin * stride + first, n_kv * dim, shared);
        if (one) put_f32(j.m, v.accum, at, rel(twin.x, all.y));
    }
    if (!one || !a.squares || a.store_of_lane[lane] < 0) return;
    double *to = a.squares + (((size_t)lane * a.n_layers + a.layer) * a.n_steps + j.m.step[0]) * 4;
    to[2 * kv] = all.x;
    to[2 * kv + 1] = all.y;
}

__device__ static void measure_attention(const struct layer_job &j, int lane, const struct measure_rows &rows, double *shared)
{
    const struct measure_layer_args &a = j.a;
    const int n = a.n_heads * a.head_dim, n_kv = a.n_kv_heads, n_group = n / n_kv;
    const size_t at = at_layer(j, lane);
    const float *x = a.attn + (size_t)rows.row * n, *r = a.attn + (size_t)rows.ref * n;
    const bool one = threadIdx.x == 0;
    const double2 all = block_squares(x, r, n, shared);
    if (one) put_f32(j.m, VAR_ATTN_ERR, at, rel(all.x, all.y));
    if (rows.twin >= 0 && has(j.m, VAR_ATTN_ACCUM)) {
        const double2 twin = block_squares(x, a.attn + (size_t)rows.twin * n, n, shared);
        if (one) put_f32(j.m, VAR_ATTN_ACCUM, at, rel(twin.x, all.y));
    }
    for (int g = 0; g < n_kv && has(j.m, VAR_ATTN_HEAD_ERR); g++) {
        const double2 head = block_squares(x + g * n_group, r + g * n_group, n_group, shared);
        if (one) put_f32(j.m, VAR_ATTN_HEAD_ERR, at * n_kv + g, rel(head.x, head.y));
    }
    if (has(j.m, VAR_RESID_ERR)) {
        const double2 resid = block_squares(a.resid + (size_t)rows.row * a.hidden, a.resid + (size_t)rows.ref * a.hidden, a.hidden, shared);
        if (one) put_f32(j.m, VAR_RESID_ERR, at, rel(resid.x, resid.y));
    }
    if (lane == 0) return; /* its parts are 0 by definition */
    if (a.attn_select && has(j.m, VAR_ATTN_ERR_SELECT)) {
        const double2 part = block_squares(a.attn_select + (size_t)lane * n, r, n, shared);
        if (one) put_f32(j.m, VAR_ATTN_ERR_SELECT, at, rel(part.x, part.y));
    }
    if (a.attn_cache && has(j.m, VAR_ATTN_ERR_CACHE)) {
        const double2 part = block_squares(a.attn_cache + (size_t)lane * n, r, n, shared);
        if (one) put_f32(j.m, VAR_ATTN_ERR_CACHE, at, rel(part.x, part.y));
    }
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

/* In a step that is not recorded in full, the norms and the squares still are. */
__device__ static bool kv_is_wanted(const struct layer_job &j, int lane, const struct kv_vars &v)
{
    return j.a.squares || has(j.m, v.drift) || has(j.m, v.head_drift) || (lane == 0 && has(j.m, v.norm));
}

/* One block of threads for each lane. */
__global__ static void lane_kernel(const __grid_constant__ struct layer_job j)
{
    __shared__ double shared[32];
    const int lane = blockIdx.x;
    const struct measure_rows rows = rows_of(j.m, lane);
    if (rows.row < 0) return;
    if (rows.ref >= 0) {
        for (int kv = 0; kv < 2; kv++)
            if (kv_is_wanted(j, lane, vars_of(kv))) measure_kv(j, lane, rows, kv, shared);
        if (has(j.m, VAR_ATTN_ERR) || has(j.m, VAR_ATTN_ACCUM) || has(j.m, VAR_ATTN_HEAD_ERR) || has(j.m, VAR_ATTN_ERR_SELECT))
            measure_attention(j, lane, rows, shared);
    }
    if (lane == 0 && threadIdx.x == 0) measure_dense(j);
}

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

__device__ static double mass_in(const double *mass, const struct blocks &b, double *shared)
{
    double sum = 0;
    for (int i = threadIdx.x; i < b.n; i += blockDim.x) sum += mass[b.list ? b.list[i] : i];
    return block_sum(sum, shared);
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
    int32_t *list = j.best + ((size_t)lane * j.a.n_kv_heads + kv_head) * j.lists.max_blocks;
    const int group = j.a.n_heads / j.a.n_kv_heads, local = n_blocks - j.a.lanes[lane].local_blocks, stride = j.a.mass_blocks;
    const auto key = top_key_of<uint64_t>([=](int i) {
        double sum = 0;
        for (int h = 0; h < group; h++) sum += mass[(size_t)h * stride + i];
        return ordered_f64(i >= local ? (double)INFINITY : sum / group);
    });
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

/* Groups mass, parts and selection.  One block of threads for each KV head and lane. */
__global__ static void head_kernel(const __grid_constant__ struct layer_job j)
{
    __shared__ double shared[32];
    __shared__ struct top_shared top;
    const int kv_head = blockIdx.x, lane = blockIdx.y, group = j.a.n_heads / j.a.n_kv_heads, stride = j.a.mass_blocks;
    const struct measure_rows rows = rows_of(j.m, lane);
    if (rows.row < 0 || lane == 0) return;
    const int size = j.a.lanes[lane].block_size, n_blocks = (j.a.rows[rows.row].position + size) / size;
    const struct blocks read = blocks_of(j, rows.row, kv_head, n_blocks);
    const size_t at_head = at_layer(j, lane) * j.a.n_kv_heads + kv_head, first = (size_t)rows.row * j.a.n_heads + kv_head * group;
    double sums[N_SUMS] = { 0, 0, 0, INFINITY, (double)read.n, 0, 0 };
    if (j.a.mass && (has(j.m, VAR_KEPT_MASS) || has(j.m, VAR_KEPT_HEAD_MASS))) {
        const double *mass = j.a.mass + first * stride;
        const struct blocks best = best_blocks(j, lane, mass, kv_head, read, n_blocks, top);
        for (int h = 0; h < group; h++) {
            const double kept = mass_in(mass + (size_t)h * stride, read, shared);
            sums[SUM_KEPT] += kept;
            sums[SUM_BEST] += mass_in(mass + (size_t)h * stride, best, shared);
            sums[SUM_STALE] += j.a.stale[first + h];
            sums[SUM_LEAST] = least_of(sums[SUM_LEAST], kept);
        }
    }
    if (rows.ref >= 0 && j.a.mass_dense && has(j.m, VAR_KEPT_MASS_DENSE))
        for (int h = 0; h < group; h++)
            sums[SUM_DENSE] += mass_in(j.a.mass_dense + ((size_t)lane * j.a.n_heads + kv_head * group + h) * stride, read, shared);
    if (rows.twin >= 0 && has(j.m, VAR_SELECT_OVERLAP)) sums[SUM_OVERLAP] = jaccard(read, blocks_of(j, rows.twin, kv_head, n_blocks), shared);
    if (has(j.m, VAR_SELECTED_BLOCKS)) {
        const int n_slots = j.m.layout.n_slots;
        for (int i = threadIdx.x; i < n_slots; i += blockDim.x)
            put_i32(j.m, VAR_SELECTED_BLOCKS, at_head * n_slots + i, i < read.n ? read.list ? read.list[i] : i : -1);
    }
    if (threadIdx.x != 0) return;
    if (j.a.mass) {
        put_f32(j.m, VAR_KEPT_HEAD_MASS, at_head, sums[SUM_KEPT] / group);
        put_f32(j.m, VAR_BEST_HEAD_MASS, at_head, sums[SUM_BEST] / group);
        put_f32(j.m, VAR_STALE_HEAD_MASS, at_head, sums[SUM_STALE] / group);
    }
    for (int i = 0; i < N_SUMS; i++) j.sums[((size_t)lane * j.a.n_kv_heads + kv_head) * N_SUMS + i] = sums[i];
}

/* Over the KV heads: a thread for each lane. */
__global__ static void lane_sums_kernel(const __grid_constant__ struct layer_job j)
{
    for (int lane = 1 + threadIdx.x; lane < j.m.n_lanes; lane += blockDim.x) {
        const struct measure_rows rows = rows_of(j.m, lane);
        if (rows.row < 0) continue;
        double sums[N_SUMS] = { 0, 0, 0, INFINITY, 0, 0, 0 };
        for (int g = 0; g < j.a.n_kv_heads; g++) {
            const double *head = j.sums + ((size_t)lane * j.a.n_kv_heads + g) * N_SUMS;
            for (int i = 0; i < N_SUMS; i++) sums[i] = i == SUM_LEAST ? least_of(sums[i], head[i]) : sums[i] + head[i];
        }
        const size_t at = at_layer(j, lane);
        put_f32(j.m, VAR_BLOCKS_READ, at, sums[SUM_READ] / j.a.n_kv_heads);
        if (rows.ref >= 0 && j.a.mass_dense) put_f32(j.m, VAR_KEPT_MASS_DENSE, at, sums[SUM_DENSE] / j.a.n_heads);
        if (rows.twin >= 0) put_f32(j.m, VAR_SELECT_OVERLAP, at, sums[SUM_OVERLAP] / j.a.n_kv_heads);
        if (!j.a.mass) continue;
        put_f32(j.m, VAR_KEPT_MASS, at, sums[SUM_KEPT] / j.a.n_heads);
        put_f32(j.m, VAR_KEPT_MASS_MIN, at, sums[SUM_LEAST]);
        put_f32(j.m, VAR_BEST_MASS, at, sums[SUM_BEST] / j.a.n_heads);
        put_f32(j.m, VAR_STALE_MASS, at, sums[SUM_STALE] / j.a.n_heads);
    }
}

extern "C" int cuda_measure_layer(struct device *d, const struct measure_layer_args *a)
{
    struct layer_job j;
    j.m = measure_job_of(&a->m);
    j.a = *a;
    j.listed = a->lists != NULL;
    j.lists = a->lists ? *a->lists : block_lists();
    const size_t heads = (size_t)a->m.n_lanes * (size_t)a->n_kv_heads;
    const size_t sum_bytes = heads * N_SUMS * sizeof(double);
    TRY(cuda_work_holds(d, sum_bytes + heads * (size_t)j.lists.max_blocks * sizeof(int32_t), "measure_layer"), "measures");
    j.sums = (double *)d->work;
    j.best = (int32_t *)((char *)d->work + sum_bytes);
    lane_kernel<<<a->m.n_lanes, MEASURE_THREADS, 0, d->stream>>>(j);
    LAUNCHED("measure_layer");
    const enum record_var by_head[] = { VAR_BLOCKS_READ, VAR_KEPT_MASS, VAR_KEPT_HEAD_MASS, VAR_KEPT_MASS_DENSE, VAR_SELECTED_BLOCKS };
    bool wanted = false;
    for (enum record_var v : by_head) wanted = wanted || measure_has(&a->m, v);
    if (!wanted) return 0;
    head_kernel<<<dim3((unsigned)a->n_kv_heads, (unsigned)a->m.n_lanes), MEASURE_THREADS, 0, d->stream>>>(j);
    LAUNCHED("measure_layer");
    lane_sums_kernel<<<1, 64, 0, d->stream>>>(j);
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
    cache_kernel<<<dim3((unsigned)a->n_layers, (unsigned)a->m.n_lanes), 128, 0, d->stream>>>(j);
    LAUNCHED("measure_cache");
    return 0;
}
