/* core/yaml_node.h: how nodes come into a tree; the reader of documents and the overrides use it.
 *
 * All memory is the tree's, and goes with it.  NULL or -1: no memory.                                   */
#ifndef CORE_YAML_NODE_H
#define CORE_YAML_NODE_H

#include "core/yaml_tree.h"

struct yaml_node *yaml_node_new(struct yaml_tree *t, enum yaml_kind kind, struct diag_mark at);
const char       *yaml_text_new(struct yaml_tree *t, const char *text, size_t n); /* a copy, 0-terminated */
int               yaml_node_add(struct yaml_tree *t, struct yaml_node *parent, struct yaml_node *child);

/* Sets map[key] to value (a node of this tree or of one that outlives it): adds the key or replaces its value. */
int yaml_put(struct yaml_tree *t, struct yaml_node *map, const char *key, size_t n_key, struct yaml_node *value,
             struct diag_mark at);

#endif
