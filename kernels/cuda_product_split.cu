/* kernels/cuda_product_split.cu: products of few rows, as fast as the weights come.
 *
 * A block of threads has 128 outputs of N rows; a cluster of SPLIT blocks shares the segments of k, so that there are enough of them to
 * keep every multiprocessor reading.  One warp fills the ring with bulk copies, eight multiply; weights are on their way before the kernel
 * before has ended. */
#include "kernels/cuda_product.cuh"

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

/* The first block of two has the sum of its segments in order, the second its two one by one. */
template <int N, int SPLIT> __device__ static inline float total_at(uint32_t sums, int row, int out)
{
    const uint32_t at = sums + (uint32_t)(row * PITCH + out) * 4;
    float sum = cluster_load(at, 0);
    if (SPLIT == 2) {
        sum += cluster_load(at, 1);
        sum += cluster_load(at + N * PITCH * 4, 1);
    } else {
#pragma unroll
        for (int r = 1; r < SPLIT; r++) sum += cluster_load(at, r);
    }
    return sum;
}

/* Grid: (tiles of outputs x tiles of rows) x SPLIT. */
template <bool BF16, int N, int SPLIT, int STAGES, int PER_SM>
__global__ static void __launch_bounds__(SPLIT_THREADS, PER_SM) split_kernel(const __grid_constant__ struct product_job j, int row_tiles)
{
    constexpr uint32_t ROW_BYTES = N / 8 * GROUP_BYTES, STAGE_BYTES = TILE_BYTES + ROW_BYTES;
    constexpr int OWN = N_SEGMENTS / SPLIT;
    extern __shared__ __align__(1024) char ring[];
    __shared__ uint64_t barriers[2 * STAGES];
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const int rank = (int)cluster_rank(), unit = blockIdx.x / SPLIT, tile = unit / row_tiles, row0 = unit % row_tiles * N;
    const int from = segment_at(rank * OWN, j.n_chunks), n = segment_at((rank + 1) * OWN, j.n_chunks) - from;
    const uint32_t base = shared_address(ring), full = shared_address(barriers), empty = full + STAGES * 8;
    const char *w = j.w + ((size_t)tile * (size_t)j.n_chunks + (size_t)from) * TILE_BYTES;
    const char *x = j.x + (size_t)(row0 / TILE) * operand_block_bytes(j.n_chunks) + (size_t)from * TILE_BYTES + (size_t)(row0 % TILE / 8 * GROUP_BYTES);
    if (warp == MULTIPLIERS && lane == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_open(full + i * 8, 1);
            barrier_open(empty + i * 8, MULTIPLIERS);
        }
        barriers_ready();
        for (int i = 0; i < STAGES && i < n; i++) {
            barrier_expect(full + i * 8, STAGE_BYTES);
            bulk_copy(base + i * STAGE_BYTES, w + (size_t)i * TILE_BYTES, TILE_BYTES, full + i * 8);
        }
    }
    __syncthreads();
    dependents_launch();
    dependency_wait();
    float total[N / 2], c[N / 2];
    if (warp == MULTIPLIERS) {
        struct ring_place p = { 0, 0 };
        if (lane == 0) {
            for (int i = 0; i < STAGES && i < n; i++)
                bulk_copy(base + i * STAGE_BYTES + TILE_BYTES, x + (size_t)i * TILE_BYTES, ROW_BYTES, full + i * 8);
            for (int i = STAGES; i < n; i++) {
                const uint32_t to = base + p.stage * STAGE_BYTES, barrier = full + p.stage * 8;
                barrier_wait(empty + p.stage * 8, p.parity);
                barrier_expect(barrier, STAGE_BYTES);
                bulk_copy(to, w + (size_t)i * TILE_BYTES, TILE_BYTES, barrier);
                bulk_copy(to + TILE_BYTES, x + (size_t)i * TILE_BYTES, ROW_BYTES, barrier);
                ring_next<STAGES>(p);
            }
        }
        __syncwarp();
    } else {
        struct ring_place p = { 0, 0 };
        int used = -1;
#pragma unroll
        for (int i = 0; i < N / 2; i++) total[i] = 0;
#pragma unroll 1
        for (int s = 0; s < OWN; s++) {
            const int first = segment_at(rank * OWN + s, j.n_chunks), end = segment_at(rank * OWN + s + 1, j.n_chunks);
            segment_sum<BF16, N, STAGES>(c, end - first, warp / 4, base, full, empty, p, &used);
            if (SPLIT == 2 && rank == 1 && s == 1) break; /* kept apart */
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
            if (SPLIT == 2) sums[N * PITCH + at] = c[i];
        }
    }
    cluster_sync();
    const int first = rank * MULTIPLIERS * 32 + threadIdx.x, step = SPLIT * MULTIPLIERS * 32;
    if (warp < MULTIPLIERS && j.act)
        for (int i = first; i < N * (TILE / 2); i += step) {
            const int row = i / (TILE / 2), at = i % (TILE / 2), out = at / 8 * 16 + at % 8;
            put_act(j, row0 + row, tile * (TILE / 2) + at, total_at<N, SPLIT>(base, row, out), total_at<N, SPLIT>(base, row, out + 8));
        }
    else if (warp < MULTIPLIERS)
        for (int i = first; i < N * TILE; i += step)
            if (row0 + i / TILE < j.n_rows) put(j, row0 + i / TILE, tile * TILE + i % TILE, total_at<N, SPLIT>(base, i / TILE, i % TILE));
    cluster_sync(); /* nobody leaves while its sums are read */
}

template <int N, int SPLIT, int STAGES, int PER_SM> static int launch(struct device *d, const struct product_job *j, int n_tiles)
{
    const size_t ring = (size_t)STAGES * (TILE_BYTES + N / 8 * GROUP_BYTES), sums = (size_t)N * PITCH * sizeof(float) * (SPLIT == 2 ? 2 : 1);
    const int row_tiles = ceil_div(j->n_rows, N);
    const auto kernel = j->bf16 ? split_kernel<true, N, SPLIT, STAGES, PER_SM> : split_kernel<false, N, SPLIT, STAGES, PER_SM>;
    return cuda_launch(d, "product", kernel, dim3((unsigned)(row_tiles * n_tiles * SPLIT)), SPLIT_THREADS, ring > sums ? ring : sums, SPLIT, *j,
                       row_tiles);
}

int cuda_product_split(struct device *d, const struct product_job *j, int n_tiles, int n_columns, int n_split)
{
    /* A few blocks that read long: one to a multiprocessor, with twice the ring. */
    if (n_columns == 8 && n_split == 4 && n_tiles * 4 <= d->n_sms && j->n_chunks >= 128) return launch<8, 4, 12, 1>(d, j, n_tiles);
    if (n_columns == 8) return n_split == 4 ? launch<8, 4, 6, 2>(d, j, n_tiles) : launch<8, 1, 6, 2>(d, j, n_tiles);
    if (n_columns == 16) return n_split == 4 ? launch<16, 4, 5, 2>(d, j, n_tiles) : launch<16, 1, 5, 2>(d, j, n_tiles);
    if (n_columns == 32) return n_split == 4 ? launch<32, 4, 5, 2>(d, j, n_tiles) : launch<32, 1, 5, 2>(d, j, n_tiles);
    if (n_columns == 64) return n_split == 4 ? launch<64, 4, 4, 2>(d, j, n_tiles) : launch<64, 1, 4, 2>(d, j, n_tiles);
    return n_split == 4 ? launch<128, 4, 6, 1>(d, j, n_tiles) : launch<128, 2, 6, 1>(d, j, n_tiles);
}
