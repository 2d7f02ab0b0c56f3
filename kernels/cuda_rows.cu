/* kernels/cuda_rows.cu: operations on rows alone. */
#include "kernels/cuda_matrix.cuh"

static constexpr int ROW_THREADS = 512;

/* Of a row: the sum of its squares, and the greatest |y| and the sum of squares of what it becomes before it is scaled. */
struct extent {
    double squares;
    float most, size;
};

__device__ static struct extent warp_extent(struct extent e)
{
    for (int o = 16; o > 0; o /= 2) {
        e.squares += __shfl_xor_sync(0xffffffffu, e.squares, o);
        e.most = fmaxf(e.most, __shfl_xor_sync(0xffffffffu, e.most, o));
        e.size += __shfl_xor_sync(0xffffffffu, e.size, o);
    }
    return e;
}

/* Over the block's threads, for each of them. */
__device__ static struct extent block_extent(struct extent e)
{
    __shared__ struct extent shared[ROW_THREADS / 32];
    const int lane = threadIdx.x % 32;
    e = warp_extent(e);
    if (lane == 0) shared[threadIdx.x / 32] = e;
    __syncthreads();
    const struct extent none = { 0, 0, 0 };
    return warp_extent(lane < ROW_THREADS / 32 ? shared[lane] : none);
}

/* 8 values of a row of n, zeros past its end. */
__device__ static void row_load(const float *row, int n, int core, float x[8])
{
    if (n % 8 == 0) {
        *(float4 *)x = ((const float4 *)row)[2 * core];
        *(float4 *)(x + 4) = ((const float4 *)row)[2 * core + 1];
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) x[i] = core * 8 + i < n ? row[core * 8 + i] : 0;
}

__device__ static void row_store(float *row, int n, int core, const float x[8])
{
    if (n % 8 == 0) {
        ((float4 *)row)[2 * core] = *(const float4 *)x;
        ((float4 *)row)[2 * core + 1] = *(const float4 *)(x + 4);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (core * 8 + i < n) row[core * 8 + i] = x[i];
}

/* What one thread of a row writes besides its values. */
__device__ static void operand_close(void *operand, int n_chunks, int r, int exponent, float size)
{
    *operand_scale(operand, n_chunks, r) = ldexpf(1.0f, exponent);
    *operand_size(operand, n_chunks, r) = size * 1.01f; /* also of its rounded values */
}

/* One block of threads for each row, which is in their registers, PER cores in each. */
template <int PER> __global__ static void __launch_bounds__(ROW_THREADS) norm_kernel(const struct norm_args a, bool bf16)
{
    const int r = blockIdx.x, n_cores = (a.n + 7) / 8, n_chunks = (a.n + CHUNK - 1) / CHUNK;
    float x[PER][8], weight[PER][8];
    dependents_launch();
#pragma unroll
    for (int i = 0; i < PER; i++) {
        const int core = i * ROW_THREADS + threadIdx.x;
        for (int k = 0; k < 8; k++) x[i][k] = weight[i][k] = 0;
        if (core < n_cores) row_load(a.weight, a.n, core, weight[i]);
    }
    dependency_wait();
    struct extent e = { 0, 0, 0 };
#pragma unroll
    for (int i = 0; i < PER; i++) {
        const int core = i * ROW_THREADS + threadIdx.x;
        if (core < n_cores) row_load(a.x + (size_t)r * (size_t)a.n, a.n, core, x[i]);
        double even = 0, odd = 0;
#pragma unroll
        for (int k = 0; k < 8; k += 2) {
            even += (double)x[i][k] * (double)x[i][k];
            odd += (double)x[i][k + 1] * (double)x[i][k + 1];
        }
        e.squares += even + odd;
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const float y = x[i][k] * weight[i][k];
            e.most = fmaxf(e.most, fabsf(y));
            e.size += y * y;
        }
    }
    e = block_extent(e);
    const float scale = (float)(1 / sqrt(e.squares / a.n + a.eps));
    const int exponent = scale_exponent(e.most * scale, bf16);
    const float inverse = ldexpf(1.0f, -exponent);
#pragma unroll
    for (int i = 0; i < PER; i++) {
        const int core = i * ROW_THREADS + threadIdx.x;
#pragma unroll
        for (int k = 0; k < 8; k++) x[i][k] = x[i][k] * scale * weight[i][k];
        if (a.out && core < n_cores) row_store(a.out + (size_t)r * (size_t)a.n, a.n, core, x[i]);
#pragma unroll
        for (int k = 0; k < 8; k++) x[i][k] *= inverse;
        if (a.operand && core < n_chunks * 8) *operand_core(a.operand, n_chunks, r, core) = elements_of(x[i], bf16);
    }
    if (a.operand && threadIdx.x == 0) operand_close(a.operand, n_chunks, r, exponent, sqrtf(e.size) * scale);
}

extern "C" int cuda_norm(struct device *d, const struct norm_args *a)
{
    const int per = ceil_div(ceil_div(a->n, CHUNK) * 8, ROW_THREADS);
    const dim3 grid((unsigned)a->n_rows);
    if (a->n > MAX_NORM) return fail("norm: rows of %d, at most %d", a->n, MAX_NORM);
    if (per <= 1) return cuda_launch(d, "norm", norm_kernel<1>, grid, ROW_THREADS, 0, 1, *a, d->bf16);
    if (per <= 2) return cuda_launch(d, "norm", norm_kernel<2>, grid, ROW_THREADS, 0, 1, *a, d->bf16);
    return cuda_launch(d, "norm", norm_kernel<8>, grid, ROW_THREADS, 0, 1, *a, d->bf16);
}

/* Float32 rows of any width.  One block of threads for each row. */
__global__ static void __launch_bounds__(ROW_THREADS) operand_kernel(const float *x, int n, void *operand, bool scaled, bool bf16)
{
    const int r = blockIdx.x, n_chunks = (n + CHUNK - 1) / CHUNK;
    const float *row = x + (size_t)r * (size_t)n;
    struct extent e = { 0, 0, 0 };
    dependents_launch();
    dependency_wait();
    for (int i = threadIdx.x; i < n && scaled; i += ROW_THREADS) {
        e.most = fmaxf(e.most, fabsf(row[i]));
        e.size += row[i] * row[i];
    }
    if (scaled) e = block_extent(e);
    const int exponent = scaled ? scale_exponent(e.most, bf16) : 0;
    const float inverse = ldexpf(1.0f, -exponent);
    for (int core = threadIdx.x; core < n_chunks * 8; core += ROW_THREADS) {
        float v[8] = {};
        if (core * 8 < n) row_load(row, n, core, v);
#pragma unroll
        for (int k = 0; k < 8; k++) v[k] *= inverse;
        *operand_core(operand, n_chunks, r, core) = elements_of(v, bf16);
    }
    if (threadIdx.x == 0) operand_close(operand, n_chunks, r, exponent, scaled ? sqrtf(e.size) : INFINITY);
}

int cuda_operand_of(struct device *d, int n_rows, int n, const float *x, void *operand, bool scaled)
{
    return cuda_launch(d, "rows", operand_kernel, dim3((unsigned)n_rows), ROW_THREADS, 0, 1, x, n, operand, scaled, d->bf16);
}

__global__ static void angles_kernel(const struct angles_args a)
{
    dependency_wait();
    const size_t at = (size_t)blockIdx.x * (size_t)a.n_pairs;
    for (int i = threadIdx.x; i < a.n_pairs; i += blockDim.x) {
        double sine, cosine;
        sincos(a.rows[blockIdx.x].position * a.frequency[i], &sine, &cosine);
        a.sine[at + i] = (float)(sine * a.attention_factor);
        a.cosine[at + i] = (float)(cosine * a.attention_factor);
    }
}

extern "C" int cuda_angles(struct device *d, const struct angles_args *a)
{
    return cuda_launch(d, "angles", angles_kernel, dim3((unsigned)a->n_rows), 64, 0, 1, *a);
}

/* One thread for each element of k and v, which it takes through all rows. */
__global__ static void spread_kernel(struct spread_args a)
{
    const int n = a.n_kv_heads * a.head_dim, e = blockIdx.x * blockDim.x + threadIdx.x;
    if (e >= 2 * n) return;
    const size_t q = (size_t)a.n_heads * (size_t)a.head_dim, stride = q + 2 * (size_t)n;
    double mean = a.state[2 * (size_t)e], m2 = a.state[2 * (size_t)e + 1];
    for (int r = 0; r < a.n_rows; r++) {
        const int count = a.rows[r].position;
        if (count == 0) continue;
        if (count == 1) mean = m2 = 0;
        const double x = e < n ? a.k_plain[(size_t)r * (size_t)n + e] : a.qkv[(size_t)r * stride + q + e], delta = x - mean;
        mean += delta * (1.0 / count);
        m2 += delta * (x - mean);
    }
    a.state[2 * (size_t)e] = mean;
    a.state[2 * (size_t)e + 1] = m2;
}

extern "C" int cuda_spread(struct device *d, const struct spread_args *a)
{
    spread_kernel<<<ceil_div(2 * a->n_kv_heads * a->head_dim, 64), 64, 0, d->stream>>>(*a);
    LAUNCHED("spread");
    return 0;
}
