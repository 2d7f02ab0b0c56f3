/* Every table of a report as LaTeX takes it: a small document of all of them, compiled.  Skipped where there is no pdflatex. */
#include "tests/test_report.h"

#include <dirent.h>
#include <stdlib.h>

static int run(const char *format, const char *argument)
{
    char command[PATH_MAX * 2 + 256];
    snprintf(command, sizeof command, format, argument);
    return system(command);
}

static bool with_latex(void)
{
    setenv("PATH", with_tools, 1);
    if (run("command -v pdflatex > /dev/null 2>&1 && kpsewhich %s > /dev/null 2>&1",
            "booktabs.sty graphicx.sty longtable.sty") == 0)
        return true;
    print_message("# skip: pdflatex with booktabs, graphicx and longtable is not here\n");
    return false;
}

/* all.tex in the folder of tables; how many there are. */
static int document_write(void)
{
    FILE *out = fopen(inside("tables/all.tex"), "we");
    DIR *dir = opendir(inside("tables"));
    int n = 0;
    assert_non_null(out);
    assert_non_null(dir);
    fputs("\\documentclass[a4paper,landscape]{article}\n\\usepackage{booktabs,graphicx,longtable}\n\\begin{document}\n",
          out);
    for (struct dirent *d = readdir(dir); d; d = readdir(dir)) {
        const char *end = strstr(d->d_name, ".tex");
        if (!end || end[4] || strcmp(d->d_name, "all.tex") == 0) continue;
        fprintf(out, "\\input{%s}\\clearpage\n", d->d_name);
        n++;
    }
    closedir(dir);
    fputs("\\end{document}\n", out);
    assert_int_equal(fclose(out), 0);
    return n;
}

static void assert_compiles(int at_least)
{
    assert_true(document_write() >= at_least);
    if (run("cd '%s/tables' && pdflatex -interaction=nonstopmode -halt-on-error all.tex > all.out 2>&1", folder) == 0)
        return;
    char *text = text_of("tables/all.out", NULL), *error = strstr(text, "\n!");
    print_message("%.1200s\n", error ? error : text);
    free(text);
    fail_msg("pdflatex refuses the tables");
}

/* A source with letters that LaTeX takes for its own, and a word of other letters than ours. */
static void tables_compile(void **state)
{
    (void)state;
    const struct fixture odd = { .source = "a_b&c%$#{}~^\\\xc3\xa9\xe2\x88\x92" };
    if (!with_latex()) skip();
    setenv("PATH", "/nonexistent", 1); /* no pictures */
    write_runs(&odd, 8);
    write_report();
    setenv("PATH", with_tools, 1);
    assert_compiles(20);
}

/* Few texts: dashes and sentences instead of numbers. */
static void tables_of_few_texts(void **state)
{
    (void)state;
    const struct fixture fix = { .two_sets = true };
    if (!with_latex()) skip();
    setenv("PATH", "/nonexistent", 1);
    write_runs(&fix, 2);
    write_report();
    setenv("PATH", with_tools, 1);
    assert_compiles(20);
}

int main(void)
{
    const struct CMUnitTest tests[] = { REPORT_TEST(tables_compile), REPORT_TEST(tables_of_few_texts) };
    return cmocka_run_group_tests_name("latex", tests, group_setup, temp_folder_close);
}
