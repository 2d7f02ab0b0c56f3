/* kernels/cuda_product_int4.cuh: the sum of a segment of an int4 matrix (cuda_matrix.cuh).
 *
 * Weights become fp16 in registers, from which wgmma takes them: a product has the bits that the fp16 matrix of the same weights, cut into the
 * same segments, would give. */
#ifndef KERNELS_CUDA_PRODUCT_INT4_CUH
#define KERNELS_CUDA_PRODUCT_INT4_CUH

#include "kernels/cuda_product.cuh"

__device__ static inline uint4 shared_load(uint32_t at)
{
    uint4 x;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(at) : "memory");
    return x;
}

__device__ static inline __half2 shared_scale(uint32_t at)
{
    uint16_t s;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(s) : "r"(at) : "memory");
    return __half2half2(__ushort_as_half(s));
}

/* q & mask | 1024 in fp16: one instruction, with the constants in registers. */
__device__ static inline __half2 int4_pair(uint32_t q, uint32_t mask)
{
    uint32_t x;
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(x) : "r"(q), "r"(mask), "r"(0x64006400));
    return *(const __half2 *)&x;
}

/* (q - 8) scale of 8 weights as mma()'s A wants them, of outputs g and g + 8; one rounding to fp16. */
__device__ static inline void int4_unpack(uint32_t q, __half2 scale, __half2 scale8, uint32_t *a)
{
    const __half2 low = __half2half2(__ushort_as_half(0xe408)), high = __half2half2(__ushort_as_half(0xd480)); /* -1032, -72 */
    const __half2 sixteenth = __half2half2(__ushort_as_half(0x2c00));
#pragma unroll
    for (int i = 0; i < 2; i++, q >>= 8) { /* output g's bits are units, g + 8's sixteens */
        const __half2 w = __hmul2(__hadd2(int4_pair(q, 0x000f000f), low), scale);
        const __half2 w8 = __hmul2(__hfma2(int4_pair(q, 0x00f000f0), sixteenth, high), scale8);
        a[2 * i] = *(const uint32_t *)&w;
        a[2 * i + 1] = *(const uint32_t *)&w8;
    }
}

/* One half of a group, `at` of the stage, on its way: the half before has been multiplied when this returns.  rows: of the stage. */
template <int N>
__device__ static inline void half_multiply(float (&c)[N / 2], uint32_t (&a)[16], uint32_t at, uint32_t rows, int half, int warp, __half2 scale, __half2 scale8)
{
    const uint4 q = shared_load(at + (uint32_t)int4_at(warp, half, threadIdx.x % 32));
    int4_unpack(q.x, scale, scale8, a);
    int4_unpack(q.y, scale, scale8, a + 4);
    int4_unpack(q.z, scale, scale8, a + 8);
    int4_unpack(q.w, scale, scale8, a + 12);
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < 4; i++) wgmma_held(c, a + 4 * i, cores_of(rows + (uint32_t)(half * (N / 8)) * GROUP_BYTES) + i * 16);
    wgmma_commit();
    wgmma_wait<1>();
}

/* The sum of one segment, groups `from` .. `end` - 1 of n_chunks, for the 16 outputs of this warp, as the ring brings them: words of 64 GROUPS
 * outputs, their scales, rows.  A half of a group is unpacked while the half before is multiplied.  *used: as in segment_sum(). */
template <int N, int STAGES, int GROUPS = 2>
__device__ static inline void int4_segment_sum(float (&c)[N / 2], int from, int end, int n_chunks, int warp, uint32_t base, uint32_t full,
                                               uint32_t empty, struct ring_place &p, int *used)
{
    constexpr uint32_t WORD_BYTES = GROUPS * (TILE * INT4_GROUP / 4), WEIGHT_BYTES = GROUPS * (INT4_BYTES / 2);
    constexpr uint32_t STAGE_BYTES = WEIGHT_BYTES + INT4_CHUNKS * (N / 8) * GROUP_BYTES;
    const uint32_t scale_at = WORD_BYTES + (uint32_t)(warp * 16 + threadIdx.x % 32 / 4) * 2;
    const int n_whole = min(end, n_chunks / INT4_CHUNKS);
    uint32_t a[INT4_CHUNKS][16];
#pragma unroll
    for (int i = 0; i < N / 2; i++) c[i] = 0;
    pin(c);
#pragma unroll 1
    for (int group = from; group < n_whole; group++) {
        barrier_wait(full + p.stage * 8, p.parity);
        const uint32_t at = base + p.stage * STAGE_BYTES;
        const __half2 scale = shared_scale(at + scale_at), scale8 = shared_scale(at + scale_at + 16);
        half_multiply<N>(c, a[0], at, at + WEIGHT_BYTES, 0, warp, scale, scale8);
        stage_release<true>(empty, *used);
        *used = p.stage;
        half_multiply<N>(c, a[1], at, at + WEIGHT_BYTES, 1, warp, scale, scale8);
        ring_next<STAGES>(p);
    }
    wgmma_wait<0>();
    if (n_whole < end) { /* n_chunks is odd: half a group */
        barrier_wait(full + p.stage * 8, p.parity);
        const uint32_t at = base + p.stage * STAGE_BYTES;
        half_multiply<N>(c, a[0], at, at + WEIGHT_BYTES, 0, warp, shared_scale(at + scale_at), shared_scale(at + scale_at + 16));
        wgmma_wait<0>();
        stage_release<true>(empty, *used);
        *used = p.stage;
        ring_next<STAGES>(p);
    }
    pin(c);
}

#endif
