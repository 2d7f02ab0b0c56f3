/* Figures: what they show, that nothing needed is left out, that each is there in every format; cost against error. */
#include "tests/test_report.h"

#include "analysis/pareto.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_lanes.h"

static bool with_gnuplot(void)
{
    setenv("PATH", with_tools, 1);
    if (figure_check() == 0) return true;
    print_message("# skip: %s\n", fail_text());
    return false;
}

static void report_drawn(void)
{
    char *folders[] = { folder };
    if (report_write(1, folders) != 0) fail_msg("%s", fail_text());
}

static void assert_says(const char *file, const char *words, bool there)
{
    char *text = text_of(file, NULL);
    if ((strstr(text, words) != NULL) != there) fail_msg("%s %s '%s'", file, there ? "does not say" : "says", words);
    free(text);
}

/* ---- parts ---- */

static void parts_hold_everything_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 40; n++)
        for (int max = 1; max <= 9; max++) {
            int next = 0, first, count, part = 0;
            for (; plot_part(n, max, part, &first, &count); part++) {
                assert_int_equal(first, next);
                assert_in_range(count, 1, max);
                next = first + count;
            }
            assert_int_equal(next, n);
            assert_int_equal(part, (n + max - 1) / max);
        }
}

enum { MANY = 29 };

/* MANY lanes: rectified, one never, equal.  In each part no two of up to eight lanes look the same, never is in each, and every
 * other lane is in one. */
static void views_hold_every_lane(void **state)
{
    (void)state;
    struct corner corners[MANY];
    const struct corner *list[MANY];
    int styles[MANY], seen[MANY] = { 0 };
    for (int i = 0; i < MANY; i++) {
        corners[i] = (struct corner){ .role = i < 20    ? CORNER_RECTIFIED
                                              : i == 20 ? CORNER_NEVER
                                                        : CORNER_EQUAL,
                                      .lane = i };
        list[i] = &corners[i];
        styles[i] = i == 20 ? 1 : 2 + i % 3;
    }
    const struct plot_lanes lanes = { list, styles, MANY };
    struct plot_view v;
    int n_parts = 0;
    for (; plot_view_open(&v, &lanes, 5, n_parts, 3, 6, true); n_parts++) {
        unsigned used = 0;
        bool never = false;
        assert_in_range(v.n, 2, 7);
        for (int i = 0; i < v.n; i++) {
            assert_false(used & 1U << v.styles[i]);
            used |= 1U << v.styles[i];
            never = never || v.shown[i]->role == CORNER_NEVER;
            seen[v.shown[i]->lane] += v.n_sets;
        }
        assert_true(never);
    }
    assert_int_equal(n_parts, 2 * 5); /* 5 sets of which 3 fit, 28 lanes of which 6 fit */
    for (int i = 0; i < MANY; i++) assert_int_equal(seen[i], i == 20 ? 5 * 5 : 5);
}

static void axes_are_round(void **state)
{
    (void)state;
    for (double x = 1e-5; x < 1e5; x *= 1.07) {
        assert_true(plot_ceil(x) >= x && plot_ceil(x) <= 1.4 * x);
        for (int n = 1; n < 8; n++) assert_true(x / plot_tick(x, n) <= n + 1e-6);
    }
}

/* ---- cost against error ---- */

/* By hand, of the fixture: never costs 1102 bytes counted, equal 1105, f8 1203; by the equation f8 and equal cost the same.  NLL and
 * KL rise from equal over f8 to never; only never disagrees with dense; drift is the same.  All texts agree. */
static void pareto_sets(void **state)
{
    (void)state;
    static const char *const want[][3] = {
        { "never", "\"NLL (100 %), KL (100 %), top-1 (100 %), drift (100 %)\"",
          "\"NLL (100 %), KL (100 %), top-1 (100 %), drift (100 %)\"" },
        { "equal 8", "\"NLL (100 %), KL (100 %), top-1 (100 %)\"", "\"NLL (100 %), KL (100 %), top-1 (100 %)\"" },
        { "f8", "top-1 (100 %)", "" },
    };
    const struct fixture fix = { 0 };
    char text[128];
    write_runs(&fix, 6);
    write_report();
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        cell("tables/pareto.csv", "lane", want[i][0], "pareto_equation", text, sizeof text);
        assert_string_equal(text, want[i][1]);
        cell("tables/pareto.csv", "lane", want[i][0], "pareto_counted", text, sizeof text);
        assert_string_equal(text, want[i][2]);
    }
    assert_cell("tables/pareto.csv", "lane", "never", "bytes_counted", 1102);
    assert_cell("tables/pareto.csv", "lane", "f8", "bytes_counted", 1203);
    assert_cell("tables/pareto.csv", "lane", "never", "bytes_equation", 1100 * (0.0625 + 0.1));
    assert_cell("tables/pareto.csv", "lane", "f8", "bytes_equation", 1100 * (0.0625 + 0.1 + 0.125));
    assert_cell("tables/pareto.csv", "lane", "never", "top1_disagreement", 0.5);
}

/* Texts that do not agree: how often the texts drawn put a lane into the set, and nothing of the sort below six texts. */
static void pareto_of_few_texts(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    char text[128];
    write_runs(&fix, 4);
    write_report();
    cell("tables/pareto.csv", "lane", "equal 8", "pareto_counted", text, sizeof text);
    assert_string_equal(text, "\"NLL, KL, top-1\"");
}

/* ---- files ---- */

static const char *const kinds[] = { "corners",     "pareto", "accumulation", "stale-tokens", "sawtooth",
                                     "stale-drift", "depth",  "stale-depth",  "mass" };
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

static void every_format(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    char name[128];
    if (!with_gnuplot()) skip();
    write_runs(&fix, 6);
    report_drawn();
    for (int i = 0; i < N_KINDS; i++)
        for (int k = 0; figure_extensions[k]; k++) {
            snprintf(name, sizeof name, "plots/%s%s", kinds[i], figure_extensions[k]);
            size_t n = 0;
            char *text = text_of(name, &n);
            assert_true(n > 1000);
            if (strcmp(figure_extensions[k], ".pdf") == 0) { /* the day it was made is written over */
                char *date = memmem(text, n, "/CreationDate (D:", 17);
                assert_non_null(date);
                assert_memory_equal(date + 17, "19700101000000Z)", 16);
            }
            free(text);
        }
}

/* Six texts: a band; fewer: each one's line and no interval. */
static void bands_from_six_texts(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    if (!with_gnuplot()) skip();
    write_runs(&fix, 6);
    report_drawn();
    assert_says("plots/accumulation.gp", "filledcurves", true);
    assert_says("plots/accumulation.gp", "for [i=5:", false);
    assert_page("n = 6 texts", true);
    assert_says("plots/accumulation.gp", "n = 6 texts; unit of sampling: a text", true);
    assert_says("plots/accumulation.gp", "NLL above clean (nat)", true);
    assert_says("plots/accumulation.gp", "KL above clean (nat)", true);
    assert_says("plots/growth.gp", "$z << EOD\n0.5 0\nEOD\n", true); /* f(0) = 0, where the axis says 0 */
    for (int text = 4; text < 6; text++) {
        char run[32];
        snprintf(run, sizeof run, "runs/run%d.h5", text);
        assert_int_equal(remove(inside(run)), 0);
    }
    report_drawn();
    assert_says("plots/accumulation.gp", "filledcurves", false);
    assert_says("plots/accumulation.gp", "for [i=5:8]", true);
    assert_page("n = 4 texts", true);
}

/* Every link of a page leads somewhere, in it or to a file beside it, and no two things have one id. */
static void assert_links(const char *page)
{
    char *text = text_of(page, NULL), word[256], beside[512];
    const char *last = strrchr(page, '/');
    for (const char *at = text; (at = strstr(at, "href=\"")) != NULL;) {
        at += 6;
        snprintf(word, sizeof word, "%.*s", (int)strcspn(at, "\""), at);
        if (word[0] == '#') {
            char id[272];
            snprintf(id, sizeof id, "id=%c%s\"", at[-1] == '"' ? '"' : '\'', word + 1);
            char *quoted = strstr(text, id);
            snprintf(id, sizeof id, "id='%s'", word + 1); /* as gnuplot writes them */
            if (!quoted && !strstr(text, id)) fail_msg("%s: nothing has the id %s", page, word + 1);
            continue;
        }
        snprintf(beside, sizeof beside, "%.*s%s", last ? (int)(last + 1 - page) : 0, page, word);
        if (access(inside(beside), R_OK) != 0) fail_msg("%s: %s is not there", page, word);
    }
    for (const char *at = text; (at = strstr(at, " id=\"")) != NULL; at++) {
        snprintf(word, sizeof word, "%.*s\"", (int)(strcspn(at + 5, "\"") + 5), at);
        if (strstr(at + 1, word)) fail_msg("%s: twice%s", page, word);
    }
    assert_null(strstr(text, "<title>Gnuplot"));
    assert_null(strstr(text, "<script"));
    free(text);
}

static void links_lead_somewhere(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    if (!with_gnuplot()) skip();
    write_runs(&fix, 6);
    report_drawn();
    assert_links("report.html");
}

/* K and V of one lane stand side by side: a row of three panels for never, one for f8. */
static void depth_rows_are_of_one_lane(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    const char *const words[] = { "\"sparsity 0.9, never\"", "\"sparsity 0.9, f8\"" };
    if (!with_gnuplot()) skip();
    write_runs(&fix, 6);
    report_drawn();
    char *text = text_of("plots/depth.gp", NULL);
    for (int i = 0; i < 2; i++) {
        int n = 0;
        for (const char *at = text; (at = strstr(at, words[i])) != NULL; at++) n++;
        if (n != 3) fail_msg("%s: %d panels", words[i], n);
    }
    free(text);
}

static void results_side_by_side(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    char *folders[] = { folder, folder };
    if (!with_gnuplot()) skip();
    write_runs(&fix, 6);
    if (report_write(2, folders) != 0) fail_msg("%s", fail_text());
    assert_int_equal(access(inside("../compare-results-results/plots/compare.pdf"), R_OK), 0);
    assert_says("../compare-results-results/compare.html", "id=\"r1-corners\"", true);
    assert_says("../compare-results-results/compare.html", "id=\"r2-corners\"", true);
    assert_says("../compare-results-results/plots/compare.gp", "(2)", true); /* two results of one name are told apart */
    assert_links("../compare-results-results/compare.html");
    nftw(inside("../compare-results-results"), temp_remove, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_hold_everything_once),
        cmocka_unit_test(views_hold_every_lane),
        cmocka_unit_test(axes_are_round),
        REPORT_TEST(pareto_sets),
        REPORT_TEST(pareto_of_few_texts),
        REPORT_TEST(every_format),
        REPORT_TEST(bands_from_six_texts),
        REPORT_TEST(links_lead_somewhere),
        REPORT_TEST(depth_rows_are_of_one_lane),
        REPORT_TEST(results_side_by_side),
    };
    return cmocka_run_group_tests_name("figures", tests, group_setup, temp_folder_close);
}
