#include "analysis/sheet.h"

#include "analysis/output.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <string.h>

int sheet_open(struct sheet *t, const char *name)
{
    *t = (struct sheet){ 0 };
    return snprintf(t->name, sizeof t->name, "%s", name) < (int)sizeof t->name
               ? 0
               : fail("sheet %s: the name is too long", name);
}

void sheet_close(struct sheet *t)
{
    for (int i = 0; i < t->n_cells; i++) mem_free(t->cells[i].text);
    mem_free(t->cells);
    mem_free(t->columns);
    *t = (struct sheet){ 0 };
}

struct sheet *sheet_list_next(struct sheet_list *l)
{
    if (l->n < MAX_SHEETS) return &l->sheets[l->n++];
    fail("more than %d tables of one study", MAX_SHEETS);
    return NULL;
}

void sheet_list_close(struct sheet_list *l)
{
    for (int i = 0; i < l->n; i++) sheet_close(&l->sheets[i]);
    l->n = 0;
}

int sheet_column(struct sheet *t, enum sheet_kind kind, const char *key, const char *label, int decimals)
{
    TRY(mem_grow((void **)&t->columns, (size_t)t->n_columns, (size_t)t->n_columns + 1, sizeof *t->columns, "columns"),
        "sheet %s", t->name);
    struct sheet_column *c = &t->columns[t->n_columns++];
    *c = (struct sheet_column){ .kind = kind, .decimals = decimals, .scale = 1, .csv_only = label == NULL };
    snprintf(c->key, sizeof c->key, "%s", key);
    snprintf(c->label, sizeof c->label, "%s", label ? label : "");
    return 0;
}

int sheet_column_measure(struct sheet *t, enum sheet_kind kind, enum measure m)
{
    const struct measure_def *def = &measure_defs[m];
    if (sheet_column(t, kind, def->key, def->label, def->decimals) != 0) return -1;
    t->columns[t->n_columns - 1].scale = def->scale;
    return 0;
}

static struct sheet_cell *cell_add(struct sheet *t)
{
    if (t->n_cells % 256 == 0 &&
        mem_grow((void **)&t->cells, (size_t)t->n_cells, (size_t)t->n_cells + 256, sizeof *t->cells, "cells") != 0)
        return NULL;
    return &t->cells[t->n_cells++];
}

int sheet_text(struct sheet *t, const char *text)
{
    struct sheet_cell *c = cell_add(t);
    return c ? mem_strdup(&c->text, text) : -1;
}

int sheet_number(struct sheet *t, double x)
{
    return sheet_estimate(
        t, (struct estimate){ .n = !isnan(x), .n_above = x > 0, .n_below = x < 0, .mean = x, .low = NAN, .high = NAN });
}

int sheet_estimate(struct sheet *t, struct estimate e)
{
    struct sheet_cell *c = cell_add(t);
    if (!c) return -1;
    c->e = e;
    return 0;
}

int sheet_n_rows(const struct sheet *t)
{
    return t->n_columns ? t->n_cells / t->n_columns : 0;
}

/* ---- csv ---- */

static void csv_number(FILE *out, double x)
{
    if (!isnan(x)) fprintf(out, "%.17g", x);
}

static void csv_head(const struct sheet_column *c, FILE *out)
{
    output_csv(out, c->key);
    if (c->kind >= COLUMN_ESTIMATE) fprintf(out, ",%s_low,%s_high,%s_texts,%s_above", c->key, c->key, c->key, c->key);
}

static void csv_cell(const struct sheet_column *c, const struct sheet_cell *cell, FILE *out)
{
    if (c->kind == COLUMN_TEXT) {
        output_csv(out, cell->text);
        return;
    }
    csv_number(out, cell->e.mean);
    if (c->kind == COLUMN_NUMBER) return;
    fputc(',', out);
    csv_number(out, cell->e.low);
    fputc(',', out);
    csv_number(out, cell->e.high);
    fprintf(out, ",%d,%d", cell->e.n, cell->e.n_above);
}

int sheet_write_csv(const struct sheet *t, FILE *out)
{
    for (int i = 0; i < t->n_columns; i++) {
        if (i) fputc(',', out);
        csv_head(&t->columns[i], out);
    }
    fputc('\n', out);
    for (int i = 0; i < t->n_cells; i++) {
        csv_cell(&t->columns[i % t->n_columns], &t->cells[i], out);
        fputc((i + 1) % t->n_columns ? ',' : '\n', out);
    }
    return ferror(out) ? fail("sheet %s: cannot be written", t->name) : 0;
}

/* ---- for people ---- */

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

static void cell_print(char *text, size_t n_bytes, const struct sheet_column *c, const struct sheet_cell *cell)
{
    char mean[72], low[72], high[72];
    const bool is_signed = c->kind == COLUMN_SIGNED;
    number_print(mean, sizeof mean, cell->e.mean * c->scale, c->decimals, is_signed);
    number_print(low, sizeof low, cell->e.low * c->scale, c->decimals, is_signed);
    number_print(high, sizeof high, cell->e.high * c->scale, c->decimals, is_signed);
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
                cell_print(text, sizeof text, c, &t->cells[i]);
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
            if (c->kind != COLUMN_TEXT) cell_print(text, sizeof text, c, &t->cells[i]);
            fputs(c->kind == COLUMN_TEXT ? "<td class=\"text\">" : "<td>", out);
            output_html(out, c->kind == COLUMN_TEXT ? t->cells[i].text : text);
            fputs("</td>", out);
        }
        if ((i + 1) % t->n_columns == 0) fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div>\n", out);
    return ferror(out) ? fail("sheet %s: cannot be written", t->name) : 0;
}

int sheet_write(const struct sheet *t, const char *folder, const char *footer)
{
    char tables[4096], name[80];
    struct output o = { 0 };
    if (snprintf(tables, sizeof tables, "%s/tables", folder) >= (int)sizeof tables)
        return fail("%s/tables: the path is too long", folder);
    snprintf(name, sizeof name, "%s.csv", t->name);
    int rc = output_open(&o, tables, name);
    if (rc == 0) rc = sheet_write_csv(t, o.file);
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    if (rc != 0) return rc;
    snprintf(name, sizeof name, "%s.md", t->name);
    rc = output_open(&o, tables, name);
    if (rc == 0) fprintf(o.file, "%s\n\n", t->caption);
    if (rc == 0) rc = sheet_write_md(t, o.file);
    if (rc == 0) {
        fputc('\n', o.file);
        output_md(o.file, footer);
        fputc('\n', o.file);
    }
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    return rc;
}
