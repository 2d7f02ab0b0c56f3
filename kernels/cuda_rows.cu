/* kernels/cuda_rows.cu: operations on rows alone. */
#include "kernels/cuda_device.cuh"

__global__ static void norm_kernel(struct norm_args a)
{
    __shared__ double shared[32];
    const float *x = a.x + (size_t)blockIdx.x * (size_t)a.n;
    float *out = a.out + (size_t)blockIdx.x * (size_t)a.n;
    double sum = 0;
    for (int i = threadIdx.x; i < a.n; i += blockDim.x) sum += (double)x[i] * (double)x[i];
    const float scale = (float)(1 / sqrt(block_sum(sum, shared) / a.n + a.eps));
    for (int i = threadIdx.x; i < a.n; i += blockDim.x) out[i] = x[i] * scale * a.weight[i];
}

extern "C" int cuda_norm(struct device *d, const struct norm_args *a)
{
    norm_kernel<<<a->n_rows, 512, 0, d->stream>>>(*a);
    LAUNCHED("norm");
    return 0;
}

__global__ static void swiglu_kernel(struct swiglu_args a)
{
    const float *gate = a.gate_up + 2 * (size_t)a.n * (size_t)blockIdx.y, *up = gate + a.n;
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < a.n) a.out[(size_t)a.n * (size_t)blockIdx.y + i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

extern "C" int cuda_swiglu(struct device *d, const struct swiglu_args *a)
{
    swiglu_kernel<<<dim3((unsigned)ceil_div(a->n, 256), (unsigned)a->n_rows), 256, 0, d->stream>>>(*a);
    LAUNCHED("swiglu");
    return 0;
}

__global__ static void angles_kernel(struct angles_args a)
{
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
    angles_kernel<<<a->n_rows, 64, 0, d->stream>>>(*a);
    LAUNCHED("angles");
    return 0;
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

__global__ static void tally_kernel(struct tally_args a, const int32_t *tokens)
{
    for (int row = threadIdx.x; row < a.n_rows; row += blockDim.x) {
        int64_t n = a.layer == 0 ? 0 : a.total[row];
        for (int h = 0; h < a.n_kv_heads; h++) n += tokens[row * a.n_kv_heads + h];
        a.total[row] = n;
    }
}

extern "C" int cuda_tally(struct device *d, const struct tally_args *a)
{
    tally_kernel<<<1, 64, 0, d->stream>>>(*a, a->lists->tokens);
    LAUNCHED("tally");
    return 0;
}
