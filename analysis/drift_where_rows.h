/* analysis/drift_where_rows.h: for the files that make the tables of analysis/drift_where_sheets.h: a table's columns once, then its
 * rows for each group of lanes.                                                                                    */
#ifndef ANALYSIS_DRIFT_WHERE_ROWS_H
#define ANALYSIS_DRIFT_WHERE_ROWS_H

#include "analysis/growth_study.h"
#include "analysis/sheet.h"

/* All borrowed. */
struct where {
    const struct growth_study *g;
    const struct study *s;
    const struct growth_set *set;
    int never; /* the study's lane */
};

/* Writes what the texts say of value i of one in values: [n_texts][n_values]. */
int where_estimate(struct sheet *t, const struct study *s, const double *values, size_t n_values, size_t i);

/* Errors against what attention read at the same step: rank correlations; means over parts of the steps. */
int where_mass_columns(struct sheet *t);
int where_mass_rows(struct sheet *t, const struct where *w);
int where_parts_columns(struct sheet *t);
int where_parts_rows(struct sheet *t, const struct where *w);

#endif
