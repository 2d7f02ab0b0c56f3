/* core/tensor.h: one weight matrix or vector as the checkpoint holds it.
 *
 * A tensor is [n_rows][n_cols] with n_cols contiguous: row r holds the weights of output r (n_cols inputs);
 * a vector has n_rows = 1.  data points into the checkpoint (borrowed: the model's mapping or block) and
 * holds packed rows of tensor_row_bytes() each.  A checkpoint may place it at any address: not aligned.
 *
 * Quantised types are read in one form: groups of `group` consecutive weights of a row share an f32 scale
 * and an f32 minimum, and a weight is
 *
 *     w = fmaf((float)u, scale, minimum),   u an unsigned integer of `bits` bits
 *
 * which equals the file format's own definition to the last bit for every finite d (but for the sign of a
 * zero: the format's (q - 8) * d may be -0, the fused form gives +0): in every supported format u * scale is
 * exact in float32 (at most 11 bits of d, 7 of a sub-scale and 6 of u), so the fused form rounds once, as
 * the format's product-then-sum does.  Signed formats become unsigned by moving the offset into minimum
 * (exact as well).                                                                                     */
#ifndef CORE_TENSOR_H
#define CORE_TENSOR_H

#include <stddef.h>
#include <stdint.h>

enum tensor_type {
    TENSOR_F32, TENSOR_F16, TENSOR_BF16,
    TENSOR_Q4_0, TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_Q8_0,
    TENSOR_Q4_K, TENSOR_Q5_K, TENSOR_Q6_K,
    TENSOR_SEED, /* float32 that a seed gives: data is one struct tensor_seed; a row is made when it is asked for */
    N_TENSOR_TYPES
};

/* bits: width of u, or of the float; group: weights that share scale and minimum (0 for floats);
 * block: weights of one packed unit of the file, block_bytes its size. */
struct tensor_format {
    const char *name;
    int bits, group, block, block_bytes;
};

struct tensor {
    enum tensor_type type;
    int n_rows, n_cols;
    const uint8_t *data; /* borrowed, NULL: the model has no such tensor */
};

/* Value i (row-major) of a tensor of type TENSOR_SEED:
 *
 *     size * philox_signed_f32(word)                     one float32 multiplication of an exact number in [-1, 1)
 *     word = word i % 4 of philox4x32({i / 4 low, i / 4 high, number, PHILOX_WEIGHTS}, key = seed)
 *
 * the same on every machine and back end. */
struct tensor_seed {
    uint64_t seed;
    uint32_t number; /* of the tensor in its model */
    float size;
};

const struct tensor_format *tensor_format(enum tensor_type type);
size_t tensor_row_bytes(const struct tensor *t);

/* Row r decoded to f32 [n_cols], quantised types by the fused form above; the definition every other decoder
 * is tested against. */
void tensor_row(const struct tensor *t, int row, float *out);

/* The parts of a quantised row: u [n_cols], scale and minimum [n_cols / group]. */
void tensor_row_parts(const struct tensor *t, int row, uint8_t *u, float *scale, float *minimum);

float    f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float x); /* round to nearest even */
float    bf16_to_f32(uint16_t h);

#endif
