#include "analysis/rank.h"

#include "analysis/estimate.h"

#include "core/err.h"
#include "core/mem.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

static int magnitude_compare(const void *a, const void *b)
{
    const double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

/* Twice the rank of each of the sorted values, which is whole for ties too: [n]. */
static void ranks_double(const double *sorted, int n, int *twice)
{
    for (int i = 0; i < n;) {
        int end = i;
        while (end < n && !(fabs(sorted[end]) > fabs(sorted[i]))) end++;
        for (int k = i; k < end; k++) twice[k] = i + 1 + end; /* 2 * mean of ranks i + 1 .. end */
        i = end;
    }
}

/* The chance that a random choice among twice, [n], sums to at least `least`. */
static int tail_exact(const int *twice, int n, long least, double *p)
{
    double *chance = NULL;
    long most = 0;
    for (int i = 0; i < n; i++) most += twice[i];
    TRY(MEM_NEW(&chance, most + 1, "rank sums"), "signed ranks");
    chance[0] = 1;
    long reached = 0;
    for (int i = 0; i < n; i++) {
        reached += twice[i];
        for (long sum = reached; sum >= 0; sum--)
            chance[sum] = 0.5 * chance[sum] + (sum >= twice[i] ? 0.5 * chance[sum - twice[i]] : 0);
    }
    *p = 0;
    for (long sum = most; sum >= least; sum--) *p += chance[sum]; /* the small ones first */
    mem_free(chance);
    return 0;
}

/* The same by the normal law, with half a rank's correction for continuity (1 of the doubled ranks). */
static double tail_normal(const int *twice, int n, long least)
{
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++) {
        mean += 0.5 * twice[i];
        variance += 0.25 * (double)twice[i] * (double)twice[i];
    }
    return gsl_cdf_ugaussian_Q(((double)least - mean - 1) / sqrt(variance));
}

/* The median of (x_i + x_k) / 2 over i <= k. */
static int walsh_median(const double *x, int n, double *median)
{
    double *means = NULL;
    size_t n_means = 0;
    TRY(MEM_NEW(&means, (size_t)n * ((size_t)n + 1) / 2, "pairs of texts"), "signed ranks");
    for (int i = 0; i < n; i++)
        for (int k = i; k < n; k++) means[n_means++] = x[i] / 2 + x[k] / 2;
    *median = median_of(means, n_means);
    mem_free(means);
    return 0;
}

/* x: [n] sorted by magnitude; twice: [n] for use here. */
static int signed_fill(struct rank_test *t, const double *x, int *twice)
{
    long above = 0, below = 0;
    ranks_double(x, t->n, twice);
    for (int i = 0; i < t->n; i++) {
        t->n_zero += !(fabs(x[i]) > 0);
        above += x[i] > 0 ? twice[i] : 0;
        below += x[i] < 0 ? twice[i] : 0;
    }
    t->above = (double)above / 2;
    t->below = (double)below / 2;
    if (above + below > 0) t->effect = (double)(above - below) / (double)(above + below);
    TRY(walsh_median(x, t->n, &t->shift), "signed ranks");
    if (t->n < ESTIMATE_MIN_TEXTS) return 0;
    const int m = t->n - t->n_zero; /* the zeros come first */
    const long far = above > below ? above : below;
    double tail = 1;
    if (m > RANK_MAX_EXACT)
        tail = tail_normal(twice + t->n_zero, m, far);
    else if (m > 0 && tail_exact(twice + t->n_zero, m, far, &tail) != 0)
        return -1;
    t->p = fmin(1, 2 * tail);
    return 0;
}

int rank_signed(const double *differences, int n, struct rank_test *test)
{
    double *x = NULL;
    int *twice = NULL;
    *test = (struct rank_test){ .above = NAN, .below = NAN, .p = NAN, .effect = NAN, .shift = NAN };
    int rc = MEM_NEW(&x, n, "differences");
    if (rc == 0) rc = MEM_NEW(&twice, n, "ranks");
    for (int i = 0; i < n && rc == 0; i++)
        if (!isnan(differences[i])) x[test->n++] = differences[i];
    if (rc == 0 && test->n > 0) {
        qsort(x, (size_t)test->n, sizeof *x, magnitude_compare);
        rc = signed_fill(test, x, twice);
    }
    mem_free(x);
    mem_free(twice);
    return rc;
}

static int at_compare(const void *a, const void *b)
{
    const double x = **(const double *const *)a, y = **(const double *const *)b;
    return (x > y) - (x < y);
}

int rank_holm(double *p, int n)
{
    double **at = NULL, most = 0;
    int n_tests = 0;
    TRY(MEM_NEW(&at, n, "p-values"), "Holm");
    for (int i = 0; i < n; i++)
        if (!isnan(p[i])) at[n_tests++] = &p[i];
    qsort(at, (size_t)n_tests, sizeof *at, at_compare);
    for (int i = 0; i < n_tests; i++) {
        most = fmax(most, fmin(1, (n_tests - i) * *at[i]));
        *at[i] = most;
    }
    mem_free(at);
    return 0;
}

double rank_least_p(int n)
{
    return n < 1 ? 1 : ldexp(1, 1 - n);
}

int rank_texts_needed(int n_tests, double level)
{
    int n = ESTIMATE_MIN_TEXTS;
    while (n < 1000 && !(rank_least_p(n) * n_tests < level)) n++;
    return n;
}
