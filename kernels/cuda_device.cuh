/* kernels/cuda_device.cuh: what the CUDA files share: the device, how a call fails, reductions of a block of threads, Philox.
 *
 * Sums of a block of threads are trees of a fixed shape: the same numbers give the same bits.              */
#ifndef KERNELS_CUDA_DEVICE_CUH
#define KERNELS_CUDA_DEVICE_CUH

extern "C" {
#include "core/err.h"
#include "core/mem.h"
#include "core/philox.h"
#include "kernels/cuda.h"
}

#include <cuda_fp16.h>
#include <cuda_runtime.h>

static constexpr int UPLOAD_SEGMENTS = 8, MAX_DOWNLOADS = 1024, MAX_SPLIT_ROWS = 64, MAX_KEY_SETS = 256;
static constexpr int ATTEND_CHUNK = 128; /* tokens that are read, of one partial result of attention */
static constexpr size_t UPLOAD_SEGMENT_BYTES = 4 << 20, DOWNLOAD_BYTES = 64 << 20;

/* A copy that has left the device, or will, and must still go to the host's memory. */
struct download {
    void *host;
    size_t at, n_bytes; /* in the ring */
};

struct device {
    int index, n_sms;
    bool bf16;                           /* weights and the rows of products are bf16, not fp16 */
    char name[256], bus_id[32];          /* PCI */
    void *management, *management_device; /* cuda_clock.cu's; NULL where the library is not there */
    size_t total_bytes;
    cudaStream_t stream, side;           /* side: a layer's measures, beside the products that follow its attention */
    cudaEvent_t attended, measured;      /* stream: all that attention and what it is measured by left; side: the measures of a layer */
    cudaEvent_t marks[DEVICE_MARKS];
    long marked[DEVICE_MARKS];           /* downloads begun before the mark */
    char *upload;                        /* pinned: UPLOAD_SEGMENTS segments */
    cudaEvent_t segment_free[UPLOAD_SEGMENTS];
    int segment;
    size_t segment_at;
    char *download;                      /* pinned ring of DOWNLOAD_BYTES, allocated by the first download */
    size_t download_at;
    struct download downloads[MAX_DOWNLOADS];
    long n_begun, n_landed;              /* downloads; landed: in the host's memory */
    void *operand;                       /* of a product whose rows are float32 */
    size_t operand_bytes;
    float *work;                         /* attention's partial results, and what other operations need for themselves */
    size_t work_bytes;
    int *left;                           /* [n_sms] by which blocks of threads wait for each other: all the same between launches */
    int *arrived;                        /* [MAX_LANES] what of a lane is measured: zeros between launches */
    void *chunk_plans;                   /* two of attention of many rows: one is made while the one before is still read */
    size_t chunk_plans_bytes;            /* of both */
    bool chunk_plans_turn;               /* the next one is the second */
};

enum element { FP16, BF16, INT4 };

struct matrix {
    enum element element;
    void *w;                             /* tiles (kernels/cuda_matrix.cuh), zeros past n_in and n_out */
    int n_out, n_in, n_chunks, n_tiles;
    int half;                            /* outputs of each of two parts of equal size, whose rows are interleaved; 0: they are not */
    float most;                          /* of two such parts: the greatest norm of a row of the one times that of the other */
};

void cuda_clock_close(struct device *d);
int cuda_failed(cudaError_t e, const char *what);                       /* fail() with the error's text */
int cuda_work_holds(const struct device *d, size_t n_bytes, const char *operation);

#define CUDA_TRY(call, what)                                                                                                   \
    do {                                                                                                                       \
        const cudaError_t cuda_error = (call);                                                                                 \
        if (cuda_error != cudaSuccess) return cuda_failed(cuda_error, what);                                                   \
    } while (0)
#define LAUNCHED(what) CUDA_TRY(cudaGetLastError(), what)

/* A kernel that cuda_launch() launched may begin while the one before it still runs: it calls dependency_wait() before it touches
 * memory that an earlier kernel writes or reads (but for the plan of attention of many rows: kernels/cuda_chunk_plan.cu says why), and each of its
 * threads does so in the end.  dependents_launch(): from here on the next
 * one may begin, as soon as every block of threads has come to it. */
__device__ static inline void dependency_wait()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

__device__ static inline void dependents_launch()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/* cluster: blocks of threads of a cluster, 1: none. */
template <class... P, class... A>
static inline int cuda_launch(struct device *d, const char *what, void (*kernel)(P...), dim3 grid, int n_threads, size_t shared_bytes, int cluster,
                              const A &...args)
{
    if (shared_bytes > 48 * 1024)
        CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared_bytes), what);
    /* A multiprocessor parts shared memory from its first-level cache anew only when it is idle: the kernels of a step's layers, all launched
     * here, have it parted alike, so that one may begin beside the one before. */
    CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared), what);
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = (unsigned)cluster;
    attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
    cudaLaunchConfig_t c = {};
    c.gridDim = grid;
    c.blockDim = dim3((unsigned)n_threads);
    c.dynamicSmemBytes = shared_bytes;
    c.stream = d->stream;
    c.attrs = attributes;
    c.numAttrs = cluster > 1 ? 2 : 1;
    CUDA_TRY(cudaLaunchKernelEx(&c, kernel, P(args)...), what);
    return 0;
}

static inline int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* The sum over the warp's lanes, for each of them. */
__device__ static inline double warp_sum(double x)
{
    for (int o = 16; o > 0; o /= 2) x += __shfl_xor_sync(0xffffffffu, x, o);
    return x;
}

/* The sum over the block's threads, for each of them.  shared: 32 doubles. */
__device__ static inline double block_sum(double x, double *shared)
{
    const int warp = threadIdx.x / 32, n_warps = (blockDim.x + 31) / 32;
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[warp] = x;
    __syncthreads();
    double sum = shared[0];
    for (int w = 1; w < n_warps; w++) sum += shared[w];
    return sum;
}

__device__ static inline float block_max(float x, double *shared)
{
    float *s = (float *)shared;
    const int warp = threadIdx.x / 32, n_warps = (blockDim.x + 31) / 32;
    for (int o = 16; o > 0; o /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, o));
    __syncthreads();
    if (threadIdx.x % 32 == 0) s[warp] = x;
    __syncthreads();
    float most = s[0];
    for (int w = 1; w < n_warps; w++) most = fmaxf(most, s[w]);
    return most;
}

/* core/philox.c's generator. */
__device__ static inline uint4 philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t seed)
{
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return make_uint4(c0, c1, c2, c3);
}

__device__ static inline double philox_unit(uint32_t a, uint32_t b)
{
    return ((double)(a >> 5) * 0x1p26 + (double)(b >> 6)) * 0x1p-53;
}

/* C += A B, fp16 in, float32 out; A 16 x 16, B 16 x 8.  Of lane l, g = l / 4 and t = l % 4: a holds rows g, g + 8, g, g + 8 at columns
 * 2t, 2t, 2t + 8, 2t + 8 (and one more each); b rows 2t and 2t + 8 of column g; c rows g, g, g + 8, g + 8 of columns 2t, 2t + 1. */
__device__ static inline void mma(float c[4], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1)
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

/* Two of them: 32 columns of A and rows of B, of which each lane holds 8 that follow each other in memory (A: rows g and g + 8; B:
 * column g; both at 8 t).  Which of the 32 meets which within an mma is the same for A and B, so no shuffling is needed. */
__device__ static inline void mma_32(float c[4], const uint4 &a, const uint4 &a8, const uint4 &b)
{
    mma(c, a.x, a8.x, a.y, a8.y, b.x, b.y);
    mma(c, a.z, a8.z, a.w, a8.w, b.z, b.w);
}

__device__ static inline void copy_async(void *shared, const void *global)
{
    const unsigned to = (unsigned)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global));
}

__device__ static inline void copy_commit()
{
    asm volatile("cp.async.commit_group;");
}

template <int N> __device__ static inline void copy_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N));
}

#endif
