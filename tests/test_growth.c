/* The growth law: exact curves are recovered, series without growth are not said to grow, intervals hold what they should. */
#include "tests/growth_series.h"
#include "tests/growth_random.h"

#include "analysis/estimate.h"

#include "core/err.h"

#include <gsl/gsl_cdf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct growth_fit truths[N_GROWTH_LAWS] = {
    { LAW_CONSTANT, { 0.1, NAN, NAN }, 0 },      { LAW_LINEAR, { 0.07, 0.0001, NAN }, 0 },
    { LAW_LOGARITHMIC, { 0.07, 0.01, NAN }, 0 }, { LAW_POWER, { 0.07, 0.004, 0.5 }, 0 },
    { LAW_SATURATING, { 0.07, 0.05, 30 }, 0 },
};

static void curves_make(const struct series_kind *k, struct growth_curves *c)
{
    if (series_curves(k, rng, c) != 0) fail_msg("%s", fail_text());
}

/* The laws at places where they can be worked out without a computer. */
static void values(void **state)
{
    (void)state;
    const struct growth_fit power = { LAW_POWER, { 1, 2, 0.5 }, 0 }, saturating = { LAW_SATURATING, { 1, 2, 8 }, 0 },
                            logarithmic = { LAW_LOGARITHMIC, { 1, 2, NAN }, 0 };
    for (int law = 0; law < N_GROWTH_LAWS; law++) {
        assert_true(growth_at(&truths[law], 0) == 0);
        assert_true(growth_at(&truths[law], 1) == truths[law].parameters[0]);
    }
    assert_true(growth_at(&power, 10) == 7);
    assert_true(fabs(growth_at(&saturating, 9) - (3 - 2 / M_E)) < 1e-15);
    assert_true(fabs(growth_at(&logarithmic, M_E * M_E) - 5) < 1e-14);
    assert_true(growth_at(&truths[LAW_LINEAR], 101) == 0.07 + 0.0001 * 100);
}

/* Tolerance: the shape is found to 1e-5 of its logarithm, and jump and growth move with it by less than their own size;
 * laws without a shape are exact but for rounding. */
static void exact_curves(void **state)
{
    (void)state;
    for (int law = 0; law < N_GROWTH_LAWS; law++) {
        const struct series_kind k = { truths[law], 1, 512, 0, 0, 0, 0 };
        struct growth_curves c;
        struct growth_fit fit;
        double y[GROWTH_MAX_BINS];
        curves_make(&k, &c);
        for (int bin = 0; bin < c.axis.n; bin++) y[bin] = growth_at(&truths[law], c.axis.s[bin]);
        growth_fit_law(&c.axis, (enum growth_law)law, y, &fit);
        for (int p = 0; p < GROWTH_PARAMETERS; p++) {
            const double want = truths[law].parameters[p], got = fit.parameters[p];
            assert_true(isnan(want) == isnan(got));
            if (!isnan(want) && !(fabs(got / want - 1) < 1e-4))
                fail_msg("%s: %.12g instead of %.12g", growth_law_defs[law].name, got, want);
        }
        assert_false(growth_fit_at_bound(&c.axis, &fit));
        growth_curves_close(&c);
    }
}

/* A curve that falls is no growth in any law; a shape that the data do not hold is told. */
static void bounds(void **state)
{
    (void)state;
    const struct series_kind k = { truths[LAW_LINEAR], 1, 512, 0, 0, 0, 0 };
    struct growth_curves c;
    struct growth_fit fit;
    double y[GROWTH_MAX_BINS], mean = 0, weights = 0;
    curves_make(&k, &c);
    for (int bin = 0; bin < c.axis.n; bin++) {
        y[bin] = 1 - 0.001 * c.axis.s[bin];
        mean += c.axis.weight[bin] * y[bin];
        weights += c.axis.weight[bin];
    }
    for (int law = 1; law < N_GROWTH_LAWS; law++) {
        growth_fit_law(&c.axis, (enum growth_law)law, y, &fit);
        assert_true(fit.parameters[1] == 0 && fabs(fit.parameters[0] - mean / weights) < 1e-14);
    }
    for (int bin = 0; bin < c.axis.n; bin++) y[bin] = c.axis.s[bin]; /* a saturating law with a scale without end */
    growth_fit_law(&c.axis, LAW_SATURATING, y, &fit);
    assert_true(growth_fit_at_bound(&c.axis, &fit));
    assert_true(fit.parameters[2] == 2 * c.axis.s_max);
    growth_curves_close(&c);
}

/* Two texts, the left-out one twice as far as the other: at its own level the constant law's error is what is left of it about
 * its weighted mean square; worked out here by the definition. */
static void left_out_text(void **state)
{
    (void)state;
    const double s[] = { 1, 2, 3, 4, 5 }, weight[] = { 1, 1, 1, 1, 4 };
    double y[] = { 1, 1, 1, 1, 1, 2, 4, 2, 4, 3 };
    struct growth_curves c = { .n_texts = 2 };
    struct growth_choice choice;
    assert_int_equal(growth_axis_open(&c.axis, s, weight, 5, 5), 0);
    c.y = y;
    assert_int_equal(growth_choose(&c, (int[]){ 0, 1 }, 2, &choice), 0);
    /* Text 0: flat, so 0 beside the flat part of text 1's fit.  Text 1 about its level 3: (1 + 1 + 1 + 1) of
     * 4 + 16 + 4 + 16 + 4 * 9 = 76. */
    assert_true(fabs(choice.error[LAW_CONSTANT] - (0 + 4.0 / 76) / 2) < 1e-15);
    assert_int_equal(choice.law, LAW_CONSTANT);
    assert_int_equal(growth_choose(&c, (int[]){ 1, 1 }, 2, &choice), -1); /* one text twice is one text */
}

/* Over a mean the expanded percentiles are Student's interval, which at its ends is off by what GROWTH_REPLICATES draws and
 * the resamples' law leave open.  The standard error of a quantile at p = 0.0139 of 2,000 draws from a normal is
 * sqrt(p (1 - p) / 2000) / density = 0.073 of their standard deviation; five of them are 0.37, of a reach of 2.2. */
static void intervals(void **state)
{
    (void)state;
    enum { N = 16 };
    double x[N], means[GROWTH_REPLICATES], low, high;
    int pick[N], seen[N] = { 0 };
    gsl_rng_set(rng, 7);
    for (int i = 0; i < N; i++) x[i] = gsl_ran_ugaussian(rng);
    const struct estimate e = estimate_of(x, N);
    for (int b = 0; b < GROWTH_REPLICATES; b++) {
        estimate_resample(GROWTH_SEED, b, N, pick);
        means[b] = 0;
        for (int i = 0; i < N; i++) {
            assert_in_range(pick[i], 0, N - 1);
            means[b] += x[pick[i]] / N;
            seen[pick[i]]++;
        }
    }
    for (int i = 0; i < N; i++) assert_true(abs(seen[i] - GROWTH_REPLICATES) < 5 * 45); /* 45: sqrt(2,000) */
    growth_interval(means, GROWTH_REPLICATES, N, &low, &high);
    const double reach = gsl_cdf_tdist_Pinv(0.975, N - 1) * e.error;
    assert_true(fabs(low - e.mean + reach) < 0.37 * e.error && fabs(high - e.mean - reach) < 0.37 * e.error);
}

/* Few of what tests/sim_growth.c does by the thousand.  If growth were found in a tenth of series without it, more than 14 of
 * 60 would be once in 1,000 such tests; if intervals covered 93 %, fewer than 49 of 60 would be covered as rarely. */
static void short_simulation(void **state)
{
    (void)state;
    enum { N_SIMS = 60, MOST_GROWING = 14, LEAST_COVERED = 49 };
    static const enum growth_law laws[] = { LAW_CONSTANT, LAW_LOGARITHMIC, LAW_SATURATING };
    assert_true(gsl_cdf_binomial_Q(MOST_GROWING, 0.1, N_SIMS) < 0.001);
    assert_true(gsl_cdf_binomial_P(LEAST_COVERED - 1, 0.93, N_SIMS) < 0.001);
    gsl_rng_set(rng, 1);
    for (size_t i = 0; i < sizeof laws / sizeof *laws; i++) {
        const struct series_kind k = { truths[laws[i]], 16, 512, 0.3, 0.3, 0.5, 0 };
        int n_growing = 0, n_covered[GROWTH_PARAMETERS] = { 0 };
        for (int sim = 0; sim < N_SIMS; sim++) {
            struct growth_curves c;
            struct growth g;
            curves_make(&k, &c);
            assert_int_equal(growth_open(&g, &c), 0);
            n_growing += g.choice.law != LAW_CONSTANT;
            assert_int_equal(growth_refit(&g, laws[i]), 0);
            for (int p = 0; p < growth_law_defs[laws[i]].n_parameters; p++)
                n_covered[p] += g.low[p] <= k.truth.parameters[p] && k.truth.parameters[p] <= g.high[p];
            growth_close(&g);
        }
        if (laws[i] == LAW_CONSTANT)
            assert_in_range(n_growing, 0, MOST_GROWING);
        else
            assert_int_equal(n_growing, N_SIMS);
        for (int p = 0; p < growth_law_defs[laws[i]].n_parameters; p++)
            if (n_covered[p] < LEAST_COVERED)
                fail_msg("%s: %s covered in %d of %d", growth_law_defs[laws[i]].name,
                         growth_law_defs[laws[i]].parameters[p], n_covered[p], N_SIMS);
    }
}

/* Where the law is true, few bins are off; a curve of none of the laws, flat, then steep, then flat, is found out in most. */
static void misfits(void **state)
{
    (void)state;
    const struct series_kind k = { truths[LAW_LOGARITHMIC], 12, 512, 0.3, 0.1, 0.5, 0 };
    struct growth_curves c;
    struct growth g = { 0 };
    curves_make(&k, &c);
    assert_int_equal(growth_open(&g, &c), 0);
    assert_true(3 * growth_misfits(&g) <= g.curves.axis.n);
    growth_close(&g);
    curves_make(&k, &c);
    for (int i = 0; i < c.n_texts * c.axis.n; i++)
        c.y[i] *= (1 + tanh(3 * log(c.axis.s[i % c.axis.n] / 30))) / growth_at(&k.truth, c.axis.s[i % c.axis.n]);
    assert_int_equal(growth_open(&g, &c), 0);
    assert_true(3 * growth_misfits(&g) > g.curves.axis.n);
    growth_close(&g);
}

static void few_texts(void **state)
{
    (void)state;
    struct series_kind k = { truths[LAW_SATURATING], 5, 512, 0.3, 0.1, 0.5, 0 };
    struct growth_curves c;
    struct growth g;
    gsl_rng_set(rng, 3);
    curves_make(&k, &c);
    assert_int_equal(growth_open(&g, &c), 0);
    assert_null(c.y); /* taken */
    assert_int_not_equal(g.law, LAW_CONSTANT);
    assert_int_equal(g.n_replicates, 0);
    assert_true(isnan(g.low[0]) && isnan(g.high[1]) && isnan(g.share[g.law]) && isnan(g.band_low[0]));
    for (int i = 0; i < 5; i++) assert_true(g.text_fits[i].parameters[1] > 0);
    assert_true(growth_predict(&g, &g.fits[g.law], 512) > 0 && isnan(growth_predict(&g, &g.fits[g.law], 513)));
    growth_close(&g);
    k.n_texts = 1;
    curves_make(&k, &c);
    assert_int_equal(growth_open(&g, &c), 0);
    assert_int_equal(g.law, LAW_CONSTANT); /* one text chooses nothing */
    growth_close(&g);
}

/* The same curves give the same numbers, bit by bit. */
static void twice_the_same(void **state)
{
    (void)state;
    const struct series_kind k = { truths[LAW_POWER], 8, 512, 0.3, 0.3, 0.5, 0 };
    double low[2], share[2];
    for (int i = 0; i < 2; i++) {
        struct growth_curves c;
        struct growth g;
        gsl_rng_set(rng, 5);
        curves_make(&k, &c);
        assert_int_equal(growth_open(&g, &c), 0);
        low[i] = g.low[0];
        share[i] = g.share[g.law];
        growth_close(&g);
    }
    assert_memory_equal(&low[0], &low[1], sizeof low[0]);
    assert_memory_equal(&share[0], &share[1], sizeof share[0]);
}

static void refusals(void **state)
{
    (void)state;
    struct growth_axis a;
    const double s[] = { 1, 2, 3, 4, 5 }, low[] = { 0.5, 2, 3, 4, 5 }, back[] = { 1, 3, 2, 4, 5 },
                 weight[] = { 1, 1, 1, 1, 1 }, none[] = { 1, 1, 0, 1, 1 };
    assert_int_equal(growth_axis_open(&a, s, weight, 5, 5), 0);
    assert_int_equal(growth_axis_open(&a, s, weight, 4, 5), -1);
    assert_non_null(strstr(fail_text(), "4 bins of stale tokens: a law needs 5 to 64"));
    assert_int_equal(growth_axis_open(&a, low, weight, 5, 5), -1);
    assert_int_equal(growth_axis_open(&a, back, weight, 5, 5), -1);
    assert_int_equal(growth_axis_open(&a, s, none, 5, 5), -1);
    assert_int_equal(growth_axis_open(&a, s, weight, 5, 4), -1);
}

static void without_memory(void **state)
{
    (void)state;
    const struct series_kind k = { truths[LAW_POWER], 6, 64, 0.3, 0.3, 0.5, 0 };
    for (long after = 0;; after++) {
        struct growth_curves c;
        struct growth g;
        curves_make(&k, &c);
        mem_fail_after(after);
        const int rc = growth_open(&g, &c);
        mem_fail_after(-1);
        growth_close(&g);
        if (rc == 0) break;
        assert_true(after < 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values),           cmocka_unit_test(exact_curves),   cmocka_unit_test(bounds),
        cmocka_unit_test(left_out_text),    cmocka_unit_test(intervals),      cmocka_unit_test(few_texts),
        cmocka_unit_test(misfits),
        cmocka_unit_test(short_simulation), cmocka_unit_test(twice_the_same), cmocka_unit_test(refusals),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, growth_random_open, growth_random_close);
}
