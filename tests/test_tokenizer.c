/* Token ids against the `tokenizers` library's (goldens: tests/golden/make_tokenizer_golden.py), bytes that are no text,
 * and vocabularies that lie. */
#include "core/tokenizer_json.h"
#include "tests/tokenizer_cases.h"

static const char *const names[] = { "smollm", "qwen2", "gpt-2", "llama-bpe" };
enum { N_NAMES = sizeof names / sizeof *names };

static void test_json_agrees(void **state)
{
    (void)state;
    for (int i = 0; i < N_NAMES; i++) {
        struct tokenizer t = { 0 };
        cases_open(&t, names[i]);
        cases_check(&t, names[i]);
        tokenizer_close(&t);
    }
}

/* The plans that are known by name are those that the library writes into a tokenizer.json. */
static void test_named_plans_agree(void **state)
{
    (void)state;
    for (int i = 0; i < N_NAMES; i++) {
        struct tokenizer by_file = { 0 }, by_name = { 0 };
        struct tokenizer_json j = { 0 };
        char folder[128];
        snprintf(folder, sizeof folder, GOLDEN "tokenizer_%s", names[i]);
        cases_open(&by_file, names[i]);
        assert_int_equal(tokenizer_json_read(&j, folder), 0);
        assert_int_equal(tokenizer_json_vocabulary(&j), 0);
        assert_int_equal(tokenizer_json_merges(&j), 0);
        const struct tokenizer_source src = { .model = "gpt2",
                                              .pre = names[i],
                                              .n_tokens = j.n_tokens,
                                              .tokens = j.tokens,
                                              .token_types = j.types,
                                              .n_merges = j.n_merges,
                                              .merges = j.merges,
                                              .bos_id = by_file.bos_id,
                                              .eos_id = -1,
                                              .add_bos = -1 };
        if (tokenizer_open(&by_name, &src) != 0) fail_msg("%s", fail_text());
        tokenizer_json_close(&j); /* nothing of the source is kept */
        assert_string_equal(by_name.digest, by_file.digest);
        assert_int_equal(by_name.add_bos, by_file.add_bos);
        cases_check(&by_name, names[i]);
        tokenizer_close(&by_name);
        tokenizer_close(&by_file);
    }
}

struct ids {
    int32_t *at;
    size_t n;
};

static struct ids encode(const struct tokenizer *t, struct str_view text, unsigned flags)
{
    struct ids ids = { NULL, 0 };
    if (tokenizer_encode(t, text.at, text.n, flags, &ids.at, &ids.n) != 0) fail_msg("%s", fail_text());
    return ids;
}

static void check_round_trip(const struct tokenizer *t, struct str_view bytes)
{
    struct ids ids = encode(t, bytes, 0);
    char *back = NULL;
    size_t n = 0;
    assert_int_equal(tokenizer_decode(t, ids.at, ids.n, 0, &back, &n), 0);
    assert_int_equal(n, bytes.n);
    assert_memory_equal(back, bytes.at, n);
    mem_free(back);
    mem_free(ids.at);
}

/* encode(a + b) = encode(a) + encode(b) */
static void check_apart(const struct tokenizer *t, struct str_view a, struct str_view b)
{
    char both[256];
    assert_true(a.n + b.n <= sizeof both);
    memcpy(both, a.at, a.n);
    memcpy(both + a.n, b.at, b.n);
    struct ids x = encode(t, a, 0), y = encode(t, b, 0), xy = encode(t, (struct str_view){ both, a.n + b.n }, 0);
    assert_int_equal(xy.n, x.n + y.n);
    assert_memory_equal(xy.at, x.at, x.n * sizeof *x.at);
    assert_memory_equal(xy.at + x.n, y.at, y.n * sizeof *y.at);
    mem_free(x.at);
    mem_free(y.at);
    mem_free(xy.at);
}

#define BYTES(text)                                                                                                    \
    {                                                                                                                  \
        text, sizeof text - 1                                                                                          \
    }

static void test_broken_utf8(void **state)
{
    (void)state;
    static const struct str_view bad[] = {
        BYTES("\x80"),
        BYTES("\xBF\xBF"),
        BYTES("\xC0\x80"),
        BYTES("\xC1\xBF"),
        BYTES("\xC3"),
        BYTES("\xE0\x9F\xBF"),
        BYTES("\xE4\xBD"),
        BYTES("\xED\xA0\x80"),
        BYTES("\xED\xBF\xBF"),
        BYTES("\xF0\x8F\xBF\xBF"),
        BYTES("\xF0\x9F\x98"),
        BYTES("\xF4\x90\x80\x80"),
        BYTES("\xF5\x80"),
        BYTES("\xFE\xFF"),
        BYTES("\xF8\x88\x80\x80\x80"),
    };
    static const struct str_view good[] = { BYTES("the  end"), BYTES(" 12 it's\n"),
                                            BYTES("\xE4\xBD\xA0\xF0\x9F\x98\x80"), BYTES("caf\xC3\xA9 "),
                                            BYTES("<|im_end|>") };
    for (int k = 0; k < N_NAMES; k++) {
        struct tokenizer t = { 0 };
        cases_open(&t, names[k]);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            check_round_trip(&t, bad[i]);
            for (size_t j = 0; j < sizeof good / sizeof *good; j++) {
                check_apart(&t, good[j], bad[i]);
                check_apart(&t, bad[i], good[j]);
            }
        }
        tokenizer_close(&t);
    }
}

/* Any bytes come back as they were; qwen2 is left out, for it normalises what is UTF-8. */
static void test_any_bytes_survive(void **state)
{
    (void)state;
    uint64_t random = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
    struct tokenizer t[3] = { 0 };
    cases_open(&t[0], "smollm");
    cases_open(&t[1], "gpt-2");
    cases_open(&t[2], "llama-bpe");
    for (int round = 0; round < 3000; round++) {
        char bytes[64];
        size_t n = (size_t)round % sizeof bytes;
        for (size_t i = 0; i < n; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            /* leading and following bytes of UTF-8 are drawn often, so that some characters come out whole */
            static const char likely[] = "\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x98\x80 a<|1\n";
            bytes[i] = random >> 63 ? (char)(random >> 32) : likely[(random >> 32) % (sizeof likely - 1)];
        }
        check_round_trip(&t[round % 3], (struct str_view){ bytes, n });
    }
    for (int i = 0; i < 3; i++) tokenizer_close(&t[i]);
}

static void test_added_and_ends(void **state)
{
    (void)state;
    struct tokenizer t = { 0 };
    cases_open(&t, "llama-bpe"); /* its template puts <|endoftext|> before a text */
    const struct str_view end = BYTES("<|endoftext|>"), text = BYTES("a<|im_end|>b");
    assert_int_equal(t.bos_id, tokenizer_find_added(&t, end));
    assert_true(t.bos_id >= 0 && t.add_bos);
    assert_int_equal(tokenizer_find_added(&t, (struct str_view)BYTES("<|none|>")), -1);
    struct ids with = encode(&t, text, TOKENIZER_BOS), without = encode(&t, text, 0);
    assert_int_equal(with.n, without.n + 1);
    assert_int_equal(with.at[0], t.bos_id);
    t.add_bos = false;
    struct ids unwanted = encode(&t, text, TOKENIZER_BOS);
    assert_int_equal(unwanted.n, without.n);
    mem_free(unwanted.at);
    mem_free(without.at);
    mem_free(with.at);

    struct ids ids = encode(&t, text, TOKENIZER_CONTROL);
    char *back = NULL;
    size_t n = 0;
    assert_int_equal(ids.n, 3);
    assert_int_equal(tokenizer_decode(&t, ids.at, ids.n, TOKENIZER_CONTROL, &back, &n), 0);
    assert_string_equal(back, "a<|im_end|>b");
    mem_free(back);
    assert_int_equal(tokenizer_decode(&t, ids.at, ids.n, 0, &back, &n), 0);
    assert_string_equal(back, "ab");
    mem_free(back);
    ids.at[1] = t.n_tokens;
    assert_int_equal(tokenizer_decode(&t, ids.at, ids.n, 0, &back, &n), -1);
    assert_null(back);
    assert_non_null(strstr(fail_text(), "(number 1)"));
    ids.at[1] = -1;
    assert_int_equal(tokenizer_decode(&t, ids.at, ids.n, 0, &back, &n), -1);
    mem_free(ids.at);
    tokenizer_close(&t);
}

/* A vocabulary of a, b, c, ab, abc and the marker <m>; what the tests below change of it must be noticed. */
static const struct str_view small_tokens[] = { BYTES("a"),  BYTES("b"),   BYTES("c"),
                                                BYTES("ab"), BYTES("abc"), BYTES("<m>") };
static const int32_t small_types[] = { 1, 1, 1, 1, 1, 3 };
static const struct str_view small_merges[] = { BYTES("a b"), BYTES("ab c") };
static const struct tokenizer_source small = { .name = "x.gguf",
                                               .model = "gpt2",
                                               .pre = "gpt-2",
                                               .n_tokens = 6,
                                               .tokens = small_tokens,
                                               .token_types = small_types,
                                               .n_merges = 2,
                                               .merges = small_merges,
                                               .bos_id = 5,
                                               .eos_id = -1,
                                               .add_bos = 0 };

static void check_refused(const struct tokenizer_source *src, const char *says)
{
    struct tokenizer t = { 0 };
    assert_int_equal(tokenizer_open(&t, src), -1);
    if (!strstr(fail_text(), says)) fail_msg("'%s' says not '%s'", fail_text(), says);
    tokenizer_close(&t);
    tokenizer_close(&t);
}

static void refuse_merge(const char *merge, const char *says)
{
    struct tokenizer_source src = small;
    const struct str_view list[] = { { merge, strlen(merge) } };
    src.merges = list;
    src.n_merges = 1;
    check_refused(&src, says);
}

/* The small vocabulary with one thing changed. */
#define REFUSED(change, says)                                                                                          \
    do {                                                                                                               \
        struct tokenizer_source src = small;                                                                           \
        src.change;                                                                                                    \
        check_refused(&src, says);                                                                                     \
    } while (0)

static void test_refusals(void **state)
{
    (void)state;
    static const struct str_view twice[] = {
        BYTES("a"), BYTES("b"), BYTES("c"), BYTES("ab"), BYTES("ab"), BYTES("<m>")
    };
    static const int32_t odd[] = { 1, 1, 1, 1, 7, 3 };
    REFUSED(model = "llama", "x.gguf: tokenizer: model 'llama' is not handled");
    REFUSED(model = NULL, "x.gguf: tokenizer: model '(none)'");
    REFUSED(pre = NULL, "no pre-tokenizer is named");
    REFUSED(pre = "falcon", "pre-tokenizer 'falcon' is not known: smollm, gpt-2, qwen2, llama-bpe are");
    REFUSED(n_tokens = 0, "0 tokens: 1 to");
    REFUSED(n_tokens = SIZE_MAX, "tokens: 1 to");
    REFUSED(n_merges = SIZE_MAX, "merges: at most");
    REFUSED(tokens = twice, "tokens 3 and 4 are the same: 'ab'");
    REFUSED(token_types = odd, "token 4: type 7");
    REFUSED(bos_id = 6, "bos_token_id 6: the tokenizer's ids are 0 to 5");
    REFUSED(eos_id = -2, "eos_token_id -2");
    REFUSED(add_bos = 1 + 0 * (src.bos_id = -1), "add_bos_token is set, but no token is named as bos");
    refuse_merge("ab", "merge 0: 'ab': not two tokens");
    refuse_merge("a b c", "merge 0: 'a b c': not two tokens");
    refuse_merge("a ", "merge 0: 'a ': not two tokens");
    refuse_merge(" a", "merge 0: ' a': not two tokens");
    refuse_merge("", "merge 0: '': not two tokens");
    refuse_merge("x a", "merge 0: 'x a': its left half is no token");
    refuse_merge("a x", "merge 0: 'a x': its right half is no token");
    refuse_merge("b c", "merge 0: 'b c': its result is no token");
    refuse_merge("a \xE4\xBD\xA0", "a character that is not of the byte alphabet");
    refuse_merge("a \xFF", "a character that is not of the byte alphabet");
}

static void test_byte_without_token(void **state)
{
    (void)state;
    struct tokenizer t = { 0 };
    int32_t *ids = NULL;
    size_t n = 0;
    assert_int_equal(tokenizer_open(&t, &small), 0);
    assert_int_equal(tokenizer_encode(&t, "abcd", 4, 0, &ids, &n), -1);
    assert_null(ids);
    assert_non_null(strstr(fail_text(), "byte 0x64: the vocabulary has no token for it"));
    assert_int_equal(tokenizer_encode(&t, "abcab", 5, 0, &ids, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], 4);
    assert_int_equal(ids[1], 3);
    mem_free(ids);
    tokenizer_close(&t);
}

static void test_digest(void **state)
{
    (void)state;
    static const struct str_view other_order[] = { BYTES("ab c"), BYTES("a b") };
    static const int32_t other_type[] = { 1, 1, 1, 1, 1, 4 };
    struct tokenizer_source changed[7] = { small, small, small, small, small, small, small };
    changed[1].merges = other_order;
    changed[2].pre = "qwen2";
    changed[3].add_bos = 1;
    changed[4].token_types = other_type;
    changed[5].n_tokens = 5;
    changed[5].bos_id = -1;
    changed[6].eos_id = 5;
    char digests[7][TOKENIZER_DIGEST_CHARS + 1];
    for (int i = 0; i < 7; i++) {
        struct tokenizer t = { 0 };
        if (tokenizer_open(&t, &changed[i]) != 0) fail_msg("%d: %s", i, fail_text());
        memcpy(digests[i], t.digest, sizeof t.digest);
        assert_int_equal(strlen(t.digest), TOKENIZER_DIGEST_CHARS);
        for (int j = 0; j < i; j++) assert_string_not_equal(digests[i], digests[j]);
        tokenizer_close(&t);
        assert_int_equal(tokenizer_open(&t, &changed[i]), 0);
        assert_string_equal(digests[i], t.digest);
        tokenizer_close(&t);
    }
}

/* Wherever memory ends, the call fails, says so and leaks nothing (test-san looks for leaks). */
static void test_no_memory(void **state)
{
    (void)state;
    bool opened = false, encoded = false;
    for (long n = 0; !opened; n++) {
        struct tokenizer t = { 0 };
        mem_fail_after(n);
        opened = tokenizer_open(&t, &small) == 0;
        mem_fail_after(-1);
        if (!opened) assert_non_null(strstr(fail_text(), "out of memory"));
        tokenizer_close(&t);
    }
    struct tokenizer t = { 0 };
    cases_open(&t, "qwen2");
    for (long n = 0; !encoded; n++) {
        int32_t *ids = NULL;
        size_t n_ids = 0;
        mem_fail_after(n);
        encoded = tokenizer_encode(&t, "cafe\xCC\x81 <|im_end|>", 16, TOKENIZER_CONTROL, &ids, &n_ids) == 0;
        mem_fail_after(-1);
        if (!encoded) assert_non_null(strstr(fail_text(), "out of memory"));
        assert_true(encoded == (ids != NULL));
        mem_free(ids);
        assert_true(n < 100);
    }
    tokenizer_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_agrees),        cmocka_unit_test(test_named_plans_agree),
        cmocka_unit_test(test_broken_utf8),        cmocka_unit_test(test_any_bytes_survive),
        cmocka_unit_test(test_added_and_ends),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_byte_without_token), cmocka_unit_test(test_digest),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
