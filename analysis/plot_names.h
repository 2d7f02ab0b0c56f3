/* analysis/plot_names.h: names of points in a panel, where they cover neither points nor one another.             */
#ifndef ANALYSIS_PLOT_NAMES_H
#define ANALYSIS_PLOT_NAMES_H

#include "analysis/plot_curve.h"

/* A panel in points of a page, from its lower left corner on. */
struct name_canvas {
    double width, height;
    struct plot_range x, y; /* the axes' ends */
};
struct name_box {
    double left, right, low, high;
};

/* The room of a ringed point. */
struct name_box name_ring(const struct name_canvas *c, double x, double y);
/* Room for a name of so many letters beside a ring, free of the panel's edges and of the boxes taken [n]: below it at its left,
 * where a Pareto set leaves it free, else above it at its right.  False: neither is free. */
bool name_place(const struct name_canvas *c, const struct name_box *ring, size_t n_letters,
                const struct name_box *taken, int n, struct name_box *box);
/* The middle of a box, on the axes. */
void name_middle(const struct name_canvas *c, const struct name_box *box, double *x, double *y);

#endif
