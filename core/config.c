#include "core/config.h"

#include "core/config_read.h"
#include "core/config_schema.h"
#include "core/err.h"
#include "core/mem.h"
#include "core/override.h"

#include <errno.h>
#include <string.h>

static int read_file(struct config *c)
{
    FILE *f = fopen(c->path, "rb");
    if (!f) return fail("%s: %s", c->path, strerror(errno));
    size_t n = 0;
    int rc = mem_alloc((void **)&c->text, YAML_MAX_BYTES + 2, 1, "config file");
    if (rc == 0) n = fread(c->text, 1, YAML_MAX_BYTES + 1, f);
    if (rc == 0 && ferror(f)) rc = fail("%s: %s", c->path, strerror(errno));
    fclose(f);
    if (rc != 0) return -1;
    c->n_text = n;
    return mem_grow((void **)&c->text, n, n + 1, 1, "config file"); /* gives back what the file did not need */
}

static int copy_arguments(struct config *c, const char *path, int n_overrides, char *const *overrides)
{
    if (mem_strdup(&c->path, path) != 0) return -1;
    const char *slash = strrchr(path, '/');
    if (mem_strndup(&c->folder, slash ? path : ".", slash ? (size_t)(slash - path) + (slash == path) : 1) != 0)
        return -1;
    if (n_overrides == 0) return 0;
    if (MEM_NEW(&c->overrides, n_overrides, "overrides") != 0) return -1;
    for (int i = 0; i < n_overrides; i++, c->n_overrides++)
        if (mem_strdup((char **)&c->overrides[i], overrides[i]) != 0) return -1;
    return 0;
}

static int open_store(struct config *c)
{
    if (MEM_NEW(&c->store, 1, "config") != 0) return -1;
    struct config_store *s = c->store;
    const int n = 1 + c->n_overrides;
    if (MEM_NEW(&s->trees, n, "config trees") != 0 || MEM_NEW(&s->sources, n, "config sources") != 0) return -1;
    s->n_sources = n;
    s->sources[0] = (struct diag_source){ c->path, c->text, c->n_text };
    for (int i = 0; i < c->n_overrides; i++) {
        const char *arg = c->overrides[i];
        char name[160];
        snprintf(name, sizeof name, "command line: %.*s", (int)(strcspn(arg, "=") < 120 ? strcspn(arg, "=") : 120),
                 arg);
        char *owned = NULL;
        if (mem_strdup(&owned, name) != 0) return -1;
        s->sources[i + 1] = (struct diag_source){ owned, arg, strlen(arg) };
    }
    c->diag.sources = s->sources;
    c->diag.n_sources = n;
    return 0;
}

static int read_trees(struct config *c)
{
    struct yaml_tree *trees = c->store->trees;
    if (yaml_tree_open(&trees[0], c->text, c->n_text, 0, &c->diag) != 0 && !trees[0].whole) return -1;
    for (int i = 0; i < c->n_overrides; i++) {
        const int n_before = c->diag.n_errors;
        if (override_apply(&trees[0], c->overrides[i], i + 1, &trees[i + 1], &c->diag) != 0 &&
            c->diag.n_errors == n_before)
            return -1;
    }
    return 0;
}

struct sections {
    struct schema_setting root[N_ROOT], prompt[N_PROMPT], decode[N_DECODE], trace[N_TRACE];
};

static int read_tables(struct config *c, const struct yaml_node *root, struct sections *s)
{
    const struct yaml_node *decode = yaml_get(root, "decode");
    if (schema_read(&schema_root, root, "", s->root, &c->diag) != 0 ||
        schema_read(&schema_decode, decode, "decode", s->decode, &c->diag) != 0 ||
        schema_read(&schema_trace, yaml_get(root, "trace"), "trace", s->trace, &c->diag) != 0)
        return -1;
    for (int i = 0; i < N_ROOT; i++)
        if (i != ROOT_SEEDS && i != ROOT_BATCH && s->root[i].n > 0) schema_store(&schema_root.fields[i], &s->root[i].values[0], c);
    schema_store_all(&schema_trace, s->trace, c);
    if (s->root[ROOT_EXPERIMENT].node) c->experiment_at = s->root[ROOT_EXPERIMENT].node->at;
    if (s->root[ROOT_MODEL].node) c->model_at = s->root[ROOT_MODEL].node->at;
    if (s->root[ROOT_DEVICE].node) c->device_at = s->root[ROOT_DEVICE].node->at;
    c->replay_at = s->root[ROOT_REPLAY].node ? s->root[ROOT_REPLAY].node->at : root->at;
    if (decode) c->decode_at = decode->at;
    return 0;
}

static int read_sections(struct config *c, struct sections *s)
{
    const struct yaml_node *root = c->store->trees[0].root;
    if (read_tables(c, root, s) != 0) return -1;
    if (root->kind != YAML_MAP) return 0;
    const int n_before = c->diag.n_errors;
    const struct yaml_node *prompt = yaml_get(root, "prompt");
    if (config_read_model(c, yaml_get(root, "model")) != 0 || config_read_device(c) != 0 || config_read_replay(c) != 0 ||
        (prompt && config_read_prompt(c, prompt, s->prompt) != 0) || config_read_lanes(c, yaml_get(root, "lanes")) != 0)
        return -1;
    config_check_lanes(c);
    if (!prompt || c->diag.n_errors > n_before) return 0;
    if (config_read_points(c, root, s->prompt, s->decode, s->root) != 0) return -1;
    if (c->diag.n_errors == 0) config_check_experiment(c, s->trace[TRACE_KEY_METRICS].node != NULL);
    if (c->diag.n_errors == 0) config_check_runs(c, &s->root[ROOT_SEEDS]);
    return 0;
}

int config_open(struct config *c, const char *path, int n_overrides, char *const *overrides)
{
    if (copy_arguments(c, path, n_overrides, overrides) != 0 || read_file(c) != 0 || open_store(c) != 0) return -1;
    if (read_trees(c) != 0) return -1;
    struct sections *s = NULL;
    if (MEM_NEW(&s, 1, "config sections") != 0) return -1;
    int rc = read_sections(c, s);
    schema_settings_close(s->root, N_ROOT);
    schema_settings_close(s->prompt, N_PROMPT);
    schema_settings_close(s->decode, N_DECODE);
    schema_settings_close(s->trace, N_TRACE);
    mem_free(s);
    c->notes = c->store->notes.text;
    c->n_notes = c->store->notes.n;
    return rc == 0 && c->diag.n_errors == 0 ? 0 : -1;
}

static void close_store(struct config_store *s)
{
    for (int i = 0; s->trees && i < s->n_sources; i++) yaml_tree_close(&s->trees[i]);
    for (int i = 1; s->sources && i < s->n_sources; i++) mem_free((char *)s->sources[i].name);
    mem_free(s->trees);
    mem_free(s->sources);
    notes_close(&s->notes);
    mem_free(s);
}

void config_close(struct config *c)
{
    if (c->store) close_store(c->store);
    for (int i = 0; i < c->n_overrides; i++) mem_free((char *)c->overrides[i]);
    mem_free((void *)c->overrides);
    mem_free((void *)c->prompt.texts);
    mem_free(c->prompt.ids);
    mem_free(c->prompt.random_seeds);
    mem_free(c->prompt.messages);
    mem_free((void *)c->family_names);
    mem_free(c->points);
    mem_free(c->lanes);
    mem_free(c->model);
    mem_free(c->replay);
    mem_free(c->text);
    mem_free(c->folder);
    mem_free(c->path);
    *c = (struct config){ 0 };
}

int config_n_errors(const struct config *c)
{
    return c->diag.n_errors;
}

void config_print_errors(const struct config *c, FILE *out)
{
    diag_print(&c->diag, out);
}

int config_open_model(const struct config *c, struct model *m)
{
    return c->is_synthetic ? model_open_synthetic(m, &c->synthetic) : model_open(m, c->model);
}

struct diag_mark config_at(const struct config *c, const char *const *keys, struct diag_mark otherwise)
{
    return yaml_at(c->store->trees[0].root, keys, otherwise);
}

struct diag_mark config_lane_changed_at(const struct config_lane *l, const char *key)
{
    for (int i = 0; i + 1 < l->node->n_items; i += 2)
        if (l->node->items[i + 1]->at.source > 0) return l->node->items[i + 1]->at;
    return config_lane_at(l, key);
}

struct diag_mark config_lane_at(const struct config_lane *l, const char *key)
{
    const struct yaml_node *value = yaml_get(l->node, key);
    return value ? value->at : l->node->at;
}
