#include "analysis/sheet.h"

#include "analysis/output.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <string.h>

int sheet_open(struct sheet *t, const char *name)
{
    *t = (struct sheet){ .group = -1 };
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
    t->columns[t->n_columns - 1].better = kind == COLUMN_SIGNED ? 0 : def->better; /* a difference has none */
    return 0;
}

void sheet_column_csv_only(struct sheet *t)
{
    t->columns[t->n_columns - 1].csv_only = true;
}

void sheet_made_by(struct sheet *t, const char *commit, const char *command)
{
    snprintf(t->commit, sizeof t->commit, "%.95s", commit);
    snprintf(t->command, sizeof t->command, "%.255s", command);
}

void sheet_reference(struct sheet *t)
{
    t->next_is_reference = true;
}

static struct sheet_cell *cell_add(struct sheet *t)
{
    if (t->n_cells % 256 == 0 &&
        mem_grow((void **)&t->cells, (size_t)t->n_cells, (size_t)t->n_cells + 256, sizeof *t->cells, "cells") != 0)
        return NULL;
    struct sheet_cell *c = &t->cells[t->n_cells++];
    c->reference = t->next_is_reference;
    t->next_is_reference = false;
    return c;
}

int sheet_text(struct sheet *t, const char *text)
{
    struct sheet_cell *c = cell_add(t);
    return c ? mem_strdup(&c->text, text) : -1;
}

int sheet_number(struct sheet *t, double x)
{
    struct estimate e = estimate_none();
    e.n = !isnan(x);
    e.n_above = x > 0;
    e.n_below = x < 0;
    e.mean = e.median = x;
    return sheet_estimate(t, e);
}

int sheet_estimate(struct sheet *t, struct estimate e)
{
    struct sheet_cell *c = cell_add(t);
    if (!c) return -1;
    c->e = e;
    return 0;
}

int sheet_ratio(struct sheet *t, struct estimate e)
{
    if (sheet_estimate(t, e) != 0) return -1;
    t->cells[t->n_cells - 1].ratio = true;
    return 0;
}

int sheet_undefined(struct sheet *t)
{
    if (sheet_estimate(t, estimate_none()) != 0) return -1;
    return mem_strdup(&t->cells[t->n_cells - 1].text, "undefined");
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

/* After the column's key. */
static const char *const csv_parts[] = { "", "_low", "_high", "_error", "_median", "_quartile_1", "_quartile_3", "_texts", "_above" };
enum { N_CSV_PARTS = sizeof csv_parts / sizeof csv_parts[0] };

static void csv_head(const struct sheet_column *c, FILE *out)
{
    char key[96];
    for (int i = 0; i < (c->kind >= COLUMN_MEAN ? N_CSV_PARTS : 1); i++) {
        snprintf(key, sizeof key, "%s%s", c->key, csv_parts[i]);
        if (i) fputc(',', out);
        output_csv(out, key);
    }
}

static void csv_cell(const struct sheet_column *c, const struct sheet_cell *cell, FILE *out)
{
    const struct estimate *e = &cell->e;
    const double parts[N_CSV_PARTS] = { e->mean, e->low, e->high, e->error, e->median, e->quartiles[0], e->quartiles[1], e->n, e->n_above };
    if (c->kind == COLUMN_TEXT) output_csv(out, cell->text);
    for (int i = 0; i < (c->kind == COLUMN_TEXT ? 0 : c->kind >= COLUMN_MEAN ? N_CSV_PARTS : 1); i++) {
        if (i) fputc(',', out);
        csv_number(out, parts[i]);
    }
}

static void csv_made_by(const struct sheet *t, FILE *out)
{
    if (!t->commit[0]) return;
    fputc(',', out);
    output_csv(out, t->commit);
    fputc(',', out);
    output_csv(out, t->command);
}

int sheet_write_csv(const struct sheet *t, FILE *out)
{
    for (int i = 0; i < t->n_columns; i++) {
        if (i) fputc(',', out);
        csv_head(&t->columns[i], out);
    }
    fputs(t->commit[0] ? ",commit,command\n" : "\n", out);
    for (int i = 0; i < t->n_cells; i++) {
        csv_cell(&t->columns[i % t->n_columns], &t->cells[i], out);
        if ((i + 1) % t->n_columns) {
            fputc(',', out);
            continue;
        }
        csv_made_by(t, out);
        fputc('\n', out);
    }
    return ferror(out) ? fail("sheet %s: cannot be written", t->name) : 0;
}
