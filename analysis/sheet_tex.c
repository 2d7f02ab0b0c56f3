/* Sheets for people who write papers: LaTeX with booktabs, a float no wider than the page or, where it is longer, a longtable. */
#include "analysis/sheet.h"

#include "core/err.h"

#include <math.h>
#include <string.h>

/* Text of files and labels: what LaTeX takes for its own is escaped, and the few letters that its fonts may lack. */
static void tex_text(FILE *out, const char *text)
{
    static const char *const replace[][2] = {
        { "\\", "\\textbackslash{}" },
        { "{", "\\{" },
        { "}", "\\}" },
        { "$", "\\$" },
        { "&", "\\&" },
        { "#", "\\#" },
        { "%", "\\%" },
        { "_", "\\_" },
        { "^", "\\textasciicircum{}" },
        { "~", "\\textasciitilde{}" },
        { "<", "$<$" },
        { ">", "$>$" },
        { "|", "$|$" },
        { "−", "$-$" },
        { "–", "--" },
        { "×", "$\\times$" },
        { "\n", " " },
        { "\r", " " },
    };
    while (*text) {
        size_t i = 0;
        while (i < sizeof replace / sizeof replace[0] && strncmp(text, replace[i][0], strlen(replace[i][0])) != 0) i++;
        const bool found = i < sizeof replace / sizeof replace[0];
        if (found)
            fputs(replace[i][1], out);
        else
            fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, out);
        text += found ? strlen(replace[i][0]) : 1;
    }
}

/* Two digits of the standard error, where there is one. */
static int decimals_of(const struct sheet_column *c, const struct estimate *e)
{
    const double error = e->error * fabs(c->scale);
    if (!(error > 0) || isinf(error) || error <= 1e-14 * fabs(e->mean * c->scale)) return c->decimals;
    const int decimals = 1 - (int)floor(log10(error));
    return decimals < 0 ? 0 : decimals > 9 ? 9 : decimals;
}

static bool same_group(const struct sheet *t, int row, int other)
{
    if (t->group < 0) return true;
    return strcmp(t->cells[row * t->n_columns + t->group].text, t->cells[other * t->n_columns + t->group].text) == 0;
}

/* Whether no other row of its group has a better value, and one has a worse. */
static bool is_best(const struct sheet *t, int row, int column)
{
    const int better = t->columns[column].better;
    const double x = t->cells[row * t->n_columns + column].e.mean;
    bool worse = false;
    if (better == 0 || isnan(x) || t->cells[row * t->n_columns].reference) return false;
    for (int i = 0; i < sheet_n_rows(t); i++) {
        const double y = t->cells[i * t->n_columns + column].e.mean;
        if (isnan(y) || t->cells[i * t->n_columns].reference || !same_group(t, row, i)) continue;
        if (better * (y - x) > 0) return false;
        worse = worse || better * (y - x) < 0;
    }
    return worse;
}

/* Characters, not bytes. */
static size_t letters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* In em, of a cell's text that would make its column too wide and is broken into lines; 0: it is not. */
static int tex_width(const char *text, bool head)
{
    enum { LONG_HEAD = 12, LONG_CELL = 36, VERY_LONG_CELL = 72 };
    const size_t n = letters(text);
    return head ? n > LONG_HEAD ? 8 : 0 : n > VERY_LONG_CELL ? 22 : n > LONG_CELL ? 14 : 0;
}

/* Of the whole table, about: two letters to an em. */
static int tex_lines(const struct sheet *t)
{
    int n = 0;
    for (int row = 0; row < sheet_n_rows(t); row++) {
        int most = 1;
        for (int i = 0; i < t->n_columns; i++) {
            if (t->columns[i].kind != COLUMN_TEXT || t->columns[i].csv_only) continue;
            const char *text = t->cells[row * t->n_columns + i].text;
            const int width = tex_width(text, false), lines = width ? (int)letters(text) / (2 * width) + 1 : 1;
            most = lines > most ? lines : most;
        }
        n += most;
    }
    return n;
}

/* Letters across the whole table, about. */
static int tex_breadth(const struct sheet *t)
{
    char text[256];
    int sum = 0;
    for (int i = 0; i < t->n_columns; i++) {
        const struct sheet_column *c = &t->columns[i];
        int most = 2 * tex_width(c->label, true);
        for (int row = 0; row < sheet_n_rows(t) && !c->csv_only; row++) {
            const struct sheet_cell *cell = &t->cells[row * t->n_columns + i];
            if (c->kind != COLUMN_TEXT) sheet_cell_print(text, sizeof text, c, cell, c->decimals);
            const char *words = c->kind == COLUMN_TEXT ? cell->text : text;
            const int width = tex_width(words, false),
                      n = c->kind == COLUMN_TEXT && width ? 2 * width : (int)letters(words);
            most = n > most ? n : most;
        }
        sum += c->csv_only ? 0 : most + 2;
    }
    return sum;
}

static void tex_words(FILE *out, const char *text, bool head, bool right)
{
    const int width = tex_width(text, head);
    if (width) fprintf(out, "\\parbox[%c]{%dem}{\\ragged%s ", head ? 'b' : 't', width, right ? "left" : "right");
    tex_text(out, text);
    if (width) fputc('}', out);
}

static void tex_cell(const struct sheet *t, int row, int column, FILE *out)
{
    char text[256];
    const struct sheet_column *c = &t->columns[column];
    const struct sheet_cell *cell = &t->cells[row * t->n_columns + column];
    if (c->kind == COLUMN_TEXT) {
        tex_words(out, cell->text, false, false);
        return;
    }
    sheet_cell_print(text, sizeof text, c, cell, decimals_of(c, &cell->e));
    const bool bold = is_best(t, row, column);
    if (bold) fputs("\\textbf{", out);
    tex_text(out, text);
    if (bold) fputc('}', out);
}

static void tex_comment(FILE *out, const char *text)
{
    fputs("% ", out);
    for (; *text; text++) fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
    fputc('\n', out);
}

static void tex_line_end(const struct sheet *t, int column, FILE *out)
{
    bool more = false;
    for (int i = column + 1; i < t->n_columns; i++) more = more || !t->columns[i].csv_only;
    fputs(more ? " & " : " \\\\\n", out);
}

static void tex_columns(const struct sheet *t, FILE *out)
{
    for (int i = 0; i < t->n_columns; i++)
        if (!t->columns[i].csv_only) fputc(t->columns[i].kind == COLUMN_TEXT ? 'l' : 'r', out);
}

static void tex_head(const struct sheet *t, FILE *out)
{
    fputs("\\toprule\n", out);
    for (int i = 0; i < t->n_columns; i++) {
        if (t->columns[i].csv_only) continue;
        tex_words(out, t->columns[i].label, true, t->columns[i].kind != COLUMN_TEXT);
        tex_line_end(t, i, out);
    }
    fputs("\\midrule\n", out);
}

static void tex_rows(const struct sheet *t, FILE *out)
{
    for (int row = 0; row < sheet_n_rows(t); row++) {
        if (row > 0 && !same_group(t, row, row - 1)) fputs("\\addlinespace\n", out);
        for (int i = 0; i < t->n_columns; i++) {
            if (t->columns[i].csv_only) continue;
            tex_cell(t, row, i, out);
            tex_line_end(t, i, out);
        }
    }
}

static void tex_caption(const struct sheet *t, FILE *out)
{
    fputs("\\caption{", out);
    tex_text(out, t->caption);
    fprintf(out, "}\n\\label{tab:%s}", t->name);
}

/* A float no wider than the page. */
static void tex_float(const struct sheet *t, FILE *out)
{
    fputs("% Needs \\usepackage{booktabs,graphicx}.\n\\begin{table}\n\\centering\\footnotesize\n", out);
    tex_caption(t, out);
    fputs("\n\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n\\begin{tabular}{", out);
    tex_columns(t, out);
    fputs("}\n", out);
    tex_head(t, out);
    tex_rows(t, out);
    fputs("\\bottomrule\n\\end{tabular}}\n\\end{table}\n", out);
}

/* Over as many pages as it takes. */
static void tex_long(const struct sheet *t, FILE *out)
{
    enum { SCRIPT_LETTERS = 140 };
    fprintf(out,
            "%% Needs "
            "\\usepackage{booktabs,longtable}.\n{\\%s\n\\setlength{\\tabcolsep}{3pt}\\setlength{\\LTcapwidth}{"
            "\\linewidth}\n"
            "\\begin{longtable}{",
            tex_breadth(t) > SCRIPT_LETTERS ? "tiny" : "scriptsize");
    tex_columns(t, out);
    fputs("}\n", out);
    tex_caption(t, out);
    fputs("\\\\\n", out);
    tex_head(t, out);
    fputs("\\endfirsthead\n", out);
    tex_head(t, out);
    fputs("\\endhead\n\\bottomrule\n\\endfoot\n", out);
    tex_rows(t, out);
    fputs("\\end{longtable}}\n", out);
}

int sheet_write_tex(const struct sheet *t, FILE *out, const char *footer)
{
    enum { PAGE_LINES = 44 };
    tex_comment(out, footer);
    if (tex_lines(t) > PAGE_LINES)
        tex_long(t, out);
    else
        tex_float(t, out);
    return ferror(out) ? fail("sheet %s: cannot be written", t->name) : 0;
}
