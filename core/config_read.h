/* core/config_read.h: the sections of a config's tree into the struct, one function each; config_open() calls them.
 *
 * Errors in the config go to c->diag; -1 for no memory alone.                                          */
#ifndef CORE_CONFIG_READ_H
#define CORE_CONFIG_READ_H

#include "core/axes.h"
#include "core/config.h"
#include "core/yaml_tree.h"

struct config_store {
    struct yaml_tree *trees;       /* owned [n_sources]: 0 the file's, i the value of override i */
    struct diag_source *sources;   /* owned [n_sources], names of overrides owned */
    int n_sources;
    struct notes notes;
};

int config_read_model(struct config *c, const struct yaml_node *node);
int config_read_device(struct config *c);
int config_read_replay(struct config *c);
int config_read_prompt(struct config *c, const struct yaml_node *node, struct schema_setting *settings);
int config_read_points(struct config *c, const struct yaml_node *root, struct schema_setting *prompt,
                       struct schema_setting *decode, struct schema_setting *root_settings);
int config_read_lanes(struct config *c, const struct yaml_node *list);

/* What a map's keys say together and no table can: of the lanes alone, and of lanes and runs. */
void config_check_lanes(struct config *c);
void config_check_runs(struct config *c, const struct schema_setting *seeds);
/* What an experiment asks of a config beside its own keys; c->metrics of one that decides them itself. */
void config_check_experiment(struct config *c, bool metrics_given);

#endif
