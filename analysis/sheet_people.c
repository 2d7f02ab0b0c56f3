/* Sheets for people: rounded, as Markdown, HTML and LaTeX. */
#include "analysis/sheet.h"

#include "analysis/output.h"

#include "core/err.h"

#include <math.h>
#include <string.h>

/* A minus that is one, and no "-0.000". */
static void number_print(char *text, size_t n_bytes, double x, int decimals, bool is_signed)
{
    char digits[64];
    if (isnan(x)) {
        snprintf(text, n_bytes, "–");
        return;
    }
    if (isinf(x) || fabs(x) > 1e12) {
        snprintf(text, n_bytes, "%.3g", x);
        return;
    }
    snprintf(digits, sizeof digits, "%.*f", decimals, fabs(x));
    const bool zero = digits[strspn(digits, "0.")] == '\0';
    snprintf(text, n_bytes, "%s%s", zero ? "" : x < 0 ? "−" : is_signed ? "+" : "", digits);
}

static void cell_print(char *text, size_t n_bytes, const struct sheet_column *c, const struct sheet_cell *cell,
                       int decimals)
{
    char mean[72], low[72], high[72];
    const bool is_signed = c->kind == COLUMN_SIGNED && !cell->ratio;
    if (cell->text) {
        snprintf(text, n_bytes, "%s", cell->text);
        return;
    }
    if (c->kind == COLUMN_P && cell->e.mean < 0.5 * pow(10, -decimals)) {
        snprintf(text, n_bytes, "< %.*f", decimals, pow(10, -decimals));
        return;
    }
    number_print(mean, sizeof mean, cell->e.mean * c->scale, decimals, is_signed);
    number_print(low, sizeof low, cell->e.low * c->scale, decimals, is_signed);
    number_print(high, sizeof high, cell->e.high * c->scale, decimals, is_signed);
    int n = snprintf(text, n_bytes, "%s", mean);
    if (isnan(cell->e.mean) || c->kind < COLUMN_ESTIMATE) return;
    if (!isnan(cell->e.low)) n += snprintf(text + n, n_bytes - (size_t)n, " [%s, %s]", low, high);
    if (is_signed) snprintf(text + n, n_bytes - (size_t)n, " (%d/%d)", cell->e.n_above, cell->e.n);
}

int sheet_write_md(const struct sheet *t, FILE *out)
{
    char text[256];
    for (int i = 0; i < t->n_columns; i++) {
        if (t->columns[i].csv_only) continue;
        fputs("| ", out);
        output_md(out, t->columns[i].label);
        fputc(' ', out);
    }
    fputs("|\n", out);
    for (int i = 0; i < t->n_columns; i++)
        if (!t->columns[i].csv_only) fputs(t->columns[i].kind == COLUMN_TEXT ? "|---" : "|--:", out);
    fputs("|\n", out);
    for (int i = 0; i < t->n_cells; i++) {
        const struct sheet_column *c = &t->columns[i % t->n_columns];
        if (!c->csv_only) {
            fputs("| ", out);
            if (c->kind == COLUMN_TEXT)
                output_md(out, t->cells[i].text);
            else {
                cell_print(text, sizeof text, c, &t->cells[i], c->decimals);
                if (c->kind == COLUMN_P)
                    output_md(out, text); /* it may hold a '<' */
                else
                    fputs(text, out);
            }
            fputc(' ', out);
        }
        if ((i + 1) % t->n_columns == 0) fputs("|\n", out);
    }
    return ferror(out) ? fail("sheet %s: cannot be written", t->name) : 0;
}

int sheet_write_html(const struct sheet *t, FILE *out)
{
    char text[256];
    fputs("<div class=\"wide\"><table>\n<thead><tr>", out);
    for (int i = 0; i < t->n_columns; i++) {
        if (t->columns[i].csv_only) continue;
        fputs(t->columns[i].kind == COLUMN_TEXT ? "<th class=\"text\">" : "<th>", out);
        output_html(out, t->columns[i].label);
        fputs("</th>", out);
    }
    fputs("</tr></thead>\n<tbody>\n", out);
    for (int i = 0; i < t->n_cells; i++) {
        const struct sheet_column *c = &t->columns[i % t->n_columns];
        if (i % t->n_columns == 0) fputs("<tr>", out);
        if (!c->csv_only) {
            if (c->kind != COLUMN_TEXT) cell_print(text, sizeof text, c, &t->cells[i], c->decimals);
            fputs(c->kind == COLUMN_TEXT ? "<td class=\"text\">" : "<td>", out);
            output_html(out, c->kind == COLUMN_TEXT ? t->cells[i].text : text);
            fputs("</td>", out);
        }
        if ((i + 1) % t->n_columns == 0) fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
    return ferror(out) ? fail("sheet %s: cannot be written", t->name) : 0;
}

/* ---- LaTeX ---- */

/* Text of files and labels: what LaTeX takes for its own is escaped, and the few letters that its fonts may lack. */
static void tex_text(FILE *out, const char *text)
{
    static const char *const replace[][2] = {
        { "\\", "\\textbackslash{}" }, { "{", "\\{" },  { "}", "\\}" },
        { "$", "\\$" },                { "&", "\\&" },  { "#", "\\#" },
        { "%", "\\%" },                { "_", "\\_" },  { "^", "\\textasciicircum{}" },
        { "~", "\\textasciitilde{}" }, { "<", "$<$" },  { ">", "$>$" },
        { "|", "$|$" },                { "−", "$-$" },  { "–", "--" },
        { "×", "$\\times$" },          { "\n", " " },   { "\r", " " },
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

static void tex_cell(const struct sheet *t, int row, int column, FILE *out)
{
    char text[256];
    const struct sheet_column *c = &t->columns[column];
    const struct sheet_cell *cell = &t->cells[row * t->n_columns + column];
    if (c->kind == COLUMN_TEXT) {
        tex_text(out, cell->text);
        return;
    }
    cell_print(text, sizeof text, c, cell, decimals_of(c, &cell->e));
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

int sheet_write_tex(const struct sheet *t, FILE *out, const char *footer)
{
    tex_comment(out, footer);
    fputs("% Needs \\usepackage{booktabs}; too wide a table fits into a landscape page or \\resizebox.\n"
          "\\begin{table}\n\\centering\n\\caption{",
          out);
    tex_text(out, t->caption);
    fprintf(out, "}\n\\label{tab:%s}\n\\begin{tabular}{", t->name);
    for (int i = 0; i < t->n_columns; i++)
        if (!t->columns[i].csv_only) fputc(t->columns[i].kind == COLUMN_TEXT ? 'l' : 'r', out);
    fputs("}\n\\toprule\n", out);
    for (int i = 0; i < t->n_columns; i++) {
        if (t->columns[i].csv_only) continue;
        tex_text(out, t->columns[i].label);
        tex_line_end(t, i, out);
    }
    fputs("\\midrule\n", out);
    for (int row = 0; row < sheet_n_rows(t); row++) {
        if (row > 0 && !same_group(t, row, row - 1)) fputs("\\addlinespace\n", out);
        for (int i = 0; i < t->n_columns; i++) {
            if (t->columns[i].csv_only) continue;
            tex_cell(t, row, i, out);
            tex_line_end(t, i, out);
        }
    }
    fputs("\\bottomrule\n\\end{tabular}\n\\end{table}\n", out);
    return ferror(out) ? fail("sheet %s: cannot be written", t->name) : 0;
}

/* ---- files ---- */

static int md_file(const struct sheet *t, FILE *out, const char *footer)
{
    fprintf(out, "%s\n\n", t->caption);
    if (sheet_write_md(t, out) != 0) return -1;
    fputc('\n', out);
    output_md(out, footer);
    fputc('\n', out);
    return 0;
}

static int csv_file(const struct sheet *t, FILE *out, const char *footer)
{
    (void)footer;
    return sheet_write_csv(t, out);
}

int sheet_write(const struct sheet *t, const char *folder, const char *footer)
{
    static const struct {
        const char *extension;
        int (*write)(const struct sheet *t, FILE *out, const char *footer);
    } files[] = { { "csv", csv_file }, { "md", md_file }, { "tex", sheet_write_tex } };
    char tables[4096], name[80];
    int rc = 0;
    if (snprintf(tables, sizeof tables, "%s/tables", folder) >= (int)sizeof tables)
        return fail("%s/tables: the path is too long", folder);
    for (size_t i = 0; i < sizeof files / sizeof files[0] && rc == 0; i++) {
        struct output o = { 0 };
        snprintf(name, sizeof name, "%s.%s", t->name, files[i].extension);
        rc = output_open(&o, tables, name);
        if (rc == 0) rc = files[i].write(t, o.file, footer);
        if (rc == 0) rc = output_done(&o);
        output_close(&o);
    }
    return rc;
}
