/* The report: values in its tables against what was worked out by hand. */
#include "tests/test_report.h"

#include "analysis/estimate.h"
#include "analysis/headline.h"

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
    const char *full = strstr(list, "<details><summary>In full: "); /* folded: the figures come soon */
    assert_true(full > end && strstr(list, "<h3>Rectifying against reading more</h3>") > full);
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
    };
    return cmocka_run_group_tests_name("report", tests, group_setup, temp_folder_close);
}
