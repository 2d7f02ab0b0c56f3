/* Ablation tables of a study made here: which axes there are, what is a group, references, differences, means over groups, crossed. */
#include "analysis/ablation.h"
#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N_TEXTS = 8, N_STEPS = 4, MAX_TEST_LANES = 24 };

static struct study study;
static struct lane_spec lanes[MAX_TEST_LANES];
static struct study_run runs[N_TEXTS];
static char texts[N_TEXTS][64];
static int map[MAX_TEST_LANES];
static float series[N_TEXTS][MAX_TEST_LANES * N_STEPS];
static double above[MAX_TEST_LANES]; /* a lane's NLL above dense, mean over texts and steps */
static struct sheet_list list;

static int lane_add(double sparsity, int interval, int equal_bytes, int cache_of, double value)
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

/* Over texts and steps the lane's value is its mean: texts differ by 1/64 of the lane's number, steps by 1/8. */
static void study_fill(void)
{
    for (int r = 0; r < N_TEXTS; r++) {
        runs[r] = (struct study_run){ .text = r, .n_steps = N_STEPS, .n_lanes = study.n_lanes, .n_map = study.n_lanes, .map = map };
        runs[r].series[QUANTITY_ABOVE_DENSE] = series[r];
        for (int l = 0; l < study.n_lanes; l++)
            for (int s = 0; s < N_STEPS; s++)
                series[r][l * N_STEPS + s] = (float)(above[l] + (r - 3.5) * l / 64 + (s - 1.5) / 8); /* exact */
    }
}

static void study_make(void)
{
    memset(&study, 0, sizeof study);
    sheet_list_close(&list);
    study.lanes = lanes;
    study.runs = runs;
    study.texts = texts;
    study.n_runs = study.n_texts = N_TEXTS;
    lane_add(0, 0, 0, LANE_OWN, 0); /* dense */
}

static void tables_make(void)
{
    study_fill();
    if (ablation_sheets(&list, &study, "-x") != 0) fail_msg("%s", fail_text());
}

static const struct sheet *table(const char *name)
{
    for (int i = 0; i < list.n; i++)
        if (strcmp(list.sheets[i].name, name) == 0) return &list.sheets[i];
    return NULL;
}

static int column(const struct sheet *t, const char *key)
{
    for (int i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].key, key) == 0) return i;
    fail_msg("%s has no column %s", t->name, key);
    return 0;
}

/* Of the row with these first two texts. */
static const struct sheet_cell *cell(const char *name, const char *first, const char *second, const char *key)
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

static void assert_mean(const char *name, const char *first, const char *second, const char *key, double want)
{
    const double got = cell(name, first, second, key)->e.mean;
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= 1e-12)) /* sums of multiples of 2^-7: rounding of the division alone */
        fail_msg("%s: %s, %s: %s is %.17g, should be %.17g", name, first, second, key, got, want);
}

/* 2 sparsities x (never, 16, 32), clean, stale of the never lanes, an equal lane at one sparsity. */
static void grid(void)
{
    study_make();
    const double base[2] = { 0.25, 0.75 };
    for (int i = 0; i < 2; i++) {
        const double s = i == 0 ? 0.8 : 0.9;
        lane_add(s, 0, 0, 0, base[i] / 2);                                    /* clean */
        const int never = lane_add(s, 0, 0, LANE_OWN, base[i]);
        lane_add(s, 16, 0, LANE_OWN, base[i] - 0.125);
        lane_add(s, 32, 0, LANE_OWN, base[i] - 0.0625 * (i + 1));
        lane_add(0, 0, 0, never, base[i] / 4); /* stale: at sparsity 0, but it belongs to its owner's */
    }
    lane_add(0.9, 0, 32, LANE_OWN, 0.5); /* equal */
    lane_add(0, 0, 0, LANE_OWN, 0);      /* control: no point of any axis */
    tables_make();
}

static void test_axes(void **unused)
{
    (void)unused;
    grid();
    static const char *const wanted[] = { "ablation-sparsity-x", "ablation-interval-x", "ablation-equal_bytes-x", "crossed-sparsity-interval-x" };
    assert_int_equal(list.n, 4);
    for (int i = 0; i < 4; i++) assert_string_equal(list.sheets[i].name, wanted[i]);
    for (int i = 0; i < list.n; i++) { /* every name is one that leftovers know */
        bool known = false;
        for (int k = 0; ablation_sheet_names[k]; k++)
            known = known || strncmp(list.sheets[i].name, ablation_sheet_names[k], strlen(list.sheets[i].name) - 2) == 0;
        assert_true(known);
    }
    study_make();
    lane_add(0.9, 0, 0, LANE_OWN, 1);
    lane_add(0.8, 32, 0, LANE_OWN, 1); /* two settings at once: no axis */
    lane_add(0.8, 0, 0, 0, 1);         /* another role: neither */
    tables_make();
    assert_int_equal(list.n, 0);
}

static void test_groups(void **unused)
{
    (void)unused;
    grid();
    const char *t = "ablation-interval-x";
    assert_mean(t, "own cache, sparsity 0.8", "16", "nll_above_dense", 0.125);
    assert_mean(t, "own cache, sparsity 0.9", "never", "nll_above_dense", 0.75);
    assert_mean(t, "own cache, sparsity 0.8", "32", "nll_above_dense_difference", -0.0625); /* the reference is never */
    assert_mean(t, "own cache, sparsity 0.9", "32", "nll_above_dense_difference", -0.125);
    assert_mean(t, "own cache, sparsity 0.9", "never", "nll_above_dense_difference", NAN);
    assert_mean(t, "mean of 2 groups", "32", "nll_above_dense_difference", -0.09375);
    assert_mean(t, "mean of 2 groups", "never", "nll_above_dense", 0.5);
    t = "ablation-sparsity-x";
    assert_int_equal(sheet_n_rows(table(t)), 2 * 6); /* mean, clean, never, f16, f32, stale; equal and control are alone */
    assert_mean(t, "clean", "0.8", "nll_above_dense_difference", -0.25); /* to 0.9, the default */
    assert_mean(t, "stale of never", "0.8", "nll_above_dense", 0.0625);
    assert_mean(t, "stale of never", "0.8", "nll_above_dense_difference", -0.125);
    assert_mean(t, "mean of 3 groups", "0.9", "nll_above_dense", (0.75 + 0.625 + 0.625) / 3);
    t = "ablation-equal_bytes-x";
    assert_mean(t, "never", "32", "nll_above_dense_difference", -0.25);
}

/* The interval of a difference is that of the paired values: the texts' own share drops out but for the lanes' numbers. */
static void test_paired(void **unused)
{
    (void)unused;
    grid();
    const struct sheet_cell *c = cell("ablation-interval-x", "own cache, sparsity 0.8", "16", "nll_above_dense_difference");
    double values[N_TEXTS];
    for (int r = 0; r < N_TEXTS; r++) values[r] = -0.125 + (r - 3.5) / 64; /* lanes 3 and 2 */
    const struct estimate want = estimate_of(values, N_TEXTS);
    assert_true(fabs(c->e.low - want.low) < 1e-12 && fabs(c->e.high - want.high) < 1e-12 && c->e.n == N_TEXTS);
    assert_int_equal(c->e.n_above, want.n_above);
}

static void test_crossed(void **unused)
{
    (void)unused;
    grid();
    const char *t = "crossed-sparsity-interval-x", *nll = "NLL above dense (nat)";
    assert_mean(t, nll, "0.8", "interval_16", 0.125);
    assert_mean(t, nll, "0.9", "interval_32", 0.625);
    assert_mean(t, nll, "0.9", "interval_never", 0.75);
    assert_int_equal(sheet_n_rows(table(t)), 4);
    study_make();
    for (int i = 0; i < 2; i++) /* four cells are too few */
        for (int k = 0; k < 2; k++) lane_add(0.8 + 0.1 * i, 32 * k, 0, LANE_OWN, i + k);
    tables_make();
    assert_null(table("crossed-sparsity-interval-x"));
    assert_non_null(table("ablation-interval-x"));
}

/* Without the default the smallest value is the reference; never is above every interval. */
static void test_reference(void **unused)
{
    (void)unused;
    study_make();
    for (int i = 0; i < 3; i++) lane_add(0.9, 64 >> i, 0, LANE_OWN, 1 + i);
    tables_make();
    assert_mean("ablation-interval-x", "own cache", "16", "nll_above_dense_difference", NAN);
    assert_mean("ablation-interval-x", "own cache", "64", "nll_above_dense_difference", -2);
    assert_string_equal(table("ablation-interval-x")->cells[1].text, "16");
}

static void test_without_memory(void **unused)
{
    (void)unused;
    grid();
    int n = 0;
    for (;; n++) {
        sheet_list_close(&list);
        mem_fail_after(n);
        const int rc = ablation_sheets(&list, &study, "");
        mem_fail_after(-1);
        if (rc == 0) break;
        assert_non_null(strstr(fail_text(), "out of memory"));
    }
    assert_true(n > 10);
    sheet_list_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_axes),      cmocka_unit_test(test_groups),         cmocka_unit_test(test_paired), cmocka_unit_test(test_crossed),
        cmocka_unit_test(test_reference), cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
