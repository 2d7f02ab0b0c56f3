#include "analysis/growth_choice.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>

/* In standard errors.  What it lets through and what it finds: tests/sim_growth.c. */
static const double GROWTH_RULE = 1.0;

void growth_curves_close(struct growth_curves *c)
{
    mem_free(c->y);
    *c = (struct growth_curves){ 0 };
}

int growth_mean(const struct growth_curves *c, const int *pick, int n, int without, double *mean)
{
    int n_in = 0;
    for (int bin = 0; bin < c->axis.n; bin++) mean[bin] = 0;
    for (int i = 0; i < n; i++) {
        if (pick[i] == without) continue;
        for (int bin = 0; bin < c->axis.n; bin++) mean[bin] += growth_curve(c, pick[i])[bin];
        n_in++;
    }
    for (int bin = 0; bin < c->axis.n; bin++) mean[bin] /= n_in;
    return n_in;
}

/* Of the text's curve from the law's, at the text's own level, over the squared curve. */
static double text_error(const struct growth_axis *a, const struct growth_fit *fit, const double *y)
{
    double f[GROWTH_MAX_BINS], fy = 0, ff = 0, yy = 0, squares = 0;
    for (int bin = 0; bin < a->n; bin++) {
        f[bin] = growth_at(fit, a->s[bin]);
        fy += a->weight[bin] * f[bin] * y[bin];
        ff += a->weight[bin] * f[bin] * f[bin];
        yy += a->weight[bin] * y[bin] * y[bin];
    }
    const double level = ff > 0 ? fy / ff : 0;
    for (int bin = 0; bin < a->n; bin++)
        squares += a->weight[bin] * (y[bin] - level * f[bin]) * (y[bin] - level * f[bin]);
    return yy > 0 ? squares / yy : 0;
}

/* errors: [n][N_GROWTH_LAWS].  A text's copies have the same error: it is computed once. */
static int errors_make(const struct growth_curves *c, const int *pick, int n, double (*errors)[N_GROWTH_LAWS])
{
    double mean[GROWTH_MAX_BINS];
    for (int i = 0; i < n; i++) {
        int same = 0;
        while (pick[same] != pick[i]) same++;
        if (same == i && growth_mean(c, pick, n, pick[i], mean) == 0)
            return fail("a law cannot be chosen from one text alone");
        for (int law = 0; law < N_GROWTH_LAWS; law++) {
            struct growth_fit fit;
            if (same == i) growth_fit_law(&c->axis, (enum growth_law)law, mean, &fit);
            errors[i][law] = same == i ? text_error(&c->axis, &fit, growth_curve(c, pick[i])) : errors[same][law];
        }
    }
    return 0;
}

/* Mean and standard error over texts of a law's error less another's. */
static void excess_of(double (*errors)[N_GROWTH_LAWS], int n, int law, int best, double *mean, double *error)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) sum += errors[i][law] - errors[i][best];
    *mean = sum / n;
    for (int i = 0; i < n; i++) {
        const double off = errors[i][law] - errors[i][best] - *mean;
        squares += off * off;
    }
    *error = n > 1 ? sqrt(squares / (n - 1) / n) : NAN;
}

static void choice_make(double (*errors)[N_GROWTH_LAWS], int n, struct growth_choice *choice)
{
    for (int law = 0; law < N_GROWTH_LAWS; law++) {
        choice->error[law] = 0;
        for (int i = 0; i < n; i++) choice->error[law] += errors[i][law] / n;
        if (choice->error[law] < choice->error[choice->best]) choice->best = (enum growth_law)law;
    }
    choice->law = choice->best;
    for (int law = 0; law < N_GROWTH_LAWS; law++) {
        excess_of(errors, n, law, (int)choice->best, &choice->excess[law], &choice->excess_error[law]);
        const int k = growth_law_defs[law].n_parameters, chosen = growth_law_defs[choice->law].n_parameters;
        const bool fewer = k < chosen || (k == chosen && choice->error[law] < choice->error[choice->law]);
        if (fewer && choice->excess[law] <= GROWTH_RULE * choice->excess_error[law]) choice->law = (enum growth_law)law;
    }
}

int growth_choose(const struct growth_curves *c, const int *pick, int n, struct growth_choice *choice)
{
    double(*errors)[N_GROWTH_LAWS] = NULL;
    *choice = (struct growth_choice){ 0 };
    TRY(MEM_NEW(&errors, n, "errors of laws"), "growth law");
    const int rc = errors_make(c, pick, n, errors);
    if (rc == 0) choice_make(errors, n, choice);
    mem_free(errors);
    return rc;
}
