#include "analysis/headline.h"

#include "analysis/effects.h"
#include "analysis/findings_equal.h"
#include "analysis/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SETS = 2, USUAL_INTERVAL = 32 };

/* The error that the study's sentences are of. */
static enum measure measure_of(const struct study *s)
{
    return study_is_of_text(s) ? MEASURE_ABOVE_DENSE : MEASURE_KL;
}

static const char *measure_name(const struct study *s)
{
    return study_is_of_text(s) ? "NLL above dense" : "KL from dense";
}

/* ---- which lanes ---- */

/* The sets with the most corners, in their order: picked [MAX_SETS]; how many. */
static int sets_pick(const struct corners *c, const struct corner_set **picked)
{
    int n = 0;
    for (; n < MAX_SETS; n++) {
        const struct corner_set *best = NULL;
        int most = 0;
        for (int i = 0; i < c->n_sets; i++) {
            bool taken = false;
            for (int k = 0; k < n; k++) taken = taken || picked[k] == &c->sets[i];
            if (taken || c->sets[i].n_corners <= most) continue;
            best = &c->sets[i];
            most = best->n_corners;
        }
        if (!best) break;
        picked[n] = best;
    }
    if (n == 2 && picked[0] > picked[1]) {
        const struct corner_set *first = picked[0];
        picked[0] = picked[1];
        picked[1] = first;
    }
    return n;
}

/* The rectified lane of the interval nearest the usual one that has an equal-bytes lane, else of all; NULL: none. */
static const struct corner *rectified_pick(const struct corner_set *set, const struct study *s)
{
    const struct corner *best = NULL;
    bool best_has = false;
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *c = &set->corners[i];
        if (c->role != CORNER_RECTIFIED || s->lanes[c->lane].phase > 0) continue;
        const int interval = s->lanes[c->lane].interval, off = abs(interval - USUAL_INTERVAL);
        const bool has = corner_lane(set, CORNER_EQUAL, interval, s) != STUDY_ABSENT;
        if (best && (best_has != has ? best_has : off >= abs(s->lanes[best->lane].interval - USUAL_INTERVAL))) continue;
        best = c;
        best_has = has;
    }
    return best;
}

/* ---- sentences ---- */

static int equal_tell(const struct study *s, const struct contests *contests, const struct corner_set *set,
                      const struct corner *rectified, struct notes *headline)
{
    const int m = study_is_of_text(s) ? 0 : 1; /* of contest_measures */
    char side[48] = "", interval[64] = "", bytes[64], covered[64];
    for (int i = 0; rectified && i < contests->n; i++) {
        const struct contest *k = &contests->all[i];
        if (strcmp(k->set->key, set->key) != 0 || k->a->lane != rectified->lane || k->b->role != CORNER_EQUAL) continue;
        const struct estimate e = k->difference[m];
        if (e.n == 0) return 0;
        if (estimate_has_interval(e)) snprintf(interval, sizeof interval, " [%+.3f, %+.3f]", e.low, e.high);
        const enum quantity q = measure_defs[contest_measures[m]].quantity;
        if (told_of(e) == TOLD_CLEAR && !words_part_early(s, k->a->lane, k->b->lane, q)) words_side(side, sizeof side, e);
        if (findings_equal_bytes(bytes, sizeof bytes, s, k->a->lane, k->b->lane) != 0) return -1;
        return notes_add(headline, "Rectifying every %d minus equal bytes, %s: %s %+.3f nat%s%s: %s%s%s.",
                         s->lanes[rectified->lane].interval, set->title, m == 0 ? "NLL" : "KL", e.mean, interval,
                         words_covered(covered, sizeof covered, s, k->a->lane, k->b->lane, q), findings_equal_verdict(s, k, m), side, bytes);
    }
    return 0;
}

/* " 0.334 nat [0.283, 0.389] from selection alone", joined by commas. */
static int part_add(const struct study *s, int lane, const char *what, char *text, size_t n_bytes)
{
    struct estimate e;
    char amount[96];
    const size_t n = strlen(text);
    if (lane == STUDY_ABSENT) return 0;
    if (study_estimate(s, lane, measure_of(s), 0, &e) != 0) return -1;
    if (e.n == 0) return 0;
    words_amount(amount, sizeof amount, e, 1, 3, " nat");
    snprintf(text + n, n_bytes - n, "%s %s%s %s", n ? "," : "", e.mean < 0 ? "−" : "", amount, what);
    return 0;
}

static int corners_tell(const struct study *s, const struct corner_set *set, const struct corner *rectified,
                        struct notes *headline)
{
    char text[512] = "", words[64];
    snprintf(words, sizeof words, "rectified every %d", rectified ? s->lanes[rectified->lane].interval : 0);
    if (part_add(s, corner_lane(set, CORNER_CLEAN, 0, s), "from selection alone", text, sizeof text) != 0 ||
        part_add(s, corner_lane(set, CORNER_STALE, 0, s), "from the disturbed cache alone", text, sizeof text) != 0 ||
        part_add(s, corner_lane(set, CORNER_NEVER, 0, s), "from both, never rectified", text, sizeof text) != 0 ||
        (rectified && part_add(s, rectified->lane, words, text, sizeof text) != 0))
        return -1;
    char covered[64] = "";
    if (rectified) words_covered(covered, sizeof covered, s, rectified->lane, STUDY_ABSENT, measure_defs[measure_of(s)].quantity);
    return text[0] ? notes_add(headline, "%s, %s:%s%s.", measure_name(s), set->title, text, covered) : 0;
}

static int share_tell(const struct study *s, const struct corner_set *set, const struct corner *rectified,
                      struct notes *headline)
{
    struct ratio share;
    struct estimate back;
    char words[96];
    if (!rectified || words_part_early(s, rectified->lane, STUDY_ABSENT, measure_defs[measure_of(s)].quantity)) return 0;
    if (effect_share(s, set, rectified->lane, measure_of(s), &share) != 0 ||
        effect_estimate(s, set, EFFECT_BACK, rectified->lane, measure_of(s), &back) != 0)
        return -1;
    if (share.n < ESTIMATE_MIN_TEXTS || !share.defined) return 0;
    return notes_add(headline, "Rectifying every %d takes back %s of what the disturbed cache adds to selection, %s%s.",
                     s->lanes[rectified->lane].interval, words_share(words, sizeof words, share), set->title,
                     told_of(back) == TOLD_CLEAR ? "" : "; the difference itself may be 0");
}

/* The set of the last of the picked ones that has a law. */
static int growth_tell(const struct growth_report *growth, const struct corner_set *const *picked, int n,
                       struct notes *headline)
{
    for (int i = n - 1; i >= 0; i--)
        for (int k = 0; k < growth->study.groups.n; k++) {
            const struct growth_set *set = &growth->study.sets[k];
            if (strcmp(set->group->title, picked[i]->title) != 0) continue;
            const int before = headline->n;
            if (growth_report_law_tell(set, GROWTH_K, "K's distance to clean", headline) != 0) return -1;
            if (headline->n == before) continue;
            return growth_report_teeth_tell(growth, set->group, GROWTH_K, "K's distance to clean", headline);
        }
    return 0;
}

int headline_write(const struct study *s, const struct corners *c, const struct contests *contests,
                   const struct growth_report *growth, struct notes *headline)
{
    const struct corner_set *picked[MAX_SETS];
    const int n = sets_pick(c, picked);
    for (int i = 0; i < n; i++)
        if (equal_tell(s, contests, picked[i], rectified_pick(picked[i], s), headline) != 0) return -1;
    for (int i = 0; i < n; i++)
        if (corners_tell(s, picked[i], rectified_pick(picked[i], s), headline) != 0) return -1;
    for (int i = 0; i < n; i++)
        if (share_tell(s, picked[i], rectified_pick(picked[i], s), headline) != 0) return -1;
    if (s->n_texts < ESTIMATE_MIN_TEXTS)
        return notes_add(headline, "All this on %d text%s, too few for a claim.", s->n_texts, words_s(s->n_texts));
    return growth_tell(growth, picked, n, headline);
}
