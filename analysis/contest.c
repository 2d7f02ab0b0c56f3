#include "analysis/contest.h"

#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

const enum measure contest_measures[N_CONTEST_MEASURES] = { MEASURE_ABOVE_DENSE, MEASURE_KL, MEASURE_TOP1,
                                                            MEASURE_K_ACCUM };

static const double LEVEL = 0.05;

static int contest_fill(struct contest *k, const struct study *s, double *values)
{
    const struct contrast c = { .n = 2, .lanes = { k->a->lane, k->b->lane }, .weights = { 1, -1 } };
    for (int m = 0; m < N_CONTEST_MEASURES; m++) {
        if (study_contrast(s, &c, contest_measures[m], k->set->policy.dense_until, values) != 0) return -1;
        k->difference[m] = estimate_of(values, s->n_texts);
        TRY(rank_signed(values, s->n_texts, &k->rank[m]), "%s", s->key);
        k->holm[m] = k->rank[m].p;
    }
    return 0;
}

static int contest_add(struct contests *c, const struct study *s, const struct corner_set *set, const struct corner *a,
                       const struct corner *b, double *values)
{
    TRY(mem_grow((void **)&c->all, (size_t)c->n, (size_t)c->n + 1, sizeof *c->all, "contests"), "%s", s->key);
    struct contest *k = &c->all[c->n++];
    *k = (struct contest){ .set = set, .a = a, .b = b };
    return contest_fill(k, s, values);
}

static int set_add(struct contests *c, const struct study *s, const struct corner_set *set, double *values)
{
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *a = &set->corners[i];
        if (a->role != CORNER_RECTIFIED) continue;
        for (int k = 0; k < set->n_corners; k++) {
            const struct corner *b = &set->corners[k];
            const bool same_bytes = b->role == CORNER_EQUAL && s->lanes[b->lane].equal_bytes == s->lanes[a->lane].interval;
            if ((b->role == CORNER_NEVER || same_bytes) && contest_add(c, s, set, a, b, values) != 0) return -1;
        }
    }
    return 0;
}

static int family_correct(struct contests *c, int m)
{
    double *p = NULL;
    TRY(MEM_NEW(&p, c->n, "p-values"), "Holm");
    for (int i = 0; i < c->n; i++) {
        p[i] = c->all[i].rank[m].p;
        c->n_family[m] += c->all[i].rank[m].n > 0;
        c->n_texts = c->all[i].rank[m].n > c->n_texts ? c->all[i].rank[m].n : c->n_texts;
    }
    const int rc = rank_holm(p, c->n);
    for (int i = 0; i < c->n; i++) c->all[i].holm[m] = p[i];
    mem_free(p);
    return rc;
}

int contests_open(struct contests *c, const struct study *s, const struct corners *corners)
{
    double *values = NULL;
    *c = (struct contests){ 0 };
    TRY(MEM_NEW(&values, s->n_texts, "texts"), "%s", s->key);
    int rc = 0;
    for (int i = 0; i < corners->n_sets && rc == 0; i++) rc = set_add(c, s, &corners->sets[i], values);
    mem_free(values);
    for (int m = 0; m < N_CONTEST_MEASURES && rc == 0; m++) rc = family_correct(c, m);
    return rc;
}

void contests_close(struct contests *c)
{
    mem_free(c->all);
    *c = (struct contests){ 0 };
}

const char *contests_reach(const struct contests *c, char *text, size_t n_bytes)
{
    int most = 0;
    text[0] = '\0';
    for (int m = 0; m < N_CONTEST_MEASURES; m++) most = c->n_family[m] > most ? c->n_family[m] : most;
    if (most == 0) return text;
    const double least = rank_least_p(c->n_texts) * most;
    if (c->n_texts < ESTIMATE_MIN_TEXTS)
        snprintf(text, n_bytes, "With %d text%s no p-value is given (%d are needed, for a family of %d comparisons %d)",
                 c->n_texts, words_s(c->n_texts), ESTIMATE_MIN_TEXTS, most, rank_texts_needed(most, LEVEL));
    else if (!(least < LEVEL))
        snprintf(text, n_bytes,
                 "With %d texts no p-value can be below %.2g, which is %.2g after Holm's correction over %d comparisons: none "
                 "can be significant at 5 %%, whatever the data; %d texts are needed. What is called better or worse rests on intervals, each for itself",
                 c->n_texts, rank_least_p(c->n_texts), fmin(1, least), most, rank_texts_needed(most, LEVEL));
    return text;
}

/* ---- the table ---- */

static int columns_make(struct sheet *t)
{
    static const char *const texts[][2] = { { "set", "set" },         { "comparison", "comparison" },
                                            { "measure", "measure" }, { "a", NULL },
                                            { "b", NULL } };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (sheet_column(t, COLUMN_TEXT, texts[i][0], texts[i][1], 0) != 0) return -1;
    if (sheet_column(t, COLUMN_SIGNED, "difference", "mean difference", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "shift", "Hodges-Lehmann", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "rank_biserial", "rank-biserial", 2) != 0 ||
        sheet_column(t, COLUMN_P, "p", "p", 4) != 0 || sheet_column(t, COLUMN_P, "p_holm", "p, Holm", 4) != 0)
        return -1;
    return sheet_column(t, COLUMN_NUMBER, "family", NULL, 0);
}

static int row_make(struct sheet *t, const struct study *s, const struct contests *c, const struct contest *k, int m)
{
    char words[128];
    const struct rank_test *rank = &k->rank[m];
    snprintf(words, sizeof words, "%s − %s", k->a->label, k->b->label);
    if (sheet_text(t, k->set->title) != 0 || sheet_text(t, words) != 0 ||
        sheet_text(t, measure_defs[contest_measures[m]].label) != 0 || sheet_text(t, s->lanes[k->a->lane].name) != 0 ||
        sheet_text(t, s->lanes[k->b->lane].name) != 0 || sheet_estimate(t, k->difference[m]) != 0)
        return -1;
    const double numbers[] = { rank->shift, rank->effect, rank->p, k->holm[m], c->n_family[m] };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (sheet_number(t, numbers[i]) != 0) return -1;
    return 0;
}

int contests_sheet(struct sheet *t, const struct study *s, const struct contests *c, const char *name)
{
    char reach[400];
    TRY(sheet_open(t, name), "tables");
    contests_reach(c, reach, sizeof reach);
    snprintf(t->caption, sizeof t->caption,
             "Is rectifying better than not, and than reading as many bytes more?  Paired differences, step by step, "
             "averaged over each text (below 0 the rectified lane has less; top-1 agreement: above 0 is better), the share "
             "of texts above 0; the median of all pairs of texts (Hodges-Lehmann); rank-biserial correlation (-1 to 1); "
             "exact Wilcoxon signed-rank test, two-sided, over texts; and its p after Holm's correction over the "
             "comparisons of one measure%s%s.",
             reach[0] ? ".  " : "", reach);
    TRY(columns_make(t), "tables");
    t->group = 0;
    for (int i = 0; i < c->n; i++)
        for (int m = 0; m < N_CONTEST_MEASURES; m++)
            if (c->all[i].rank[m].n > 0) TRY(row_make(t, s, c, &c->all[i], m), "tables");
    return 0;
}
