#include "analysis/estimate.h"

#include "core/philox.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_statistics_double.h>

/* TAIL: of B + 1 places, 2.5 %.  Picks of up to KEPT_TEXTS texts are kept for the next estimate of as many. */
enum { SEED = 1, TAIL = (ESTIMATE_REPLICATES + 1) / 40, MAX_TEXTS = 4096, KEPT_TEXTS = 32 };

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

double quantile_at(double *values, size_t n, double share)
{
    size_t n_values = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i])) values[n_values++] = values[i];
    if (n_values == 0) return NAN;
    const double at = share * (double)(n_values - 1);
    const size_t i = (size_t)at;
    const double low = gsl_stats_select(values, 1, n_values, i), part = at - (double)i;
    if (!(part > 0)) return low;
    return low + part * (gsl_stats_select(values, 1, n_values, i + 1) - low);
}

double median_of(double *values, size_t n)
{
    return quantile_at(values, n, 0.5);
}

void estimate_resample(uint64_t seed, int replicate, int n, int *pick)
{
    uint32_t key[2], word[4];
    philox_key(seed, key);
    for (int i = 0; i < n; i++) {
        if (i % 4 == 0)
            philox4x32((const uint32_t[4]){ (uint32_t)replicate, (uint32_t)i / 4, (uint32_t)n, PHILOX_BOOTSTRAP }, key,
                       word);
        pick[i] = (int)((uint64_t)word[i % 4] * (uint64_t)n >> 32);
    }
}

/* t* of one replicate of x, [n] about its mean, whose standard error is `error`; infinite where all texts drawn are equal. */
static double replicate_t(const double *x, int n, double error, const int *pick)
{
    double mean = 0, squares = 0;
    for (int i = 0; i < n; i++) mean += x[pick[i]];
    mean /= n;
    for (int i = 0; i < n; i++) squares += (x[pick[i]] - mean) * (x[pick[i]] - mean);
    const double own = sqrt(squares / (n - 1) / n);
    if (own > 1e-9 * error) return mean / own;
    return fabs(mean) > 1e-9 * error ? copysign(INFINITY, mean) : 0;
}

/* The picks of a replicate: they are the same for every estimate over n texts, and drawing them is a third of one. */
static const int *picks_of(int replicate, int n, int *own)
{
    static _Thread_local int kept[ESTIMATE_REPLICATES][KEPT_TEXTS], n_kept;
    if (n > KEPT_TEXTS) {
        estimate_resample(SEED, replicate, n, own);
        return own;
    }
    for (int b = 0; b < ESTIMATE_REPLICATES && n_kept != n; b++) estimate_resample(SEED, b, n, kept[b]);
    n_kept = n;
    return kept[replicate];
}

/* x: [n] about the mean. */
static void interval_fill(struct estimate *e, const double *x)
{
    double t[ESTIMATE_REPLICATES];
    int own[MAX_TEXTS];
    const double student = gsl_cdf_tdist_Pinv(0.975, e->n - 1);
    for (int b = 0; b < ESTIMATE_REPLICATES; b++) {
        t[b] = replicate_t(x, e->n, e->error, picks_of(b, e->n, own));
    }
    const double most = gsl_stats_select(t, 1, ESTIMATE_REPLICATES, ESTIMATE_REPLICATES - TAIL),
                 least = gsl_stats_select(t, 1, ESTIMATE_REPLICATES, TAIL - 1);
    if (isinf(most) || isinf(least)) return;
    e->low = e->mean - fmax(most, student) * e->error;
    e->high = e->mean + fmax(-least, student) * e->error;
}

struct estimate estimate_of(const double *values, int n)
{
    struct estimate e = estimate_none();
    double x[MAX_TEXTS], sorted[MAX_TEXTS], squares = 0, sum = 0;
    for (int i = 0; i < n && e.n < MAX_TEXTS; i++) {
        if (isnan(values[i])) continue;
        e.n_above += values[i] > 0;
        e.n_below += values[i] < 0;
        sum += values[i];
        sorted[e.n] = x[e.n] = values[i];
        e.n++;
    }
    if (e.n == 0) return e;
    e.mean = sum / e.n;
    e.median = median_of(sorted, (size_t)e.n);
    e.quartiles[0] = quantile_at(sorted, (size_t)e.n, 0.25);
    e.quartiles[1] = quantile_at(sorted, (size_t)e.n, 0.75);
    if (!isfinite(e.mean)) return e;
    for (int i = 0; i < e.n; i++) {
        x[i] -= e.mean;
        squares += x[i] * x[i];
    }
    if (e.n > 1) e.error = sqrt(squares / (e.n - 1) / e.n);
    if (e.n < ESTIMATE_MIN_TEXTS) return e;
    if (e.error > 1e-14 * fabs(e.mean))
        interval_fill(&e, x);
    else
        e.low = e.high = e.mean;
    return e;
}

struct ratio ratio_of(const double *above, const double *below, int n)
{
    struct ratio r = { .value = NAN, .low = NAN, .high = NAN };
    double down[MAX_TEXTS], mean_a = 0, mean_b = 0, aa = 0, ab = 0, bb = 0;
    for (int i = 0; i < n && r.n < MAX_TEXTS; i++) {
        if (!isfinite(above[i]) || !isfinite(below[i])) continue;
        mean_a += above[i];
        mean_b += below[i];
        down[r.n++] = below[i];
    }
    if (r.n == 0) return r;
    mean_a /= r.n;
    mean_b /= r.n;
    if (fabs(mean_b) > 0) r.value = mean_a / mean_b;
    if (!estimate_is_clear(estimate_of(down, r.n))) return r;
    for (int i = 0; i < n; i++) {
        if (!isfinite(above[i]) || !isfinite(below[i])) continue;
        aa += (above[i] - mean_a) * (above[i] - mean_a);
        ab += (above[i] - mean_a) * (below[i] - mean_b);
        bb += (below[i] - mean_b) * (below[i] - mean_b);
    }
    /* (mean_a - r mean_b)^2 = q (aa - 2 r ab + r^2 bb), a quadratic in r. */
    const double t = gsl_cdf_tdist_Pinv(0.975, r.n - 1), q = t * t / (r.n - 1) / r.n;
    const double a = mean_b * mean_b - q * bb, b = mean_a * mean_b - q * ab, c = mean_a * mean_a - q * aa;
    r.defined = true; /* a > 0: the denominator's interval, which is no narrower than Student's, does not hold 0 */
    const double root = sqrt(fmax(0, b * b - a * c));
    r.low = (b - root) / a;
    r.high = (b + root) / a;
    return r;
}
