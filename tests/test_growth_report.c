/* Growth laws, advised intervals and where the drift sits in the tables and sentences of a report. */
#include "tests/test_report.h"

static void write_bounded(double bound)
{
    char *folders[] = { folder };
    if (report_write_bound(1, folders, bound, NULL) != 0) fail_msg("%s", fail_text());
}

static void assert_text(const char *file, const char *by, const char *row, const char *key, const char *want)
{
    char text[256];
    cell(file, by, row, key, text, sizeof text);
    assert_string_equal(text, want);
}

static void assert_says(const char *file, const char *words)
{
    char *text = text_of(file, NULL);
    if (!strstr(text, words)) fail_msg("%s does not say '%s'", file, words);
    free(text);
}

/* Never's distance to clean is 0.5 in every step: it jumps and does not grow. */
static void no_growth(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    write_report();
    const char *file = "tables/growth.csv";
    assert_text(file, "quantity", "k_accum", "law", "constant");
    assert_text(file, "quantity", "k_accum", "matched", "\"no, plain means: growth unidentified\"");
    assert_cell(file, "quantity", "k_accum", "jump", 0.5);
    assert_cell(file, "quantity", "k_accum", "jump_low", 0.5);
    assert_cell(file, "quantity", "k_accum", "growth", NAN);
    assert_cell(file, "quantity", "k_accum", "longest", 15);
    assert_cell(file, "quantity", "k_accum", "at_zero", 0.5); /* a fixture's: a trace has 0 */
    assert_cell(file, "quantity", "nll_above_clean", "jump", 0.25 + 0.03125 * 3.5);
    assert_page("unidentified for K&#39;s distance to clean: no two lanes of different stale tokens", true);
    assert_page("0.5000 [0.5000, 0.5000] at the first stale token, then no growth is seen; this may be a law of steps", true);
    file = "tables/sawtooth.csv"; /* f8 has 0.375, where never's law says 0.5 at s above 0, but 0 at s = 0 */
    assert_cell(file, "quantity", "k_accum", "measured", 0.375);
    assert_cell(file, "quantity", "k_accum", "predicted", 0.5 * 7 / 8);
    assert_says("tables/sawtooth.md", "1 never rectified lane, not matched: growth unidentified");
}

/* f8 above dense: 0.375 + 0.0625 * 3.5 = 0.59375, its interval's end by Student's t or farther out, below 0.75; never's 0.71875. */
static void bounds(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    write_bounded(0.75);
    const char *file = "tables/interval.csv";
    assert_text(file, "bound", "0.75", "measured_interval", "8");
    assert_cell(file, "bound", "0.75", "measured_error", 0.59375);
    assert_cell(file, "bound", "0.75", "clean", 0.25 + 0.03125 * 3.5);
    assert_cell(file, "bound", "0.75", "measured_counted_percent", 100 * (1003 + 100 + 100) / 1100.0);
    assert_cell(file, "bound", "0.75", "measured_equation_percent", 100 * (1.0 / 16 + 0.1 + 1.0 / 8));
    assert_text(file, "bound", "0.29999999999999999", "measured_interval", "none: selection alone is above it");
    assert_says("tables/interval.md", "no lanes of different stale tokens at the same steps"); /* nothing is predicted */
    assert_page("8 is the longest that was run to keep NLL above dense (nat) under 0.75: 0.594 nat", true);
    write_bounded(2);
    assert_text(file, "bound", "2", "measured_interval", "never");
    assert_page("never rectifying keeps NLL above dense (nat) under 2", true);
    assert_says("tables/interval.md", "| NLL above dense (nat) | 0.05 |"); /* two decimals tell every bound */
    write_bounded(0.0725);
    assert_says("tables/interval.md", "| NLL above dense (nat) | 0.0725 |");
}

static void few_texts_no_limit(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 5);
    write_bounded(2);
    assert_text("tables/interval.csv", "bound", "2", "measured_interval", "too few texts for a limit");
    assert_cell("tables/growth.csv", "quantity", "k_accum", "jump_low", NAN);
    assert_page("then no growth is seen, on 5 texts, too few for a claim", true);
    assert_page(" %, on 5 texts, too few for a claim (law from", true);
    assert_page("is the longest that was run", false);
}

static void where_it_sits(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    write_report();
    assert_cell("tables/drift-layers.csv", "layer", "2", "k_drift", 0.25); /* 0.125 a layer */
    assert_cell("tables/drift-layers.csv", "layer", "2", "k_accum", 0.5);
    assert_cell("tables/drift-slots.csv", "slot", "3", "clean_attn_err", 0.25);
    assert_cell("tables/drift-slots.csv", "slot", "3", "factor", NAN); /* nothing was compared */
    assert_cell("tables/drift-stale.csv", "stale_tokens_first", "8", "stale_mass", 0.5);
    assert_cell("tables/drift-mass.csv", "against", "kept mass", "k_accum", NAN); /* which does not vary */
}

static void without_the_metrics(void **state)
{
    (void)state;
    const struct fixture fix = { .no_metrics = true };
    write_runs(&fix, 6);
    write_report();
    assert_page("No growth law of sparsity 0.9: no lane has both stale tokens and this quantity.", true);
    assert_text("tables/growth.csv", "quantity", "k_accum", "matched",
                "no lane has both stale tokens and this quantity");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(no_growth),           REPORT_TEST(bounds),
        REPORT_TEST(few_texts_no_limit),  REPORT_TEST(where_it_sits),
        REPORT_TEST(without_the_metrics),
    };
    return cmocka_run_group_tests(tests, group_setup, temp_folder_close);
}
