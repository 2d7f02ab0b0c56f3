#include "analysis/estimate.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdlib.h>

double mean_of(const double *values, size_t n)
{
    double sum = 0;
    size_t n_values = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(values[i])) continue;
        sum += values[i];
        n_values++;
    }
    return n_values ? sum / (double)n_values : NAN;
}

static int double_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median_of(double *values, size_t n)
{
    size_t n_values = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i])) values[n_values++] = values[i];
    if (n_values == 0) return NAN;
    qsort(values, n_values, sizeof *values, double_compare);
    const size_t half = n_values / 2;
    return n_values % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

struct estimate estimate_of(const double *values, int n)
{
    struct estimate e = { .mean = mean_of(values, (size_t)n), .low = NAN, .high = NAN };
    double squares = 0;
    for (int i = 0; i < n; i++) {
        if (isnan(values[i])) continue;
        e.n++;
        e.n_above += values[i] > 0;
        e.n_below += values[i] < 0;
        squares += (values[i] - e.mean) * (values[i] - e.mean);
    }
    if (!estimate_has_interval(e)) return e;
    const double error = sqrt(squares / (e.n - 1) / e.n);
    const double half = gsl_cdf_tdist_Pinv(0.975, e.n - 1) * error;
    e.low = e.mean - half;
    e.high = e.mean + half;
    return e;
}
