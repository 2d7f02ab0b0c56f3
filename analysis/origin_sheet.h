/* analysis/origin_sheet.h: the texts of a study one by one: where each comes from, how well the dense lane predicts it, and what the
 * lanes of each set lose on it; then the means of those that share an origin.
 *
 * A text that a model has seen while it was trained has a low dense NLL: what is said of sparse decoding should not hang on it.   */
#ifndef ANALYSIS_ORIGIN_SHEET_H
#define ANALYSIS_ORIGIN_SHEET_H

#include "analysis/corners.h"
#include "analysis/sheet.h"

int sheet_of_origins(struct sheet *t, const struct study *s, const struct corners *c, const char *name);

#endif
