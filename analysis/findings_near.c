#include "analysis/findings_near.h"

#include "analysis/words.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

/* A lane, as a sentence speaks of it. */
static const char *corner_words(char *text, size_t n_bytes, const struct corner *c)
{
    switch (c->role) {
    case CORNER_NEVER:
        snprintf(text, n_bytes, "never rectified");
        break;
    case CORNER_CLEAN:
        snprintf(text, n_bytes, "selection alone (clean)");
        break;
    case CORNER_STALE:
        snprintf(text, n_bytes, "the disturbed cache alone (stale)");
        break;
    case CORNER_RECTIFIED:
        snprintf(text, n_bytes, "interval %s", c->label + 1);
        break;
    default:
        snprintf(text, n_bytes, "%s", c->label);
    }
    return text;
}

/* ---- near the dense lane ---- */

static int corner_tell(const struct study *s, struct notes *findings, const char *where, const struct corner *c,
                       int first)
{
    struct estimate kl, same;
    char who[64], amount[96], share[96], covered[64], few[96], average[80];
    if (study_estimate(s, c->lane, MEASURE_KL, first, &kl) != 0 ||
        study_estimate(s, c->lane, MEASURE_TOP1, first, &same) != 0)
        return -1;
    if (kl.n == 0 || same.n == 0) return 0;
    few[0] = '\0';
    if (!estimate_has_interval(kl))
        snprintf(few, sizeof few, ", %s", words_average(average, sizeof average, kl));
    return notes_add(findings, "%s: %s: KL from dense %s, the most probable token is dense's at %s of steps%s%s.",
                     where, corner_words(who, sizeof who, c), words_amount(amount, sizeof amount, kl, 1, 3, " nat"),
                     words_amount(share, sizeof share, same, 100, 1, " %"),
                     words_covered(covered, sizeof covered, s, c->lane, STUDY_ABSENT, QUANTITY_KL), few);
}

static const struct nearness {
    enum measure measure;
    const char *below, *above; /* what lane a is where its value is smaller, or greater */
    const char *what, *unit;
    double scale;
    int decimals;
} nearnesses[] = {
    { MEASURE_KL, "nearer to dense", "farther from dense", "KL", " nat", 1, 3 },
    { MEASURE_TOP1, "less often of dense's choice", "more often of dense's choice", "top-1 agreement", " points", 100,
      1 },
};

/* Lane a against lane b by one measure. */
static int pair_tell(const struct study *s, struct notes *findings, const char *where, const struct corner *a,
                     const struct corner *b, const struct nearness *near)
{
    struct estimate e;
    char who[64], whom[64], amount[96], covered[64], side[48], count[80];
    if (study_estimate_difference(s, a->lane, b->lane, near->measure, &e) != 0) return -1;
    const enum told told = told_of(e);
    if (told == TOLD_NOTHING) return 0;
    corner_words(who, sizeof who, a);
    corner_words(whom, sizeof whom, b);
    words_covered(covered, sizeof covered, s, a->lane, b->lane, measure_defs[near->measure].quantity);
    if (told == TOLD_SAME)
        return notes_add(findings, "%s: %s and %s have the same %s %s%s.", where, who, whom, near->what,
                         words_all(count, sizeof count, e.n), covered);
    words_amount(amount, sizeof amount, e, near->scale, near->decimals, near->unit);
    words_side(side, sizeof side, e);
    const char *more = e.mean < 0 ? near->below : near->above;
    if (told == TOLD_FEW)
        return notes_add(findings, "%s: %s is %s than %s: %s by %s%s, %s.", where, who, more, whom,
                         near->what, amount, covered, words_average(count, sizeof count, e));
    return notes_add(findings, "%s: %s is %s than %s: %s by %s%s%s%s.", where, who, more, whom, near->what, amount,
                     covered, told == TOLD_UNCLEAR ? ", but the interval holds 0: no difference is shown" : "", side);
}

static const struct corner *corner_of(const struct corner_set *set, int lane)
{
    for (int i = 0; i < set->n_corners; i++)
        if (set->corners[i].lane == lane) return &set->corners[i];
    return NULL;
}

int findings_near_dense(const struct study *s, const struct corner_set *set, const char *where, struct notes *findings)
{
    const struct corner *never = corner_of(set, corner_lane(set, CORNER_NEVER, 0, s));
    for (int i = 0; i < set->n_corners; i++)
        if (set->corners[i].role <= CORNER_STALE &&
            corner_tell(s, findings, where, &set->corners[i], set->policy.dense_until) != 0)
            return -1;
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *c = &set->corners[i], *other = never;
        if (c->role == CORNER_EQUAL)
            other = corner_of(set, corner_lane(set, CORNER_RECTIFIED, s->lanes[c->lane].equal_bytes, s));
        else if (c->role != CORNER_RECTIFIED)
            other = NULL;
        for (size_t k = 0; other && k < sizeof nearnesses / sizeof nearnesses[0]; k++)
            if (pair_tell(s, findings, where, c, other, &nearnesses[k]) != 0) return -1;
    }
    return 0;
}

/* ---- near the clean lane ---- */

int findings_near_clean(const struct study *s, const struct corner_set *set, const char *where, struct notes *findings)
{
    char text[1024] = "", who[64], amount[96], covered[64], few[96] = "", average[80];
    size_t n = 0;
    for (int i = 0; i < set->n_corners && n < sizeof text; i++) {
        const struct corner *c = &set->corners[i];
        struct estimate e;
        if (c->role != CORNER_NEVER && c->role != CORNER_RECTIFIED && c->role != CORNER_EQUAL) continue;
        if (study_estimate(s, c->lane, MEASURE_K_ACCUM, set->policy.dense_until, &e) != 0) return -1;
        if (e.n == 0) continue;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s %s%s", n ? "; " : "", corner_words(who, sizeof who, c),
                              words_amount(amount, sizeof amount, e, 1, 3, ""),
                              words_covered(covered, sizeof covered, s, c->lane, STUDY_ABSENT, QUANTITY_K_ACCUM));
        if (!estimate_has_interval(e))
            snprintf(few, sizeof few, " (%s)", words_average(average, sizeof average, e));
    }
    if (n == 0) return 0;
    return notes_add(findings,
                     "%s: accumulated error, the relative distance of K to the clean lane's, mean over steps: %s%s%s.",
                     where, text, n < sizeof text ? "" : " ..", few);
}
