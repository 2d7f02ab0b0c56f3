/* tests/growth_series.h: series whose growth law is known, as texts give them.
 *
 * Of text i, s stale tokens: y = level_i f(s) (1 + step), level_i log-normal of mean 1 (text effects), step normal and AR(1) along
 * the stream with the same variance throughout; a text may have a trend of its own in ln s.  Binned as the report bins them.                                    */
#ifndef TESTS_GROWTH_SERIES_H
#define TESTS_GROWTH_SERIES_H

#include "analysis/growth.h"
#include "analysis/study.h"

#include "core/mem.h"

#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#include <math.h>

struct series_kind {
    struct growth_fit truth;
    int n_texts, n_steps;
    double text_sd; /* of ln level */
    double step_sd, lag1;
    double trend_sd; /* of what a text's level gains over the series on its own account, on average nothing */
};

/* One text's means of bins 1 .. , y: [bins]. */
static inline void series_text(const struct series_kind *k, gsl_rng *rng, double *y)
{
    const double level = exp(k->text_sd * gsl_ran_ugaussian(rng) - k->text_sd * k->text_sd / 2);
    const double trend = k->trend_sd > 0 ? k->trend_sd * gsl_ran_ugaussian(rng) / log(k->n_steps) : 0;
    double step = k->step_sd * gsl_ran_ugaussian(rng);
    for (int bin = 1; study_stale_bin_first(bin) <= k->n_steps; bin++) {
        const int first = study_stale_bin_first(bin), end = study_stale_bin_first(bin + 1);
        double sum = 0;
        int n = 0;
        for (int s = first; s < end && s <= k->n_steps; s++, n++) {
            sum += level * growth_at(&k->truth, s) * (1 + trend * log(s) + step);
            step = k->lag1 * step + k->step_sd * sqrt(1 - k->lag1 * k->lag1) * gsl_ran_ugaussian(rng);
        }
        y[bin - 1] = sum / n;
    }
}

static inline int series_curves(const struct series_kind *k, gsl_rng *rng, struct growth_curves *c)
{
    double s[STUDY_STALE_BINS], weight[STUDY_STALE_BINS];
    int n = 0;
    *c = (struct growth_curves){ .n_texts = k->n_texts };
    for (int bin = 1; study_stale_bin_first(bin) <= k->n_steps; bin++, n++) {
        const int first = study_stale_bin_first(bin), end = study_stale_bin_first(bin + 1);
        const int last = end - 1 < k->n_steps ? end - 1 : k->n_steps;
        s[n] = (first + last) / 2.0;
        weight[n] = growth_weight(last - first + 1);
    }
    if (growth_axis_open(&c->axis, s, weight, n, k->n_steps) != 0) return -1;
    if (MEM_NEW(&c->y, k->n_texts * n, "curves") != 0) return -1;
    for (int text = 0; text < k->n_texts; text++) series_text(k, rng, c->y + (long)text * n);
    return 0;
}

#endif
