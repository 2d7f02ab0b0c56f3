/* kernels/block_top.h: the best k of n scores, the ties to the lower index, ascending.
 *
 * Scores become integers of the same order (NaN counts as -inf, -0 as 0); bisection over the integers finds the k-th
 * largest, by counting; one pass then collects what is above it and the first of what equals it.          */
#ifndef KERNELS_BLOCK_TOP_H
#define KERNELS_BLOCK_TOP_H

#include "kernels/attend_kernels.h"

/* score [n]; key [n]: workspace.  chosen receives k indices (k <= n). */
void block_top(const struct attend_kernels *kernels, const float *score, int32_t *key, int n, int k, int32_t *chosen);
/* The same of doubles. */
void block_top_f64(const double *score, int n, int k, int32_t *chosen);
/* The same of keys that are ordered already. */
void block_top_keys(const struct attend_kernels *kernels, const int32_t *key, int n, int k, int32_t *chosen);

#endif
