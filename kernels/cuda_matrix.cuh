/* kernels/cuda_matrix.cuh: where weights, and the rows that they are multiplied with, lie on the device: fp16, or bf16 on a device that was
 * opened for it.
 *
 * Both are cut into tiles of TILE outputs or rows by CHUNK values of k, as wgmma and ldmatrix want them: cores of 8 outputs (rows) by
 * 8 k's, 128 bytes; a tile is [16 groups of 8 outputs][8 cores along k].
 *
 *   weights   [n_tiles][n_chunks][tile]
 *   operand   [ceil(n_rows / TILE)]: [n_chunks][tile], then for each of TILE rows its scale and its size, float32
 *
 * An operand's rows are x / scale, scale a power of two, because fp16 cannot hold every float32; zeros past n_in.  In bf16, and of attention,
 * whose rows are means of what fp16 holds, scale is 1.  size: no less than the Euclidean norm of the row.  What lies past n_rows is never read into a result.  A matrix of two parts of equal size (gate, up) has
 * their outputs in turn, 8 by 8, so that output i of both is in the same thread. */
#ifndef KERNELS_CUDA_MATRIX_CUH
#define KERNELS_CUDA_MATRIX_CUH

#include "kernels/cuda_device.cuh"

#include <cuda_bf16.h>

static constexpr int TILE = 128, CHUNK = 64, TILE_BYTES = TILE * CHUNK * 2, GROUP_BYTES = 8 * CHUNK * 2, CORE_BYTES = 128;
static constexpr int MAX_NORM = 32768; /* values of a row that norm takes */

__host__ __device__ static inline size_t operand_block_bytes(int n_chunks)
{
    return (size_t)n_chunks * TILE_BYTES + TILE * 2 * sizeof(float);
}

/* Byte of the 8 values of k from 8 core on of row (or output) r within its tiles. */
__host__ __device__ static inline size_t core_at(int r, int core)
{
    return (size_t)(core / 8) * TILE_BYTES + (size_t)(r % TILE / 8 * GROUP_BYTES + core % 8 * CORE_BYTES + r % 8 * 16);
}

/* int4: [n_tiles][n_groups] of TILE outputs by INT4_GROUP k's, the last group of a row perhaps short.  A weight is (q - 8) scale, rounded to
 * fp16: q 4 bits, scale the fp16 number nearest to a seventh of the greatest |weight| of that output's group, q - 8 the whole number nearest
 * to weight / scale.  [8 warps of 16 outputs][2 halves of k][32 lanes][4 steps of 16 k's] words of what a lane's 4 registers of mma()'s A
 * hold: register i, value h at bits 4 i + 16 h; then TILE scales. */
static constexpr int INT4_GROUP = 128, INT4_CHUNKS = INT4_GROUP / CHUNK, INT4_BYTES = TILE * INT4_GROUP / 2 + TILE * 2;

__host__ __device__ static inline int int4_groups(int n_chunks)
{
    return (n_chunks + INT4_CHUNKS - 1) / INT4_CHUNKS;
}

__host__ __device__ static inline int int4_at(int warp, int half, int lane)
{
    return ((warp * 2 + half) * 32 + lane) * 16;
}

__host__ __device__ static inline int int4_scale_at(int out)
{
    return TILE * INT4_GROUP / 2 + out % TILE * 2;
}

/* Byte of the word of value k of a group of output `out`, and the bits within it. */
__host__ __device__ static inline int int4_word_at(int out, int k, int *shift)
{
    const int o = out % 16, i = k % 16;
    *shift = 4 * (o / 8 + i / 8 * 2) + 16 * (i % 2);
    return int4_at(out % TILE / 16, k / 64, o % 8 * 4 + i % 8 / 2) + k % 64 / 16 * 4;
}

__device__ static inline uint4 *operand_core(void *operand, int n_chunks, int row, int core)
{
    return (uint4 *)((char *)operand + (size_t)(row / TILE) * operand_block_bytes(n_chunks) + core_at(row, core));
}

__device__ static inline float *operand_scale(const void *operand, int n_chunks, int row)
{
    return (float *)((char *)operand + (size_t)(row / TILE) * operand_block_bytes(n_chunks) + (size_t)n_chunks * TILE_BYTES) + row % TILE;
}

__device__ static inline float *operand_size(const void *operand, int n_chunks, int row)
{
    return operand_scale(operand, n_chunks, row) + TILE;
}

/* Where row `row` of a part lies among the outputs of the packed matrix. */
__host__ __device__ static inline int packed_out(int first, int row, int part, bool paired)
{
    return paired ? row / 8 * 16 + part * 8 + row % 8 : first + row;
}

/* 8 values as elements. */
__device__ static inline uint4 elements_of(const float x[8], bool bf16)
{
    union {
        __half2 h[4];
        __nv_bfloat162 b[4];
        uint4 u;
    } v;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (bf16) v.b[i] = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
        else v.h[i] = __floats2half2_rn(x[2 * i], x[2 * i + 1]);
    }
    return v.u;
}

__device__ static inline float element_at(const void *core, int i, bool bf16)
{
    return bf16 ? __bfloat162float(((const __nv_bfloat16 *)core)[i]) : __half2float(((const __half *)core)[i]);
}

__device__ static inline void element_put(void *core, int i, float x, bool bf16)
{
    if (bf16) ((__nv_bfloat16 *)core)[i] = __float2bfloat16_rn(x);
    else ((__half *)core)[i] = __float2half_rn(x);
}

/* The power of two that takes the greatest, `most`, into 2^13 .. 2^14; bf16 needs none. */
__device__ static inline int scale_exponent(float most, bool bf16)
{
    int e = 0;
    if (!bf16 && most > 0 && most < INFINITY) {
        frexpf(most, &e);
        e = max(e - 14, -100);
    }
    return e;
}

/* Float32 rows as an operand; scaled: by what their greatest values ask for, or else by 1. */
int cuda_operand_of(struct device *d, int n_rows, int n, const float *x, void *operand, bool scaled);

#endif
