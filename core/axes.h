/* core/axes.h: lists become points.
 *
 * Every axis has one or several values.  The lists multiply, the first axis slowest, except that
 *   zip      pairs lists of equal length, so that they count as one;
 *   include  then adds points: keys that it does not name take the axis's value, which must be single;
 *   exclude  then drops the points that match every key of one of its maps (a list in it: any of).
 * A point that is there twice is refused.                                                               */
#ifndef CORE_AXES_H
#define CORE_AXES_H

#include "core/notes.h"
#include "core/schema.h"

struct axis {
    const char *key;                      /* as written in zip, include and exclude: "sparsity", "prompt.tokens" */
    const struct schema_field *field;
    const struct schema_setting *setting; /* its values [n >= 1] */
};

struct axes {
    const char *path;                     /* where it stands, for messages: "lanes.resa", "" at the top */
    const char *title;                    /* what a point is: "a lane of resa" */
    const struct axis *axis;              /* [n] */
    int n;
    const struct yaml_node *zip, *include, *exclude; /* NULL where not given */
    int max_points;
};

struct points {
    struct schema_value *values;          /* owned [n][n_axes] */
    const struct yaml_node **nodes;       /* owned [n]: the include map that added the point, or NULL */
    int n, max, n_axes;
};

/* Errors go to d; -1 for no memory alone.  No point is left after an error. */
int  axes_expand(const struct axes *a, struct points *p, struct notes *notes, struct diag *d);
void points_close(struct points *p);

#endif
