/* analysis/sheet.h: a sheet is a table that is written as csv in full precision, and rounded for people as Markdown, HTML
 * and LaTeX (booktabs with graphicx or longtable; there each value has as many decimals as its standard error has two digits of).
 *
 * Columns first, then cells row by row, one for each column.  What is missing is an empty field in csv, a dash for people.
 * Where a column has a direction, the best value of each group of rows is bold in LaTeX; rows of reference are not compared.  */
#ifndef ANALYSIS_SHEET_H
#define ANALYSIS_SHEET_H

#include "analysis/estimate.h"
#include "analysis/quantity.h"

#include <stdio.h>

enum sheet_kind {
    COLUMN_TEXT,
    COLUMN_NUMBER,
    COLUMN_P,        /* a probability: people see "< 0.0001" rather than 0.0000 */
    COLUMN_MEAN,     /* csv: KEY, KEY_low, _high, _error, _median, _quartile_1, _quartile_3, _texts, _above; people: the mean */
    COLUMN_ESTIMATE, /* the same; people: mean [low, high] */
    COLUMN_SIGNED    /* the same, a difference: people see its sign, and k/n texts above 0 */
};

struct sheet_column {
    char key[64], label[96];
    enum sheet_kind kind;
    int decimals;
    double scale; /* people see value * scale */
    int better;   /* -1: less is, 1: more is, 0: neither */
    bool csv_only;
};

struct sheet_cell {
    char *text;        /* owned; of a column of numbers NULL, or what people see instead */
    struct estimate e; /* a number is e.mean */
    bool ratio;        /* of a signed column, but unsigned */
    bool reference;    /* of a row's first cell: the row is not compared */
};

struct sheet {
    char name[64]; /* of its files */
    char caption[1536];
    struct sheet_column *columns; /* owned [n_columns] */
    struct sheet_cell *cells;     /* owned [n_cells], row by row */
    int n_columns, n_cells;
    bool folded; /* shown on demand: for reference, not for reading */
    int group; /* column whose text tells groups of rows that follow one another; STUDY_ABSENT (-1): one group */
    bool next_is_reference;
    char commit[96], command[256]; /* that made the runs; "" is not told */
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
/* The last column only in csv. */
void sheet_column_csv_only(struct sheet *t);
/* What made the runs: told at the end of each file for people, and in csv as two columns. */
void sheet_made_by(struct sheet *t, const char *commit, const char *command);
/* The row that comes next is one of reference. */
void sheet_reference(struct sheet *t);
int sheet_text(struct sheet *t, const char *text);
int sheet_number(struct sheet *t, double x);
int sheet_estimate(struct sheet *t, struct estimate e);
/* A ratio in a column of differences: unsigned, and no texts above 0. */
int sheet_ratio(struct sheet *t, struct estimate e);
/* A number that there is none of by its definition: people see the word, csv nothing. */
int sheet_undefined(struct sheet *t);
int sheet_n_rows(const struct sheet *t);

int sheet_write_csv(const struct sheet *t, FILE *out);
int sheet_write_md(const struct sheet *t, FILE *out);
int sheet_write_html(const struct sheet *t, FILE *out);
int sheet_write_tex(const struct sheet *t, FILE *out, const char *footer);

/* A cell as people see it, with so many decimals. */
void sheet_cell_print(char *text, size_t n_bytes, const struct sheet_column *c, const struct sheet_cell *cell, int decimals);

/* FOLDER/tables/NAME.csv, .md and .tex; footer: the last line of the .md, a comment in the .tex. */
int sheet_write(const struct sheet *t, const char *folder, const char *footer);

#endif
