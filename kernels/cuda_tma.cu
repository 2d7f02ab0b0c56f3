#include "kernels/cuda_tma.cuh"

typedef CUresult (*encode_function)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *, const cuuint64_t *, const cuuint32_t *,
                                    const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* The driver's function, found at run time: the program does not link the driver. */
static int find_encode(encode_function *f)
{
    static encode_function found;
    if (!found) {
        void *p = NULL;
        cudaDriverEntryPointQueryResult result;
        CUDA_TRY(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &p, 12000, cudaEnableDefault, &result), "cuTensorMapEncodeTiled");
        if (result != cudaDriverEntryPointSuccess || !p) return fail("cuda: the driver has no cuTensorMapEncodeTiled");
        found = (encode_function)p;
    }
    *f = found;
    return 0;
}

int cuda_box_map(CUtensorMap *map, const void *array, uint64_t n_rows, int n_columns, int box_rows)
{
    encode_function encode = NULL;
    TRY(find_encode(&encode), "attention");
    const cuuint64_t size[2] = { (cuuint64_t)n_columns, n_rows }, stride[1] = { (cuuint64_t)n_columns * sizeof(__half) };
    const cuuint32_t box[2] = { REGION_ELEMS, (cuuint32_t)box_rows }, step[2] = { 1, 1 };
    if (n_rows >= (uint64_t)1 << 31) return fail("attention: a cache of %llu rows, more than a copy can address", (unsigned long long)n_rows);
    const CUresult e = encode(map, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2, (void *)(uintptr_t)array, size, stride, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE,
                              CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return e == CUDA_SUCCESS ? 0 : fail("cuda: describing a cache of %llu rows of %d: error %d", (unsigned long long)n_rows, n_columns, (int)e);
}
