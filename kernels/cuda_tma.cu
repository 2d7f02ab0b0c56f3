/* kernels/cuda_tma.cu: arrays of the cache, described for bulk copies. */
#include "kernels/cuda_tma.cuh"

int cuda_find_encode(encode_function *f)
{
    static encode_function found;
    if (!found) {
        void *p = NULL;
        cudaDriverEntryPointQueryResult result;
        CUDA_TRY(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &p, 12000, cudaEnableDefault, &result),
                 "cuTensorMapEncodeTiled");
        if (result != cudaDriverEntryPointSuccess || !p) return fail("cuda: the driver has no cuTensorMapEncodeTiled");
        found = (encode_function)p;
    }
    *f = found;
    return 0;
}

/* Dimensions from the innermost on; stride: bytes, of all but the first. */
static int describe(CUtensorMap *map, const void *array, cuuint32_t rank, const cuuint64_t *size,
                    const cuuint64_t *stride, const cuuint32_t *box)
{
    encode_function encode = NULL;
    const cuuint32_t step[4] = { 1, 1, 1, 1 };
    TRY(cuda_find_encode(&encode), "attention");
    const cuuint64_t n_rows = size[rank - 1];
    if (n_rows >= (uint64_t)1 << 31)
        return fail("attention: a cache of %llu rows, more than a copy can address", (unsigned long long)n_rows);
    const CUresult e = encode(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, rank, (void *)(uintptr_t)array, size, stride, box,
                              step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                              CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return e == CUDA_SUCCESS ? 0
                             : fail("cuda: describing a cache of %llu rows of %llu bytes: error %d",
                                    (unsigned long long)n_rows, (unsigned long long)stride[rank - 2], (int)e);
}

int cuda_box_map(CUtensorMap *map, const void *array, uint64_t n_rows, int n_columns, int box_rows)
{
    const cuuint64_t size[2] = { (cuuint64_t)n_columns, n_rows },
                     stride[1] = { (cuuint64_t)n_columns * sizeof(__half) };
    const cuuint32_t box[2] = { REGION_ELEMS, (cuuint32_t)box_rows };
    return describe(map, array, 2, size, stride, box);
}

int cuda_stripe_map(CUtensorMap *map, const void *array, uint64_t n_rows, int n_columns, int box_rows, int box_regions)
{
    const cuuint64_t n_regions = (cuuint64_t)n_columns / REGION_ELEMS, row = (cuuint64_t)n_columns * sizeof(__half);
    const cuuint64_t size[4] = { REGION_ELEMS, REGION_ROWS, n_regions, n_rows / REGION_ROWS },
                     stride[3] = { row, REGION_ROW_BYTES, REGION_ROWS * row };
    const cuuint32_t box[4] = { REGION_ELEMS, REGION_ROWS, (cuuint32_t)box_regions,
                                (cuuint32_t)(box_rows / REGION_ROWS) };
    return describe(map, array, 4, size, stride, box);
}
