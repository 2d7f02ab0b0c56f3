/* Ablation tables of a study made here: which axes there are, what is a group, references, differences, means over groups, crossed. */
#include "analysis/ablation.h"
#include "core/err.h"
#include "core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lane_study.h"

static void tables_make(void)
{
    study_fill();
    if (ablation_sheets(&list, &study, "-x") != 0) fail_msg("%s", fail_text());
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

/* A lane that is dense until step 32: all its columns are of the steps from there on, bytes among them, which are counted before too. */
static void test_late(void **unused)
{
    (void)unused;
    study_make();
    lane_add(0.9, 0, 0, LANE_OWN, 1);
    lanes[lane_add(0.9, 0, 0, LANE_OWN, 1)].dense_until = 32;
    tables_make();
    const char *t = "ablation-dense_until-x";
    assert_mean(t, "never", "0", "bytes_per_step", 1);
    assert_mean(t, "never", "32", "bytes_per_step", 1 + 16.0 / 512);
    assert_mean(t, "never", "32", "nll_above_dense", 1 + 16.0 / 512);
    assert_non_null(strstr(table(t)->caption, "over the steps from dense_until on"));
    assert_true(study_turns_late(&study));
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
        cmocka_unit_test(test_axes), cmocka_unit_test(test_late),      cmocka_unit_test(test_groups),         cmocka_unit_test(test_paired), cmocka_unit_test(test_crossed),
        cmocka_unit_test(test_reference), cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
