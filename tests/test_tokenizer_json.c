/* tokenizer.json and tokenizer_config.json: what they may say, and files that are damaged or lie. */
#include "core/chat.h"
#include "tests/temp_folder.h"
#include "tests/tokenizer_cases.h"

#include <unistd.h>

static void write_file(const char *name, const char *text, size_t n)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", temp_folder, name);
    if (!text) {
        unlink(path);
        return;
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

#define ADDED "[{\"id\":5,\"content\":\"<m>\",\"special\":true}]"
#define VOCAB "{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"abc\":4,\"\u0120\":6}"
#define MODEL "{\"type\":\"BPE\",\"vocab\":" VOCAB ",\"merges\":[\"a b\",\"ab c\"]}"
#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}"

/* A tokenizer.json of these parts, and a tokenizer_config.json or none. */
static int open_parts(struct tokenizer *t, const char *model, const char *added, const char *pre, const char *rest,
                      const char *config)
{
    char text[2048];
    const int n = snprintf(text, sizeof text, "{\"added_tokens\":%s,\"pre_tokenizer\":%s,%s\"model\":%s}", added, pre,
                           rest, model);
    write_file("tokenizer.json", text, (size_t)n);
    write_file("tokenizer_config.json", config, config ? strlen(config) : 0);
    return tokenizer_open_json(t, temp_folder);
}

static void check_refused(int rc, struct tokenizer *t, const char *says)
{
    if (rc != -1) fail_msg("opened: %s", says);
    if (!strstr(fail_text(), says)) fail_msg("'%s' says not '%s'", fail_text(), says);
    if (!strstr(fail_text(), temp_folder)) fail_msg("'%s' names not the file", fail_text());
    tokenizer_close(t);
}

static void test_accepted(void **state)
{
    (void)state;
    struct tokenizer t = { 0 };
    char digest[TOKENIZER_DIGEST_CHARS + 1];
    if (open_parts(&t, MODEL, ADDED, BYTES, "", NULL) != 0) fail_msg("%s", fail_text());
    assert_int_equal(t.n_tokens, 7);
    assert_int_equal(t.bos_id, -1);
    assert_int_equal(t.eos_id, -1);
    assert_false(t.add_bos);
    memcpy(digest, t.digest, sizeof digest);
    tokenizer_close(&t);
    static const char *const same[] = {
        "{\"vocab\":" VOCAB ",\"merges\":[\"a b\",\"ab c\"]}", /* older files name no type */
        "{\"type\":\"BPE\",\"vocab\":" VOCAB ",\"merges\":[[\"a\",\"b\"],[\"ab\",\"c\"]]}",
        "{\"type\":\"BPE\",\"vocab\":" VOCAB ",\"merges\":[\"#version: 0.2\",\"a b\",[\"ab\",\"c\"]]}",
        "{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":\"\",\"end_of_word_"
        "suffix\":\"\","
        "\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":" VOCAB ",\"merges\":[\"a b\",\"ab c\"]}",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        if (open_parts(&t, same[i], ADDED, BYTES, "", "{}") != 0) fail_msg("%s", fail_text());
        assert_string_equal(t.digest, digest);
        tokenizer_close(&t);
    }
    /* a hole in the ids is a token that nothing becomes and that is no text */
    if (open_parts(&t, MODEL, "[{\"id\":9,\"content\":\"<m>\",\"special\":false}]", BYTES, "", NULL) != 0)
        fail_msg("%s", fail_text());
    const int32_t ids[] = { 0, 7, 8, 9, 6 };
    char *text = NULL;
    size_t n = 0;
    assert_int_equal(t.n_tokens, 10);
    assert_int_equal(tokenizer_decode(&t, ids, 5, 0, &text, &n), 0);
    assert_string_equal(text, "a<m> ");
    mem_free(text);
    tokenizer_close(&t);
}

static void test_bad_vocabularies(void **state)
{
    (void)state;
    static const char *const models[][2] = {
        { "7", "model is an integer: an object is needed" },
        { "{}", "model: vocab is missing" },
        { "{\"type\":\"Unigram\",\"vocab\":[]}", "model: type 'Unigram' is not handled: only BPE" },
        { "{\"type\":\"WordPiece\",\"vocab\":{}}", "model: type 'WordPiece' is not handled" },
        { "{\"vocab\":[]}", "model: vocab is an array: an object is needed" },
        { "{\"vocab\":{\"a\":\"0\"}}", "model.vocab: token 'a': its id is no integer" },
        { "{\"vocab\":{\"a\":0.5}}", "its id is no integer" },
        { "{\"vocab\":{\"a\":-1}}", "token 'a': id -1: 0 to 4194303 are possible" },
        { "{\"vocab\":{\"a\":4194304}}", "token 'a': id 4194304" },
        { "{\"vocab\":{\"a\":9223372036854775807}}", "id 9223372036854775807" },
        { "{\"vocab\":{\"a\":99999999999999999999}}", "tokenizer.json:1:" }, /* the JSON reader's own refusal */
        { "{\"vocab\":{\"a\":0,\"b\":0}}", "model.vocab: 'a' and 'b' have the same id 0" },
        { "{\"vocab\":{\"a\":0,\"a\":1}}", "duplicate object key" },
        { "{\"vocab\":" VOCAB "}", "model: merges is missing" },
        { "{\"vocab\":" VOCAB ",\"merges\":{}}", "model: merges is an object: an array is needed" },
        { "{\"vocab\":" VOCAB ",\"merges\":[7]}",
          "model.merges[0]: \"left right\" or [\"left\", \"right\"] is needed" },
        { "{\"vocab\":" VOCAB ",\"merges\":[[\"a\"]]}", "model.merges[0]" },
        { "{\"vocab\":" VOCAB ",\"merges\":[\"a b\",[\"a\",1]]}", "model.merges[1]" },
        { "{\"vocab\":" VOCAB ",\"merges\":[\"a b\",[\"a\",\"b\",\"c\"]]}", "model.merges[1]" },
        { "{\"vocab\":" VOCAB ",\"merges\":[[\"a b\",\"c\"]]}", "merge 0: 'a b c': not two tokens" },
        { "{\"vocab\":" VOCAB ",\"merges\":[\"b c\"]}", "merge 0: 'b c': its result is no token" },
        { "{\"vocab\":" VOCAB ",\"merges\":[],\"dropout\":0.1}", "model: dropout is not handled" },
        { "{\"vocab\":" VOCAB ",\"merges\":[],\"byte_fallback\":true}", "model: byte_fallback is not handled" },
        { "{\"vocab\":" VOCAB ",\"merges\":[],\"byte_fallback\":1}", "byte_fallback is an integer: true or false" },
        { "{\"vocab\":" VOCAB ",\"merges\":[],\"end_of_word_suffix\":\"</w>\"}", "a prefix or suffix of subwords" },
        { "{\"vocab\":" VOCAB ",\"merges\":[],\"ignore_merges\":\"yes\"}", "ignore_merges is a string" },
    };
    static const char *const added[][2] = {
        { "{}", "added_tokens is an object: an array is needed" },
        { "[7]", "added_tokens[0]: content: a string is needed" },
        { "[{\"content\":\"<m>\"}]", "added_tokens[0]: token '<m>': its id is no integer" },
        { "[{\"id\":4194304,\"content\":\"<m>\"}]", "token '<m>': id 4194304" },
        { "[{\"id\":5,\"content\":\"\"}]", "added token 5 is empty" },
        { "[{\"id\":5,\"content\":\"ab\"}]", "'ab': id 5, but 3 in model.vocab" },
        { "[{\"id\":3,\"content\":\"<m>\"}]", "'<m>': id 3 is that of 'ab'" },
        { "[{\"id\":5,\"content\":\"<m>\"},{\"id\":5,\"content\":\"<m>\"}]", "added_tokens[1]: '<m>': twice" },
        { "[{\"id\":5,\"content\":\"<m>\"},{\"id\":7,\"content\":\"<m>\"}]", ": tokens 5 and 7 are the same: '<m>'" },
        { "[{\"id\":5,\"content\":\"<m>\",\"special\":true},{\"id\":7,\"content\":\"<m>\",\"special\":true}]",
          "added tokens 5 and 7 are the same: '<m>'" },
        { "[{\"id\":5,\"content\":\"<m>\",\"lstrip\":true}]", "'<m>': lstrip is not handled" },
        { "[{\"id\":5,\"content\":\"<m>\",\"single_word\":true}]", "'<m>': single_word is not handled" },
        { "[{\"id\":5,\"content\":\"<m>\",\"special\":\"yes\"}]", "special is a string" },
    };
    struct tokenizer t = { 0 };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        check_refused(open_parts(&t, models[i][0], ADDED, BYTES, "", NULL), &t, models[i][1]);
    for (size_t i = 0; i < sizeof added / sizeof *added; i++)
        check_refused(open_parts(&t, MODEL, added[i][0], BYTES, "", NULL), &t, added[i][1]);
}

static void test_bad_steps(void **state)
{
    (void)state;
    static const char *const pres[][2] = {
        { "null", "pre_tokenizer has no ByteLevel step" },
        { "7", "pre_tokenizer: an object is needed" },
        { "{}", "pre_tokenizer: type '' is not handled" },
        { "{\"type\":\"Metaspace\"}",
          "pre_tokenizer: type 'Metaspace' is not handled: Split, Digits and ByteLevel are" },
        { "{\"type\":\"ByteLevel\"}", "add_prefix_space is not handled" }, /* the library takes true */
        { "{\"type\":\"Sequence\"}", "pre_tokenizer: pretokenizers is missing" },
        { "{\"type\":\"Sequence\",\"pretokenizers\":[]}", "pre_tokenizer has no ByteLevel step" },
        { "{\"type\":\"Sequence\",\"pretokenizers\":[" BYTES ",{\"type\":\"Digits\"}]}",
          "pretokenizers[1]: type 'Digits' after ByteLevel" },
        { "{\"type\":\"Split\",\"pattern\":\"x\"}", "pattern is a string: an object is needed" },
        { "{\"type\":\"Split\",\"pattern\":{}}", "pattern: {\"Regex\": \"..\"}" },
        { "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"x\"},\"behavior\":\"MergedWithNext\"}",
          "behavior 'MergedWithNext' is not handled" },
        { "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(x\"},\"behavior\":"
          "\"Isolated\"}," BYTES "]}",
          "pattern '(x': missing closing parenthesis" },
        { "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Digits\"},{\"type\":\"Digits\"},{\"type\":\"Digits\"},"
          "{\"type\":\"Digits\"},{\"type\":\"Digits\"},{\"type\":\"Digits\"},{\"type\":\"Digits\"},{\"type\":"
          "\"Digits\"}," BYTES "]}",
          "pretokenizers[8]: more than 8 steps" },
    };
    static const char *const rests[][2] = {
        { "\"normalizer\":{\"type\":\"NFKC\"},", "normalizer: type 'NFKC' is not handled: only NFC is" },
        { "\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Lowercase\"}]},",
          "normalizer: normalizers[1]: type 'Lowercase'" },
        { "\"normalizer\":[],", "normalizer: an object is needed" },
        { "\"post_processor\":{\"type\":\"RobertaProcessing\"},", "post_processor: type 'RobertaProcessing'" },
        { "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{}},{\"SpecialToken\":{\"id\":"
          "\"<m>\"}}]},",
          "special tokens but one in front" },
        { "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<x>\"}}]},",
          "single: '<x>' is not in the vocabulary" },
        { "\"post_processor\":{\"type\":\"TemplateProcessing\"},", "single is missing" },
    };
    struct tokenizer t = { 0 };
    for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
        check_refused(open_parts(&t, MODEL, ADDED, pres[i][0], "", NULL), &t, pres[i][1]);
    for (size_t i = 0; i < sizeof rests / sizeof *rests; i++)
        check_refused(open_parts(&t, MODEL, ADDED, BYTES, rests[i][0], NULL), &t, rests[i][1]);
}

#define BEGINS                                                                                                         \
    "\"post_processor\":{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"},{\"type\":"                    \
    "\"TemplateProcessing\","                                                                                          \
    "\"single\":[{\"SpecialToken\":{\"id\":\"<m>\"}},{\"Sequence\":{\"id\":\"A\"}}]}]},"

static void test_ends(void **state)
{
    (void)state;
    static const struct {
        const char *rest, *config;
        int bos_id, eos_id, add_bos;
    } cases[] = {
        { "", "{}", -1, -1, 0 },
        { "", "{\"bos_token\":\"<m>\",\"eos_token\":{\"content\":\"abc\"}}", 5, 4, 0 },
        { "", "{\"bos_token\":\"<m>\",\"add_bos_token\":true}", 5, -1, 1 },
        { "", "{\"bos_token\":\"<m>\",\"add_bos_token\":null}", 5, -1, 0 },
        { "", "{\"bos_token\":null,\"add_eos_token\":false}", -1, -1, 0 },
        { BEGINS, NULL, 5, -1, 1 },
        { BEGINS, "{\"add_bos_token\":false}", 5, -1, 0 },
    };
    static const char *const refused[][2] = {
        { "{\"bos_token\":7}", "tokenizer_config.json: bos_token: a string" },
        { "{\"eos_token\":\"<x>\"}", "tokenizer_config.json: eos_token: '<x>' is not in the vocabulary" },
        { "{\"add_bos_token\":\"true\"}", "tokenizer_config.json: add_bos_token is a string" },
        { "{\"add_bos_token\":true}", "add_bos_token is set, but no token is named as bos" },
        { "{\"add_eos_token\":true}", "add_eos_token is not handled" },
        { "[]", "tokenizer_config.json: an array: an object is needed" },
        { "{", "tokenizer_config.json:1:1: " },
    };
    struct tokenizer t = { 0 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (open_parts(&t, MODEL, ADDED, BYTES, cases[i].rest, cases[i].config) != 0) fail_msg("%s", fail_text());
        assert_int_equal(t.bos_id, cases[i].bos_id);
        assert_int_equal(t.eos_id, cases[i].eos_id);
        assert_int_equal(t.add_bos, cases[i].add_bos);
        tokenizer_close(&t);
    }
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        check_refused(open_parts(&t, MODEL, ADDED, BYTES, "", refused[i][0]), &t, refused[i][1]);
}

static void test_templates(void **state)
{
    (void)state;
    static const char qwen3[] =
        "<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n')";
    static const char *const configs[] = {
        "{\"chat_template\":\"You are a helpful assistant.<|im_end|>\"}",
        "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"x\"},{\"name\":\"default\",\"template\":"
        "\"You are a helpful assistant.<|im_end|>\"}]}",
    };
    struct tokenizer t = { 0 };
    for (size_t i = 0; i < 2; i++) {
        if (open_parts(&t, MODEL, ADDED, BYTES, "", configs[i]) != 0) fail_msg("%s", fail_text());
        assert_ptr_equal(t.chat, chat_format_find(&t, "qwen2"));
        tokenizer_close(&t);
    }
    write_file("chat_template.jinja", qwen3, sizeof qwen3 - 1); /* it goes before the config's */
    if (open_parts(&t, MODEL, ADDED, BYTES, "", configs[0]) != 0) fail_msg("%s", fail_text());
    assert_ptr_equal(t.chat, chat_format_find(&t, "qwen3"));
    tokenizer_close(&t);
    write_file("chat_template.jinja", NULL, 0);
    if (open_parts(&t, MODEL, ADDED, BYTES, "", "{\"chat_template\":7}") != 0) fail_msg("%s", fail_text());
    assert_null(t.chat);
    tokenizer_close(&t);
}

static void test_no_files(void **state)
{
    (void)state;
    struct tokenizer t = { 0 };
    write_file("tokenizer.json", NULL, 0);
    check_refused(tokenizer_open_json(&t, temp_folder), &t, "there is no tokenizer.json");
    write_file("tokenizer.json", "", 0);
    check_refused(tokenizer_open_json(&t, temp_folder), &t, "tokenizer.json:1:");
    write_file("tokenizer.json", "[]", 2);
    check_refused(tokenizer_open_json(&t, temp_folder), &t, "tokenizer.json: an array: an object is needed");
    write_file("tokenizer.json", "{}", 2);
    check_refused(tokenizer_open_json(&t, temp_folder), &t, "model is missing");
    write_file("tokenizer.json", "{\"model\":\"\xFF\"}", 13);
    check_refused(tokenizer_open_json(&t, temp_folder), &t, "tokenizer.json:1:10: unable to decode byte 0xff");
    char deep[5000];
    memset(deep, '[', sizeof deep);
    write_file("tokenizer.json", deep, sizeof deep);
    check_refused(tokenizer_open_json(&t, temp_folder), &t, "maximum parsing depth");
}

/* A file that is cut short, or has some bytes changed, is refused or is another valid one: it never breaks anything
 * (test-san watches). */
static void test_damaged(void **state)
{
    (void)state;
    static const char *const names[] = { "smollm", "llama-bpe" };
    uint64_t random = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
    write_file("tokenizer_config.json", NULL, 0);
    for (size_t k = 0; k < 2; k++) {
        char path[128], text[1 << 15], damaged[sizeof text];
        snprintf(path, sizeof path, GOLDEN "tokenizer_%s/tokenizer.json", names[k]);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        const size_t n = fread(text, 1, sizeof text, f);
        fclose(f);
        assert_in_range(n, 1000, sizeof text - 1);
        struct tokenizer t = { 0 };
        for (size_t cut = 0; cut < n - 2; cut += 97) {
            write_file("tokenizer.json", text, cut);
            check_refused(tokenizer_open_json(&t, temp_folder), &t, "tokenizer.json:");
        }
        int n_refused = 0;
        for (int round = 0; round < 400; round++) {
            memcpy(damaged, text, n);
            for (int i = 0; i < 1 + round % 3; i++) {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                damaged[(random >> 8) % n] = (char)(0x20 + random % 0x5F);
            }
            write_file("tokenizer.json", damaged, n);
            const int rc = tokenizer_open_json(&t, temp_folder);
            n_refused += rc != 0;
            if (rc != 0) check_refused(rc, &t, "tokenizer.json");
            tokenizer_close(&t);
        }
        assert_true(n_refused > 100); /* else the damage was none */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted), cmocka_unit_test(test_bad_vocabularies), cmocka_unit_test(test_bad_steps),
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_templates),        cmocka_unit_test(test_no_files),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, temp_folder_close);
}
