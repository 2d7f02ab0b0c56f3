/* kernels/reference.h: obvious versions, in double and without any blocking, of the operations on the KV cache: what
 * the fast ones are tested against.  Slow; they read the cache through core/kv_cache.h's layout alone.       */
#ifndef KERNELS_REFERENCE_H
#define KERNELS_REFERENCE_H

#include "core/ops.h"

/* Element i of K or V of a token of a context (KV_PREFIX or a store; tail or NO_TAIL; position: the context's last). */
struct reference_context {
    const struct kv_cache *kv;
    int layer, store, tail, position;
};
double reference_k(const struct reference_context *c, int kv_head, int token, int i);
double reference_v(const struct reference_context *c, int kv_head, int token, int i);

/* gamma_n = n u / (1 - n u), u = 2^-24: the relative error of n roundings to float32 (Higham, Accuracy and Stability of
 * Numerical Algorithms, section 3.1). */
double reference_gamma(int n);

/* Softmax weights of the tokens that are read: probability f64 [position + 1], 0 elsewhere.  read [position + 1], NULL: all.
 * Returns a bound on the relative error of a weight computed in float32 before it is divided by the sum:
 * the score's two chains (s and the maximum's) are off by gamma(head_dim + 2) sum |q k| scale each, their difference by
 * u |s - m|, the exponential by 2 u. */
double reference_softmax(const struct reference_context *c, const float *q, int kv_head, const bool *read, double *probability);

/* Output of one head, f64 [head_dim], and a bound [head_dim] on a float32 implementation's error: each weight off by
 * reference_softmax's in numerator and sum, chains of n and n / 16 + 5 roundings, one division.  probability [position + 1]:
 * receives the weights. */
void reference_attend(const struct reference_context *c, const float *q, int kv_head, const bool *read, double *probability,
                      double *out, double *bound);

/* Softmax mass by block, f64 [blocks of the context], and of the tokens stale_from .. position - 1.  Returns a bound on the relative
 * error of each.  probability as above. */
double reference_block_mass(const struct reference_context *c, const float *q, int kv_head, int block_size, int stale_from,
                            double *probability, double *mass, double *stale);

/* Selection of one row and KV head as core/ops.h says it, from the cached keys themselves: no
 * key sets.  Returns the count, -1 for a row without a list; blocks [blocks of the context] ascending; score, of the same size,
 * is workspace. */
int reference_select(const struct select_args *a, int row, int kv_head, double *score, int32_t *blocks);

#endif
