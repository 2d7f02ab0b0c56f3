/* A table's cells for people and in csv. */
#include "analysis/sheet.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int tex_write(const struct sheet *t, FILE *out)
{
    return sheet_write_tex(t, out, "made by a test");
}

static void assert_written(const struct sheet *t, int (*write)(const struct sheet *t, FILE *out), const char *words)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    assert_non_null(out);
    assert_int_equal(write(t, out), 0);
    assert_int_equal(fclose(out), 0);
    if (!strstr(text, words)) fail_msg("'%s' is not in:\n%s", words, text);
    free(text);
}

/* A small p is never 0 to a reader, and csv has all its digits; 0.00005 still rounds to 0.0001. */
static void probabilities(void **state)
{
    static const struct {
        double p;
        const char *md, *html, *tex, *csv;
    } cases[] = {
        { 0.0000305, "| &lt; 0.0001 |", "<td>&lt; 0.0001</td>", "$<$ 0.0001", "\n3.0499999999999999e-05\n" },
        { 0.00006, "| 0.0001 |", "<td>0.0001</td>", "\n0.0001", "\n6.0000000000000002e-05\n" },
        { 0.25, "| 0.2500 |", "<td>0.2500</td>", "\n0.2500", "\n0.25\n" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sheet t;
        assert_int_equal(sheet_open(&t, "test"), 0);
        assert_int_equal(sheet_column(&t, COLUMN_P, "p", "p", 4), 0);
        assert_int_equal(sheet_number(&t, cases[i].p), 0);
        assert_written(&t, sheet_write_md, cases[i].md);
        assert_written(&t, sheet_write_html, cases[i].html);
        assert_written(&t, tex_write, cases[i].tex);
        assert_written(&t, sheet_write_csv, cases[i].csv);
        sheet_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(probabilities) };
    return cmocka_run_group_tests_name("sheet", tests, NULL, NULL);
}
