/* analysis/growth_report.h: what a report says of growth: its laws, predictions, advised intervals, as tables and sentences. */
#ifndef ANALYSIS_GROWTH_REPORT_H
#define ANALYSIS_GROWTH_REPORT_H

#include "analysis/interval.h"
#include "analysis/sawtooth.h"
#include "analysis/sheet.h"

/* What the tables are called before their suffix; NULL after the last. */
extern const char *const growth_sheet_names[];

struct growth_report {
    struct growth_study study;
    struct sawteeth sawteeth;
    struct interval_curve *intervals; /* owned [n_intervals]: of each group, each error */
    int n_intervals;
};

/* What cannot be said and why goes to missing. */
int growth_report_open(struct growth_report *r, const struct study *s, const struct corners *c, struct notes *missing);
void growth_report_close(struct growth_report *r);

/* Adds the tables.  suffix: of their names; bound: NaN, or one more than those that are always told. */
int growth_report_tables(const struct growth_report *r, double bound, struct sheet_list *tables, const char *suffix);

/* One sentence on a law, what: how the quantity is called; one on its group's rectified lanes, predicted.  None where there is
 * nothing to say. */
int growth_report_law_tell(const struct growth_set *set, enum growth_quantity q, const char *what, struct notes *findings);
int growth_report_teeth_tell(const struct growth_report *r, const struct growth_group *group, enum growth_quantity q,
                             const char *what, struct notes *findings);

/* All sentences. */
int growth_report_tell(const struct growth_report *r, double bound, struct notes *findings);

#endif
