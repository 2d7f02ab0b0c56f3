/* What a latency report says of times worked out by hand: where a lane is faster, and what the parts of a step leave out. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */

#include "analysis/latency_compare.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/temp_folder.h"

enum { MAX_POINTS = 16 };
static const double nan_s = NAN;

static struct latency_point points[MAX_POINTS];
static struct latency_study study;
static struct notes said;

/* A token's time and its interval, in ms, of a lane at a context and of the dense lane beside it. */
static void pair_add(int context, double time, double from, double to, double dense, double dense_from, double dense_to)
{
    struct latency_point *d = &points[study.n_points++], *p = &points[study.n_points++];
    *d = (struct latency_point){
        .lane = "dense", .batch = 1, .context = context, .token = dense, .gain = 1, .peer = nan_s, .peer_gain = nan_s
    };
    *p = (struct latency_point){ .lane = "sparse",
                                 .place = 1,
                                 .batch = 1,
                                 .context = context,
                                 .token = time,
                                 .token_from = from,
                                 .token_to = to,
                                 .gain = dense / time,
                                 .peer = nan_s,
                                 .peer_gain = nan_s };
    p->verdict = latency_judge(p, dense, dense_from, dense_to);
}

static void begin(void)
{
    study = (struct latency_study){ .points = points };
}

/* The only sentence about the lane. */
static void assert_said(const char *text)
{
    notes_close(&said);
    assert_int_equal(latency_findings(&study, &said), 0);
    assert_int_equal(said.n, 2);
    assert_string_equal(said.text[1], text);
}

/* Ranks by hand: 6 values: P(X <= 0) = 1/64, P(X <= 1) = 7/64; 12: P(X <= 2) = 79/4096 = 0.0193, P(X <= 3) = 0.073; 17: P(X <= 4) = 0.0245. */
static void medians_have_intervals_from_six_steps_on(void **state)
{
    (void)state;
    static const struct {
        int n, from, to;
    } cases[] = { { 6, 1, 6 }, { 8, 1, 8 }, { 9, 2, 8 }, { 12, 3, 10 }, { 17, 5, 13 } };
    struct latency_spread spread;
    double values[17];
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        for (int i = 0; i < cases[k].n; i++)
            values[i] = 1 + (7 * i) % cases[k].n; /* 7 divides none: 1 .. n, not in order */
        latency_spread_fill(&spread, values, (size_t)cases[k].n);
        assert_true(spread.from == cases[k].from && spread.to == cases[k].to);
        assert_true(spread.median == (1 + cases[k].n) / 2.0);
    }
    latency_spread_fill(&spread, (double[]){ 5, 1, 3, 2, 4 }, 5);
    assert_true(spread.median == 3 && isnan(spread.from) && isnan(spread.to));
    latency_spread_fill(&spread, (double[]){ 5, 1, nan_s, 3, 2, 4 }, 6);
    assert_true(spread.median == 3 && isnan(spread.from) && isnan(spread.to));
}

/* A rectified lane's ends are the sums of ends. */
static void a_tokens_interval_is_composed(void **state)
{
    (void)state;
    struct latency_point p = { .times = { [TIME_STEP] = { .median = 10, .from = 9, .to = 12 },
                                          [TIME_RECTIFY] = { .median = 40, .from = 36, .to = 44 } } };
    latency_token_fill(&p);
    assert_true(p.token == 10 && p.token_from == 9 && p.token_to == 12);
    p.interval = 4;
    latency_token_fill(&p);
    assert_true(p.token == 20 && p.token_from == 18 && p.token_to == 23);
}

static void intervals_are_what_is_judged(void **state)
{
    (void)state;
    const struct latency_point p = { .token = 10, .token_from = 9, .token_to = 12 },
                               few = { .token = 10, .token_from = nan_s, .token_to = nan_s };
    assert_int_equal(latency_judge(&p, 14, 12.5, 15), VERDICT_FASTER);
    assert_int_equal(latency_judge(&p, 14, 12, 15), VERDICT_OPEN); /* they touch */
    assert_int_equal(latency_judge(&p, 8, 7, 8.5), VERDICT_SLOWER);
    assert_int_equal(latency_judge(&p, 8, 7, 9.5), VERDICT_OPEN);
    assert_int_equal(latency_judge(&p, 13, 13, 13), VERDICT_FASTER); /* exact */
    assert_int_equal(latency_judge(&p, 14, nan_s, nan_s), VERDICT_FEW);
    assert_int_equal(latency_judge(&few, 14, 13, 15), VERDICT_FEW);
    assert_int_equal(latency_judge(&p, nan_s, nan_s, nan_s), VERDICT_NONE);
}

/* Clear times: the words that they have always had. */
static void clear_courses_are_told(void **state)
{
    (void)state;
    begin();
    pair_add(1024, 2, 1.9, 2.1, 1, 0.9, 1.1);
    pair_add(4096, 5, 4.9, 5.1, 4, 3.9, 4.1);
    assert_said("Batch 1: sparse is never faster than dense up to a context of 4096 tokens (0.80x at best, at 4096): "
                "stay dense.");
    pair_add(16384, 4, 3.9, 4.1, 16, 15, 17);
    assert_said("Batch 1: sparse is faster than dense from a context of 16384 tokens on, and not at 4096: the "
                "crossover lies between. At best 4.00x, at 16384.");
    begin();
    pair_add(16384, 4, 3.9, 4.1, 16, 15, 17);
    assert_said("Batch 1: sparse is faster than dense from the smallest context timed on (16384 tokens); at best "
                "4.00x, at 16384.");
}

/* The medians alone would say: faster from 1024 tokens on, at best 9.68x, at 1024. */
static void chance_is_no_verdict(void **state)
{
    (void)state;
    begin();
    pair_add(1024, 0.191, 0.150, 0.210, 0.191 * 9.68, 0.161, 2.5);
    assert_said("Batch 1: sparse is not distinguishable from dense at any context up to 1024 tokens: the 95 % "
                "intervals of the medians overlap.");
    pair_add(4096, 2, 1.9, 2.1, 3, 2.9, 3.1);
    assert_said("Batch 1: sparse is faster than dense from a context of 4096 tokens on; at 1024 the two are not "
                "distinguishable. At best 1.50x, at 4096.");
    pair_add(16384, 6, 5.9, 6.1, 6.2, 6.05, 6.4);
    assert_said("Batch 1: sparse is faster than dense at 4096, but at 16384, the largest context timed, the two are "
                "not distinguishable. At best 1.50x, at 4096.");
    begin();
    pair_add(1024, 2, 1.9, 2.1, 1, 0.9, 1.1);
    pair_add(4096, 2, 1.8, 2.2, 2.1, 1.9, 2.3);
    assert_said("Batch 1: sparse is never distinguishably faster than dense up to a context of 4096 tokens (not "
                "distinguishable at 4096; else 0.50x at best, at 1024): stay dense.");
    pair_add(16384, 2, 1.8, 2.2, 5, 4.9, 5.3);
    assert_said("Batch 1: sparse is faster than dense from a context of 16384 tokens on; at 4096 the two are not "
                "distinguishable, at 1024 it is slower: "
                "the crossover lies between 1024 and 16384. At best 2.50x, at 16384.");
}

static void few_steps_have_no_verdict(void **state)
{
    (void)state;
    begin();
    pair_add(1024, 1, nan_s, nan_s, 9, nan_s, nan_s);
    assert_said(
        "Batch 1: sparse: too few timed steps for a verdict against dense: the 95 % interval of a median needs 6.");
}

/* Against the strong dense step, whose time is exact; our own dense step comes after it. */
static void strong_dense_is_the_measure(void **state)
{
    (void)state;
    begin();
    pair_add(1024, 2, 1.9, 2.1, 2.1, 2, 2.2);
    pair_add(4096, 3, 2.9, 3.1, 6, 5.9, 6.1);
    study.n_peers = 4;
    points[1].peer_gain = 1.02, points[1].peer_verdict = latency_judge(&points[1], 2.04, 2.04, 2.04);
    points[3].peer_gain = 1.5, points[3].peer_verdict = latency_judge(&points[3], 4.5, 4.5, 4.5);
    assert_said("Batch 1: sparse is faster than the strong dense step from a context of 4096 tokens on; at 1024 the "
                "two are not distinguishable. "
                "At best 1.50x, at 4096. Than our own dense step it is faster from 4096 tokens on, not distinguishably "
                "at 1024.");
}

static void parts_set(struct latency_point *p, double step, double product, double attend)
{
    for (int i = 0; i < N_LATENCY_TIMES; i++) p->times[i].median = nan_s;
    p->times[TIME_STEP].median = step;
    p->times[TIME_PRODUCT].median = product;
    p->times[TIME_ATTEND].median = attend;
    p->times[TIME_OTHER].median = 1;
}

/* Of 10 ms the parts are 9.5 in one bar and 7 in another; then 13. */
static void parts_that_leave_something_out_are_told(void **state)
{
    (void)state;
    struct figure f = { 0 };
    begin();
    snprintf(study.folder, sizeof study.folder, "%s", temp_folder);
    pair_add(1024, 10, 9, 11, 10, 9, 11);
    parts_set(&points[0], 10, 5, 3.5);
    parts_set(&points[1], 10, 5, 3.5);
    assert_int_equal(latency_plot_parts(&f, &study), 0);
    assert_null(strstr(f.caption, "the parts miss"));
    figure_close(&f);
    parts_set(&points[1], 10, 5, 1);
    assert_int_equal(latency_plot_parts(&f, &study), 0);
    assert_non_null(strstr(f.caption, "In 1 of 2 bars the parts miss the whole step by more than 10 % of it: at worst "
                                      "they add up to 30 % less (sparse, batch 1, context 1024)."));
    figure_close(&f);
    parts_set(&points[1], 10, 5, 7);
    assert_int_equal(latency_plot_parts(&f, &study), 0);
    assert_non_null(strstr(f.caption, "at worst they add up to 30 % more (sparse"));
    figure_close(&f);
}

static void time_add(struct latency_study *s, const char *lane, int batch, int context, double token)
{
    struct latency_point *p = &s->points[s->n_points++];
    *p = (struct latency_point){ .batch = batch, .context = context, .token = token };
    snprintf(p->lane, sizeof p->lane, "%s", lane);
    for (int i = 0; i < N_LATENCY_TIMES; i++) p->times[i].median = nan_s;
    p->times[TIME_STEP].median = token;
}

/* Whether a file of the temporary folder holds the text. */
static bool is_in(const char *name, const char *text)
{
    static char buffer[1 << 16];
    FILE *in = fopen(temp_path(name), "r");
    assert_non_null(in);
    buffer[fread(buffer, 1, sizeof buffer - 1, in)] = '\0';
    fclose(in);
    return strstr(buffer, text) != NULL;
}

/* The second decodes densely twice as fast and has no sparse lane at 4096, but one of another name; the lanes stand together, by
 * batch and context, whichever result they come from. */
static void results_stand_side_by_side(void **state)
{
    (void)state;
    struct latency_point times[2][8];
    struct latency_study all[2] = { { .label = "before", .points = times[0] }, { .label = "old/after", .points = times[1] } };
    time_add(&all[0], "dense", 1, 1024, 0.008);
    time_add(&all[0], "sparse", 1, 1024, 0.006);
    time_add(&all[0], "sparse", 1, 4096, 0.007);
    time_add(&all[1], "dense", 1, 512, 0.003);
    time_add(&all[1], "dense", 1, 1024, 0.004);
    time_add(&all[1], "sparse", 1, 1024, 0.0075);
    time_add(&all[1], "resa", 8, 1024, 0.009);
    if (latency_compare_write(all, 2, temp_folder) != 0) fail_msg("%s", fail_text());
    assert_true(is_in("tables/compare.md", "| lane | results | device | batch | context | a token (ms) | the first's time over it | step (ms) "));
    assert_true(is_in("tables/compare.md", "| dense | old/after |  | 1 | 512 | 3.000 | – | 3.000 | – | – | 0 |\n"
                                           "| dense | before |  | 1 | 1024 | 8.000 | 1.00 | 8.000 | – | – | 0 |\n"
                                           "| dense | old/after |  | 1 | 1024 | 4.000 | 2.00 | 4.000 | – | – | 0 |\n"
                                           "| sparse | before |  | 1 | 1024 | 6.000 | 1.00 | 6.000 | – | – | 0 |\n"
                                           "| sparse | old/after |  | 1 | 1024 | 7.500 | 0.80 | 7.500 | – | – | 0 |\n"
                                           "| sparse | before |  | 1 | 4096 | 7.000 | 1.00 | 7.000 | – | – | 0 |\n"
                                           "| resa | old/after |  | 8 | 1024 | 9.000 | – | 9.000 | – | – | 0 |\n"));
    assert_true(is_in("plots/compare.gp", "$c1_1_0 << EOD\n1024 2\nEOD\n"));
    assert_true(is_in("plots/compare.gp", "$c1_1_1 << EOD\n1024 0.8\nEOD\n"));
    assert_true(is_in("compare.html", "How many times as fast as before a token of each lane is in old/after"));
    assert_false(is_in("compare.html", "there is nothing to set side by side"));
}

static void nothing_in_common_is_said(void **state)
{
    (void)state;
    struct latency_point times[2][1];
    struct latency_study all[2] = { { .label = "a", .points = times[0] }, { .label = "b", .points = times[1] } };
    time_add(&all[0], "sparse/s0.5", 1, 1024, 0.008);
    time_add(&all[1], "sparse/s0.9", 1, 1024, 0.008);
    if (latency_compare_write(all, 2, temp_folder) != 0) fail_msg("%s", fail_text());
    assert_true(is_in("compare.html", "there is nothing to set side by side"));
}

static int close_all(void **state)
{
    notes_close(&said);
    return temp_folder_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(medians_have_intervals_from_six_steps_on),
        cmocka_unit_test(a_tokens_interval_is_composed),
        cmocka_unit_test(intervals_are_what_is_judged),
        cmocka_unit_test(clear_courses_are_told),
        cmocka_unit_test(chance_is_no_verdict),
        cmocka_unit_test(few_steps_have_no_verdict),
        cmocka_unit_test(strong_dense_is_the_measure),
        cmocka_unit_test(parts_that_leave_something_out_are_told),
        cmocka_unit_test(results_stand_side_by_side),
        cmocka_unit_test(nothing_in_common_is_said),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, close_all);
}
