/* kernels/cuda_select.cu: scores of blocks, and their ordered selection.
 *
 * A score is the CPU's chain of float32 additions, operation by operation: equal keys and queries give equal bits. */
#include "kernels/cuda_kv.cuh"
#include "kernels/cuda_top.cuh"

static constexpr int SCORE_WARPS = 2, SCORE_THREADS = SCORE_WARPS * 32;
static constexpr int HELD_KEYS = 16; /* keys that a thread of the selection holds; of more, none */
static constexpr int KEY_ROW = CUDA_KEY_TILE * (int)sizeof(__half);

struct select_job {
    struct select_args a;
    struct kv_cache kv;
    struct block_lists lists;
    struct key_set sets[MAX_KEY_SETS];
    int group;
    float scale;
};

/* What a row may read and must choose (METHOD.md section 1, Selection). */
struct budget {
    int n_tokens, n_blocks, n_selected, n_local;
    int n_rest, k; /* k of the first n_rest blocks are chosen by the selector; the local ones follow */
};

__device__ static struct budget budget_of(const struct lane_params &l, int position)
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

__device__ static bool selects(const struct select_job &j, const struct row &row)
{
    return (row.flags & ROW_SPARSE) && j.a.layer >= j.a.lanes[row.lane].dense_layers;
}

__device__ static const float *row_head(const struct select_job &j, int row, int head)
{
    return j.a.qkv + ((size_t)row * (j.a.n_heads + 2 * j.kv.n_kv_heads) + head) * j.kv.head_dim;
}

/* An element of the pooled query, scaled, and the row of a tile of keys that its sign chooses. */
struct pooled {
    float q;
    int row;
};

/* By all threads of the block. */
__device__ static void pool_query(const struct select_job &j, int row, int kv_head, struct pooled *pool)
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
        pool[i] = { sum, 2 * i + (sum < 0 ? 0 : 1) };
    }
    __syncthreads();
}

/* The rows of a tile of keys that the query chooses, to shared memory, by a warp. */
__device__ static void copy_keys(const struct block_key &key, const struct pooled *pool, int dim, char *to)
{
    const int piece = threadIdx.x % 8; /* of 8 keys in a row */
    if (piece * 8 < key.width) {
#pragma unroll 8
        for (int i = threadIdx.x % 32 / 8; i < dim; i += 4)
            copy_async(to + i * KEY_ROW + piece * 16, key.low + pool[i].row * key.width + piece * 8);
    }
    copy_commit();
}

/* Scores of two blocks, the lane's.  Rounding is monotonic and min <= max, so the sign of q says which product is the larger. */
__device__ static float2 score_two(const char *keys, const struct pooled *pool, int dim)
{
    float2 score = make_float2(0, 0);
    const char *from = keys + threadIdx.x % 32 * sizeof(__half2);
#pragma unroll 16
    for (int i = 0; i < dim; i++) {
        const float2 x = __half22float2(*(const __half2 *)(from + i * KEY_ROW));
        score.x = __fadd_rn(score.x, __fmul_rn(pool[i].q, x.x));
        score.y = __fadd_rn(score.y, __fmul_rn(pool[i].q, x.y));
    }
    return score;
}

/* Score of the current token's block, its key widened by that token's, by a warp: the additions in the order of the elements. */
__device__ static float score_current(const struct block_key &key, const struct pooled *pool, const float *k, int dim)
{
    const int lane = threadIdx.x % 32;
    float score = 0;
    for (int base = 0; base < dim; base += 32) {
        const int i = min(base + lane, dim - 1);
        float low = __half2float(key.low[i * 2 * key.width]), high = __half2float(key.low[(i * 2 + 1) * key.width]);
        low = low <= k[i] ? low : k[i];
        high = high >= k[i] ? high : k[i];
        const float x = __fmul_rn(pool[i].q, high), y = __fmul_rn(pool[i].q, low), most = x > y ? x : y;
        for (int l = 0; l < min(32, dim - base); l++) score = __fadd_rn(score, __shfl_sync(0xffffffffu, most, l));
    }
    return score;
}

/* Grid: SCORE_WARPS tiles of keys each, KV heads, rows; a warp for each tile, the prefix's and then the store's. */
__global__ static void __launch_bounds__(SCORE_THREADS) score_kernel(const __grid_constant__ struct select_job j)
{
    __shared__ struct pooled pool[256];
    extern __shared__ __align__(16) char keys[];
    dependency_wait();
    dependents_launch();
    const int r = blockIdx.z, kv_head = blockIdx.y, lane = threadIdx.x % 32;
    const struct row row = j.a.rows[r];
    if (!selects(j, row)) return;
    const struct lane_params params = j.a.lanes[row.lane];
    if (params.selector != SELECT_MINMAX) return;
    const struct budget b = budget_of(params, row.position);
    const struct key_set &own = j.sets[params.key_set];
    const int n_prefix = min(own.first_block, b.n_rest), prefix_tiles = (n_prefix + CUDA_KEY_TILE - 1) / CUDA_KEY_TILE;
    const int first_tile = blockIdx.x * SCORE_WARPS;
    if (first_tile >= prefix_tiles + (b.n_rest - n_prefix + CUDA_KEY_TILE - 1) / CUDA_KEY_TILE) return;
    pool_query(j, r, kv_head, pool);
    const int tile = first_tile + threadIdx.x / 32, own_tile = tile - prefix_tiles;
    const struct key_set &set = own_tile < 0 ? j.sets[params.prefix_set] : own;
    const int first = own_tile < 0 ? tile * CUDA_KEY_TILE : own.first_block + own_tile * CUDA_KEY_TILE, end = own_tile < 0 ? n_prefix : b.n_rest;
    if (first >= end) return;
    float *scores = j.a.scores + ((size_t)r * j.kv.n_kv_heads + kv_head) * j.a.max_score_blocks;
    const int block = first + 2 * lane, current = b.n_blocks - 1;
    char *mine = keys + threadIdx.x / 32 * j.kv.head_dim * KEY_ROW;
    copy_keys(key_at(j.kv, set, j.a.layer, kv_head, first), pool, j.kv.head_dim, mine);
    copy_wait<0>();
    __syncwarp();
    const float2 score = score_two(mine, pool, j.kv.head_dim);
    if (block < end) scores[block] = score.x;
    if (block + 1 < end) scores[block + 1] = score.y;
    if (first > current || current >= min(first + CUDA_KEY_TILE, end)) return;
    __syncwarp();
    const float widened = score_current(key_at(j.kv, set, j.a.layer, kv_head, current), pool, row_head(j, r, j.a.n_heads + kv_head), j.kv.head_dim);
    if (lane == 0) scores[current] = widened;
}

template <class Key, class Take> __device__ static void select_f32(struct top_shared &s, int n, int k, const Key &key, const Take &take)
{
    if (n > HELD_KEYS * (int)blockDim.x) {
        top_select_computed<uint32_t>(s, n, k, key, take);
        return;
    }
    struct top_held<uint32_t, HELD_KEYS> keys;
    keys.run = top_run_of(n);
    keys.load(key);
    top_select(s, n, k, keys, take);
}

/* Grid: KV heads, rows. */
__global__ static void __launch_bounds__(1024) select_kernel(const __grid_constant__ struct select_job j)
{
    __shared__ struct top_shared shared;
    __shared__ int last;
    dependency_wait();
    dependents_launch();
    const int r = blockIdx.y, kv_head = blockIdx.x;
    const size_t list = (size_t)r * j.kv.n_kv_heads + kv_head;
    const struct row row = j.a.rows[r];
    if (!selects(j, row)) {
        if (threadIdx.x == 0) {
            j.lists.count[list] = -1;
            j.lists.tokens[list] = row.position + 1;
        }
        return;
    }
    const struct lane_params lane = j.a.lanes[row.lane];
    const struct budget b = budget_of(lane, row.position);
    int32_t *chosen = j.lists.blocks + list * j.lists.max_blocks;
    const int n_selected = b.n_selected;
    int *const last_chosen = &last;
    const auto take = [=](int rank, int block) {
        chosen[rank] = block;
        if (rank == n_selected - 1) *last_chosen = block;
    };
    if (lane.selector == SELECT_MINMAX) {
        const float *score = j.a.scores + list * j.a.max_score_blocks;
        select_f32(shared, b.n_rest, b.k, [=](int i) { return ordered_f32(score[i]); }, take);
    } else if (lane.selector == SELECT_RANDOM) { /* as kernels/cpu_select.c draws them */
        const uint32_t counter = (uint32_t)j.a.layer << 16 | (uint32_t)kv_head, step = (uint32_t)(row.position - j.kv.prefix_tokens);
        const uint64_t seed = j.a.seed;
        select_f32(shared, b.n_rest, b.k, [=](int i) {
            const uint4 w = philox((uint32_t)i / 4, counter, step, PHILOX_SELECT, seed);
            return i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w;
        }, take);
    } else if (lane.selector == SELECT_REPLAY) { /* the host has checked the list (core/replay.h); the local blocks are in it */
        const int32_t *given = j.a.replay + ((size_t)row.lane * j.kv.n_kv_heads + kv_head) * j.lists.max_blocks;
        for (int i = threadIdx.x; i < b.n_selected; i += (int)blockDim.x) take(i, given[i]);
    } else if (lane.selector == SELECT_WINDOW) {
        for (int i = threadIdx.x; i < b.k; i += (int)blockDim.x) take(i, i == 0 ? 0 : b.n_rest - b.k + i);
    } else {
        const double *mass = j.a.mass + ((size_t)r * j.a.n_heads + kv_head * j.group) * j.a.mass_blocks;
        const int group = j.group, stride = j.a.mass_blocks;
        top_select_computed<uint64_t>(shared, b.n_rest, b.k, [=](int i) {
            double sum = 0;
            for (int g = 0; g < group; g++) sum += mass[(size_t)g * stride + i];
            return ordered_f64(sum / group);
        }, take);
    }
    for (int i = threadIdx.x; i < b.n_local && lane.selector != SELECT_REPLAY; i += (int)blockDim.x) take(b.k + i, b.n_rest + i);
    __syncthreads();
    if (threadIdx.x != 0) return;
    /* All blocks are whole but the last of the context. */
    const int missing = b.n_blocks * lane.block_size - b.n_tokens;
    j.lists.count[list] = b.n_selected;
    j.lists.tokens[list] = b.n_selected * lane.block_size - (last == b.n_blocks - 1 ? missing : 0);
}

extern "C" int cuda_select(struct device *d, const struct select_args *a)
{
    struct select_job j = {};
    if (a->n_sets > MAX_KEY_SETS) return fail("select: %d sets of block keys, at most %d", a->n_sets, MAX_KEY_SETS);
    j.a = *a;
    j.kv = *a->kv;
    j.lists = *a->lists;
    for (int i = 0; i < a->n_sets; i++) j.sets[i] = a->sets[i];
    j.group = a->n_heads / a->kv->n_kv_heads;
    j.scale = (float)(1 / sqrt((double)a->kv->head_dim));
    const unsigned n_kv = (unsigned)a->kv->n_kv_heads, n_rows = (unsigned)a->n_rows;
    if (a->n_sets > 0) { /* the prefix's last tile and the store's first are not full */
        const int n_tiles = a->max_score_blocks / CUDA_KEY_TILE + 2;
        const size_t n_bytes = (size_t)(SCORE_WARPS * a->kv->head_dim * KEY_ROW);
        TRY(cuda_launch(d, "select", score_kernel, dim3((unsigned)ceil_div(n_tiles, SCORE_WARPS), n_kv, n_rows), SCORE_THREADS, n_bytes, 1, j), "scores");
    }
    const int n_threads = a->max_score_blocks <= HELD_KEYS * 256 ? 256 : 1024;
    TRY(cuda_launch(d, "select", select_kernel, dim3(n_kv, n_rows), n_threads, 0, 1, j), "selection");
    return 0;
}
