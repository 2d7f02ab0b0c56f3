/* The lanes of a plan: names, owners of caches, twins, lanes that are refused or warned of, and where that is shown. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */
#include "core/plan_lanes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/plan_case.h"

struct want_lane {
    const char *name;
    int cache_of, clean;
};

static void check_lanes(const struct want_lane *want, int n)
{
    const struct run_plan *r = &plan.runs[0];
    assert_int_equal(r->n_lanes, n);
    for (int i = 0; i < n; i++) {
        assert_string_equal(r->lanes[i].name, want[i].name);
        if (r->lanes[i].cache_of != want[i].cache_of || r->lanes[i].clean != want[i].clean)
            fail_msg("%s: cache_of %d, clean %d", want[i].name, r->lanes[i].cache_of, r->lanes[i].clean);
    }
}

static void test_four_corners(void **unused)
{
    (void)unused;
    open_good(
        BASE
        "lanes:\n"
        "  - {name: stale, sparsity: 0, block_size: 4, cache_of: sparse}\n" /* before its owner */
        "  - {name: control, sparsity: 0, block_size: 4}\n"
        "  - {name: clean, sparsity: [0.5, 0.75], block_size: 4, min_blocks: 2, equal_bytes: [0, 8], cache_of: dense}\n"
        "  - {name: sparse, sparsity: [0.5, 0.75], block_size: 4, min_blocks: 2}\n"
        "  - {name: resa, sparsity: 0.75, block_size: 4, min_blocks: 2, interval: 8}\n"
        "  - {name: equal, sparsity: 0.75, block_size: 4, min_blocks: 2, equal_bytes: 8}\n"
        "  - {name: window, sparsity: 0.75, block_size: 4, min_blocks: 2, selector: window}\n"
        "  - {name: both, sparsity: 0.75, block_size: 4, min_blocks: 2, cache_of: resa/s0.75-b4-f8-m2}\n");
    static const struct want_lane want[] = {
        { "dense", LANE_OWN, 0 },
        { "stale/s0-b4-fnever@sparse/s0.5-b4-fnever-m2", 8, 0 },
        { "stale/s0-b4-fnever@sparse/s0.75-b4-fnever-m2", 9, 0 },
        { "control/s0-b4-fnever", LANE_OWN, 0 },
        { "clean/s0.5-b4-fnever-m2@dense", 0, 4 },
        { "clean/s0.5-b4-fnever-m2-e8@dense", 0, 5 },
        { "clean/s0.75-b4-fnever-m2@dense", 0, 6 },
        { "clean/s0.75-b4-fnever-m2-e8@dense", 0, 7 },
        { "sparse/s0.5-b4-fnever-m2", LANE_OWN, 4 },
        { "sparse/s0.75-b4-fnever-m2", LANE_OWN, 6 },
        { "resa/s0.75-b4-f8-m2", LANE_OWN, 6 },
        { "equal/s0.75-b4-fnever-m2-e8", LANE_OWN, 7 },
        { "window/s0.75-b4-fnever-m2-window", LANE_OWN, LANE_NONE },
        { "both/s0.75-b4-fnever-m2@resa/s0.75-b4-f8-m2", 10, 6 },
    };
    check_lanes(want, sizeof want / sizeof *want);
    const struct lane_spec *l = plan.runs[0].lanes;
    assert_int_equal(l[0].selector, SELECT_DENSE);
    assert_int_equal(l[9].active_millionths, 250000);
    assert_int_equal(l[11].active_millionths, 375000);
    assert_int_equal(l[12].selector, SELECT_WINDOW);
    assert_string_equal(l[10].family, "resa");
}

static void test_names(void **unused)
{
    (void)unused;
    open_good(BASE "lanes: [{name: a, selector: oracle, sparsity: 0.725, block_size: 8, local_blocks: 2, min_blocks: "
                   "3, interval: 16, "
                   "dense_layers: 1, phase: 5, dense_until: 7, perturb: 0.08}, {name: b, sparsity: 5e-1, equal_bytes: "
                   "3, min_blocks: 2, "
                   "block_size: 8}]\n");
    assert_string_equal(plan.runs[0].lanes[1].name, "a/s0.725-b8-f16-l2-m3-d1-p5-u7-n0.08-oracle");
    assert_string_equal(plan.runs[0].lanes[2].name, "b/s0.5-b8-fnever-m2-e3");
    assert_int_equal(plan.runs[0].lanes[2].active_millionths, 833333); /* 500000 + round(333333.3) */
    check_refused(
        BASE "lanes: [{name: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, sparsity: 0.5, min_blocks: 1},"
             " {name: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, sparsity: 0, cache_of: "
             "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]\n",
        "is longer than 127 bytes");
}

static void test_bad_owners(void **unused)
{
    (void)unused;
    check_refused(BASE "lanes: [{name: a, min_blocks: 1}, {name: b, cache_of: aa}]\n",
                  "x.yaml:5:55: error: lanes.b.cache_of: 'aa' is neither dense nor a family nor the full name of a "
                  "lane; did you mean 'a'?");
    check_refused(BASE "lanes: [{name: a, sparsity: 0, cache_of: a}]\n", "the lanes of 'a' are probes");
    check_refused(BASE "lanes: [{name: a, min_blocks: 1}, {name: b, sparsity: 0, cache_of: a}, {name: c, cache_of: b, "
                       "min_blocks: 1}]\n",
                  "the lanes of 'b' are probes");
    check_refused(BASE "lanes: [{name: a, min_blocks: 1}, {name: b, min_blocks: 1, cache_of: a/s0.9-b16-f2-m1}]\n",
                  "neither dense nor");
}

static void test_equal_lanes(void **unused)
{
    (void)unused;
    /* 64 + 1 .. 64 + 32 tokens in blocks of 16: 5 or 6 blocks. */
    check_refused(BASE "lanes: [{name: a, sparsity: 0.8, min_blocks: 2}, {name: b, sparsity: 0.7, min_blocks: 2}]\n",
                  "x.yaml:5:57: error: lanes a/s0.8-b16-fnever-m2 and b/s0.7-b16-fnever-m2 do the same in a run of 64 "
                  "+ 32 tokens: both read 2 "
                  "of 5 blocks at its first step and 2 of 6 at its last (allow_equal");
    check_refused(BASE "lanes: [{name: a, sparsity: 0.9}]\n",
                  "reads everything in a run of 64 + 32 tokens, it is the control");
    check_refused(BASE "lanes: [{name: a, sparsity: 0.8, min_blocks: 2, dense_layers: 3}]\n", "no layer is sparse");
    check_refused(BASE "lanes: [{name: a, sparsity: 0}, {name: b, sparsity: 0}]\n", "do the same");
    /* The same budgets, but each differs in one thing that is compared. */
    open_good(BASE
              "lanes: [{name: a, sparsity: 0.8, min_blocks: 2}, {name: b, sparsity: 0.8, min_blocks: 2, interval: 8},"
              "{name: c, sparsity: 0.8, min_blocks: 2, interval: 8, phase: 1}, {name: d, sparsity: 0.8, min_blocks: 2, "
              "dense_until: 3},"
              "{name: e, sparsity: 0.8, min_blocks: 2, perturb: 0.5}, {name: f, sparsity: 0.8, min_blocks: 2, "
              "local_blocks: 2},"
              "{name: g, sparsity: 0.8, min_blocks: 2, dense_layers: 1}, {name: h, sparsity: 0.8, min_blocks: 2, "
              "selector: window},"
              "{name: i, sparsity: 0.8, min_blocks: 2, cache_of: dense}, {name: j, sparsity: 0.8, min_blocks: 2, "
              "cache_of: a},"
              "{name: k, sparsity: 0.8, min_blocks: 1, block_size: 32}, {name: l, sparsity: 0, block_size: 8}]\n");
    assert_int_equal(plan.runs[0].n_lanes, 13);
    open_good(BASE "allow_equal: true\nlanes: [{name: a, sparsity: 0.8, min_blocks: 2}, {name: b, sparsity: 0.7, "
                   "min_blocks: 2}, {name: c}]\n");
    assert_int_equal(plan.n_warnings, 2);
    assert_non_null(strstr(plan.warnings[0], "do the same"));
    assert_non_null(strstr(plan.warnings[1], "it is the control"));
    /* Each of two equal clean lanes is its own twin; who comes later takes the first. */
    open_good(
        BASE "allow_equal: true\nlanes: [{name: a, sparsity: 0.8, min_blocks: 2, cache_of: dense}, {name: b, sparsity: "
             "0.8, min_blocks: 2, cache_of: dense}, {name: c, sparsity: 0.8, min_blocks: 2}]\n");
    assert_true(plan.runs[0].lanes[1].clean == 1 && plan.runs[0].lanes[2].clean == 2 &&
                plan.runs[0].lanes[3].clean == 1);
    /* Differing at one step is enough: 0.67 keeps 2 of 5 and 2 of 6, 0.65 keeps 2 of 5 and 3 of 6. */
    open_good(BASE "lanes: [{name: a, sparsity: 0.67, min_blocks: 1}, {name: b, sparsity: 0.65, min_blocks: 1}]\n");
    /* A refusal in one of two lengths is a refusal: at 8 tokens both read 1 block of 2 at most. */
    check_refused("name: t\n" MODEL "prompt: {random: 1, tokens: [8, 64]}\ndecode: {tokens: 8}\n"
                  "lanes: [{name: a, sparsity: 0.5, min_blocks: 1}, {name: b, sparsity: 0.7, min_blocks: 1}]\n",
                  "run of 8 + 8 tokens");
}

static void test_limits(void **unused)
{
    (void)unused;
    check_refused(BASE "lanes: [{name: a, min_blocks: 1, dense_until: 32}]\n",
                  "lanes.a.dense_until: 32: a run of 32 steps leaves the lane no step");
    open_good(BASE "lanes: [{name: a, min_blocks: 1, dense_until: 31}]\n");
    check_refused(BASE "lanes: [{name: a, min_blocks: 1, dense_layers: 4}]\n",
                  "dense_layers: 4: the model has 3 layers");
    open_good(BASE "lanes: [{name: a, min_blocks: 1, dense_layers: 2}]\n");
    check_refused("name: t\n" MODEL "prompt: {random: 1, tokens: 4090}\ndecode: {tokens: 7}\n",
                  "more than the model's context of 4096");
    open_good("name: t\n" MODEL "prompt: {random: 1, tokens: 4090}\ndecode: {tokens: 6}\n");
}

/* ---- schedules ---- */

/* Against the steps themselves, one by one; all but the last of the run. */
static void test_same_schedule(void **unused)
{
    (void)unused;
    enum { T = 9 };
    struct lane_spec a = { .selector = SELECT_MINMAX }, b = a;
    int n_same = 0;
    for (int code = 0; code < 14 * 14 * 4 * 4; code++) {
        a.interval = code % 14, b.interval = code / 14 % 14;
        a.phase = code / 196 % 4 * (a.interval > 3), b.phase = code / 784 % 4 * (b.interval > 3);
        for (a.dense_until = 0; a.dense_until < T; a.dense_until += 3) {
            bool same = true;
            b.dense_until = a.dense_until;
            for (int s = 0; s < T - 1; s++) same = same && lane_rectifies_after(&a, s) == lane_rectifies_after(&b, s);
            if (plan_lanes_same_schedule(&a, &b, T) != same)
                fail_msg("interval %d phase %d, interval %d phase %d, until %d", a.interval, a.phase, b.interval,
                         b.phase, a.dense_until);
            n_same += same && (a.interval != b.interval || a.phase != b.phase);
        }
    }
    assert_true(n_same > 100);
}

static void test_schedule_warning(void **unused)
{
    (void)unused;
    /* 32 steps: an interval of 32 rectifies after the last, one of 31 before it. */
    open_good(BASE "lanes: [{name: a, sparsity: 0.5, min_blocks: 1, interval: [31, 32, 64, never]}]\n");
    assert_int_equal(plan.n_warnings, 2);
    assert_non_null(strstr(plan.warnings[0],
                           "lanes a/s0.5-b16-f32-m1 and a/s0.5-b16-f64-m1 never differ in a run of 64 "
                           "+ 32 tokens"));
    assert_non_null(strstr(plan.warnings[1], "lanes a/s0.5-b16-f32-m1 and a/s0.5-b16-fnever-m1 never differ"));
    open_good(BASE "lanes: [{name: a, sparsity: 0.5, min_blocks: 1, interval: 64, selector: [minmax, window]}, {name: "
                   "b, sparsity: 0.5, min_blocks: 1, perturb: 0.5}]\n");
    assert_int_equal(plan.n_warnings, 0);
}

/* ---- places of errors ---- */

static void test_places(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *override, *part;
    } cases[] = {
        { BASE "lanes: [{name: a, min_blocks: 1}, {name: b, sparsity: 0.8, min_blocks: 1}]\n", "lanes.b.sparsity=0.9",
          "command line: lanes.b.sparsity: error: lanes a/s0.9-b16-fnever-m1 and b" },
        { BASE "lanes: [{name: a, min_blocks: 1}]\n", "lanes.a.sparsity=0.1",
          "command line: lanes.a.sparsity: error: lane a/s0.1" },
        { BASE "lanes: [{name: a, min_blocks: 1}]\n", "lanes.a.dense_until=32",
          "command line: lanes.a.dense_until: error: lanes.a.dense_until: 32" },
        { BASE, "prompt.start=3", "command line: prompt.start: error: prompt: source 'random'" },
        { BASE, "prompt.tokens=4090",
          "command line: prompt.tokens: error: decode: 4090 prefilled and 32 decoded tokens are more" },
        { BASE, "decode={tokens: 4090}",
          "command line: decode: error: decode: 64 prefilled and 4090 decoded tokens are more" },
        { "name: t\n" MODEL "prompt: {ids: [1, 2, 3], tokens: 1, windows: 1}\ndecode: {tokens: 1}\n",
          "prompt.windows=2", "command line: prompt.windows: error: prompt: source 'ids' has 3 tokens; 2 disjoint" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_refused_with(cases[i].text, cases[i].override, cases[i].part);
    check_refused_with("name: t\n" MODEL "prompt: {random: 1, tokens: 4}\ndecode: {follow: self}\n", "decode.stop=eos",
                       "command line: decode.stop: error: decode.stop: eos: the model has no end-of-text token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_four_corners),     cmocka_unit_test(test_names),  cmocka_unit_test(test_bad_owners),
        cmocka_unit_test(test_equal_lanes),      cmocka_unit_test(test_limits), cmocka_unit_test(test_same_schedule),
        cmocka_unit_test(test_schedule_warning), cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, close_all);
}
