/* Rank tests: published critical values, scipy's numbers, every sign pattern counted by hand, Holm's own example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "analysis/rank.h"

#include <math.h>

static struct rank_test test_of(const double *x, int n)
{
    struct rank_test t;
    assert_int_equal(rank_signed(x, n, &t), 0);
    return t;
}

/* Differences 1 .. n whose negative ones have ranks that sum to t: the greatest first. */
static struct rank_test test_of_sum(int n, int t)
{
    double x[32];
    for (int i = n; i >= 1; i--) {
        const int taken = i <= t;
        x[i - 1] = taken ? -i : i;
        t -= taken ? i : 0;
    }
    return test_of(x, n);
}

/* Critical values for two-sided tests, from any printed table (Wilcoxon and Wilcox 1964; n, 5 %, 1 %): the greatest sum
 * of ranks whose exact p does not exceed the level; -1: there is none. */
static void published_critical_values(void **state)
{
    (void)state;
    static const int table[][3] = { { 6, 0, -1 },  { 7, 2, -1 },  { 8, 3, 0 },   { 9, 5, 1 },   { 10, 8, 3 },
                                    { 11, 10, 5 }, { 12, 13, 7 }, { 15, 25, 15 }, { 20, 52, 37 }, { 25, 89, 68 } };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        for (int k = 1; k <= 2; k++) {
            const double level = k == 1 ? 0.05 : 0.01;
            const int n = table[i][0], t = table[i][k];
            if (t >= 0) assert_true(test_of_sum(n, t).p <= level);
            assert_true(test_of_sum(n, t + 1).p > level);
        }
}

/* scipy 1.17.1: stats.wilcoxon(d, zero_method="pratt", method=stats.PermutationMethod(n_resamples=inf)), numpy.median over
 * the means of all pairs. */
static void scipy_values(void **state)
{
    (void)state;
    static const struct {
        double d[12], p, least, shift;
        int n;
    } cases[] = {
        { { 1, 1, -1, 2, 2, -3, 4, 5 }, 0.171875, 8, 1.5, 8 },
        { { 0, 0, 1.5, -2, 3, 4, 5, -6, 7, 0 }, 0.3125, 14, 1.5, 10 },
        { { 0.3, 1.1, -0.2, 2.5, 3.7, -1.9, 0.8, 4.4, 5.2, -0.6, 6.1, 7.3 }, 0.02099609375, 10, 2.375, 12 },
        { { 0, -0.5, 0.5, 0.5, 1, 1, -2, 0, 3, 3, 3, 4 }, 0.046875, 12, 1, 12 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct rank_test t = test_of(cases[i].d, cases[i].n);
        assert_true(fabs(t.p - cases[i].p) < 1e-15); /* sums of powers of 2: exact */
        assert_true(fabs(fmin(t.above, t.below) - cases[i].least) < 1e-15);
        assert_true(fabs(t.shift - cases[i].shift) < 1e-14);
    }
    const struct rank_test t = test_of(cases[1].d, 10);
    assert_int_equal(t.n, 10);
    assert_int_equal(t.n_zero, 3);
}

/* scipy 1.17.1: stats.wilcoxon([(i * 7919) % 1000 - 430.5 for i in range(200)], correction=True, method="approx"): its normal
 * law is this one, 12 digits are printed here. */
static void many_texts(void **state)
{
    (void)state;
    double x[200];
    for (int i = 0; i < 200; i++) x[i] = (i * 7919) % 1000 - 430.5;
    const struct rank_test t = test_of(x, 200);
    assert_true(fabs(t.p / 0.0032950699651114208 - 1) < 1e-9);
    assert_true(fabs(fmin(t.above, t.below) - 7641) < 1e-9);
    /* At the border of the two the normal law is near: its error is of order 1 / n of p at this p. */
    const double exact = test_of(x, RANK_MAX_EXACT).p, normal = test_of(x, RANK_MAX_EXACT + 1).p;
    assert_true(exact > 0.005 && exact < 0.5 && fabs(normal / exact - 1) < 0.3);
}

static void edges(void **state)
{
    (void)state;
    const double same[] = { 0, 0, 0, 0, 0, 0 }, five[] = { 1, 2, 3, 4, 5, NAN },
                 six[] = { 1, NAN, 2, 3, 4, 5, 6 }, down[] = { -1, -2, -3, -4, -5, -6 };
    struct rank_test t = test_of(same, 6);
    assert_true(t.p > 1 - 1e-15 && t.n_zero == 6 && isnan(t.effect));
    t = test_of(five, 6);
    assert_true(t.n == 5 && isnan(t.p)); /* too few for a p-value, not for an effect */
    assert_true(fabs(t.effect - 1) < 1e-15 && fabs(t.shift - 3) < 1e-15);
    t = test_of(six, 7);
    assert_true(fabs(t.p - rank_least_p(6)) < 1e-15 && fabs(t.effect - 1) < 1e-15);
    t = test_of(down, 6);
    assert_true(fabs(t.p - rank_least_p(6)) < 1e-15 && fabs(t.effect + 1) < 1e-15);
    t = test_of(NULL, 0);
    assert_true(t.n == 0 && isnan(t.p) && isnan(t.shift));
    const double one[] = { -2 };
    assert_true(fabs(test_of(one, 1).shift + 2) < 1e-15);
}

static void holm(void **state)
{
    (void)state;
    /* R 4.2: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") is 0.03 0.06 0.06 0.02; NaN is no test. */
    double p[] = { 0.01, 0.04, NAN, 0.03, 0.005 };
    static const double want[] = { 0.03, 0.06, 0, 0.06, 0.02 };
    assert_int_equal(rank_holm(p, 5), 0);
    for (int i = 0; i < 5; i++) assert_true(i == 2 ? isnan(p[i]) : fabs(p[i] - want[i]) < 1e-15);
    double high[] = { 0.9, 0.8 };
    assert_int_equal(rank_holm(high, 2), 0);
    assert_true(fabs(high[0] - 1) < 1e-15 && fabs(high[1] - 1) < 1e-15);
    /* 2^(1-n) * tests < 0.05 */
    assert_int_equal(rank_texts_needed(1, 0.05), 6);  /* 1/32 */
    assert_int_equal(rank_texts_needed(18, 0.05), 10); /* 18/512 = 0.035, but 18/256 = 0.070 */
    assert_true(fabs(rank_least_p(4) - 0.125) < 1e-15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_critical_values),
        cmocka_unit_test(scipy_values),
        cmocka_unit_test(many_texts),
        cmocka_unit_test(edges),
        cmocka_unit_test(holm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
