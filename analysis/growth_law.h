/* analysis/growth_law.h: laws by which an error may grow with the number of stale tokens s, and their least-squares fits.
 *
 * f(0) = 0 exactly: a lane without stale tokens is its clean twin.  From the first stale token on
 *
 *   constant      f(s) = jump
 *   linear        f(s) = jump + growth (s - 1)
 *   logarithmic   f(s) = jump + growth ln s
 *   power         f(s) = jump + growth (s - 1)^exponent
 *   saturating    f(s) = jump + growth (1 - exp(-(s - 1) / scale))
 *
 * so that jump is f(1) in all of them, and growth, which is at least 0, is 0 in the constant law.  A curve that falls is best
 * fitted by the constant one: it has not grown.                                                                  */
#ifndef ANALYSIS_GROWTH_LAW_H
#define ANALYSIS_GROWTH_LAW_H

enum growth_law { LAW_CONSTANT, LAW_LINEAR, LAW_LOGARITHMIC, LAW_POWER, LAW_SATURATING, N_GROWTH_LAWS };

enum { GROWTH_PARAMETERS = 3, GROWTH_MAX_BINS = 64, GROWTH_SHAPES = 48 };

struct growth_law_def {
    const char *name;
    int n_parameters;
    const char *parameters[GROWTH_PARAMETERS]; /* jump, growth, shape */
    const char *formula;                       /* for people */
};
extern const struct growth_law_def growth_law_defs[N_GROWTH_LAWS];

struct growth_fit {
    enum growth_law law;
    double parameters[GROWTH_PARAMETERS]; /* NaN from n_parameters on */
    double squares;                       /* weighted sum of squared residuals */
};

/* Where curves are known: bins of stale tokens.  The shapes that are tried first and their curves are made once. */
struct growth_axis {
    int n;                          /* bins */
    double s[GROWTH_MAX_BINS];      /* mean stale tokens of the bin, ascending, 1 or more */
    double s_max;                   /* the longest staleness that was run */
    double weight[GROWTH_MAX_BINS]; /* of the bin in a fit, above 0 */
    int n_shapes[N_GROWTH_LAWS];
    double shapes[N_GROWTH_LAWS][GROWTH_SHAPES]; /* ascending */
    /* f - jump where growth is 1, less its weighted mean, of weighted norm 1, times the weight: its product with y tells how
     * much of y's squares the shape takes. */
    double scores[N_GROWTH_LAWS][GROWTH_SHAPES][GROWTH_MAX_BINS];
};

/* s, weight: [n].  Fails where there are fewer than GROWTH_MIN_BINS bins, too many, or s does not ascend from 1 or more
 * on to s_max. */
enum { GROWTH_MIN_BINS = 5 };
int growth_axis_open(struct growth_axis *a, const double *s, const double *weight, int n, double s_max);

/* f(s); NaN where the law was not fitted. */
double growth_at(const struct growth_fit *fit, double s);

/* The law's least squares over y: [a->n], none of them NaN.  The exponent is within [0.1, 2], the scale from 1 to twice
 * s_max: the best of GROWTH_SHAPES values spaced by their logarithm, then Brent's method between its neighbours; for a
 * given shape the fit is linear, so that there are no starting values to get wrong. */
void growth_fit_law(const struct growth_axis *a, enum growth_law law, const double *y, struct growth_fit *fit);

/* Whether the shape stands at an end of its range: then the data do not hold it. */
int growth_fit_at_bound(const struct growth_axis *a, const struct growth_fit *fit);

#endif
