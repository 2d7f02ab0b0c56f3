/* The kinds of values, the nearest key, the printing of errors, and the tables themselves. */
#include "core/config.h"
#include "core/config_schema.h"
#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const fruits[] = { "apple", "pear", "plum", NULL };

struct record {
    int whole, interval, fruit;
    uint64_t seed;
    double share;
    bool flag;
    unsigned set;
    const char *text, *name;
};
#define AT(m) offsetof(struct record, m)
static const struct schema_field rows[] = {
    { "whole", SCHEMA_INT, true, AT(whole), -5, 100, NULL, NULL, 0, "7", "tokens", "" },
    { "interval", SCHEMA_INT, true, AT(interval), 1, 1000, NULL, "never", 0, "never", "steps", "" },
    { "fruit", SCHEMA_CHOICE, true, AT(fruit), 0, 0, fruits, NULL, 0, "pear", "", "" },
    { "seed", SCHEMA_SEED, false, AT(seed), 0, 0x1p53, NULL, NULL, 0, "1", "", "" },
    { "share", SCHEMA_REAL, true, AT(share), 0, 1, NULL, NULL, 0, "0.5", "", "" },
    { "flag", SCHEMA_BOOL, false, AT(flag), 0, 0, NULL, NULL, 0, "false", "", "" },
    { "set", SCHEMA_FLAGS, false, AT(set), 0, 0, fruits, NULL, 0, "[apple, plum]", "", "" },
    { "text", SCHEMA_TEXT, false, AT(text), 0, 8, NULL, NULL, 0, "", "", "" },
    { "name", SCHEMA_NAME, false, AT(name), 0, 0, NULL, NULL, 0, NULL, "", "what it is called" },
};
static const struct schema schema = { "a thing", "thing", rows, sizeof rows / sizeof *rows };
enum { N_ROWS = sizeof rows / sizeof *rows };

static struct yaml_tree tree;
static struct diag diag;
static struct diag_source source;
static struct schema_setting settings[N_ROWS];
static struct record record;

static void read_text(const char *text)
{
    yaml_tree_close(&tree);
    schema_settings_close(settings, N_ROWS);
    source = (struct diag_source){ "x.yaml", text, strlen(text) };
    diag = (struct diag){ .sources = &source, .n_sources = 1 };
    record = (struct record){ 0 };
    if (yaml_tree_open(&tree, text, strlen(text), 0, &diag) != 0) fail_msg("%s", fail_text());
    assert_int_equal(schema_read(&schema, tree.root, "", settings, &diag), 0);
    schema_store_all(&schema, settings, &record);
}

static void check_good(const char *text)
{
    read_text(text);
    if (diag.n_errors) fail_msg("%s: %s", text, diag.errors[0].message);
}

/* One error, of this text at this column of line 1. */
static void check_bad(const char *text, int column, const char *part)
{
    read_text(text);
    if (diag.n_errors != 1) fail_msg("%s: %d errors: %s", text, diag.n_errors, diag.errors[0].message);
    if (!strstr(diag.errors[0].message, part)) fail_msg("'%s' is not in '%s'", part, diag.errors[0].message);
    if (diag.errors[0].at.column != column) fail_msg("%s: column %d, not %d", text, diag.errors[0].at.column, column);
}

static void test_defaults(void **unused)
{
    (void)unused;
    check_good("name: x");
    assert_int_equal(record.whole, 7);
    assert_int_equal(record.interval, 0);
    assert_int_equal(record.fruit, 1);
    assert_true(record.seed == 1 && record.share == 0.5 && !record.flag);
    assert_int_equal(record.set, 5);
    assert_null(record.text);
    assert_string_equal(record.name, "x");
}

static void test_numbers(void **unused)
{
    (void)unused;
    check_good("{name: x, whole: -5, interval: 1000, seed: 9007199254740992, share: 1e-3}");
    assert_true(record.whole == -5 && record.interval == 1000 && record.seed == (uint64_t)1 << 53 &&
                record.share == 1e-3);
    static const struct {
        const char *text;
        double share;
    } shares[] = { { "1", 1 },      { ".5", 0.5 }, { "0.", 0 },    { "+1e-2", 0.01 },
                   { "1E-1", 0.1 }, { "-0.0", 0 }, { "1.e-0", 1 }, { "0.30000000000000004", 0.30000000000000004 } };
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        char text[64];
        snprintf(text, sizeof text, "{name: x, share: %s}", shares[i].text);
        check_good(text);
        assert_true(record.share == shares[i].share);
    }
    read_text("{name: x, share: -0.0}");
    assert_true(1 / record.share > 0); /* and not minus infinity */
}

static void test_bad_numbers(void **unused)
{
    (void)unused;
    check_bad("{name: x, whole: 012}", 18, "write 12");
    check_bad("{name: x, whole: 000}", 18, "write 0");
    check_bad("{name: x, whole: 1e3}", 18, "write 1000");
    check_bad("{name: x, whole: 16.0}", 18, "write 16");
    check_bad("{name: x, whole: 1.5}", 18, "no whole number (-5 .. 100 tokens)");
    check_bad("{name: x, whole: 1_0}", 18, "without underscores");
    check_bad("{name: x, whole: 0x10}", 18, "no whole number");
    check_bad("{name: x, whole: '16'}", 18, "write it without quotes");
    check_bad("{name: x, whole: 101}", 18, "101 is out of range: -5 .. 100 tokens");
    check_bad("{name: x, whole: -6}", 18, "out of range");
    check_bad("{name: x, whole: 99999999999999999999}", 18, "out of range");
    check_bad("{name: x, whole: }", 18, "has no value");
    check_bad("{name: x, whole: ~}", 18, "has no value");
    check_bad("{name: x, whole: null}", 18, "has no value");
    check_bad("{name: x, whole: {a: 1}}", 18, "not a map");
    check_bad("{name: x, interval: 0}", 21, "1 .. 1000 steps, or never");
    check_bad("{name: x, interval: nevr}", 21, "or never");
    check_bad("{name: x, seed: 9007199254740993}", 17, "out of range: 0 .. 2^53");
    check_bad("{name: x, share: .nan}", 18, "no number that can be used");
    check_bad("{name: x, share: NaN}", 18, "no number that can be used");
    check_bad("{name: x, share: -.inf}", 18, "not finite");
    check_bad("{name: x, share: inf}", 18, "not finite");
    check_bad("{name: x, share: 1e999}", 18, "out of range");
    check_bad("{name: x, share: 90%}", 18, "a share such as 0.9");
    check_bad("{name: x, share: 1.0001}", 18, "out of range: 0 .. 1");
    check_bad("{name: x, share: 1e}", 18, "is no number");
    check_bad("{name: x, share: 0x1p-1}", 18, "is no number");
    check_bad("{name: x, seed: [1, 2]}", 17, "takes one value, not a list");
}

static void test_bools_and_texts(void **unused)
{
    (void)unused;
    check_good("{name: a.b_c-1, flag: true, text: 'no'}");
    assert_true(record.flag);
    assert_string_equal(record.text, "no");
    check_bad("{name: x, flag: yes}", 17, "write true");
    check_bad("{name: x, flag: 'true'}", 17, "write true");
    check_bad("{name: x, flag: Off}", 17, "write false");
    check_bad("{name: x, flag: 1}", 17, "neither true nor false");
    check_bad("{name: x, text: ''}", 17, "is empty");
    check_bad("{name: x, text: 123456789}", 17, "longer than 8 bytes");
    check_bad("{name: a/b}", 8, "is no name");
    check_bad("{name: .x}", 8, "is no name");
    check_bad("{text: x}", 1, "has no key 'name' (what it is called)");
    check_bad("{name: x, fruit: plumm}", 18, "apple, pear, plum; did you mean 'plum'?");
    check_bad("{name: x, fruit: kiwi}", 18, "not one of: apple, pear, plum");
    check_bad("{name: x, set: apple}", 16, "a list is expected");
    check_bad("{name: x, set: [apple, apple]}", 24, "given twice");
    check_bad("[name, x]", 1, "is a map of keys and values, not a list");
}

static void test_lists(void **unused)
{
    (void)unused;
    check_good("{name: x, whole: [3, 1, 2], fruit: [plum], set: []}");
    assert_int_equal(settings[0].n, 3);
    assert_true(settings[0].values[1].number == 1 && settings[0].is_list);
    assert_int_equal(record.fruit, 2);
    assert_int_equal(record.set, 0);
    check_bad("{name: x, whole: []}", 18, "an empty list");
    check_bad("{name: x, whole: [1, 2, 1]}", 25, "1 is given twice");
    check_bad("{name: x, share: [0.5, 5e-1]}", 24, "given twice");
    check_bad("{name: x, whole: [1, [2]]}", 22, "one value is expected, not a list");
}

static void test_unknown_keys(void **unused)
{
    (void)unused;
    check_bad("{name: x, Share: 1}", 11, "did you mean 'share'?");
    check_bad("{name: x, intreval: 1}", 11, "did you mean 'interval'?");
    check_bad("{name: x, zzz: 1}", 11, "unknown key 'zzz' in a thing (keys: whole, interval");
    read_text("{whole: x, share: y, zzz: 1}");
    assert_int_equal(diag.n_errors, 4); /* and the name is missing */
}

static void test_nearest(void **unused)
{
    (void)unused;
    static const char *const keys[] = { "block_size", "sparsity", "interval", "phase", "name" };
    static const struct {
        const char *word, *want;
    } cases[] = { { "Block-Size", "block_size" },
                  { "sparisty", "sparsity" },
                  { "spartsiy", "sparsity" },
                  { "fase", NULL },
                  { "phaes", "phase" },
                  { "nam", "name" },
                  { "n", NULL },
                  { "", NULL },
                  { "blocksize", "block_size" },
                  { "intervall", "interval" },
                  { "blk_sz", NULL } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = diag_nearest(cases[i].word, keys, 5);
        if (!cases[i].want != !got || (got && strcmp(got, cases[i].want) != 0))
            fail_msg("%s: %s instead of %s", cases[i].word, got ? got : "none", cases[i].want ? cases[i].want : "none");
    }
    /* A transposition is one step, two substitutions are two: of 5 letters one step is allowed. */
    static const char *const pair[] = { "abcde" };
    assert_non_null(diag_nearest("abdce", pair, 1));
    assert_null(diag_nearest("abxye", pair, 1));
}

static char *printed(void)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    diag_print(&diag, f);
    fclose(f);
    return text;
}

static void test_print(void **unused)
{
    (void)unused;
    read_text("name: x\nshare: 2\n\xC3\xBC: 1 # \xE2\x82\xAC\nflag: \xC3\xBCyes\n");
    char *text = printed();
    assert_string_equal(
        text, "x.yaml:2:8: error: share: 2 is out of range: 0 .. 1\n"
              "  share: 2\n"
              "         ^\n"
              "x.yaml:3:1: error: unknown key '\xC3\xBC' in a thing (keys: whole, interval, fruit, seed, share, flag, "
              "set, text, name)\n"
              "  \xC3\xBC: 1 # \xE2\x82\xAC\n"
              "  ^\n"
              "x.yaml:4:7: error: flag: '\xC3\xBCyes' is neither true nor false\n"
              "  flag: \xC3\xBCyes\n"
              "        ^\n");
    free(text);
    read_text("{name: x, \"\xC3\xBC\xC3\xBC\": 1}"); /* columns count characters */
    text = printed();
    assert_non_null(strstr(text, "\n            ^\n"));
    free(text);
}

/* Nothing that a terminal obeys is printed: neither of the message, nor of the line, nor of the source's name. */
static void test_print_clean(void **unused)
{
    (void)unused;
    static const struct {
        const char *raw, *clean;
    } cases[] = {
        { "a\x1B[2J\x7F\x07\r\n", "a?[2J????" },
        { "\xC2\x9B" "31m \xC2\xA0\xC3\xBC \xE2\x82\xAC \xF0\x9F\x98\x80", "??31m \xC2\xA0\xC3\xBC \xE2\x82\xAC \xF0\x9F\x98\x80" },
        { "\xFF \xC3( \xC0\xAF \xE0\x80\x80 \xED\xA0\x80 \xF4\x90\x80\x80 \xE2\x82", "? ?( ?? ??? ??? ???? ??" },
        { "a\tb", "a\tb" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        strcpy(text, cases[i].raw);
        assert_string_equal(diag_clean(text), cases[i].clean);
    }
    read_text("name: \"\\e]0;x\\a\\x9B\"");
    char *text = printed();
    assert_non_null(strstr(text, "'?]0;x??" "?' is no name"));
    assert_null(strchr(fail_text(), 0x1B));
    free(text);
    static const char line[] = "n\tme: \x1B[1m\xC2\x9B!\n";
    source = (struct diag_source){ "x\x1B.yaml", line, sizeof line - 1 };
    diag = (struct diag){ .sources = &source, .n_sources = 1 };
    diag_add(&diag, (struct diag_mark){ 0, 1, 6 }, "bad");
    text = printed();
    assert_string_equal(text, "x?.yaml:1:6: error: bad\n  n\tme: ?[1m?!\n   \t   ^\n");
    free(text);
}

static void test_print_many(void **unused)
{
    (void)unused;
    char text[2000] = "name: x\n", *p = text + strlen(text);
    for (int i = 0; i < 25; i++) p += sprintf(p, "k%d: 1\n", i);
    read_text(text);
    assert_int_equal(diag.n_errors, 25);
    char *all = printed();
    assert_non_null(strstr(all, "unknown key 'k19'"));
    assert_null(strstr(all, "unknown key 'k20'"));
    assert_non_null(strstr(all, "and 5 more errors\n"));
    assert_non_null(strstr(fail_text(), "x.yaml:2:1: error: unknown key 'k0'"));
    assert_non_null(strstr(fail_text(), "and 24 more"));
    free(all);
}

/* Control characters do not reach a terminal, and of a long line the part around the column is shown. */
static void test_print_hostile(void **unused)
{
    (void)unused;
    char text[3000];
    snprintf(text, sizeof text, "{name: x,%1991sshare: 2, text: y}", "");
    read_text(text);
    assert_int_equal(diag.errors[0].at.column, 2008);
    char *shown = printed();
    assert_true(strlen(shown) < 600);
    assert_non_null(strstr(shown, "share: 2, text: y}\n"));
    free(shown);
    source = (struct diag_source){ "x", "a\x1B[2J: 1\n", 9 };
    diag = (struct diag){ .sources = &source, .n_sources = 1 };
    diag_add(&diag, (struct diag_mark){ 0, 1, 3 }, "bad");
    shown = printed();
    assert_null(strchr(shown, '\x1B'));
    free(shown);
}

static void test_format(void **unused)
{
    (void)unused;
    static const struct {
        double x;
        const char *want;
    } reals[] = { { 0, "0.0" },
                  { 1, "1.0" },
                  { 0.9, "0.9" },
                  { 1e-5, "1.0e-05" },
                  { 1.5e300, "1.5e+300" },
                  { 0.1 + 0.2, "0.30000000000000004" } };
    char text[100];
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        schema_format_real(reals[i].x, text, sizeof text);
        assert_string_equal(text, reals[i].want);
        assert_true(strtod(text, NULL) == reals[i].x);
    }
    static const char *const texts[][2] = { { "abc", "abc" },
                                            { "no", "\"no\"" },
                                            { "1e3", "\"1e3\"" },
                                            { "a: b", "\"a: b\"" },
                                            { "a\"\\\n", "\"a\\\"\\\\\\x0A\"" },
                                            { "", "\"\"" },
                                            { "resa/s0.9-b16", "resa/s0.9-b16" },
                                            { "\xC3\xBC", "\"\xC3\xBC\"" },
                                            { "\xC2\x85\xC2\xA0", "\"\\u0085\xC2\xA0\"" },
                                            { "\xE2\x80\xA8\xE2\x80\xAA", "\"\\u2028\xE2\x80\xAA\"" },
                                            { "\xEF\xBB\xBF\xEF\xBF\xBE\xEF\xBF\xBD", "\"\\uFEFF\\uFFFE\xEF\xBF\xBD\"" },
                                            { "Null", "\"Null\"" } };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        schema_format_text(texts[i][0], text, sizeof text);
        assert_string_equal(text, texts[i][1]);
    }
}

/* What is written reads back as what it was. */
static void test_echo(void **unused)
{
    (void)unused;
    check_good(
        "{name: x, whole: 3, interval: 9, fruit: plum, seed: 5, share: 1e-3, flag: true, set: [pear], text: 'a: b'}");
    const struct record before = record;
    char text[600] = "{", part[100];
    for (int i = 0; i < N_ROWS; i++) {
        schema_format(&rows[i], &record, part, sizeof part);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s: %s", i ? ", " : "", rows[i].key, part);
    }
    strcat(text, "}");
    assert_string_equal(text, "{whole: 3, interval: 9, fruit: plum, seed: 5, share: 0.001, flag: true, set: [pear], "
                              "text: \"a: b\", name: x}");
    char *copy = strdup(text);
    check_good(copy);
    assert_true(record.whole == before.whole && record.interval == before.interval && record.fruit == before.fruit &&
                record.seed == before.seed && record.share == before.share && record.flag == before.flag &&
                record.set == before.set);
    assert_string_equal(record.text, "a: b");
    free(copy);
}

/* Every default of every real table reads by its own row. */
static void test_tables(void **unused)
{
    (void)unused;
    const struct schema *const all[] = { &schema_root,  &schema_prompt,    &schema_decode, &schema_lane,
                                         &schema_trace, &schema_synthetic, &schema_chat,   &schema_message };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        struct schema_setting s[32] = { { 0 } };
        diag = (struct diag){ 0 };
        assert_true(all[i]->n_fields <= 32);
        if (schema_read(all[i], NULL, "", s, &diag) != 0) fail_msg("%s: %s", all[i]->title, fail_text());
        for (int k = 0; k < all[i]->n_fields; k++) {
            const struct schema_field *f = &all[i]->fields[k];
            assert_non_null(f->key);
            assert_non_null(f->help);
            assert_non_null(f->units);
            if (f->def && f->def[0] && f->kind != SCHEMA_NODE) assert_int_equal(s[k].n, 1);
            assert_int_equal(schema_find(all[i], f->key), k);
        }
        schema_settings_close(s, all[i]->n_fields);
    }
}

static int close_all(void **unused)
{
    (void)unused;
    yaml_tree_close(&tree);
    schema_settings_close(settings, N_ROWS);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_numbers), cmocka_unit_test(test_bad_numbers),
        cmocka_unit_test(test_bools_and_texts), cmocka_unit_test(test_lists),   cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_nearest),         cmocka_unit_test(test_print),
        cmocka_unit_test(test_print_clean),     cmocka_unit_test(test_print_many),
        cmocka_unit_test(test_print_hostile),   cmocka_unit_test(test_format),  cmocka_unit_test(test_echo),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, close_all);
}
