#include "analysis/findings.h"

#include "analysis/effects.h"
#include "analysis/findings_equal.h"
#include "analysis/findings_near.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SETS_TOLD = 12 };

const char *const findings_titles[N_FINDINGS_KINDS] = {
    [FINDINGS_EQUAL] = "Rectifying against reading more",
    [FINDINGS_CORNERS] = "Selection, the disturbed cache, both",
    [FINDINGS_GROWTH] = "Growth by stale tokens, and what it predicts",
};

/* "X is above dense by ..": one corner against lane 0. */
static int corner_tell(const struct study *s, struct notes *findings, const char *where, const char *who, int lane,
                       int first)
{
    struct estimate e;
    char text[96], on[48], count[80];
    if (lane == STUDY_ABSENT) return 0;
    if (study_estimate(s, lane, MEASURE_ABOVE_DENSE, first, &e) != 0) return -1;
    const char *direction = e.mean < 0 ? "below" : "above";
    words_amount(text, sizeof text, e, 1, 3, " nat");
    words_side(on, sizeof on, e);
    switch (told_of(e)) {
    case TOLD_NOTHING:
        return 0;
    case TOLD_SAME:
        return notes_add(findings, "%s: %s has the same NLL as dense %s.", where, who,
                         words_all(count, sizeof count, e.n));
    case TOLD_FEW:
        return notes_add(findings, "%s: %s: %s %s dense %s.", where, who, text, direction,
                         words_average(count, sizeof count, e));
    case TOLD_UNCLEAR:
        return notes_add(findings, "%s: %s cannot be told from dense: %s %s it, an interval that holds 0%s.", where,
                         who, text, direction, on);
    case TOLD_CLEAR:
        return notes_add(findings, "%s: %s is %s %s dense%s.", where, who, text, direction, on);
    }
    return 0;
}

/* Where the mean leaves it open, the ranks may not: ", Wilcoxon p 0.0078", "" where there is none. */
static int ranks_words(const struct study *s, int a, int b, char *text, size_t n_bytes)
{
    struct rank_test test = { .p = NAN };
    double *values = NULL;
    TRY(MEM_NEW(&values, s->n_texts, "texts"), "%s", s->key);
    int rc = study_difference(s, a, b, MEASURE_ABOVE_DENSE, values);
    if (rc == 0) rc = rank_signed(values, s->n_texts, &test);
    mem_free(values);
    text[0] = '\0';
    if (!isnan(test.p)) snprintf(text, n_bytes, ", Wilcoxon p %.2g before any correction", test.p);
    return rc;
}

/* What the texts say of lane a against lane b; better: a has the lower NLL. */
static int pair_tell(const struct study *s, struct notes *findings, const char *where, const char *a_words, int a,
                     const char *b_words, const char *b_same, int b, const char *better, const char *worse)
{
    struct estimate e;
    char text[96], on[48], count[80], ranks[64];
    if (a == STUDY_ABSENT || b == STUDY_ABSENT) return 0;
    if (study_estimate_difference(s, a, b, MEASURE_ABOVE_DENSE, &e) != 0) return -1;
    if (ranks_words(s, a, b, ranks, sizeof ranks) != 0) return -1;
    const char *verb = e.mean < 0 ? better : worse;
    words_amount(text, sizeof text, e, 1, 3, " nat");
    words_side(on, sizeof on, e);
    switch (told_of(e)) {
    case TOLD_NOTHING:
        return 0;
    case TOLD_SAME:
        return notes_add(findings, "%s: %s has the same NLL as %s %s.", where, a_words, b_same,
                         words_all(count, sizeof count, e.n));
    case TOLD_FEW:
        return notes_add(findings, "%s: %s %s %s %s %s.", where, a_words, verb, text, b_words,
                         words_average(count, sizeof count, e));
    case TOLD_UNCLEAR:
        return notes_add(findings, "%s: %s %s %s %s, but the interval holds 0: no difference is shown%s%s.", where,
                         a_words, verb, text, b_words, on, ranks);
    case TOLD_CLEAR:
        return notes_add(findings, "%s: %s %s %s %s%s.", where, a_words, verb, text, b_words, on);
    }
    return 0;
}

/* The share of what the disturbed cache costs that a lane takes back: a ratio of means, where both are clear. */
static int share_tell(const struct study *s, const struct corner_set *set, struct notes *findings, const char *where,
                      int lane, const char *label)
{
    struct estimate back, cost;
    struct ratio share;
    char words[96];
    if (effect_share(s, set, lane, MEASURE_ABOVE_DENSE, &share) != 0 ||
        effect_estimate(s, set, EFFECT_BACK, lane, MEASURE_ABOVE_DENSE, &back) != 0 ||
        effect_estimate(s, set, EFFECT_ACCUMULATED, STUDY_ABSENT, MEASURE_ABOVE_DENSE, &cost) != 0)
        return -1;
    if (share.n < ESTIMATE_MIN_TEXTS || (share.defined && (cost.mean < 0 || back.mean < 0))) return 0;
    return notes_add(findings,
                     "%s: %s takes back %s of what the disturbed cache adds to selection (%.3f of %.3f nat, a "
                     "ratio of the means).",
                     where, label, words_share(words, sizeof words, share), back.mean, cost.mean);
}

/* NLL against the dense lane's and between lanes: a language-modelling figure, where the tokens are a text's. */
static int nll_tell(const struct study *s, const struct corner_set *set, const char *where, struct notes *findings)
{
    const int never = corner_lane(set, CORNER_NEVER, 0, s), clean = corner_lane(set, CORNER_CLEAN, 0, s),
              stale = corner_lane(set, CORNER_STALE, 0, s);
    const int first = set->policy.dense_until;
    char words[96];
    if (corner_tell(s, findings, where, "never rectified", never, first) != 0 ||
        corner_tell(s, findings, where, "selection alone (clean)", clean, first) != 0 ||
        corner_tell(s, findings, where, "the disturbed cache alone (stale)", stale, first) != 0)
        return -1;
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *c = &set->corners[i];
        if (c->role != CORNER_RECTIFIED) continue;
        snprintf(words, sizeof words, "interval %s", c->label + 1);
        if (never == STUDY_ABSENT ? corner_tell(s, findings, where, words, c->lane, first) != 0
                                  : pair_tell(s, findings, where, words, c->lane, "against never rectifying",
                                              "never rectifying", never, "takes back", "adds") != 0)
            return -1;
        if (share_tell(s, set, findings, where, c->lane, words) != 0) return -1;
    }
    return 0;
}

static int set_tell(const struct study *s, const struct corner_set *set, struct notes *findings)
{
    char where[224];
    snprintf(where, sizeof where, "%s", set->title);
    where[0] = (char)(where[0] == 's' ? 'S' : where[0]);
    const int rc =
        study_is_of_text(s) ? nll_tell(s, set, where, findings) : findings_near_dense(s, set, where, findings);
    if (rc != 0 || findings_near_clean(s, set, where, findings) != 0) return -1;
    return findings_share(s, set, where, findings);
}

/* What the sets lack for their four corners and for the reader's first question, and which lack it. */
static int corners_lack(const struct study *s, const struct corners *c, struct notes *missing)
{
    static const struct {
        enum corner_role role;
        const char *words;
    } parts[] = {
        { CORNER_NEVER, "a lane that is never rectified (both causes)" },
        { CORNER_CLEAN, "a clean lane (cache_of: dense; selection alone, distance to clean)" },
        { CORNER_STALE, "a stale lane (cache_of the sparse lane, sparsity 0; the cache alone)" },
        { CORNER_RECTIFIED, "a rectified lane" },
        { CORNER_EQUAL, "an equal-bytes lane (whether rectification beats reading more)" },
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char text[400] = "";
        size_t n = 0;
        int n_lacking = 0;
        for (int k = 0; k < c->n_sets; k++) {
            if (corner_lane(&c->sets[k], parts[i].role, 0, s) != STUDY_ABSENT) continue;
            if (n < sizeof text)
                n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", n_lacking ? "; " : "", c->sets[k].title);
            n_lacking++;
        }
        if (n_lacking && notes_add(missing, "Not run: %s: %s.", parts[i].words,
                                   n_lacking == c->n_sets ? "in no set of lanes" : text) != 0)
            return -1;
    }
    return 0;
}

static bool has_quantity(const struct study *s, enum quantity q)
{
    for (int i = 0; i < s->n_runs; i++)
        if (s->runs[i].series[q]) return true;
    return false;
}

static int groups_lack(const struct study *s, struct notes *missing)
{
    static const struct {
        enum quantity quantity;
        const char *group, *what;
    } groups[] = {
        { QUANTITY_NLL, "logits", "NLL, KL and agreement" },
        { QUANTITY_K_DRIFT, "drift", "K drift, shift and the distance to clean" },
        { QUANTITY_K_STALE, "cache", "stale and cache drift" },
        { QUANTITY_ATTN_ERR, "attention", "attention error and blocks read" },
        { QUANTITY_KEPT_MASS, "mass", "kept mass" },
    };
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        if (!has_quantity(s, groups[i].quantity) &&
            notes_add(missing, "The metric group %s was switched off: nothing is said of %s.", groups[i].group,
                      groups[i].what) != 0)
            return -1;
    return 0;
}

int findings_write(const struct study *s, const struct corners *c, const struct contests *contests,
                   struct notes *findings, struct notes *missing)
{
    char reach[400];
    if (groups_lack(s, missing) != 0) return -1;
    if (s->target_of[0] && !study_is_of_text(s) &&
        notes_add(missing, "NLL is that of the token chosen by %s and no language-modelling figure.",
                  strcmp(s->target_of, "own") == 0 ? "each lane itself" : "the dense lane") != 0)
        return -1;
    if (c->n_sets == 0)
        return notes_add(missing, "No lane is sparse with a cache of its own: there are no four corners.");
    if (corners_lack(s, c, missing) != 0) return -1;
    contests_reach(contests, reach, sizeof reach);
    if (reach[0] && notes_add(missing, "%s.", reach) != 0) return -1;
    if (findings_equal(s, contests, &findings[FINDINGS_EQUAL]) != 0) return -1;
    for (int i = 0; i < c->n_sets && i < MAX_SETS_TOLD; i++)
        if (set_tell(s, &c->sets[i], &findings[FINDINGS_CORNERS]) != 0) return -1;
    if (c->n_sets > MAX_SETS_TOLD)
        return notes_add(&findings[FINDINGS_CORNERS], "%d more set%s of lanes: see the tables.", c->n_sets - MAX_SETS_TOLD,
                         words_s(c->n_sets - MAX_SETS_TOLD));
    return 0;
}
