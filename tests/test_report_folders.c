/* The report of folders that lack something, that cannot be used, that are compared; its figures, and the same bytes twice. */
#include "tests/test_report.h"

#include "analysis/evidence_budget.h"
#include "analysis/figure.h"

#include <omp.h>

static void missing_lanes(void **state)
{
    (void)state;
    const struct fixture one = { .n_lanes = 1 }, three = { .n_lanes = NEVER + 1 };
    write_runs(&three, 6);
    write_report();
    assert_page("Not run: a stale lane", true);
    assert_page("Not run: an equal-bytes lane", true);
    assert_page("Not run: a clean lane", false);
    write_runs(&one, 1); /* the dense lane alone in one run: its text does not count */
    write_report();
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense_texts", 5);
    assert_page("run run0 has no lane sparse/a", true);
}

static void only_dense(void **state)
{
    (void)state;
    const struct fixture fix = { .n_lanes = 1 };
    write_runs(&fix, 1);
    write_report();
    assert_cell("tables/summary.csv", "lane", "dense", "nll", 2.1875);
    assert_page("there are no four corners", true);
}

static void metrics_off(void **state)
{
    (void)state;
    const struct fixture none = { .no_metrics = true }, logits = { .metrics = METRIC_LOGITS };
    write_runs(&none, 6);
    write_report();
    assert_page("The metric group logits was switched off", true);
    assert_page("The metric group mass was switched off", true);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll", (double)NAN);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "bytes_per_step", 1102);
    write_runs(&logits, 6);
    write_report();
    assert_page("The metric group logits was switched off", false);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense", 0.5 + 0.0625 * 2.5);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "k_drift", (double)NAN);
}

/* A run that is cut short, one that is not there, one of an earlier config. */
static void runs_that_cannot_be_used(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    assert_int_equal(truncate(inside("runs/run3.h5"), 30000), 0);
    write_report();
    assert_page("run run3 is left out", true);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense_texts", 7);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense", 0.5 + 0.0625 * 25 / 7);
    write_text("plan.yaml", "name: x\nruns:\n  - id: run0\n  - id: run1\n  - id: run9\n");
    write_report();
    assert_page("run run9 is missing", true);
    assert_page("6 traces in runs/ are not of this plan", true);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense_texts", 2);
}

/* What the page warns of is told when the report ends, with the folder's name. */
static void assert_told(const char *warning)
{
    char *folders[] = { folder };
    struct report_told told = { 0 };
    bool there = false;
    if (report_write_bound(1, folders, NAN, &told) != 0) fail_msg("%s", fail_text());
    for (int i = 0; i < told.warnings.n; i++) there = there || strstr(told.warnings.text[i], warning) != NULL;
    report_told_close(&told);
    if (!there) fail_msg("'%s' is not told", warning);
}

static void warnings(void **state)
{
    (void)state;
    const struct fixture fix = { .loops = true, .noisy = true, .same = true, .source = "<b>&," };
    struct fixture other = fix;
    other.commit = "another";
    write_runs(&fix, 6);
    if (fixture_run(&other, folder, 2) != 0) fail_msg("%s", fail_text());
    write_report();
    assert_page("run run0, lane dense: the stream loops: 69 % of its 4-grams of tokens were there before",
                true); /* 9 of 13 */
    assert_page("noise floor: the control lane control: K differs from the dense lane&#39;s by up to 0.25", true);
    assert_page("lanes sparse/a and resa/a never differ", true);
    assert_told("/results: run run0, lane dense: the stream loops");
    assert_told("/results: noise floor: the control lane control");
    assert_page("the runs are of more than one commit", true);
    assert_page("interval 8 has the same NLL as never rectifying on all 6 texts", true);
    assert_page("<b>", false);
    assert_page("&lt;b&gt;&amp;,0", true);
    char *text = text_of("tables/paired-texts.csv", NULL);
    assert_non_null(strstr(text, ",\"<b>&,0\","));
    free(text);
}

/* 128 + 384 tokens in blocks of 16: ceil(M / 10), at least 2, and ceil(0.13125 M) are the same up to M = 15 (tokens 129 .. 240) and
 * at M = 21 and 22 (321 .. 352): 112 + 32 of 384 steps. */
static void budgets(void **state)
{
    (void)state;
    struct lane_spec lanes[4];
    struct study s = { .prompt_tokens = 128, .n_steps = 384, .lanes = lanes, .n_lanes = 4 };
    fixture_lane(&lanes[0], "dense", "dense", 0, 0, 0, LANE_OWN, 0);
    fixture_lane(&lanes[1], "never", "sparse", 0.9, 0, 0, LANE_OWN, 0);
    fixture_lane(&lanes[2], "equal", "equal", 0.9, 0, 32, LANE_OWN, 0);
    fixture_lane(&lanes[3], "f32", "resa", 0.9, 32, 0, LANE_OWN, 0);
    assert_true(fabs(budget_same_share(&s, 1, 2) - 144.0 / 384) < 1e-12);
    assert_true(isnan(budget_same_share(&s, 1, 3))); /* they differ in more than their budget */
    assert_true(isnan(budget_same_share(&s, 0, 1)));
    s.prompt_tokens = 16384;
    assert_true(budget_same_share(&s, 1, 2) < 1e-12);
    struct evidence e = { 0 };
    assert_int_equal(evidence_budget_check(&e, &s), 0);
    assert_int_equal(e.warnings.n, 0);
    s.prompt_tokens = 128;
    assert_int_equal(evidence_budget_check(&e, &s), 0);
    assert_int_equal(e.warnings.n, 1);
    assert_non_null(
        strstr(e.warnings.text[0], "never and equal read as many blocks as one another at 38 % of the steps"));
    notes_close(&e.warnings);
}

static void unusable_folders(void **state)
{
    (void)state;
    char *nowhere[] = { (char[]){ "/nonexistent/results" } }, *empty[] = { folder };
    assert_int_equal(report_write(1, nowhere), -1);
    assert_non_null(strstr(fail_text(), "/nonexistent/results: no such results folder"));
    assert_int_equal(report_write(1, empty), -1);
    assert_non_null(strstr(fail_text(), "it holds no runs"));
    mkdir(inside("runs"), 0777);
    write_text("runs/a.h5", "no trace");
    assert_int_equal(report_write(1, empty), -1);
    assert_non_null(strstr(fail_text(), "its only run cannot be read"));
    assert_int_equal(access(inside("report.html"), F_OK), -1);
}

static void side_by_side(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    char *folders[] = { folder, folder };
    struct report_told told = { 0 };
    write_runs(&fix, 6);
    if (report_write_bound(2, folders, NAN, &told) != 0) fail_msg("%s", fail_text());
    assert_int_equal(told.pages.n, 3);
    assert_non_null(strstr(told.pages.text[2], "/compare-results-results/compare.html"));
    report_told_close(&told);
    /* Not among the results of either: a report of one alone leaves it as it is. */
    assert_int_equal(access(inside("compare.html"), F_OK), -1);
    const char *file = "../compare-results-results/tables/compare.csv";
    assert_cell(file, "lane", "sparse/a", "nll_above_dense", 0.5 + 0.0625 * 2.5);
    char text[128];
    cell(file, "lane", "sparse/a", "commit", text, sizeof text);
    assert_true(text[0] != '\0');
    cell(file, "lane", "sparse/a", "command", text, sizeof text);
    assert_true(text[0] != '\0');
    cell(file, "lane", "sparse/a", "runs_until", text, sizeof text);
    assert_true(text[0] != '\0');
    char *page = text_of("../compare-results-results/compare.html", NULL);
    assert_non_null(strstr(page, "resa/a"));
    free(page);
    page = text_of("../compare-results-results/tables/compare.md", NULL);
    assert_non_null(strstr(page, "made by commit"));
    free(page);
    nftw(inside("../compare-results-results"), temp_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Texts 0, 2, 4, 6 are files, the others of a package. */
static void texts_table(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    write_report();
    const char *file = "tables/texts.csv";
    assert_cell(file, "text", "text3", "dense_nll", 2.1875);
    assert_cell(file, "text", "text3", "clean", 0.25 + 3 * 0.03125);
    assert_cell(file, "text", "text3", "never", 0.5 + 3 * 0.0625);
    assert_cell(file, "text", "text3", "rectified", 0.375 + 3 * 0.0625); /* f8: there is no f32 */
    assert_cell(file, "text", "text3", "equal", 0.3125 + 3 * 0.03125);
    assert_cell(file, "text", "text3", "rectified_less_equal", 0.0625 + 3 * 0.03125);
    assert_cell(file, "origin", "all others", "never", 0.5 + 3 * 0.0625);
    assert_cell(file, "origin", "all of debian:", "never", 0.5 + 4 * 0.0625);
    assert_cell(file, "origin", "all of debian:", "never_low", (double)NAN); /* four texts */
    char *text = text_of(file, NULL);
    assert_non_null(strstr(text, ",text2,file,"));
    assert_non_null(strstr(text, ",text3,debian:a-package,"));
    free(text);
}

/* All but the pictures; those of an earlier report would show other numbers. */
static void no_gnuplot(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 6);
    mkdir(inside("plots"), 0777);
    write_text("plots/depth.svg", "old");
    write_text("plots/depth.png", "old");
    write_report();
    assert_page("no pictures: gnuplot: not found", true);
    assert_page("<code>gnuplot -d depth.gp</code> draws it", true);
    assert_page("plots/depth.gp", true);
    assert_page("<svg", false);
    assert_page("plots/depth.png", false);
    assert_int_equal(access(inside("plots/depth.svg"), F_OK), -1);
    assert_int_equal(access(inside("plots/depth.png"), F_OK), -1);
    char *script = text_of("plots/depth.gp", NULL);
    assert_non_null(strstr(script, "unset multiplot\nset output\n}\n")); /* whole */
    free(script);
}

/* ---- with gnuplot ---- */

static const char *const made[] = { "report.html",
                                    "tables/effects.csv",
                                    "tables/effects.tex",
                                    "tables/tests.csv",
                                    "tables/tests.tex",
                                    "tables/corners.tex",
                                    "tables/summary.csv",
                                    "tables/summary.md",
                                    "tables/corners.csv",
                                    "tables/corners.md",
                                    "tables/paired.csv",
                                    "tables/paired.md",
                                    "tables/paired-texts.csv",
                                    "tables/paired-texts.md",
                                    "plots/stale-drift.svg",
                                    "plots/stale-drift.gp",
                                    "plots/stale-drift.pdf",
                                    "plots/stale-drift.png",
                                    "plots/accumulation.svg",
                                    "plots/accumulation.pdf",
                                    "plots/sawtooth.svg",
                                    "plots/depth.svg",
                                    "plots/depth.pdf",
                                    "plots/corners.svg",
                                    "plots/corners.pdf",
                                    "plots/pareto.svg",
                                    "plots/pareto.png",
                                    "plots/stale-tokens.svg",
                                    "plots/stale-depth.svg",
                                    "plots/mass.svg",
                                    "tables/pareto.csv",
                                    "tables/pareto.md" };
enum { N_MADE = sizeof made / sizeof made[0] };

static void same_bytes_twice(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    char *folders[] = { folder }, *first[N_MADE];
    size_t n_first[N_MADE], n;
    setenv("PATH", with_tools, 1);
    if (figure_check() != 0) {
        print_message("# skip: %s\n", fail_text());
        skip();
    }
    write_runs(&fix, 6);
    if (report_write(1, folders) != 0) fail_msg("%s", fail_text());
    for (int i = 0; i < N_MADE; i++) first[i] = text_of(made[i], &n_first[i]);
    omp_set_num_threads(1); /* the number of threads changes nothing, nor does the zone of time */
    setenv("TZ", "Asia/Tokyo", 1);
    if (report_write(1, folders) != 0) fail_msg("%s", fail_text());
    omp_set_num_threads(omp_get_num_procs());
    unsetenv("TZ");
    for (int i = 0; i < N_MADE; i++) {
        char *again = text_of(made[i], &n);
        if (n != n_first[i] || memcmp(again, first[i], n) != 0) fail_msg("%s: other bytes the second time", made[i]);
        free(again);
        free(first[i]);
    }
    assert_int_equal(access(inside("plots/depth.png"), F_OK), 0);
    assert_page("<svg", true);
    assert_page("http-equiv", false);
    assert_page("src=\"http", false);
}

/* Two sets make one figure of each kind here; what an earlier report of more left goes, what a reader put there stays. */
static void leftovers(void **state)
{
    (void)state;
    static const char *const gone[] = { "plots/depth-2.svg",
                                        "plots/depth-2.pdf",
                                        "plots/depth-2.gp",
                                        "plots/stale-drift-p9-t9-2-3.png",
                                        "plots/distance-steps-p16-t16.svg",
                                        "tables/paired-p9-t9.csv",
                                        "tables/paired-texts-p9-t9-2.md" };
    static const char *const stays[] = { "plots/depth-mine.svg", "plots/depth2.svg",   "plots/depth-2.svg.bak",
                                         "plots/depth-2.eps",    "plots/depth-2-2.gp", "plots/mine.svg",
                                         "tables/compare.csv",   "tables/mine.csv",    "tables/depth-2.csv" };
    const struct fixture fix = { .two_sets = true };
    char *folders[] = { folder };
    write_runs(&fix, 6);
    mkdir(inside("plots"), 0777);
    mkdir(inside("tables"), 0777);
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) write_text(gone[i], "old");
    for (size_t i = 0; i < sizeof stays / sizeof stays[0]; i++) write_text(stays[i], "a reader's");
    write_report();
    assert_int_equal(access(inside("tables/paired-p9-t9.csv"), F_OK), -1);
    assert_int_equal(access(inside("plots/depth-2.svg"), F_OK), -1);
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++) write_text(gone[i], "old");
    setenv("PATH", with_tools, 1);
    if (figure_check() != 0) {
        print_message("# skip: %s\n", fail_text());
        skip();
    }
    if (report_write(1, folders) != 0) fail_msg("%s", fail_text());
    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        if (access(inside(gone[i]), F_OK) == 0) fail_msg("%s is still there", gone[i]);
    for (size_t i = 0; i < sizeof stays / sizeof stays[0]; i++)
        if (access(inside(stays[i]), F_OK) != 0) fail_msg("%s is gone", stays[i]);
    for (int i = 0; i < N_MADE; i++)
        if (access(inside(made[i]), F_OK) != 0) fail_msg("%s is gone", made[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(missing_lanes),    REPORT_TEST(only_dense),
        REPORT_TEST(metrics_off),      REPORT_TEST(runs_that_cannot_be_used),
        REPORT_TEST(warnings),         REPORT_TEST(budgets),
        REPORT_TEST(unusable_folders), REPORT_TEST(side_by_side),
        REPORT_TEST(texts_table),      REPORT_TEST(no_gnuplot),
        REPORT_TEST(same_bytes_twice), REPORT_TEST(leftovers),
    };
    return cmocka_run_group_tests_name("report folders", tests, group_setup, temp_folder_close);
}
