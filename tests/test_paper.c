/* The published numbers, whose sums and means must agree with one another; and what a study is said to show beside them. */
#include "analysis/paper.h"
#include "analysis/paper_latency.h"
#include "analysis/paper_sheets.h"
#include "core/err.h"
#include "core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/lane_study.h"

static const struct paper_table *source(const char *name)
{
    for (const struct paper_table *t = paper_tables; t->source; t++)
        if (strcmp(t->source, name) == 0) return t;
    fail_msg("no %s", name);
    return NULL;
}

static int n_columns(const struct paper_table *t)
{
    int n = 0;
    while (n < PAPER_MAX_COLUMNS && t->columns[n]) n++;
    return n;
}

/* The last column is the mean of the others, but for rounding: half a unit of each of the printed digits. */
static void check_means(const char *name, double half_unit)
{
    const struct paper_table *t = source(name);
    const int n = n_columns(t) - 1;
    for (const struct paper_numbers *r = t->rows; r->setting; r++) {
        double sum = 0;
        for (int i = 0; i < n; i++) sum += r->values[i];
        if (!(fabs(sum / n - r->values[n]) <= half_unit)) fail_msg("%s: %s: mean %g, printed %g", name, r->setting, sum / n, r->values[n]);
    }
}

static void test_numbers(void **unused)
{
    (void)unused;
    check_means("v2 Table 1", 0.05 + 0.05); /* the scores and the lengths to 0.1 */
    check_means("v2 Table 2", 0.0005 + 0.0005);
    check_means("v2 Table 3", 0.005 + 0.005);
    const struct paper_table *t = source("v2 Figure 6");
    for (const struct paper_numbers *r = t->rows; r->setting; r++) { /* read off to 1 % */
        const double *v = r->values;
        assert_true(fabs(v[0] + v[1] + v[2] - v[3]) <= 0.01 * v[3]);
        assert_true(fabs(v[4] / v[3] - v[5]) <= 0.01 * v[5]);
    }
    for (t = paper_tables; t->source; t++) /* no column without a number */
        for (const struct paper_numbers *r = t->rows; r->setting; r++)
            for (int i = 0; i < n_columns(t); i++) assert_true(r->values[i] > 0);
}

static void sheets_make(void)
{
    study_fill();
    if (paper_sheets(&list, &study, "") != 0) fail_msg("%s", fail_text());
}

static const char *seen(const char *measure)
{
    const struct sheet *t = table("paper");
    assert_non_null(t);
    for (int row = 0; row < sheet_n_rows(t); row++) {
        const struct sheet_cell *cells = &t->cells[row * t->n_columns];
        if (strstr(cells[column(t, "measure")].text, measure)) return cells[column(t, "seen")].text;
    }
    fail_msg("no row measures %s", measure);
    return NULL;
}

static double value(const char *measure)
{
    const struct sheet *t = table("paper");
    for (int row = 0; row < sheet_n_rows(t); row++) {
        const struct sheet_cell *cells = &t->cells[row * t->n_columns];
        if (strstr(cells[column(t, "measure")].text, measure)) return cells[column(t, "value")].e.mean;
    }
    return NAN;
}

/* Rectification helps by far, 16 beside 32 not at all, two dense layers do harm. */
static void test_findings(void **unused)
{
    (void)unused;
    study_make();
    lane_add(0.9, 0, 0, LANE_OWN, 2);  /* 1 */
    lane_add(0.9, 32, 0, LANE_OWN, 1); /* 2 */
    lane_add(0.9, 16, 0, LANE_OWN, 1); /* 3: texts vary against lane 2, its mean does not */
    lanes[lane_add(0.9, 0, 0, LANE_OWN, 8)].dense_layers = 2;
    lanes[lane_add(0.9, 32, 0, LANE_OWN, 64)].phase = 4; /* not what the paper means */
    lane_add(0.95, 0, 0, LANE_OWN, 1);
    lane_add(0.95, 32, 0, LANE_OWN, 3);
    sheets_make();
    assert_true(fabs(value("NLL of never rectified minus interval 32") - 1) < 1e-6);
    assert_string_equal(seen("NLL of never rectified minus interval 32"), "yes");
    assert_true(fabs(value("share of the NLL above dense") - 0.5) < 1e-6); /* (2 - 1) / 2 */
    assert_string_equal(seen("share of the NLL above dense"), "not shown"); /* more than half, or less */
    assert_string_equal(seen("NLL of interval 32 minus 16"), "not decided: 0 and more than 0.02 nat are possible");
    assert_string_equal(seen("NLL of none minus 2 dense layers"), "no: a difference is shown, the other way");
    assert_string_equal(seen("NLL of never minus interval 32, sparsity 0.95"), "no: the other way");
    assert_string_equal(seen("NLL of never minus interval 32, sparsity 0.98"), "not run");
    assert_true(isnan(value("NLL of interval 128 minus 64")));
    assert_null(table("paper-lengths"));
    assert_non_null(table("paper-numbers"));
    int n = 0;
    for (const struct paper_table *t = paper_tables; t->source; t++)
        for (const struct paper_numbers *r = t->rows; r->setting; r++) n += n_columns(t);
    assert_int_equal(sheet_n_rows(table("paper-numbers")), n);
}

/* 0.8 beside dense: equal by a small interval, never for want of a difference. */
static void test_equal(void **unused)
{
    static const struct {
        float nll;
        const char *by_nll, *by_top3;
    } cases[] = { { 0.0078125F, "yes: within 0.02 nat", "yes: within 0.01" },
                  { 0.015625F, "yes: within 0.02 nat", "no: a difference is shown, the other way" },
                  { 0.25F, "no: a difference is shown", "no: a difference is shown, the other way" } };
    (void)unused;
    study_make();
    lane_add(0.8, 0, 0, LANE_OWN, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        study_fill();
        for (int r = 0; r < N_TEXTS; r++) /* the same on every text, so that the interval is the value */
            for (int s = 0; s < N_STEPS; s++) series[r][N_STEPS + s] = series[r][s] + cases[i].nll;
        sheet_list_close(&list);
        if (paper_sheets(&list, &study, "") != 0) fail_msg("%s", fail_text());
        assert_string_equal(seen("NLL at 0.8 minus dense"), cases[i].by_nll);
        assert_string_equal(seen("top-3 accuracy of dense minus at 0.8"), cases[i].by_top3);
    }
}

static void test_share(void **unused)
{
    (void)unused;
    study_make();
    lane_add(0.9, 0, 0, LANE_OWN, 8);
    lane_add(0.9, 32, 0, LANE_OWN, 2);
    sheets_make();
    assert_true(fabs(value("share of the NLL above dense") - 0.75) < 1e-6);
    assert_string_equal(seen("share of the NLL above dense"), "yes");
    above[2] = 6;
    sheet_list_close(&list);
    sheets_make();
    assert_string_equal(seen("share of the NLL above dense"), "no: less than half");
}

static void test_lengths(void **unused)
{
    (void)unused;
    study_make();
    lanes[lane_add(0.9, 0, 0, 0, 1)].clean = 1;
    static const int untils[] = { 0, 32, 48 };
    for (int i = 0; i < 3; i++) {
        const int lane = lane_add(0.9, 0, 0, LANE_OWN, 3 - i);
        lanes[lane].dense_until = untils[i];
        lanes[lane].clean = 1;
    }
    sheets_make();
    const struct sheet *t = table("paper-lengths");
    assert_int_equal(sheet_n_rows(t), 4); /* dense, clean, 32, 64; 16 steps are too few to count on 32 */
    assert_mean("paper-lengths", "", "dense", "top3_accuracy", 16.0 / 512); /* the last 32 steps' own course */
    assert_mean("paper-lengths", "0.9", "32", "against_dense", 2);
    assert_mean("paper-lengths", "0.9", "64", "against_clean", 2);
    assert_mean("paper-lengths", "0.9", "clean", "against_clean", NAN);
    assert_string_equal(seen("top-3 accuracy of clean minus after 32"), "no: a difference is shown, the other way");
    assert_true(fabs(value("top-3 accuracy after 32 sparse steps minus after all") + 1) < 1e-6);
}

static struct latency_point point(int place, int interval, int batch, int context, double milliseconds)
{
    struct latency_point p = { .place = place, .interval = interval, .batch = batch, .context = context, .gain = 2.5 };
    for (int i = 0; i < N_LATENCY_TIMES; i++) p.times[i].median = milliseconds / 1e3;
    p.times[TIME_RECTIFY].median = 32 * milliseconds / 1e3;
    return p;
}

/* The row's number here; batch: where it was timed. */
static double timed(const struct sheet *t, const char *source_of, const char *context, const char *measure, int *batch)
{
    for (int row = 0; row < sheet_n_rows(t); row++) {
        const struct sheet_cell *c = &t->cells[row * t->n_columns];
        if (strcmp(c[0].text, source_of) != 0 || strcmp(c[1].text, context) != 0 || strncmp(c[2].text, measure, strlen(measure)) != 0) continue;
        *batch = isnan(c[5].e.mean) ? 0 : (int)c[5].e.mean;
        if (isnan(c[4].e.mean)) assert_string_equal(c[6].text, "not run");
        return c[4].e.mean;
    }
    fail_msg("no row %s, %s, %s", source_of, context, measure);
    return NAN;
}

static void test_latency(void **unused)
{
    (void)unused;
    struct latency_point points[] = {
        point(0, 0, 1, 16384, 99), point(2, 32, 1, 16384, 99), point(0, 0, 8, 16384, 12), point(1, 0, 8, 16384, 77),
        point(2, 32, 8, 16384, 2), point(0, 0, 6, 262144, 30), point(2, 32, 6, 262144, 4), point(2, 32, 8, 65536, 5),
    };
    const struct latency_study s = { .model = "a model", .machine = "a machine", .points = points, .n_points = sizeof points / sizeof *points };
    struct sheet t = { 0 };
    int batch;
    assert_int_equal(paper_latency_sheet(&t, &s), 0);
    assert_true(fabs(timed(&t, "v2 Figure 6", "16K", "scoring", &batch) - 2) < 1e-9 && batch == 8);
    assert_true(fabs(timed(&t, "v2 Figure 6", "16K", "rectification", &batch) - 2) < 1e-9); /* one part in 32 */
    assert_true(fabs(timed(&t, "v2 Figure 6", "16K", "dense", &batch) - 12) < 1e-9);
    assert_true(fabs(timed(&t, "v2 Figure 6", "16K", "speedup", &batch) - 2) < 1e-9);
    assert_true(isnan(timed(&t, "v2 Figure 6", "64K", "scoring", &batch))); /* there is no dense lane beside it */
    assert_true(fabs(timed(&t, "v2 Figure 6", "256K", "ReSA", &batch) - 12) < 1e-9 && batch == 6);
    assert_true(fabs(timed(&t, "v2 text, end to end", "256K", "speedup of a step, fp16", &batch) - 2.5) < 1e-9 && batch == 6);
    assert_true(fabs(timed(&t, "ACL abstract, end to end", "256K", "speedup of a step", &batch) - 2.5) < 1e-9);
    sheet_close(&t);
    struct latency_study beside = s;
    beside.n_peers = 1, points[6].peer_gain = 1.5; /* a strong dense step: the gain is against it */
    assert_int_equal(paper_latency_sheet(&t, &beside), 0);
    assert_true(fabs(timed(&t, "ACL abstract, end to end", "256K", "speedup of a step", &batch) - 1.5) < 1e-9);
    sheet_close(&t);
    const struct latency_study none = { .model = "a model", .machine = "a machine" };
    assert_int_equal(paper_latency_sheet(&t, &none), 0);
    assert_true(isnan(timed(&t, "v2 text, end to end", "256K", "speedup of a step, fp16", &batch)) && batch == 0);
    sheet_close(&t);
}

static void test_nothing(void **unused)
{
    (void)unused;
    study_make();
    lane_add(0.5, 7, 0, LANE_OWN, 1); /* a setting that the paper has not */
    sheets_make();
    assert_int_equal(list.n, 0);
    study_make();
    lane_add(0.9, 0, 0, LANE_OWN, 1);
    lane_add(0.9, 32, 0, LANE_OWN, 1);
    snprintf(study.target_of, sizeof study.target_of, "self");
    sheets_make();
    assert_int_equal(list.n, 0);
    snprintf(study.target_of, sizeof study.target_of, "text");
    int n = 0;
    for (;; n++) {
        mem_fail_after(n);
        const int rc = paper_sheets(&list, &study, "");
        mem_fail_after(-1);
        sheet_list_close(&list);
        if (rc == 0) break;
        assert_non_null(strstr(fail_text(), "out of memory"));
    }
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_findings), cmocka_unit_test(test_equal), cmocka_unit_test(test_share),
        cmocka_unit_test(test_lengths), cmocka_unit_test(test_latency), cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
