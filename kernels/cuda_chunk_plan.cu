/* kernels/cuda_chunk_plan.cu: the plan of a chunk's attention. */
#include "kernels/cuda_chunk.cuh"

#include <climits>

static constexpr int THREADS = 256;

/* Whether row i follows the one before it in a run. */
__device__ static bool continues(const struct attend_row *rows, int i)
{
    const struct attend_row a = rows[i - 1], b = rows[i];
    return a.store == b.store && a.position + 1 == b.position && a.tail == NO_TAIL && b.tail == NO_TAIL;
}

/* Inclusive: the sum, or the greatest, over this thread and those before it, and over all of them. */
template <bool SUM> __device__ static int scan(int x, int *all)
{
    __shared__ int warps[THREADS / 32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int o = 1; o < 32; o *= 2) {
        const int y = __shfl_up_sync(0xffffffffu, x, o);
        if (lane >= o) x = SUM ? x + y : max(x, y);
    }
    __syncthreads();
    if (lane == 31) warps[warp] = x;
    __syncthreads();
    int y = lane < THREADS / 32 ? warps[lane] : 0; /* scanned by every warp */
    for (int o = 1; o < 32; o *= 2) {
        const int z = __shfl_up_sync(0xffffffffu, y, o);
        if (lane >= o) y = SUM ? y + z : max(y, z);
    }
    *all = __shfl_sync(0xffffffffu, y, 31);
    const int before = __shfl_sync(0xffffffffu, y, max(warp - 1, 0));
    return warp == 0 ? x : SUM ? x + before : max(x, before);
}

/* An item begins in every row that holds a packed row at a multiple of PACK. */
__device__ static int find_items(const struct chunk_job &j)
{
    int run_before = 0, n_items = 0;
    for (int base = 0; base < j.n_rows; base += THREADS) {
        const int i = base + threadIdx.x;
        int all;
        const bool in = i < j.n_rows, starts = in && (i == 0 || !continues(j.rows, i));
        const int run = max(scan<false>(starts ? i : 0, &all), run_before);
        run_before = max(run_before, all);
        const int first = (i - run) * j.group, packed = (first + PACK - 1) / PACK * PACK;
        const bool begins = in && packed < first + j.group;
        const int at = n_items + scan<true>(begins, &all) - 1;
        n_items += all;
        if (begins) {
            j.plan->items[at].run = run;
            j.plan->items[at].packed = packed;
        }
    }
    return n_items;
}

/* Each item's packed rows and position; all items' groups (x) and segments (y), the most segments of one (z). */
__device__ static int3 measure_items(const struct chunk_job &j, int n_items)
{
    int groups = 0, segments = 0, most = 0;
    for (int i = threadIdx.x; i < n_items; i += THREADS) {
        struct chunk_item &t = j.plan->items[i];
        const bool last = i + 1 == n_items || j.plan->items[i + 1].run != t.run;
        const int end_row = i + 1 == n_items ? j.n_rows : j.plan->items[i + 1].run;
        t.n_packed = last ? (end_row - t.run) * j.group - t.packed : PACK;
        t.position = j.rows[t.run].position;
        const int n_groups = last_position(t, j.group) / GROUP_TOKENS + 1;
        groups += n_groups;
        const int n_segments = (n_groups + FOLD_GROUPS - 1) / FOLD_GROUPS;
        segments += n_segments;
        most = max(most, n_segments);
    }
    int3 sum;
    scan<true>(groups, &sum.x);
    scan<true>(segments, &sum.y);
    scan<false>(most, &sum.z);
    return sum;
}

/* Segments where they are dealt out as evenly as groups, and where nodes of all groups would be too many; items as the last resort. */
__device__ static int choose_cell(const struct chunk_job &j, int3 sum)
{
    const long heads = j.kv.n_kv_heads, groups = heads * sum.x, segments = heads * sum.y;
    const long by_group = (groups + j.n_pairs - 1) / j.n_pairs,
               by_segment = (segments + j.n_pairs - 1) / j.n_pairs * FOLD_GROUPS;
    if ((size_t)segments > j.max_nodes) return INT_MAX / GROUP_TOKENS;
    return (size_t)groups > j.max_nodes || by_segment * 25 <= by_group * 26 ? FOLD_GROUPS : 1;
}

/* One block of threads.  It runs beside the kernel before it: copies from the host alone write rows, and who read the plan that was in this place
 * has ended, since it was made two calls ago and the last call's chunk_kernel waited for it. */
__global__ static void __launch_bounds__(THREADS) plan_kernel(const __grid_constant__ struct chunk_job j)
{
    dependents_launch();
    const int n_items = find_items(j);
    __syncthreads();
    const int3 sum = measure_items(j, n_items);
    const int cell_groups = choose_cell(j, sum);
    int before = 0;
    for (int base = 0; base < n_items; base += THREADS) {
        const int i = base + threadIdx.x,
                  n = i < n_items ? last_position(j.plan->items[i], j.group) / (GROUP_TOKENS * cell_groups) + 1 : 0;
        int all;
        const int end = scan<true>(n, &all);
        if (i < n_items) j.plan->items[i].cell = before + end - n;
        before += all;
    }
    if (threadIdx.x == 0) {
        j.plan->items[n_items].cell = before;
        j.plan->n_items = n_items;
        j.plan->n_cells = before;
        j.plan->cell_groups = cell_groups;
        j.plan->n_segments = cell_groups < FOLD_GROUPS ? sum.z : 1;
        j.plan->cells_each = (before * j.kv.n_kv_heads + j.n_pairs - 1) / j.n_pairs;
    }
    dependency_wait();
}

size_t chunk_plan_bytes(int n_rows)
{
    return (sizeof(struct chunk_plan) + (size_t)n_rows * sizeof(struct chunk_item) + 255) / 256 * 256;
}

int chunk_make_plan(struct device *d, const struct chunk_job *j)
{
    return cuda_launch(d, "attention's plan", plan_kernel, 1, THREADS, 0, 1, *j);
}
