/* analysis/drift_where.h: where the drift sits: by layer, by place in the block, by stale tokens, and against what attention read.
 *
 * Each function gives one number for each text, which estimate_of() turns into a mean with its interval.  NaN: the text has none. */
#ifndef ANALYSIS_DRIFT_WHERE_H
#define ANALYSIS_DRIFT_WHERE_H

#include "analysis/study.h"

/* ---- depth ---- */

/* Mean over the steps of a lane, by layer: out [n_texts][n_layers]. */
int where_layers(const struct study *s, int lane, enum study_map map, double *out);
/* The same by bins of stale tokens: out [n_texts][n_layers][STUDY_STALE_BINS]. */
void where_stale_layers(const struct study *s, int lane, enum study_map map, double *out);

/* ---- place in the block, stale tokens ---- */

/* Mean over the steps at each place in the block: out [n_texts][STUDY_SLOTS]. */
void where_slots(const struct study *s, int lane, enum quantity q, double *out);
/* Mean over all steps of the lanes with so many stale tokens: out [n_texts][STUDY_STALE_BINS]. */
void where_stale(const struct study *s, const int *lanes, int n_lanes, enum quantity q, double *out);

/* ---- against another quantity at the same steps ---- */

enum { WHERE_PARTS = 5 };

/* Spearman's rank correlation of y and x over the steps of each run, mean over the runs of a text: out [n_texts].  NaN: fewer
 * than WHERE_MIN_STEPS steps that have both, or a quantity that does not vary. */
enum { WHERE_MIN_STEPS = 16 };
int where_ranks(const struct study *s, int lane, enum quantity y, enum quantity x, double *out);
/* The steps of each run parted by x into WHERE_PARTS parts of as many steps, least first: the mean of x and of y in each,
 * means over the runs of a text: out_x, out_y [n_texts][WHERE_PARTS]. */
int where_parts(const struct study *s, int lane, enum quantity y, enum quantity x, double *out_x, double *out_y);

#endif
