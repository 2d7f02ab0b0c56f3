/* kernels/cuda_product.cuh: what the product kernels share: the job, single instructions of Hopper, what becomes of a sum.
 *
 * Every output is the sums over one or several segments of k, added in order; a segment's sum is a chain of steps of 16 k's on the tensor
 * cores, from 0.  The matrix alone decides how many segments there are: neither the number of rows nor the kernel enters a result. */
#ifndef KERNELS_CUDA_PRODUCT_CUH
#define KERNELS_CUDA_PRODUCT_CUH

#include "kernels/cuda_async.cuh"
#include "kernels/cuda_matrix.cuh"

static constexpr int N_SEGMENTS = 4, FEW_ROWS = 64;
static constexpr int INT4_SEGMENTS = 8, INT4_WIDE = 256; /* of int4: where there are fewer than INT4_WIDE tiles of outputs; else 1 */

struct product_job {
    const char *w, *x;            /* tiles of the matrix; an operand */
    const float *bias, *residual;
    float *y;
    void *act;                    /* an operand of n_out / 2, or NULL */
    float most;                   /* struct matrix's */
    int n_tiles, n_chunks, n_out, half, n_rows;
    bool bf16;
    struct rope_append_args rope; /* of y, by cuda_product_split and _int4 of at most FEW_ROWS rows; n_rows 0: none */
    struct kv_cache kv;           /* rope's */
};

int cuda_product_split(struct device *d, const struct product_job *j, int n_columns, int n_split);
int cuda_product_int4(struct device *d, const struct product_job *j); /* of INT4_WIDE tiles or more: FEW_ROWS at most */
int cuda_product_many(struct device *d, const struct product_job *j, int n_outputs, int n_columns);
int cuda_product_many_int4(struct device *d, const struct product_job *j, int n_columns);

/* The first chunk (int4: group) of a segment. */
__host__ __device__ static inline int segment_at(int segment, int n_chunks, int n_segments = N_SEGMENTS)
{
    return segment * n_chunks / n_segments;
}

__device__ static inline int ceil_chunks(int n)
{
    return (n + CHUNK - 1) / CHUNK;
}

/* ---- what becomes of a sum ---- */

/* Packed output `out` in y; at: -1 where it is nowhere. */
struct column {
    int at;
    float bias;
};

__device__ static inline struct column column_of(const struct product_job &j, int out)
{
    const int i = out / 16 * 8 + out % 8; /* of a part */
    struct column c = { j.half > 0 ? out / 8 % 2 * j.half + i : out, 0 };
    if (j.half > 0 ? i >= j.half : out >= j.n_out) c.at = -1;
    else if (j.bias) c.bias = j.bias[c.at];
    return c;
}

/* One access where `yes`, and never a branch, behind which a warp would wait for the access before. */
__device__ static inline float load_if(bool yes, const float *from)
{
    float x = 0;
    asm volatile("{\n.reg .pred yes;\nsetp.ne.b32 yes, %1, 0;\n@yes ld.global.f32 %0, [%2];\n}" : "+f"(x) : "r"((int)yes), "l"(from) : "memory");
    return x;
}

__device__ static inline void store_if(bool yes, float *to, float x)
{
    asm volatile("{\n.reg .pred yes;\nsetp.ne.b32 yes, %0, 0;\n@yes st.global.f32 [%1], %2;\n}" ::"r"((int)yes), "l"(to), "f"(x) : "memory");
}

/* y may be the residual: what is added is fetched ahead, many at once, because none would be fetched before another is written. */
__device__ static inline float residual_at(const struct product_job &j, const struct column &c, int row)
{
    return load_if(j.residual && c.at >= 0 && row < j.n_rows, j.residual + ((size_t)row * (size_t)j.n_out + (size_t)c.at));
}

__device__ static inline float sum_of(const struct column &c, float sum, float scale, float residual)
{
    return __fadd_rn(__fmaf_rn(sum, scale, c.bias), residual);
}

__device__ static inline void sum_put(const struct product_job &j, const struct column &c, int row, float sum, float scale, float residual)
{
    store_if(c.at >= 0 && row < j.n_rows, j.y + ((size_t)row * (size_t)j.n_out + (size_t)c.at), sum_of(c, sum, scale, residual));
}

/* What a row's sums are multiplied with; where its activation is written: what that is multiplied with. */
struct row_scale {
    float sum, act;
};

/* |gate| is at most the row's size times the norm of its weights, |up| as well, and |silu(x)| <= |x|: a scale for which fp16 holds
 * whatever comes, without a look at the other outputs of the row.  note: this thread is the one that writes the scale down. */
__device__ static inline struct row_scale row_scale_of(const struct product_job &j, int row, bool note)
{
    if (row >= j.n_rows) return { 0, 0 };
    const float scale = *operand_scale(j.x, j.n_chunks, row);
    if (!j.act) return { scale, 0 };
    const float size = *operand_size(j.x, j.n_chunks, row);
    const int e = scale_exponent(size * size * j.most, j.bf16);
    if (note) *operand_scale(j.act, ceil_chunks(j.half), row) = ldexpf(1.0f, e);
    return { scale, ldexpf(1.0f, -e) };
}

/* silu(gate) * up, as it is written.  The quick quotient, off by two units in the last place at most, has no branch; it is 0 where its
 * denominator is infinite. */
__device__ static inline float act_of(const struct row_scale &r, float gate, float up)
{
    gate *= r.sum;
    up *= r.sum;
    return __fdividef(gate, 1 + expf(-gate)) * up * r.act;
}

__device__ static inline void bulk_copy(uint32_t to, const char *from, uint32_t n_bytes, uint32_t barrier)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(n_bytes),
                 "r"(barrier)
                 : "memory");
}

__device__ static inline void bulk_copy(uint32_t to, const char *from, uint32_t n_bytes, uint32_t barrier, uint64_t policy)
{
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], %4;" ::"r"(to), "l"(from),
                 "r"(n_bytes), "r"(barrier), "l"(policy)
                 : "memory");
}

/* A ring of stages in shared memory that one thread fills and n warps empty. */
struct ring_place {
    int stage;
    uint32_t parity;
};

template <int STAGES> __device__ static inline void ring_next(struct ring_place &p)
{
    if (++p.stage < STAGES) return;
    p.stage = 0;
    p.parity ^= 1;
}

/* ---- leaving a stage of the ring ---- */
/* Weights that the warps read themselves are let go by each lane: compute-sanitizer's racecheck does not see that one lane may speak for its
 * warp behind a __syncwarp(). */
__host__ __device__ static constexpr int stage_readers(enum element e, int n_warps)
{
    return e == INT4 ? 32 * n_warps : n_warps;
}

/* Stage `used` (-1: none) has been read. */
template <bool EACH_LANE> __device__ static inline void stage_release(uint32_t empty, int used)
{
    if (used >= 0 && (EACH_LANE || threadIdx.x % 32 == 0)) barrier_arrive(empty + used * 8);
}

/* ---- wgmma: 64 outputs (four warps; warp w has 16 w ..) x N rows x 16 k's ---- */
/* Cores of 128 bytes, neighbours along k 128 bytes apart, groups of 8 outputs (rows) GROUP_BYTES apart; a step of 16 k's is 16 on. */
__device__ static inline uint64_t cores_of(uint32_t at)
{
    return (uint64_t)((at & 0x3ffff) >> 4) | (uint64_t)(CORE_BYTES >> 4) << 16 | (uint64_t)(GROUP_BYTES >> 4) << 32;
}

#define S0 "%0, %1, %2, %3"
#define S1 S0 ", %4, %5, %6, %7"
#define S2 S1 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define S3 S2 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define S4 S3 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define S5 S4 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define D16(i) D4(i), D4(i + 4), D4(i + 8), D4(i + 12)
#define D64(i) D16(i), D16(i + 16), D16(i + 32), D16(i + 48)
#define WGMMA(n, registers, a_at, b_at, ...)                                                                                   \
    template <bool BF16> __device__ static inline void wgmma(float (&d)[n / 2], uint64_t a, uint64_t b)                        \
    {                                                                                                                          \
        if (BF16)                                                                                                              \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" registers "}, %" #a_at ", %" #b_at ", 1, 1, 1, 0, 0;" \
                         : __VA_ARGS__                                                                                         \
                         : "l"(a), "l"(b));                                                                                    \
        else                                                                                                                   \
            asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.f16.f16 {" registers "}, %" #a_at ", %" #b_at ", 1, 1, 1, 0, 0;" \
                         : __VA_ARGS__                                                                                         \
                         : "l"(a), "l"(b));                                                                                    \
    }
WGMMA(8, S0, 4, 5, D4(0))
WGMMA(16, S1, 8, 9, D4(0), D4(4))
WGMMA(32, S2, 16, 17, D16(0))
WGMMA(64, S3, 32, 33, D16(0), D16(16))
WGMMA(96, S4, 48, 49, D16(0), D16(16), D16(32))
WGMMA(128, S5, 64, 65, D64(0))

/* The same with the weights in registers, distributed as mma()'s A. */
#define WGMMA_HELD(n, registers, a_at, b_at, ...)                                                                              \
    __device__ static inline void wgmma_held(float (&d)[n / 2], const uint32_t *a, uint64_t b)                                 \
    {                                                                                                                          \
        asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.f16.f16 {" registers "}, {" a_at "}, %" #b_at ", 1, 1, 1, 0;" \
                     : __VA_ARGS__                                                                                             \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                                                    \
    }
WGMMA_HELD(8, S0, "%4, %5, %6, %7", 8, D4(0))
WGMMA_HELD(16, S1, "%8, %9, %10, %11", 12, D4(0), D4(4))
WGMMA_HELD(32, S2, "%16, %17, %18, %19", 20, D16(0))
WGMMA_HELD(64, S3, "%32, %33, %34, %35", 36, D16(0), D16(16))
WGMMA_HELD(96, S4, "%48, %49, %50, %51", 52, D16(0), D16(16), D16(32))
WGMMA_HELD(128, S5, "%64, %65, %66, %67", 68, D64(0))
#undef WGMMA_HELD
#undef S0
#undef S1
#undef S2
#undef S3
#undef S4
#undef S5
#undef D4
#undef D16
#undef D64
#undef WGMMA

/* The sum of one segment of n_chunks, by warp group wg (64 of the tile's 64 GROUPS outputs), as the ring brings them: weights, then rows.
 * Each of its warps tells `empty` of the stages that it has used up; *used: the last one, of which it has not yet told; -1: none. */
template <bool BF16, int N, int STAGES, int GROUPS = 2>
__device__ static inline void segment_sum(float (&c)[N / 2], int n_chunks, int wg, uint32_t base, uint32_t full, uint32_t empty, struct ring_place &p, int *used)
{
    constexpr uint32_t WEIGHT_BYTES = GROUPS * (TILE_BYTES / 2), STAGE_BYTES = WEIGHT_BYTES + N / 8 * GROUP_BYTES;
#pragma unroll
    for (int i = 0; i < N / 2; i++) c[i] = 0;
    pin(c);
#pragma unroll 1
    for (int k = 0; k < n_chunks; k++) {
        barrier_wait(full + p.stage * 8, p.parity);
        wgmma_fence();
        const uint32_t at = base + p.stage * STAGE_BYTES;
        const uint64_t a = cores_of(at + wg * (TILE_BYTES / 2)), b = cores_of(at + WEIGHT_BYTES);
#pragma unroll
        for (int i = 0; i < CHUNK / 16; i++) wgmma<BF16>(c, a + i * 16, b + i * 16);
        wgmma_commit();
        wgmma_wait<1>(); /* the stage before has been read */
        stage_release<false>(empty, *used);
        *used = p.stage;
        ring_next<STAGES>(p);
    }
    wgmma_wait<0>();
    pin(c);
}

#endif
