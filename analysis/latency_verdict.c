/* Where a lane is faster than a dense step, and where that cannot be told. */
#include "analysis/latency.h"

#include "analysis/estimate.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <math.h>

/* Ranks r and n + 1 - r hold the median unless fewer than r of n values, or more than n - r, lie below it: each at most 2.5 %. */
static int rank_of(size_t n)
{
    int rank = 0;
    while (gsl_cdf_binomial_P((unsigned)rank, 0.5, (unsigned)n) <= 0.025) rank++;
    return rank;
}

void latency_spread_fill(struct latency_spread *spread, double *values, size_t n)
{
    size_t n_values = 0;
    for (size_t i = 0; i < n; i++)
        if (!isnan(values[i])) values[n_values++] = values[i];
    *spread = (struct latency_spread){ .median = quantile_at(values, n_values, 0.5),
                                       .low = quantile_at(values, n_values, 0.1),
                                       .high = quantile_at(values, n_values, 0.9),
                                       .from = NAN,
                                       .to = NAN };
    if (n_values < LATENCY_MIN_STEPS) return;
    const size_t rank = (size_t)rank_of(n_values);
    gsl_sort(values, 1, n_values);
    spread->from = values[rank - 1];
    spread->to = values[n_values - rank];
}

/* A rectified lane's interval is from the sum of the lower ends to that of the upper ones: wider than that of a sum, as step and
 * rectification are not both at an end at once, and so on the side of no verdict. */
void latency_token_fill(struct latency_point *p)
{
    const struct latency_spread *step = &p->times[TIME_STEP], *rectify = &p->times[TIME_RECTIFY];
    p->token = step->median;
    p->token_from = step->from;
    p->token_to = step->to;
    if (p->interval == 0) return;
    p->token += rectify->median / p->interval;
    p->token_from += rectify->from / p->interval;
    p->token_to += rectify->to / p->interval;
}

enum latency_verdict latency_judge(const struct latency_point *p, double median, double from, double to)
{
    if (isnan(median) || isnan(p->token)) return VERDICT_NONE;
    if (isnan(from) || isnan(to) || isnan(p->token_from) || isnan(p->token_to)) return VERDICT_FEW;
    if (p->token_to < from) return VERDICT_FASTER;
    return p->token_from > to ? VERDICT_SLOWER : VERDICT_OPEN;
}

double latency_gain(const struct latency_study *s, const struct latency_point *p)
{
    return s->n_peers > 0 ? p->peer_gain : p->gain;
}

enum latency_verdict latency_verdict(const struct latency_study *s, const struct latency_point *p)
{
    return s->n_peers > 0 ? p->peer_verdict : p->verdict;
}

static void course_add(struct latency_course *c, const struct latency_point *p, enum latency_verdict verdict, bool peer)
{
    c->n++;
    c->last = p->context;
    c->n_few += verdict == VERDICT_FEW;
    c->n_open += verdict == VERDICT_FEW || verdict == VERDICT_OPEN;
    c->n_slower += verdict == VERDICT_SLOWER;
    c->n_faster += verdict == VERDICT_FASTER;
    if (verdict == VERDICT_SLOWER) c->slow = p->context;
    if (verdict != VERDICT_FASTER)
        c->below = p->context, c->cross = 0;
    else if (c->cross == 0)
        c->cross = p->context;
    if (verdict != VERDICT_FASTER && verdict != VERDICT_SLOWER) return;
    if (!c->best || (peer ? p->peer_gain > c->best->peer_gain : p->gain > c->best->gain)) c->best = p;
}

struct latency_course latency_course(const struct latency_study *s, int batch, int place, bool peer)
{
    struct latency_course c = { 0 };
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i];
        const enum latency_verdict verdict = peer ? p->peer_verdict : p->verdict;
        if (p->batch == batch && p->place == place && verdict != VERDICT_NONE) course_add(&c, p, verdict, peer);
    }
    return c;
}
