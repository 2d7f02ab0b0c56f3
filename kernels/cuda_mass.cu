/* kernels/cuda_mass.cu: softmax mass by block of a whole context.
 *
 * The context is cut into units of UNIT tokens by position, whatever the block size.  The first kernel takes each unit's greatest
 * score and its sums of e = 2^(s c - m c) by block; a block that began in an earlier unit is kept apart.  The second brings all to one
 * scale.  A block of threads has one unit of one KV head, and all rows that read the same tokens there: of the prefix all rows of
 * the call, so that its scores are one product over all lanes; of a store the rows that read it. */
#include "kernels/cuda_fold.cuh"
#include "kernels/cuda_kv.cuh"

static constexpr int THREADS = 256, WARPS = THREADS / 32, UNIT = 64, UNIT_TILES = UNIT / KV_TILE, COLUMNS = 16;
static constexpr int S_STRIDE = UNIT + 4; /* rows of scores 4 banks apart */

struct mass_job {
    struct block_mass_args a;
    struct kv_cache kv;
    int group, max_units, prefix_units,
        sets; /* units that lie in the prefix whole; sets of WARPS * COLUMNS columns that share one of them */
    float scale2;
    double *before, *stale; /* [row][head][unit]: of the block that began before the unit; of stale tokens */
    float *most;
};

/* Shared memory, after it scores [WARPS][COLUMNS][S_STRIDE] and the members [n_rows]. */
template <int DIM> struct mass_shared {
    static constexpr int K_STRIDE = DIM + 8; /* rows of K 4 banks apart */
    __half k[UNIT][K_STRIDE];
    float most[WARPS][COLUMNS];
};

/* A unit of a KV head, and the columns (a query head of a member each) that a block of threads has. */
struct mass_work {
    int unit, kv_head, n_members, column, end;
};

/* Rows whose tokens are the leader's in every unit. */
__device__ static bool shares(const struct mass_row &leader, const struct mass_row &row)
{
    return leader.store == row.store && leader.tail == NO_TAIL && row.tail == NO_TAIL;
}

/* False: nothing to do, or another block's. */
__device__ static bool find_work(const struct mass_job &j, int *members, struct mass_work &w)
{
    const int n_kv = j.kv.n_kv_heads, in_prefix = j.prefix_units * n_kv * j.sets;
    int at = blockIdx.x;
    if (at < in_prefix) {
        w.unit = at % j.prefix_units;
        w.kv_head = at / j.prefix_units % n_kv;
        w.column = at / j.prefix_units / n_kv * WARPS * COLUMNS;
        w.n_members = j.a.n_rows;
        for (int i = threadIdx.x; i < w.n_members; i += THREADS) members[i] = i;
        w.end = min(w.column + WARPS * COLUMNS, w.n_members * j.group);
        return true;
    }
    at -= in_prefix;
    const int units = j.max_units - j.prefix_units, leader = at / units / n_kv;
    w.unit = j.prefix_units + at % units;
    w.kv_head = at / units % n_kv;
    const struct mass_row row = j.a.rows[leader];
    bool led = false, reaches = false;
    w.n_members = 0;
    for (int base = 0; base < j.a.n_rows; base += 32) { /* the same in every warp */
        const int i = base + threadIdx.x % 32;
        const bool in = i < j.a.n_rows && (i == leader || shares(row, j.a.rows[i]));
        const unsigned all = __ballot_sync(0xffffffffu, in);
        led = led || (base < leader && (all & (leader - base < 32 ? (1u << (leader - base)) - 1 : 0xffffffffu)) != 0);
        reaches = __any_sync(0xffffffffu, in && w.unit * UNIT <= j.a.rows[i].position) || reaches;
        if (in && threadIdx.x < 32) members[w.n_members + __popc(all & ((1u << threadIdx.x) - 1))] = i;
        w.n_members += __popc(all);
    }
    w.column = 0;
    w.end = w.n_members * j.group;
    return !led && reaches;
}

/* K of the unit's tokens, as the leader sees them.  What lies past its last token may be anything: scores that nobody reads. */
template <int DIM>
__device__ static void load_keys(mass_shared<DIM> &sh, const struct mass_job &j, const struct mass_work &w,
                                 const struct mass_row &leader)
{
    static constexpr int PIECES = DIM / 8;
    const int end =
        leader.store == KV_PREFIX ? j.kv.prefix_tiles * KV_TILE : (j.kv.first_own_tile + j.kv.own_tiles) * KV_TILE;
    for (int i = threadIdx.x; i < UNIT * PIECES; i += THREADS) {
        const int p = i / PIECES, d = i % PIECES * 8, position = w.unit * UNIT + p;
        __half *to = &sh.k[p][d];
        if (d < j.kv.head_dim && position < end)
            copy_async(
                to, token_of(j.kv, j.a.layer, leader.store, leader.tail, leader.position, w.kv_head, position).k + d);
        else
            *(uint4 *)to = make_uint4(0, 0, 0, 0);
    }
    copy_commit();
}

/* Two query heads as this thread's rows of A. */
template <int DIM> struct mass_queries {
    uint32_t a[DIM / 16][4];

    __device__ void load(const float *const q[2], int dim)
    {
        const int t = threadIdx.x % 4;
#pragma unroll
        for (int k = 0; k < DIM / 16; k++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int d = k * 16 + i / 2 * 8 + 2 * t;
                const float2 x = q[i % 2] && d < dim ? *(const float2 *)(q[i % 2] + d) : make_float2(0, 0);
                const __half2 h = __floats2half2_rn(x.x, x.y);
                a[k][i] = *(const uint32_t *)&h;
            }
    }
};

/* Raw scores of COLUMNS columns by the warp's threads; what this thread has seen of the greatest of its two columns in most. */
template <int DIM>
__device__ static void unit_scores(const mass_shared<DIM> &sh, const mass_queries<DIM> &q, const int n_tokens[2],
                                   float *s, float most[2])
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    most[0] = most[1] = -INFINITY;
    static constexpr int SIDE = 4; /* tiles of 8 tokens side by side */
    for (int n = 0; n < UNIT / 8; n += SIDE) {
        float c[SIDE][4] = {};
#pragma unroll
        for (int k = 0; k < DIM / 32; k++)
#pragma unroll
            for (int m = 0; m < SIDE; m++) {
                uint32_t b[4];
                const unsigned at =
                    (unsigned)__cvta_generic_to_shared(&sh.k[(n + m) * 8 + lane % 8][k * 32 + lane / 8 * 8]);
                asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                             : "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
                             : "r"(at));
                mma(c[m], q.a[2 * k][0], q.a[2 * k][1], q.a[2 * k][2], q.a[2 * k][3], b[0], b[1]);
                mma(c[m], q.a[2 * k + 1][0], q.a[2 * k + 1][1], q.a[2 * k + 1][2], q.a[2 * k + 1][3], b[2], b[3]);
            }
#pragma unroll
        for (int m = 0; m < SIDE; m++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int p = (n + m) * 8 + 2 * t;
                *(float2 *)&s[(g + 8 * h) * S_STRIDE + p] = make_float2(c[m][2 * h], c[m][2 * h + 1]);
                if (p < n_tokens[h]) most[h] = fmaxf(most[h], c[m][2 * h]);
                if (p + 1 < n_tokens[h]) most[h] = fmaxf(most[h], c[m][2 * h + 1]);
            }
    }
}

/* The sum of e of tokens from .. end-1 of a column, in an order that these decide. */
__device__ static double sum_of(const float *e, int from, int end)
{
    double sum = 0;
    for (; from < end && from % 4 != 0; from++) sum += e[from];
    for (; from + 4 <= end; from += 4) {
        const float4 x = *(const float4 *)(e + from);
        sum += ((double)x.x + x.y) + ((double)x.z + x.w);
    }
    for (; from < end; from++) sum += e[from];
    return sum;
}

/* One column's sums by block, by one of two threads (half): every other block; the stale tokens by the first. */
__device__ static void column_sums(const struct mass_job &j, int row_at, int head, int unit, const float *e, float most,
                                   int half)
{
    const struct mass_row row = j.a.rows[row_at];
    const int first = unit * UNIT, n = min(row.position + 1 - first, UNIT);
    if (n <= 0) return;
    const size_t at = ((size_t)row_at * j.a.n_heads + head) * j.max_units + unit;
    double *mass = j.a.mass + ((size_t)row.out_row * j.a.n_heads + head) * j.a.mass_blocks;
    const int block = first / row.block_size, last_block = (first + n - 1) / row.block_size;
    for (int b = block + half; b <= last_block; b += 2) {
        const int from = b * row.block_size - first, end = from + row.block_size;
        const double sum = sum_of(e, max(from, 0), min(end, n));
        if (from < 0)
            j.before[at] = sum;
        else
            mass[b] = sum;
    }
    if (half != 0) return;
    j.most[at] = most;
    const int from = max(row.stale_from - first, 0), end = min(row.position - first, UNIT);
    j.stale[at] = from < end ? sum_of(e, from, end) : 0;
}

/* COLUMNS columns from `column` on, by one warp. */
template <int DIM>
__device__ static void column_tile(mass_shared<DIM> &sh, const struct mass_job &j, const struct mass_work &w,
                                   const int *members, float *s, int column, bool first)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4;
    const float *q[2];
    int n_tokens[2];
    float most[2];
    for (int h = 0; h < 2; h++) {
        const int c = column + g + 8 * h;
        q[h] = NULL;
        n_tokens[h] = 0;
        if (c >= w.end) continue;
        const struct mass_row &row = j.a.rows[members[c / j.group]];
        q[h] =
            j.a.qkv + (size_t)row.q_row * j.a.qkv_stride + (size_t)(w.kv_head * j.group + c % j.group) * j.kv.head_dim;
        n_tokens[h] = row.position + 1 - w.unit * UNIT;
    }
    mass_queries<DIM> queries;
    queries.load(q, j.kv.head_dim);
    if (first) { /* K has come */
        copy_wait<0>();
        __syncthreads();
    }
    if (column >= w.end) return;
    unit_scores<DIM>(sh, queries, n_tokens, s, most);
    for (int h = 0; h < 2; h++) {
        most[h] = fmaxf(most[h], __shfl_xor_sync(0xffffffffu, most[h], 1));
        most[h] = fmaxf(most[h], __shfl_xor_sync(0xffffffffu, most[h], 2));
        if (lane % 4 == 0) sh.most[warp][g + 8 * h] = most[h];
    }
    __syncwarp();
    static constexpr int AT_ONCE = 128 / UNIT; /* columns whose scores a warp reads at once, four a lane */
#pragma unroll
    for (int i = 0; i < COLUMNS / AT_ONCE; i++) {
        const int c = i * AT_ONCE + lane / (32 / AT_ONCE);
        float4 *at = (float4 *)(s + c * S_STRIDE) + lane % (32 / AT_ONCE), x = *at;
        const float bias = attend_bias(sh.most[warp][c], j.scale2);
        *at = make_float4(attend_weight(x.x, j.scale2, bias), attend_weight(x.y, j.scale2, bias),
                          attend_weight(x.z, j.scale2, bias), attend_weight(x.w, j.scale2, bias));
    }
    __syncwarp();
    const int c = lane % COLUMNS;
    if (column + c < w.end)
        column_sums(j, members[(column + c) / j.group], w.kv_head * j.group + (column + c) % j.group, w.unit,
                    s + c * S_STRIDE, sh.most[warp][c], lane / COLUMNS);
    __syncwarp();
}

template <int DIM>
__global__ static void __launch_bounds__(THREADS) mass_kernel(const __grid_constant__ struct mass_job j)
{
    extern __shared__ __align__(16) char memory[];
    mass_shared<DIM> &sh = *(mass_shared<DIM> *)memory;
    float *scores = (float *)(memory + sizeof sh);
    int *members = (int *)(scores + WARPS * COLUMNS * S_STRIDE);
    struct mass_work w;
    dependency_wait();
    dependents_launch();
    if (!find_work(j, members, w)) return;
    __syncthreads();
    load_keys<DIM>(sh, j, w, j.a.rows[members[0]]);
    const int warp = threadIdx.x / 32;
    bool first = true; /* each warp goes once in any case, for the barrier */
    for (int column = w.column + warp * COLUMNS; first || column < w.end; column += WARPS * COLUMNS, first = false)
        column_tile<DIM>(sh, j, w, members, scores + warp * COLUMNS * S_STRIDE, column, first);
}

/* What a unit's sums are multiplied by for all to have one scale. */
__device__ static double unit_scale(float unit_most, float most, float scale2)
{
    const double x = (double)attend_bias(unit_most, scale2) - attend_bias(most, scale2); /* at most 0 */
    if (unit_most == -INFINITY || x < -1000) return 0;
    const int whole = __double2int_rd(x);
    return __hiloint2double((whole + 1023) << 20, 0) * exp2f((float)(x - whole));
}

/* One block of threads for each head and row. */
__global__ static void __launch_bounds__(THREADS) mass_scale_kernel(const __grid_constant__ struct mass_job j)
{
    __shared__ double shared[32];
    dependency_wait();
    dependents_launch();
    const struct mass_row row = j.a.rows[blockIdx.y];
    const int head = blockIdx.x, n_tokens = row.position + 1,
              n_blocks = (n_tokens + row.block_size - 1) / row.block_size, n_units = (n_tokens + UNIT - 1) / UNIT;
    const size_t at = ((size_t)blockIdx.y * j.a.n_heads + head) * j.max_units,
                 out = (size_t)row.out_row * j.a.n_heads + head;
    double *mass = j.a.mass + out * j.a.mass_blocks;
    float most = -INFINITY;
    for (int u = threadIdx.x; u < n_units; u += THREADS) most = fmaxf(most, j.most[at + u]);
    most = block_max(most, shared);
    double sum = 0, stale = 0;
    for (int b = threadIdx.x; b < n_blocks; b += THREADS) {
        const int first = b * row.block_size, end = min(first + row.block_size, n_tokens);
        int u = first / UNIT;
        double x = mass[b] * unit_scale(j.most[at + u], most, j.scale2);
        for (u++; u * UNIT < end; u++) x += j.before[at + u] * unit_scale(j.most[at + u], most, j.scale2);
        mass[b] = x;
        sum += x;
    }
    sum = block_sum(sum, shared);
    for (int u = max(row.stale_from, 0) / UNIT + threadIdx.x; u < n_units; u += THREADS)
        stale += j.stale[at + u] * unit_scale(j.most[at + u], most, j.scale2);
    stale = block_sum(stale, shared);
    const double share = 1 / sum;
    for (int b = threadIdx.x; b < j.a.mass_blocks; b += THREADS) mass[b] = b < n_blocks ? mass[b] * share : 0;
    if (threadIdx.x == 0) j.a.stale[out] = stale / sum;
}

template <int DIM> static int launch(struct device *d, const struct mass_job &j)
{
    const size_t n_bytes = sizeof(mass_shared<DIM>) + (size_t)WARPS * COLUMNS * S_STRIDE * sizeof(float) +
                           (size_t)j.a.n_rows * sizeof(int);
    const unsigned n_blocks =
        (unsigned)j.kv.n_kv_heads * (unsigned)(j.prefix_units * j.sets + (j.max_units - j.prefix_units) * j.a.n_rows);
    return cuda_launch(d, "block mass", mass_kernel<DIM>, n_blocks, THREADS, n_bytes, 1, j);
}

extern "C" int cuda_block_mass(struct device *d, const struct block_mass_args *a)
{
    struct mass_job j = {};
    const int dim = a->kv->head_dim;
    j.a = *a;
    j.kv = *a->kv;
    j.group = a->n_heads / a->kv->n_kv_heads;
    j.scale2 = attend_scale2_of(dim);
    j.max_units = ceil_div(kv_max_tokens(a->kv), UNIT);
    j.prefix_units = a->kv->first_own_tile / UNIT_TILES;
    j.sets = ceil_div(a->n_rows * j.group, WARPS * COLUMNS);
    const size_t n = (size_t)a->n_rows * (size_t)a->n_heads * (size_t)j.max_units;
    TRY(cuda_work_holds(d, n * (2 * sizeof(double) + sizeof(float)), "block_mass"), "block mass");
    j.before = (double *)d->work;
    j.stale = j.before + n;
    j.most = (float *)(j.stale + n);
    TRY(dim <= 32    ? launch<32>(d, j)
        : dim <= 64  ? launch<64>(d, j)
        : dim <= 96  ? launch<96>(d, j)
        : dim <= 128 ? launch<128>(d, j)
                     : launch<256>(d, j),
        "block mass");
    TRY(cuda_launch(d, "block mass", mass_scale_kernel, dim3((unsigned)a->n_heads, (unsigned)a->n_rows), THREADS, 0, 1,
                    j),
        "block mass");
    CUDA_TRY(cudaEventRecord(d->attended, d->stream), "block mass"); /* of a lane's parts, after attention */
    return 0;
}
