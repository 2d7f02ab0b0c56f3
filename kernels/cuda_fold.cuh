/* kernels/cuda_fold.cuh: the arithmetic of attention on the device, the same whoever computes it and however the work is split.
 *
 * The tokens that a row reads, in the order of their positions, are cut into units of ATTEND_CHUNK (the last may be short).  A unit:
 *     s_i = q . k_i          one mma of 16 elements of head_dim after the other, float32, from 0; q rounded to fp16, not scaled
 *     m   = max s_i
 *     p_i = 2^(s_i c - b)    c = log2(e) / sqrt(head_dim) (attend_scale2), b = m c; 0 past the unit's end
 *     l   = sum p_i          as a tree over the bits of i in the order 5, 6, 3, 4, 0, 1, 2: x[i] += x[i ^ 32] first
 *     O   = sum p_i v_i      p_i rounded to fp16; one mma of 16 tokens after the other, float32, from 0
 * FOLD_UNITS units folded in order are a group, FOLD_GROUPS groups in order a segment, all segments in order the result O / l.
 * A group and a segment begin from their own first part, so that any of them may be computed apart.  Folding the first part is a copy.
 * A part whose scores are all -inf weighs nothing beside others.  b is rounded, s_i c is not: where a score's logarithm to base 2 is beyond 2^27, far
 * past what float32 sums resolve, p_i may leave fp16. */
#ifndef KERNELS_CUDA_FOLD_CUH
#define KERNELS_CUDA_FOLD_CUH

#include "kernels/cuda_device.cuh"

static constexpr int FOLD_UNITS = 8, FOLD_GROUPS = 32, SEGMENT_UNITS = FOLD_UNITS * FOLD_GROUPS;

/* 2^x, to 2 ulp. */
__device__ static inline float attend_ex2(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ static inline float attend_bias(float most, float scale2)
{
    return most == -INFINITY ? 0.0f : __fmul_rn(most, scale2);
}

__device__ static inline float attend_weight(float score, float scale2, float bias)
{
    return attend_ex2(__fmaf_rn(score, scale2, -bias));
}

/* Two parts become one: its greatest score, and what the sums of either are multiplied by. */
struct fold {
    float most, run, next;
};

__device__ static inline struct fold fold_of(float run_most, float next_most, float scale2)
{
    struct fold f;
    f.most = fmaxf(run_most, next_most);
    const float at = f.most == -INFINITY ? 0.0f : f.most;
    f.run = attend_ex2(__fmul_rn(__fsub_rn(run_most, at), scale2));
    f.next = attend_ex2(__fmul_rn(__fsub_rn(next_most, at), scale2));
    return f;
}

__device__ static inline float fold_sum(float run, float next, const struct fold &f)
{
    return __fmaf_rn(run, f.run, __fmul_rn(next, f.next));
}

static inline float attend_scale2_of(int head_dim)
{
    return (float)(1.4426950408889634 / sqrt((double)head_dim));
}

#endif
