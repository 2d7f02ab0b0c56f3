/* core/yaml_tree.h: a YAML document as a tree of nodes that remember where they were written.
 *
 * libyaml's events, read under caps that stop early, so that a hostile file costs neither time nor memory: 1 MiB,
 * depth 48, 100,000 nodes (those that aliases copy counted), 256 anchors, 1,024 keys a map.  Nothing is resolved: a scalar is its
 * text, and what it means is the schema's to say.  Refused with a place: keys given twice, keys that are not
 * scalars, merge keys (<<), tags, an alias inside its own anchor, a second document, an empty file.        */
#ifndef CORE_YAML_TREE_H
#define CORE_YAML_TREE_H

#include "core/diag.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    YAML_MAX_BYTES = 1 << 20,
    YAML_MAX_DEPTH = 48,
    YAML_MAX_NODES = 100000,
    YAML_MAX_ANCHORS = 256,
    YAML_MAX_KEYS = 1024 /* of one map: the search for duplicates is quadratic in it */
};

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    struct diag_mark at;
    const char *text;           /* scalar: 0-terminated, without NUL bytes */
    bool plain;                 /* scalar: written without quotes */
    struct yaml_node **items;   /* list: its items; map: key, value, key, value .. [n_items] */
    int n_items, max_items;
};

struct yaml_tree {
    struct yaml_node *root;     /* NULL until opened */
    struct yaml_chunk *chunks;  /* owned: all nodes, texts and item arrays */
    int n_nodes;
    bool whole;                 /* read to its end, after errors that do not stop the reading too */
};

/* Reads text[n] as source number `source` of d.  Errors of the document go to d (and -1 is returned); -1 without
 * one means no memory.  A key given twice is an error that leaves the tree whole: yaml_get() finds the first, so that a
 * reader can look for more errors.  text is copied where it is needed. */
int  yaml_tree_open(struct yaml_tree *t, const char *text, size_t n, int source, struct diag *d);
void yaml_tree_close(struct yaml_tree *t); /* safe on a zeroed, half-opened or closed tree */

/* A map's value by key, and the key's own node; NULL where the node is no map or has no such key. */
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key);
const struct yaml_node *yaml_key(const struct yaml_node *map, const char *key);

/* Where an error is shown that several keys make together: at the value of the first of keys (dotted, NULL-terminated)
 * that the command line gives (a source above 0), else of the first that is written, else at `otherwise`. */
struct diag_mark yaml_at(const struct yaml_node *map, const char *const *keys, struct diag_mark otherwise);

/* "a map", "a list", "a value": what a node is, for messages. */
const char *yaml_kind_name(const struct yaml_node *n);

#endif
