/* kernels/measure.h: what the CPU's measuring operations share: which lanes have a value, and relative differences.
 *
 * The operations write only what exists: everything else in the record stays as record_clear left it.
 *
 *   - A lane without a row (row_of_lane -1, or from its `end` on) gets nothing, but for the token (measure_logits).
 *   - Comparisons (with lane 0 or with a twin) need both lanes' rows, and that neither has diverged; the others
 *     (kept, best and stale mass, blocks_read, selected_blocks, nll, entropy, top3_hit, argmax) go on along the lane's own stream.
 *   - A distance to the twin is over lane 0's norm, so it needs lane 0's row too.
 *   - A row of a sparse lane that has no block list (in its dense layers) reads every block of its context: blocks_read says so,
 *     and selected_blocks, which nobody selected, are -1 throughout.
 *
 * Every sum over elements of K, V, attention, residual and hidden rows is one chain in double in index order; a sum by KV head
 * is a chain of its own over that head's elements.  Each lane is one thread's work, so the number of threads and the
 * instruction set cannot change a bit.                                                                  */
#ifndef KERNELS_MEASURE_H
#define KERNELS_MEASURE_H

#include "core/ops.h"
#include "kernels/cpu.h"

#include <math.h>

/* Rows of the lane, and of lane 0 and the twin where a comparison with them exists; -1 none. */
struct measure_rows {
    int row, ref, twin;
};
struct measure_rows measure_rows_of(const struct measure *m, int lane);

/* Bytes that measure_layer needs of a thread's slice of the workspace (two doubles for each block of a context), sample
 * (a weight and an id for each token), and both: a context has at most as many blocks as tokens. */
static inline size_t measure_layer_workspace(int mass_blocks)
{
    return 2 * sizeof(double) * (size_t)mass_blocks;
}
static inline size_t sample_workspace(int vocab)
{
    return (sizeof(double) + sizeof(int32_t)) * (size_t)vocab;
}
static inline size_t measure_workspace(int vocab, int max_context)
{
    const size_t layer = measure_layer_workspace(max_context), sample = sample_workspace(vocab);
    return layer > sample ? layer : sample;
}

/* Groups mass, parts and selection of one lane other than 0, in measure_mass.c; scratch: measure_layer_workspace bytes. */
void measure_mass(const struct measure_layer_args *a, int lane, const struct measure_rows *rows, double *scratch);
void measure_selection(const struct measure_layer_args *a, int lane, const struct measure_rows *rows);

/* |x - r|^2 and |r|^2, f32 [n] each. */
struct squares {
    double diff, ref;
};
static inline struct squares squares_of(const float *x, const float *r, size_t n)
{
    struct squares s = { 0, 0 };
    for (size_t i = 0; i < n; i++) {
        const double d = (double)x[i] - (double)r[i];
        s.diff += d * d;
        s.ref += (double)r[i] * (double)r[i];
    }
    return s;
}

/* The relative difference that two sums of squares stand for; 0/0 = 0. */
static inline double squares_rel(double diff, double ref)
{
    return diff == 0 && ref == 0 ? 0 : sqrt(diff / ref);
}

static inline void measure_put(const struct measure *m, enum record_var v, size_t i, double x)
{
    float *at = record_at(m->layout, m->record, v);
    if (at) at[i] = (float)x;
}

static inline bool measure_has(const struct measure *m, enum record_var v)
{
    return m->layout->at[v] != RECORD_OFF;
}

#endif
