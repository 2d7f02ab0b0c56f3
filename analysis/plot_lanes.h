/* analysis/plot_lanes.h: which lanes a figure shows, and how it tells them apart.
 *
 * Lanes of one label ("f32", "never") in different sets are one entry.  never is black in every figure; in a part of up to
 * FIGURE_STYLES lanes no two have one style.                                                                     */
#ifndef ANALYSIS_PLOT_LANES_H
#define ANALYSIS_PLOT_LANES_H

#include "analysis/corners.h"

#include "core/notes.h"

struct plot_lanes {
    const struct corner **corners; /* owned [n], borrowed: the first of its label, in the order of roles and settings */
    int *styles;                   /* owned [n] */
    int n;
};

/* The lanes with a cache of their own: rectified, never, equal. */
int plot_lanes_open(struct plot_lanes *p, const struct study *s, const struct corners *c);
void plot_lanes_close(struct plot_lanes *p);

/* The set's lane of that label, NULL: it has none. */
const struct corner *plot_lanes_in(const struct corner_set *set, const char *label);

/* What a part of a figure shows: sets first_set .. first_set + n_sets - 1 and some of the lanes. */
enum { PLOT_MAX_SHOWN = 12 };
struct plot_view {
    int first_set, n_sets;
    const struct corner *shown[PLOT_MAX_SHOWN]; /* borrowed, as in plot_lanes */
    int styles[PLOT_MAX_SHOWN];
    int n;
};

/* At most max_sets and max_lanes (up to PLOT_MAX_SHOWN - 1) a part, in parts of nearly one size; with_never: beside them never
 * is in each.  False: there is no such part. */
bool plot_view_open(struct plot_view *v, const struct plot_lanes *p, int n_sets, int part, int max_sets, int max_lanes,
                    bool with_never);

/* Part `part` of n things of which max fit: *first, *count; false: there is no such part. */
bool plot_part(int n, int max, int part, int *first, int *count);

#endif
