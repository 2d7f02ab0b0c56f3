/* kernels/cuda_async.cuh: what runs beside a thread on Hopper, in single instructions: barriers in shared memory that copies complete on, and
 * the order of wgmma.
 *
 * A barrier is named by its address or by its pointer; a phase of it is over when as many arrived as it was opened for and the bytes
 * expected have come. */
#ifndef KERNELS_CUDA_ASYNC_CUH
#define KERNELS_CUDA_ASYNC_CUH

#include "kernels/cuda_device.cuh"

__device__ static inline uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

__device__ static inline void barrier_open(uint32_t b, int n_arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(b), "r"(n_arrivals) : "memory");
}

/* The barriers opened so far are seen by the whole cluster and by copies. */
__device__ static inline void barriers_ready()
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ static inline void barrier_arrive(uint32_t b)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(b) : "memory");
}

/* Arrives, and n_bytes of copies must complete besides. */
__device__ static inline void barrier_expect(uint32_t b, uint32_t n_bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(b), "r"(n_bytes) : "memory");
}

/* Waits for the end of the barrier's phase of that parity. */
__device__ static inline void barrier_wait(uint32_t b, uint32_t parity)
{
    asm volatile("{\n.reg .pred over;\nagain_%=:\nmbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n@!over bra again_%=;\n}" ::"r"(b),
                 "r"(parity)
                 : "memory");
}

__device__ static inline void barrier_open(uint64_t *b, int n_arrivals)
{
    barrier_open(shared_address(b), n_arrivals);
}

__device__ static inline void barrier_arrive(uint64_t *b)
{
    barrier_arrive(shared_address(b));
}

__device__ static inline void barrier_expect(uint64_t *b, int n_bytes)
{
    barrier_expect(shared_address(b), (uint32_t)n_bytes);
}

__device__ static inline void barrier_wait(uint64_t *b, int parity)
{
    barrier_wait(shared_address(b), (uint32_t)parity);
}

/* The same where it takes long: the thread leaves its issue slots to others meanwhile. */
__device__ static inline void barrier_wait_asleep(uint64_t *b, int parity)
{
    asm volatile("{\n.reg .pred over;\nagain_%=:\nmbarrier.try_wait.parity.shared::cta.b64 over, [%0], %1;\n@over bra over_%=;\n"
                 "nanosleep.u32 100;\nbra again_%=;\nover_%=:\n}" ::"r"(shared_address(b)),
                 "r"(parity)
                 : "memory");
}

/* For copies: what is read once is the first to leave the second-level cache, so that the small things that each layer needs again (code, tables,
 * rows) stay in it while weights and caches pass. */
__device__ static inline uint64_t cache_policy(bool once)
{
    uint64_t p;
    if (once) asm("createpolicy.fractional.L2::evict_first.b64 %0;" : "=l"(p));
    else asm("createpolicy.fractional.L2::evict_normal.b64 %0;" : "=l"(p));
    return p;
}

/* Registers and shared memory written so far are seen by the wgmma that follow. */
__device__ static inline void wgmma_fence()
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

__device__ static inline void wgmma_commit()
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* Waits until at most N groups are in flight. */
template <int N> __device__ static inline void wgmma_wait()
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/* The compiler must not move uses of registers across a wait. */
template <int N> __device__ static inline void pin(float (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}

template <int N> __device__ static inline void pin(uint32_t (&d)[N])
{
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+r"(d[i])::"memory");
}

#endif
