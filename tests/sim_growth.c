/* tests/sim_growth.c: how often laws are found and their parameters covered, on series whose law is known.  By hand:
 *
 *   make build/tests/sim_growth && build/tests/sim_growth [simulations]
 */
#include "tests/growth_series.h"

#include "core/err.h"

#include <gsl/gsl_errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const struct growth_fit truths[] = {
    { LAW_CONSTANT, { 0.1, NAN, NAN }, 0 },      { LAW_LINEAR, { 0.07, 0.0001, NAN }, 0 },
    { LAW_LOGARITHMIC, { 0.07, 0.01, NAN }, 0 }, { LAW_POWER, { 0.07, 0.004, 0.5 }, 0 },
    { LAW_SATURATING, { 0.07, 0.05, 30 }, 0 },
};

static int cell_run(const struct series_kind *k, gsl_rng *rng, int n_sims)
{
    int chosen[N_GROWTH_LAWS] = { 0 }, covered[GROWTH_PARAMETERS] = { 0 };
    gsl_rng_set(rng, 42);
    for (int i = 0; i < n_sims; i++) {
        struct growth_curves c = { 0 };
        struct growth g = { 0 };
        int rc = series_curves(k, rng, &c);
        if (rc == 0) rc = growth_open(&g, &c);
        if (rc == 0) rc = growth_refit(&g, k->truth.law);
        if (rc != 0) return -1;
        chosen[g.choice.law]++;
        for (int p = 0; p < growth_law_defs[k->truth.law].n_parameters; p++)
            covered[p] += g.low[p] <= k->truth.parameters[p] && k->truth.parameters[p] <= g.high[p];
        growth_curves_close(&c);
        growth_close(&g);
    }
    printf("%-12s %5d %5.1f %5.1f %5.1f  ", growth_law_defs[k->truth.law].name, k->n_texts, k->step_sd, k->lag1,
           k->trend_sd);
    for (int law = 0; law < N_GROWTH_LAWS; law++) printf(" %6.3f", (double)chosen[law] / n_sims);
    printf("  ");
    for (int p = 0; p < growth_law_defs[k->truth.law].n_parameters; p++) printf(" %6.3f", (double)covered[p] / n_sims);
    puts("");
    fflush(stdout);
    return 0;
}

/* Noise beside the text effects; flat: of series without growth alone. */
static const struct {
    double step_sd, lag1, trend_sd;
    bool flat;
} noises[] = {
    { 0.3, 0.5, 0, false }, { 0.3, 0.9, 0, false }, { 1, 0.5, 0, true }, { 1, 0.9, 0, true }, { 0.3, 0.5, 0.3, true }
};

int main(int argc, char **argv)
{
    static const int sizes[] = { 6, 8, 12, 16 };
    const int n_sims = argc > 1 ? atoi(argv[1]) : 1000;
    gsl_set_error_handler_off();
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    int rc = rng ? 0 : -1;
    puts("law          texts    sd  lag1 trend   const. linear   log.  power satur.  | jump growth shape");
    for (size_t noise = 0; noise < sizeof noises / sizeof *noises; noise++)
        for (int law = 0; law < (noises[noise].flat ? 1 : N_GROWTH_LAWS); law++)
            for (size_t size = 0; size < sizeof sizes / sizeof *sizes && rc == 0; size++) {
                const struct series_kind k = {
                    truths[law],        sizes[size],           512, 0.3, noises[noise].step_sd,
                    noises[noise].lag1, noises[noise].trend_sd
                };
                rc = cell_run(&k, rng, n_sims);
            }
    if (rc != 0) fprintf(stderr, "sim_growth: %s\n", fail_text());
    gsl_rng_free(rng);
    return rc == 0 ? 0 : 1;
}
