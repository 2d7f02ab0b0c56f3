#include "analysis/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum told told_of(struct estimate e)
{
    if (e.n == 0) return TOLD_NOTHING;
    if (e.n_above == 0 && e.n_below == 0) return TOLD_SAME;
    if (!estimate_has_interval(e)) return TOLD_FEW;
    return estimate_is_clear(e) ? TOLD_CLEAR : TOLD_UNCLEAR;
}

/* No "-0.000". */
static double rounded(double x, int decimals)
{
    return fabs(x) * pow(10, decimals) < 0.5 ? 0 : x;
}

const char *words_amount(char *text, size_t n_bytes, struct estimate e, double scale, int decimals, const char *unit)
{
    const int n = snprintf(text, n_bytes, "%.*f%s", decimals, scale * fabs(e.mean), unit);
    const double low = e.mean < 0 ? -e.high : e.low, high = e.mean < 0 ? -e.low : e.high;
    if (estimate_has_interval(e) && n > 0 && (size_t)n < n_bytes)
        snprintf(text + n, n_bytes - (size_t)n, " [%.*f, %.*f]", decimals, rounded(scale * low, decimals), decimals,
                 rounded(scale * high, decimals));
    return text;
}

const char *words_side(char *text, size_t n_bytes, struct estimate e)
{
    snprintf(text, n_bytes, " (on %d of %d text%s)", e.mean < 0 ? e.n_below : e.n_above, e.n, words_s(e.n));
    return text;
}

const char *words_all(char *text, size_t n_bytes, int n)
{
    if (n == 1)
        snprintf(text, n_bytes, "on the one text");
    else
        snprintf(text, n_bytes, "on all %d texts", n);
    return text;
}

const char *words_average(char *text, size_t n_bytes, struct estimate e)
{
    const char *why = isinf(e.mean)                ? "an infinite value: no claim"
                      : e.n < ESTIMATE_MIN_TEXTS ? "too few for a claim"
                                                   : "too many of them equal for a claim";
    if (e.n == 1)
        snprintf(text, n_bytes, "on one text, %s", why);
    else
        snprintf(text, n_bytes, "on average of %d texts, %s", e.n, why);
    return text;
}

/* Steps of a run that both lanes have, and all, on average; how many runs: none where all lanes read the same tokens, which part nowhere. */
static int covered_of(const struct study *s, int a, int b, enum quantity q, double *there, double *all)
{
    long long n_there = 0, n_all = 0;
    int n_runs = 0;
    *there = *all = 0;
    if (strcmp(s->follow, "self") != 0) return 0;
    for (int run = 0; run < s->n_runs; run++) {
        const float *x = study_series(s, run, a, q), *y = b == STUDY_ABSENT ? x : study_series(s, run, b, q);
        if (!x || !y) continue;
        for (int step = 0; step < s->runs[run].n_steps; step++) n_there += !isnan(x[step]) && !isnan(y[step]);
        n_all += s->runs[run].n_steps;
        n_runs++;
    }
    if (n_runs == 0) return 0;
    *there = (double)n_there / n_runs;
    *all = (double)n_all / n_runs;
    return n_runs;
}

const char *words_covered(char *text, size_t n_bytes, const struct study *s, int a, int b, enum quantity q)
{
    double there, all;
    text[0] = '\0';
    covered_of(s, a, b, q, &there, &all);
    if (there < all) snprintf(text, n_bytes, ", over %.1f of %.*f steps", there, all == floor(all) ? 0 : 1, all);
    return text;
}

bool words_part_early(const struct study *s, int rectified, int b, enum quantity q)
{
    double there, all;
    return covered_of(s, rectified, b, q, &there, &all) > 0 && there < all && there < s->lanes[rectified].interval;
}
