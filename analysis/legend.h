/* analysis/legend.h: what the labels of lanes mean, for the captions of figures and tables.                          */
#ifndef ANALYSIS_LEGEND_H
#define ANALYSIS_LEGEND_H

#include "analysis/corners.h"

/* "f16, f32: rectified every 16 or 32 steps; never: not rectified; ..", of the lanes listed, list: [n], and of no others.
 * Writes to the caller's text, which it returns; an empty list gives "". */
const char *legend_print(const struct study *s, const struct corner *const *list, int n, char *text, size_t n_bytes);

#endif
