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
    constexpr uint32_t ROW_BYTES = N / 8 * GROUP_BYTES, STAGE_BYTES = TILE_BYTES + ROW_BYTES;
    struct ring_place p = { 0, 1 }; /* an empty stage needs no waiting for */
    for (int unit = blockIdx.x; unit < n_units; unit += gridDim.x) {
        const int row0 = unit % row_tiles * N;
        const char *w = j.w + (size_t)(unit / row_tiles) * (size_t)j.n_chunks * TILE_BYTES;
        const char *x = j.x + (size_t)(row0 / TILE) * operand_block_bytes(j.n_chunks) + (size_t)(row0 % TILE / 8 * GROUP_BYTES);
        for (int k = 0; k < j.n_chunks; k++) {
            const uint32_t to = base + p.stage * STAGE_BYTES, barrier = full + p.stage * 8;
            barrier_wait(empty + p.stage * 8, p.parity);
            barrier_expect(barrier, STAGE_BYTES);
            bulk_copy(to, w + (size_t)k * TILE_BYTES, TILE_BYTES, barrier);
            bulk_copy(to + TILE_BYTES, x + (size_t)k * TILE_BYTES, ROW_BYTES, barrier);
            ring_next<STAGES>(p);
        }
    }
}

/* This thread's sums: rows 8 i + 2 t + (0, 1) of outputs g and g + 8 of its warp's 16. */
template <int N> __device__ static void put_tile(const struct product_job &j, int tile, int row0, const float (&total)[N / 2])
{
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, row = row0 + threadIdx.x % 4 * 2, out = tile * TILE + warp * 16 + g;
#pragma unroll
    for (int i = 0; i < N / 2; i += 16) {
        struct place p[16];
#pragma unroll
        for (int k = 0; k < 16; k++) p[k] = place_of(j, row + (i + k) / 4 * 8 + k % 2, out + k / 2 % 2 * 8);
#pragma unroll
        for (int k = 0; k < 16; k++) place_put(p[k], total[i + k]);
    }
}

template <int N>
__device__ static void put_tile_act(const struct product_job &j, int tile, int row0, const struct act_row *rows, const float (&total)[N / 2])
{
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, row = threadIdx.x % 4 * 2, at = tile * (TILE / 2) + warp * 8 + g;
#pragma unroll
    for (int i = 0; i < N / 2; i += 4)
#pragma unroll
        for (int k = 0; k < 2; k++) act_put(j, rows[i * 2 + row + k], row0 + i * 2 + row + k, at, total[i + k], total[i + k + 2]);
}

template <bool BF16, int N, int STAGES> __global__ static void __launch_bounds__(MANY_THREADS, 1) many_kernel(const __grid_constant__ struct product_job j, int row_tiles, int n_units)
{
    extern __shared__ __align__(1024) char ring[];
    __shared__ uint64_t barriers[2 * STAGES];
    __shared__ struct act_row rows[N];
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
        if (j.act && threadIdx.x < N) rows[threadIdx.x] = act_row_of(j, row0 + (int)threadIdx.x, tile == 0);
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
        if (!j.act) {
            put_tile<N>(j, tile, row0, total);
            continue;
        }
        multipliers_sync(); /* rows are there */
        put_tile_act<N>(j, tile, row0, rows, total);
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
    return n_columns == 64 ? launch<64, 8>(d, j) : launch<128, 6>(d, j);
}
