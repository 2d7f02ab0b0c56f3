#include "core/config_read.h"

#include "core/config_schema.h"
#include "core/err.h"
#include "core/mem.h"
#include "core/model_known.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct schema_field text_row = { "", SCHEMA_TEXT, false, 0, 0, 0, NULL, NULL, 0, NULL, "", "" };

/* ---- model, device ---- */

/* A path relative to the config's folder; owned. */
static int join_path(const struct config *c, const char *text, char **path)
{
    if (text[0] == '/') return mem_strdup(path, text);
    const size_t n = strlen(c->folder) + strlen(text) + 2;
    if (mem_alloc((void **)path, n, 1, "path") != 0) return -1;
    const bool bare = strcmp(c->folder, ".") == 0;
    snprintf(*path, n, "%s%s%s", bare ? "" : c->folder, bare || c->folder[strlen(c->folder) - 1] == '/' ? "" : "/",
             text);
    return 0;
}

static int read_synthetic(struct config *c, const struct yaml_node *map)
{
    struct schema_setting settings[N_SYNTHETIC] = { 0 };
    struct synthetic_spec *s = &c->synthetic;
    static const char *const heads[] = { "heads", "kv_heads", NULL }, *const hidden[] = { "hidden", "heads", NULL },
                             *const head_dim[] = { "head_dim", "hidden", "heads", NULL };
    const int n_before = c->diag.n_errors;
    const int rc = schema_read(&schema_synthetic, map, "model.synthetic", settings, &c->diag);
    if (rc == 0) schema_store_all(&schema_synthetic, settings, s);
    schema_settings_close(settings, N_SYNTHETIC);
    if (rc != 0 || c->diag.n_errors > n_before) return rc;
    c->is_synthetic = true;
    if (s->heads % s->kv_heads != 0)
        diag_add(&c->diag, yaml_at(map, heads, map->at), "model.synthetic: heads: %d is no multiple of kv_heads: %d", s->heads, s->kv_heads);
    if (s->head_dim == 0 && s->hidden % s->heads != 0)
        diag_add(&c->diag, yaml_at(map, hidden, map->at), "model.synthetic: hidden: %d is no multiple of heads: %d; give head_dim", s->hidden,
                 s->heads);
    else if ((s->head_dim ? s->head_dim : s->hidden / s->heads) % 2 != 0)
        diag_add(&c->diag, yaml_at(map, head_dim, map->at), "model.synthetic: head_dim: %d is odd; rotary embedding needs pairs",
                 s->head_dim ? s->head_dim : s->hidden / s->heads);
    return 0;
}

static int refuse_model(struct config *c, const struct yaml_node *node, const char *tried)
{
    char words[16][64];
    const char *names[16];
    int n = 0;
    for (const char *p = model_known_names(); *p && n < 16; p += strspn(p, ", ")) { /* "a, b, c" */
        const int length = (int)strcspn(p, ", ");
        snprintf(words[n], sizeof words[n], "%.*s", length, p);
        names[n] = words[n];
        n++;
        p += length;
    }
    const char *near = diag_nearest(node->text, names, n);
    return diag_add(&c->diag, node->at, "model: '%.100s' is no known model (%s) and no file or folder (%.200s)%s%s%s",
                    node->text, model_known_names(), tried, near ? "; did you mean '" : "", near ? near : "",
                    near ? "'?" : "");
}

static int read_model_text(struct config *c, const struct yaml_node *node)
{
    struct schema_value v;
    struct stat st;
    if (schema_read_value(&text_row, node, "model", &v, &c->diag) != 0) return 0;
    if (model_is_known(v.text)) return mem_strdup(&c->model, v.text);
    if (join_path(c, v.text, &c->model) != 0) return -1;
    if (stat(c->model, &st) != 0) refuse_model(c, node, c->model);
    return 0;
}

int config_read_model(struct config *c, const struct yaml_node *node)
{
    if (!node) return mem_strdup(&c->model, schema_root.fields[ROOT_MODEL].def);
    if (node->kind != YAML_MAP) return read_model_text(c, node);
    for (int i = 0; i + 1 < node->n_items; i += 2)
        if (strcmp(node->items[i]->text, "synthetic") != 0)
            diag_add(&c->diag, node->items[i]->at, "unknown key '%s' in model (keys: synthetic)", node->items[i]->text);
    const struct yaml_node *spec = yaml_get(node, "synthetic");
    if (!spec)
        return diag_add(&c->diag, node->at, "model: a map has the key 'synthetic': {synthetic: {layers: 2, ..}}"), 0;
    return read_synthetic(c, spec);
}

int config_read_device(struct config *c)
{
    const char *text = c->device_text;
    if (!text) return 0; /* an error that is already reported */
    static const struct {
        const char *name;
        enum config_device device;
    } names[] = { { "cuda-bf16", DEVICE_CUDA_BF16 }, { "cuda-int4", DEVICE_CUDA_INT4 }, { "cuda", DEVICE_CUDA }, { "cpu", DEVICE_CPU },
                  { "auto", DEVICE_AUTO } };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t n = strlen(names[i].name);
        if (strncmp(text, names[i].name, n) != 0) continue;
        const char *index = text + n;
        c->device = names[i].device;
        if (!*index) return 0;
        const bool cuda = c->device != DEVICE_CPU && c->device != DEVICE_AUTO;
        if (cuda && index[0] == ':' && index[1] && strspn(index + 1, "0123456789") == strlen(index + 1) && strlen(index + 1) <= 3 &&
            (index[1] != '0' || !index[2])) {
            c->device_index = (int)strtol(index + 1, NULL, 10);
            return 0;
        }
    }
    c->device = DEVICE_AUTO;
    diag_add(&c->diag, c->device_at, "device: '%s' is not one of: auto, cpu, cuda, cuda-bf16, cuda-int4, and the last three with :N, N from 0 to 999", text);
    return 0;
}

int config_read_replay(struct config *c)
{
    return c->replay_text && c->replay_text[0] ? join_path(c, c->replay_text, &c->replay) : 0;
}

/* ---- runs ---- */

int config_read_points(struct config *c, const struct yaml_node *root, struct schema_setting *prompt,
                       struct schema_setting *decode, struct schema_setting *root_settings)
{
    enum { N = 8 };
    const struct axis axis[N] = {
        { "prompt.tokens", &schema_prompt.fields[PROMPT_KEY_TOKENS], &prompt[PROMPT_KEY_TOKENS] },
        { "prompt.start", &schema_prompt.fields[PROMPT_KEY_START], &prompt[PROMPT_KEY_START] },
        { "decode.tokens", &schema_decode.fields[DECODE_TOKENS], &decode[DECODE_TOKENS] },
        { "decode.follow", &schema_decode.fields[DECODE_FOLLOW], &decode[DECODE_FOLLOW] },
        { "decode.temperature", &schema_decode.fields[DECODE_TEMPERATURE], &decode[DECODE_TEMPERATURE] },
        { "decode.top_p", &schema_decode.fields[DECODE_TOP_P], &decode[DECODE_TOP_P] },
        { "batch", &schema_root.fields[ROOT_BATCH], &root_settings[ROOT_BATCH] },
        { "seeds", &schema_root.fields[ROOT_SEEDS], &root_settings[ROOT_SEEDS] },
    };
    for (int i = 0; i < N; i++)
        if (axis[i].setting->n == 0) return 0; /* its error is already reported */
    const struct axes axes = { .path = "",
                               .title = "a run",
                               .axis = axis,
                               .n = N,
                               .zip = yaml_get(root, "zip"),
                               .include = yaml_get(root, "include"),
                               .exclude = yaml_get(root, "exclude"),
                               .max_points = MAX_RUNS };
    struct points p = { 0 };
    int rc = axes_expand(&axes, &p, &c->store->notes, &c->diag);
    if (rc == 0 && p.n > 0) rc = MEM_NEW(&c->points, p.n, "run points");
    for (int i = 0; rc == 0 && i < p.n; i++, c->n_points++) {
        for (int k = 0; k < N; k++) schema_store(axis[k].field, &p.values[i * N + k], &c->points[i]);
        schema_store(&schema_decode.fields[DECODE_STOP], &decode[DECODE_STOP].values[0], &c->points[i]);
    }
    points_close(&p);
    return rc;
}

/* ---- lanes ---- */

static int add_lanes(struct config *c, const struct yaml_node *node, const struct axis *axis, int n_axes,
                     const struct points *p)
{
    const size_t n_old = (size_t)c->n_lanes, n_new = n_old + (size_t)p->n;
    if (p->n == 0) return 0;
    if (mem_grow((void **)&c->lanes, n_old, n_new, sizeof *c->lanes, "lanes") != 0) return -1;
    for (int i = 0; i < p->n; i++) {
        struct config_lane *l = &c->lanes[c->n_lanes++];
        for (int k = 0; k < n_axes; k++) schema_store(axis[k].field, &p->values[i * n_axes + k], l);
        if (!l->cache_of) l->cache_of = schema_lane.fields[LANE_KEY_CACHE_OF].def;
        l->family = c->n_families - 1;
        l->node = p->nodes[i] ? p->nodes[i] : node;
    }
    return 0;
}

static int expand_family(struct config *c, const struct yaml_node *node, const char *path,
                         const struct schema_setting *settings)
{
    struct axis axis[N_LANE_KEYS];
    int n = 0;
    for (int i = LANE_KEY_SELECTOR; i <= LANE_KEY_PERTURB; i++) {
        if (settings[i].n == 0) return 0;
        axis[n++] = (struct axis){ schema_lane.fields[i].key, &schema_lane.fields[i], &settings[i] };
    }
    const struct axes axes = { .path = path,
                               .title = path,
                               .axis = axis,
                               .n = n,
                               .zip = yaml_get(node, "zip"),
                               .include = yaml_get(node, "include"),
                               .exclude = yaml_get(node, "exclude"),
                               .max_points = MAX_LANES - 1 - c->n_lanes };
    struct points p = { 0 };
    int rc = axes_expand(&axes, &p, &c->store->notes, &c->diag);
    if (rc == 0) rc = add_lanes(c, node, axis, n, &p);
    points_close(&p);
    return rc;
}

/* The family's name into the list of families; false after an error. */
static bool take_name(struct config *c, const struct schema_setting *s)
{
    const struct yaml_node *node = s->values[0].node;
    const char *name = s->values[0].text;
    if (strcmp(name, "dense") == 0 || strcmp(name, "own") == 0)
        return diag_add(&c->diag, node->at, "lanes: no family can be called '%s'", name), false;
    for (int i = 0; i < c->n_families; i++)
        if (strcmp(c->family_names[i], name) == 0)
            return diag_add(&c->diag, node->at, "lanes: two families are called '%s'", name), false;
    c->family_names[c->n_families++] = name;
    return true;
}

static int read_family(struct config *c, const struct yaml_node *node, int index)
{
    struct schema_setting settings[N_LANE_KEYS] = { 0 };
    const struct yaml_node *name = yaml_get(node, "name");
    char path[96];
    if (name && name->kind == YAML_SCALAR)
        snprintf(path, sizeof path, "lanes.%.64s", name->text);
    else
        snprintf(path, sizeof path, "lanes[%d]", index);
    const int n_before = c->diag.n_errors;
    int rc = schema_read(&schema_lane, node, path, settings, &c->diag);
    const bool good = rc == 0 && settings[LANE_KEY_NAME].n > 0 && take_name(c, &settings[LANE_KEY_NAME]);
    if (good && c->diag.n_errors == n_before) rc = expand_family(c, node, path, settings);
    schema_settings_close(settings, N_LANE_KEYS);
    return rc;
}

int config_read_lanes(struct config *c, const struct yaml_node *list)
{
    if (!list) return 0;
    if (list->kind != YAML_LIST)
        return diag_add(&c->diag, list->at, "lanes: a list of families is expected: [{name: .., ..}]"), 0;
    if (list->n_items == 0) return 0;
    if (list->n_items >= MAX_LANES)
        return diag_add(&c->diag, list->at, "lanes: more than %d families", MAX_LANES - 1), 0;
    if (mem_alloc((void **)&c->family_names, (size_t)list->n_items, sizeof *c->family_names, "families") != 0)
        return -1;
    for (int i = 0; i < list->n_items; i++)
        if (read_family(c, list->items[i], i) != 0) return -1;
    return 0;
}
