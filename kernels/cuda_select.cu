/* kernels/cuda_select.cu: scores of blocks, and their ordered selection.
 *
 * A score is the CPU's chain of float32 additions, operation by operation: equal keys and queries give equal bits. */
#include "kernels/cuda_kv.cuh"
#include "kernels/cuda_top.cuh"

static constexpr int SCORE_THREADS = 128, SELECT_THREADS = 512;

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

/* Grid: SCORE_THREADS blocks each, KV heads, rows; a thread for each block. */
__global__ static void score_kernel(const __grid_constant__ struct select_job j)
{
    __shared__ float q[256];
    const int r = blockIdx.z, kv_head = blockIdx.y, dim = j.kv.head_dim;
    const struct row row = j.a.rows[r];
    if (!selects(j, row)) return;
    const struct lane_params lane = j.a.lanes[row.lane];
    const struct budget b = budget_of(lane, row.position);
    const int block = blockIdx.x * SCORE_THREADS + threadIdx.x;
    if (lane.selector != SELECT_MINMAX || (int)blockIdx.x * SCORE_THREADS >= b.n_rest) return;
    for (int i = threadIdx.x; i < dim; i += SCORE_THREADS) {
        float sum = row_head(j, r, kv_head * j.group)[i];
        for (int g = 1; g < j.group; g++) sum = __fadd_rn(sum, row_head(j, r, kv_head * j.group + g)[i]);
        q[i] = __fmul_rn(__fdiv_rn(sum, (float)j.group), j.scale);
    }
    __syncthreads();
    if (block >= b.n_rest) return;
    const struct key_set &own = j.sets[lane.key_set];
    const struct key_set &set = block < own.first_block ? j.sets[lane.prefix_set] : own;
    const float *low = key_at(j.kv, set, j.a.layer, kv_head, block), *high = low + (size_t)dim * KEY_TILE;
    const float *k = block == b.n_blocks - 1 ? row_head(j, r, j.a.n_heads + kv_head) : NULL; /* the current token's block */
    float score = 0;
#pragma unroll 8
    for (int i = 0; i < dim; i++) {
        float mn = low[i * KEY_TILE], mx = high[i * KEY_TILE];
        if (k) {
            mn = mn <= k[i] ? mn : k[i];
            mx = mx >= k[i] ? mx : k[i];
        }
        const float x = __fmul_rn(q[i], mx), y = __fmul_rn(q[i], mn);
        score = __fadd_rn(score, x > y ? x : y);
    }
    j.a.scores[((size_t)r * j.kv.n_kv_heads + kv_head) * j.a.max_score_blocks + block] = score;
}

/* Grid: KV heads, rows. */
__global__ static void __launch_bounds__(SELECT_THREADS) select_kernel(const __grid_constant__ struct select_job j)
{
    __shared__ struct top_shared shared;
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
    const auto take = [=](int rank, int block) { chosen[rank] = block; };
    if (lane.selector == SELECT_MINMAX) {
        const float *score = j.a.scores + list * j.a.max_score_blocks;
        top_select<32>(shared, b.n_rest, b.k, [=](int i) { return ordered_f32(score[i]); }, take);
    } else if (lane.selector == SELECT_RANDOM) { /* as kernels/cpu_select.c draws them */
        const uint32_t counter = (uint32_t)j.a.layer << 16 | (uint32_t)kv_head, step = (uint32_t)(row.position - j.kv.prefix_tokens);
        const uint64_t seed = j.a.seed;
        top_select<32>(shared, b.n_rest, b.k, [=](int i) {
            const uint4 w = philox((uint32_t)i / 4, counter, step, PHILOX_SELECT, seed);
            return (uint64_t)(i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w);
        }, take);
    } else if (lane.selector == SELECT_REPLAY) { /* the host has checked the list (core/replay.h); the local blocks are in it */
        const int32_t *given = j.a.replay + ((size_t)row.lane * j.kv.n_kv_heads + kv_head) * j.lists.max_blocks;
        for (int i = threadIdx.x; i < b.n_selected; i += SELECT_THREADS) chosen[i] = given[i];
    } else if (lane.selector == SELECT_WINDOW) {
        for (int i = threadIdx.x; i < b.k; i += SELECT_THREADS) chosen[i] = i == 0 ? 0 : b.n_rest - b.k + i;
    } else {
        const double *mass = j.a.mass + ((size_t)r * j.a.n_heads + kv_head * j.group) * j.a.mass_blocks;
        const int group = j.group, stride = j.a.mass_blocks;
        top_select<64>(shared, b.n_rest, b.k, [=](int i) {
            double sum = 0;
            for (int g = 0; g < group; g++) sum += mass[(size_t)g * stride + i];
            return ordered_f64(sum / group);
        }, take);
    }
    for (int i = threadIdx.x; i < b.n_local && lane.selector != SELECT_REPLAY; i += SELECT_THREADS) chosen[b.k + i] = b.n_rest + i;
    __syncthreads();
    if (threadIdx.x != 0) return;
    /* All blocks are whole but the last of the context. */
    const int missing = b.n_blocks * lane.block_size - b.n_tokens;
    j.lists.count[list] = b.n_selected;
    j.lists.tokens[list] = b.n_selected * lane.block_size - (chosen[b.n_selected - 1] == b.n_blocks - 1 ? missing : 0);
}

extern "C" int cuda_select(struct device *d, const struct select_args *a)
{
    struct select_job j;
    if (a->n_sets > MAX_KEY_SETS) return fail("select: %d sets of block keys, at most %d", a->n_sets, MAX_KEY_SETS);
    j.a = *a;
    j.kv = *a->kv;
    j.lists = *a->lists;
    for (int i = 0; i < MAX_KEY_SETS; i++) j.sets[i] = i < a->n_sets ? a->sets[i] : key_set();
    j.group = a->n_heads / a->kv->n_kv_heads;
    j.scale = (float)(1 / sqrt((double)a->kv->head_dim));
    const unsigned n_kv = (unsigned)a->kv->n_kv_heads, n_rows = (unsigned)a->n_rows;
    if (a->n_sets > 0) {
        score_kernel<<<dim3((unsigned)ceil_div(a->max_score_blocks, SCORE_THREADS), n_kv, n_rows), SCORE_THREADS, 0, d->stream>>>(j);
        LAUNCHED("select");
    }
    select_kernel<<<dim3(n_kv, n_rows), SELECT_THREADS, 0, d->stream>>>(j);
    LAUNCHED("select");
    return 0;
}
