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

/* b STUDY_ABSENT: lane a itself. */
static double run_value(const struct study *s, int run, int a, int b, enum measure m, int first, double *scratch)
{
    const struct measure_def *def = &measure_defs[m];
    const int n = s->runs[run].n_steps;
    const float *x = study_series(s, run, a, def->quantity);
    if (first > n) return NAN;
    if (b == STUDY_ABSENT) return statistic_of(def->statistic, x ? x + first : NULL, n - first, scratch);
    const float *y = study_series(s, run, b, def->quantity);
    if (!x || !y) return NAN;
    if (def->statistic != STATISTIC_MEAN)
        return statistic_of(def->statistic, x, n, scratch) - statistic_of(def->statistic, y, n, scratch);
    for (int i = 0; i < n; i++) scratch[i] = (double)x[i] - (double)y[i];
    return mean_of(scratch, (size_t)n);
}

static int texts_value(const struct study *s, int a, int b, enum measure m, int first, double *values)
{
    double *scratch = NULL;
    int *n_runs = NULL, n_steps = 1;
    for (int i = 0; i < s->n_runs; i++) n_steps = s->runs[i].n_steps > n_steps ? s->runs[i].n_steps : n_steps;
    int rc = MEM_NEW(&scratch, n_steps, "steps");
    if (rc == 0) rc = MEM_NEW(&n_runs, s->n_texts, "texts");
    for (int i = 0; i < s->n_texts; i++) values[i] = NAN;
    for (int i = 0; i < s->n_runs && rc == 0; i++) {
        const int text = s->runs[i].text;
        const double x = run_value(s, i, a, b, m, first, scratch);
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
    return texts_value(s, lane, STUDY_ABSENT, m, first, values);
}

int study_difference(const struct study *s, int a, int b, enum measure m, double *values)
{
    if (a != STUDY_ABSENT && b != STUDY_ABSENT) return texts_value(s, a, b, m, 0, values);
    for (int i = 0; i < s->n_texts; i++) values[i] = NAN;
    return 0;
}

static int estimate_texts(const struct study *s, int a, int b, enum measure m, int first, struct estimate *e)
{
    double *values = NULL;
    *e = estimate_none();
    TRY(MEM_NEW(&values, s->n_texts, "texts"), "%s", s->key);
    const int rc = texts_value(s, a, b, m, first, values);
    if (rc == 0) *e = estimate_of(values, s->n_texts);
    mem_free(values);
    return rc;
}

int study_estimate(const struct study *s, int lane, enum measure m, int first, struct estimate *e)
{
    return estimate_texts(s, lane, STUDY_ABSENT, m, first, e);
}

int study_estimate_difference(const struct study *s, int a, int b, enum measure m, struct estimate *e)
{
    *e = estimate_none();
    return a == STUDY_ABSENT || b == STUDY_ABSENT ? 0 : estimate_texts(s, a, b, m, 0, e);
}
