/* analysis/estimate.h: what a handful of texts say about a mean.
 *
 * The unit of sampling is a text: steps of one stream depend on one another and are averaged before they come here.
 * The interval is Student's, mean +- t(0.975, n - 1) s / sqrt(n), and only given for ESTIMATE_MIN_TEXTS texts or more.  */
#ifndef ANALYSIS_ESTIMATE_H
#define ANALYSIS_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>

enum { ESTIMATE_MIN_TEXTS = 6 };

struct estimate {
    int n;            /* texts that have a value */
    int n_above;      /* of them, with a value above 0 */
    int n_below;      /* and below 0: a tie is on no side */
    double mean;      /* NaN: n is 0 */
    double low, high; /* 95 % interval; NaN: too few texts */
};

/* values: [n], one for each text, NaN where it has none. */
struct estimate estimate_of(const double *values, int n);

static inline bool estimate_has_interval(struct estimate e)
{
    return e.n >= ESTIMATE_MIN_TEXTS;
}
/* Whether the interval lies on one side of 0. */
static inline bool estimate_is_clear(struct estimate e)
{
    return estimate_has_interval(e) && (e.low > 0 || e.high < 0);
}

/* Both skip NaN and are NaN where nothing is left.  median_of() sorts its values. */
double mean_of(const double *values, size_t n);
double median_of(double *values, size_t n);

#endif
