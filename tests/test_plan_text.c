/* What a plan says of itself: prices, the table for people, plan.yaml. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */
#include "core/plan_cost.h"
#include "core/run.h"
#include "core/yaml_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/plan_case.h"

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
        const int n = 41 + s, blocks = (n + 7) / 8, read = (blocks + 1) / 2 * 8 - (blocks * 8 - n);
        steps += 2 * (row + logits) + attend * n + attend * read + score * blocks;
        for (int t = 0; t < 4 && (s + 1) % 4 == 0; t++) steps += row + attend * (n - t);
    }
    assert_true(plan.runs[0].flop > (prefill + steps) * (1 - 1e-12) &&
                plan.runs[0].flop < (prefill + steps) * (1 + 1e-12));
    const struct cost_inputs in = {
        .weight_bytes = 1000, .fixed_bytes = 0, .be = backends[0], .flop_per_second = 1e9
    };
    assert_int_equal(plan_price(&plan, &model, &in), 0);
    /* K and V of 3 layers x 16 elements x 4 bytes: prefix 3 tiles of 16 tokens; two stores that begin at tile 2 and end
     * with token 47, one tile each; block keys min and max, in tiles of 16 blocks: one of the prefix, one of the store. */
    const uint64_t token = 2 * 3 * 16 * 4, keys = 2 * (2 * 3 * 16 * 4) * 16;
    uint64_t memory[N_MEMORY_PARTS], sum = 1000;
    assert_int_equal(run_memory(&plan.runs[0], &model, in.be, memory), 0);
    assert_int_equal(memory[MEMORY_PREFIX], token * 48);
    assert_int_equal(memory[MEMORY_SUFFIX], token * 2 * 16);
    assert_int_equal(memory[MEMORY_KEYS], keys);
    for (int i = 0; i < N_MEMORY_PARTS; i++) sum += memory[i];
    assert_true(plan.runs[0].peak_bytes > sum); /* and the trace's buffers, less than 128 KiB for each variable */
    assert_true(plan.runs[0].peak_bytes < sum + N_RECORD_VARS * (128u << 10));
}

/* ---- what is written ---- */

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

/* The prompt's source in plan.yaml, read as a config's, is the same source: the run has the same id. */
static void test_yaml_source(void **unused)
{
    (void)unused;
    static const struct {
        const char *prompt, *line;
    } cases[] = {
        { "random: [3, 4]", "  random: [3, 4]\n" },
        { "ids: [5, 6, 7, 8]", "  ids: [5, 6, 7, 8]\n" },
        { "ids: 's #1.ids'", "  ids: \"s #1.ids\"\n" },
    };
    temp_write("s #1.ids", "1 2 3 4", 7);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400], id[160];
        snprintf(text, sizeof text, "name: t\n" MODEL "prompt: {%s, tokens: 2}\ndecode: {tokens: 1}\n",
                 cases[i].prompt);
        open_good(text);
        strcpy(id, plan.runs[0].id);
        char *yaml = written(write_yaml);
        if (!strstr(yaml, cases[i].line)) fail_msg("'%s' is not in:\n%s", cases[i].line, yaml);
        snprintf(text, sizeof text, "name: t\n" MODEL "prompt:\n%s  tokens: 2\ndecode: {tokens: 1}\n", cases[i].line);
        free(yaml);
        open_good(text);
        assert_string_equal(plan.runs[0].id, id);
    }
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
                                         "     33     48   50.8   50.0",
                                         "memory  ",
                                         "an estimate",
                                         "sparsity 0.75: excluded on line 5" };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(text, parts[i])) fail_msg("'%s' is not in:\n%s", parts[i], text);
    assert_non_null(strstr(text, plan.runs[0].id));
    assert_null(strstr(text, "at most"));
    free(text);
    open_good(BASE "lanes: [{name: a, min_blocks: 1, sparsity: 0.5, local_blocks: 0}]\n");
    text = written(write_print);
    assert_non_null(strstr(text, "     48     48   73.8   50.0"));
    assert_non_null(strstr(text, "of lanes with local_blocks 0, tokens, share and K, V are at most these"));
    free(text);
}

/* The time is the work divided by the speed: the speed is chosen for the seconds that are wanted. */
static void test_print_time(void **unused)
{
    (void)unused;
    static const struct {
        double seconds;
        const char *text;
    } cases[] = { { 0.001, "time    less than 0.01 s: " },
                  { 0.25, "about 0.25 s: " },
                  { 9.94, "about 9.9 s: " },
                  { 9.96, "about 10 s: " },
                  { 99.4, "about 99 s: " },
                  { 99.6, "about 1.7 min: " },
                  { 5900, "about 98.3 min: " },
                  { 7200, "about 2.0 h: " } };
    open_good(BASE);
    struct cost_inputs in = { .weight_bytes = 1000, .be = backends[0] };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        in.flop_per_second = plan.runs[0].flop / cases[i].seconds;
        assert_int_equal(plan_price(&plan, &model, &in), 0);
        char *text = written(write_print);
        if (!strstr(text, cases[i].text)) fail_msg("'%s' is not in:\n%s", cases[i].text, text);
        free(text);
    }
    in.flop_per_second = 0;
    assert_int_equal(plan_price(&plan, &model, &in), 0);
    char *text = written(write_print);
    assert_non_null(strstr(text, "time    not known here, without device "));
    assert_null(strstr(text, "GFLOP/s"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_price), cmocka_unit_test(test_yaml),       cmocka_unit_test(test_yaml_source),
        cmocka_unit_test(test_print), cmocka_unit_test(test_print_time),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, close_all);
}
