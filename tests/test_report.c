/* The report: values in its tables against what was worked out by hand, what is missing, what is broken, the same bytes twice. */
#include "tests/test_report.h"

#include "analysis/estimate.h"
#include "analysis/evidence_budget.h"
#include "analysis/figure.h"
#include "analysis/headline.h"

#include <omp.h>

/* How far from the mean of 0 .. 7 its interval reaches, either way; of values a + b k it is b times as far. */
static double reach_of_eight(void)
{
    const double eight[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    const struct estimate e = estimate_of(eight, 8);
    assert_true(e.high - 3.5 >= 2.364624251592785 * sqrt(6.0 / 8)); /* Student's, t(0.975, 7), variance 42 / 7 */
    return e.high - 3.5;
}
static double reach_below_eight(void)
{
    const double eight[] = { 0, 1, 2, 3, 4, 5, 6, 7 };
    return 3.5 - estimate_of(eight, 8).low;
}

/* What the page says of eight values whose mean is of this size and which differ by `step` from text to text. */
static void assert_page_interval(const char *before, double size, double step, bool below, const char *after)
{
    char text[256];
    const double up = reach_of_eight(), down = reach_below_eight();
    snprintf(text, sizeof text, "%s [%.3f, %.3f]%s", before, size - step * (below ? up : down),
             size + step * (below ? down : up), after);
    assert_page(text, true);
}

static void assert_page_signed(const char *before, double mean, double step, const char *after)
{
    char text[400];
    snprintf(text, sizeof text, "%s [%+.3f, %+.3f]%s", before, mean - step * reach_below_eight(),
             mean + step * reach_of_eight(), after);
    assert_page(text, true);
}

static void lanes_table(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    write_report();
    const char *file = "tables/summary.csv";
    assert_cell(file, "lane", "dense", "nll", 2.1875);
    assert_cell(file, "lane", "sparse/a", "nll", 2.1875 + 0.5 + 0.0625 * 3.5);
    assert_cell(file, "lane", "sparse/a", "nll_above_dense", 0.71875);
    assert_cell(file, "lane", "sparse/a", "nll_above_dense_low", 0.71875 - 0.0625 * reach_below_eight());
    assert_cell(file, "lane", "sparse/a", "nll_above_dense_high", 0.71875 + 0.0625 * reach_of_eight());
    assert_cell(file, "lane", "sparse/a", "nll_above_dense_texts", 8);
    assert_cell(file, "lane", "sparse/a", "kl_mean", 1);
    assert_cell(file, "lane", "sparse/a", "kl_median", 0.5);
    assert_cell(file, "lane", "sparse/a", "top1_agreement", 0.5);
    assert_cell(file, "lane", "sparse/a", "k_drift", 0.1875); /* layer 0's 64 is not in it */
    assert_cell(file, "lane", "sparse/a", "k_cache_drift_end", 15 * 0.0625);
    assert_cell(file, "lane", "sparse/a", "attn_err", 0.5);
    assert_cell(file, "lane", "resa/a", "bytes_per_step", 1003 + 100 + 100);
    assert_cell(file, "lane", "resa/a", "interval", 8);
}

static void corners_table(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    static const struct {
        const char *label;
        int lane;
    } rows[] = { { "clean", CLEAN },   { "f8", F8 },       { "never", NEVER },
                 { "equal 8", EQUAL }, { "stale", STALE }, { "clean of equal 8", CLEAN_EQUAL } };
    write_runs(&fix, 8);
    write_report();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const int lane = rows[i].lane;
        assert_cell("tables/corners.csv", "corner", rows[i].label, "nll_above_dense", BASE[lane] + 3.5 * SLOPE[lane]);
        assert_cell("tables/corners.csv", "corner", rows[i].label, "kl_mean", 2 * BASE[lane]);
        assert_cell("tables/corners.csv", "corner", rows[i].label, "k_accum",
                    lane == CLEAN || lane == CLEAN_EQUAL ? 0 : BASE[lane]);
    }
    assert_page("What is missing", false);
    assert_page("the stream loops", false);
    assert_page("control lane control: K drift exactly 0", true);
    assert_page("just rectified tokens of 1 lane: K exactly the dense lane&#39;s", true);
}

static void paired_table(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    write_report();
    const char *file = "tables/paired.csv";
    char *text = text_of(file, NULL);
    int n_lines = 0;
    for (const char *c = text; *c; c++) n_lines += *c == '\n';
    assert_int_equal(n_lines,
                     1 + 10); /* of clean, f8, never, equal, stale; a clean lane of another policy is in no pair */
    free(text);
    assert_cell(file, "pair", "never − clean", "nll_above_dense", 0.25 + 0.03125 * 3.5);
    assert_cell(file, "pair", "never − clean", "nll_above_dense_high", 0.359375 + 0.03125 * reach_of_eight());
    assert_cell(file, "pair", "never − f8", "nll_above_dense", 0.125); /* the same slope: no spread over texts */
    assert_cell(file, "pair", "never − f8", "nll_above_dense_low", 0.125);
    assert_cell(file, "pair", "equal 8 − f8", "nll_above_dense", -0.0625 - 0.03125 * 3.5);
    assert_cell(file, "pair", "equal 8 − f8", "nll_above_dense_above", 0);
    assert_cell(file, "pair", "never − f8", "kl_mean", 0.25);
    assert_cell(file, "pair", "never − f8", "k_accum", 0.125);
    assert_cell("tables/paired-texts.csv", "pair", "never − clean", "text2", 0.25 + 0.0625);
    assert_page("interval 8 takes back 0.125 nat [0.125, 0.125]", true);
    assert_page("interval 8 takes back 35 % [", true); /* 0.125 of 0.359375 */
    assert_page("] of what the disturbed cache adds to selection (0.125 of 0.359 nat", true);
    /* 0.0625 + 0.03125 text: the first sentence of all. */
    assert_page_signed("minus equal bytes, sparsity 0.9: NLL +0.172 nat", 0.171875, 0.03125,
                       ", below 0 on 0 of 8 texts, Wilcoxon p 0.0078, after Holm 0.016: reading as many bytes more is "
                       "better; KL +0.125 nat");
    assert_page("; but equal moved 8 % fewer bytes.", true); /* 1105 against 1003 + 100 + 100 */
    char *page = text_of("report.html", NULL);
    const char *list = strstr(page, "What it shows"), *end = strstr(list, "</ul>");
    assert_ptr_equal(strstr(list, "<li>"), strstr(list, "<li>Rectifying every 8 minus equal bytes"));
    int n = 0; /* a few sentences at the head, the rest below headings */
    for (const char *at = list; (at = strstr(at, "<li")) != NULL && at < end; at++) n++;
    assert_in_range(n, 3, HEADLINE_MAX);
    assert_true(strstr(list, "<h3>Rectifying against reading more</h3>") > end);
    free(page);
    assert_page("NLL above dense, sparsity 0.9: 0.359 nat [", true);
}

/* The other way round: texts on which never rectifying is better must be told as such. */
static void direction_is_not_presumed(void **state)
{
    (void)state;
    const struct fixture fix = { .text_add = -64 }; /* equal - f8 = -0.0625 + 0.03125 * (64 - text) > 0 */
    write_runs(&fix, 8);
    write_report();
    assert_page("NLL -1.828 nat", true);
    assert_page("rectifying is better", true);
    assert_page_interval("never rectified is 3.281 nat", 3.28125, 0.0625, true, " below dense");
}

static void steps_that_one_lane_lacks(void **state)
{
    (void)state;
    const struct fixture fix = { .missing_steps = 6 };
    write_runs(&fix, 8);
    write_report();
    /* Over steps 6 .. 15 alone: the dense NLL's own course (0.125 (step mod 4)) drops out of the pair. */
    assert_cell("tables/paired.csv", "pair", "never − f8", "nll_above_dense", 0.125);
    assert_cell("tables/summary.csv", "lane", "resa/a", "nll", 2 + 0.125 * 1.7 + 0.375 + 0.0625 * 3.5);
}

/* What a lane that has ended did not read is no 0 and no -1: its mean is over its own steps. */
static void bytes_of_a_lane_that_ends(void **state)
{
    (void)state;
    const struct fixture fix = { .ends = 8, .follow = FOLLOW_SELF };
    write_runs(&fix, 6);
    write_report();
    assert_cell("tables/summary.csv", "lane", "resa/a", "bytes_per_step", 1003 + 100 + 100); /* 800 once in 8 steps */
    assert_cell("tables/summary.csv", "lane", "sparse/a", "bytes_per_step", 1002 + 100);
}

static void few_texts(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 5);
    write_report();
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense", 0.5 + 0.0625 * 2);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense_low", (double)NAN);
    assert_page("too few for a claim", true);
    assert_page("5 texts: with fewer than 6 no interval is given", true);
    assert_page("At 4 texts no interval is printed", true);
    assert_page("takes back 35 %", false);
}

/* What is not finite, or not there, is said and is no figure. */
static void lanes_without_numbers(void **state)
{
    (void)state;
    const struct fixture infinite = { .infinite = true }, empty = { .missing_steps = N_FIXTURE_STEPS };
    char text[128];
    write_runs(&infinite, 8);
    write_report();
    assert_page("run run0, lane resa/a: NLL or KL is infinite at some step", true);
    cell("tables/summary.csv", "lane", "resa/a", "nll_above_dense", text, sizeof text);
    assert_string_equal(text, "inf");
    assert_cell("tables/summary.csv", "lane", "resa/a", "nll_above_dense_low", (double)NAN);
    assert_cell("tables/summary.csv", "lane", "sparse/a", "nll_above_dense", 0.71875);
    assert_page("NLL +inf nat, below 0 on 0 of 8 texts", true);
    assert_page("an infinite value: no claim", true);
    write_runs(&empty, 1); /* one text of eight */
    for (int i = 1; i < 8; i++)
        if (fixture_run(&(struct fixture){ 0 }, folder, i) != 0) fail_msg("%s", fail_text());
    write_report();
    assert_page("run run0, lane resa/a: NLL is not a number at any step", true);
    assert_cell("tables/summary.csv", "lane", "resa/a", "nll_above_dense_texts", 7);
    assert_cell("tables/effects.csv", "key", "minus equal bytes", "nll_above_dense", 0.0625 + 0.03125 * 4);
}

/* By hand from BASE and SLOPE; a distance of K is BASE. */
static void effects_table(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    const char *file = "tables/effects.csv";
    write_runs(&fix, 8);
    write_report();
    assert_cell(file, "key", "selection", "nll_above_dense", 0.25 + 0.03125 * 3.5);
    assert_cell(file, "key", "selection", "k_accum", (double)NAN);
    assert_cell(file, "key", "cache", "nll_above_dense", 0.125 + 0.015625 * 3.5);
    assert_cell(file, "key", "cache", "k_accum", 0.125);
    assert_cell(file, "key", "both", "kl_mean", 1);
    assert_cell(file, "key", "both", "top1_agreement", -0.5);
    assert_cell(file, "key", "interaction", "nll_above_dense", 0.125 + 0.015625 * 3.5);
    assert_cell(file, "key", "interaction", "kl_mean", 2 * 0.125);
    assert_cell(file, "key", "accumulated", "nll_above_dense", 0.25 + 0.03125 * 3.5);
    assert_cell(file, "key", "accumulated", "k_accum", 0.5);
    assert_cell(file, "key", "left", "nll_above_dense", 0.125 + 0.03125 * 3.5);
    assert_cell(file, "key", "taken back", "k_accum", 0.125);
    assert_cell(file, "key", "minus equal bytes", "k_accum", 0.0625);
    assert_cell(file, "key", "share taken back", "nll_above_dense", 0.125 / (0.25 + 0.03125 * 3.5));
    assert_cell(file, "key", "share taken back", "k_accum", 0.25);
    assert_cell(file, "key", "share taken back", "top1_agreement", 1);
    assert_cell("tables/tests.csv", "comparison", "f8 − equal 8", "difference", 0.0625 + 0.03125 * 3.5);
    assert_cell("tables/tests.csv", "comparison", "f8 − equal 8", "shift", 0.0625 + 0.03125 * 3.5);
    assert_cell("tables/tests.csv", "comparison", "f8 − equal 8", "p", 2.0 / 256);
    assert_cell("tables/tests.csv", "comparison", "f8 − equal 8", "p_holm", 4.0 / 256); /* two comparisons */
    assert_cell("tables/tests.csv", "comparison", "f8 − never", "rank_biserial", -1);
}

/* Escapes, decimals by the standard error, the best in bold among the lanes that are compared, who made it. */
static void latex(void **state)
{
    (void)state;
    const struct fixture fix = { .source = "a_b&c%" };
    write_runs(&fix, 8);
    write_report();
    char *text = text_of("tables/corners.tex", NULL);
    assert_non_null(strstr(text, "\\toprule"));
    assert_non_null(strstr(text, "% ") == text ? text : NULL);
    assert_non_null(strstr(text, ", made by commit "));
    /* f8's KL, 0.75 on each text, has no spread: the column's decimals; the least of f8, never, equal is equal's. */
    assert_non_null(strstr(text, "& 0.750 [0.750, 0.750] &"));
    assert_non_null(strstr(text, "& \\textbf{0.625 [0.625, 0.625]} &"));
    /* NLL of never: standard error 0.0625 sqrt(6 / 8) = 0.054, two digits of it. */
    assert_non_null(strstr(text, "& 0.719 ["));
    assert_null(strstr(text, "−"));
    free(text);
    text = text_of("tables/paired-texts.tex", NULL);
    assert_non_null(strstr(text, "a\\_b\\&c\\%0"));
    free(text);
    text = text_of("tables/tests.csv", NULL);
    assert_non_null(strstr(text, ",commit,command\n"));
    free(text);
}

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
    assert_non_null(strstr(e.warnings.text[0], "never and equal read as many blocks as one another at 38 % of the steps"));
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

static const char *const made[] = { "report.html",           "tables/effects.csv",      "tables/effects.tex",
                                    "tables/tests.csv",      "tables/tests.tex",        "tables/corners.tex",
                                              "tables/summary.csv",      "tables/summary.md",
                                    "tables/corners.csv",    "tables/corners.md",       "tables/paired.csv",
                                    "tables/paired.md",      "tables/paired-texts.csv", "tables/paired-texts.md",
                                    "plots/stale-drift.svg", "plots/stale-drift.gp",    "plots/stale-drift.pdf",
                                    "plots/stale-drift.png", "plots/accumulation.svg",  "plots/accumulation.pdf",
                                    "plots/sawtooth.svg",    "plots/depth.svg",         "plots/depth.pdf",
                                    "plots/corners.svg",     "plots/corners.pdf",       "plots/pareto.svg",
                                    "plots/pareto.png",      "plots/stale-tokens.svg",  "plots/stale-depth.svg",
                                    "plots/mass.svg",        "tables/pareto.csv",       "tables/pareto.md" };
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

        REPORT_TEST(lanes_table),
        REPORT_TEST(corners_table),
        REPORT_TEST(paired_table),
        REPORT_TEST(direction_is_not_presumed),
        REPORT_TEST(steps_that_one_lane_lacks),
        REPORT_TEST(bytes_of_a_lane_that_ends),
        REPORT_TEST(few_texts),
        REPORT_TEST(lanes_without_numbers),
        REPORT_TEST(effects_table),
        REPORT_TEST(latex),
        REPORT_TEST(missing_lanes),
        REPORT_TEST(only_dense),
        REPORT_TEST(metrics_off),
        REPORT_TEST(runs_that_cannot_be_used),
        REPORT_TEST(warnings),
        REPORT_TEST(budgets),
        REPORT_TEST(unusable_folders),
        REPORT_TEST(side_by_side),
        REPORT_TEST(texts_table),
        REPORT_TEST(no_gnuplot),
        REPORT_TEST(same_bytes_twice),
        REPORT_TEST(leftovers),
    };
    return cmocka_run_group_tests_name("report", tests, group_setup, temp_folder_close);
}
