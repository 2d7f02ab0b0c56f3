/* kernels/cuda_mass.cu: softmax mass by block of a whole context.
 *
 * The context is cut into units of UNIT tokens by position, whatever the block size.  The first kernel takes each unit's greatest
 * score and its sums of e = 2^(s c - m c) by block; a block that began in an earlier unit is kept apart.  The second brings all to one
 * scale.  A warp has COLUMNS columns (a query head of a row each) of one unit of one KV head, all of rows that read the same tokens
 * there.  Of the prefix all rows of the call do: the warps of a block of threads have the columns of one unit.  Of a store the rows that
 * read it do, few, and each warp of a block has a unit of its own. */
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

/* Of a warp. */
struct mass_scores {
    float s[COLUMNS][S_STRIDE], most[COLUMNS];
};

/* What a warp has: a unit of a KV head, of its columns column, column + step .. those before end. */
struct mass_work {
    int unit, kv_head, n_members, column, step, end;
};

/* Blocks of threads for the units of a store, a warp each. */
__host__ __device__ static inline int own_pieces(const struct mass_job &j)
{
    return (j.max_units - j.prefix_units + WARPS - 1) / WARPS;
}

/* Rows whose tokens are the leader's in every unit. */
__device__ static bool shares(const struct mass_row &leader, const struct mass_row &row)
{
    return leader.store == row.store && leader.tail == NO_TAIL && row.tail == NO_TAIL;
}

/* Of the block; unit and column still of its first warp.  False: nothing to do, or another block's. */
__device__ static bool find_work(const struct mass_job &j, int *members, struct mass_work &w)
{
    const int n_kv = j.kv.n_kv_heads, in_prefix = j.prefix_units * n_kv * j.sets;
    int at = blockIdx.x;
    if (at < in_prefix) {
        w.unit = at % j.prefix_units;
        w.kv_head = at / j.prefix_units % n_kv;
        w.step = WARPS * COLUMNS;
        w.column = at / j.prefix_units / n_kv * w.step;
        w.n_members = j.a.n_rows;
        for (int i = threadIdx.x; i < w.n_members; i += THREADS) members[i] = i;
        w.end = min(w.column + w.step, w.n_members * j.group);
        return true;
    }
    at -= in_prefix;
    const int pieces = own_pieces(j), leader = at / pieces / n_kv;
    w.unit = j.prefix_units + at % pieces * WARPS;
    w.kv_head = at / pieces % n_kv;
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
    w.step = COLUMNS;
    w.end = w.n_members * j.group;
    return !led && reaches;
}

/* Two query heads as this thread's part of A, as mma_32() takes it. */
template <int DIM> struct mass_queries {
    uint4 a[DIM / 32][2];

    __device__ void load(const float *const q[2], int dim)
    {
#pragma unroll
        for (int k = 0; k < DIM / 32; k++)
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int d = k * 32 + threadIdx.x % 4 * 8;
                const float4 *at = (const float4 *)(q[h] + d);
                const bool in = q[h] && d < dim;
                const float4 none = make_float4(0, 0, 0, 0), x = in ? at[0] : none, y = in ? at[1] : none;
                a[k][h] = make_uint4(halves(x.x, x.y), halves(x.z, x.w), halves(y.x, y.y), halves(y.z, y.w));
            }
    }

    __device__ static uint32_t halves(float x, float y)
    {
        const __half2 h = __floats2half2_rn(x, y);
        return *(const uint32_t *)&h;
    }
};

/* Raw scores of the warp's columns; what this thread has seen of the greatest of its two columns in most.  K comes straight from the cache,
 * as the leader sees it: what lies past its last token may be anything, and gives scores that nobody reads. */
template <int DIM>
__device__ static void unit_scores(const struct mass_job &j, const struct mass_work &w, const struct mass_row &leader,
                                   const mass_queries<DIM> &q, const int n_tokens[2], struct mass_scores &to,
                                   float most[2])
{
    static constexpr int SIDE = DIM <= 64 ? 4 : DIM <= 128 ? 2 : 1; /* tiles of 8 tokens side by side: loads in flight */
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int end =
        leader.store == KV_PREFIX ? j.kv.prefix_tiles * KV_TILE : (j.kv.first_own_tile + j.kv.own_tiles) * KV_TILE;
    most[0] = most[1] = -INFINITY;
#pragma unroll 2
    for (int n = 0; n < UNIT / 8; n += SIDE) {
        uint4 b[SIDE][DIM / 32];
#pragma unroll
        for (int m = 0; m < SIDE; m++) {
            const int position = w.unit * UNIT + (n + m) * 8 + g;
            const __half *k =
                token_of(j.kv, j.a.layer, leader.store, leader.tail, leader.position, w.kv_head, min(position, end - 1)).k;
#pragma unroll
            for (int i = 0; i < DIM / 32; i++)
                b[m][i] = i * 32 + t * 8 < j.kv.head_dim ? *(const uint4 *)(k + i * 32 + t * 8) : make_uint4(0, 0, 0, 0);
        }
#pragma unroll
        for (int m = 0; m < SIDE; m++) {
            float c[4] = { 0, 0, 0, 0 };
#pragma unroll
            for (int i = 0; i < DIM / 32; i++) mma_32(c, q.a[i][0], q.a[i][1], b[m][i]);
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const int p = (n + m) * 8 + 2 * t;
                *(float2 *)&to.s[g + 8 * h][p] = make_float2(c[2 * h], c[2 * h + 1]);
                if (p < n_tokens[h]) most[h] = fmaxf(most[h], c[2 * h]);
                if (p + 1 < n_tokens[h]) most[h] = fmaxf(most[h], c[2 * h + 1]);
            }
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
__device__ static void column_tile(const struct mass_job &j, const struct mass_work &w, const int *members,
                                   struct mass_scores &to, int column)
{
    const int lane = threadIdx.x % 32, g = lane / 4, n_columns = min(COLUMNS, w.end - column);
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
    if (!__any_sync(0xffffffffu, n_tokens[0] > 0 || n_tokens[1] > 0)) return;
    mass_queries<DIM> queries;
    queries.load(q, j.kv.head_dim);
    unit_scores<DIM>(j, w, j.a.rows[members[0]], queries, n_tokens, to, most);
    for (int h = 0; h < 2; h++) {
        most[h] = fmaxf(most[h], __shfl_xor_sync(0xffffffffu, most[h], 1));
        most[h] = fmaxf(most[h], __shfl_xor_sync(0xffffffffu, most[h], 2));
        if (lane % 4 == 0) to.most[g + 8 * h] = most[h];
    }
    __syncwarp();
    static constexpr int AT_ONCE = 128 / UNIT; /* columns whose scores a warp reads at once, four a lane */
#pragma unroll 4
    for (int c = lane / (32 / AT_ONCE); c < n_columns; c += AT_ONCE) {
        float4 *at = (float4 *)to.s[c] + lane % (32 / AT_ONCE), x = *at;
        const float bias = attend_bias(to.most[c], j.scale2);
        *at = make_float4(attend_weight(x.x, j.scale2, bias), attend_weight(x.y, j.scale2, bias),
                          attend_weight(x.z, j.scale2, bias), attend_weight(x.w, j.scale2, bias));
    }
    __syncwarp();
    const int c = lane % COLUMNS;
    if (c < n_columns)
        column_sums(j, members[(column + c) / j.group], w.kv_head * j.group + (column + c) % j.group, w.unit, to.s[c],
                    to.most[c], lane / COLUMNS);
    __syncwarp();
}

template <int DIM>
__global__ static void __launch_bounds__(THREADS, 2) mass_kernel(const __grid_constant__ struct mass_job j)
{
    extern __shared__ __align__(16) char memory[];
    struct mass_scores *scores = (struct mass_scores *)memory;
    int *members = (int *)(scores + WARPS);
    struct mass_work w;
    dependency_wait();
    dependents_launch();
    if (!find_work(j, members, w)) return;
    __syncthreads();
    const int warp = threadIdx.x / 32;
    if (w.step == COLUMNS)
        w.unit += warp;
    else
        w.column += warp * COLUMNS;
    if (w.unit >= j.max_units) return;
    for (int column = w.column; column < w.end; column += w.step) column_tile<DIM>(j, w, members, scores[warp], column);
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
    const size_t n_bytes = WARPS * sizeof(struct mass_scores) + (size_t)j.a.n_rows * sizeof(int);
    const unsigned n_blocks =
        (unsigned)j.kv.n_kv_heads * (unsigned)(j.prefix_units * j.sets + own_pieces(j) * j.a.n_rows);
    return cuda_launch(d, "block mass", mass_kernel<DIM>, n_blocks, THREADS, n_bytes, 1, j);
}

static size_t mass_sums(int n_rows, int n_heads, int max_tokens)
{
    return (size_t)n_rows * (size_t)n_heads * (size_t)ceil_div(max_tokens, UNIT);
}

extern "C" size_t cuda_block_mass_bytes(int n_rows, int n_heads, int max_tokens)
{
    const struct mass_job j = {};
    return mass_sums(n_rows, n_heads, max_tokens) * (sizeof *j.before + sizeof *j.stale + sizeof *j.most);
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
    const int max_tokens = kv_max_tokens(a->kv);
    const size_t n = mass_sums(a->n_rows, a->n_heads, max_tokens);
    TRY(cuda_work_holds(d, cuda_block_mass_bytes(a->n_rows, a->n_heads, max_tokens), "block_mass"), "block mass");
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
