/* Sheets for people: rounded, as Markdown and HTML; their files. */
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

void sheet_cell_print(char *text, size_t n_bytes, const struct sheet_column *c, const struct sheet_cell *cell,
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
                sheet_cell_print(text, sizeof text, c, &t->cells[i], c->decimals);
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
            if (c->kind != COLUMN_TEXT) sheet_cell_print(text, sizeof text, c, &t->cells[i], c->decimals);
            fputs(c->kind == COLUMN_TEXT ? "<td class=\"text\">" : "<td>", out);
            output_html(out, c->kind == COLUMN_TEXT ? t->cells[i].text : text);
            fputs("</td>", out);
        }
        if ((i + 1) % t->n_columns == 0) fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
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
