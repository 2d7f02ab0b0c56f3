/* kernels/perturb.h: the noise of a perturbed lane: x becomes x + e |x| g/|g|.
 *
 * g_i are Gaussian, in pairs by Box and Muller's transform from two Philox uniforms of 53 bits each:
 *
 *     words = Philox4x32-10(key = seed, counter = {pair, 2 layer + (0: K, 1: V), step, PHILOX_PERTURB}),  pair = i / 2
 *     u = 1 - uniform(words 0, 1),  w = uniform(words 2, 3)
 *     g_2pair = sqrt(-2 log u) cos(2 pi w),  g_2pair+1 = sqrt(-2 log u) sin(2 pi w)
 *
 * i counts KV heads and head_dim together, and so do the norms.  Everything is double, |x| and |g| summed in index
 * order; the result is rounded once.                                                                  */
#ifndef KERNELS_PERTURB_H
#define KERNELS_PERTURB_H

#include <stddef.h>
#include <stdint.h>

/* Gaussians 2 pair and 2 pair + 1. */
void perturb_pair(uint64_t seed, int step, int layer, int is_v, int pair, double g[2]);
/* x f32 [n], n even, in place. */
void perturb(float *x, int n, double e, uint64_t seed, int step, int layer, int is_v);

#endif
