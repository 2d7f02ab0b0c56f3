/* kernels/cuda_product_many.cuh: the kernel of products of many rows, as fast as the tensor cores go; of what elements, its two .cu say.
 *
 * A block of threads takes one tile of 64 GROUPS outputs x N rows after the other, through all segments of k.  One thread fills the ring with
 * bulk copies of weights, before the kernel before has ended, one with the rows: for both together a single thread is too slow.  They go on
 * with the next tile while the one before is written.  Each warp group has 64 of the outputs and waits for no other. */
#ifndef KERNELS_CUDA_PRODUCT_MANY_CUH
#define KERNELS_CUDA_PRODUCT_MANY_CUH

#include "kernels/cuda_product_int4.cuh"
#include "kernels/cuda_wgmma.cuh"

/* A stage of the ring: half tiles of weights, GROUPS of them (int4: their words, then their scales), then rows. */
template <enum element E, int GROUPS, int N, int STAGES, int SEGMENTS> struct many_shape {
    static constexpr enum element element = E;
    static constexpr int groups = GROUPS, n = N, stages = STAGES, segments = SEGMENTS;
    static constexpr int multipliers = 4 * GROUPS, chunks = E == INT4 ? INT4_CHUNKS : 1;
    static constexpr bool shares = E == INT4 || GROUPS > 2; /* the copying warps give registers away, for which they must be four */
    static constexpr int threads = (multipliers + (shares ? 4 : 2)) * 32, copy_registers = 56, registers = GROUPS == 3 ? 152 : 224;
    static constexpr uint32_t half_bytes = E == INT4 ? TILE * INT4_GROUP / 4 : TILE_BYTES / 2, scale_bytes = E == INT4 ? TILE : 0;
    static constexpr uint32_t tile_bytes = 2 * (half_bytes + scale_bytes), weight_bytes = GROUPS * (half_bytes + scale_bytes);
    static constexpr uint32_t row_bytes = N / 8 * GROUP_BYTES, bytes = weight_bytes + chunks * row_bytes;
};

/* What the copying threads and the multiplying warps share. */
struct many_ring {
    uint32_t base, full, empty;
    int row_tiles, n_units, n_stages; /* n_stages: of a tile */
};

/* Rows of a tile that are in one block of the operand, and, if there is one, in the next. */
struct many_rows {
    int row0, n_here, n_next;
};

template <class S> __device__ static inline struct many_rows many_rows_of(const struct product_job &j, const struct many_ring &r, int unit)
{
    struct many_rows rows;
    rows.row0 = unit % r.row_tiles * S::n;
    rows.n_here = min(S::n, TILE - rows.row0 % TILE);
    rows.n_next = rows.row0 + rows.n_here < j.n_rows ? S::n - rows.n_here : 0;
    return rows;
}

/* Weights of all tiles of this block; what a barrier is told to expect counts the rows as well. */
template <class S> __device__ static void bring_weights(const struct product_job &j, const struct many_ring &r)
{
    struct ring_place p = { 0, 1 }; /* an empty stage needs no waiting for */
    for (int unit = blockIdx.x; unit < r.n_units; unit += gridDim.x) {
        const struct many_rows rows = many_rows_of<S>(j, r, unit);
        const int half0 = unit / r.row_tiles * S::groups, n_halves = min(S::groups, 2 * j.n_tiles - half0);
        const uint32_t chunk_bytes = (uint32_t)(rows.n_here + rows.n_next) / 8 * GROUP_BYTES, weight_bytes = (uint32_t)n_halves * (S::half_bytes + S::scale_bytes);
        const char *w = j.w + (size_t)(half0 / 2) * (size_t)r.n_stages * S::tile_bytes;
        for (int k = 0; k < r.n_stages; k++, w += S::tile_bytes) {
            const uint32_t to = r.base + p.stage * S::bytes, barrier = r.full + p.stage * 8;
            barrier_wait(r.empty + p.stage * 8, p.parity);
            barrier_expect(barrier, weight_bytes + (uint32_t)min(S::chunks, j.n_chunks - k * S::chunks) * chunk_bytes);
            if constexpr (S::groups == 2) {
                bulk_copy(to, w, S::tile_bytes, barrier);
            } else {
#pragma unroll
                for (int i = 0; i < S::groups; i++) {
                    const int half = half0 % 2 + i;
                    const char *tile = half < 2 ? w : w + (size_t)r.n_stages * S::tile_bytes;
                    if (i >= n_halves) break;
                    bulk_copy(to + i * S::half_bytes, tile + half % 2 * S::half_bytes, S::half_bytes, barrier);
                    if (S::scale_bytes > 0)
                        bulk_copy(to + S::groups * S::half_bytes + i * S::scale_bytes, tile + 2 * S::half_bytes + half % 2 * S::scale_bytes, S::scale_bytes, barrier);
                }
            }
            ring_next<S::stages>(p);
        }
    }
}

template <class S> __device__ static void bring_rows(const struct product_job &j, const struct many_ring &r)
{
    struct ring_place p = { 0, 1 };
    for (int unit = blockIdx.x; unit < r.n_units; unit += gridDim.x) {
        const struct many_rows rows = many_rows_of<S>(j, r, unit);
        const uint32_t here_bytes = (uint32_t)rows.n_here / 8 * GROUP_BYTES, next_bytes = (uint32_t)rows.n_next / 8 * GROUP_BYTES;
        const char *x = j.x + (size_t)(rows.row0 / TILE) * operand_block_bytes(j.n_chunks), *next = x + operand_block_bytes(j.n_chunks);
        x += rows.row0 % TILE / 8 * GROUP_BYTES;
        for (int k = 0; k < r.n_stages; k++) {
            const uint32_t barrier = r.full + p.stage * 8;
            barrier_wait(r.empty + p.stage * 8, p.parity);
#pragma unroll
            for (int i = 0; i < S::chunks; i++, x += TILE_BYTES, next += TILE_BYTES) {
                const uint32_t to = r.base + p.stage * S::bytes + S::weight_bytes + i * S::row_bytes;
                if (i > 0 && k * S::chunks + i >= j.n_chunks) break;
                bulk_copy(to, x, here_bytes, barrier);
                if (next_bytes > 0) bulk_copy(to + here_bytes, next, next_bytes, barrier);
            }
            ring_next<S::stages>(p);
        }
    }
}

/* ---- what becomes of a tile ---- */
/* This thread's sums: rows 8 i + 2 t + (0, 1) of outputs g and g + 8 of its warp's 16, from out0 on.  Neither way of putting them has a branch
 * for each: that would leave a multiprocessor's few warps to wait for one result after the other. */
template <int N> __device__ static void put_tile(const struct product_job &j, int out0, int row0, const struct row_scale *scales, const float (&total)[N / 2])
{
    const int lane = threadIdx.x % 32, row = row0 + lane % 4 * 2, out = out0 + lane / 4;
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
__device__ static void put_tile_act(const struct product_job &j, int out0, int row0, const struct row_scale *scales, const float (&total)[N / 2])
{
    const int lane = threadIdx.x % 32, row = lane % 4 * 2, core = out0 / 16, n_chunks = ceil_chunks(j.half);
    if (core >= n_chunks * 8) return; /* past the last tile of weights */
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

/* ---- multiplying ---- */
template <class S> __device__ static inline void multiply(const struct product_job &j, const struct many_ring &r, int warp, struct row_scale *scales)
{
    constexpr int N = S::n;
    const int group = warp / 4;
    float total[N / 2], c[N / 2];
    struct ring_place p = { 0, 0 };
    for (int unit = blockIdx.x; unit < r.n_units; unit += gridDim.x) {
        const int tile = unit / r.row_tiles, row0 = unit % r.row_tiles * N, out0 = tile * S::groups * (TILE / 2) + warp * 16;
        for (int i = threadIdx.x % 128; i < N; i += 128) scales[i] = row_scale_of(j, row0 + i, tile == 0 && group == 0);
#pragma unroll
        for (int i = 0; i < N / 2; i++) total[i] = 0;
#pragma unroll 1
        for (int s = 0; s < S::segments; s++) {
            const int from = segment_at(s, r.n_stages, S::segments), end = segment_at(s + 1, r.n_stages, S::segments);
            int used = -1;
            if constexpr (S::element == INT4) int4_segment_sum<N, S::stages, S::groups>(c, from, end, j.n_chunks, warp, r.base, r.full, r.empty, p, &used);
            else segment_sum<S::element == BF16, N, S::stages, S::groups>(c, end - from, group, r.base, r.full, r.empty, p, &used);
            stage_release<S::element == INT4>(r.empty, used);
#pragma unroll
            for (int i = 0; i < N / 2; i++) total[i] += c[i];
        }
        named_sync(1 + group, 128); /* the scales are there */
        if (j.act) put_tile_act<N>(j, out0, row0, scales, total);
        else put_tile<N>(j, out0, row0, scales, total);
        named_sync(1 + group, 128); /* and have been read */
    }
}

template <class S> __global__ static void __launch_bounds__(S::threads, 1) many_kernel(const __grid_constant__ struct product_job j, int row_tiles, int n_units)
{
    extern __shared__ __align__(1024) char ring[];
    __shared__ uint64_t barriers[2 * S::stages];
    __shared__ struct row_scale scales[S::groups][S::n];
    const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), lane = threadIdx.x % 32;
    const uint32_t full = shared_address(barriers), empty = shared_address(barriers + S::stages);
    const struct many_ring r = { shared_address(ring), full, empty, row_tiles, n_units, (j.n_chunks + S::chunks - 1) / S::chunks };
    if (threadIdx.x == 0) {
        for (int i = 0; i < S::stages; i++) {
            barrier_open(&barriers[i], 1);
            barrier_open(&barriers[S::stages + i], stage_readers(S::element, S::multipliers));
        }
        barriers_ready();
    }
    __syncthreads();
    dependents_launch();
    if (warp >= S::multipliers) {
        if constexpr (S::shares) registers_give<S::copy_registers>();
        if (warp == S::multipliers && lane == 0) bring_weights<S>(j, r);
        dependency_wait();
        if (warp == S::multipliers + 1 && lane == 0) bring_rows<S>(j, r);
    } else {
        if constexpr (S::shares) registers_take<S::registers>();
        dependency_wait();
        multiply<S>(j, r, warp, scales[warp / 4]);
    }
}

template <class S> static int many_launch(struct device *d, const struct product_job *j)
{
    const int row_tiles = ceil_div(j->n_rows, S::n), n_units = row_tiles * ceil_div(2 * j->n_tiles, S::groups);
    return cuda_launch(d, "product", many_kernel<S>, dim3((unsigned)(n_units < d->n_sms ? n_units : d->n_sms)), S::threads, (size_t)S::stages * S::bytes, 1, *j, row_tiles,
                       n_units);
}

#endif
