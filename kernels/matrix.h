/* kernels/matrix.h: weights as the CPU's product reads them.
 *
 * A matrix is the concatenation of parts (q, k, v; gate, up): tensors of the same n_in, each with a type of its own, whose outputs follow
 * one another in y without a gap.  A part is cut into panels of PANEL outputs; the last panel is padded with weights of 0.
 * A panel is k-major, so that a vector register holds the same k of several outputs and no sum is ever horizontal:
 *
 *   scales   PANEL of each (see enum matrix_scales)
 *   low      4 bits: uint32 [n_in / 32][4][PANEL], nibble i of word j is k = 4 i + j of the 32
 *            8 bits: uint8 [n_in][PANEL];  16, 32 bits: the float itself, [n_in][PANEL]
 *   high     5 bits: uint32 [n_in / 32][PANEL], bit k: the fifth bit
 *            6 bits: uint32 [n_in / 32][2][PANEL], bits 4 i + 2 (j & 1) and the next of word j / 2: the two upper bits of k = 4 i + j
 *
 * Each of these begins at a multiple of 64 bytes.  The weight is fmaf((float)u, scale, minimum), as in core/tensor.h, to the
 * last bit of tensor_row().                                                                              */
#ifndef KERNELS_MATRIX_H
#define KERNELS_MATRIX_H

#include "core/tensor.h"

enum { PANEL = 16, MATRIX_STEP = 32, MAX_MATRIX_PARTS = 4 };

/* By group, or by block of 256 k's for the K types, where a scale is d times an integer (exact in float32, core/tensor.h). */
enum matrix_scales {
    SCALES_NONE,      /* floats */
    SCALES_SYMMETRIC, /* f16 scale [PANEL]; minimum = offset * scale */
    SCALES_MINIMUM,   /* f16 scale and minimum [2][PANEL] */
    SCALES_K, /* f16 d and d_min [2][PANEL], uint8 integers [8][2][PANEL]: scale = d * integer, minimum = -(d_min * integer) */
    SCALES_K6, /* f16 d [PANEL], uint8 integer + 128 [16][PANEL]: scale = d * integer, minimum = offset * scale */
};

struct matrix_part {
    enum tensor_type type;
    enum matrix_scales scales;
    int n_in, n_out, n_panels;
    int bits, group;                     /* as in struct tensor_format */
    float offset;                        /* minimum = offset * scale, where there is no minimum */
    int first_out;                       /* index of its first output in y */
    size_t step_bytes;                   /* scales of MATRIX_STEP k's; of a K type an eighth of its block's */
    size_t low_at, high_at, panel_bytes; /* offsets in a panel; scales are at 0 */
    uint8_t *panels;                     /* [n_panels][panel_bytes], in the matrix's block */
};

struct matrix {
    int n_in, n_out, n_panels, n_parts;
    struct matrix_part parts[MAX_MATRIX_PARTS];
    uint8_t *block; /* owned */
};

/* Row `out` of the matrix decoded to f32 [n_in]. */
void matrix_row(const struct matrix *m, int out, float *w);

#endif
