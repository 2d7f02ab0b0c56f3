/* analysis/estimate.h: what a handful of texts say about a mean, a median, a ratio of means.
 *
 * The unit of sampling is a text: steps of one stream depend on one another, excerpts and seeds of one text share it; both are
 * averaged before they come here, so that a resampled text brings all that was seen of it (a cluster bootstrap).
 *
 * The interval of a mean is the bootstrap-t (Efron 1982; Hall 1988): t* = (mean* - mean) / error* over ESTIMATE_REPLICATES
 * resamples of the texts, and [mean - t*(0.975) error, mean - t*(0.025) error], each side at least as far out as Student's.
 * Picks come from Philox, so that the same values give the same bytes, and the same texts are drawn for every lane.  Where
 * so many texts are equal that a quantile of t* is not finite, there is no interval.
 *
 * Why this one.  Share of nominal 95 % intervals that hold the true mean (tests/sim_coverage.c, 4000 samples each,
 * so +- 0.7 points at 95 %; means over 64 steps, AR(1) with 0.5, plus an effect of the text):
 *
 *     text effects                 texts    this   bootstrap-t   Student    BCa   percentile   width, this / Student's
 *     no text effect                   6    96.5          94.4      94.9   86.2         86.4   1.22
 *     no text effect                   8    96.5          94.9      95.5   88.6         88.8   1.15
 *     no text effect                  12    96.5          95.3      95.3   91.8         91.4   1.10
 *     no text effect                  16    96.0          95.2      95.2   92.5         92.4   1.04
 *     normal                           6    96.8          94.8      95.0   86.5         86.2   1.23
 *     normal                           8    96.5          95.2      95.0   89.0         89.1   1.15
 *     normal                          12    96.0          95.1      94.9   91.3         91.3   1.08
 *     normal                          16    96.0          95.2      95.3   92.9         92.9   1.06
 *     skewed (log-normal, 0.75)        6    92.0          90.7      88.6   80.7         79.8   1.37
 *     skewed (log-normal, 0.75)        8    92.7          91.7      89.5   84.5         84.0   1.27
 *     skewed (log-normal, 0.75)       12    93.6          92.9      90.8   87.6         87.2   1.24
 *     skewed (log-normal, 0.75)       16    93.6          92.6      90.2   88.4         87.9   1.20
 *     very skewed (log-normal, 1)      6    88.8          87.9      82.9   76.4         74.7   1.46
 *     very skewed (log-normal, 1)      8    89.6          88.9      84.1   80.7         79.1   1.40
 *     very skewed (log-normal, 1)     12    91.3          90.7      86.0   84.5         83.4   1.39
 *     very skewed (log-normal, 1)     16    92.8          92.2      87.6   87.4         86.0   1.35
 *     heavy (Student's t, 3)           6    96.4          93.4      95.5   82.3         84.5   1.26
 *     heavy (Student's t, 3)           8    96.6          93.4      95.7   85.0         88.0   1.17
 *     heavy (Student's t, 3)          12    96.3          93.2      96.0   87.9         90.5   1.11
 *     heavy (Student's t, 3)          16    96.0          92.2      95.7   87.9         91.1   1.10
 *
 * With 7 of 10 texts at exactly 0 Student's holds the mean in 81 to 84 %; this one is given for 26 % of samples of 6 texts
 * and 74 % of 16 and holds it in 98.7 % and more of those.  Fieller's interval of a ratio holds it in 94.4 to 95.3 %.
 * At 4 texts nothing is printed: fewer than ESTIMATE_MIN_TEXTS give no interval.                                   */
#ifndef ANALYSIS_ESTIMATE_H
#define ANALYSIS_ESTIMATE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ESTIMATE_MIN_TEXTS = 6, ESTIMATE_REPLICATES = 3999 };

struct estimate {
    int n;            /* texts that have a value */
    int n_above;      /* of them, with a value above 0 */
    int n_below;      /* and below 0: a tie is on no side */
    double mean;      /* NaN: n is 0 */
    double low, high; /* 95 % interval; NaN: too few texts or too many equal ones, or an infinite mean */
    double error;     /* standard error of the mean, s / sqrt(n); NaN: n is below 2 */
    double median;    /* NaN: n is 0 */
    double quartiles[2]; /* the first and the third; NaN: n is 0 */
};

/* values: [n], one for each text, NaN where it has none.  One that is infinite makes the mean so, without an interval. */
struct estimate estimate_of(const double *values, int n);

/* Nothing: no text has a value. */
static inline struct estimate estimate_none(void)
{
    return (struct estimate){ .mean = NAN, .low = NAN, .high = NAN, .error = NAN, .median = NAN, .quartiles = { NAN, NAN } };
}
static inline bool estimate_has_interval(struct estimate e)
{
    return e.n >= ESTIMATE_MIN_TEXTS && !isnan(e.low);
}
/* Whether the interval lies on one side of 0. */
static inline bool estimate_is_clear(struct estimate e)
{
    return estimate_has_interval(e) && (e.low > 0 || e.high < 0);
}

/* mean(above) / mean(below) over the texts that have both, with Fieller's 95 % interval (1954): all r for which
 * above - r below may have mean 0.  It is undefined, and its interval NaN, where the denominator's interval holds 0. */
struct ratio {
    int n;
    double value, low, high; /* value NaN: no text, or a denominator of 0 */
    bool defined;            /* the denominator's interval lies on one side of 0: there are texts enough */
};
struct ratio ratio_of(const double *above, const double *below, int n);

/* The texts of a replicate, 0 ..: pick [n], each 0 .. n - 1.  For other cluster bootstraps too. */
void estimate_resample(uint64_t seed, int replicate, int n, int *pick);

/* All skip NaN and are NaN where nothing is left.  median_of() and quantile_at() reorder their values; a quantile lies on the
 * line between the two nearest of them, value i being the quantile i / (n - 1). */
double mean_of(const double *values, size_t n);
double median_of(double *values, size_t n);
double quantile_at(double *values, size_t n, double share);

#endif
