/* kernels/measure_logits.h: the two passes over a vocabulary that measure_logits and sample are made of, for each instruction set.
 *
 * Logits x f32 [n]; m the greatest; e_i = exp(x_i - m), z = sum e_i, log p_i = (x_i - m) - log z, all in double.  Every
 * sum has LOGIT_SUMS partial sums, of the indices equal mod LOGIT_SUMS in rising order, added as
 * ((0+4)+(2+6)) + ((1+5)+(3+7)): the same bits on every instruction set.
 *
 *   entropy    = log z - sum e_i (x_i - m) / z        exactly log n for equal logits; never below 0
 *   KL(r || x) = sum e^r_i (log p^r_i - log p_i) / z^r   exactly 0 for equal logits: every term is
 *
 * A row with a logit that is no finite number has z NaN, and with it everything derived from z; its argmax is the greatest
 * number, -1 where it holds none.                                                                       */
#ifndef KERNELS_MEASURE_LOGITS_H
#define KERNELS_MEASURE_LOGITS_H

#include "kernels/cpu.h"

enum { LOGIT_SUMS = 8, LOGIT_GROUP = 4 };

struct logit_row {
    const float *x;      /* borrowed, [n] */
    int n, argmax;       /* ties: the lowest id */
    double max, z, log_z, entropy;
};

/* Up to LOGIT_GROUP rows against one reference, whose exponentials are computed once. */
struct logit_group {
    const struct logit_row *ref, *row[LOGIT_GROUP];
    int n_rows;
    double kl[LOGIT_GROUP];
};

struct logit_passes {
    void (*row)(struct logit_row *r); /* x and n given: fills the rest but log_z and entropy; entropy = sum e_i (x_i - m) / z */
    void (*kl)(struct logit_group *g);
    /* Ids that come before `id` in the order of falling logits, ties by rising id. */
    int (*rank)(const struct logit_row *r, int id);
    /* weight[i] = exp((x_i - m) / temperature), f64 [n]; their sum, in the order of every sum here. */
    double (*weigh)(const struct logit_row *r, double temperature, double *weight);
};

extern const struct logit_passes logit_passes_portable, logit_passes_avx2, logit_passes_avx512;

void logit_row_fill(enum cpu_isa isa, const float *x, int n, struct logit_row *r); /* everything */
void logit_group_kl(enum cpu_isa isa, struct logit_group *g);
int  logit_row_rank(enum cpu_isa isa, const struct logit_row *r, int id);
double logit_row_weigh(enum cpu_isa isa, const struct logit_row *r, double temperature, double *weight);

/* log p of an id; NaN for an id outside the vocabulary. */
static inline double logit_log_p(const struct logit_row *r, int id)
{
    return id < 0 || id >= r->n ? (double)__builtin_nanf("") : ((double)r->x[id] - r->max) - r->log_z;
}

#endif
