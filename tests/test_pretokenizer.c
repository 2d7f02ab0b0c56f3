/* Where texts are cut, and which patterns are refused because PCRE2 would read them otherwise than Oniguruma. */
#include "core/err.h"
#include "core/mem.h"
#include "core/pattern.h"
#include "core/pretokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int collect(void *user, struct str_view piece)
{
    char *pieces = user;
    snprintf(pieces + strlen(pieces), 256 - strlen(pieces), "[%.*s]", (int)piece.n, piece.at);
    return 0;
}

static void check_cut(const struct pretokenizer_plan *plan, const char *text, const char *want)
{
    struct pretokenizer p = { 0 };
    char pieces[256] = "";
    if (pretokenizer_open(&p, plan) != 0) fail_msg("%s", fail_text());
    assert_int_equal(pretokenizer_run(&p, (struct str_view){ text, strlen(text) }, collect, pieces), 0);
    assert_string_equal(pieces, want);
    pretokenizer_close(&p);
}

static void test_named(void **state)
{
    (void)state;
    static const struct {
        const char *plan, *text, *want;
    } cases[] = {
        { "smollm", "a  1", "[a][  ][1]" }, /* digits are taken out before the rest is cut */
        { "gpt-2", "a  1", "[a][ ][ 1]" },
        { "qwen2", "a  1", "[a][ ][ ][1]" },
        { "llama-bpe", "a 12345", "[a][ ][123][45]" },
        { "smollm", "x12\xC2\xB2", "[x][1][2][\xC2\xB2]" },
        { "gpt-2", "it'S he'll  go", "[it]['][S][ he]['ll][ ][ go]" },
        { "qwen2", "it'S he'll!\n\n go", "[it]['S][ he]['ll][!\n\n][ go]" },
        { "qwen2", "'\xC5\xBFt", "['\xC5\xBF][t]" }, /* the long s is an s where case does not count */
        { "gpt-2",
          "a\xE1\xA0\x8E"
          "b",
          "[a][\xE1\xA0\x8E][b]" }, /* U+180E is no space */
        { "gpt-2", " \xE1\xA0\x8E", "[ \xE1\xA0\x8E]" },
        { "gpt-2", " \xC2\xA0x", "[ ][\xC2\xA0][x]" }, /* U+00A0 is one */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_cut(pretokenizer_plan_find(cases[i].plan), cases[i].text, cases[i].want);
    assert_null(pretokenizer_plan_find("gpt"));
}

static void test_kinds(void **state)
{
    (void)state;
    struct pretokenizer_plan plan = { .n_splits = 1, .splits = { { .kind = SPLIT_ISOLATE, .pattern = "b+" } } };
    check_cut(&plan, "abbabc", "[a][bb][a][b][c]");
    plan.splits[0].kind = SPLIT_KEEP;
    check_cut(&plan, "abbabc", "[bb][b]");
    plan.splits[0].kind = SPLIT_DROP;
    check_cut(&plan, "abbabc", "[a][a][c]");
    plan.splits[0] = (struct split){ .literal = true, .pattern = ".*\\" };
    check_cut(&plan, "a.*\\b.*", "[a][.*\\][b.*]");
    plan.splits[0] = (struct split){ .pattern = "x*" }; /* an empty match cuts nothing */
    check_cut(&plan, "axxb", "[a][xx][b]");
    plan.n_splits = 0;
    check_cut(&plan, "ab c", "[ab c]");
}

/* \s and \S are the White_Space of Unicode, alone and within a set. */
static void test_spaces(void **state)
{
    (void)state;
    static const char *const patterns[] = { "\\s", "[\\s]", "[^\\S]" };
    for (int k = 0; k < 3; k++) {
        const struct pretokenizer_plan plan = { .n_splits = 1, .splits = { { SPLIT_KEEP, false, patterns[k] } } };
        struct pretokenizer p = { 0 };
        assert_int_equal(pretokenizer_open(&p, &plan), 0);
        int n = 0;
        for (unsigned c = 1; c < 0x110000; c++) {
            if (c >= 0xD800 && c < 0xE000) continue;
            char text[5] = "", found[256] = "";
            if (c < 0x80)
                text[0] = (char)c;
            else if (c < 0x800)
                snprintf(text, sizeof text, "%c%c", 0xC0 | c >> 6, 0x80 | (c & 0x3F));
            else if (c < 0x10000)
                snprintf(text, sizeof text, "%c%c%c", 0xE0 | c >> 12, 0x80 | (c >> 6 & 0x3F), 0x80 | (c & 0x3F));
            else
                snprintf(text, sizeof text, "%c%c%c%c", 0xF0 | c >> 18, 0x80 | (c >> 12 & 0x3F), 0x80 | (c >> 6 & 0x3F),
                         0x80 | (c & 0x3F));
            assert_int_equal(pretokenizer_run(&p, (struct str_view){ text, strlen(text) }, collect, found), 0);
            const int is = (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
                           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
                           c == 0x3000;
            if ((*found != 0) != is) fail_msg("%s: U+%04X", patterns[k], c);
            n += is;
        }
        assert_int_equal(n, 25);
        pretokenizer_close(&p);
    }
}

static void test_refused_patterns(void **state)
{
    (void)state;
    static const char *const refused[][2] = {
        { "[a-z&&[^b]]", "an intersection of sets" },
        { "[[:alpha:]]", "a set within a set" },
        { "[a[bc]]", "a set within a set" },
        { "\\h+", "\\h is not handled" },
        { "\\w+", "\\w is not handled" },
        { "\\bx", "\\b is not handled" },
        { "(a)\\1", "\\1 is not handled" },
        { "a{2}+", "{..} followed by +" },
        { "a{,3}", "{,n}" },
        { "(?i)a", "this kind of group" },
        { "(?<name>a)", "this kind of group" },
        { "(?P<n>a)", "this kind of group" },
        { "(*UTF)a", "(* is not handled" },
        { "[]a]", "a set that begins with ]" },
        { "[^]a]", "a set that begins with ]" },
        { "[a", "a [ is not closed" },
        { "a\\", "ends in a backslash" },
        { "\\p{L", "is not closed" },
        { "(a", "missing closing parenthesis" },
        { "*a", "quantifier does not follow" },
        { "\\p{NoSuchThing}", "unknown property" },
        { "(?<=a+)b", "lookbehind assertion is not fixed length" },
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        void *code = NULL;
        assert_int_equal(pattern_open(&code, refused[i][0], false), -1);
        assert_null(code);
        if (!strstr(fail_text(), refused[i][1])) fail_msg("'%s' says not '%s'", fail_text(), refused[i][1]);
    }
}

/* Long texts end, on patterns that look far ahead too, and a pattern that explodes is stopped. */
static void test_long_texts(void **state)
{
    (void)state;
    enum { N = 12 << 20 };
    char *text = malloc(N);
    assert_non_null(text);
    struct pretokenizer p = { 0 };
    char pieces[256] = "";
    memset(text, ' ', N);
    assert_int_equal(pretokenizer_open(&p, pretokenizer_plan_find("qwen2")), 0);
    if (pretokenizer_run(&p, (struct str_view){ text, N }, collect, pieces) != 0) fail_msg("%s", fail_text());
    pretokenizer_close(&p);

    const struct pretokenizer_plan plan = { .n_splits = 1, .splits = { { .pattern = "(?:a|aa)+[^a]" } } };
    memset(text, 'a', 100);
    assert_int_equal(pretokenizer_open(&p, &plan), 0);
    assert_int_equal(pretokenizer_run(&p, (struct str_view){ text, 100 }, collect, pieces), -1);
    assert_non_null(strstr(fail_text(), "stage 1: match limit exceeded"));
    pretokenizer_close(&p);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named),      cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_spaces),     cmocka_unit_test(test_refused_patterns),
        cmocka_unit_test(test_long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
