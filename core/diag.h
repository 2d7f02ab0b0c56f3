/* core/diag.h: what is wrong with a config, collected so that a reader sees several errors at once.
 *
 *     quickstart.yaml:14:9: error: unknown key 'sparisty' in a family of lanes; did you mean 'sparsity'?
 *       - {name: resa, sparisty: 0.9}
 *                      ^
 *
 * Positions refer to sources: source 0 is the config file, source i > 0 the i-th override of the command line.
 * Everything is kept in the struct, so that reporting needs no memory; from the 21st error on they are only
 * counted.                                                                                             */
#ifndef CORE_DIAG_H
#define CORE_DIAG_H

#include <stddef.h>
#include <stdio.h>

enum { DIAG_MAX_ERRORS = 20, DIAG_MESSAGE_MAX = 640 };

struct diag_mark {
    int source;       /* index into diag.sources */
    int line, column; /* from 1, in characters; 0: the whole source */
};

struct diag_source {
    const char *name; /* borrowed: the path as given, or "command line: KEY" */
    const char *text; /* borrowed: what the line and its caret are taken from */
    size_t n_text;
};

struct diag_error {
    struct diag_mark at;
    char message[DIAG_MESSAGE_MAX];
};

struct diag {
    const struct diag_source *sources; /* borrowed [n_sources] */
    int n_sources;
    struct diag_error errors[DIAG_MAX_ERRORS];
    int n_errors; /* may exceed DIAG_MAX_ERRORS: then the rest was dropped */
};

/* What must not reach a terminal becomes '?', a byte each: control characters but for tabs, bytes that are not UTF-8.
 * In place; returns text.  Errors are cleaned when they are added, names and lines when they are printed. */
char *diag_clean(char *text);

/* Adds an error; returns -1.  The failure's text becomes the first error's line, with the number of others. */
int diag_add(struct diag *d, struct diag_mark at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Every error with its line and caret, in the order of the sources. */
void diag_print(const struct diag *d, FILE *out);

/* The candidate nearest to word, or NULL where none is near: equal but for case and '-' for '_' first, else
 * the least Damerau-Levenshtein distance (adjacent transpositions) of at most max(1, length / 3). */
const char *diag_nearest(const char *word, const char *const *candidates, int n);

/* "a, b, c", as much of it as fits. */
void diag_join(const char *const *words, int n, char *text, size_t n_bytes);

#endif
