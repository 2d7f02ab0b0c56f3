#include "analysis/effects.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

const enum measure effect_measures[N_EFFECT_MEASURES] = { MEASURE_ABOVE_DENSE, MEASURE_KL,
                                                          MEASURE_TOP1,        MEASURE_K_ACCUM,
                                                          MEASURE_V_ACCUM,     MEASURE_ATTN_ACCUM,
                                                          MEASURE_HIDDEN_ACCUM };

static bool is_distance(enum measure m)
{
    return m == MEASURE_K_ACCUM || m == MEASURE_V_ACCUM || m == MEASURE_ATTN_ACCUM || m == MEASURE_HIDDEN_ACCUM;
}

static void lane_put(struct contrast *c, int lane, double weight)
{
    c->lanes[c->n] = lane;
    c->weights[c->n++] = weight;
}

/* The lanes of each effect, by the table in effects.h; distances leave out what they are measured from. */
static void lanes_put(struct contrast *c, enum effect effect, bool distance, int clean, int stale, int never,
                      int rectified, int equal)
{
    switch (effect) {
    case EFFECT_SELECTION:
        lane_put(c, clean, 1);
        break;
    case EFFECT_CACHE:
        lane_put(c, stale, 1);
        break;
    case EFFECT_BOTH:
    case EFFECT_INTERACTION:
    case EFFECT_ACCUMULATED:
        lane_put(c, never, 1);
        break;
    case EFFECT_LEFT:
    case EFFECT_BOUGHT:
        lane_put(c, rectified, 1);
        break;
    default:
        lane_put(c, never, 1);
        lane_put(c, rectified, -1);
    }
    if (effect == EFFECT_BOUGHT) lane_put(c, equal, -1);
    if (effect == EFFECT_INTERACTION) lane_put(c, stale, -1);
    if (distance) return;
    if (effect == EFFECT_INTERACTION || effect == EFFECT_ACCUMULATED || effect == EFFECT_LEFT) lane_put(c, clean, -1);
    if (effect <= EFFECT_BOTH) lane_put(c, 0, -1);
    if (effect == EFFECT_INTERACTION) lane_put(c, 0, 1);
}

bool effect_contrast(const struct study *s, const struct corner_set *set, enum effect effect, int rectified,
                     enum measure m, struct contrast *c)
{
    const bool distance = is_distance(m);
    const int interval = rectified == STUDY_ABSENT ? 0 : s->lanes[rectified].interval;
    *c = (struct contrast){ 0 };
    if (distance && (effect == EFFECT_SELECTION || effect == EFFECT_INTERACTION)) return false;
    lanes_put(c, effect, distance, corner_lane(set, CORNER_CLEAN, 0, s), corner_lane(set, CORNER_STALE, 0, s),
              corner_lane(set, CORNER_NEVER, 0, s), rectified,
              interval ? corner_lane(set, CORNER_EQUAL, interval, s) : STUDY_ABSENT);
    for (int i = 0; i < c->n; i++)
        if (c->lanes[i] == STUDY_ABSENT) return false;
    return true;
}

int effect_estimate(const struct study *s, const struct corner_set *set, enum effect effect, int rectified,
                    enum measure m, struct estimate *e)
{
    struct contrast c;
    *e = estimate_none();
    if (!effect_contrast(s, set, effect, rectified, m, &c)) return 0;
    return study_estimate_contrast(s, &c, m, set->policy.dense_until, e);
}

int effect_share(const struct study *s, const struct corner_set *set, int rectified, enum measure m, struct ratio *share)
{
    struct contrast back, cost;
    double *above = NULL, *below = NULL;
    *share = (struct ratio){ .value = NAN, .low = NAN, .high = NAN };
    if (!effect_contrast(s, set, EFFECT_BACK, rectified, m, &back) ||
        !effect_contrast(s, set, EFFECT_ACCUMULATED, STUDY_ABSENT, m, &cost))
        return 0;
    int rc = MEM_NEW(&above, s->n_texts, "texts");
    if (rc == 0) rc = MEM_NEW(&below, s->n_texts, "texts");
    if (rc == 0) rc = study_contrast(s, &back, m, set->policy.dense_until, above);
    if (rc == 0) rc = study_contrast(s, &cost, m, set->policy.dense_until, below);
    if (rc == 0) *share = ratio_of(above, below, s->n_texts);
    mem_free(above);
    mem_free(below);
    return rc;
}

/* ---- the table ---- */

static const char *const effect_keys[N_EFFECTS] = {
    [EFFECT_SELECTION] = "selection",     [EFFECT_CACHE] = "cache",
    [EFFECT_BOTH] = "both",               [EFFECT_INTERACTION] = "interaction",
    [EFFECT_ACCUMULATED] = "accumulated", [EFFECT_LEFT] = "left",
    [EFFECT_BACK] = "taken back",         [EFFECT_BOUGHT] = "minus equal bytes",
};
/* For people, in a row of its own. */
static void effect_words(enum effect effect, int interval, char *text, size_t n_bytes)
{
    static const char *const words[] = { "selection alone", "the disturbed cache alone", "both",
                                         "interaction: both less each alone", "accumulated: both less selection" };
    if (effect < EFFECT_LEFT)
        snprintf(text, n_bytes, "%s", words[effect]);
    else if (effect == EFFECT_LEFT)
        snprintf(text, n_bytes, "left of it, rectified every %d", interval);
    else if (effect == EFFECT_BACK)
        snprintf(text, n_bytes, "taken back, every %d", interval);
    else
        snprintf(text, n_bytes, "every %d minus equal bytes", interval);
}

static int columns_make(struct sheet *t)
{
    if (sheet_column(t, COLUMN_TEXT, "set", "set", 0) != 0 || sheet_column(t, COLUMN_TEXT, "effect", "effect", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "key", NULL, 0) != 0 || sheet_column(t, COLUMN_NUMBER, "interval", NULL, 0) != 0)
        return -1;
    for (int m = 0; m < N_EFFECT_MEASURES; m++)
        if (sheet_column_measure(t, COLUMN_SIGNED, effect_measures[m]) != 0) return -1;
    return 0;
}

static int head_make(struct sheet *t, const struct corner_set *set, const char *words, const char *key, int interval)
{
    if (sheet_text(t, set->title) != 0 || sheet_text(t, words) != 0 || sheet_text(t, key) != 0) return -1;
    return sheet_number(t, interval ? (double)interval : (double)NAN);
}

/* A row where any measure has the effect. */
static int effect_row(struct sheet *t, const struct study *s, const struct corner_set *set, enum effect effect, int lane)
{
    struct estimate e[N_EFFECT_MEASURES];
    char words[96];
    const int interval = lane == STUDY_ABSENT ? 0 : s->lanes[lane].interval;
    bool any = false;
    for (int m = 0; m < N_EFFECT_MEASURES; m++) {
        if (effect_estimate(s, set, effect, lane, effect_measures[m], &e[m]) != 0) return -1;
        any = any || e[m].n > 0;
    }
    if (!any) return 0;
    effect_words(effect, interval, words, sizeof words);
    if (head_make(t, set, words, effect_keys[effect], interval) != 0) return -1;
    for (int m = 0; m < N_EFFECT_MEASURES; m++)
        if (sheet_estimate(t, e[m]) != 0) return -1;
    return 0;
}

static int share_row(struct sheet *t, const struct study *s, const struct corner_set *set, int lane)
{
    struct ratio share[N_EFFECT_MEASURES];
    char words[96];
    bool any = false;
    for (int m = 0; m < N_EFFECT_MEASURES; m++) {
        if (effect_share(s, set, lane, effect_measures[m], &share[m]) != 0) return -1;
        any = any || share[m].n >= ESTIMATE_MIN_TEXTS;
    }
    if (!any) return 0;
    snprintf(words, sizeof words, "share taken back, every %d", s->lanes[lane].interval);
    if (head_make(t, set, words, "share taken back", s->lanes[lane].interval) != 0) return -1;
    for (int m = 0; m < N_EFFECT_MEASURES; m++) {
        struct estimate e = estimate_none();
        e.n = share[m].n;
        e.mean = share[m].defined ? share[m].value : NAN;
        e.low = share[m].low;
        e.high = share[m].high;
        e.error = (e.high - e.low) / 4;
        const int rc = e.n >= ESTIMATE_MIN_TEXTS && !share[m].defined ? sheet_undefined(t) : sheet_ratio(t, e);
        if (rc != 0) return -1;
    }
    return 0;
}

int effects_sheet(struct sheet *t, const struct study *s, const struct corners *c, const char *name)
{
    int rc = sheet_open(t, name);
    snprintf(t->caption, sizeof t->caption,
             "The four corners as effects: what selection costs alone (clean − dense), the disturbed cache alone (stale − "
             "dense), both (never rectified − dense), their interaction, and how much of what accumulates (both − "
             "selection) is taken back by rectifying. NLL, KL and agreement are differences; K, V, attention and hidden "
             "state are relative distances to the clean lane (the cache alone: to dense), which do not add. Shares are "
             "ratios of means with Fieller's 95 %% interval, undefined where what accumulated may be 0. Means over n = "
             "%d text%s, in brackets 95 %% intervals from %d texts on, and the texts above 0.",
             s->n_texts, s->n_texts == 1 ? "" : "s", ESTIMATE_MIN_TEXTS);
    if (rc == 0) rc = columns_make(t);
    t->group = 0;
    for (int i = 0; i < c->n_sets; i++) {
        const struct corner_set *set = &c->sets[i];
        for (int k = 0; k < EFFECT_LEFT && rc == 0; k++) rc = effect_row(t, s, set, (enum effect)k, STUDY_ABSENT);
        for (int l = 0; l < set->n_corners; l++) {
            const int lane = set->corners[l].lane;
            if (set->corners[l].role != CORNER_RECTIFIED) continue;
            for (int k = EFFECT_LEFT; k < N_EFFECTS && rc == 0; k++) rc = effect_row(t, s, set, (enum effect)k, lane);
            if (rc == 0) rc = share_row(t, s, set, lane);
        }
    }
    return rc;
}
