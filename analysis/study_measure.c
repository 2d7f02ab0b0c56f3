/* Measures of a study: over steps, then over the runs of a text, then over texts. */
#include "analysis/study.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>

static double last_of(const float *x, int n)
{
    for (int i = n - 1; i >= 0; i--)
        if (!isnan(x[i])) return (double)x[i];
    return NAN;
}

/* scratch: [n], overwritten. */
static double statistic_of(enum statistic statistic, const float *x, int n, double *scratch)
{
    if (!x) return NAN;
    if (statistic == STATISTIC_LAST) return last_of(x, n);
    for (int i = 0; i < n; i++) scratch[i] = (double)x[i];
    if (statistic == STATISTIC_MEAN) return mean_of(scratch, (size_t)n);
    return median_of(scratch, (size_t)n);
}

/* Sum of weighted lanes, step by step over the steps that all have; of a median or a last value: the sum of the lanes' own.
 * scratch: [n of the run], overwritten. */
static double run_value(const struct study *s, int run, const struct contrast *c, enum measure m, int first,
                        double *scratch)
{
    const struct measure_def *def = &measure_defs[m];
    const int n = s->runs[run].n_steps - first;
    double sum = 0;
    if (n < 0) return NAN;
    for (int i = 0; i < c->n; i++) {
        const float *x = study_series(s, run, c->lanes[i], def->quantity);
        if (!x) return NAN;
        if (def->statistic != STATISTIC_MEAN) sum += c->weights[i] * statistic_of(def->statistic, x + first, n, scratch);
    }
    if (def->statistic != STATISTIC_MEAN) return sum;
    for (int step = 0; step < n; step++) scratch[step] = 0;
    for (int i = 0; i < c->n; i++) {
        const float *x = study_series(s, run, c->lanes[i], def->quantity) + first;
        for (int step = 0; step < n; step++) scratch[step] += c->weights[i] * (double)x[step];
    }
    return mean_of(scratch, (size_t)n);
}

int study_contrast(const struct study *s, const struct contrast *c, enum measure m, int first, double *values)
{
    double *scratch = NULL;
    int *n_runs = NULL, n_steps = 1;
    for (int i = 0; i < s->n_runs; i++) n_steps = s->runs[i].n_steps > n_steps ? s->runs[i].n_steps : n_steps;
    int rc = MEM_NEW(&scratch, n_steps, "steps");
    if (rc == 0) rc = MEM_NEW(&n_runs, s->n_texts, "texts");
    for (int i = 0; i < s->n_texts; i++) values[i] = NAN;
    for (int i = 0; i < s->n_runs && rc == 0; i++) {
        const int text = s->runs[i].text;
        const double x = run_value(s, i, c, m, first, scratch);
        if (isnan(x)) continue;
        values[text] = n_runs[text]++ ? values[text] + x : x;
    }
    for (int i = 0; i < s->n_texts && rc == 0; i++) values[i] /= n_runs[i] ? n_runs[i] : 1;
    mem_free(scratch);
    mem_free(n_runs);
    return rc;
}

int study_measure(const struct study *s, int lane, enum measure m, int first, double *values)
{
    return study_contrast(s, &(struct contrast){ .n = 1, .lanes = { lane }, .weights = { 1 } }, m, first, values);
}

int study_difference(const struct study *s, int a, int b, enum measure m, double *values)
{
    return study_contrast(s, &(struct contrast){ .n = 2, .lanes = { a, b }, .weights = { 1, -1 } }, m, 0, values);
}

int study_estimate_contrast(const struct study *s, const struct contrast *c, enum measure m, int first,
                            struct estimate *e)
{
    double *values = NULL;
    *e = estimate_none();
    TRY(MEM_NEW(&values, s->n_texts, "texts"), "%s", s->key);
    const int rc = study_contrast(s, c, m, first, values);
    if (rc == 0) *e = estimate_of(values, s->n_texts);
    mem_free(values);
    return rc;
}

int study_estimate(const struct study *s, int lane, enum measure m, int first, struct estimate *e)
{
    return study_estimate_contrast(s, &(struct contrast){ .n = 1, .lanes = { lane }, .weights = { 1 } }, m, first, e);
}

int study_estimate_difference(const struct study *s, int a, int b, enum measure m, struct estimate *e)
{
    return study_estimate_contrast(s, &(struct contrast){ .n = 2, .lanes = { a, b }, .weights = { 1, -1 } }, m, 0, e);
}

bool study_turns_late(const struct study *s)
{
    for (int i = 0; i < s->n_lanes; i++)
        if (s->lanes[i].dense_until > 0) return true;
    return false;
}
