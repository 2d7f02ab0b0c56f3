/* analysis/plot_against.h: errors and cost of lanes against a setting: a column of panels for each setting, a row for each measure.
 *
 * A column has places 0 .. n - 1, one for each value, and at each a lane of each series or none.                    */
#ifndef ANALYSIS_PLOT_AGAINST_H
#define ANALYSIS_PLOT_AGAINST_H

#include "analysis/plots.h"

enum { AGAINST_COLUMNS = 3, AGAINST_SERIES = 8, AGAINST_PLACES = 16 };

struct against_column {
    char title[192]; /* what else is fixed */
    const char *name;
    int n, first; /* first: the step from which on all that is shown is measured */
    char places[AGAINST_PLACES][16];
    int lanes[AGAINST_SERIES][AGAINST_PLACES]; /* of the study, or STUDY_ABSENT */
};

struct against {
    struct against_column columns[AGAINST_COLUMNS];
    int n_columns;
    const char *labels[AGAINST_SERIES]; /* borrowed */
    int styles[AGAINST_SERIES];
    int n_series;
};

/* A place at the end of a column, without lanes; -1: there is no room. */
int against_place(struct against_column *column, const char *name);

/* Data, drawing and all but the caption.  1: no lane has a value. */
int against_draw(struct figure *f, const struct study *s, const struct against *a);

/* "NLL above the dense lane, distance .. and counted KV bytes per step": what the rows are. */
const char *against_measures(const struct study *s);

#endif
