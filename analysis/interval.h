/* analysis/interval.h: how long a rectification interval may be for an error that is allowed, and what it costs.
 *
 * The error is NLL above the dense lane, or KL from it, and never a distance of the cache: a distance is not harm.  Of an interval
 * it is measured where a lane of it was run, and predicted from the growth law f of NLL (KL) above clean:
 *
 *     error(f) = error of the clean lane + mean of f(s) over s = 0 .. f - 1
 *
 * over the texts of the law, at most for the longest staleness that was run, and only where the law's lanes were compared at the
 * same steps.  An interval is allowed where the upper end of the error's 95 % interval over texts is at most the bound; advised is
 * the longest one up to which every shorter one is allowed too.  Never rectifying counts as the longest of all.
 *
 * The cost is the bytes of K, V and block keys for each step over the dense lane's: counted in the trace where measured, and the
 * paper's 1 / block size + active + 1 / f (its equation 6), without least and local blocks.                              */
#ifndef ANALYSIS_INTERVAL_H
#define ANALYSIS_INTERVAL_H

#include "analysis/growth_study.h"

enum interval_error { INTERVAL_NLL, INTERVAL_KL, N_INTERVAL_ERRORS };

struct interval_error_def {
    const char *key, *label;
    enum measure measure;       /* against the dense lane */
    enum growth_quantity above; /* against the clean lane */
};
extern const struct interval_error_def interval_error_defs[N_INTERVAL_ERRORS];

enum { INTERVAL_NEVER = 0 };

struct interval_point {
    int interval; /* INTERVAL_NEVER */
    bool measured;
    int lane;              /* of the study; STUDY_ABSENT: predicted */
    struct estimate error; /* predicted: mean, low, high and n alone */
    double counted;        /* bytes over the dense lane's; NaN: predicted */
    double equation;       /* the same by the paper's equation */
};

struct interval_curve {
    const struct growth_group *group; /* borrowed */
    enum interval_error error;
    struct estimate clean;         /* the clean lane's: what is left at interval 1 */
    struct interval_point *points; /* owned [n]: the measured ones by interval, never last, then the predicted ones */
    int n, n_measured;
    char from[160]; /* the law of the predicted ones, in words; "": nothing is predicted */
    char why[160];  /* why nothing is predicted; "": it is */
};

/* error: for INTERVAL_NLL the study must be of a text, else there are no points and why says so. */
int interval_curve_open(struct interval_curve *c, const struct study *s, const struct growth_set *set,
                        enum interval_error error);
void interval_curve_close(struct interval_curve *c);

/* The advised one of the measured or of the predicted points; NULL: none is allowed (or there are too few texts for a limit). */
const struct interval_point *interval_recommend(const struct interval_curve *c, double bound, bool measured);

#endif
