/* Configs: what is understood, what is refused and where, axes, the shipped files and their reference. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */
#include "core/mem.h"
#include "core/plan.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "tests/config_base.h"

static void test_defaults(void **unused)
{
    (void)unused;
    open_good(BASE "lanes: [{name: a}]\n", NULL);
    assert_string_equal(config.name, "t");
    assert_true(config.is_synthetic && config.device == DEVICE_AUTO && !config.allow_equal);
    assert_int_equal(config.metrics, METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS);
    assert_int_equal(config.every, 1);
    assert_int_equal(config.n_points, 1);
    const struct config_point *p = &config.points[0];
    assert_true(p->prompt_tokens == 8 && p->start == CONFIG_DEFAULT_START && p->decode_tokens == 64 &&
                p->follow == FOLLOW_TEXT);
    assert_true(p->temperature == 0 && p->top_p == 1 && !p->stop_eos && p->seed == 1);
    assert_int_equal(config.n_lanes, 1);
    const struct config_lane *l = &config.lanes[0];
    assert_int_equal(l->selector + SELECT_MINMAX, SELECT_MINMAX);
    assert_true(l->sparsity == 0.9 && l->block_size == 16 && l->local_blocks == 1 && l->min_blocks == 16 &&
                l->interval == 0);
    assert_true(l->dense_layers == 0 && l->phase == 0 && l->dense_until == 0 && l->equal_bytes == 0 && l->perturb == 0);
    assert_string_equal(l->cache_of, "own");
    assert_true(config.synthetic.layers == 2 && config.synthetic.family == FAMILY_LLAMA &&
                config.synthetic.head_dim == 0);
}

static void test_values(void **unused)
{
    (void)unused;
    open_good(
        "name: t\nmodel: {synthetic: {family: qwen3, seed: 9}}\ndevice: cuda:3\nprompt: {text: [a, 'b'], tokens: all}\n"
        "decode: {tokens: 5, follow: self, temperature: 0.7, top_p: 0.95, stop: eos}\nseeds: [4, 5]\n"
        "trace: {metrics: [heads, drift], every: 4}\nlanes: [{name: w, selector: window, interval: 8, phase: 7}]\n",
        NULL);
    assert_true(config.device == DEVICE_CUDA && config.device_index == 3);
    assert_int_equal(config.synthetic.family, FAMILY_QWEN3);
    assert_true(config.prompt.kind == PROMPT_TEXT && config.prompt.n_texts == 2);
    assert_int_equal(config.n_points, 2);
    assert_true(config.points[1].seed == 5 && config.points[1].follow == FOLLOW_SELF && config.points[1].stop_eos);
    assert_true(config.points[0].temperature == 0.7 && config.points[0].top_p == 0.95);
    assert_int_equal(config.metrics, METRIC_HEADS | METRIC_DRIFT);
    assert_int_equal(config.lanes[0].selector + SELECT_MINMAX, SELECT_WINDOW);
    assert_int_equal(config.lanes[0].phase, 7);
    open_good(
        "name: t\nmodel: {synthetic: {}}\nprompt: {chat: {format: qwen, messages: [{role: user, content: hi}]}}\n",
        NULL);
    assert_true(config.prompt.kind == PROMPT_CHAT && config.prompt.n_messages == 1);
    assert_string_equal(config.prompt.messages[0].role, "user");
    assert_string_equal(config.prompt.messages[0].content, "hi");
}

/* ---- axes ---- */

static void test_product(void **unused)
{
    (void)unused;
    open_good(BASE "lanes: [{name: a, interval: [16, never], sparsity: [0.8, 0.9]}]\n", NULL);
    static const struct {
        double sparsity;
        int interval;
    } want[] = { { 0.8, 16 }, { 0.8, 0 }, { 0.9, 16 }, { 0.9, 0 } };
    assert_int_equal(config.n_lanes, 4);
    for (int i = 0; i < 4; i++)
        assert_true(config.lanes[i].sparsity == want[i].sparsity && config.lanes[i].interval == want[i].interval);
}

static void test_zip_include_exclude(void **unused)
{
    (void)unused;
    open_good(BASE "lanes:\n"
                   "  - name: a\n"
                   "    sparsity: [0.7, 0.8, 0.9]\n"
                   "    interval: [8, 16, 32]\n"
                   "    min_blocks: [1, 2]\n"
                   "    zip: [[sparsity, interval]]\n"
                   "    include: [{sparsity: 0.5, interval: [4, 64], min_blocks: 1}]\n"
                   "    exclude: [{interval: [16, 64]}, {sparsity: 0.9, min_blocks: 2}, {sparsity: 0.1}]\n",
              NULL);
    static const struct {
        double sparsity;
        int interval, min_blocks;
    } want[] = { { 0.7, 8, 1 }, { 0.7, 8, 2 }, { 0.9, 32, 1 }, { 0.5, 4, 1 } };
    assert_int_equal(config.n_lanes, 4);
    for (int i = 0; i < 4; i++)
        assert_true(config.lanes[i].sparsity == want[i].sparsity && config.lanes[i].interval == want[i].interval &&
                    config.lanes[i].min_blocks == want[i].min_blocks);
    /* 0.8/16 twice, 0.5/64 once, 0.9/32/2 once, and the exclude that matches nothing. */
    assert_int_equal(config.n_notes, 5);
    assert_string_equal(config.notes[0], "lanes.a: sparsity 0.8, min_blocks 1, interval 16: excluded on line 11");
    assert_non_null(strstr(config.notes[4], "matches no point"));
}

static void test_run_axes(void **unused)
{
    (void)unused;
    open_good(
        "name: t\nmodel: {synthetic: {}}\nprompt: {random: 1, tokens: [8, 16]}\ndecode: {tokens: [4, 6], follow: "
        "[reference, self]}\n"
        "zip: [[prompt.tokens, decode.tokens]]\ninclude: [{prompt.tokens: 12, decode.tokens: 9, decode.follow: self}]\n"
        "exclude: [{prompt.tokens: 8, decode.follow: self}]\n",
        NULL);
    assert_int_equal(config.n_points, 4);
    static const int want[][3] = {
        { 8, 4, FOLLOW_REFERENCE }, { 16, 6, FOLLOW_REFERENCE }, { 16, 6, FOLLOW_SELF }, { 12, 9, FOLLOW_SELF }
    };
    for (int i = 0; i < 4; i++) {
        assert_int_equal(config.points[i].prompt_tokens, want[i][0]);
        assert_int_equal(config.points[i].decode_tokens, want[i][1]);
        assert_int_equal(config.points[i].follow, want[i][2]);
    }
}

static void test_bad_axes(void **unused)
{
    (void)unused;
    static const char head[] = BASE "lanes:\n  - {name: a, sparsity: [0.8, 0.9], interval: [8, 16, 32], ";
    static const struct {
        const char *rest, *part;
    } cases[] = {
        { "zip: [[sparsity, interval]]}\n",
          "x.yaml:5:77: error: lanes.a.zip: 'sparsity' has 2 values and 'interval' has 3" },
        { "zip: [sparsity, interval]}\n", "a list of lists of at least two keys" },
        { "zip: [[sparsity]]}\n", "at least two keys" },
        { "zip: []}\n", "a list of lists of keys" },
        { "zip: [[sparsity, min_blocks]]}\n", "'min_blocks' is no list here" },
        { "zip: [[sparsity, intervall]]}\n", "did you mean 'interval'?" },
        { "zip: [[sparsity, sparsity]]}\n", "paired twice" },
        { "include: [{sparsity: 0.5}]}\n", "must name 'interval', which has 3 values here" },
        { "include: [{sparsity: 0.8, interval: 8}]}\n", "already there" },
        { "include: [{sparsity: 2, interval: 8}]}\n", "out of range" },
        { "include: {sparsity: 0.5}}\n", "a list of maps" },
        { "include: [{}]}\n", "an empty map" },
        { "exclude: [{}]}\n", "an empty map" },
        { "exclude: [{sparsty: 1}]}\n", "did you mean 'sparsity'?" },
        { "exclude: [{sparsity: [0.8, 0.9]}]}\n", "exclude leaves nothing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text, "%s%s", head, cases[i].rest);
        check_refused(text, NULL, cases[i].part);
    }
    char big[4000] = BASE "lanes: [{name: a, block_size: [", *p = big + strlen(big);
    for (int i = 1; i <= 40; i++) p += sprintf(p, "%s%d", i > 1 ? ", " : "", i);
    p += sprintf(p, "], min_blocks: [");
    for (int i = 1; i <= 40; i++) p += sprintf(p, "%s%d", i > 1 ? ", " : "", i);
    sprintf(p, "]}]\n");
    check_refused(big, NULL, "multiply to 1600 points, at most 1023");
}

/* ---- refusals ---- */

#define LATENCY "experiment: latency\n"

static void test_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "a: [1", "x.yaml:" },
        { "- a\n", "x.yaml:1:1: error: a config is a map of keys and values, not a list" },
        { "hello\n", "not a value" },
        { "name: t\n", "a config has no key 'prompt'" },
        { "prompt: {random: 1, tokens: 8}\n", "a config has no key 'name'" },
        { BASE "lane: []\n", "x.yaml:4:1: error: unknown key 'lane' in a config; did you mean 'lanes'?" },
        { BASE "Lanes: []\n", "did you mean 'lanes'?" },
        { BASE "name: u\n", "x.yaml:4:1: error: key 'name' is given twice, first on line 1" },
        { BASE "experiment: drfit\n",
          "x.yaml:4:13: error: experiment: 'drfit' is not one of: drift, latency; did you mean 'drift'?" },
        { BASE "batch: 2\n", "x.yaml:4:8: error: batch: is for experiment: latency" },
        { BASE "trace: {metrics: [time]}\n", "x.yaml:4:18: error: trace.metrics: time is for experiment: latency" },
        { BASE "experiment: latency\n", "x.yaml:4:13: error: batch: experiment: latency needs it" },
        { BASE LATENCY "batch: [1, 65]\n", "batch: 65 is out of range" },
        { BASE LATENCY "batch: 1\ntrace: {metrics: [drift]}\n", "experiment: latency records [time] alone" },
        { BASE LATENCY "batch: 1\ndecode: {follow: self}\n", "experiment: latency chooses no token" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {ids: [1, 2, 3, 4]}\n" LATENCY "batch: 1\n", "latency needs tokens" },
        { BASE LATENCY "batch: 1\nlanes: [{name: a, interval: 9}]\n", "lanes.a.interval: is more than prompt.tokens" },
        { BASE LATENCY "batch: 1\nlanes: [{name: a, interval: 4, phase: 2}]\n", "lanes.a.phase: means nothing" },
        { BASE LATENCY "batch: 1\nlanes: [{name: a, selector: oracle}]\n", "lanes.a.selector: oracle reads everything" },
        { BASE LATENCY "batch: 1\nlanes: [{name: a, cache_of: dense}]\n", "lanes.a.cache_of: experiment: latency times a policy" },
        { BASE "decode: {temperature: .nan}\n", "x.yaml:4:23: error: decode.temperature: '.nan' is no number" },
        { BASE "decode: 5\n", "decode: decode is a map of keys and values, not a value" },
        { BASE "decode: {tokens: 0}\n", "x.yaml:4:18: error: decode.tokens: 0 is out of range: 1 .. 1048576 steps" },
        { BASE "decode: {stop: eos}\n", "stop: eos has no meaning with follow: text" },
        { BASE "seeds: [1, 2]\n", "x.yaml:4:8: error: seeds: with follow: text nothing is random" },
        { BASE "seeds: [1, 2]\ndecode: {follow: self}\n", "with follow: self and temperature: 0 nothing is random" },
        { BASE "device: cuda:x\n", "x.yaml:4:9: error: device: 'cuda:x' is not one of: auto, cpu, cuda, cuda-bf16, cuda-int4, and the last three with :N" },
        { BASE "device: cuda-bf16x\n", "device: 'cuda-bf16x'" },
        { BASE "device: cpu:0\n", "device: 'cpu:0'" },
        { BASE "device: cuda:01\n", "device: 'cuda:01'" },
        { BASE "trace: {metrics: [drfit]}\n", "did you mean 'drift'?" },
        { BASE "a: &x [*x]\n", "inside its own anchor" },
        { BASE "zip: [[prompt.tokens, decode.tokens]]\n", "'prompt.tokens' is no list here" },
        { "name: t\nmodel: {gguf: x}\nprompt: {random: 1, tokens: 8}\n",
          "unknown key 'gguf' in model (keys: synthetic)" },
        { "name: t\nmodel: {}\nprompt: {random: 1, tokens: 8}\n", "a map has the key 'synthetic'" },
        { "name: t\nmodel: [a]\nprompt: {random: 1, tokens: 8}\n", "model: one value is expected, not a list" },
        { "name: t\nmodel: no-such\nprompt: {random: 1, tokens: 8}\n", "'no-such' is no known model (smollm2-135m" },
        { "name: t\nmodel: smollm-135m\nprompt: {random: 1, tokens: 8}\n", "did you mean 'smollm2-135m'?" },
        { "name: t\nmodel: {synthetic: {heads: 3, kv_heads: 2}}\nprompt: {random: 1}\n",
          "heads: 3 is no multiple of kv_heads: 2" },
        { "name: t\nmodel: {synthetic: {hidden: 65}}\nprompt: {random: 1}\n", "hidden: 65 is no multiple of heads: 4" },
        { "name: t\nmodel: {synthetic: {hidden: 12}}\nprompt: {random: 1}\n", "head_dim: 3 is odd" },
        { "name: t\nmodel: {synthetic: {layer: 3}}\nprompt: {random: 1}\n", "unknown key 'model.synthetic.layer'" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {tokens: 8}\n",
          "one of file, text, chat, ids and random must be given" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {text: a, random: 1}\n",
          "only one of file, text, chat, ids and random" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {random: 1, tokens: 8, start: 9, windows: 2}\n",
          "start and windows exclude one another" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {ids: [1, -1]}\n",
          "x.yaml:3:19: error: prompt.ids: -1 is out of range" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {ids: []}\n", "an empty list" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {file: {a: 1}}\n",
          "prompt.file: one value is expected, not a map" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {chat: hello}\n",
          "prompt.chat: a conversation is a map of keys and values" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {chat: {messages: []}}\n", "a list of {role: .., content: ..}" },
        { "name: t\nmodel: {synthetic: {}}\nprompt: {chat: {messages: [{role: usr, content: x}]}}\n",
          "did you mean 'user'?" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_refused(cases[i].text, NULL, cases[i].part);
}

static void test_refused_lanes(void **unused)
{
    (void)unused;
    static const struct {
        const char *lanes, *part;
    } cases[] = {
        { "{a: 1}", "x.yaml:4:8: error: lanes: a list of families is expected" },
        { "[{sparsity: 0.5}]", "a family of lanes has no key 'name'" },
        { "[{name: dense}]", "no family can be called 'dense'" },
        { "[{name: own}]", "no family can be called 'own'" },
        { "[{name: a}, {name: a, sparsity: 0.5}]", "x.yaml:4:27: error: lanes: two families are called 'a'" },
        { "[{name: a, selector: quest}]", "minmax, random, window, oracle" },
        { "[{name: a, selector: dense}]", "minmax, random, window, oracle" },
        { "[{name: a, cache_of: dense, interval: 8}]", "x.yaml:4:46: error: lanes.a.interval: a probe" },
        { "[{name: a, interval: 8, phase: 1, cache_of: b}]", "a probe" },
        { "[{name: a, cache_of: dense, dense_until: 8}]", "lanes.a.dense_until: a probe" },
        { "[{name: a, cache_of: dense, perturb: 0.1}]", "lanes.a.perturb: a probe" },
        { "[{name: a, equal_bytes: 8, interval: 8}]", "lanes.a.equal_bytes: stands for an interval" },
        { "[{name: a, interval: 8, phase: 8}]", "lanes.a.phase: must be less than interval" },
        { "[{name: a, phase: 1}]", "means nothing without an interval" },
        { "[{name: a, interval: [8, 16], phase: [0, 8]}]", "must be less than interval" },
        { "[{name: a, sparsity: 90}]", "lanes.a.sparsity: 90 is out of range: 0 .. 1" },
        { "[{name: a, sparsity: -.5}]", "out of range" },
        { "[{name: a, block_size: 0}]", "out of range: 1 .. 4096 tokens" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text, BASE "lanes: %s\n", cases[i].lanes);
        check_refused(text, NULL, cases[i].part);
    }
    check_refused(BASE "decode: {follow: [text, self]}\nlanes: [{name: a, dense_until: 8}]\n", NULL,
                  "needs follow: text or reference");
    /* Each of three families is refused once, not once for each of its lanes. */
    check_refused(BASE "lanes: [{name: a, phase: 1, sparsity: [0.5, 0.6]}, {name: b, phase: 1}, {name: c, nme: 1}]\n",
                  NULL, "lanes.b.phase");
    assert_int_equal(config_n_errors(&config), 3);
}

static void test_seeds(void **unused)
{
    (void)unused;
    open_good(BASE "seeds: [1, 2]\nlanes: [{name: a, selector: random}]\n", NULL);
    open_good(BASE "seeds: [1, 2]\nlanes: [{name: a, sparsity: 0, perturb: 0.1}]\n", NULL);
    open_good(BASE "seeds: [1, 2]\ndecode: {follow: reference, temperature: 0.5}\n", NULL);
}

/* A key given twice does not hide what else is wrong, and its first value is the one that is looked at. */
static void test_several_at_once(void **unused)
{
    (void)unused;
    check_refused("name: t\nname: 'no name'\nmodel: {synthetic: {}}\nprompt: {random: 1, tokens: 8}\ndecode: {tokns: 4}\n"
                  "lanes:\n  - 5\n  - {name: a, sparsity: 7, sparsity: 0.5}\n  - {sparsity: 8}\n",
                  NULL, "x.yaml:2:1: error: key 'name' is given twice");
    char *errors = case_errors(&config);
    static const char *const parts[] = { "unknown key 'decode.tokns'",
                                         "x.yaml:7:5: error: lanes[0]: a family of lanes is a map",
                                         "x.yaml:8:28: error: key 'sparsity' is given twice",
                                         "lanes.a.sparsity: 7 is out of range",
                                         "lanes[2].sparsity: 8 is out of range" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(errors, parts[i])) fail_msg("'%s' is not in:\n%s", parts[i], errors);
    assert_null(strstr(errors, "is no name"));
    free(errors);
}

static void test_hostile(void **unused)
{
    (void)unused;
    char *text = malloc(100000 + 100);
    assert_non_null(text);
    strcpy(text, BASE "lanes: ");
    char *p = text + strlen(text);
    memset(p, '[', 100000);
    p[100000] = 0;
    const clock_t start = clock();
    check_refused(text, NULL, "deeper than 48");
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 1);
    free(text);
    config_close(&config);
    assert_int_equal(config_open(&config, temp_path("no-such.yaml"), 0, NULL), -1);
    assert_int_equal(config_n_errors(&config), 0);
    assert_non_null(strstr(fail_text(), "no-such.yaml: No such file"));
    config_close(&config);
    assert_int_equal(config_open(&config, temp_folder, 0, NULL), -1); /* a folder */
    assert_non_null(strstr(fail_text(), "Is a directory"));
}

/* Broken at every byte, by a few bytes: refused or understood, never a crash (and under the sanitizers, no leak). */
static void test_mutations(void **unused)
{
    (void)unused;
    static const char whole[] =
        BASE "lanes:\n  - {name: a, sparsity: [0.8, 0.9], zip: [[sparsity, interval]], interval: [8, 16]}\n"
             "  - {name: b, cache_of: a, sparsity: 0}\nseeds: &s 1\n";
    static const char bytes[] = "[{*&:,\n\"\xFF";
    char text[sizeof whole];
    int n_refused = 0;
    open_good(whole, NULL);
    for (size_t i = 0; i + 1 < sizeof whole; i++)
        for (size_t k = 0; k < sizeof bytes; k++) { /* the last is the NUL: the text ends there */
            memcpy(text, whole, sizeof whole);
            text[i] = bytes[k];
            config_close(&config);
            if (case_open(&config, text, NULL) == 0) continue;
            n_refused++;
            char *errors = case_errors(&config);
            assert_true(config_n_errors(&config) > 0 && strlen(errors) > 0);
            free(errors);
        }
    assert_true(n_refused > 500);
}

/* ---- memory ---- */

/* Every allocation on the way fails once: -1, no error of the config, nothing left behind. */
static void test_no_memory(void **unused)
{
    (void)unused;
    static const char text[] =
        BASE "seeds: [1, 2]\nlanes:\n"
             "  - {name: a, sparsity: [0.8, 0.9], interval: [8, 16], zip: [[sparsity, interval]], include: [{sparsity: "
             "0.5, interval: 4}],\n"
             "     exclude: [{sparsity: 0.8}], selector: random}\n  - {name: b, cache_of: a, sparsity: 0}\n";
    long n = 0;
    for (;; n++) {
        config_close(&config);
        mem_fail_after(n);
        const int rc = case_open(&config, text, "decode.tokens=[4, 5]");
        mem_fail_after(-1);
        if (rc == 0) break;
        assert_int_equal(config_n_errors(&config), 0);
        assert_non_null(strstr(fail_text(), "out of memory"));
    }
    assert_true(n > 40); /* it does allocate */
    assert_int_equal(config.n_lanes, 3);
    assert_int_equal(config.n_points, 4);
}

/* ---- shipped files ---- */

static void test_shipped_configs(void **unused)
{
    (void)unused;
    glob_t g;
    assert_int_equal(glob("configs/*.yaml", 0, NULL, &g), 0);
    assert_true(g.gl_pathc >= 10);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        config_close(&config);
        if (config_open(&config, g.gl_pathv[i], 0, NULL) != 0) fail_msg("%s", fail_text());
        char want[160];
        snprintf(want, sizeof want, "configs/%s.yaml", config.name);
        assert_string_equal(g.gl_pathv[i], want); /* a config is named after its file */
        assert_int_equal(config.n_notes, 0);
    }
    globfree(&g);
}

static void test_reference(void **unused)
{
    (void)unused;
    char *text = NULL, *file = NULL;
    size_t n = 0, n_file;
    FILE *f = open_memstream(&text, &n);
    assert_int_equal(config_print_reference(f), 0);
    fclose(f);
    f = fopen("configs/README.md", "rb");
    assert_non_null(f);
    file = calloc(1, n + 2);
    n_file = fread(file, 1, n + 1, f);
    fclose(f);
    if (n_file != n || memcmp(text, file, n) != 0)
        fail_msg("configs/README.md is not what `build/resa help config` prints");
    free(text);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_values),
        cmocka_unit_test(test_product),       cmocka_unit_test(test_zip_include_exclude),
        cmocka_unit_test(test_run_axes),      cmocka_unit_test(test_bad_axes),
        cmocka_unit_test(test_refused),       cmocka_unit_test(test_refused_lanes),
        cmocka_unit_test(test_seeds),         cmocka_unit_test(test_several_at_once),
        cmocka_unit_test(test_hostile),       cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_no_memory),     cmocka_unit_test(test_shipped_configs),
        cmocka_unit_test(test_reference),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, close_config);
}
