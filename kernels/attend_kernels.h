/* kernels/attend_kernels.h: the inner loops of attention, block mass and selection, one table for each instruction set.
 *
 * The same code (attend_kernels_code.h) is compiled three times over vectors of 1, 8 and 16 floats; what an element goes
 * through is the same sequence of operations in each, so all give the same bits.  A pair is one query head of one row.
 *
 *   q      f32 [head_dim][q_stride]   queries, a column for each pair
 *   k      n_tiles pointers to f32 [head_dim][KV_TILE]
 *   v      n_tiles pointers to f32 [KV_TILE][head_dim]
 *   s      f32 [n_pairs][s_stride]    scores, then exponentials, KV_TILE for each tile
 *   mask   bit i: token i of the tile is read                                                            */
#ifndef KERNELS_ATTEND_KERNELS_H
#define KERNELS_ATTEND_KERNELS_H

#include "kernels/cpu.h"

enum { FULL_TILE = 0xffff };

struct attend_kernels {
    /* s[pair][tile * KV_TILE + i] = (chain over d of fma(q_d, k_di, acc), from 0) * scale. */
    void (*scores)(const float *q, int q_stride, int n_pairs, int head_dim, const float *const *k, int n_tiles, float scale,
                   float *s, size_t s_stride);
    /* One pair: tiles 0 .. n_full-1 are read whole, the n_rest after them by mask.  m = max of what is read; s becomes exp(s - m), 0
     * where not read.  Returns the sum: by position mod KV_TILE in tile order, then i with i + 8, + 4, + 2, + 1. */
    float (*softmax)(float *s, int n_full, const uint16_t *mask, int n_rest);
    /* The same without the sum. */
    void (*exponentials)(float *s, int n_full, const uint16_t *mask, int n_rest);
    /* out[pair][d] = chain over the tokens read, in order, of fma(e, v_d, out[pair][d]).  mask NULL: all are read. */
    void (*weigh)(const float *e, size_t e_stride, int n_pairs, int head_dim, const float *const *v, const uint16_t *mask,
                  int n_tiles, float *out, size_t out_stride);
    /* Sum of e[from .. to-1] in double: by index mod KV_TILE in order, then as softmax's. */
    double (*sum)(const float *e, int from, int to);
    /* The sum of each block of e[0 .. n_tokens-1]; returns the sum of those, in order. */
    double (*block_sums)(const float *e, int n_tokens, int block_size, double *sums);
    /* n_tiles tiles of KEY_TILE block keys, one after the other: score = chain over d of acc += max(q_d max_d, q_d min_d). */
    void (*key_scores)(const float *q, int head_dim, const float *keys, int n_tiles, float *score);
    /* How many of x[0 .. n-1] are at least t. */
    int (*count_at_least)(const int32_t *x, int n, int32_t t);
};

extern const struct attend_kernels attend_kernels_portable, attend_kernels_avx2, attend_kernels_avx512;

/* AVX-512's vectors need head_dim to be a multiple of 16; where it is not, AVX2's give the same bits. */
const struct attend_kernels *attend_kernels_for(enum cpu_isa isa, int head_dim);

#endif
