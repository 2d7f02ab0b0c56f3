/* analysis/sheets.h: the tables of a study.  Each is opened here and the caller's to close, after a failure too.   */
#ifndef ANALYSIS_SHEETS_H
#define ANALYSIS_SHEETS_H

#include "analysis/corners.h"
#include "analysis/sheet.h"

/* One row for each lane: every measure. */
int sheet_of_lanes(struct sheet *t, const struct study *s, const char *name);
/* The four corners of each set: one row for each of its lanes. */
int sheet_of_corners(struct sheet *t, const struct study *s, const struct corners *c, const char *name);
/* Each pair of a set's lanes (probes of other caches left out): what the one has more than the other, step by step. */
int sheet_of_pairs(struct sheet *t, const struct study *s, const struct corners *c, const char *name);
/* The same, text by text: a row for each pair and measure, a column for each text. */
int sheet_of_texts(struct sheet *t, const struct study *s, const struct corners *c, const char *name);

#endif
