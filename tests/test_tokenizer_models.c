/* The real vocabularies, where the models are in the user's cache: token ids against the `tokenizers` library's, and
 * conversations against the models' own templates (goldens: tests/golden/make_tokenizer_golden.py). */
#include "core/chat.h"
#include "core/file_map.h"
#include "core/gguf.h"
#include "core/model_known.h"
#include "core/model_read.h"
#include "tests/tokenizer_cases.h"

#include <unistd.h>

enum { MAX_MESSAGES = 8 };

static void check_chats(const struct tokenizer *t, const char *name)
{
    json_t *cases = cases_read();
    const json_t *chats = json_object_get(cases, "chats");
    const json_t *want = json_object_get(json_object_get(cases, "chat_ids"), name);
    assert_int_equal(json_array_size(want), 2 * json_array_size(chats)); /* with the reply's opening, and without */
    for (size_t i = 0; i < json_array_size(want); i++) {
        const json_t *chat = json_array_get(chats, i / 2);
        struct chat_message messages[MAX_MESSAGES];
        const size_t n = json_array_size(chat);
        assert_true(n <= MAX_MESSAGES);
        for (size_t k = 0; k < n; k++) {
            messages[k].role = json_string_value(json_array_get(json_array_get(chat, k), 0));
            messages[k].content = cases_view(json_array_get(json_array_get(chat, k), 1));
        }
        int32_t *ids = NULL;
        size_t n_ids = 0;
        if (chat_render(t, t->chat, messages, n, i % 2 == 0, &ids, &n_ids) != 0) fail_msg("%s", fail_text());
        cases_same(name, messages[0].content, ids, n_ids, json_array_get(want, i));
        mem_free(ids);
    }
    json_decref(cases);
}

static void check_model(const char *name, const char *chat, int n_tokens, int bos_id, int eos_id)
{
    char path[4096];
    struct file_map map = { 0 };
    struct gguf g = { 0 };
    struct tokenizer t = { 0 };
    assert_int_equal(model_known_path(name, path, sizeof path), 0);
    if (access(path, R_OK) != 0) {
        print_message("# skip: the model %s is not in the cache\n", name);
        skip();
    }
    if (file_map_open(&map, path) != 0 || gguf_open(&g, map.bytes, map.n_bytes) != 0 ||
        model_gguf_tokenizer(&t, &g, n_tokens) != 0)
        fail_msg("%s", fail_text());
    assert_int_equal(t.n_tokens, n_tokens);
    assert_int_equal(t.bos_id, bos_id);
    assert_int_equal(t.eos_id, eos_id);
    assert_false(t.add_bos);
    assert_ptr_equal(t.chat, chat_format_find(&t, chat));
    cases_check(&t, name);
    check_chats(&t, name);
    tokenizer_close(&t);
    gguf_close(&g);
    file_map_close(&map);
}

static void test_smollm2(void **state)
{
    (void)state;
    check_model("smollm2-135m", "smollm2", 49152, 1, 2);
}

static void test_qwen2(void **state)
{
    (void)state;
    check_model("qwen2.5-coder-0.5b", "qwen2.5", 151936, 151643, 151645);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smollm2),
        cmocka_unit_test(test_qwen2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
