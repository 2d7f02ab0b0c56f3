/* kernels/cuda_read.cu: a plain read: what any kernel that must read as many bytes is measured against.
 *
 * Each thread keeps READ_UNROLL loads of 16 bytes in flight, a grid of whole waves strides over the bytes; what is read is folded into
 * one word that is stored only where it has a value that it practically never has, so that no load can be left out. */
#include "kernels/cuda_device.cuh"

enum { READ_THREADS = 512, READ_UNROLL = 8, READ_BLOCKS_PER_SM = 4 };

__global__ static void __launch_bounds__(READ_THREADS) read_kernel(const uint4 *p, size_t n, float *sink)
{
    const size_t stride = (size_t)gridDim.x * READ_THREADS;
    size_t i = (size_t)blockIdx.x * READ_THREADS + threadIdx.x;
    uint32_t fold = 0;
    for (; i + (READ_UNROLL - 1) * stride < n; i += READ_UNROLL * stride) {
        uint4 x[READ_UNROLL];
#pragma unroll
        for (int k = 0; k < READ_UNROLL; k++) x[k] = __ldcs(p + i + k * stride);
#pragma unroll
        for (int k = 0; k < READ_UNROLL; k++) fold ^= x[k].x ^ x[k].y ^ x[k].z ^ x[k].w;
    }
    for (; i < n; i += stride) {
        const uint4 x = __ldcs(p + i);
        fold ^= x.x ^ x.y ^ x.z ^ x.w;
    }
    if (fold == 0x9e3779b9u) *sink = 0;
}

int cuda_read(struct device *d, const void *p, size_t n_bytes)
{
    const size_t n = n_bytes / sizeof(uint4), whole = (n + READ_THREADS - 1) / READ_THREADS;
    const size_t most = (size_t)(d->n_sms * READ_BLOCKS_PER_SM);
    if (n == 0) return 0;
    TRY(cuda_work_holds(d, sizeof(float), "read"), "read");
    read_kernel<<<(unsigned)(whole < most ? whole : most), READ_THREADS, 0, d->stream>>>((const uint4 *)p, n, d->work);
    LAUNCHED("read");
    return 0;
}
