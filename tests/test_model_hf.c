/* Models from Hugging Face folders: the tiny checkpoints of tests/golden (make_logits_golden.py) and changed copies. */
#include "core/err.h"
#include "core/mem.h"
#include "core/model.h"
#include "tests/temp_folder.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_qwen2_sharded(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    float row[64];
    assert_int_equal(model_open(&m, "tests/golden/tiny-qwen2/"), 0);
    const struct model_shape *s = &m.shape;
    assert_true(s->family == FAMILY_QWEN2 && s->n_layers == 2 && s->hidden == 64 && s->ffn == 96 && s->vocab == 96);
    assert_true(s->n_heads == 4 && s->n_kv_heads == 2 && s->head_dim == 16 && s->context == 256 && s->rms_eps == 1e-5);
    assert_true(s->qkv_bias && !s->qk_norm && !s->tied && s->rope.style == ROPE_HALVES && s->rope.base == 1e6);
    for (int l = 0; l < 2; l++) {
        const struct model_layer *layer = &m.layers[l];
        assert_true(layer->q_bias.data && layer->q_bias.n_rows == 1 && layer->q_bias.n_cols == 64);
        assert_true(layer->k_bias.n_cols == 32 && layer->down.n_rows == 64 && layer->down.n_cols == 96);
        assert_true(layer->q.type == TENSOR_BF16);
        tensor_row(&layer->attn_norm, 0, row);
        double mean = 0; /* norms were made as 1 + 0.2 g: the mean of 64 is off by 0.2 / 8 = 0.025 or so; 8 sigma */
        for (int i = 0; i < 64; i++) mean += (double)row[i] / 64;
        assert_true(fabs(mean - 1) < 0.2);
    }
    assert_string_equal(m.name, "tiny-qwen2");
    assert_true(m.n_params == 2 * 96 * 64 + 64 + 2 * (2 * 64 + 64 * (64 + 32 + 32) + 64 * 64 + 3 * 64 * 96 + 128));
    model_close(&m);
}

static void test_rope_forms(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    assert_int_equal(model_open(&m, "tests/golden/tiny-llama3"), 0);
    assert_true(m.shape.rope.scaling == ROPE_LLAMA3 && m.shape.rope.base == 500 && m.shape.rope.factor == 4);
    assert_true(m.shape.rope.low_freq_factor == 1 && m.shape.rope.high_freq_factor == 4);
    assert_true(m.shape.rope.original_context == 32 && m.shape.rope.attention_factor == 1);
    model_close(&m);
    assert_int_equal(model_open(&m, "tests/golden/tiny-linear"), 0);
    assert_true(m.shape.rope.scaling == ROPE_LINEAR && m.shape.rope.factor == 2);
    model_close(&m);
    assert_int_equal(model_open(&m, "tests/golden/tiny-yarn"), 0);
    assert_true(m.shape.rope.scaling == ROPE_YARN && m.shape.rope.beta_fast == 4 && m.shape.rope.beta_slow == 0.5);
    assert_true(m.shape.rope.original_context == 64 && fabs(m.shape.rope.attention_factor - 1.138629436111989) < 1e-15);
    model_close(&m);
    assert_int_equal(model_open(&m, "tests/golden/tiny-qwen3"), 0);
    assert_true(m.shape.qk_norm && m.shape.head_dim == 16 && m.shape.hidden == 32 && m.layers[1].q_norm.n_cols == 16);
    model_close(&m);
    assert_int_equal(model_open(&m, "tests/golden/tiny-llama"), 0);
    assert_true(m.shape.tied && m.output.data == m.embedding.data && m.embedding.type == TENSOR_F16);
    model_close(&m);
}

/* A folder of its own: the golden's files by links, config.json with the keys of patch set (null: taken out), the file
 * `without` left out. */
static const char *changed_folder(const char *golden, const char *patch, const char *without)
{
    static const char *const files[] = { "model.safetensors", "model.safetensors.index.json",
                                         "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors" };
    static int number;
    static char folder[PATH_MAX];
    char from[PATH_MAX], path[PATH_MAX + 64], to[PATH_MAX + 64];
    snprintf(folder, sizeof folder, "%.2000s/folder%d", temp_folder, number++);
    if (mkdir(folder, 0777) != 0 || !realpath("tests/golden", from)) fail_msg("no folder to work in");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (without && strcmp(without, files[i]) == 0) continue;
        snprintf(path, sizeof path, "%.3000s/%s/%s", from, golden, files[i]);
        snprintf(to, sizeof to, "%s/%s", folder, files[i]);
        if (access(path, F_OK) == 0) assert_int_equal(symlink(path, to), 0);
    }
    snprintf(path, sizeof path, "tests/golden/%s/config.json", golden);
    snprintf(to, sizeof to, "%s/config.json", folder);
    json_t *config = json_load_file(path, 0, NULL), *changes = json_loads(patch, 0, NULL), *x;
    const char *key;
    assert_true(config && changes);
    json_object_foreach(changes, key, x)
    {
        if (json_is_null(x))
            json_object_del(config, key);
        else
            json_object_set(config, key, x);
    }
    assert_int_equal(json_dump_file(config, to, 0), 0);
    json_decref(config);
    json_decref(changes);
    return folder;
}

static void test_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *golden, *patch, *without, *message;
    } cases[] = {
        { "tiny-llama", "{\"model_type\":\"mistral\"}", NULL, "key model_type: 'mistral' is not supported" },
        { "tiny-llama", "{\"model_type\":null}", NULL, "key model_type is missing" },
        { "tiny-llama", "{\"hidden_size\":null}", NULL, "key hidden_size is missing" },
        { "tiny-llama", "{\"hidden_size\":\"64\"}", NULL, "key hidden_size: not an integer" },
        { "tiny-llama", "{\"hidden_size\":0}", NULL, "key hidden_size: 0, allowed are 1 to" },
        { "tiny-llama", "{\"hidden_size\":99999999999}", NULL, "key hidden_size: 99999999999, allowed" },
        { "tiny-llama", "{\"hidden_size\":128}", NULL,
          "model.safetensors: tensor model.embed_tokens.weight: its shape" },
        { "tiny-llama", "{\"intermediate_size\":64}", NULL,
          "model.layers.0.mlp.gate_proj.weight: its shape is not 64 x 64" },
        { "tiny-llama", "{\"num_hidden_layers\":3}", NULL, "tensor model.layers.2.input_layernorm.weight is missing" },
        { "tiny-llama", "{\"num_hidden_layers\":1}", NULL,
          "tensor model.layers.1.input_layernorm.weight is not one of" },
        { "tiny-llama", "{\"num_key_value_heads\":3}", NULL, "4 query heads are not a multiple of 3 KV heads" },
        { "tiny-llama", "{\"hidden_act\":\"gelu\"}", NULL, "key hidden_act: 'gelu' is not supported" },
        { "tiny-llama", "{\"attention_bias\":true}", NULL, "key attention_bias: true is not supported" },
        { "tiny-llama", "{\"mlp_bias\":true}", NULL, "key mlp_bias: true is not supported" },
        { "tiny-llama", "{\"tie_word_embeddings\":false}", NULL, "tensor lm_head.weight is missing" },
        { "tiny-llama", "{\"tie_word_embeddings\":1}", NULL, "key tie_word_embeddings: neither true nor false" },
        { "tiny-llama", "{\"rms_norm_eps\":0}", NULL, "RMS norm epsilon 0" },
        { "tiny-llama", "{\"rms_norm_eps\":\"x\"}", NULL, "key rms_norm_eps: not a number" },
        { "tiny-llama", "{\"partial_rotary_factor\":0.5}", NULL, "key partial_rotary_factor: 0.5" },
        { "tiny-llama", "{\"quantization_config\":{}}", NULL, "key quantization_config" },
        { "tiny-llama", "{\"rope_scaling\":7}", NULL, "key rope_scaling: not an object" },
        { "tiny-llama", "{\"rope_scaling\":{}}", NULL, "key rope_scaling: it has no rope_type" },
        { "tiny-llama", "{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2}}", NULL, "'dynamic' is not supported" },
        { "tiny-llama", "{\"rope_scaling\":{\"type\":\"linear\"}}", NULL, "key rope_scaling: it has no factor" },
        { "tiny-llama", "{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}}", NULL, "rope scaling factor 0.5" },
        { "tiny-llama", "{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2}}", NULL,
          "key original_max_position_embeddings is missing" },
        { "tiny-llama", "{\"rope_theta\":-1}", NULL, "rope base -1" },
        { "tiny-qwen2", "{\"use_sliding_window\":true}", NULL, "key use_sliding_window: true is not supported" },
        { "tiny-qwen2", "{\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", NULL,
          "key layer_types: layer 1" },
        { "tiny-qwen2", "{\"model_type\":\"llama\"}", NULL, "self_attn.k_proj.bias is not one of this model_type's" },
        { "tiny-qwen2", "{}", "model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors: No such file" },
        { "tiny-llama", "{}", "model.safetensors", "model.safetensors: No such file" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model m = { 0 };
        const int rc = model_open(&m, changed_folder(cases[i].golden, cases[i].patch, cases[i].without));
        if (rc != -1 || !strstr(fail_text(), cases[i].message) || !strstr(fail_text(), temp_folder))
            fail_msg("case %zu said '%s', not '%s'", i, rc ? fail_text() : "nothing", cases[i].message);
        model_close(&m);
    }
}

/* What transformers' defaults say where a key is absent. */
static void test_defaults(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    const char *folder =
        changed_folder("tiny-llama", "{\"rope_theta\":null,\"rms_norm_eps\":null,\"hidden_act\":null}", NULL);
    assert_int_equal(model_open(&m, folder), 0);
    assert_true(m.shape.rope.base == 10000 && m.shape.rms_eps == 1e-6);
    model_close(&m);
    folder = changed_folder("tiny-llama",
                            "{\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":40,\"mscale\":1,"
                            "\"mscale_all_dim\":0.5}}",
                            NULL);
    assert_int_equal(model_open(&m, folder), 0);
    assert_true(fabs(m.shape.rope.attention_factor - 1.1557219901962608) <
                1e-15); /* tests/golden/rope.txt, yarn-mscale */
    assert_int_equal(m.shape.rope.original_context, 256);
    model_close(&m);
}

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    FILE *file = fopen(path, "w");
    assert_true(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void test_bad_json(void **unused)
{
    (void)unused;
    static const struct {
        const char *file, *text, *message;
    } cases[] = {
        { "config.json", "{\"a\": 1,\n \"a\": 2}", "config.json:2:4: duplicate object key" },
        { "config.json", "", "config.json:1:0: '[' or '{' expected" },
        { "config.json", "[]", "config.json: not a JSON object" },
        { "model.safetensors.index.json", "{}", "model.safetensors.index.json: key weight_map: not an object" },
        { "model.safetensors.index.json", "{\"weight_map\":{\"x\":\"../y\"}}",
          "key weight_map: x: not the name of a file" },
        { "model.safetensors.index.json", "{\"weight_map\":{\"x\":5}}", "key weight_map: x: not the name of a file" },
        { "model.safetensors.index.json", "{\"weight_map\":{\"x\":\"model-00001-of-00002.safetensors\"}}",
          "model.safetensors.index.json: tensor model.embed_tokens.weight is missing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model m = { 0 };
        const char *folder = changed_folder("tiny-qwen2", "{}", NULL);
        write_text(folder, cases[i].file, cases[i].text);
        assert_int_equal(model_open(&m, folder), -1);
        if (!strstr(fail_text(), cases[i].message)) fail_msg("case %zu said '%s'", i, fail_text());
        model_close(&m);
    }
}

/* More tokens than the embedding has rows. */
static void test_tokenizer_too_big(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    char from[PATH_MAX], to[PATH_MAX + 64];
    const char *folder = changed_folder("tiny-llama", "{}", NULL);
    assert_non_null(realpath("tests/golden/tokenizer_smollm/tokenizer.json", from));
    snprintf(to, sizeof to, "%s/tokenizer.json", folder);
    assert_int_equal(symlink(from, to), 0);
    assert_int_equal(model_open(&m, folder), -1);
    assert_non_null(strstr(fail_text(), "tokenizer.json: 546 tokens, vocab_size in config.json is 96"));
    model_close(&m);
}

/* The digest is of the contents: another folder with the same files has the same, a changed config another. */
static void test_digest(void **unused)
{
    (void)unused;
    struct model a = { 0 }, b = { 0 }, c = { 0 };
    assert_int_equal(model_open(&a, changed_folder("tiny-qwen2", "{}", NULL)), 0);
    assert_int_equal(model_open(&b, changed_folder("tiny-qwen2", "{}", NULL)), 0);
    assert_int_equal(model_open(&c, changed_folder("tiny-qwen2", "{\"rope_theta\":20000}", NULL)), 0);
    assert_string_equal(a.digest, b.digest);
    assert_string_not_equal(a.digest, c.digest);
    model_close(&a);
    model_close(&b);
    model_close(&c);
}

static void test_no_memory(void **unused)
{
    (void)unused;
    int n = 0;
    for (int rc = -1; rc != 0; n++) {
        struct model m = { 0 };
        mem_fail_after(n);
        rc = model_open(&m, "tests/golden/tiny-qwen2");
        mem_fail_after(-1);
        if (rc != 0) assert_non_null(strstr(fail_text(), "out of memory"));
        model_close(&m);
    }
    assert_true(n >= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qwen2_sharded),     cmocka_unit_test(test_rope_forms), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_defaults),          cmocka_unit_test(test_bad_json),   cmocka_unit_test(test_digest),
        cmocka_unit_test(test_tokenizer_too_big), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, temp_folder_close);
}
