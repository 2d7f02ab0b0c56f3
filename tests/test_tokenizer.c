/* The token ids of the `tokenizers` library, and bytes that are no text. */
#include "tests/tokenizer_cases.h"

static void test_json_agrees(void **state)
{
    (void)state;
    static const char *const names[] = { "smollm", "qwen2", "gpt-2", "llama-bpe" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tokenizer t = { 0 };
        cases_open(&t, names[i]);
        cases_check(&t, names[i]);
        tokenizer_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
