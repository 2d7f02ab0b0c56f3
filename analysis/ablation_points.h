/* analysis/ablation_points.h: the lanes of a study as points in the space of their settings.  Private to the ablation tables. */
#ifndef ANALYSIS_ABLATION_POINTS_H
#define ANALYSIS_ABLATION_POINTS_H

#include "analysis/ablation.h"

/* Whose cache is read, and how. */
enum point_role { POINT_OWN, POINT_CLEAN, POINT_STALE };

struct ablation_point {
    int lane;
    enum point_role role;
    double at[N_AXES]; /* settings; of a stale probe, those of the lane whose cache it reads */
};

/* points: [s->n_lanes] at least.  Returns how many lanes are points: not the dense one, nor the control, nor probes of other kinds. */
int points_make(const struct study *s, struct ablation_point *points);

/* Alike in everything but the axes a and b (N_AXES: none). */
bool points_alike(const struct ablation_point *x, const struct ablation_point *y, enum axis a, enum axis b);

double axis_default(enum axis axis);
/* The order of values: by size, never last. */
int axis_compare(enum axis axis, double x, double y);
/* "0.9", "minmax", "never" */
const char *axis_print(char *text, size_t n_bytes, enum axis axis, double x);

/* Values of the axis that points alike to `like` take, a and b as above, in order: values [n_points], returns their number. */
int axis_values(const struct ablation_point *points, int n_points, const struct ablation_point *like, enum axis axis, enum axis other,
                double *values);
/* The first point alike to `like` with this value of the axis, or NULL. */
const struct ablation_point *point_at(const struct ablation_point *points, int n_points, const struct ablation_point *like, enum axis axis,
                                      double value);

#endif
