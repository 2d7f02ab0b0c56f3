/* Plans over synthetic models: lanes, twins, refusals, prompts, ids of runs, prices; and the shipped configs on their model. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */
#include "core/mem.h"
#include "core/model_known.h"
#include "core/philox.h"
#include "core/plan.h"
#include "core/plan_cost.h"
#include "core/run.h"
#include "core/yaml_tree.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/config_case.h"

#define MODEL "model: {synthetic: {layers: 3, hidden: 32, heads: 2, kv_heads: 1, ffn: 64, vocab: 100, context: 4096}}\n"
#define BASE "name: t\n" MODEL "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 32}\n" /* four lines */

static struct model model;
static struct plan plan;

static int open_plan(const char *text)
{
    struct config c;
    plan_close(&plan);
    model_close(&model);
    if (case_open(&c, text, NULL) != 0) {
        char *errors = case_errors(&c);
        fail_msg("%s%s", errors, fail_text());
    }
    assert_int_equal(config_open_model(&c, &model), 0);
    return plan_open(&plan, &c, &model);
}

static void open_good(const char *text)
{
    if (open_plan(text) != 0) fail_msg("%s", fail_text());
}

static void check_refused(const char *text, const char *part)
{
    if (open_plan(text) == 0) fail_msg("accepted: %s", text);
    if (config_n_errors(&plan.config) == 0) fail_msg("%s: %s", text, fail_text());
    char *errors = case_errors(&plan.config);
    if (!strstr(errors, part)) fail_msg("'%s' is not in:\n%s", part, errors);
    free(errors);
}

/* ---- lanes ---- */

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
    open_good(BASE "allow_equal: true\nlanes: [{name: a, sparsity: 0.8, min_blocks: 2, cache_of: dense}, {name: b, sparsity: "
                   "0.8, min_blocks: 2, cache_of: dense}, {name: c, sparsity: 0.8, min_blocks: 2}]\n");
    assert_true(plan.runs[0].lanes[1].clean == 1 && plan.runs[0].lanes[2].clean == 2 && plan.runs[0].lanes[3].clean == 1);
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

/* ---- prompts ---- */

static void test_random_prompt(void **unused)
{
    (void)unused;
    open_good("name: t\n" MODEL "prompt: {random: [7, 8], tokens: [16, 20]}\ndecode: {tokens: 5}\n");
    assert_int_equal(plan.n_runs, 4);
    const struct run_plan *r = &plan.runs[0];
    assert_string_equal(r->source, "random7");
    assert_string_equal(plan.runs[2].source, "random8");
    assert_int_equal(r->n_stream, 20 + 5 + 1);
    assert_true(r->start == 20 && r->prefill_tokens == 16 && r->n_steps == 5); /* one start for both lengths */
    assert_true(plan.runs[1].start == 20 && plan.runs[1].prefill_tokens == 20);
    for (int i = 0; i < r->n_stream; i++) {
        uint32_t key[2] = { 7, 0 }, out[4], counter[4] = { (uint32_t)i / 4, 0, 0, PHILOX_PROMPT };
        philox4x32(counter, key, out);
        assert_int_equal(r->stream[i], (int)(out[i % 4] / 4294967296.0 * 100));
    }
}

static void test_starts(void **unused)
{
    (void)unused;
    char ids[1000] = "", *p = ids;
    for (int i = 0; i < 100; i++) p += sprintf(p, "%d%s", i, i % 10 ? " " : "\n");
    temp_write("a.ids", ids, strlen(ids));
    open_good("name: t\n" MODEL "prompt: {ids: a.ids, tokens: all}\ndecode: {tokens: 9}\n");
    assert_true(plan.runs[0].start == 90 && plan.runs[0].prefill_tokens == 90 && plan.runs[0].stream[99] == 99);
    open_good("name: t\n" MODEL "prompt: {ids: a.ids, tokens: all}\ndecode: {tokens: 9, follow: reference}\n");
    assert_true(plan.runs[0].start == 100 && plan.runs[0].prefill_tokens == 100);
    open_good("name: t\n" MODEL "prompt: {ids: a.ids, tokens: [5, all], start: [50, 60]}\ndecode: {tokens: 9}\n");
    assert_int_equal(plan.n_runs, 4);
    assert_true(plan.runs[0].start == 50 && plan.runs[0].prefill_tokens == 5);
    assert_true(plan.runs[3].start == 60 && plan.runs[3].prefill_tokens == 60);
    open_good("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 90}\ndecode: {tokens: 9}\n");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 90}\ndecode: {tokens: 10}\n",
                  "x.yaml:3:9: error: prompt: source 'a.ids' has 100 tokens, 101 are needed: 90 before the start");
    open_good("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 100}\ndecode: {tokens: 10, follow: self}\n");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 101}\ndecode: {follow: self}\n", "101 are needed");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 51, start: 50}\ndecode: {tokens: 9}\n",
                  "51 tokens cannot be prefilled before start 50");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: [50, all], start: 50}\ndecode: {tokens: 9}\n",
                  "two runs of source 'a.ids' are the same");
    check_refused("name: t\n" MODEL "prompt: {random: 1}\n", "random has no end of its own");
}

static void test_windows(void **unused)
{
    (void)unused;
    char ids[1000] = "", *p = ids;
    for (int i = 0; i < 100; i++) p += sprintf(p, "%d\n", i);
    temp_write("a.ids", ids, strlen(ids));
    open_good("name: t\n" MODEL "prompt: {ids: a.ids, tokens: [10, 20], windows: 3}\ndecode: {tokens: 9}\n");
    assert_int_equal(plan.n_runs, 6); /* windows of 20 + 9 + 1 tokens at 0, 35, 70 */
    static const int starts[] = { 20, 55, 90 };
    for (int i = 0; i < 6; i++) {
        assert_int_equal(plan.runs[i].start, starts[i % 3]);
        assert_int_equal(plan.runs[i].prefill_tokens, i < 3 ? 10 : 20);
    }
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 20, windows: 4}\ndecode: {tokens: 9}\n",
                  "source 'a.ids' has 100 tokens; 4 disjoint windows of 30 need 120");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, windows: 2}\ndecode: {tokens: 9}\n", "windows needs tokens");
    open_good("name: t\n" MODEL "prompt: {random: 1, tokens: 20, windows: 4}\ndecode: {tokens: 9}\n");
    assert_int_equal(plan.runs[3].start, 110);
}

static void test_bad_prompts(void **unused)
{
    (void)unused;
    static const struct {
        const char *prompt, *ids, *part;
    } cases[] = {
        { "ids: bad.ids", "1 2 x 3\n", "bad.ids:1: 'x' is no token id" },
        { "ids: bad.ids", "1\n2\n-3\n", "bad.ids:3: '-3' is no token id" },
        { "ids: bad.ids", "1\n99999999999999\n", "bad.ids:2: '99999999999999' is no token id" },
        { "ids: bad.ids", "1 2,3\n", "is no token id" },
        { "ids: bad.ids", "1 100\n", "token id 100 at index 1 is not in the model's vocabulary 0 .. 99" },
        { "ids: bad.ids", "", "0 tokens" },
        { "ids: no.ids", "", "no.ids: No such file" },
        { "ids: .", "", "a text file of at most" },
        { "ids: [5, 100]", "", "token id 100 at index 1" },
        { "text: hello", "", "x.yaml:3:16: error: prompt: this model has no tokenizer" },
        { "file: x.yaml", "", "has no tokenizer" },
        { "chat: {messages: [{role: user, content: x}]}", "", "has no tokenizer" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        temp_write("bad.ids", cases[i].ids, strlen(cases[i].ids));
        snprintf(text, sizeof text, "name: t\n" MODEL "prompt: {%s}\ndecode: {tokens: 1}\n", cases[i].prompt);
        check_refused(text, cases[i].part);
    }
}

/* ---- ids of runs ---- */

static void id_of(const char *text, char id[160])
{
    open_good(text);
    strcpy(id, plan.runs[0].id);
}

static void test_run_ids(void **unused)
{
    (void)unused;
    char first[160], other[160];
    id_of(BASE "lanes: [{name: a, min_blocks: 1, sparsity: 0.5}]\n", first);
    assert_int_equal(strncmp(first, "random-p64-o64-", 15), 0);
    assert_int_equal(strlen(first), 15 + 8);
    static const char *const same[] = {
        "name: other\ndevice: cpu\n" MODEL
        "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 32}\nlanes: [{name: a, min_blocks: 1, sparsity: 5e-1}]\n",
        BASE "allow_equal: true\nseeds: [1]\nlanes: [{name: a, min_blocks: 1, sparsity: .50, interval: never, "
             "block_size: [16]}]\n",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        id_of(same[i], other);
        assert_string_equal(other, first);
    }
    static const char *const different[] = {
        BASE "lanes: [{name: b, min_blocks: 1, sparsity: 0.5}]\n",
        BASE "lanes: [{name: a, min_blocks: 2, sparsity: 0.5}]\n",
        BASE "lanes: [{name: a, min_blocks: 1, sparsity: 0.5000001}]\n",
        BASE "seeds: 2\nlanes: [{name: a, min_blocks: 1, sparsity: 0.5}]\n",
        BASE "trace: {every: 2}\nlanes: [{name: a, min_blocks: 1, sparsity: 0.5}]\n",
        BASE "trace: {metrics: []}\nlanes: [{name: a, min_blocks: 1, sparsity: 0.5}]\n",
        "name: t\n" MODEL
        "prompt: {random: 2, tokens: 64}\ndecode: {tokens: 32}\nlanes: [{name: a, min_blocks: 1, sparsity: 0.5}]\n",
        "name: t\n" MODEL
        "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 33}\nlanes: [{name: a, min_blocks: 1, sparsity: 0.5}]\n",
        "name: t\n" MODEL "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 32, follow: self}\nlanes: [{name: a, "
                          "min_blocks: 1, sparsity: 0.5}]\n",
        "name: t\nmodel: {synthetic: {layers: 3, hidden: 32, heads: 2, kv_heads: 1, ffn: 64, vocab: 100, context: "
        "4096, seed: 2}}\n"
        "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 32}\nlanes: [{name: a, min_blocks: 1, sparsity: 0.5}]\n",
    };
    for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
        id_of(different[i], other);
        if (strcmp(other, first) == 0) fail_msg("the same id: %s", different[i]);
    }
    open_good(BASE "seeds: [3, 4]\nlanes: [{name: a, min_blocks: 1, selector: random}]\n");
    assert_int_equal(strncmp(plan.runs[1].id, "random-p64-o64-s4-", 18), 0);
}

/* The followed text is part of the prompt's digest, what comes after it is not. */
static void test_prompt_digest(void **unused)
{
    (void)unused;
    static const struct {
        const char *ids, *follow;
        bool same;
    } cases[] = {
        { "1 2 3 4 5 6", "text", true },  { "1 2 3 4 5 6 7", "text", true }, { "1 2 3 4 5 9", "text", false },
        { "1 9 3 4 5 6", "text", false }, { "1 2 3", "reference", false },   { "1 2 3 9 9 9", "reference", false },
    };
    char first[65] = "", reference[65] = "";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[300];
        temp_write("d.ids", cases[i].ids, strlen(cases[i].ids));
        snprintf(text, sizeof text,
                 "name: t\n" MODEL "prompt: {ids: d.ids, tokens: 2, start: 3}\ndecode: {tokens: 2, follow: %s}\n",
                 cases[i].follow);
        open_good(text);
        if (i == 0) strcpy(first, plan.runs[0].prompt_digest);
        assert_int_equal(strcmp(plan.runs[0].prompt_digest, first) == 0, cases[i].same);
        if (i == 4) strcpy(reference, plan.runs[0].prompt_digest);
    }
    assert_string_equal(plan.runs[0].prompt_digest, reference); /* of the prefix alone */
}

/* ---- prices ---- */

/* Layers 3, hidden 32, q 32, kv 16, ffn 64: 32 * (2 * 32 + 2 * 16 + 3 * 64) weights a layer; all by hand. */
static void test_price(void **unused)
{
    (void)unused;
    open_good("name: t\n" MODEL "prompt: {random: 1, tokens: 40}\ndecode: {tokens: 8}\ntrace: {metrics: []}\n"
              "lanes: [{name: a, sparsity: 0.5, min_blocks: 1, block_size: 8, interval: 4}]\n");
    const double row = 2.0 * 3 * 32 * (2 * 32 + 2 * 16 + 3 * 64), logits = 2.0 * 32 * 100, attend = 4.0 * 32 * 3,
                 score = 4.0 * 16 * 3;
    double prefill = logits, steps = 0;
    for (int t = 1; t <= 40; t++) prefill += row + attend * t;
    for (int s = 0; s < 8; s++) {
        const int n = 41 + s, blocks = (n + 7) / 8, read = (blocks + 1) / 2 * 8;
        steps += 2 * (row + logits) + attend * n + attend * read + score * blocks;
        for (int t = 0; t < 4 && (s + 1) % 4 == 0; t++) steps += row + attend * (n - t);
    }
    assert_true(plan.runs[0].flop > (prefill + steps) * (1 - 1e-12) &&
                plan.runs[0].flop < (prefill + steps) * (1 + 1e-12));
    const struct cost_inputs in = {
        .weight_bytes = 1000, .fixed_bytes = 0, .cache_element_bytes = 4, .flop_per_second = 1e9
    };
    assert_int_equal(plan_price(&plan, &model, &in), 0);
    /* K and V of 3 layers x 16 elements x 4 bytes: prefix 3 tiles of 16 tokens; two stores that begin at tile 2 and end
     * with token 47, one tile each; block keys min and max, in tiles of 16 blocks: one of the prefix, one of the store. */
    const uint64_t token = 2 * 3 * 16 * 4, keys = 2 * (2 * 3 * 16 * 4) * 16;
    uint64_t memory[N_MEMORY_PARTS], sum = 1000;
    assert_int_equal(run_memory(&plan.runs[0], &model, memory), 0);
    assert_int_equal(memory[MEMORY_PREFIX], token * 48);
    assert_int_equal(memory[MEMORY_SUFFIX], token * 2 * 16);
    assert_int_equal(memory[MEMORY_KEYS], keys);
    for (int i = 0; i < N_MEMORY_PARTS; i++) sum += memory[i];
    assert_true(plan.runs[0].peak_bytes > sum); /* and the trace's buffers, less than 128 KiB for each variable */
    assert_true(plan.runs[0].peak_bytes < sum + N_RECORD_VARS * (128u << 10));
}

/* ---- what is written ---- */

static char *written(int (*write)(FILE *out))
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    assert_int_equal(write(f), 0);
    fclose(f);
    return text;
}

static int write_yaml(FILE *out)
{
    return plan_write_yaml(&plan, out);
}

static int write_print(FILE *out)
{
    return plan_print(&plan, &model, out);
}

static void test_yaml(void **unused)
{
    (void)unused;
    open_good(
        BASE
        "lanes: [{name: a, min_blocks: 1, sparsity: [0.5, 0.75], interval: 8}, {name: b, sparsity: 0, cache_of: a}]\n");
    char *text = written(write_yaml);
    const struct diag_source source = { "plan.yaml", text, strlen(text) };
    struct diag d = { .sources = &source, .n_sources = 1 };
    struct yaml_tree tree = { 0 };
    if (yaml_tree_open(&tree, text, strlen(text), 0, &d) != 0) fail_msg("%s\n%s", fail_text(), text);
    const struct yaml_node *lanes = yaml_get(tree.root, "lanes"), *runs = yaml_get(tree.root, "runs");
    assert_int_equal(lanes->n_items, 5);
    assert_int_equal(runs->n_items, 1);
    assert_string_equal(yaml_get(runs->items[0], "id")->text, plan.runs[0].id);
    assert_string_equal(yaml_get(lanes->items[1], "sparsity")->text, "0.5");
    assert_string_equal(yaml_get(lanes->items[1], "perturb")->text, "0.0");
    assert_string_equal(yaml_get(lanes->items[3], "interval")->text, "never");
    assert_string_equal(yaml_get(lanes->items[3], "cache_of")->text, "a");
    assert_string_equal(yaml_get(yaml_get(yaml_get(tree.root, "model"), "synthetic"), "vocab")->text, "100");
    yaml_tree_close(&tree);
    free(text);
}

static void test_print(void **unused)
{
    (void)unused;
    open_good(BASE
              "lanes: [{name: a, min_blocks: 1, sparsity: [0.5, 0.75], interval: 8, exclude: [{sparsity: 0.75}]}]\n");
    char *text = written(write_print);
    static const char *const parts[] = { "1 run\n",
                                         "2 lanes, 64 tokens prefilled and 32 steps",
                                         "a/s0.5-b16-f8-m1     3 of 5         3 of 6 ",
                                         "     48     48   73.8   50.0",
                                         "memory  ",
                                         "an estimate",
                                         "sparsity 0.75: excluded on line 5" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("'%s' is not in:\n%s", parts[i], text);
    assert_non_null(strstr(text, plan.runs[0].id));
    free(text);
}

/* ---- memory ---- */

static void test_no_memory(void **unused)
{
    (void)unused;
    temp_write("m.ids", "1 2 3 4 5 6 7 8 9 10 11 12", 26);
    static const char text[] =
        "name: t\n" MODEL "prompt: {ids: m.ids, tokens: [4, 6]}\ndecode: {tokens: 3}\nallow_equal: true\n"
        "lanes: [{name: a, block_size: 2, sparsity: 0.5, min_blocks: 1}, {name: b, sparsity: 0, cache_of: a}, {name: "
        "c}]\n";
    open_good(text);
    long n = 0;
    for (;; n++) {
        struct config c;
        plan_close(&plan);
        assert_int_equal(case_open(&c, text, NULL), 0);
        mem_fail_after(n);
        const int rc = plan_open(&plan, &c, &model);
        mem_fail_after(-1);
        if (rc == 0) break;
        assert_int_equal(config_n_errors(&plan.config), 0);
        assert_non_null(strstr(fail_text(), "out of memory"));
    }
    assert_true(n > 10);
}

/* ---- shipped configs, on their own model ---- */

static void check_shipped(const char *path)
{
    struct config c = { 0 };
    plan_close(&plan);
    if (config_open(&c, path, 0, NULL) != 0) fail_msg("%s", fail_text());
    if (c.is_synthetic) {
        config_close(&c);
        return;
    }
    if (!model.layers) assert_int_equal(config_open_model(&c, &model), 0);
    if (plan_open(&plan, &c, &model) != 0) fail_msg("%s", fail_text());
    assert_int_equal(plan.n_warnings, 0);
    assert_int_equal(plan.n_runs, 8);
}

static void test_shipped(void **unused)
{
    (void)unused;
    char path[1024];
    glob_t g;
    if (model_known_path("smollm2-135m", path, sizeof path) != 0 || access(path, R_OK) != 0) {
        print_message("# skip: the model smollm2-135m is not there\n");
        skip();
    }
    plan_close(&plan);
    model_close(&model);
    assert_int_equal(glob("configs/*.yaml", 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) check_shipped(g.gl_pathv[i]);
    globfree(&g);
    check_shipped("configs/quickstart.yaml");
    const struct run_plan *r = &plan.runs[0];
    assert_int_equal(r->n_lanes, 18);
    assert_true(r->prefill_tokens == 256 && r->start == 256 && r->n_steps == 512);
    assert_string_equal(r->source, "code"); /* the first by name */
    assert_string_equal(r->lanes[14].name, "stale/s0-b16-fnever@sparse/s0.8-b16-fnever-m2");
    assert_string_equal(r->lanes[9].name, "resa/s0.8-b16-f32-m2");
    int n_none = 0;
    for (int i = 0; i < r->n_lanes; i++) n_none += r->lanes[i].clean == LANE_NONE;
    assert_int_equal(n_none, 0);
}

static void test_smoke(void **unused)
{
    (void)unused;
    struct config c = { 0 };
    plan_close(&plan);
    model_close(&model);
    assert_int_equal(config_open(&c, "configs/smoke.yaml", 0, NULL), 0);
    assert_int_equal(config_open_model(&c, &model), 0);
    if (plan_open(&plan, &c, &model) != 0) fail_msg("%s", fail_text());
    assert_int_equal(plan.n_runs, 2);
    assert_int_equal(plan.runs[0].metrics, 255);
}

/* Files: patterns, order, names, a folder whose name would itself be a pattern. */
static void test_files(void **unused)
{
    (void)unused;
    char path[1024], folder[PATH_MAX], text[400];
    if (model_known_path("smollm2-135m", path, sizeof path) != 0 || access(path, R_OK) != 0) {
        print_message("# skip: the model smollm2-135m is not there\n");
        skip();
    }
    strcpy(folder, temp_path("in [a]*"));
    assert_int_equal(mkdir(folder, 0700), 0);
    temp_write("in [a]*/b.txt", "one two three four", 18);
    temp_write("in [a]*/a c.txt", "one two three five", 18);
    temp_write("in [a]*/c.md", "one two three six and seven", 27);
    snprintf(text, sizeof text, "%s",
             "name: t\nprompt: {file: ['*.txt', c.md, b.txt], tokens: 2}\ndecode: {tokens: 1}\n");
    temp_write("in [a]*/x.yaml", text, strlen(text));
    struct config c = { 0 };
    plan_close(&plan);
    if (config_open(&c, temp_path("in [a]*/x.yaml"), 0, NULL) != 0) fail_msg("%s", fail_text());
    model_close(&model);
    assert_int_equal(config_open_model(&c, &model), 0);
    if (plan_open(&plan, &c, &model) != 0) fail_msg("%s", fail_text());
    assert_int_equal(plan.n_runs, 3);
    assert_string_equal(plan.runs[0].source, "a_c");
    assert_string_equal(plan.runs[1].source, "b");
    assert_string_equal(plan.runs[2].source, "c.md");
    assert_memory_equal(plan.runs[0].stream, plan.runs[1].stream, 3 * sizeof(int32_t)); /* one two three */
    check_refused("name: t\nprompt: {file: 'z*.txt', tokens: 2}\n", "no file matches 'z*.txt' (looked for ");
    open_good(
        "name: t\nprompt: {text: [hello world and more, hello world and less], tokens: 2}\ndecode: {tokens: 1}\n");
    assert_string_equal(plan.runs[0].source, "text");
    assert_string_equal(plan.runs[1].source, "text-2");
    open_good("name: t\nprompt: {chat: {messages: [{role: user, content: hi}]}}\ndecode: {tokens: 4, follow: self, "
              "stop: eos}\n");
    assert_true(plan.runs[0].stop_eos && plan.runs[0].eos_id >= 0 &&
                plan.runs[0].prefill_tokens == plan.runs[0].n_stream);
    assert_string_equal(plan.runs[0].source, "chat");
    check_refused(
        "name: t\nprompt: {chat: {format: nope, messages: [{role: user, content: hi}]}}\ndecode: {follow: self}\n",
        "nope");
}

static void test_stop_without_eos(void **unused)
{
    (void)unused;
    check_refused("name: t\n" MODEL "prompt: {random: 1, tokens: 4}\ndecode: {follow: self, stop: eos}\n",
                  "the model has no end-of-text token");
}

static int close_all(void **state)
{
    plan_close(&plan);
    model_close(&model);
    return temp_folder_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_four_corners),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad_owners),
        cmocka_unit_test(test_equal_lanes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_random_prompt),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_bad_prompts),
        cmocka_unit_test(test_run_ids),
        cmocka_unit_test(test_prompt_digest),
        cmocka_unit_test(test_price),
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_smoke),
        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_stop_without_eos),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, close_all);
}
