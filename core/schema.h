/* core/schema.h: tables that say what a section of a config may hold: they parse, check, refuse, document, echo.
 *
 * A section is a map; each of its keys is one row.  schema_read() turns the map into settings (one for each row, with
 * one value, or several where the row is an axis), collecting every error; schema_store() puts a value into a C
 * struct at the row's offset; schema_format() writes it back as YAML that YAML 1.1 readers take for the same type.
 *
 * Scalars are read by the row's kind under YAML 1.2's core rules: a number field takes 1e-3, .5 and 1; 012, 1_000,
 * yes, no, quoted numbers, .nan and .inf are refused with what to write instead.                                  */
#ifndef CORE_SCHEMA_H
#define CORE_SCHEMA_H

#include "core/diag.h"
#include "core/yaml_tree.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The C type at `at` of the record. */
enum schema_kind {
    SCHEMA_TEXT,   /* const char *, borrowed from the tree */
    SCHEMA_NAME,   /* the same; letters, digits, '.', '_', '-', at most 63, the first a letter or digit */
    SCHEMA_INT,    /* int */
    SCHEMA_SEED,   /* uint64_t, 0 .. 2^53 */
    SCHEMA_REAL,   /* double, finite */
    SCHEMA_BOOL,   /* bool */
    SCHEMA_CHOICE, /* int: index into names */
    SCHEMA_FLAGS,  /* unsigned: a list of names, bit 1 << index each */
    SCHEMA_NODE    /* nothing: its owner reads the node */
};

struct schema_field {
    const char *key;
    enum schema_kind kind;
    bool axis;                /* a list of values is allowed and multiplies */
    size_t at;                /* offset of the value in its record */
    double min, max;          /* of numbers, both allowed; max also bounds the length of texts */
    const char *const *names; /* choice, flags: NULL-terminated */
    const char *word;         /* numbers: a word that may stand for word_value; NULL: none */
    double word_value;
    const char *def;          /* the default as it would be written; NULL: the key must be given; "": see the help */
    const char *units, *help;
};

struct schema {
    const char *title;        /* what the map is, for messages: "a family of lanes" */
    const char *path;         /* where it stands in a config, for the reference: "lanes[]" */
    const struct schema_field *fields;
    int n_fields;
};

struct schema_value {
    double number;            /* numbers, bool, choice, flags */
    const char *text;         /* text and name: borrowed */
    const struct yaml_node *node; /* where it is written; NULL: the default */
};

struct schema_setting {
    struct schema_value *values; /* owned [n]; n = 0: the key is absent and has no default */
    int n;
    bool is_list;                /* written as a list, be it of one value */
    const struct yaml_node *node; /* the value as written, NULL: the default */
};

/* Reads map into settings [s->n_fields] (zeroed before).  path is where the map stands ("lanes.resa"), "" at the top.
 * Errors go to d; -1 is returned for no memory alone, so that the caller goes on and finds more errors. */
int  schema_read(const struct schema *s, const struct yaml_node *map, const char *path, struct schema_setting *settings,
                 struct diag *d);
void schema_settings_close(struct schema_setting *settings, int n);

/* One scalar of a field's kind; 0, or -1 after an error in d. */
int  schema_read_value(const struct schema_field *f, const struct yaml_node *n, const char *path, struct schema_value *v,
                       struct diag *d);

void schema_store(const struct schema_field *f, const struct schema_value *v, void *record);
/* The settings' first values, and the defaults, into the record. */
void schema_store_all(const struct schema *s, const struct schema_setting *settings, void *record);

/* The index of a key in the table, -1 if there is none. */
int  schema_find(const struct schema *s, const char *key);
/* An error at a key that the section does not have, with the nearest and all that it has. */
void schema_refuse_key(const struct schema *s, const struct yaml_node *key, const char *path, struct diag *d);

/* The record's value as YAML text, numbers in one canonical form. */
void schema_format(const struct schema_field *f, const void *record, char *text, size_t n);
/* The shortest decimal that reads back as x, with a point or in the form d.de+dd, as YAML 1.1 floats need. */
void schema_format_real(double x, char *text, size_t n);
/* A text as a YAML scalar: plain where every reader takes it for text, else in double quotes, on one line and without
 * characters that a reader refuses or folds.  n bytes hold all of it where n is at least GROWTH * its length + EXTRA. */
enum { SCHEMA_TEXT_GROWTH = 4, SCHEMA_TEXT_EXTRA = 16 };
void schema_format_text(const char *value, char *text, size_t n);

/* The section as a Markdown table. */
void schema_document(const struct schema *s, FILE *out);

#endif
