/* tests/lane_study.h: a study made of lanes by their settings, for tests of its tables.  Include after cmocka.h.
 *
 * Over texts and steps a lane's NLL above dense is the value that lane_add() gave it; its NLL, top-3 accuracy and bytes are the same
 * numbers, see study_fill(). */
#ifndef TESTS_LANE_STUDY_H
#define TESTS_LANE_STUDY_H

#include "analysis/sheet.h"
#include "analysis/study.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_TEXTS = 8, N_STEPS = 64, MAX_TEST_LANES = 24 };

static struct study study;
static struct lane_spec lanes[MAX_TEST_LANES];
static struct study_run runs[N_TEXTS];
static char texts[N_TEXTS][64];
static int map[MAX_TEST_LANES];
static float series[N_TEXTS][MAX_TEST_LANES * N_STEPS];
static char cpu[] = "a processor";
static double above[MAX_TEST_LANES]; /* a lane's NLL above dense, mean over texts and steps */
static struct sheet_list list;

static inline int lane_add(double sparsity, int interval, int equal_bytes, int cache_of, double value)
{
    const int i = study.n_lanes++;
    lanes[i] = (struct lane_spec){ .selector = i == 0 ? SELECT_DENSE : SELECT_MINMAX, .sparsity = sparsity, .block_size = 16, .local_blocks = 1,
                                   .min_blocks = 2, .interval = interval, .equal_bytes = equal_bytes, .cache_of = cache_of, .clean = LANE_NONE,
                                   .active_millionths = lane_active_millionths(sparsity, equal_bytes) };
    snprintf(lanes[i].name, sizeof lanes[i].name, "lane%d", i);
    above[i] = value;
    map[i] = i;
    return i;
}

/* Over texts and steps the lane's value is its mean: texts differ by 1/64 of the lane's number, steps by 1/512. */
static inline void study_fill(void)
{
    for (int r = 0; r < N_TEXTS; r++) {
        runs[r] = (struct study_run){ .text = r, .n_steps = N_STEPS, .n_lanes = study.n_lanes, .n_map = study.n_lanes, .map = map };
        runs[r].series[QUANTITY_ABOVE_DENSE] = runs[r].series[QUANTITY_NLL] = series[r];
        runs[r].series[QUANTITY_TOP3] = runs[r].series[QUANTITY_BYTES] = series[r];
        runs[r].facts[FACT_CPU] = cpu;
        for (int l = 0; l < study.n_lanes; l++)
            for (int s = 0; s < N_STEPS; s++)
                series[r][l * N_STEPS + s] = (float)(above[l] + (r - 3.5) * l / 64 + (s - 31.5) / 512); /* exact */
    }
}

static inline void study_make(void)
{
    memset(&study, 0, sizeof study);
    sheet_list_close(&list);
    study.lanes = lanes;
    study.runs = runs;
    study.texts = texts;
    study.n_runs = study.n_texts = N_TEXTS;
    study.n_steps = N_STEPS;
    study.prompt_tokens = 16;
    snprintf(study.follow, sizeof study.follow, "text");
    snprintf(study.target_of, sizeof study.target_of, "text");
    lane_add(0, 0, 0, LANE_OWN, 0); /* dense */
}

static inline const struct sheet *table(const char *name)
{
    for (int i = 0; i < list.n; i++)
        if (strcmp(list.sheets[i].name, name) == 0) return &list.sheets[i];
    return NULL;
}

static inline int column(const struct sheet *t, const char *key)
{
    for (int i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].key, key) == 0) return i;
    fail_msg("%s has no column %s", t->name, key);
    return 0;
}

/* Of the row with these first two texts. */
static inline const struct sheet_cell *cell(const char *name, const char *first, const char *second, const char *key)
{
    const struct sheet *t = table(name);
    if (!t) fail_msg("no table %s", name);
    for (int row = 0; row < sheet_n_rows(t); row++) {
        const struct sheet_cell *cells = &t->cells[row * t->n_columns];
        if (strcmp(cells[0].text, first) == 0 && strcmp(cells[1].text, second) == 0) return &cells[column(t, key)];
    }
    fail_msg("%s has no row %s, %s", name, first, second);
    return NULL;
}

static inline void assert_mean(const char *name, const char *first, const char *second, const char *key, double want)
{
    const double got = cell(name, first, second, key)->e.mean;
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= 1e-12)) /* sums of multiples of 2^-7: rounding of the division alone */
        fail_msg("%s: %s, %s: %s is %.17g, should be %.17g", name, first, second, key, got, want);
}

#endif
