/* analysis/growth_sheets.h: the tables of growth laws, predictions and advised intervals.  Each is opened here and the caller's
 * to close, after a failure too.                                                                                   */
#ifndef ANALYSIS_GROWTH_SHEETS_H
#define ANALYSIS_GROWTH_SHEETS_H

#include "analysis/interval.h"
#include "analysis/sawtooth.h"
#include "analysis/sheet.h"

/* The chosen law of each error: a row for each group of lanes and quantity. */
int sheet_of_growth(struct sheet *t, const struct growth_study *g, const char *name);
/* Every law of each, from both sources. */
int sheet_of_growth_laws(struct sheet *t, const struct growth_study *g, const char *name);
/* The curves: bins of stale tokens, mean over texts, the law, its band, what is left. */
int sheet_of_growth_curves(struct sheet *t, const struct growth_study *g, const char *name);
/* Each text's own fit of the chosen law. */
int sheet_of_growth_texts(struct sheet *t, const struct growth_study *g, const char *name);

/* Each rectified lane's mean, predicted and measured; and over the window. */
int sheet_of_sawteeth(struct sheet *t, const struct growth_study *g, const struct sawteeth *w, const char *name);
int sheet_of_sawtooth_curves(struct sheet *t, const struct growth_study *g, const struct sawteeth *w, const char *name);

/* curves: [n].  For each of n_bounds bounds the advised interval; and every interval's error and cost. */
int sheet_of_intervals(struct sheet *t, const struct study *s, const struct interval_curve *curves, int n,
                       const double *bounds, int n_bounds, const char *name);
int sheet_of_interval_points(struct sheet *t, const struct study *s, const struct interval_curve *curves, int n,
                             const char *name);

#endif
