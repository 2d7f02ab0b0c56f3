/* NFC against utf8proc's own whole-string function, which orders marks in another way, and by hand. */
#include "core/err.h"
#include "core/mem.h"
#include "core/nfc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include <cmocka.h>

static void check(const char *text, const char *want)
{
    char *out = NULL;
    size_t n = 0;
    if (nfc_normalise((struct str_view){ text, strlen(text) }, &out, &n) != 0) fail_msg("%s", fail_text());
    assert_int_equal(n, strlen(want));
    assert_memory_equal(out, want, n);
    mem_free(out);
}

static void test_by_hand(void **state)
{
    (void)state;
    check("", "");
    check("abc", "abc");
    check("cafe\u0301", "caf\u00E9");
    check("q\u0307\u0323", "q\u0323\u0307");   /* ordered by class: below before above */
    check("o\u0308\u0304", "\u022B");          /* two marks, one letter */
    check("\u0958", "\u0915\u093C");           /* excluded from composition */
    check("\u1112\u1161\u11AB", "\uD55C");     /* Hangul by rule */
    check("\u212B\u2126", "\u00C5\u03A9");     /* letters that are others' doubles */
    check("\U0002F800\uFB01", "\u4E3D\uFB01"); /* canonical doubles go, compatible ones stay */
    check("\u0301a\u0301", "\u0301\u00E1");
}

static void test_each_character(void **state)
{
    (void)state;
    for (int32_t c = 1; c < 0x110000; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        char text[16] = "";
        size_t n = (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)text);
        text[n] = '\0';
        utf8proc_uint8_t *want = utf8proc_NFC((utf8proc_uint8_t *)text);
        check(text, (char *)want);
        free(want);
    }
}

static void test_random_runs(void **state)
{
    (void)state;
    static const int32_t pool[] = { 'a',   'o',    'q',    0xE9,   0x300,  0x301,  0x304,  0x307,
                                    0x308, 0x323,  0x327,  0x334,  0x345,  0x93C,  0x915,  0x5B8,
                                    0x5C1, 0x1100, 0x1161, 0x11A8, 0xAC00, 0x3099, 0x304B, 0x1D165 };
    uint64_t random = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
    for (int round = 0; round < 20000; round++) {
        char text[128] = "";
        size_t n = 0;
        for (int i = 0; i < 1 + round % 20; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            n += (size_t)utf8proc_encode_char(pool[(random >> 32) % (sizeof pool / sizeof *pool)],
                                              (utf8proc_uint8_t *)text + n);
        }
        utf8proc_uint8_t *want = utf8proc_NFC((utf8proc_uint8_t *)text);
        check(text, (char *)want);
        free(want);
    }
}

/* 400,000 marks in the worst order: exchanging neighbours would take 4e10 steps. */
static void test_long_run(void **state)
{
    (void)state;
    enum { N = 200000 };
    char *text = malloc(4 * N), *out = NULL;
    size_t n = 0;
    assert_non_null(text);
    for (size_t i = 0; i < 2 * N; i++) {
        text[2 * i] = '\xCC'; /* U+0301 is CC 81, U+0323 is CC A3 */
        text[2 * i + 1] = i < N ? '\x81' : '\xA3';
    }
    assert_int_equal(nfc_normalise((struct str_view){ text, 4 * N }, &out, &n), 0);
    assert_int_equal(n, 4 * N);
    for (size_t i = 0; i < 2 * N; i++) assert_memory_equal(out + 2 * i, i < N ? "\u0323" : "\u0301", 2);
    mem_free(out);
    free(text);
}

static void test_no_text(void **state)
{
    (void)state;
    char *out = NULL;
    size_t n = 0;
    assert_int_equal(nfc_normalise((struct str_view){ "a\xFF", 2 }, &out, &n), -1);
    assert_null(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),  cmocka_unit_test(test_each_character), cmocka_unit_test(test_random_runs),
        cmocka_unit_test(test_long_run), cmocka_unit_test(test_no_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
