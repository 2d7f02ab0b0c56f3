/* Plans over synthetic models: prompts, ids of runs; and the shipped configs on their model. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */
#include "core/mem.h"
#include "core/model_known.h"
#include "core/philox.h"
#include "core/text_known.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "tests/plan_case.h"

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
                  "x.yaml:3:30: error: prompt: source 'a.ids' has 100 tokens, 101 are needed: 90 before the start");
    open_good("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 100}\ndecode: {tokens: 10, follow: self}\n");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 101}\ndecode: {follow: self}\n", "101 are needed");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: 51, start: 50}\ndecode: {tokens: 9}\n",
                  "51 tokens cannot be prefilled before start 50");
    check_refused("name: t\n" MODEL "prompt: {ids: a.ids, tokens: [50, all], start: 50}\ndecode: {tokens: 9}\n",
                  "two runs of source 'a.ids' are the same");
    check_refused("name: t\n" MODEL "prompt: {random: 1}\n", "random has no end of its own");
    check_refused("name: t\n" MODEL "prompt: {ids: [1, 2, 3]}\ndecode: {tokens: 9}\n", "source 'ids' has 3 tokens, at least 11 are needed");
    check_refused("name: t\n" MODEL "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 9}\ntrace: {every: 10}\n",
                  "x.yaml:5:16: error: trace.every: 10: of a run of 9 steps nothing would be recorded by layer");
    open_good("name: t\n" MODEL "prompt: {random: 1, tokens: 64}\ndecode: {tokens: 9}\ntrace: {every: 9}\n");
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
        { "ids: .", "", "a folder; a pattern for the files in it is needed" },
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

/* Whether all that a config names is in the cache; says what is not. */
static bool has_all(const struct config *c, const char *config)
{
    char path[PATH_MAX];
    if (model_known_path(c->model, path, sizeof path) != 0 || access(path, R_OK) != 0)
        return print_message("# not checked: %s: the model %s is not there\n", config, c->model), false;
    for (int i = 0; i < c->prompt.n_texts; i++) {
        const char *pattern = text_known_pattern(c->prompt.texts[i]);
        for (const struct text_package *t = NULL; pattern && (t = text_known_next(pattern, t)) != NULL;)
            if (text_known_path(t, path, sizeof path) != 0 || access(path, R_OK) != 0)
                return print_message("# not checked: %s: the text %s%s is not there\n", config, TEXT_PREFIX, t->name), false;
    }
    return true;
}

/* A plan over eight texts of our own, or over at least twelve of which half or more are not. */
static void check_shipped(const char *path)
{
    struct config c = { 0 };
    plan_close(&plan);
    if (config_open(&c, path, 0, NULL) != 0) fail_msg("%s", fail_text());
    if (c.is_synthetic || !has_all(&c, path)) {
        config_close(&c);
        return;
    }
    if (strcmp(model.name, c.model) != 0) {
        model_close(&model);
        assert_int_equal(config_open_model(&c, &model), 0);
    }
    if (plan_open(&plan, &c, &model) != 0) fail_msg("%s", fail_text());
    assert_int_equal(plan.n_warnings, 0);
    int n_foreign = 0;
    for (int i = 0; i < plan.n_runs; i++) n_foreign += text_known_pattern(plan.runs[i].origin) != NULL;
    if (strstr(path, "/long-")) return; /* a stream, not a study */
    if (n_foreign == 0) assert_int_equal(plan.n_runs, 8);
    else assert_true(plan.n_runs >= 12 && 2 * n_foreign >= plan.n_runs);
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
    /* 2 of 17 blocks at 257 tokens, the last one of a single token: 16 + 1. */
    char *text = written(write_print);
    assert_non_null(strstr(text, "    2 of 17        5 of 48        17     80    6.6   10.4"));
    free(text);
    text = written(write_yaml);
    assert_non_null(strstr(text, "  kind: file\n  windows: none\n  folder: configs\n  file: [\"texts/*.txt\"]\n"));
    free(text);
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
    check_refused("name: t\nprompt: {text: [hello world and more, hello world and less], tokens: 2}\ndecode: {tokens: 1, follow: reference}\n",
                  "x.yaml:2:16: error: prompt: sources 'text' and 'text-2' are the same 2 tokens: as two texts they would count twice");
    open_good("name: t\nprompt: {text: [hello world, hello world, hello world], tokens: 2}\ndecode: {tokens: 1, follow: self}\nallow_equal: true\n");
    assert_int_equal(plan.n_warnings, 2);
    assert_non_null(strstr(plan.warnings[1], "sources 'text' and 'text-3' are the same tokens"));
    open_good("name: t\nprompt: {chat: {messages: [{role: user, content: hi}]}}\ndecode: {tokens: 4, follow: self, "
              "stop: eos}\n");
    assert_true(plan.runs[0].stop_eos && plan.runs[0].eos_id >= 0 &&
                plan.runs[0].prefill_tokens == plan.runs[0].n_stream);
    assert_string_equal(plan.runs[0].source, "chat");
    check_refused(
        "name: t\nprompt: {chat: {format: nope, messages: [{role: user, content: hi}]}}\ndecode: {follow: self}\n",
        "nope");
}

/* Texts that are named: unknown, not fetched, not what they should be; and, where Debian's licence is at hand, as they should. */
static void test_known_texts(void **unused)
{
    (void)unused;
    char path[1024], config[1400], bytes[1 << 15], kept[PATH_MAX] = "";
    const struct text_package *t = text_known_next("gpl-3", NULL);
    if (model_known_path("smollm2-135m", path, sizeof path) != 0 || access(path, R_OK) != 0) {
        print_message("# skip: the model smollm2-135m is not there\n");
        skip();
    }
    if (getenv("XDG_CACHE_HOME")) strcpy(kept, getenv("XDG_CACHE_HOME"));
    setenv("XDG_CACHE_HOME", temp_folder, 1);
    snprintf(config, sizeof config, "name: t\nmodel: '%s'\nprompt: {file: ['debian:gpl-[3]'], tokens: 4}\ndecode: {tokens: 4}\n", path);
    assert_int_equal(open_plan(config, NULL), -1);
    assert_int_equal(config_n_errors(&plan.config), 0);
    assert_non_null(strstr(fail_text(), "text debian:gpl-3 has not been fetched ("));
    check_refused_with(config, "prompt.file=[debian:gpl]", "'debian:gpl' is no known text (anarchism, ");
    mkdir(temp_path("resa"), 0700); /* there if the digest of the model was kept */
    assert_int_equal(mkdir(temp_path("resa/texts"), 0700), 0);
    memset(bytes, 'x', sizeof bytes);
    temp_write("resa/texts/gpl-3.txt", bytes, (size_t)t->n_bytes);
    assert_int_equal(open_plan(config, NULL), -1);
    assert_non_null(strstr(fail_text(), "resa/texts/gpl-3.txt is not the text debian:gpl-3 (SHA-256 "));
    FILE *f = fopen(t->path, "rb");
    if (f) {
        assert_int_equal(fseek(f, t->offset, SEEK_SET), 0);
        assert_int_equal(fread(bytes, 1, (size_t)t->n_bytes, f), t->n_bytes);
        fclose(f);
        temp_write("resa/texts/gpl-3.txt", bytes, (size_t)t->n_bytes);
        open_good(config);
        assert_string_equal(plan.runs[0].source, "gpl-3");
        assert_string_equal(plan.runs[0].origin, "debian:base-files");
    }
    if (kept[0]) setenv("XDG_CACHE_HOME", kept, 1);
    else unsetenv("XDG_CACHE_HOME");
}

static void check_written(const char *text, const char *part)
{
    open_good(text);
    char *yaml = written(write_yaml);
    if (!strstr(yaml, part)) fail_msg("'%s' is not in:\n%s", part, yaml);
    free(yaml);
}

/* Bytes that SmolLM2 has no token for, and texts in plan.yaml. */
static void test_texts(void **unused)
{
    (void)unused;
    char path[1024];
    if (model_known_path("smollm2-135m", path, sizeof path) != 0 || access(path, R_OK) != 0) {
        print_message("# skip: the model smollm2-135m is not there\n");
        skip();
    }
    temp_write("b.txt", "one\ntwo \xF5 three", 15);
    check_refused("name: t\nprompt: {file: b.txt, tokens: 2}\n", "/b.txt: byte 0xF5 at offset 8: the model's tokenizer");
    assert_non_null(strstr(fail_text(), "x.yaml:2:16: error: prompt: "));
    temp_write("b.txt", "one\ntwo \xE9t\xE9", 11);
    check_refused("name: t\nprompt: {file: b.txt, tokens: 2}\n", "/b.txt: byte 0xE9 at offset 8: not a text in UTF-8");
    temp_write("b.txt", "one\0two", 7);
    check_refused("name: t\nprompt: {file: b.txt, tokens: 2}\n", "/b.txt: byte 0x00 at offset 3");
    temp_write("b.txt", "\xEF\xBB\xBFone two", 10);
    check_refused("name: t\nprompt: {file: b.txt, tokens: 2}\n", "/b.txt: begins with a byte order mark");
    check_refused("name: t\nprompt: {text: [fine, \"b\\x06d\"], tokens: 1}\ndecode: {follow: self}\n",
                  "prompt: text: byte 0x06 at offset 1");
    check_refused("name: t\nprompt: {chat: {messages: [{role: system, content: a}, {role: user, content: "
                  "\"xy\\x1D\"}]}}\ndecode: {follow: self}\n",
                  "prompt: chat.messages[1]: byte 0x1D at offset 2");
    check_written("name: t\nprompt: {text: [\"one\\ntwo \\u2028\\t\", 'say \"no\"'], tokens: 1}\ndecode: {tokens: 1}\n",
                  "\n  text: [\"one\\x0Atwo \\u2028\\x09\", \"say \\\"no\\\"\"]\n");
    check_written("name: t\nprompt: {chat: {messages: [{role: user, content: 'hi, you'}]}}\ndecode: {tokens: 4, follow: "
                  "self}\n",
                  "\n  chat: {format: auto, messages: [{role: user, content: \"hi, you\"}]}\n");
}

static void test_stop_without_eos(void **unused)
{
    (void)unused;
    check_refused("name: t\n" MODEL "prompt: {random: 1, tokens: 4}\ndecode: {follow: self, stop: eos}\n",
                  "the model has no end-of-text token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_prompt),
        cmocka_unit_test(test_starts),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_bad_prompts),
        cmocka_unit_test(test_run_ids),
        cmocka_unit_test(test_prompt_digest),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_smoke),
        cmocka_unit_test(test_shipped),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_known_texts),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_stop_without_eos),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, close_all);
}
