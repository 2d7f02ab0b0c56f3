#include "analysis/findings_equal.h"

#include "analysis/effects.h"
#include "analysis/words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TOLD = 12, EQUAL_BYTES_PERCENT = 3 };

/* "+0.172 nat [+0.108, +0.236]" */
static void signed_amount(char *text, size_t n_bytes, struct estimate e, double scale, int decimals, const char *unit)
{
    const int n = snprintf(text, n_bytes, "%+.*f%s", decimals, scale * e.mean, unit);
    if (estimate_has_interval(e) && n > 0 && (size_t)n < n_bytes)
        snprintf(text + n, n_bytes - (size_t)n, " [%+.*f, %+.*f]", decimals, scale * e.low, decimals, scale * e.high);
}

const char *findings_equal_verdict(const struct study *s, const struct contest *k, int measure)
{
    const struct estimate e = k->difference[measure];
    if (words_part_early(s, k->a->lane, k->b->lane, measure_defs[contest_measures[measure]].quantity))
        return "compared before the first rectification alone: no claim";
    switch (told_of(e)) {
    case TOLD_SAME:
        return "the same on every text";
    case TOLD_FEW:
        return isinf(e.mean)                ? "an infinite value: no claim"
               : e.n < ESTIMATE_MIN_TEXTS ? "too few texts for a claim"
                                            : "too many equal texts for a claim";
    case TOLD_UNCLEAR:
        return "an interval that holds 0: neither is shown to be better";
    case TOLD_CLEAR:
        return e.mean < 0 ? "rectifying is better" : "reading as many bytes more is better";
    default:
        return "no values";
    }
}

int findings_equal_bytes(char *text, size_t n_bytes, const struct study *s, int rectified, int equal)
{
    struct estimate a, b;
    text[0] = '\0';
    if (study_estimate(s, rectified, MEASURE_BYTES, 0, &a) != 0 || study_estimate(s, equal, MEASURE_BYTES, 0, &b) != 0)
        return -1;
    const double more = 100 * (b.mean / a.mean - 1);
    if (fabs(more) >= EQUAL_BYTES_PERCENT) /* false for NaN */
        snprintf(text, n_bytes, "; but equal moved %.0f %% %s bytes", fabs(more), more > 0 ? "more" : "fewer");
    return 0;
}

static int contest_tell(const struct study *s, const struct contest *k, struct notes *findings)
{
    const int first = study_is_of_text(s) ? 0 : 1; /* of contest_measures: NLL, or KL */
    char amount[96], kl[128] = "", same[96] = "", test[96] = "", covered[64], bytes[64];
    const struct estimate e = k->difference[first];
    if (e.n == 0) return 0;
    signed_amount(amount, sizeof amount, e, 1, 3, " nat");
    if (first == 0 && k->difference[1].n > 0) {
        signed_amount(same, sizeof same, k->difference[1], 1, 3, " nat");
        snprintf(kl, sizeof kl, "; KL %s", same);
    }
    same[0] = '\0';
    if (k->difference[2].n > 0) {
        snprintf(same, sizeof same, "; top-1 agreement ");
        signed_amount(same + strlen(same), sizeof same - strlen(same), k->difference[2], 100, 1, " points");
    }
    if (!isnan(k->rank[first].p))
        snprintf(test, sizeof test, ", Wilcoxon p %.2g, after Holm %.2g", k->rank[first].p, k->holm[first]);
    words_covered(covered, sizeof covered, s, k->a->lane, k->b->lane, measure_defs[contest_measures[first]].quantity);
    if (findings_equal_bytes(bytes, sizeof bytes, s, k->a->lane, k->b->lane) != 0) return -1;
    return notes_add(findings,
                     "Rectifying every %d minus equal bytes, %s: %s %s%s, below 0 on %d of %d text%s%s: %s%s%s%s.",
                     s->lanes[k->a->lane].interval, k->set->title, first == 0 ? "NLL" : "KL", amount, covered, e.n_below,
                     e.n, words_s(e.n), test, findings_equal_verdict(s, k, first), kl, same, bytes);
}

int findings_equal(const struct study *s, const struct contests *c, struct notes *findings)
{
    int n = 0;
    for (int i = 0; i < c->n; i++) {
        if (c->all[i].b->role != CORNER_EQUAL) continue;
        if (n++ < MAX_TOLD && contest_tell(s, &c->all[i], findings) != 0) return -1;
    }
    if (n > MAX_TOLD)
        return notes_add(findings, "%d more comparisons with equal bytes: see the table of tests.", n - MAX_TOLD);
    return 0;
}

const char *words_share(char *text, size_t n_bytes, struct ratio share)
{
    if (share.defined)
        snprintf(text, n_bytes, "%.0f %% [%.0f, %.0f]", 100 * share.value, 100 * share.low, 100 * share.high);
    else
        snprintf(text, n_bytes, "an undefined share, as what accumulates may be 0");
    return text;
}

int findings_share(const struct study *s, const struct corner_set *set, const char *where, struct notes *findings)
{
    char text[1024] = "", words[96];
    size_t n = 0;
    for (int i = 0; i < set->n_corners && n < sizeof text; i++) {
        const struct corner *c = &set->corners[i];
        struct ratio share;
        if (c->role != CORNER_RECTIFIED || words_part_early(s, c->lane, STUDY_ABSENT, QUANTITY_K_ACCUM)) continue;
        if (effect_share(s, set, c->lane, MEASURE_K_ACCUM, &share) != 0) return -1;
        if (share.n < ESTIMATE_MIN_TEXTS) continue;
        n += (size_t)snprintf(text + n, sizeof text - n, "%sinterval %s %s", n ? "; " : "", c->label + 1,
                              words_share(words, sizeof words, share));
    }
    if (n == 0) return 0;
    return notes_add(findings, "%s: taken back of K's distance to the clean lane, a ratio of means: %s%s.", where, text,
                     n < sizeof text ? "" : " ..");
}
