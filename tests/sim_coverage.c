/* How often nominal 95 % intervals hold the true mean, for what analysis/estimate.h gives and for what it might give instead.
 * Usage: sim_coverage [SAMPLES]; the table in analysis/estimate.h was made with 4000. */
#include "tests/sim_texts.h"

#include "analysis/estimate.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics_double.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_TEXTS = 16, B = ESTIMATE_REPLICATES, TAIL = (B + 1) / 40 };

enum method { METHOD_USED, METHOD_BOOT_T, METHOD_STUDENT, METHOD_BCA, METHOD_PERCENTILE, N_METHODS };
static const char *const method_names[N_METHODS] = { "used", "bootstrap-t", "Student", "BCa", "percentile" };

struct interval {
    double low, high;
};

static double order_of(double *x, double place)
{
    const long i = (long)place - 1;
    return gsl_stats_select(x, 1, B, (size_t)(i < 0 ? 0 : i >= B ? B - 1 : i));
}

static double bca_place(double z0, double a, double z)
{
    return (B + 1) * gsl_cdf_ugaussian_P(z0 + (z0 + z) / (1 - a * (z0 + z)));
}

static struct interval bca_of(const double *x, int n, double mean, double *means)
{
    double below = 0, squares = 0, cubes = 0;
    for (int b = 0; b < B; b++) below += means[b] < mean ? 1 : means[b] > mean ? 0 : 0.5;
    for (int i = 0; i < n; i++) {
        const double d = x[i] - mean; /* the jackknife's, but for a factor that drops out up to the sign */
        squares += d * d;
        cubes += d * d * d;
    }
    const double z0 = gsl_cdf_ugaussian_Pinv(fmin(fmax(below / B, 1.0 / B), 1 - 1.0 / B)),
                 a = squares > 0 ? cubes / (6 * pow(squares, 1.5)) : 0, z = gsl_cdf_ugaussian_Pinv(0.975);
    return (struct interval){ order_of(means, bca_place(z0, a, -z)), order_of(means, ceil(bca_place(z0, a, z))) };
}

static void methods_apply(const double *x, int n, struct interval *out)
{
    static double t[B], means[B];
    const struct estimate e = estimate_of(x, n);
    int pick[MAX_TEXTS];
    for (int b = 0; b < B; b++) {
        double mean = 0, squares = 0;
        estimate_resample(2, b, n, pick);
        for (int i = 0; i < n; i++) mean += x[pick[i]] / n;
        for (int i = 0; i < n; i++) squares += (x[pick[i]] - mean) * (x[pick[i]] - mean);
        const double own = sqrt(squares / (n - 1) / n);
        means[b] = mean;
        t[b] = own > 1e-9 * e.error ? (mean - e.mean) / own : copysign(INFINITY, mean - e.mean);
    }
    const double student = gsl_cdf_tdist_Pinv(0.975, n - 1) * e.error;
    out[METHOD_USED] = (struct interval){ e.low, e.high };
    out[METHOD_STUDENT] = (struct interval){ e.mean - student, e.mean + student };
    out[METHOD_BOOT_T] =
        (struct interval){ e.mean - order_of(t, B + 1 - TAIL) * e.error, e.mean - order_of(t, TAIL) * e.error };
    out[METHOD_PERCENTILE] = (struct interval){ order_of(means, TAIL), order_of(means, B + 1 - TAIL) };
    out[METHOD_BCA] = bca_of(x, n, e.mean, means);
}

static void case_run(enum sim_law law, int n, int n_samples)
{
    double x[MAX_TEXTS], *width[N_METHODS];
    int hits[N_METHODS] = { 0 }, given[N_METHODS] = { 0 };
    struct sim_source source = { .seed = 100 * (uint32_t)n + (uint32_t)law };
    struct interval at[N_METHODS];
    for (int m = 0; m < N_METHODS; m++) width[m] = calloc((size_t)n_samples, sizeof(double));
    for (int i = 0; i < n_samples; i++) {
        sim_texts(&source, law, n, x);
        methods_apply(x, n, at);
        for (int m = 0; m < N_METHODS; m++) {
            const bool there = isfinite(at[m].high - at[m].low) && at[m].high > at[m].low; /* all equal: told as such */
            given[m] += there;
            hits[m] += there && at[m].low <= sim_laws[law].mean && sim_laws[law].mean <= at[m].high;
            width[m][i] = there ? at[m].high - at[m].low : NAN;
        }
    }
    printf("%-28s %2d", sim_laws[law].name, n);
    for (int m = 0; m < N_METHODS; m++) {
        printf("   %5.1f %5.2f", 100.0 * hits[m] / given[m], median_of(width[m], (size_t)n_samples));
        free(width[m]);
    }
    printf("   %5.1f\n", 100.0 * given[METHOD_USED] / n_samples);
    fflush(stdout);
}

/* A ratio of means of 0.35: the part that is taken back of a cost that differs from text to text. */
static void ratio_run(enum sim_law law, int n, int n_samples)
{
    double below[MAX_TEXTS], above[MAX_TEXTS], noise[MAX_TEXTS];
    struct sim_source source = { .seed = 7000 + 100 * (uint32_t)n + (uint32_t)law };
    int hits = 0, given = 0;
    for (int i = 0; i < n_samples; i++) {
        sim_texts(&source, law, n, below);
        sim_texts(&source, LAW_NONE, n, noise);
        for (int k = 0; k < n; k++) {
            below[k] += law == LAW_NORMAL ? 2 : 0;
            above[k] = 0.35 * below[k] + 0.5 * noise[k];
        }
        const struct ratio r = ratio_of(above, below, n);
        given += r.defined;
        hits += r.defined && r.low <= 0.35 && 0.35 <= r.high;
    }
    printf("%-28s %2d   %5.1f   %5.1f\n", sim_laws[law].name, n, 100.0 * hits / given, 100.0 * given / n_samples);
}

int main(int argc, char **argv)
{
    static const int texts[] = { 4, 6, 8, 12, 16 };
    const int n_samples = argc > 1 ? atoi(argv[1]) : 4000;
    if (n_samples < 1) {
        fprintf(stderr, "sim_coverage: '%s' is no number of samples\n", argv[1]);
        return 2;
    }
    printf("%% of %d nominal 95 %% intervals that hold the mean, of those that are given, and their median width; given: %% of samples with an interval\n%-28s  n", n_samples, "text effects");
    for (int m = 0; m < N_METHODS; m++) printf("   %11s", method_names[m]);
    printf("   given\n");
    for (int law = 0; law < N_SIM_LAWS; law++)
        for (int i = 0; i < 5; i++) case_run((enum sim_law)law, texts[i], n_samples);
    printf("\nratio of means, Fieller: %% that hold it of those that are given, %% given\n");
    for (int i = 1; i < 5; i++) {
        ratio_run(LAW_NORMAL, texts[i], n_samples);
        ratio_run(LAW_SKEWED, texts[i], n_samples);
    }
    return 0;
}
