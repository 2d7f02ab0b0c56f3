/* analysis/ablation.h: the axes along which the lanes of a study vary, and a table for each.
 *
 * A setting is an axis where two lanes differ in it and in nothing else.  Lanes that differ in it alone are a group; a probe of the
 * dense cache stands with its like (clean), and a probe that reads a lane's cache densely with that lane's settings (stale).
 *
 * The table of an axis has a row for each value of each group, with the paired difference, over the steps that both have, to the
 * group's reference: the lane at the setting's default, or at the smallest value.  Where two groups or more of lanes with their own
 * cache have every value of the axis, their mean comes first (the marginal table).  A table of two axes (crossed) has a row for each
 * value of the one and a column for each of the other, the rest being equal.                                                     */
#ifndef ANALYSIS_ABLATION_H
#define ANALYSIS_ABLATION_H

#include "analysis/sheet.h"
#include "analysis/study.h"

enum axis {
    AXIS_SELECTOR,
    AXIS_SPARSITY,
    AXIS_BLOCK_SIZE,
    AXIS_LOCAL_BLOCKS,
    AXIS_MIN_BLOCKS,
    AXIS_DENSE_LAYERS,
    AXIS_INTERVAL, /* never: after the last of the values */
    AXIS_PHASE,
    AXIS_DENSE_UNTIL,
    AXIS_EQUAL_BYTES,
    AXIS_PERTURB,
    N_AXES
};

extern const char *const axis_keys[N_AXES]; /* as in configs */

enum { CROSSED_MIN_CELLS = 6 };

/* NULL-terminated names of the tables, without a study's suffix: "ablation-interval" .., "crossed-sparsity-interval" .. */
extern const char *const ablation_sheet_names[];

/* Adds the tables: those of one axis, then those of an axis and the interval.  suffix: of every table's name. */
int ablation_sheets(struct sheet_list *l, const struct study *s, const char *suffix);

#endif
