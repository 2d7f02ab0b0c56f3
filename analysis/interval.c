#include "analysis/interval.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_PREDICTED = 64 };

const struct interval_error_def interval_error_defs[N_INTERVAL_ERRORS] = {
    [INTERVAL_NLL] = { "nll_above_dense", "NLL above dense (nat)", MEASURE_ABOVE_DENSE, GROWTH_NLL },
    [INTERVAL_KL] = { "kl_mean", "KL from dense (nat)", MEASURE_KL, GROWTH_KL },
};

static double equation_of(const struct lane_spec *policy, int interval)
{
    return 1.0 / policy->block_size + policy->active_millionths * 1e-6 + (interval ? 1.0 / interval : 0);
}

static struct interval_point *point_add(struct interval_curve *c, int interval)
{
    if (mem_grow((void **)&c->points, (size_t)c->n, (size_t)c->n + 1, sizeof *c->points, "intervals") != 0) return NULL;
    struct interval_point *p = &c->points[c->n++];
    *p = (struct interval_point){ .interval = interval,
                                  .lane = STUDY_ABSENT,
                                  .error = estimate_none(),
                                  .counted = NAN,
                                  .equation = equation_of(&c->group->policy, interval) };
    return p;
}

/* ---- measured ---- */

static int point_compare(const void *a, const void *b)
{
    const struct interval_point *x = a, *y = b;
    const unsigned i = (unsigned)x->interval - 1, k = (unsigned)y->interval - 1; /* never is the longest */
    return (i > k) - (i < k);
}

static int lanes_measure(struct interval_curve *c, const struct study *s)
{
    struct estimate bytes, dense;
    TRY(study_estimate(s, 0, MEASURE_BYTES, 0, &dense), "%s", c->group->title);
    for (int i = 0; i < c->group->n_lanes; i++) {
        const int lane = c->group->lanes[i];
        const struct lane_spec *l = &s->lanes[lane];
        if (l->phase > 0 || l->dense_until > 0) continue;
        struct interval_point *p = point_add(c, l->interval);
        if (!p) return -1;
        p->measured = true;
        p->lane = lane;
        TRY(study_estimate(s, lane, interval_error_defs[c->error].measure, 0, &p->error), "%s", l->name);
        TRY(study_estimate(s, lane, MEASURE_BYTES, 0, &bytes), "%s", l->name);
        p->counted = bytes.mean / dense.mean;
        if (p->error.n == 0) c->n--; /* the lane was not run with what the error needs */
    }
    c->n_measured = c->n;
    if (c->n > 0) qsort(c->points, (size_t)c->n, sizeof *c->points, point_compare);
    return 0;
}

/* ---- predicted ---- */

/* 2, 3, 4, 6, 8, 12 .. up to the longest staleness and the token itself. */
static int intervals_make(int *intervals, double s_max)
{
    int n = 0;
    for (int f = 2; f <= s_max + 1 && n < MAX_PREDICTED; f = f & (f - 1) ? f / 3 * 4 : f == 2 ? 3 : f / 2 * 3)
        intervals[n++] = f;
    return n;
}

/* The mean of f(s) over s = 0 .. interval - 1 for each interval.  Between two intervals f is taken at the middle: it bends too
 * little over half an octave for more. */
static void means_make(const struct growth_fit *fit, const int *intervals, int n, double *means)
{
    double sum = 0;
    for (int i = 0, from = 1; i < n; from = intervals[i++]) {
        sum += (intervals[i] - from) * growth_at(fit, (from + intervals[i] - 1) / 2.0);
        means[i] = sum / intervals[i];
    }
}

static double clean_mean(const double *clean, const struct growth_gathered *how, const int *pick)
{
    double sum = 0;
    for (int i = 0; i < how->n_texts; i++) sum += clean[how->texts[pick ? pick[i] : i]];
    return sum / how->n_texts;
}

/* errors: [n][n_replicates] */
static int replicates_make(const struct growth_result *r, const double *clean, const int *intervals, int n,
                           double *errors)
{
    const struct growth *g = &r->growth;
    double means[MAX_PREDICTED];
    int *pick = NULL;
    TRY(MEM_NEW(&pick, r->how.n_texts, "texts"), "intervals");
    for (int b = 0; b < g->n_replicates; b++) {
        estimate_resample(GROWTH_SEED, b, r->how.n_texts, pick);
        means_make(&g->replicates[b], intervals, n, means);
        const double c = clean_mean(clean, &r->how, pick);
        for (int i = 0; i < n; i++) errors[i * g->n_replicates + b] = c + means[i];
    }
    mem_free(pick);
    return 0;
}

static int points_predict(struct interval_curve *c, const struct growth_result *r, const double *clean)
{
    const int n_replicates = r->growth.n_replicates;
    int intervals[MAX_PREDICTED];
    const int n = intervals_make(intervals, r->growth.curves.axis.s_max);
    double means[MAX_PREDICTED], *errors = NULL;
    means_make(&r->growth.fits[r->growth.law], intervals, n, means);
    int rc = MEM_NEW(&errors, n * n_replicates + 1, "intervals");
    if (rc == 0) rc = replicates_make(r, clean, intervals, n, errors);
    for (int i = 0; i < n && rc == 0; i++) {
        struct interval_point *p = point_add(c, intervals[i]);
        if (!p) rc = -1;
        if (rc != 0) break;
        p->error.n = r->how.n_texts;
        p->error.mean = clean_mean(clean, &r->how, NULL) + means[i];
        if (n_replicates > 0)
            growth_interval(errors + i * n_replicates, n_replicates, r->how.n_texts, &p->error.low, &p->error.high);
    }
    mem_free(errors);
    return rc;
}

static int lanes_predict(struct interval_curve *c, const struct study *s, const struct growth_set *set)
{
    const enum growth_quantity q = interval_error_defs[c->error].above;
    const enum growth_source source = growth_source_best(set, q);
    const struct growth_result *r = &set->results[source][q];
    double *clean = NULL;
    if (!growth_is_there(r)) {
        snprintf(c->why, sizeof c->why, "%s", r->how.why);
        return 0;
    }
    if (!r->how.matched) {
        snprintf(c->why, sizeof c->why, "no lanes of different stale tokens at the same steps");
        return 0;
    }
    TRY(MEM_NEW(&clean, s->n_texts, "texts"), "%s", c->group->title);
    int rc = study_measure(s, c->group->clean, interval_error_defs[c->error].measure, 0, clean);
    if (rc == 0 && isnan(clean_mean(clean, &r->how, NULL)))
        snprintf(c->why, sizeof c->why, "a text of the law lacks the clean lane");
    else if (rc == 0)
        rc = points_predict(c, r, clean);
    if (rc == 0 && !c->why[0]) growth_law_words(c->from, sizeof c->from, source, &r->how, false);
    mem_free(clean);
    return rc;
}

int interval_curve_open(struct interval_curve *c, const struct study *s, const struct growth_set *set,
                        enum interval_error error)
{
    *c = (struct interval_curve){ .group = set->group, .error = error, .clean = estimate_none() };
    if (error == INTERVAL_NLL && !study_is_of_text(s)) {
        snprintf(c->why, sizeof c->why, "the tokens are no text's, so that NLL says nothing of the model");
        return 0;
    }
    TRY(study_estimate(s, set->group->clean, interval_error_defs[error].measure, 0, &c->clean), "%s",
        set->group->title);
    if (lanes_measure(c, s) != 0) return -1;
    return lanes_predict(c, s, set);
}

void interval_curve_close(struct interval_curve *c)
{
    mem_free(c->points);
    *c = (struct interval_curve){ 0 };
}

const struct interval_point *interval_recommend(const struct interval_curve *c, double bound, bool measured)
{
    const struct interval_point *best = NULL;
    const int first = measured ? 0 : c->n_measured, end = measured ? c->n_measured : c->n;
    for (int i = first; i < end && c->points[i].error.high <= bound; i++) best = &c->points[i];
    return best;
}
