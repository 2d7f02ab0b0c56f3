/* analysis/plot_compare.h: results side by side in one figure: a row for each lane, a mark for each of the results.      */
#ifndef ANALYSIS_PLOT_COMPARE_H
#define ANALYSIS_PLOT_COMPARE_H

#include "analysis/evidence.h"
#include "analysis/figure.h"

/* all: [n].  Part 0, 1, .. of the lanes; 1: there is no such part, or nothing to draw. */
int plot_compare(struct figure *f, const struct evidence *all, int n, int part);

#endif
