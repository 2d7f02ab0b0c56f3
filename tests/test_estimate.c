/* What a handful of texts say: intervals at their nominal coverage, the same bytes every time, none where nothing can be said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/sim_texts.h"

#include "analysis/estimate.h"

#include <string.h>

/* Student's t at 0.975 with 7 degrees of freedom, from any printed table to its four places: 2.3646. */
static const double T7 = 2.364624251592785;

static void moments(void **state)
{
    (void)state;
    const double eight[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    struct estimate e = estimate_of(eight, 8);
    assert_int_equal(e.n, 8);
    assert_int_equal(e.n_above, 7);
    assert_int_equal(e.n_below, 0); /* 0 is a tie */
    assert_true(fabs(e.mean - 3.5) < 1e-15 && fabs(e.median - 3.5) < 1e-15);
    assert_true(fabs(e.quartiles[0] - 1.75) < 1e-15 && fabs(e.quartiles[1] - 5.25) < 1e-15);
    assert_true(fabs(e.error - sqrt(6.0 / 8)) < 1e-15); /* variance 42 / 7 */
    /* Never nearer than Student's; t* of so even a sample is not far beyond it. */
    assert_true(e.low <= 3.5 - T7 * e.error + 1e-12 && e.high >= 3.5 + T7 * e.error - 1e-12);
    assert_true(e.high - e.low < 1.5 * 2 * T7 * e.error);
    double even[] = { 4, NAN, 1, 3, 2 };
    assert_true(fabs(median_of(even, 5) - 2.5) < 1e-15);
    double five[] = { 50, 10, 40, 20, 30 };
    assert_true(fabs(quantile_at(five, 5, 0.25) - 20) < 1e-14 && fabs(quantile_at(five, 5, 0.9) - 46) < 1e-14);
    assert_true(fabs(quantile_at(five, 5, 1) - 50) < 1e-14 && isnan(quantile_at(five, 0, 0.5)));
}

/* What changes nothing: the same values again, a shift, a scale, the other sign. */
static void follows_its_values(void **state)
{
    (void)state;
    const double x[] = { 0.3, 1.5, 0.2, 4, 0.7, 0.9, 2.2 };
    double y[7], z[7];
    for (int i = 0; i < 7; i++) {
        y[i] = 3 - 2 * x[i];
        z[i] = x[i];
    }
    const struct estimate a = estimate_of(x, 7), again = estimate_of(z, 7), b = estimate_of(y, 7);
    assert_memory_equal(&a, &again, sizeof a);
    /* Rounding of a few sums of numbers up to 10. */
    assert_true(fabs(b.low - (3 - 2 * a.high)) < 1e-13 && fabs(b.high - (3 - 2 * a.low)) < 1e-13);
    assert_true(a.high - a.mean > a.mean - a.low); /* the longer tail is above */
}

static void nothing_to_say(void **state)
{
    (void)state;
    const double gaps[] = { NAN, 1, 2, 3, 4, 5, NAN }, same[] = { 2, 2, 2, 2, 2, 2 },
                 rare[] = { 0, 0, 0, 0, 0, 0, 0, 1 }, wild[] = { 1, 2, 3, 4, 5, 6, INFINITY };
    struct estimate e = estimate_of(gaps, 7);
    assert_int_equal(e.n, 5);
    assert_true(fabs(e.mean - 3) < 1e-15 && isnan(e.low) && isnan(e.high)); /* five are too few */
    e = estimate_of(gaps, 1);
    assert_true(e.n == 0 && isnan(e.mean) && isnan(e.median) && isnan(e.error));
    e = estimate_of(same, 6);
    assert_true(estimate_is_clear(e) && fabs(e.low - 2) < 1e-15 && fabs(e.high - 2) < 1e-15);
    /* A resample of eight holds the one other value in 1 - (7/8)^8 = 66 % of cases: t* has no 97.5 % quantile. */
    e = estimate_of(rare, 8);
    assert_true(!estimate_has_interval(e) && isnan(e.low) && fabs(e.mean - 0.125) < 1e-15);
    e = estimate_of(wild, 7);
    assert_true(isinf(e.mean) && !estimate_has_interval(e) && !estimate_is_clear(e));
}

/* 1000 samples each.  Were the coverage 95 %, its standard error would be 0.7 points: between 93 and 98 % lies all that may
 * come of a coverage from 94.5 to 97 % at 2 standard errors and more; BCa's, 86 to 91 % at 6 to 12 texts (tests/sim_coverage.c), does not. */
static void coverage(void **state)
{
    (void)state;
    static const struct {
        enum sim_law law;
        int n;
    } cases[] = { { LAW_NONE, 8 }, { LAW_NORMAL, 6 }, { LAW_NORMAL, 16 }, { LAW_HEAVY, 12 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sim_source source = { .seed = 500 + (uint32_t)i };
        double x[16];
        int hits = 0;
        for (int k = 0; k < 1000; k++) {
            sim_texts(&source, cases[i].law, cases[i].n, x);
            const struct estimate e = estimate_of(x, cases[i].n);
            hits += e.low <= sim_laws[cases[i].law].mean && sim_laws[cases[i].law].mean <= e.high;
        }
        if (hits < 930 || hits > 980) fail_msg("%s, %d texts: %d of 1000", sim_laws[cases[i].law].name, cases[i].n, hits);
    }
}

static void ratios(void **state)
{
    (void)state;
    const double below[] = { 2, 3, 4, 5, 6, 7, 8 }, above[] = { 1, 1.5, 2, 2.5, 3, 3.5, 4 },
                 mixed[] = { -2, 3, -4, 5, -6, 7, 1 }, noisy[] = { 1.1, 1.3, 2.2, 2.4, 3.1, 3.2, 4.2 };
    struct ratio r = ratio_of(above, below, 7);
    assert_true(r.defined && fabs(r.value - 0.5) < 1e-15);
    assert_true(fabs(r.low - 0.5) < 1e-7 && fabs(r.high - 0.5) < 1e-7); /* half of each: no doubt is left, but a root of rounding */
    r = ratio_of(noisy, below, 7);
    assert_true(r.defined && r.low < r.value && r.value < r.high);
    /* At the limits, above - r below has the mean that Student's interval just reaches. */
    for (int side = 0; side < 2; side++) {
        double sum = 0, squares = 0;
        const double at = side ? r.high : r.low;
        for (int i = 0; i < 7; i++) sum += noisy[i] - at * below[i];
        for (int i = 0; i < 7; i++) squares += pow(noisy[i] - at * below[i] - sum / 7, 2);
        assert_true(fabs(fabs(sum / 7) / sqrt(squares / 6 / 7) - 2.446911851144969) < 1e-9); /* t(0.975, 6) */
    }
    r = ratio_of(above, mixed, 7);
    assert_true(!r.defined && isnan(r.low) && isnan(r.high));
    r = ratio_of(above, below, 5);
    assert_true(!r.defined && r.n == 5 && fabs(r.value - 0.5) < 1e-15);
    assert_true(isnan(ratio_of(above, below, 0).value));
}

static void resamples(void **state)
{
    (void)state;
    int pick[11], again[11], counts[11] = { 0 };
    for (int b = 0; b < 1100; b++) {
        estimate_resample(3, b, 11, pick);
        for (int i = 0; i < 11; i++) {
            assert_in_range(pick[i], 0, 10);
            counts[pick[i]]++;
        }
    }
    /* 1100 expected of each, standard deviation 31.6: within 5 of them. */
    for (int i = 0; i < 11; i++) assert_in_range(counts[i], 1100 - 158, 1100 + 158);
    estimate_resample(3, 1099, 11, again);
    assert_memory_equal(pick, again, sizeof pick);
    estimate_resample(4, 1099, 11, again);
    assert_memory_not_equal(pick, again, sizeof pick);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moments), cmocka_unit_test(follows_its_values), cmocka_unit_test(nothing_to_say),
        cmocka_unit_test(coverage), cmocka_unit_test(ratios), cmocka_unit_test(resamples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
