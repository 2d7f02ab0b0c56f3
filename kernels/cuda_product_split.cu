/* kernels/cuda_product_split.cu: products of few rows, as fast as the weights come; of more where that is estimated to be
 * quicker (kernels/cuda_product.cu).
 *
 * A block of threads has 128 outputs of N rows; a cluster of SPLIT blocks shares the segments of k, so that there are enough of them to
 * keep every multiprocessor reading.  One warp fills the ring with bulk copies, eight multiply; weights are on their way before the kernel
 * before has ended. */
#include "kernels/cuda_product_int4.cuh"
#include "kernels/cuda_product_qkv.cuh"

static constexpr int MULTIPLIERS = 8, SPLIT_THREADS = (MULTIPLIERS + 1) * 32;
static constexpr int PITCH = TILE + 4; /* of sums in shared memory: no two lanes meet in one bank */

__device__ static inline uint32_t cluster_rank()
{
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}

__device__ static inline void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

__device__ static inline float cluster_load(uint32_t at, int rank)
{
    uint32_t there;
    float x;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(at), "r"(rank));
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(x) : "r"(there) : "memory");
    return x;
}

/* Sums that a block keeps: its own segments are added up, unless others come before them. */
__host__ __device__ static constexpr int planes(int n_segments, int n_split)
{
    return n_split > 1 ? n_segments / n_split : 1;
}

/* All segments in order: the first block has the sum of its own, the others have theirs one by one, in PLANES. */
template <int N, int SPLIT, int PLANES> __device__ static inline float total_at(const float *sums, int row, int out)
{
    const float *own = sums + row * PITCH + out;
    if (SPLIT == 1) return *own;
    float sum = cluster_load(shared_address(own), 0);
#pragma unroll
    for (int r = 1; r < SPLIT; r++)
#pragma unroll
        for (int i = 0; i < PLANES; i++) sum += cluster_load(shared_address(own + i * N * PITCH), r);
    return sum;
}

/* What a stage of the ring holds: weights, then their rows. */
template <enum element E, int N> struct stage_shape {
    static constexpr int chunks = E == INT4 ? INT4_CHUNKS : 1;
    static constexpr uint32_t weight_bytes = E == INT4 ? INT4_BYTES : TILE_BYTES, row_bytes = N / 8 * GROUP_BYTES;
    static constexpr uint32_t bytes = weight_bytes + chunks * row_bytes;
};

/* Copies of one stage into a ring at `to`; chunk: its first; x: the rows at chunk 0. */
template <enum element E, int N>
__device__ static inline void stage_weights(uint32_t to, const char *w, int chunk, int n_chunks, uint32_t barrier, uint64_t policy)
{
    using shape = stage_shape<E, N>;
    barrier_expect(barrier, shape::weight_bytes + (uint32_t)min(shape::chunks, n_chunks - chunk) * shape::row_bytes);
    bulk_copy(to, w, shape::weight_bytes, barrier, policy);
}

template <enum element E, int N> __device__ static inline void stage_rows(uint32_t to, const char *x, int chunk, int n_chunks, uint32_t barrier)
{
    using shape = stage_shape<E, N>;
#pragma unroll
    for (int i = 0; i < shape::chunks; i++)
        if (i == 0 || chunk + i < n_chunks)
            bulk_copy(to + shape::weight_bytes + i * shape::row_bytes, x + (size_t)(chunk + i) * TILE_BYTES, shape::row_bytes, barrier);
}

/* Grid: (tiles of outputs x tiles of rows) x SPLIT.  ROPE: with what rope_append does. */
template <enum element E, int N, int SEGMENTS, int SPLIT, int STAGES, int PER_SM, bool ROPE>
__global__ static void __launch_bounds__(SPLIT_THREADS, PER_SM) split_kernel(const __grid_constant__ struct product_job j, int row_tiles)
{
    using shape = stage_shape<E, N>;
    constexpr int OWN = SEGMENTS / SPLIT, PLANES = planes(SEGMENTS, SPLIT), STEP = MULTIPLIERS * 32 / TILE; /* rows that are written at once */
    constexpr int EACH = (N / SPLIT + STEP - 1) / STEP, AHEAD = EACH < 8 ? EACH : 8; /* of them, how many are fetched at once */
    extern __shared__ __align__(1024) char ring[];
    __shared__ uint64_t barriers[2 * STAGES];
    __shared__ struct row_scale scales[N];
    __shared__ struct row rows[ROPE ? N : 1];
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int rank = (int)cluster_rank(), unit = blockIdx.x / SPLIT, tile = unit / row_tiles, row0 = unit % row_tiles * N;
    const int n_stages = (j.n_chunks + shape::chunks - 1) / shape::chunks;
    const int from = segment_at(rank * OWN, n_stages, SEGMENTS), n = segment_at((rank + 1) * OWN, n_stages, SEGMENTS) - from;
    const uint32_t base = shared_address(ring), full = shared_address(barriers), empty = full + STAGES * 8;
    const char *w = j.w + ((size_t)tile * (size_t)n_stages + (size_t)from) * shape::weight_bytes;
    const char *x = j.x + (size_t)(row0 / TILE) * operand_block_bytes(j.n_chunks) + (size_t)(row0 % TILE / 8 * GROUP_BYTES);
    const uint64_t policy = cache_policy(row_tiles == 1);
    if (warp == MULTIPLIERS && lane == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_open(full + i * 8, 1);
            barrier_open(empty + i * 8, stage_readers(E, MULTIPLIERS));
        }
        barriers_ready();
        for (int i = 0; i < STAGES && i < n; i++)
            stage_weights<E, N>(base + i * shape::bytes, w + (size_t)i * shape::weight_bytes, (from + i) * shape::chunks, j.n_chunks, full + i * 8,
                                policy);
    }
    __syncthreads();
    dependents_launch();
    dependency_wait();
    float total[N / 2], c[N / 2], residual[AHEAD];
    const int row_from = rank * (N / SPLIT), row_end = row_from + N / SPLIT; /* what this block writes */
    const int out = threadIdx.x % TILE, row_own = row_from + (int)threadIdx.x / TILE; /* what this thread writes: every STEP-th row of one column */
    struct column column;
    struct qkv_column qkv;
    struct turn turn;
    if (warp == MULTIPLIERS) {
        struct ring_place p = { 0, 0 };
        if (lane == 0) {
            for (int i = 0; i < STAGES && i < n; i++)
                stage_rows<E, N>(base + i * shape::bytes, x, (from + i) * shape::chunks, j.n_chunks, full + i * 8);
            for (int i = STAGES; i < n; i++) {
                const uint32_t to = base + p.stage * shape::bytes, barrier = full + p.stage * 8;
                barrier_wait(empty + p.stage * 8, p.parity);
                stage_weights<E, N>(to, w + (size_t)i * shape::weight_bytes, (from + i) * shape::chunks, j.n_chunks, barrier, policy);
                stage_rows<E, N>(to, x, (from + i) * shape::chunks, j.n_chunks, barrier);
                ring_next<STAGES>(p);
            }
        }
        __syncwarp();
    } else {
        if (threadIdx.x < N) scales[threadIdx.x] = row_scale_of(j, row0 + (int)threadIdx.x, tile == 0 && rank == 0);
        column = column_of(j, tile * TILE + out);
        if (ROPE) {
            if (row0 + (int)threadIdx.x < min(row0 + N, j.n_rows)) rows[threadIdx.x] = j.rope.rows[row0 + threadIdx.x];
            qkv = qkv_column_of(j, tile * TILE + out);
            turn = turn_at(j, qkv, row0 + row_own);
        }
#pragma unroll
        for (int k = 0; k < AHEAD; k++) residual[k] = residual_at(j, column, row0 + row_own + k * STEP);
        struct ring_place p = { 0, 0 };
        int used = -1;
#pragma unroll
        for (int i = 0; i < N / 2; i++) total[i] = 0;
#pragma unroll 1
        for (int s = 0; s < OWN; s++) {
            const int first = segment_at(rank * OWN + s, n_stages, SEGMENTS), end = segment_at(rank * OWN + s + 1, n_stages, SEGMENTS);
            if constexpr (E == INT4) int4_segment_sum<N, STAGES>(c, first, end, j.n_chunks, warp, base, full, empty, p, &used);
            else segment_sum<E == BF16, N, STAGES>(c, end - first, warp / 4, base, full, empty, p, &used);
            if (PLANES == 2 && rank > 0 && s == 1) break; /* kept apart */
#pragma unroll
            for (int i = 0; i < N / 2; i++) total[i] += c[i];
        }
    }
    __syncthreads(); /* the ring is free */
    float *sums = (float *)ring;
    if (warp < MULTIPLIERS) {
#pragma unroll
        for (int i = 0; i < N / 2; i++) {
            const int at = (i / 4 * 8 + lane % 4 * 2 + i % 2) * PITCH + warp * 16 + lane / 4 + i / 2 % 2 * 8;
            sums[at] = total[i];
            if (PLANES == 2) sums[N * PITCH + at] = c[i];
        }
    }
    cluster_sync();
    if (warp < MULTIPLIERS && j.act) {
        for (int i = row_from * (TILE / 2) + (int)threadIdx.x; i < row_end * (TILE / 2); i += MULTIPLIERS * 32) {
            const int row = i / (TILE / 2), at = i % (TILE / 2), gate_at = at / 8 * 16 + at % 8, n_chunks = ceil_chunks(j.half), index = tile * (TILE / 2) + at;
            const float gate = total_at<N, SPLIT, PLANES>(sums, row, gate_at), up = total_at<N, SPLIT, PLANES>(sums, row, gate_at + 8);
            const float act = index < j.half ? act_of(scales[row], gate, up) : 0;
            if (row0 + row < j.n_rows) element_put(operand_core(j.act, n_chunks, row0 + row, index / 8), index % 8, act, j.bf16);
        }
    } else if (ROPE && warp < MULTIPLIERS) {
        for (int row = row_own; row < row_end; row += STEP) {
            const float sum = total_at<N, SPLIT, PLANES>(sums, row, out), other = total_at<N, SPLIT, PLANES>(sums, row, out + qkv.apart);
            qkv_put(j, qkv, rows[row], row0 + row, sum, other, scales[row].sum, turn);
            turn = turn_at(j, qkv, row0 + row + STEP);
        }
    } else if (warp < MULTIPLIERS) {
#pragma unroll 1
        for (int row = row_own; row < row_end; row += AHEAD * STEP) {
            float sum[AHEAD];
#pragma unroll
            for (int k = 0; k < AHEAD; k++) sum[k] = row + k * STEP < row_end ? total_at<N, SPLIT, PLANES>(sums, row + k * STEP, out) : 0;
#pragma unroll
            for (int k = 0; k < AHEAD; k++)
                if (row + k * STEP < row_end) sum_put(j, column, row0 + row + k * STEP, sum[k], scales[row + k * STEP].sum, residual[k]);
#pragma unroll
            for (int k = 0; k < AHEAD; k++) residual[k] = row + (AHEAD + k) * STEP < row_end ? residual_at(j, column, row0 + row + (AHEAD + k) * STEP) : 0;
        }
    }
    cluster_sync(); /* nobody leaves while its sums are read */
}

template <enum element E, int N, int SEGMENTS, int SPLIT, int STAGES, int PER_SM, bool ROPE>
static int launch_kernel(struct device *d, const struct product_job *j)
{
    static_assert(planes(SEGMENTS, SPLIT) <= 2, "a block keeps two sums at most");
    const size_t ring = (size_t)STAGES * stage_shape<E, N>::bytes, sums = (size_t)N * PITCH * sizeof(float) * planes(SEGMENTS, SPLIT);
    const int row_tiles = ceil_div(j->n_rows, N);
    return cuda_launch(d, "product", split_kernel<E, N, SEGMENTS, SPLIT, STAGES, PER_SM, ROPE>, dim3((unsigned)(row_tiles * j->n_tiles * SPLIT)), SPLIT_THREADS,
                       ring > sums ? ring : sums, SPLIT, *j, row_tiles);
}

template <enum element E, int N, int SEGMENTS, int SPLIT, int STAGES, int PER_SM> static int launch_as(struct device *d, const struct product_job *j)
{
    if (N <= FEW_ROWS && j->rope.n_rows > 0) return launch_kernel<E, N, SEGMENTS, SPLIT, STAGES, PER_SM, N <= FEW_ROWS>(d, j);
    return launch_kernel<E, N, SEGMENTS, SPLIT, STAGES, PER_SM, false>(d, j);
}

template <int N, int SPLIT, int STAGES, int PER_SM> static int launch(struct device *d, const struct product_job *j)
{
    return j->bf16 ? launch_as<BF16, N, N_SEGMENTS, SPLIT, STAGES, PER_SM>(d, j) : launch_as<FP16, N, N_SEGMENTS, SPLIT, STAGES, PER_SM>(d, j);
}

int cuda_product_split(struct device *d, const struct product_job *j, int n_columns, int n_split)
{
    /* A few blocks that read long: one to a multiprocessor, with twice the ring. */
    if (n_columns == 8 && n_split == 4 && j->n_tiles * 4 <= d->n_sms && j->n_chunks >= 128) return launch<8, 4, 12, 1>(d, j);
    if (n_columns == 8) return n_split == 4 ? launch<8, 4, 6, 2>(d, j) : launch<8, 1, 6, 2>(d, j);
    if (n_columns == 16) return n_split == 4 ? launch<16, 4, 5, 2>(d, j) : launch<16, 1, 5, 2>(d, j);
    if (n_columns == 32) return n_split == 4 ? launch<32, 4, 5, 2>(d, j) : launch<32, 1, 5, 2>(d, j);
    if (n_columns == 64) return n_split == 4 ? launch<64, 4, 4, 2>(d, j) : launch<64, 1, 4, 2>(d, j);
    return n_split == 4 ? launch<128, 4, 6, 1>(d, j) : launch<128, 2, 6, 1>(d, j);
}

template <int N, int SPLIT, int STAGES, int PER_SM> static int launch_int4(struct device *d, const struct product_job *j)
{
    return launch_as<INT4, N, SPLIT == 1 ? 1 : INT4_SEGMENTS, SPLIT, STAGES, PER_SM>(d, j);
}

int cuda_product_int4(struct device *d, const struct product_job *j)
{
    if (j->n_tiles >= INT4_WIDE) {
        if (j->n_rows <= 8) return launch_int4<8, 1, 6, 3>(d, j);
        if (j->n_rows <= 16) return launch_int4<16, 1, 6, 2>(d, j);
        return j->n_rows <= 32 ? launch_int4<32, 1, 5, 2>(d, j) : launch_int4<64, 1, 4, 2>(d, j);
    }
    /* Three to a multiprocessor only where two are too few: they are not spread evenly. */
    const bool two = j->n_tiles * INT4_SEGMENTS <= 2 * d->n_sms;
    if (j->n_rows <= 8) return two ? launch_int4<8, 8, 8, 2>(d, j) : launch_int4<8, 8, 6, 3>(d, j);
    if (j->n_rows <= 16) return launch_int4<16, 8, 6, 2>(d, j);
    if (j->n_rows <= 32) return launch_int4<32, 8, 6, 2>(d, j);
    return j->n_rows <= 64 ? launch_int4<64, 8, 4, 2>(d, j) : launch_int4<128, 4, 5, 1>(d, j);
}
