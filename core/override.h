/* core/override.h: `key=value` of the command line, put into a config's tree before it is checked.
 *
 * Keys are dotted; a family of lanes goes by its name: `lanes.resa.interval=[16,32]`, `decode.tokens=64`,
 * `model={synthetic: {layers: 4}}`.  The value is YAML in flow form.  Maps on the way that are not there are
 * made; whether the key exists is the tables' to say.                                                  */
#ifndef CORE_OVERRIDE_H
#define CORE_OVERRIDE_H

#include "core/yaml_tree.h"

/* arg is source number `source` of d; value (zeroed) gets the value's nodes and has to outlive the tree.
 * Returns -1 after an error in d, or without memory. */
int override_apply(struct yaml_tree *tree, const char *arg, int source, struct yaml_tree *value, struct diag *d);

#endif
