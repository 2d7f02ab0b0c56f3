/* kernels/product.h: the three kernels of the matrix product, one table of them per instruction set (internal to kernels/).
 *
 * Each output is one chain of fused multiply-adds over k in ascending order; a kernel gets the chain's value so far and
 * leaves it further on, so k may be cut anywhere.  Accumulators are [row][panel][PANEL] without gaps.              */
#ifndef KERNELS_PRODUCT_H
#define KERNELS_PRODUCT_H

#include "kernels/cpu.h"
#include "kernels/matrix.h"

enum {
    PRODUCT_CHUNK = 256,    /* k's that are decoded at a time, at most */
    PRODUCT_MAX_PANELS = 4, /* panels that any kernel takes at a time */
};

struct product_kernels {
    int row_panels, tile_panels; /* panels at a time, at most, in row() and in tile() */

    /* One row, all k: acc [n_panels][PANEL] += x [n_in] times panels panel .. panel + n_panels - 1; decoded in registers. */
    void (*row)(const struct matrix_part *p, int panel, int n_panels, const float *x, float *acc);

    /* w [n_k][stride]: the PANEL weights of k0 .. k0 + n_k - 1 as float32.  k0 and, but at the end, n_k: multiples of MATRIX_STEP. */
    void (*decode)(const struct matrix_part *p, int panel, int k0, int n_k, float *w, int stride);

    /* n_rows rows over n_k k's of decoded panels: x [n_rows][x_stride], w [n_k][n_panels][PANEL]. */
    void (*tile)(int n_rows, int n_panels, int n_k, const float *x, size_t x_stride, const float *w, float *acc);
};

/* k's of a chunk: nearly equal chunks, so that one's weights can be prefetched during the one before. */
static inline int product_chunk(int n_in)
{
    const int n_chunks = (n_in + PRODUCT_CHUNK - 1) / PRODUCT_CHUNK, steps = (n_in + MATRIX_STEP - 1) / MATRIX_STEP;
    return (steps + n_chunks - 1) / n_chunks * MATRIX_STEP;
}

extern const struct product_kernels product_portable;
#ifdef __x86_64__
extern const struct product_kernels product_avx2, product_avx512;
#endif

const struct product_kernels *product_kernels(enum cpu_isa isa);

#endif
