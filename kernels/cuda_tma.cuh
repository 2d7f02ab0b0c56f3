/* kernels/cuda_tma.cuh: bulk copies of rows of the cache into shared memory.
 *
 * In shared memory a tile of rows is in regions of 64 elements of head_dim by 16 rows: all regions of rows 0 .. 15, then of rows 16 .. 31, and so on.
 * A row has 128 bytes of a region, whose eight pieces of 16 bytes are swizzled: piece i of row r lies at i ^ (r % 8).  Regions begin at multiples
 * of 1024 bytes. */
#ifndef KERNELS_CUDA_TMA_CUH
#define KERNELS_CUDA_TMA_CUH

#include "kernels/cuda_async.cuh"

#include <cuda.h>

static constexpr int REGION_ELEMS = 64, REGION_ROWS = 16, REGION_ROW_BYTES = 128;

/* Both copy what nobody else reads. */

/* A box of rows from (row, column) on of an array [rows][columns], one region wide; zeros past its edges. */
__device__ static inline void box_copy(void *to, const CUtensorMap *map, int column, int row, uint64_t *b)
{
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %3}], [%4], %5;" ::"r"(
            shared_address(to)),
        "l"(map), "r"(column), "r"(row), "r"(shared_address(b)), "l"(cache_policy(true))
        : "memory");
}

/* All regions of the rows from REGION_ROWS first on. */
__device__ static inline void stripe_copy(void *to, const CUtensorMap *map, int first, uint64_t *b)
{
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%2, %2, %2, "
                 "%3}], [%4], %5;" ::"r"(shared_address(to)),
                 "l"(map), "r"(0), "r"(first), "r"(shared_address(b)), "l"(cache_policy(true))
                 : "memory");
}

__device__ static inline void box_prefetch(const CUtensorMap *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

/* Ordinary accesses to shared memory so far come before copies that are begun later. */
__device__ static inline void copies_follow()
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Byte of row r, element 8 i (i: from 0, over all regions), in a tile of n_regions regions. */
__device__ static inline int tile_at(int n_regions, int r, int i)
{
    return ((r / REGION_ROWS * n_regions + i / 8) * REGION_ROWS + r % REGION_ROWS) * REGION_ROW_BYTES +
           ((i ^ r) % 8) * 16;
}

typedef CUresult (*encode_function)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
                                    const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
                                    CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's cuTensorMapEncodeTiled, found at the first call: the program does not link the driver. */
int cuda_find_encode(encode_function *f);
/* Describes an array [n_rows][n_columns] of fp16 for boxes of box_rows rows.  n_columns is a multiple of 8. */
int cuda_box_map(CUtensorMap *map, const void *array, uint64_t n_rows, int n_columns, int box_rows);
/* The same for stripes of box_rows rows, box_regions wide, zeros past the last column.  n_columns is a multiple of REGION_ELEMS, n_rows and
 * box_rows of REGION_ROWS. */
int cuda_stripe_map(CUtensorMap *map, const void *array, uint64_t n_rows, int n_columns, int box_rows, int box_regions);

#endif
