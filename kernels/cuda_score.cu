/* kernels/cuda_score.cu: scores of blocks.
 *
 * A score is the CPU's chain of float32 additions, operation by operation: equal keys and queries give equal bits. */
#include "kernels/cuda_select.cuh"

static constexpr int SCORE_WARPS = 4, SCORE_THREADS = SCORE_WARPS * 32, SCORE_PER_SM = 3; /* blocks of threads that a multiprocessor holds */
/* Keys come in stages of some elements of the blocks that a warp scores at once; each warp has a ring of stages. */
static constexpr int STAGE_ROWS = 32, STAGES = 4;

__device__ static const float *row_head(const struct select_job &j, int row, int head)
{
    return j.a.qkv + ((size_t)row * (j.a.n_heads + 2 * j.kv.n_kv_heads) + head) * j.kv.head_dim;
}

/* The pooled query, scaled, and of each element the row of a tile of keys that its sign chooses. */
struct __align__(16) pooled {
    float q[256];
    int row[256];
};

/* By all threads of the block. */
__device__ static void pool_query(const struct select_job &j, int row, int kv_head, struct pooled &pool)
{
    const int dim = j.kv.head_dim;
    const float *q = row_head(j, row, kv_head * j.group);
    for (int i = threadIdx.x; i < dim; i += SCORE_THREADS) {
        float sum = 0;
        for (int base = 0; base < j.group; base += 8) {
            float x[8];
#pragma unroll
            for (int g = 0; g < 8; g++) x[g] = base + g < j.group ? q[(base + g) * dim + i] : 0;
#pragma unroll
            for (int g = 0; g < 8; g++)
                if (base + g < j.group) sum = base + g == 0 ? x[g] : __fadd_rn(sum, x[g]);
        }
        sum = __fmul_rn(__fdiv_rn(sum, (float)j.group), j.scale);
        pool.q[i] = sum;
        pool.row[i] = 2 * i + (sum < 0 ? 0 : 1);
    }
    __syncthreads();
}

/* The rows of keys that the query chooses, from element `first` on, of up to n_blocks blocks, to shared memory, by a warp. */
template <int PER> __device__ static void copy_stage(const struct block_key &key, int n_blocks, const struct pooled &pool, int first, int dim, char *to)
{
    constexpr int PIECES = 4 * PER, ROWS = 32 / PIECES; /* of 8 keys in a row; rows at once */
    const int piece = threadIdx.x % PIECES, row = threadIdx.x % 32 / PIECES;
    if (piece * 8 >= n_blocks) return;
    const __half *from = key.low + piece * 8;
    to += row * (PIECES * 16) + piece * 16;
#pragma unroll
    for (int i = 0; i < STAGE_ROWS; i += ROWS)
        if (first + row + i < dim) copy_async(to + i * (PIECES * 16), from + pool.row[first + row + i] * key.width);
}

/* To the scores of PER blocks, the lane's, a stage of n elements.  Rounding is monotonic and min <= max, so the sign of q says which product is
 * the larger. */
template <int PER> __device__ static void score_stage(const char *keys, const float *q, int n, float (&score)[PER])
{
    const char *from = keys + threadIdx.x % 32 * (PER * sizeof(__half));
#pragma unroll 8
    for (int i = 0; i < n; i += 4) {
        const float4 q4 = *(const float4 *)(q + i);
#pragma unroll
        for (int l = 0; l < 4; l++) {
            const float y = l == 0 ? q4.x : l == 1 ? q4.y : l == 2 ? q4.z : q4.w;
            const __half *x = (const __half *)(from + (i + l) * (32 * PER * (int)sizeof(__half)));
            if (PER == 2) {
                const float2 both = __half22float2(*(const __half2 *)x);
                score[0] = __fadd_rn(score[0], __fmul_rn(y, both.x));
                score[PER - 1] = __fadd_rn(score[PER - 1], __fmul_rn(y, both.y));
            } else score[0] = __fadd_rn(score[0], __fmul_rn(y, __half2float(*x)));
        }
    }
}

/* Score of the current token's block, its key widened by that token's, by a warp: the additions in the order of the elements. */
__device__ static float score_current(const struct block_key &key, const struct pooled &pool, const float *k, int dim)
{
    const int lane = threadIdx.x % 32;
    float score = 0;
    for (int base = 0; base < dim; base += 32) {
        const int i = min(base + lane, dim - 1);
        float low = __half2float(key.low[i * 2 * key.width]), high = __half2float(key.low[(i * 2 + 1) * key.width]);
        low = low <= k[i] ? low : k[i];
        high = high >= k[i] ? high : k[i];
        const float x = __fmul_rn(pool.q[i], high), y = __fmul_rn(pool.q[i], low), most = x > y ? x : y;
        for (int l = 0; l < min(32, dim - base); l++) score = __fadd_rn(score, __shfl_sync(0xffffffffu, most, l));
    }
    return score;
}

/* A row's blocks in spans of SPAN, which a tile of keys holds a whole number of, the prefix's and then the store's. */
template <int SPAN> struct spans {
    const struct key_set &prefix, &own;
    int n_prefix, n_rest, prefix_spans, n;

    __device__ spans(const struct key_set &prefix, const struct key_set &own, int n_rest): prefix(prefix), own(own), n_rest(n_rest)
    {
        n_prefix = min(own.first_block, n_rest);
        prefix_spans = (n_prefix + SPAN - 1) / SPAN;
        n = prefix_spans + (n_rest - n_prefix + SPAN - 1) / SPAN;
    }

    __device__ int first(int span) const
    {
        return span < prefix_spans ? span * SPAN : own.first_block + (span - prefix_spans) * SPAN;
    }

    __device__ int end(int span) const
    {
        return min(first(span) + SPAN, span < prefix_spans ? n_prefix : n_rest);
    }

    __device__ struct block_key keys(const struct select_job &j, int kv_head, int span, int *n_blocks) const
    {
        const struct key_set &set = span < prefix_spans ? prefix : own;
        const int block = first(span);
        const struct block_key key = key_at(j.kv, set, j.a.layer, kv_head, block);
        *n_blocks = min(SPAN, key.width - (block - set.first_block) % CUDA_KEY_TILE);
        return key;
    }
};

/* Grid: parts of a row's spans, KV heads, rows; each warp has every SCORE_WARPS-th span of its block's part. */
template <int N_SETS, int PER>
__global__ static void __launch_bounds__(SCORE_THREADS) score_kernel(const __grid_constant__ struct select_sets<N_SETS> job)
{
    constexpr int STAGE_BYTES = STAGE_ROWS * 32 * PER * (int)sizeof(__half);
    __shared__ struct pooled pool;
    extern __shared__ __align__(16) char memory[];
    const struct select_job &j = job.s;
    dependents_launch();
    const int r = blockIdx.z, kv_head = blockIdx.y, lane = threadIdx.x % 32, dim = j.kv.head_dim;
    const struct row row = j.a.rows[r];
    const struct lane_params params = j.a.lanes[row.lane];
    const bool scored = selects(j, row) && params.selector == SELECT_MINMAX;
    const struct budget b = budget_of(params, row.position);
    const struct spans<32 * PER> t(job.sets[scored ? max(params.prefix_set, 0) : 0], job.sets[scored ? params.key_set : 0], b.n_rest);
    const int from = (int)((unsigned)t.n * blockIdx.x / gridDim.x) + (int)threadIdx.x / 32, to = (int)((unsigned)t.n * (blockIdx.x + 1) / gridDim.x);
    const int parts = (dim + STAGE_ROWS - 1) / STAGE_ROWS, n_stages = (to - from + SCORE_WARPS - 1) / SCORE_WARPS * parts;
    float *scores = j.a.scores + ((size_t)r * j.kv.n_kv_heads + kv_head) * j.a.max_score_blocks;
    char *ring = memory + threadIdx.x / 32 * (STAGES * STAGE_BYTES);
    int next = from, next_part = 0, width = 0;
    struct block_key key = { NULL, 0 };
    if (scored && from < to) {
        key = t.keys(j, kv_head, next, &width);
        prefetch(key.low);
        prefetch(row_head(j, r, kv_head * j.group));
    }
    dependency_wait();
    if (!scored) return;
    pool_query(j, r, kv_head, pool);
    if (from >= to) return;
    const auto copy_next = [&](int stage) {
        if (stage < n_stages) {
            copy_stage<PER>(key, width, pool, next_part * STAGE_ROWS, dim, ring + stage % STAGES * STAGE_BYTES);
            if (++next_part == parts) {
                next_part = 0;
                next += SCORE_WARPS;
                if (next < to) key = t.keys(j, kv_head, next, &width);
            }
        }
        copy_commit();
    };
    for (int s = 0; s < STAGES; s++) copy_next(s);
    float score[PER] = {};
    for (int s = 0, span = from, part = 0; s < n_stages; s++) {
        copy_wait<STAGES - 1>();
        __syncwarp();
        score_stage<PER>(ring + s % STAGES * STAGE_BYTES, pool.q + part * STAGE_ROWS, min(STAGE_ROWS, dim - part * STAGE_ROWS), score);
        __syncwarp();
        copy_next(s + STAGES);
        if (++part < parts) continue;
        const int first = t.first(span), end = t.end(span), current = b.n_blocks - 1;
#pragma unroll
        for (int i = 0; i < PER; i++) {
            if (first + PER * lane + i < end) scores[first + PER * lane + i] = score[i];
            score[i] = 0;
        }
        if (first <= current && current < end) {
            __syncwarp();
            const float widened = score_current(key_at(j.kv, t.own, j.a.layer, kv_head, current), pool, row_head(j, r, j.a.n_heads + kv_head), dim);
            if (lane == 0) scores[current] = widened;
        }
        span += SCORE_WARPS;
        part = 0;
    }
}

template <int N_SETS, int PER> static int score_launch(struct device *d, const struct select_job &j)
{
    const int lists = j.kv.n_kv_heads * j.a.n_rows, n_spans = j.a.max_score_blocks / (32 * PER) + 2; /* the prefix's last and the store's are not full */
    const int parts = min(ceil_div(n_spans, SCORE_WARPS), max(1, d->n_sms * SCORE_PER_SM / lists));
    return cuda_launch(d, "select", score_kernel<N_SETS, PER>, dim3((unsigned)parts, (unsigned)j.kv.n_kv_heads, (unsigned)j.a.n_rows), SCORE_THREADS,
                       (size_t)(SCORE_WARPS * STAGES * STAGE_ROWS * 32 * PER) * sizeof(__half), 1, with_sets<N_SETS>(j));
}

/* One block for each lane of a warp, so that more warps work, or two. */
template <int N_SETS> static int score_any(struct device *d, const struct select_job &j)
{
    const int n_spans = ceil_div(j.a.max_score_blocks, 64) * j.kv.n_kv_heads * j.a.n_rows;
    return n_spans <= d->n_sms * SCORE_WARPS / 2 ? score_launch<N_SETS, 1>(d, j) : score_launch<N_SETS, 2>(d, j);
}

int cuda_score(struct device *d, const struct select_job &j)
{
    return j.a.n_sets > FEW_KEY_SETS ? score_any<MAX_KEY_SETS>(d, j) : score_any<FEW_KEY_SETS>(d, j);
}
