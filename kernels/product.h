/* kernels/product.h: the kernel of the matrix product, one per instruction set (internal to kernels/).
 *
 * Each output is one chain of fused multiply-adds over k in ascending order; the kernel gets the chain's value so far and
 * leaves it further on, so k may be cut anywhere.                                                               */
#ifndef KERNELS_PRODUCT_H
#define KERNELS_PRODUCT_H

#include "kernels/cpu.h"
#include "kernels/matrix.h"

enum {
    PRODUCT_CHUNK = 256, /* k's that are decoded at a time, at most */
    PRODUCT_MAX_PANELS = 4,
};

struct product_kernels {
    /* Panels to take at a time for so many rows, at most PRODUCT_MAX_PANELS. */
    int (*panels)(int n_rows);

    /* acc[r][i] += x[r] times output i of the panels, over k0 .. k0 + n_k - 1; k0 and, but at the end, n_k are multiples of MATRIX_STEP.
     * x [n_rows][x_stride] begins at k0; w: workspace for n_k x n_panels x PANEL weights; acc [n_rows][acc_stride], aligned to 64 bytes. */
    void (*multiply)(const struct matrix_part *p, int panel, int n_panels, int k0, int n_k, int n_rows, const float *x,
                     size_t x_stride, float *w, float *acc, size_t acc_stride);
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
