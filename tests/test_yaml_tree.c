/* The tree of a YAML document, and everything that it refuses; the caps must stop early, so they are timed. */
#include "core/mem.h"
#include "core/yaml_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct yaml_tree tree;
static struct diag diag;

static int parse_bytes(const char *text, size_t n)
{
    static struct diag_source source;
    source = (struct diag_source){ "x.yaml", text, n };
    diag = (struct diag){ .sources = &source, .n_sources = 1 };
    yaml_tree_close(&tree);
    return yaml_tree_open(&tree, text, n, 0, &diag);
}

static int parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void check_refused(const char *text, int line, int column, const char *part)
{
    if (parse(text) == 0) fail_msg("accepted: %.60s", text);
    assert_true(diag.n_errors >= 1);
    if (!strstr(diag.errors[0].message, part)) fail_msg("'%s' is not in '%s'", part, diag.errors[0].message);
    if (diag.errors[0].at.line != line || diag.errors[0].at.column != column)
        fail_msg("%d:%d instead of %d:%d: %s", diag.errors[0].at.line, diag.errors[0].at.column, line, column,
                 diag.errors[0].message);
}

static void test_structure(void **unused)
{
    (void)unused;
    assert_int_equal(parse("# c\na: 1\nb: [x, 'no', {d: \"e\\n\"}]\nc:\n  - |\n    two\n    lines\n  -\n"), 0);
    assert_int_equal(tree.root->kind, YAML_MAP);
    assert_int_equal(tree.root->n_items, 6);
    const struct yaml_node *a = yaml_get(tree.root, "a"), *b = yaml_get(tree.root, "b"), *c = yaml_get(tree.root, "c");
    assert_string_equal(a->text, "1");
    assert_true(a->plain && a->at.line == 2 && a->at.column == 4);
    assert_int_equal(b->n_items, 3);
    assert_false(b->items[1]->plain);
    assert_string_equal(b->items[1]->text, "no");
    assert_string_equal(yaml_get(b->items[2], "d")->text, "e\n");
    assert_int_equal(b->items[2]->at.column, 14);
    assert_string_equal(c->items[0]->text, "two\nlines\n");
    assert_string_equal(c->items[1]->text, "");
    assert_null(yaml_get(tree.root, "d"));
    assert_null(yaml_get(b, "a"));
    assert_int_equal(yaml_key(tree.root, "c")->at.line, 4);
}

static void test_accepted(void **unused)
{
    (void)unused;
    assert_int_equal(parse("\xEF\xBB\xBF%YAML 1.2\n---\na: 1\n...\n"), 0);
    assert_int_equal(parse("{\"a\": [1, 2.5, true, null]}"), 0); /* JSON */
    assert_int_equal(parse("a: &x [1, 2]\nb: *x\nc: &x 3\nd: *x\n"), 0);
    assert_int_equal(yaml_get(tree.root, "b")->n_items, 2);
    assert_ptr_not_equal(yaml_get(tree.root, "b"), yaml_get(tree.root, "a")); /* a copy: it can be changed alone */
    assert_string_equal(yaml_get(tree.root, "d")->text, "3");                 /* an anchor may be given anew */
    assert_int_equal(parse("\xC3\xBC: \xC3\xA4 # \xE2\x82\xAC\nb: [}"), -1);
    assert_int_equal(diag.errors[0].at.line, 2);
}

static void test_refused(void **unused)
{
    (void)unused;
    check_refused("a: 1\nb: 2\na: 3\n", 3, 1, "given twice, first on line 1");
    check_refused("x:\n  - {k: 1, \xC3\xBC: 2, k: 3}\n", 2, 18, "'k' is given twice");
    check_refused("a: &x [1, *x]\n", 1, 11, "inside its own anchor");
    check_refused("a: &x {b: {c: *x}}\n", 1, 15, "inside its own anchor");
    check_refused("a: *y\n", 1, 4, "no anchor &y");
    check_refused("a: &x {b: 1}\nc:\n  <<: *x\n", 3, 3, "merge keys");
    check_refused("a: 1\n---\nb: 2\n", 2, 1, "second document");
    check_refused("a: !!int 5\n", 1, 4, "tags");
    check_refused("a: !x [5]\n", 1, 4, "tags");
    check_refused("{[a]: 1}\n", 1, 2, "a key must be a word, not a list");
    check_refused("a:\n\tb: 1\n", 2, 1, "indent with spaces");
    check_refused("a: b: c\n", 1, 5, "mapping values are not allowed");
    check_refused("a: [1, 2\nb: 3\n", 2, 2, "began on line 1");
    check_refused("a: @x\n", 1, 4, "quote values");
    check_refused("a: 'x\n", 2, 1, "end of stream");
    check_refused("", 0, 0, "empty");
    check_refused("# nothing\n", 0, 0, "empty");
    check_refused("a: \"x\\0y\"\n", 1, 4, "NUL");
    check_refused("a: \xFF\xFE\n", 1, 4, "not UTF-8");
    check_refused("\xEF\xBB\xBF# \xC3\xBC\nb: 1\n\xC3\xBC: \xC3(\n", 3, 5, "at byte 18");
    check_refused("a: 1\nb: x\x01\n", 2, 5, "control characters");
    assert_int_equal(parse_bytes("a\0b", 3), -1);
    assert_non_null(strstr(diag.errors[0].message, "NUL"));
}

static void test_several_duplicates_at_once(void **unused)
{
    (void)unused;
    assert_int_equal(parse("a: 1\na: 2\nb: 1\nb: 2\n"), -1);
    assert_int_equal(diag.n_errors, 2);
    assert_true(tree.whole);
    assert_string_equal(yaml_get(tree.root, "b")->text, "1"); /* the first one holds */
    assert_int_equal(parse("a: 1\na: 2\nb: [\n"), -1);
    assert_false(tree.whole);
}

static void test_at(void **unused)
{
    (void)unused;
    assert_int_equal(parse("a: {x: 1, y: 2}\nb: 3\n"), 0);
    const struct diag_mark none = { 7, 7, 7 }, line = { 1, 1, 5 };
    struct diag_mark at = yaml_at(tree.root, (const char *const[]){ "c", "a.z", "a.y", "b", NULL }, none);
    assert_true(at.source == 0 && at.line == 1 && at.column == 14);
    at = yaml_at(tree.root, (const char *const[]){ "c", "b.x", NULL }, none);
    assert_int_equal(at.line, 7);
    yaml_get(yaml_get(tree.root, "a"), "y")->at = line; /* as if the command line gave it: it goes first */
    at = yaml_at(tree.root, (const char *const[]){ "b", "a.x", "a.y", NULL }, none);
    assert_true(at.source == 1 && at.column == 5);
}

static char *repeat(const char *unit, size_t n, const char *head, const char *tail)
{
    const size_t size = strlen(head) + n * strlen(unit) + strlen(tail) + 1;
    char *text = malloc(size), *p = text + strlen(head);
    assert_non_null(text);
    strcpy(text, head);
    for (size_t i = 0; i < n; i++, p += strlen(unit)) memcpy(p, unit, strlen(unit) + 1);
    strcpy(p, tail);
    return text;
}

/* libyaml itself takes 11 s for 50,000 open brackets, four times that for 100,000; stopping at the cap takes none.  A
 * second leaves room for a slow machine and a sanitizer. */
static void check_refused_fast(char *text, const char *part)
{
    const clock_t start = clock();
    assert_int_equal(parse(text), -1);
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 1);
    if (!strstr(diag.errors[0].message, part)) fail_msg("'%s' is not in '%s'", part, diag.errors[0].message);
    yaml_tree_close(&tree);
    free(text);
}

static void test_caps(void **unused)
{
    (void)unused;
    check_refused_fast(repeat("[", 100000, "a: ", ""), "deeper than 48");
    check_refused_fast(repeat("{a: ", 100000, "a: ", ""), "deeper than 48");
    check_refused_fast(repeat("- ", 100000, "", "x"), "deeper than 48");
    check_refused_fast(repeat("x, ", 99998, "a: [", "]"), "more than 100000 values");
    check_refused_fast(repeat("- &a 1\n", 257, "", ""), "more than 256 anchors");
    check_refused_fast(repeat("x", 1 << 20, "a: ", ""), "a config has at most 1048576");
}

/* 9 levels of 9 aliases each would be 9^9 values. */
static void test_alias_bomb(void **unused)
{
    (void)unused;
    char text[2048] = "a0: &a0 x\n", *p = text + strlen(text);
    for (int i = 1; i < 10; i++) {
        p += sprintf(p, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++) p += sprintf(p, "*a%d%s", i - 1, k < 8 ? ", " : "]\n");
    }
    const clock_t start = clock();
    assert_int_equal(parse(text), -1);
    assert_non_null(strstr(diag.errors[0].message, "more than 100000 values"));
    assert_true((double)(clock() - start) / CLOCKS_PER_SEC < 1);
}

/* Each anchor one level above the one before: deep only when expanded. */
static void test_alias_depth(void **unused)
{
    (void)unused;
    char text[4096] = "a0: &a0 [x]\n", *p = text + strlen(text);
    for (int i = 1; i < 60; i++) p += sprintf(p, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    assert_int_equal(parse(text), -1);
    assert_non_null(strstr(diag.errors[0].message, "deeper than 48"));
}

static void test_caps_are_reached(void **unused)
{
    (void)unused;
    char *deep = repeat("[", 47, "a: ", ""); /* the map is the first level */
    char *closed = malloc(strlen(deep) + 48);
    assert_non_null(closed);
    strcpy(closed, deep);
    memset(closed + strlen(deep), ']', 47);
    closed[strlen(deep) + 47] = 0;
    assert_int_equal(parse(closed), 0);
    free(deep);
    free(closed);
    char *wide = repeat("x, ", 99997, "a: [", "]"); /* with the map, its key and the list 100,000 */
    assert_int_equal(parse(wide), 0);
    free(wide);
}

static void check_many_keys(int n, int want)
{
    char *text = malloc((size_t)n * 10 + 1), *p = text;
    assert_non_null(text);
    for (int i = 0; i < n; i++) p += sprintf(p, "k%d: 1\n", i);
    assert_int_equal(parse(text), want);
    if (want != 0) assert_non_null(strstr(diag.errors[0].message, "more than 1024 keys"));
    yaml_tree_close(&tree);
    free(text);
}

static void test_many_keys(void **unused)
{
    (void)unused;
    check_many_keys(1024, 0);
    check_many_keys(1025, -1);
}

static void test_put(void **unused)
{
    (void)unused;
    assert_int_equal(parse("a: 1\nb: {c: 2}\n"), 0);
    struct yaml_node *b = yaml_get(tree.root, "b");
    const struct diag_mark at = { 1, 1, 3 };
    assert_int_equal(yaml_put(&tree, tree.root, "a=..", 1, b, at), 0);
    assert_ptr_equal(yaml_get(tree.root, "a"), b);
    assert_int_equal(yaml_put(&tree, b, "new", 3, yaml_node_new(&tree, YAML_MAP, at), at), 0);
    assert_int_equal(yaml_get(b, "new")->kind, YAML_MAP);
    assert_int_equal(yaml_key(b, "new")->at.source, 1);
}

/* Whatever allocation fails, there is a failure without an error of the document, and nothing leaks. */
static void test_no_memory(void **unused)
{
    (void)unused;
    char *text = repeat("- {a: 1, b: [*x, yes]}\n", 400, "- &x [1]\n", "");
    long n = 0;
    for (;; n++) {
        mem_fail_after(n);
        const int rc = parse(text);
        mem_fail_after(-1);
        if (rc == 0) break;
        assert_int_equal(diag.n_errors, 0);
    }
    assert_true(n > 5);
    free(text);
}

static int close_tree(void **unused)
{
    (void)unused;
    yaml_tree_close(&tree);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_structure),   cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_several_duplicates_at_once),
        cmocka_unit_test(test_caps),        cmocka_unit_test(test_alias_bomb),
        cmocka_unit_test(test_alias_depth), cmocka_unit_test(test_caps_are_reached),
        cmocka_unit_test(test_many_keys),   cmocka_unit_test(test_put),
        cmocka_unit_test(test_at),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, close_tree);
}
