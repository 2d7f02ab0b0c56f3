/* kernels/cuda_product_many.cu: products of many rows, as fast as the tensor cores go.
 *
 * A block of threads takes one tile of 128 outputs x N rows after the other, through all segments of k; one thread fills the ring with
 * bulk copies, also for the next tile while the one before is written. */
#include "kernels/cuda_product.cuh"

static constexpr int MULTIPLIERS = 8, MANY_THREADS = (MULTIPLIERS + 1) * 32;

__device__ static inline void multipliers_sync()
{
    asm volatile("bar.sync 1, %0;" ::"n"(MULTIPLIERS * 32) : "memory");
}

/* Fills the ring for all tiles of this block. */
template <int N, int STAGES> __device__ static void bring(const struct product_job &j, int row_tiles, int n_units, uint32_t base, uint32_t full, uint32_t empty)
{
    constexpr uint32_t STAGE_BYTES = TILE_BYTES + N / 8 * GROUP_BYTES;
    const size_t block_bytes = operand_block_bytes(j.n_chunks);
    struct ring_place p = { 0, 1 }; /* an empty stage needs no waiting for */
    for (int unit = blockIdx.x; unit < n_units; unit += gridDim.x) {
        const int row0 = unit % row_tiles * N;
        const char *w = j.w + (size_t)(unit / row_tiles) * (size_t)j.n_chunks * TILE_BYTES;
        /* The rows are in one block of the operand, or go on in the next, if there is one. */
        const int n_here = min(N, TILE - row0 % TILE), n_next = row0 + n_here < j.n_rows ? N - n_here : 0;
        const uint32_t here_bytes = (uint32_t)n_here / 8 * GROUP_BYTES, next_bytes = (uint32_t)n_next / 8 * GROUP_BYTES;
        const char *x = j.x + (size_t)(row0 / TILE) * block_bytes, *next = x + block_bytes;
        x += row0 % TILE / 8 * GROUP_BYTES;
        for (int k = 0; k < j.n_chunks; k++) {
            const uint32_t to = base + p.stage * STAGE_BYTES, barrier = full + p.stage * 8;
            barrier_wait(empty + p.stage * 8, p.parity);
            barrier_expect(barrier, TILE_BYTES + here_bytes + next_bytes);
            bulk_copy(to, w + (size_t)k * TILE_BYTES, TILE_BYTES, barrier);
            bulk_copy(to + TILE_BYTES, x + (size_t)k * TILE_BYTES, here_bytes, barrier);
            if (next_bytes > 0) bulk_copy(to + TILE_BYTES + here_bytes, next + (size_t)k * TILE_BYTES, next_bytes, barrier);
            ring_next<STAGES>(p);
        }
    }
}

/* This thread's sums: rows 8 i + 2 t + (0, 1) of outputs g and g + 8 of its warp's 16.  Neither way of putting them has a branch for each: that
 * would leave a multiprocessor's few warps to wait for one result after the other. */
template <int N> __device__ static void put_tile(const struct product_job &j, int tile, int row0, const struct row_scale *scales, const float (&total)[N / 2])
{
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, row = row0 + threadIdx.x % 4 * 2, out = tile * TILE + warp * 16 + g;
    const struct column columns[2] = { column_of(j, out), column_of(j, out + 8) };
#pragma unroll
    for (int i = 0; i < N / 2; i += 16) {
        float residual[16] = {};
        if (j.residual) {
#pragma unroll
            for (int k = 0; k < 16; k++) residual[k] = residual_at(j, columns[k / 2 % 2], row + (i + k) / 4 * 8 + k % 2);
        }
#pragma unroll
        for (int k = 0; k < 16; k++) {
            const int r = row + (i + k) / 4 * 8 + k % 2;
            sum_put(j, columns[k / 2 % 2], r, total[i + k], scales[r - row0].sum, residual[k]);
        }
    }
}

__device__ static inline uint32_t transposed(uint32_t x)
{
    uint32_t y;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
    return y;
}

/* A warp's activations of 8 rows are a core, in which two rows' become neighbours along k. */
template <int N>
__device__ static void put_tile_act(const struct product_job &j, int tile, int row0, const struct row_scale *scales, const float (&total)[N / 2])
{
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, row = lane % 4 * 2, core = tile * (TILE / 16) + warp, n_chunks = ceil_chunks(j.half);
    const bool inside = core * 8 + lane / 4 < j.half;
    const int n_rows = j.n_rows - row0 - lane / 4, n_here = TILE - row0 % TILE; /* of the operand's block */
    const size_t skip = operand_block_bytes(n_chunks) - TILE / 8 * GROUP_BYTES;
    char *to = (char *)operand_core(j.act, n_chunks, row0, core) + lane * 4;
#pragma unroll
    for (int i = 0; i < N / 8; i++) {
        uint32_t pair;
#pragma unroll
        for (int k = 0; k < 2; k++) element_put(&pair, k, act_of(scales[i * 8 + row + k], total[4 * i + k], total[4 * i + k + 2]), j.bf16);
        pair = transposed(inside ? pair : 0);
        if (i * 8 < n_rows) *(uint32_t *)(to + i * GROUP_BYTES + (i * 8 < n_here ? 0 : skip)) = pair;
    }
}

template <bool BF16, int N, int STAGES> __global__ static void __launch_bounds__(MANY_THREADS, 1) many_kernel(const __grid_constant__ struct product_job j, int row_tiles, int n_units)
{
    extern __shared__ __align__(1024) char ring[];
    __shared__ uint64_t barriers[2 * STAGES];
    __shared__ struct row_scale scales[N];
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const uint32_t base = shared_address(ring), full = shared_address(barriers), empty = full + STAGES * 8;
    if (threadIdx.x == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_open(full + i * 8, 1);
            barrier_open(empty + i * 8, MULTIPLIERS);
        }
        barriers_ready();
    }
    __syncthreads();
    dependents_launch();
    dependency_wait();
    if (warp == MULTIPLIERS) {
        if (lane == 0) bring<N, STAGES>(j, row_tiles, n_units, base, full, empty);
        return;
    }
    float total[N / 2], c[N / 2];
    struct ring_place p = { 0, 0 };
    int used = -1;
    for (int unit = blockIdx.x; unit < n_units; unit += gridDim.x) {
        const int tile = unit / row_tiles, row0 = unit % row_tiles * N;
        if (threadIdx.x < N) scales[threadIdx.x] = row_scale_of(j, row0 + (int)threadIdx.x, tile == 0);
#pragma unroll
        for (int i = 0; i < N / 2; i++) total[i] = 0;
#pragma unroll 1
        for (int s = 0; s < N_SEGMENTS; s++) {
            segment_sum<BF16, N, STAGES>(c, segment_at(s + 1, j.n_chunks) - segment_at(s, j.n_chunks), warp / 4, base, full, empty, p, &used);
#pragma unroll
            for (int i = 0; i < N / 2; i++) total[i] += c[i];
        }
        if (lane == 0) barrier_arrive(empty + used * 8);
        used = -1;
        multipliers_sync(); /* the scales are there */
        if (j.act) put_tile_act<N>(j, tile, row0, scales, total);
        else put_tile<N>(j, tile, row0, scales, total);
        multipliers_sync(); /* and have been read */
    }
}

template <int N, int STAGES> static int launch(struct device *d, const struct product_job *j)
{
    const int row_tiles = ceil_div(j->n_rows, N), n_units = row_tiles * j->n_tiles;
    return cuda_launch(d, "product", j->bf16 ? many_kernel<true, N, STAGES> : many_kernel<false, N, STAGES>, dim3((unsigned)(n_units < d->n_sms ? n_units : d->n_sms)), MANY_THREADS,
                       (size_t)STAGES * (TILE_BYTES + N / 8 * GROUP_BYTES), 1, *j, row_tiles, n_units);
}

int cuda_product_many(struct device *d, const struct product_job *j, int n_columns)
{
    return n_columns == 64 ? launch<64, 8>(d, j) : n_columns == 96 ? launch<96, 7>(d, j) : launch<128, 6>(d, j);
}
