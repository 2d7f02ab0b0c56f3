/* kernels/cuda_wgmma.cuh: what a cluster and wgmma add, in single instructions.
 *
 * Tiles of fp16 in shared memory are slabs of 64 columns: row r of a slab is 128 bytes, its pieces of 16 bytes permuted by r % 8 (the
 * 128-byte swizzle, which copies, products and slab_at agree on).  A slab begins at a multiple of 1024 bytes. */
#ifndef KERNELS_CUDA_WGMMA_CUH
#define KERNELS_CUDA_WGMMA_CUH

#include "kernels/cuda_tma.cuh"

static constexpr int SLAB = 64; /* columns */

/* Index of element (row, column) within a slab, column < SLAB. */
__device__ static inline int slab_at(int row, int column)
{
    return row * SLAB + ((column / 8) ^ (row % 8)) * 8 + column % 8;
}

/* Arrives at the same barrier of another block of the cluster, or of this one. */
__device__ static inline void barrier_arrive_at(uint64_t *b, int block)
{
    asm volatile("{\n.reg .b32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(shared_address(b)),
                 "r"(block)
                 : "memory");
}

/* All threads of the cluster; they see each other's barriers after it, and none ends before it. */
__device__ static inline void cluster_sync()
{
    asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}

/* ---- bulk copies ---- */
/* The box of a map at (column, row, run) to the same place in the shared memory of both blocks of a pair; each one's b counts its bytes. */
__device__ static inline void copy_box(void *to, const CUtensorMap *map, int column, int row, int run, uint64_t *b,
                                       uint64_t policy)
{
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster."
                 "L2::cache_hint "
                 "[%0], [%1, {%3, %4, %5}], [%2], %6, %7;" ::"r"(shared_address(to)),
                 "l"(map), "r"(shared_address(b)), "r"(column), "r"(row), "r"(run), "h"((uint16_t)3), "l"(policy)
                 : "memory");
}

/* n_bytes of shared memory to the device's, by one thread, which waits for all that it began: until they are read, or until they are written. */
__device__ static inline void copy_out(void *to, const void *from, int n_bytes)
{
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\ncp.async.bulk.commit_group;" ::"l"(to),
                 "r"(shared_address(from)), "r"(n_bytes)
                 : "memory");
}

__device__ static inline void copies_out_read()
{
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

__device__ static inline void copies_out_done()
{
    asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

/* ---- barriers of some warps of a block; all threads of a warp ---- */
__device__ static inline void named_sync(int id, int n_threads)
{
    __syncwarp();
    asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(n_threads) : "memory");
}

/* Does not wait. */
__device__ static inline void named_arrive(int id, int n_threads)
{
    __syncwarp();
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(n_threads) : "memory");
}

/* ---- wgmma: four warps, 64 rows; warp w has rows 16 w .., distributed as mma()'s ---- */
/* A place in a slab for wgmma, in 16 bytes: a slab read along its columns (k, 2 a step), or along its rows (128 a step of 16 rows), its
 * transpose. */
__device__ static inline uint32_t slab_of(const void *p)
{
    return shared_address(p) >> 4 | (1024 >> 4) << 16;
}

#define SLAB_HIGH 0x40000040 /* 1024 bytes from one 8 rows to the next; swizzled by 128 bytes */

#define F8(io, d, i)                                                                                                   \
    io(d[i]), io(d[i + 1]), io(d[i + 2]), io(d[i + 3]), io(d[i + 4]), io(d[i + 5]), io(d[i + 6]), io(d[i + 7])
#define F32(io, d) F8(io, d, 0), F8(io, d, 8), F8(io, d, 16), F8(io, d, 24)
#define F64(io, d) F32(io, d), F8(io, d, 32), F8(io, d, 40), F8(io, d, 48), F8(io, d, 56)
#define WRITES(x) "=f"(x)
#define ADDS(x) "+f"(x)
#define R32                                                                                                            \
    "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%"  \
    "30,%31"
#define R64                                                                                                            \
    R32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%"   \
        "58,%59,"                                                                                                      \
        "%60,%61,%62,%63"
#define ROWS(io, add)                                                                                                  \
    asm volatile("{\n.reg .pred add;\n.reg .b64 a, b;\nsetp.ne.b32 add, " add                                          \
                 ", 0;\nmov.b64 a, {%64, %66};\nmov.b64 b, {%65, %66};\n"                                              \
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" R64 "}, a, b, add, 1, 1, 0, 0;\n}"            \
                 : F64(io, d)                                                                                          \
                 : "r"(a), "r"(b), "n"(SLAB_HIGH))
#define COLUMNS(io, add)                                                                                               \
    asm volatile("{\n.reg .pred add;\n.reg .b64 b;\nsetp.ne.b32 add, " add ", 0;\nmov.b64 b, {%36, %37};\n"            \
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" R32                                            \
                 "}, {%32,%33,%34,%35}, b, add, 1, 1, 1;\n}"                                                           \
                 : F32(io, d)                                                                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b), "n"(SLAB_HIGH))

/* d = A B^T (+ d where add), 64 x 128: A and B slabs read along their columns. */
__device__ static inline void wgmma_rows(float (&d)[64], uint32_t a, uint32_t b, bool add)
{
    if (add)
        ROWS(ADDS, "1");
    else
        ROWS(WRITES, "0");
}

/* d = A B (+ d where add), 64 x 64: A in registers as mma()'s, B a slab read along its rows. */
__device__ static inline void wgmma_columns(float (&d)[32], const uint32_t *a, uint32_t b, bool add)
{
    if (add)
        COLUMNS(ADDS, "1");
    else
        COLUMNS(WRITES, "0");
}

#undef F8
#undef F32
#undef F64
#undef WRITES
#undef ADDS
#undef R32
#undef R64
#undef ROWS
#undef COLUMNS
#undef SLAB_HIGH

/* setmaxnreg: registers of each thread of this warpgroup. */
template <int N> __device__ static inline void registers_give()
{
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

template <int N> __device__ static inline void registers_take()
{
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}

#endif
