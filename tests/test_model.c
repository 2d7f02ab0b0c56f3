/* Shapes, synthetic weights, rotary frequencies, descriptions. */
#include "core/err.h"
#include "core/mem.h"
#include "core/model.h"
#include "core/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct synthetic_spec small = { .layers = 2,
                                             .hidden = 48,
                                             .ffn = 80,
                                             .heads = 4,
                                             .kv_heads = 2,
                                             .head_dim = 16,
                                             .vocab = 50,
                                             .context = 128,
                                             .family = FAMILY_QWEN2,
                                             .untied = true,
                                             .seed = 0x123456789abcdefu };

/* Weight i of tensor number t, from the definition in model_synthetic.c, one at a time. */
static float defined_weight(const struct synthetic_spec *spec, uint32_t number, uint64_t i, int fan_in)
{
    const uint32_t key[2] = { (uint32_t)spec->seed, (uint32_t)(spec->seed >> 32) };
    const uint32_t counter[4] = { (uint32_t)(i / 4), (uint32_t)(i / 4 >> 32), number, 1 };
    uint32_t words[4];
    philox4x32(counter, key, words);
    const double u = (double)(words[i % 4] >> 8) / 16777216;
    return (float)sqrt(3.0 / fan_in) * (float)(2 * u - 1);
}

static void check_tensor(const struct tensor *t, uint32_t number, int n_rows, int n_cols, int fan_in)
{
    float row[128];
    assert_true(t->type == (fan_in ? TENSOR_SEED : TENSOR_F32) && t->n_rows == n_rows && t->n_cols == n_cols && n_cols <= 128);
    for (int r = 0; r < n_rows; r++) {
        tensor_row(t, r, row);
        for (int c = 0; c < n_cols; c++) {
            const float want = fan_in ? defined_weight(&small, number, (uint64_t)(r * n_cols + c), fan_in) : 1;
            assert_memory_equal(&row[c], &want, 4);
        }
    }
}

static void test_synthetic(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    assert_int_equal(model_open_synthetic(&m, &small), 0);
    assert_true(m.shape.qkv_bias && !m.shape.qk_norm && !m.shape.tied && m.tokenizer.n_tokens == 0);
    check_tensor(&m.embedding, 0, 50, 48, 48);
    check_tensor(&m.output_norm, 1, 1, 48, 0);
    check_tensor(&m.output, 2, 50, 48, 48);
    for (uint32_t l = 0; l < 2; l++) {
        const struct model_layer *layer = &m.layers[l];
        const uint32_t first = 16 * (l + 1);
        check_tensor(&layer->attn_norm, first, 1, 48, 0);
        check_tensor(&layer->q, first + 1, 64, 48, 48);
        check_tensor(&layer->k, first + 2, 32, 48, 48);
        check_tensor(&layer->v, first + 3, 32, 48, 48);
        check_tensor(&layer->o, first + 4, 48, 64, 64);
        check_tensor(&layer->ffn_norm, first + 5, 1, 48, 0);
        check_tensor(&layer->gate, first + 6, 80, 48, 48);
        check_tensor(&layer->up, first + 7, 80, 48, 48);
        check_tensor(&layer->down, first + 8, 48, 80, 80);
        check_tensor(&layer->q_bias, first + 9, 1, 64, 48);
        check_tensor(&layer->k_bias, first + 10, 1, 32, 48);
        check_tensor(&layer->v_bias, first + 11, 1, 32, 48);
        assert_null(layer->q_norm.data);
    }
    const uint64_t layer_params = 2 * 48 + 48 * (64 + 32 + 32) + 64 * 48 + 3 * 48 * 80 + 64 + 32 + 32;
    assert_int_equal(m.n_params, 2 * 50 * 48 + 48 + 2 * layer_params);
    model_close(&m);
}

static void test_synthetic_defaults(void **unused)
{
    (void)unused;
    struct synthetic_spec spec = {
        .layers = 1, .hidden = 60, .heads = 3, .vocab = 10, .context = 16, .seed = 1, .family = FAMILY_QWEN3
    };
    struct model m = { 0 }, other = { 0 };
    assert_int_equal(model_open_synthetic(&m, &spec), 0);
    assert_true(m.shape.head_dim == 20 && m.shape.n_kv_heads == 3 && m.shape.ffn == 128 && m.shape.qk_norm);
    assert_true(m.shape.tied && m.output.data == m.embedding.data);
    assert_string_equal(m.name, "synthetic-1x60-v10-s1");
    assert_int_equal(strlen(m.digest), 64);
    spec.seed = 2;
    assert_int_equal(model_open_synthetic(&other, &spec), 0);
    assert_string_not_equal(m.digest, other.digest);
    model_close(&other);
    model_close(&m);
}

static void test_synthetic_refused(void **unused)
{
    (void)unused;
    static const struct {
        struct synthetic_spec spec;
        const char *message;
    } cases[] = {
        { { 0, 64, 64, 4, 2, 16, 10, 16, FAMILY_LLAMA, false, 1 }, "layers: 0, allowed are 1 to 4096" },
        { { 1, 64, 64, 4, 3, 16, 10, 16, FAMILY_LLAMA, false, 1 }, "4 query heads are not a multiple of 3 KV heads" },
        { { 1, 64, 64, 4, 2, 15, 10, 16, FAMILY_LLAMA, false, 1 }, "the head dimension 15 is odd" },
        { { 1, 65, 64, 4, 2, 0, 10, 16, FAMILY_LLAMA, false, 1 }, "hidden 65 is not a multiple of heads 4" },
        { { 1, -64, 0, 4, 2, 0, 10, 16, FAMILY_LLAMA, false, 1 }, "hidden size: -64" },
        { { 1, 64, 64, 4, -2, 16, 10, 16, FAMILY_LLAMA, false, 1 }, "KV heads: -2" },
        { { 1, 64, 64, 4, 2, 16, 1 << 30, 16, FAMILY_LLAMA, false, 1 },
          "vocabulary: 1073741824, allowed are 1 to 4194304" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model m = { 0 };
        assert_int_equal(model_open_synthetic(&m, &cases[i].spec), -1);
        if (!strstr(fail_text(), cases[i].message)) fail_msg("said '%s', not '%s'", fail_text(), cases[i].message);
        model_close(&m);
    }
}

/* Every allocation fails once; each time a message, and nothing is lost (the sanitizers look). */
static void test_no_memory(void **unused)
{
    (void)unused;
    int n = 0;
    for (int rc = -1; rc != 0; n++) {
        struct model m = { 0 };
        mem_fail_after(n);
        rc = model_open_synthetic(&m, &small);
        mem_fail_after(-1);
        if (rc != 0) assert_non_null(strstr(fail_text(), "out of memory"));
        model_close(&m);
    }
    assert_true(n > 20);
}

/* The settings of tests/golden/make_rope_golden.py. */
static const struct {
    const char *name;
    struct rope_config rope;
} rope_cases[] = {
    { "linear", { .scaling = ROPE_LINEAR, .base = 10000, .factor = 8 } },
    { "llama3",
      { .scaling = ROPE_LLAMA3,
        .base = 500000,
        .factor = 32,
        .low_freq_factor = 1,
        .high_freq_factor = 4,
        .original_context = 8192 } },
    { "llama3-8b",
      { .scaling = ROPE_LLAMA3,
        .base = 500000,
        .factor = 8,
        .low_freq_factor = 1,
        .high_freq_factor = 4,
        .original_context = 8192 } },
    { "yarn",
      { .scaling = ROPE_YARN,
        .base = 1000000,
        .factor = 4,
        .original_context = 32768,
        .beta_fast = 32,
        .beta_slow = 1 } },
    { "yarn-mscale",
      { .scaling = ROPE_YARN,
        .base = 10000,
        .factor = 40,
        .original_context = 4096,
        .beta_fast = 32,
        .beta_slow = 1 } },
    { "yarn-given",
      { .scaling = ROPE_YARN, .base = 10000, .factor = 2, .original_context = 4096, .beta_fast = 16, .beta_slow = 2 } },
};

/* Tolerance: transformers computes base^(2i/d) in float32.  The exponent is rounded once (relative u = 2^-24, which
 * moves the power by ln(base) * u at most, since the exponent is below 1), pow is good to 2 ulp (4u at most), and at most
 * seven roundings follow (reciprocal; two products, two quotients and a sum of positive terms; the factor).  The weight of
 * the blend has an absolute error of 5u (llama3: turns <= 4 with three roundings, over high - low = 3, and the difference;
 * yarn: two roundings of a number up to 1), beside a result that may be as small as 1 / factor. */
static double rope_tolerance(const struct rope_config *r)
{
    return (log(r->base) + 4 + 7 + 5 * r->factor) * 0x1p-24;
}

static void test_rope_golden(void **unused)
{
    (void)unused;
    FILE *file = fopen("tests/golden/rope.txt", "r");
    if (!file) fail_msg("tests/golden/rope.txt cannot be read: run from the repository's root");
    for (size_t i = 0; i < sizeof rope_cases / sizeof *rope_cases; i++) {
        char name[32];
        int head_dim;
        double attention, got[64], want;
        assert_int_equal(fscanf(file, "%31s %d %lf", name, &head_dim, &attention), 3);
        assert_string_equal(name, rope_cases[i].name);
        assert_true(head_dim <= 128);
        rope_frequencies(&rope_cases[i].rope, head_dim, got);
        for (int pair = 0; pair < head_dim / 2; pair++) {
            assert_int_equal(fscanf(file, "%lf", &want), 1);
            const double err = fabs(got[pair] - want) / want, tol = rope_tolerance(&rope_cases[i].rope);
            if (!(err <= tol)) fail_msg("%s: pair %d is %.9g, should be %.9g", name, pair, got[pair], want);
        }
    }
    fclose(file);
}

static void test_rope_plain(void **unused)
{
    (void)unused;
    static const float divisors[4] = { 1, 2, 0.5f, 8 };
    struct rope_config rope = { .base = 10000, .factor = 1 };
    double f[4];
    rope_frequencies(&rope, 8, f);
    assert_true(f[0] == 1 && fabs(f[1] - 0.1) < 1e-16 && fabs(f[2] - 0.01) < 1e-17 && fabs(f[3] - 0.001) < 1e-18);
    rope.freq_divisors = divisors;
    rope_frequencies(&rope, 8, f);
    assert_true(f[0] == 1 && fabs(f[1] - 0.05) < 1e-16 && fabs(f[2] - 0.02) < 1e-17 && fabs(f[3] - 0.000125) < 1e-19);
}

static void test_describe(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    char text[400], cut[20];
    assert_int_equal(model_open_synthetic(&m, &small), 0);
    model_describe(&m, text, sizeof text);
    assert_string_equal(text,
                        "qwen2, 2 layers, hidden 48, ffn 80, 4 query and 2 KV heads of 16, vocabulary 50, context "
                        "128, rope base 10000 (plain), own output, 0.0 M parameters: F32 5 seeded F32 22");
    model_describe(&m, cut, sizeof cut);
    assert_string_equal(cut, "qwen2, 2 layers, hi");
    model_close(&m);
}

static void test_open_nothing(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    assert_int_equal(model_open(&m, "no-such-model"), -1);
    assert_non_null(strstr(fail_text(), "nor a known name (smollm2-135m, "));
    assert_int_equal(model_open(&m, "/no/such/file.gguf"), -1);
    assert_non_null(strstr(fail_text(), "/no/such/file.gguf: No such file or directory"));
    assert_int_equal(model_open(&m, "/dev/null"), -1);
    assert_non_null(strstr(fail_text(), "/dev/null: not a regular file"));
    model_close(&m);
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_synthetic),
        cmocka_unit_test(test_synthetic_defaults), cmocka_unit_test(test_synthetic_refused),
        cmocka_unit_test(test_no_memory),          cmocka_unit_test(test_rope_golden),
        cmocka_unit_test(test_rope_plain),         cmocka_unit_test(test_describe),
        cmocka_unit_test(test_open_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
