/* kernels/cuda_select.cu: the ordered selection of blocks. */
#include "kernels/cuda_keys.cuh"
#include "kernels/cuda_select.cuh"
#include "kernels/cuda_top.cuh"

struct score_key {
    typedef uint32_t type;
    const float *score;
    bool aligned; /* to 16 bytes */

    __device__ uint32_t get(int i) const
    {
        return __float_as_uint(score[i]);
    }

    __device__ void get(int first, int n, uint32_t (&x)[TOP_ITEMS]) const
    {
        if (aligned && first + TOP_ITEMS <= n) {
#pragma unroll
            for (int i = 0; i < TOP_ITEMS; i += 4) *(uint4 *)&x[i] = *(const uint4 *)(score + first + i);
        } else {
#pragma unroll
            for (int i = 0; i < TOP_ITEMS; i++) x[i] = first + i < n ? __float_as_uint(score[first + i]) : 0;
        }
    }

    __device__ static uint32_t order(uint32_t x)
    {
        return ordered_f32(__uint_as_float(x));
    }
};

/* As kernels/cpu_select.c draws them. */
struct random_key {
    typedef uint32_t type;
    uint32_t counter, step;
    uint64_t seed;

    __device__ uint32_t get(int i) const
    {
        const uint4 w = philox((uint32_t)i / 4, counter, step, PHILOX_SELECT, seed);
        return i % 4 == 0 ? w.x : i % 4 == 1 ? w.y : i % 4 == 2 ? w.z : w.w;
    }

    __device__ void get(int first, int, uint32_t (&x)[TOP_ITEMS]) const
    {
#pragma unroll
        for (int i = 0; i < TOP_ITEMS; i += 4) *(uint4 *)&x[i] = philox((uint32_t)(first + i) / 4, counter, step, PHILOX_SELECT, seed);
    }

    __device__ static uint32_t order(uint32_t x)
    {
        return x;
    }
};

/* Grid: C blocks of threads for each KV head, rows and then sets of block keys, which the rows' keys enter; MAX_KEY_SETS: also by mass. */
template <int T, int C, int N_SETS> __global__ static void __launch_bounds__(T, 2) select_kernel(const __grid_constant__ struct select_sets<N_SETS> job)
{
    __shared__ struct top_shared shared;
    const struct select_job &j = job.s;
    cluster_arrive<C>();
    if ((int)blockIdx.y >= j.a.n_rows) {
        cluster_wait<C>();
        dependency_wait(); /* all scores are there */
        dependents_launch();
        if (blockIdx.x % C == 0)
            keys_commit<T>(j.kv, job.sets[blockIdx.y - j.a.n_rows], j.a.layer, blockIdx.x / C, j.a.n_rows, j.a.n_heads, j.a.rows, j.a.qkv);
        return;
    }
    const int r = blockIdx.y, kv_head = blockIdx.x / C, thread = cluster_rank<C>() * T + (int)threadIdx.x;
    const size_t list = (size_t)r * j.kv.n_kv_heads + kv_head;
    const struct row row = j.a.rows[r];
    const struct lane_params lane = j.a.lanes[row.lane];
    const struct budget b = budget_of(lane, row.position);
    const bool selecting = selects(j, row);
    int32_t *const blocks = j.lists.blocks + list * j.lists.max_blocks;
    const auto tell = [=, &j](int n_listed, int n_tokens) {
        j.lists.count[list] = n_listed;
        j.lists.tokens[list] = n_tokens;
        if (j.a.layer == 0) j.total[list] = n_tokens;
        else atomicAdd((unsigned long long *)&j.total[list], (unsigned long long)n_tokens); /* nobody else's: not to wait for it */
    };
    const auto take = [=](int rank, int block) {
        blocks[rank] = block;
        if (rank != b.n_selected - 1) return;
        /* All blocks are whole but the last of the context. */
        tell(b.n_selected, b.n_selected * lane.block_size - (block == b.n_blocks - 1 ? b.n_blocks * lane.block_size - b.n_tokens : 0));
    };
    const struct score_key score = { j.a.scores + list * j.a.max_score_blocks, j.a.max_score_blocks % 4 == 0 };
    if (selecting && lane.selector == SELECT_MINMAX) prefetch(score.score);
    cluster_wait<C>();
    dependency_wait();
    dependents_launch(); /* not earlier: attention that waits for long begins slowly, and what it needs is prepared while this kernel runs */
    if (!selecting) {
        if (thread > 0) return;
        tell(-1, row.position + 1);
    } else if (lane.selector == SELECT_MINMAX) {
        top_select<T, C>(shared, b.n_rest, b.k, score, take);
    } else if (lane.selector == SELECT_RANDOM) {
        const struct random_key key = { (uint32_t)j.a.layer << 16 | (uint32_t)kv_head, (uint32_t)(row.position - j.kv.prefix_tokens), j.a.seed };
        top_select<T, C>(shared, b.n_rest, b.k, key, take);
    } else if (lane.selector == SELECT_REPLAY) { /* the host has checked the list (core/replay.h); the local blocks are in it */
        const int32_t *given = j.a.replay + ((size_t)row.lane * j.kv.n_kv_heads + kv_head) * j.lists.max_blocks;
        for (int i = thread; i < b.n_selected; i += T * C) take(i, given[i]);
    } else if (lane.selector == SELECT_WINDOW) {
        for (int i = thread; i < b.k; i += T * C) take(i, i == 0 ? 0 : b.n_rest - b.k + i);
    } else if (N_SETS == MAX_KEY_SETS) {
        const double *mass = j.a.mass + ((size_t)r * j.a.n_heads + kv_head * j.group) * j.a.mass_blocks;
        const int group = j.group, stride = j.a.mass_blocks;
        const auto key = top_key_of<uint64_t>([=](int i) {
            double sum = 0;
            for (int g = 0; g < group; g++) sum += mass[(size_t)g * stride + i];
            return ordered_f64(sum / group);
        });
        top_select<T, C>(shared, b.n_rest, b.k, key, take);
    }
    for (int i = thread; i < b.n_local && selecting && lane.selector != SELECT_REPLAY; i += T * C) take(b.k + i, b.n_rest + i);
}

template <int T, int C> static int select_launch(struct device *d, const struct select_job &j)
{
    const dim3 grid((unsigned)(j.kv.n_kv_heads * C), (unsigned)(j.a.n_rows + j.a.n_sets));
    if (j.a.mass || j.a.n_sets > FEW_KEY_SETS)
        return cuda_launch(d, "select", select_kernel<T, C, MAX_KEY_SETS>, grid, T, 0, C, with_sets<MAX_KEY_SETS>(j));
    return cuda_launch(d, "select", select_kernel<T, C, FEW_KEY_SETS>, grid, T, 0, C, with_sets<FEW_KEY_SETS>(j));
}

static int select_any(struct device *d, const struct select_job &j)
{
    const int n = j.a.max_score_blocks;
    if (n <= 2048) return select_launch<256, 1>(d, j);
    if (n <= 4096) return select_launch<512, 1>(d, j);
    if (n <= 8192) return select_launch<256, 4>(d, j);
    return n <= 16384 ? select_launch<512, 4>(d, j) : select_launch<512, 8>(d, j);
}

extern "C" int cuda_choose(struct device *d, const struct choose_args *c)
{
    const struct select_args *a = &c->select;
    struct select_job j = {};
    if (a->n_sets > MAX_KEY_SETS) return fail("select: %d sets of block keys, at most %d", a->n_sets, MAX_KEY_SETS);
    j.a = *a;
    j.total = c->total;
    j.kv = *a->kv;
    j.lists = *a->lists;
    j.group = a->n_heads / a->kv->n_kv_heads;
    j.scale = (float)(1 / sqrt((double)a->kv->head_dim));
    if (a->n_sets > 0) TRY(cuda_score(d, j), "scores");
    TRY(select_any(d, j), "selection");
    return 0;
}
