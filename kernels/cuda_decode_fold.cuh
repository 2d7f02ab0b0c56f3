/* kernels/cuda_decode_fold.cuh: what blocks of threads have left of a pair becomes its result.
 *
 * The pair's elements are dealt in vectors of 32, of one query head, to the blocks that have a part of it.  A warp folds up to 32 leaves of a vector
 * at a time: of a long line those of a segment, a lane an element; of a short one the units of four groups, eight lanes a group. */
#ifndef KERNELS_CUDA_DECODE_FOLD_CUH
#define KERNELS_CUDA_DECODE_FOLD_CUH

#include "kernels/cuda_decode_copy.cuh"
#include "kernels/cuda_decode_state.cuh"

enum { TOLD_CUT = 1, TOLD_ALL };

/* What this block of threads has left so far: the others may take it. */
__device__ static void tell(const struct decode_job &j, int told)
{
    warps_meet();
    if (threadIdx.x == 0)
        asm volatile("st.release.gpu.global.s32 [%0], %1;" ::"l"(&j.left[blockIdx.x]), "r"(told) : "memory");
}

/* Blocks of threads first .. last have told it: a thread asks each. */
__device__ static void wait_for(const struct decode_job &j, int first, int last, int told)
{
    for (int block = first + (int)threadIdx.x; block <= last; block += WARPS * 32) {
        int left;
        do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(left) : "l"(&j.left[block]) : "memory");
        while ((int)((unsigned)left - (unsigned)told) < 0);
    }
    warps_meet();
}

static constexpr int LEAVES = 32, STAGES = 2;
static_assert(FOLD_GROUPS == LEAVES, "a warp folds a segment");

/* A vector of a leaf, in shared memory. */
struct leaf {
    float o[32];
    float4 stats; /* greatest score, sum */
};

/* Leaves that a warp folds. */
struct leaves {
    struct leaf leaf[LEAVES];
    int n, unused[3];
};

/* A warp folds n leaves, up to 32, in order.  One copy of the code for all that call it: it is executed once or twice, and fetched from far. */
__device__ static __noinline__ void fold_leaves(const struct leaf *from, int n, float scale2, struct leaf *to)
{
    const int lane = threadIdx.x % 32;
    const float4 mine = from[min(lane, n - 1)].stats;
    float upto = mine.x, o = from[0].o[lane], sum = __shfl_sync(0xffffffffu, mine.y, 0);
#pragma unroll
    for (int i = 1; i < LEAVES; i *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, upto, i);
        if (lane >= i) upto = fmaxf(upto, before);
    }
    const struct fold f = fold_of(__shfl_up_sync(0xffffffffu, upto, 1), mine.x, scale2);
#pragma unroll 4
    for (int i = 1; i < n; i++) {
        const struct fold at = { 0, __shfl_sync(0xffffffffu, f.run, i), __shfl_sync(0xffffffffu, f.next, i) };
        o = fold_sum(o, from[i].o[lane], at);
        sum = fold_sum(sum, __shfl_sync(0xffffffffu, mine.y, i), at);
    }
    const float most = __shfl_sync(0xffffffffu, upto, n - 1);
    __syncwarp(); /* all have read what it takes the place of */
    to->o[lane] = o;
    if (lane == 0) to->stats = make_float4(most, sum, 0, 0);
    __syncwarp();
}

/* What fold_vectors() needs for a vector: parts, behind STAGES leaves of each warp. */
static constexpr int STAGES_BYTES = WARPS * STAGES * (int)sizeof(struct leaves),
                     FOLD_BYTES = STAGES_BYTES + MAX_PARTS * (int)sizeof(struct leaf);

/* A pair, and which of its vectors are this block's. */
struct pair_fold {
    struct line line;
    int pair, base, end;            /* its units */
    int n_leaves, n_loads, n_parts; /* leaves; LEAVES of them at a time; what becomes of them: segments, or groups */
    int first, n, room;             /* vectors; how many at a time */
    int first_block, last_block;    /* of threads, that have a part of it */
    int out_row, kv_head;

    /* Slot of the lane's leaf of a long line's segment, and how many leaves it has. */
    __device__ int slot_of(const struct decode_job &j, int load, int *n) const
    {
        const int segment = base + load * SEGMENT_UNITS,
                  here = line.start(line.owner(segment) + 1); /* where the block that begins it ends */
        const int n_groups = min(LEAVES, n_leaves - load * LEAVES), lane = threadIdx.x % 32;
        const int begun = here >= min(segment + SEGMENT_UNITS, end) ? n_groups : (here - segment) / FOLD_UNITS,
                  skip = max(begun - 1, 0);
        *n = n_groups - skip;
        if (begun > 0 && lane == 0) return segment_slot(j, segment, pair);
        const int i = load * LEAVES + lane + skip;
        return group_slot(line.owner(min(base + (i + 1) * FOLD_UNITS, end) - 1), i);
    }
};

__device__ static int vectors_of_head(int dim)
{
    return (dim + 31) / 32;
}

/* A segment's leaves are on their way. */
__device__ static void load_leaves(const struct decode_job &j, const struct pair_fold &f, int load, int vector,
                                   struct leaves &to)
{
    const int lane = threadIdx.x % 32, dim = j.kv.head_dim, each = vectors_of_head(dim), head = vector / each,
              d = (vector - head * each) * 32 + lane % 8 * 4;
    int n;
    const int mine = f.slot_of(j, load, &n);
    if (lane == 0) to.n = n;
    if (lane < n) copy_async(&to.leaf[lane].stats, slot_at(j, mine) + j.group * dim + head * 4);
#pragma unroll 4
    for (int i = lane / 8; i - lane / 8 < n; i += 4) {
        const int slot = __shfl_sync(0xffffffffu, mine, i);
        if (i < n && d < dim) copy_async(&to.leaf[i].o[lane % 8 * 4], slot_at(j, slot) + head * dim + d);
    }
}

/* The units of four groups of a short line become the groups. */
__device__ static void fold_units(const struct decode_job &j, const struct pair_fold &f, int load, int vector,
                                  struct leaf *groups)
{
    const int g = threadIdx.x % 32 / FOLD_UNITS, i = threadIdx.x % FOLD_UNITS, dim = j.kv.head_dim,
              each = vectors_of_head(dim), head = vector / each;
    const int first = load * LEAVES + g * FOLD_UNITS, n = min(FOLD_UNITS, f.n_leaves - first),
              d = (vector - head * each) * 32 + i * 4;
    const float *from = slot_at(j, f.base + first);
    const int step = slot_floats(j.group, dim);
    float4 o[FOLD_UNITS];
    const float2 mine =
        i < n ? __ldcg((const float2 *)(from + i * step + j.group * dim + head * 4)) : make_float2(-INFINITY, 0);
#pragma unroll
    for (int k = 0; k < FOLD_UNITS; k++)
        o[k] = k < n && d < dim ? __ldcg((const float4 *)(from + k * step + head * dim + d)) : make_float4(0, 0, 0, 0);
    float upto = mine.x;
#pragma unroll
    for (int k = 1; k < FOLD_UNITS; k *= 2) {
        const float before = __shfl_up_sync(0xffffffffu, upto, k, FOLD_UNITS);
        if (i >= k) upto = fmaxf(upto, before);
    }
    const struct fold own = fold_of(__shfl_up_sync(0xffffffffu, upto, 1, FOLD_UNITS), mine.x, j.scale2);
    float sum = __shfl_sync(0xffffffffu, mine.y, 0, FOLD_UNITS);
#pragma unroll
    for (int k = 1; k < FOLD_UNITS; k++) {
        const struct fold at = { 0, __shfl_sync(0xffffffffu, own.run, k, FOLD_UNITS),
                                 __shfl_sync(0xffffffffu, own.next, k, FOLD_UNITS) };
        const float l = __shfl_sync(0xffffffffu, mine.y, k, FOLD_UNITS);
        if (k >= n) continue;
        sum = fold_sum(sum, l, at);
        o[0] = make_float4(fold_sum(o[0].x, o[k].x, at), fold_sum(o[0].y, o[k].y, at), fold_sum(o[0].z, o[k].z, at),
                           fold_sum(o[0].w, o[k].w, at));
    }
    const float most = __shfl_sync(0xffffffffu, upto, max(n, 1) - 1, FOLD_UNITS);
    if (n <= 0) return;
    *(float4 *)&groups[g].o[i * 4] = o[0];
    if (i == 0) groups[g].stats = make_float4(most, sum, 0, 0);
}

/* The parts of a vector become its result, in the last segment's place. */
__device__ static const struct leaf *fold_parts(const struct pair_fold &f, struct leaf *parts, float scale2)
{
    const int n_segments = (f.end - f.base + SEGMENT_UNITS - 1) / SEGMENT_UNITS;
#pragma unroll 1
    for (int s = 0; s < n_segments && f.line.is_short(); s++)
        fold_leaves(parts + s * LEAVES, min(LEAVES, f.n_parts - s * LEAVES), scale2, parts + s);
#pragma unroll 1
    for (int s = 0; s < n_segments - 1; s += LEAVES - 1) {
        const int n = min(LEAVES, n_segments - s);
        fold_leaves(parts + s, n, scale2, parts + s + n - 1);
    }
    return parts + n_segments - 1;
}

/* Element d of a head of the pair's. */
__device__ static void put(const struct decode_job &j, const struct pair_fold &f, int head, int d, float x)
{
    const int n = j.n_heads * j.kv.head_dim, k = (f.kv_head * j.group + head) * j.kv.head_dim + d,
              n_chunks = (n + CHUNK - 1) / CHUNK;
    j.out[(size_t)f.out_row * n + k] = x;
    if (!j.operand) return;
    element_put(operand_core(j.operand, n_chunks, f.out_row, k / 8), k % 8, x, j.bf16);
    if (k != n - 1) return;
    for (int i = n; i < n_chunks * CHUNK; i++)
        element_put(operand_core(j.operand, n_chunks, f.out_row, i / 8), i % 8, 0, j.bf16);
    *operand_scale(j.operand, n_chunks, f.out_row) = 1;
    *operand_size(j.operand, n_chunks, f.out_row) = INFINITY;
}

/* shared: STAGES_BYTES, and parts of f.room vectors. */
__device__ static void fold_vectors(const struct decode_job &j, const struct pair_fold &f, char *shared)
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, dim = j.kv.head_dim, each = vectors_of_head(dim);
    struct leaves *stage = (struct leaves *)shared + warp * STAGES;
    struct leaf *parts = (struct leaf *)((struct leaves *)shared + WARPS * STAGES);
#pragma unroll 1
    for (int first = f.first; first < f.first + f.n; first += f.room) {
        const int n = min(f.room, f.first + f.n - first), n_tasks = n * f.n_loads;
#pragma unroll 1
        for (int t = warp; t < n_tasks && f.line.is_short(); t += WARPS)
            fold_units(j, f, t % f.n_loads, first + t / f.n_loads,
                       parts + t / f.n_loads * f.n_parts + t % f.n_loads * (LEAVES / FOLD_UNITS));
#pragma unroll 1
        for (int task = warp; task < n_tasks && !f.line.is_short(); task += WARPS * STAGES) {
            const int end = min(task + WARPS * STAGES, n_tasks);
#pragma unroll 1
            for (int t = task, s = 0; t < end; t += WARPS, s++)
                load_leaves(j, f, t % f.n_loads, first + t / f.n_loads, stage[s]);
            copy_commit();
            copy_wait<0>();
            __syncwarp();
#pragma unroll 1
            for (int t = task, s = 0; t < end; t += WARPS, s++)
                fold_leaves(stage[s].leaf, stage[s].n, j.scale2, parts + t);
        }
        warps_meet();
#pragma unroll 1
        for (int v = warp; v < n; v += WARPS) {
            const struct leaf *result = fold_parts(f, parts + v * f.n_parts, j.scale2);
            const int d = (first + v) % each * 32 + lane;
            if (d < dim) put(j, f, (first + v) / each, d, __fdiv_rn(result->o[lane], result->stats.y));
        }
        warps_meet();
    }
}

#endif
