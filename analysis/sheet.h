/* analysis/sheet.h: a sheet is a table that is written as csv in full precision, and as Markdown and HTML rounded for people.
 *
 * Columns first, then cells row by row, one for each column.  What is missing is an empty field in csv, a dash for people.  */
#ifndef ANALYSIS_SHEET_H
#define ANALYSIS_SHEET_H

#include "analysis/estimate.h"
#include "analysis/quantity.h"

#include <stdio.h>

enum sheet_kind {
    COLUMN_TEXT,
    COLUMN_NUMBER,
    COLUMN_ESTIMATE, /* csv: KEY, KEY_low, KEY_high, KEY_texts, KEY_above; people: mean [low, high] */
    COLUMN_SIGNED    /* the same, a difference: people see its sign, and k/n texts above 0 */
};

struct sheet_column {
    char key[64], label[96];
    enum sheet_kind kind;
    int decimals;
    double scale; /* people see value * scale */
    bool csv_only;
};

struct sheet_cell {
    char *text;        /* owned; NULL unless the column is text */
    struct estimate e; /* a number is e.mean */
};

struct sheet {
    char name[64]; /* of its files */
    char caption[1280];
    struct sheet_column *columns; /* owned [n_columns] */
    struct sheet_cell *cells;     /* owned [n_cells], row by row */
    int n_columns, n_cells;
    bool folded; /* shown on demand: for reference, not for reading */
};

/* The tables of one study, in the order of the page. */
enum { MAX_SHEETS = 48 };
struct sheet_list {
    struct sheet sheets[MAX_SHEETS];
    int n;
};
struct sheet *sheet_list_next(struct sheet_list *l); /* a zeroed one, now the last of the list, to be opened; NULL and a failure: full */
void sheet_list_close(struct sheet_list *l);

int sheet_open(struct sheet *t, const char *name);
void sheet_close(struct sheet *t);
int sheet_column(struct sheet *t, enum sheet_kind kind, const char *key, const char *label, int decimals);
int sheet_column_measure(struct sheet *t, enum sheet_kind kind, enum measure m);
int sheet_text(struct sheet *t, const char *text);
int sheet_number(struct sheet *t, double x);
int sheet_estimate(struct sheet *t, struct estimate e);
int sheet_n_rows(const struct sheet *t);

int sheet_write_csv(const struct sheet *t, FILE *out);
int sheet_write_md(const struct sheet *t, FILE *out);
int sheet_write_html(const struct sheet *t, FILE *out);

/* FOLDER/tables/NAME.csv and .md; footer: the last line of the .md. */
int sheet_write(const struct sheet *t, const char *folder, const char *footer);

#endif
