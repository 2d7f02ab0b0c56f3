#include "analysis/growth.h"

#include "analysis/estimate.h"

#include "core/err.h"
#include "core/mem.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

void growth_interval(double *values, int n, int n_texts, double *low, double *high)
{
    const double reach = sqrt(n_texts / (n_texts - 1.0)) * gsl_cdf_tdist_Pinv(0.975, n_texts - 1);
    *low = quantile_at(values, (size_t)n, gsl_cdf_ugaussian_P(-reach));
    *high = quantile_at(values, (size_t)n, gsl_cdf_ugaussian_P(reach));
}

double growth_predict(const struct growth *g, const struct growth_fit *fit, double s)
{
    return s <= g->curves.axis.s_max ? growth_at(fit, s) : NAN;
}

int growth_misfits(const struct growth *g)
{
    const struct growth_curves *c = &g->curves;
    int n_misfits = 0;
    if (c->n_texts < ESTIMATE_MIN_TEXTS) return 0;
    const double student = gsl_cdf_tdist_Pinv(0.975, c->n_texts - 1);
    for (int bin = 0; bin < c->axis.n; bin++) {
        double sum = 0, squares = 0;
        for (int text = 0; text < c->n_texts; text++)
            sum += growth_curve(c, text)[bin] - growth_at(&g->text_fits[text], c->axis.s[bin]);
        const double mean = sum / c->n_texts;
        for (int text = 0; text < c->n_texts; text++) {
            const double off = growth_curve(c, text)[bin] - growth_at(&g->text_fits[text], c->axis.s[bin]) - mean;
            squares += off * off;
        }
        n_misfits += fabs(mean) > student * sqrt(squares / (c->n_texts - 1) / c->n_texts);
    }
    return n_misfits;
}

/* Hurvich and Tsai's correction, for normal residuals of unknown variance. */
static double aicc_of(const struct growth_axis *a, const struct growth_fit *fit)
{
    const int k = growth_law_defs[fit->law].n_parameters + 1, spare = a->n - k - 1;
    if (spare < 1) return NAN;
    return a->n * log(fit->squares / a->n) + 2 * k + 2.0 * k * (k + 1) / spare;
}

static void pick_all(int *pick, int n)
{
    for (int i = 0; i < n; i++) pick[i] = i;
}

/* ---- bootstraps ---- */

static int choices_count(struct growth *g, int *pick)
{
    const int n = g->curves.n_texts;
    int n_made = 0, chosen[N_GROWTH_LAWS] = { 0 };
    for (int b = 0; b < GROWTH_CHOICES; b++) {
        struct growth_choice choice;
        int same = 1;
        estimate_resample(GROWTH_SEED, b, n, pick);
        while (same < n && pick[same] == pick[0]) same++;
        if (same == n) continue;
        TRY(growth_choose(&g->curves, pick, n, &choice), "growth law");
        chosen[choice.law]++;
        n_made++;
    }
    for (int law = 0; law < N_GROWTH_LAWS; law++) g->share[law] = n_made ? (double)chosen[law] / n_made : NAN;
    return 0;
}

static int replicates_fit(struct growth *g)
{
    double mean[GROWTH_MAX_BINS];
    int *pick = NULL;
    mem_free(g->replicates);
    g->replicates = NULL;
    TRY(MEM_NEW(&pick, g->curves.n_texts, "texts"), "growth law");
    const int rc = MEM_NEW(&g->replicates, GROWTH_REPLICATES, "replicates");
    g->n_replicates = rc == 0 ? GROWTH_REPLICATES : 0;
    for (int b = 0; b < g->n_replicates; b++) {
        estimate_resample(GROWTH_SEED, b, g->curves.n_texts, pick);
        growth_mean(&g->curves, pick, g->curves.n_texts, -1, mean);
        growth_fit_law(&g->curves.axis, g->law, mean, &g->replicates[b]);
    }
    mem_free(pick);
    return rc;
}

static void intervals_make(struct growth *g, double *values)
{
    const int n = g->n_replicates, n_texts = g->curves.n_texts;
    for (int p = 0; p < growth_law_defs[g->law].n_parameters; p++) {
        for (int b = 0; b < n; b++) values[b] = g->replicates[b].parameters[p];
        growth_interval(values, n, n_texts, &g->low[p], &g->high[p]);
    }
    for (int bin = 0; bin < g->curves.axis.n; bin++) {
        for (int b = 0; b < n; b++) values[b] = growth_at(&g->replicates[b], g->curves.axis.s[bin]);
        growth_interval(values, n, n_texts, &g->band_low[bin], &g->band_high[bin]);
    }
}

int growth_refit(struct growth *g, enum growth_law law)
{
    const struct growth_curves *c = &g->curves;
    double *values = NULL;
    g->law = law;
    for (int i = 0; i < GROWTH_PARAMETERS; i++) g->low[i] = g->high[i] = NAN;
    for (int i = 0; i < c->n_texts; i++) growth_fit_law(&c->axis, law, growth_curve(c, i), &g->text_fits[i]);
    if (c->n_texts < ESTIMATE_MIN_TEXTS) return 0;
    int rc = replicates_fit(g);
    if (rc == 0) rc = MEM_NEW(&values, g->n_replicates, "replicates");
    if (rc == 0) intervals_make(g, values);
    mem_free(values);
    return rc;
}

int growth_open(struct growth *g, struct growth_curves *curves)
{
    int *pick = NULL;
    *g = (struct growth){ .curves = *curves };
    *curves = (struct growth_curves){ 0 };
    const int n = g->curves.n_texts;
    for (int i = 0; i < GROWTH_PARAMETERS; i++) g->low[i] = g->high[i] = NAN;
    for (int i = 0; i < N_GROWTH_LAWS; i++) g->share[i] = NAN;
    for (int i = 0; i < GROWTH_MAX_BINS; i++) g->band_low[i] = g->band_high[i] = NAN;
    TRY(MEM_NEW(&g->text_fits, n, "texts"), "growth law");
    TRY(MEM_NEW(&pick, n, "texts"), "growth law");
    pick_all(pick, n);
    growth_mean(&g->curves, pick, n, -1, g->mean);
    for (int law = 0; law < N_GROWTH_LAWS; law++) {
        growth_fit_law(&g->curves.axis, (enum growth_law)law, g->mean, &g->fits[law]);
        g->aicc[law] = aicc_of(&g->curves.axis, &g->fits[law]);
    }
    int rc = n > 1 ? growth_choose(&g->curves, pick, n, &g->choice) : 0;
    if (rc == 0 && n >= ESTIMATE_MIN_TEXTS) rc = choices_count(g, pick);
    mem_free(pick);
    return rc == 0 ? growth_refit(g, g->choice.law) : rc;
}

void growth_close(struct growth *g)
{
    growth_curves_close(&g->curves);
    mem_free(g->text_fits);
    mem_free(g->replicates);
    *g = (struct growth){ 0 };
}
