/* The report in words: what its sentences and captions say, and of how much. */
#include "tests/test_report.h"

/* Streams that part after 4 of 16 steps: what is compared, over how much, and no NLL. */
static void lanes_with_tokens_of_their_own(void **state)
{
    (void)state;
    const struct fixture fix = { .follow = FOLLOW_SELF, .parts = 4 };
    write_runs(&fix, 8);
    write_report();
    assert_page("Sparsity 0.9: never rectified: KL from dense 1.000 nat [1.000, 1.000], the most probable token is "
                "dense&#39;s at 50.0 % [50.0, 50.0] of steps, over 4.0 of 16 steps.",
                true);
    assert_page("interval 8 is nearer to dense than never rectified: KL by 0.250 nat [0.250, 0.250], over 4.0 of 16 "
                "steps (on 8 of 8 texts).",
                true);
    assert_page("interval 8 is more often of dense&#39;s choice than never rectified: top-1 agreement by 50.0 points "
                "[50.0, 50.0], over 4.0 of 16 steps (on 8 of 8 texts).",
                true);
    assert_page(
        "selection alone (clean): KL from dense 0.500 nat [0.500, 0.500], the most probable token is dense&#39;s "
        "at 100.0 % [100.0, 100.0] of steps.",
        true); /* its stream is the dense lane's: nothing to add */
    assert_page("interval 8 0.375 [0.375, 0.375], over 4.0 of 16 steps;", true);
    assert_page("NLL is that of the token chosen by each lane itself and no language-modelling figure", true);
    assert_page(" nat above dense", false);
    assert_page("NLL in nats per token", false);
    /* The rectified lane is first rectified after 8 steps. */
    assert_page(", over 4.0 of 16 steps: compared before the first rectification alone: no claim", true);
    assert_page("as many bytes more is better", false);
    assert_page("takes back", false);
    const struct fixture later = { .follow = FOLLOW_SELF, .parts = 12 };
    write_runs(&later, 8);
    write_report();
    assert_page("no claim", false);
    assert_page(", over 12.0 of 16 steps: ", true);
    assert_page("as many bytes more is better", true);
}

static void tokens_of_the_dense_lane(void **state)
{
    (void)state;
    const struct fixture fix = { .follow = FOLLOW_REFERENCE };
    write_runs(&fix, 5);
    write_report();
    assert_page(
        "never rectified: KL from dense 1.000 nat, the most probable token is dense&#39;s at 50.0 % of steps, on "
        "average of 5 texts, too few for a claim.",
        true);
    assert_page("chosen by the dense lane and no language-modelling figure", true);
    assert_page(" nat above dense", false);
    assert_page(" of 16 steps", false);
}

static void distance_in_words(void **state)
{
    (void)state;
    const struct fixture fix = { 0 };
    write_runs(&fix, 8);
    write_report();
    assert_page("Sparsity 0.9: accumulated error, the relative distance of K to the clean lane&#39;s, mean over steps: "
                "interval 8 0.375 [0.375, 0.375]; never rectified 0.500 [0.500, 0.500]; equal 8 0.312 [0.312, 0.312].",
                true); /* 0.3125: the even digit */
}

/* The lanes of the caption are the lanes of the study. */
static void captions(void **state)
{
    (void)state;
    const struct fixture fix = { .interval = 4 }, few = { .n_lanes = NEVER + 1 };
    write_runs(&fix, 6);
    write_report();
    assert_page("f4: rectified every 4 steps; never: not rectified; equal 4: not rectified, reading as many bytes more "
                "as rectifying every 4 steps costs; stale: ",
                true);
    assert_page("f16: ", false);
    assert_page("equal 32", false);
    write_runs(&few, 6);
    write_report();
    assert_page("never: not rectified. Distance to clean", true);
    assert_page("equal 4", false);
    assert_page("for stale", false);
}

static void one_text(void **state)
{
    (void)state;
    const struct fixture fix = { .same = true };
    write_runs(&fix, 1);
    write_report();
    assert_page("1 run, 1 text, 8 lanes.", true);
    assert_page("Means over 1 text (1 run)", true);
    assert_page("interval 8 has the same NLL as never rectifying on the one text.", true);
    assert_page("above dense on one text, too few for a claim", true);
    assert_page("1 texts", false);
    assert_page("1 runs", false);
    char *text = text_of("tables/summary.md", NULL);
    assert_non_null(strstr(text, "1 run, made by"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(lanes_with_tokens_of_their_own),
        REPORT_TEST(tokens_of_the_dense_lane),
        REPORT_TEST(distance_in_words),
        REPORT_TEST(captions),
        REPORT_TEST(one_text),
    };
    return cmocka_run_group_tests_name("report words", tests, group_setup, temp_folder_close);
}
