#include "analysis/sheets.h"

#include "analysis/legend.h"
#include "analysis/words.h"

#include "core/config.h"
#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

/* "8 texts", and how the interval comes about. */
static void over_texts(const struct study *s, char *text, size_t n_bytes)
{
    if (s->n_texts >= ESTIMATE_MIN_TEXTS)
        snprintf(text, n_bytes, "Means over %d texts (%d run%s); in brackets the 95 %% bootstrap-t interval over the texts",
                 s->n_texts, s->n_runs, words_s(s->n_runs));
    else
        snprintf(text, n_bytes, "Means over %d text%s (%d run%s); fewer than %d texts: no intervals", s->n_texts,
                 words_s(s->n_texts), s->n_runs, words_s(s->n_runs), ESTIMATE_MIN_TEXTS);
}

/* ---- lanes ---- */

static int lane_columns(struct sheet *t)
{
    static const char *const settings[] = { "family",   "selector",     "sparsity",    "block_size",
                                            "interval", "local_blocks", "min_blocks",  "dense_layers",
                                            "phase",    "dense_until",  "equal_bytes", "perturb" };
    if (sheet_column(t, COLUMN_TEXT, "lane", "lane", 0) != 0) return -1;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (sheet_column(t, i < 2 ? COLUMN_TEXT : COLUMN_NUMBER, settings[i], NULL, 0) != 0) return -1;
    for (int m = 0; m < N_MEASURES; m++) {
        if (sheet_column_measure(t, m == MEASURE_ABOVE_DENSE ? COLUMN_ESTIMATE : COLUMN_MEAN, (enum measure)m) != 0)
            return -1;
        if (m == MEASURE_V_ACCUM || m == MEASURE_ATTN_ACCUM || m == MEASURE_HIDDEN_ACCUM || m == MEASURE_KL_CLEAN ||
            m == MEASURE_BEST_MASS || m == MEASURE_STALE_MASS)
            sheet_column_csv_only(t); /* people find them among the corners and the figures */
    }
    return 0;
}

/* e: [N_MEASURES] */
static int lane_row(struct sheet *t, const struct study *s, int lane, const struct estimate *e)
{
    const struct lane_spec *l = &s->lanes[lane];
    const double settings[] = { l->sparsity,     l->block_size, l->interval,    l->local_blocks, l->min_blocks,
                                l->dense_layers, l->phase,      l->dense_until, l->equal_bytes,  l->perturb };
    if (lane == 0 || lane_is_probe(l)) sheet_reference(t);
    if (sheet_text(t, l->name) != 0 || sheet_text(t, l->family) != 0 || sheet_text(t, selector_names[l->selector]) != 0)
        return -1;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (sheet_number(t, settings[i]) != 0) return -1;
    for (int m = 0; m < N_MEASURES; m++)
        if (sheet_estimate(t, e[m]) != 0) return -1;
    return 0;
}

/* e: [n_lanes][N_MEASURES].  Each is worked out alone: the threads share nothing but the study. */
static int lanes_estimate(const struct study *s, struct estimate *e)
{
    int n_failed = 0;
#pragma omp parallel for schedule(dynamic) reduction(+ : n_failed)
    for (int lane = 0; lane < s->n_lanes; lane++)
        for (int m = 0; m < N_MEASURES; m++)
            n_failed += study_estimate(s, lane, (enum measure)m, s->lanes[lane].dense_until, &e[(size_t)lane * N_MEASURES + (size_t)m]) != 0;
    return n_failed ? fail("%s: out of memory", s->key) : 0; /* nothing else can fail there, and on another thread */
}

int sheet_of_lanes(struct sheet *t, const struct study *s, const char *name)
{
    char over[256];
    TRY(sheet_open(t, name), "tables");
    over_texts(s, over, sizeof over);
    snprintf(t->caption, sizeof t->caption,
             "Every lane. %s. A figure is a mean over the steps of a run (KL also as their median) and, where it has "
             "layers, over layers: "
             "1 and up for K, V and the distances to clean, all for the rest. KV bytes: keys, values and block keys read and written, rectification "
             "included.%s",
             over, study_turns_late(s) ? " Lanes that are dense until some step: from that step on." : "");
    struct estimate *e = NULL;
    TRY(MEM_NEW(&e, (size_t)s->n_lanes * N_MEASURES, "estimates"), "tables");
    int rc = lanes_estimate(s, e);
    if (rc == 0) rc = lane_columns(t);
    for (int lane = 0; lane < s->n_lanes && rc == 0; lane++)
        rc = lane_row(t, s, lane, e + (size_t)lane * N_MEASURES);
    mem_free(e);
    return rc;
}

/* ---- corners ---- */

static const enum measure corner_measures[] = { MEASURE_ABOVE_DENSE, MEASURE_KL,      MEASURE_KL_MEDIAN,  MEASURE_TOP1,
                                                MEASURE_K_SHIFT,     MEASURE_K_ACCUM, MEASURE_V_ACCUM,    MEASURE_ATTN_ACCUM,
                                                MEASURE_HIDDEN_ACCUM, MEASURE_BYTES };
enum { N_CORNER_MEASURES = sizeof corner_measures / sizeof corner_measures[0] };

static const char *corner_meaning(enum corner_role role)
{
    static const char *const meanings[] = {
        [CORNER_CLEAN] = "selection alone",       [CORNER_RECTIFIED] = "both, rectified",
        [CORNER_NEVER] = "both, never rectified", [CORNER_EQUAL] = "both, reads more",
        [CORNER_STALE] = "cache alone",           [CORNER_CLEAN_OF] = "selection alone",
        [CORNER_STALE_OF] = "cache alone",
    };
    return meanings[role];
}

static int corner_row(struct sheet *t, const struct study *s, const struct corner_set *set, const struct corner *c)
{
    struct estimate e;
    if (c->role != CORNER_RECTIFIED && c->role != CORNER_NEVER && c->role != CORNER_EQUAL) sheet_reference(t);
    if (sheet_text(t, set->title) != 0 || sheet_text(t, c->label) != 0 || sheet_text(t, corner_meaning(c->role)) != 0 ||
        sheet_text(t, s->lanes[c->lane].name) != 0)
        return -1;
    for (int i = 0; i < N_CORNER_MEASURES; i++)
        if (study_estimate(s, c->lane, corner_measures[i], set->policy.dense_until, &e) != 0 ||
            sheet_estimate(t, e) != 0)
            return -1;
    return 0;
}

/* What is said of the lanes that are there, and of no others. */
static int corners_caption(struct sheet *t, const struct study *s, const struct corners *c)
{
    const struct corner **list = NULL;
    char over[256], legend[720];
    int n = 0, n_all = 0;
    bool to_clean = false, until = false;
    for (int i = 0; i < c->n_sets; i++) n_all += c->sets[i].n_corners;
    TRY(MEM_NEW(&list, n_all, "corners"), "tables");
    for (int i = 0; i < c->n_sets; i++) {
        until = until || c->sets[i].policy.dense_until > 0;
        for (int k = 0; k < c->sets[i].n_corners; k++) list[n++] = &c->sets[i].corners[k];
    }
    for (int i = 0; i < n; i++)
        to_clean = to_clean || list[i]->role == CORNER_CLEAN || list[i]->role == CORNER_CLEAN_OF;
    over_texts(s, over, sizeof over);
    legend_print(s, list, n, legend, sizeof legend);
    snprintf(t->caption, sizeof t->caption, "The four corners. %s. %s%s%s%s", over, legend, n ? "." : "",
             to_clean ? " Distance to clean: each lane against its own clean twin." : "",
             until ? " Sets that are dense until some step: from that step on." : "");
    mem_free(list);
    return 0;
}

int sheet_of_corners(struct sheet *t, const struct study *s, const struct corners *c, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    if (corners_caption(t, s, c) != 0) return -1;
    int rc = sheet_column(t, COLUMN_TEXT, "set", "set", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "corner", "lane", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "meaning", "what disturbs", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "lane", NULL, 0);
    for (int i = 0; i < N_CORNER_MEASURES && rc == 0; i++)
        rc = sheet_column_measure(t, i < 2 ? COLUMN_ESTIMATE : COLUMN_MEAN, corner_measures[i]);
    t->group = 0;
    for (int i = 0; i < c->n_sets && rc == 0; i++)
        for (int k = 0; k < c->sets[i].n_corners && rc == 0; k++)
            rc = corner_row(t, s, &c->sets[i], &c->sets[i].corners[k]);
    return rc;
}

/* ---- pairs ---- */

/* NLL above dense and not NLL: with follow: self it is there for as long as the lane's stream is the dense lane's. */
static const enum measure pair_measures[] = { MEASURE_ABOVE_DENSE, MEASURE_KL, MEASURE_TOP1, MEASURE_ATTN_ERR,
                                              MEASURE_K_ACCUM };
enum { N_PAIR_MEASURES = sizeof pair_measures / sizeof pair_measures[0], MAX_ALL_PAIRS = 24 };

struct pair {
    const struct corner_set *set;
    const struct corner *a, *b;
};

/* Calls each(t, s, pair) for every pair of a set's lanes, the later minus the earlier; in a set of more than MAX_ALL_PAIRS
 * rectified lanes are not paired with one another, whose pairs would grow with their square. */
static int pairs_each(struct sheet *t, const struct study *s, const struct corners *c,
                      int (*each)(struct sheet *t, const struct study *s, const struct pair *pair))
{
    for (int i = 0; i < c->n_sets; i++) {
        const struct corner_set *set = &c->sets[i];
        for (int b = 0; b < set->n_corners; b++)
            for (int a = b + 1; a < set->n_corners; a++) {
                const struct pair pair = { set, &set->corners[a], &set->corners[b] };
                const bool both_rectified = pair.a->role == CORNER_RECTIFIED && pair.b->role == CORNER_RECTIFIED;
                if (pair.a->role > CORNER_STALE || pair.b->role > CORNER_STALE) continue;
                if (both_rectified && set->n_corners > MAX_ALL_PAIRS) continue;
                if (each(t, s, &pair) != 0) return -1;
            }
    }
    return 0;
}

static int pair_head(struct sheet *t, const struct pair *pair)
{
    char text[128];
    snprintf(text, sizeof text, "%s − %s", pair->a->label, pair->b->label);
    if (sheet_text(t, pair->set->title) != 0 || sheet_text(t, text) != 0) return -1;
    return sheet_text(t, pair->a->label) != 0 ? -1 : sheet_text(t, pair->b->label);
}

static int pair_columns(struct sheet *t)
{
    if (sheet_column(t, COLUMN_TEXT, "set", "set", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "pair", "difference", 0) != 0)
        return -1;
    return sheet_column(t, COLUMN_TEXT, "a", NULL, 0) != 0 ? -1 : sheet_column(t, COLUMN_TEXT, "b", NULL, 0);
}

static int pair_row(struct sheet *t, const struct study *s, const struct pair *pair)
{
    struct estimate e;
    if (pair_head(t, pair) != 0) return -1;
    for (int i = 0; i < N_PAIR_MEASURES; i++)
        if (study_estimate_difference(s, pair->a->lane, pair->b->lane, pair_measures[i], &e) != 0 ||
            sheet_estimate(t, e) != 0)
            return -1;
    return 0;
}

int sheet_of_pairs(struct sheet *t, const struct study *s, const struct corners *c, const char *name)
{
    char over[256];
    bool stale = false;
    TRY(sheet_open(t, name), "tables");
    over_texts(s, over, sizeof over);
    for (int i = 0; i < c->n_sets; i++) stale = stale || corner_lane(&c->sets[i], CORNER_STALE, 0, s) != STUDY_ABSENT;
    snprintf(t->caption, sizeof t->caption,
             "Paired differences: the first lane minus the second at the same step of the same text, over the steps "
             "that both have. %s, and the texts on which the difference is above 0. Distance to clean: each lane "
             "against its own clean twin%s.",
             over, stale ? ", for stale the dense lane" : "");
    int rc = pair_columns(t);
    for (int i = 0; i < N_PAIR_MEASURES && rc == 0; i++) rc = sheet_column_measure(t, COLUMN_SIGNED, pair_measures[i]);
    return rc == 0 ? pairs_each(t, s, c, pair_row) : rc;
}

static int pair_text_row(struct sheet *t, const struct study *s, const struct pair *pair)
{
    double *values = NULL;
    TRY(MEM_NEW(&values, s->n_texts, "texts"), "tables");
    int rc = 0;
    for (int i = 0; i < N_PAIR_MEASURES && rc == 0; i++) {
        rc = study_difference(s, pair->a->lane, pair->b->lane, pair_measures[i], values);
        if (rc == 0) rc = pair_head(t, pair);
        if (rc == 0) rc = sheet_text(t, measure_defs[pair_measures[i]].label);
        for (int text = 0; text < s->n_texts && rc == 0; text++) rc = sheet_number(t, values[text]);
        if (rc == 0) rc = sheet_estimate(t, estimate_of(values, s->n_texts));
    }
    mem_free(values);
    return rc;
}

int sheet_of_texts(struct sheet *t, const struct study *s, const struct corners *c, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(t->caption, sizeof t->caption, "The paired differences, text by text.");
    int rc = pair_columns(t);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "measure", "measure", 0);
    for (int text = 0; text < s->n_texts && rc == 0; text++)
        rc = sheet_column(t, COLUMN_NUMBER, s->texts[text], s->texts[text], 3);
    if (rc == 0) rc = sheet_column(t, COLUMN_SIGNED, "mean", "mean", 3);
    return rc == 0 ? pairs_each(t, s, c, pair_text_row) : rc;
}
