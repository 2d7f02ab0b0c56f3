/* analysis/pareto.h: what a lane costs against what it errs, and which lanes no other beats in both.
 *
 * Points are the lanes that could decode by themselves: sparse from the first step, with a cache of their own, not disturbed.  Cost is the KV
 * bytes per step, twice: as the trace counts them, and by the paper's equation 6 (Rectified Sparse Attention, arXiv 2506.04108),
 *
 *     bytes = KV (1/b + active + 1/f)       1/f: 0 where never rectified
 *
 * KV being what the dense lane reads per step; the equation knows no least number of blocks and no partial last one.
 * A lane is in the Pareto set of a cost and an error where no other has both at most as large and one of them smaller, by the
 * means over texts.  How far that is the texts' chance: the share of PARETO_REPLICATES draws of whole texts with replacement in
 * which it is so, costs being the same.  The oracle selector reads everything to choose: it is a point, in no Pareto set. */
#ifndef ANALYSIS_PARETO_H
#define ANALYSIS_PARETO_H

#include "analysis/corners.h"
#include "analysis/sheet.h"

enum pareto_cost { PARETO_EQUATION, PARETO_COUNTED, N_PARETO_COSTS };
enum { N_PARETO_ERRORS = 4, PARETO_REPLICATES = 1000 };

/* An error is value * scale + offset of a measure, so that less is better. */
struct pareto_error {
    enum measure measure;
    double scale, offset;
    const char *key, *label;
};
extern const struct pareto_error pareto_errors[N_PARETO_ERRORS];
extern const char *const pareto_cost_labels[N_PARETO_COSTS];

struct pareto_point {
    const struct corner_set *set; /* borrowed */
    const struct corner *corner;  /* borrowed */
    bool stands;                  /* may be in a Pareto set */
    double cost[N_PARETO_COSTS];  /* bytes per step; NaN: unknown */
    struct estimate error[N_PARETO_ERRORS];
    bool best[N_PARETO_COSTS][N_PARETO_ERRORS];
    double share[N_PARETO_COSTS][N_PARETO_ERRORS]; /* NaN: fewer than ESTIMATE_MIN_TEXTS texts */
};

struct pareto {
    struct pareto_point *points; /* owned [n], by set, then as in it */
    int n;
    double dense_bytes; /* per step; NaN: unknown */
};

int pareto_open(struct pareto *p, const struct study *s, const struct corners *c);
void pareto_close(struct pareto *p);

/* The points as a table: lane, costs, errors with their intervals, and of which Pareto sets it is. */
int pareto_sheet(struct sheet *t, const struct study *s, const struct pareto *p, const char *name);

#endif
