/* tests/test_report.h: what the tests of the report share: a results folder each, its report, the cells of its tables. */
#ifndef TESTS_TEST_REPORT_H
#define TESTS_TEST_REPORT_H

#include "tests/report_fixture.h"

#include "analysis/report.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>

#include <cmocka.h>

static char folder[PATH_MAX], with_tools[PATH_MAX * 2];

static inline int group_setup(void **state)
{
    const char *path = getenv("PATH");
    snprintf(with_tools, sizeof with_tools, "%s", path ? path : "");
    return temp_folder_open(state);
}

/* Most tests need no pictures: without a PATH there is no gnuplot, and the report is quick. */
static inline int each_setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s", temp_path("results"));
    setenv("PATH", "/nonexistent", 1);
    return mkdir(folder, 0777);
}

static inline int each_teardown(void **state)
{
    (void)state;
    setenv("PATH", with_tools, 1);
    return nftw(folder, temp_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *inside(const char *name)
{
    static char paths[4][PATH_MAX * 2];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

static inline void write_runs(const struct fixture *fix, int n)
{
    mkdir(inside("runs"), 0777);
    for (int text = 0; text < n; text++)
        if (fixture_run(fix, folder, text) != 0) fail_msg("%s", fail_text());
}

static inline char *text_of(const char *name, size_t *n_bytes)
{
    FILE *in = fopen(inside(name), "rb");
    if (!in) fail_msg("%s is not there", name);
    fseek(in, 0, SEEK_END);
    const long n = ftell(in);
    rewind(in);
    char *text = calloc(1, (size_t)n + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)n, in), n);
    fclose(in);
    if (n_bytes) *n_bytes = (size_t)n;
    return text;
}

static inline void write_text(const char *name, const char *text)
{
    FILE *out = fopen(inside(name), "wb");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* Without gnuplot a report is made all the same. */
static inline void write_report(void)
{
    char *folders[] = { folder };
    if (report_write(1, folders) != 0) fail_msg("%s", fail_text());
}

static inline void assert_page(const char *words, bool there)
{
    char *page = text_of("report.html", NULL);
    if ((strstr(page, words) != NULL) != there) fail_msg("report.html %s '%s'", there ? "does not say" : "says", words);
    free(page);
}

/* ---- reading a csv ---- */

/* The end of the field that begins at line: its comma or line end; commas inside quotes are not it. */
static inline const char *field_end(const char *line)
{
    for (bool quoted = false; *line && (quoted || (*line != ',' && *line != '\n')); line++) quoted ^= *line == '"';
    return line;
}

static inline void field_copy(const char *line, int column, char *out, size_t n_bytes)
{
    for (; column > 0 && *line; column--) line = field_end(line) + 1;
    snprintf(out, n_bytes, "%.*s", (int)(field_end(line) - line), line);
}

static inline int column_of(const char *text, const char *key)
{
    char field[128];
    for (int column = 0; column < 200; column++) {
        field_copy(text, column, field, sizeof field);
        if (strcmp(field, key) == 0) return column;
    }
    fail_msg("no column %s", key);
    return -1;
}

/* The cell of the row whose column `by` reads `row`. */
static inline void cell(const char *file, const char *by, const char *row, const char *key, char *out, size_t n_bytes)
{
    char *text = text_of(file, NULL), field[128];
    const int by_column = column_of(text, by), column = column_of(text, key);
    const char *line = strchr(text, '\n') + 1;
    for (; *line; line = strchr(line, '\n') + 1) {
        field_copy(line, by_column, field, sizeof field);
        if (strcmp(field, row) == 0) break;
    }
    if (!*line) fail_msg("%s: no row %s", file, row);
    field_copy(line, column, out, n_bytes);
    free(text);
}

/* Tolerance: values are sums of at most 16 exact terms and a few rounded products: 1e-13 is beyond what they can lose. */
static inline void assert_cell(const char *file, const char *by, const char *row, const char *key, double want)
{
    char text[128];
    cell(file, by, row, key, text, sizeof text);
    const double got = text[0] ? strtod(text, NULL) : (double)NAN;
    if (isnan(want) ? text[0] != '\0' : !(fabs(got - want) <= 1e-13 * (1 + fabs(want))))
        fail_msg("%s, %s, %s: '%s' instead of %.17g", file, row, key, text, want);
}

#define REPORT_TEST(f) cmocka_unit_test_setup_teardown(f, each_setup, each_teardown)

#endif
