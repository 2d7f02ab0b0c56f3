#include "core/override.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/yaml_node.h"

#include <string.h>

enum { MAX_FAMILIES_LISTED = 64 };

/* The value is parsed behind as many blanks as the key is long, so that its marks are columns of the argument. */
static int read_value(const char *arg, size_t n_key, int source, struct yaml_tree *value, struct diag *d)
{
    char *text = NULL;
    size_t n_blank = 0;
    for (size_t i = 0; i <= n_key; i++) n_blank += ((unsigned char)arg[i] & 0xC0) != 0x80;
    const size_t n_value = strlen(arg + n_key + 1);
    if (n_value == 0) return diag_add(d, (struct diag_mark){ source, 1, (int)n_blank + 1 }, "no value after '='");
    if (mem_alloc((void **)&text, n_blank + n_value + 1, 1, "override") != 0) return -1;
    memset(text, ' ', n_blank);
    memcpy(text + n_blank, arg + n_key + 1, n_value);
    const int rc = yaml_tree_open(value, text, n_blank + n_value, source, d);
    mem_free(text);
    return rc;
}

/* The family whose name, with a dot behind it, begins the rest of the key; the longest such name. */
static struct yaml_node *find_family(const struct yaml_node *lanes, const char *key, size_t *n_name)
{
    struct yaml_node *best = NULL;
    *n_name = 0;
    for (int i = 0; i < lanes->n_items; i++) {
        const struct yaml_node *name = yaml_get(lanes->items[i], "name");
        if (!name || name->kind != YAML_SCALAR) continue;
        const size_t n = strlen(name->text);
        if (n > *n_name && strncmp(key, name->text, n) == 0 && key[n] == '.') best = lanes->items[i], *n_name = n;
    }
    return best;
}

static int refuse_family(const struct yaml_node *lanes, const char *key, size_t n_key, struct diag_mark at,
                         struct diag *d)
{
    const char *names[MAX_FAMILIES_LISTED];
    char all[300] = "", word[64];
    int n = 0;
    size_t used = 0;
    for (int i = 0; i < lanes->n_items && n < MAX_FAMILIES_LISTED; i++) {
        const struct yaml_node *name = yaml_get(lanes->items[i], "name");
        if (!name || name->kind != YAML_SCALAR) continue;
        names[n++] = name->text;
        if (used + 1 < sizeof all)
            used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", n > 1 ? ", " : "", name->text);
    }
    snprintf(word, sizeof word, "%.*s", (int)(n_key < 63 ? n_key : 63), key);
    char *dot = strchr(word, '.');
    if (dot) *dot = 0;
    for (int i = 0; i < n && !dot; i++)
        if (strcmp(word, names[i]) == 0) return diag_add(d, at, "'%s' is a family of lanes: lanes.%s.KEY=VALUE sets one of its keys", word, word);
    const char *near = diag_nearest(word, names, n);
    return diag_add(d, at, "no family of lanes is called '%s'%s%s%s (families: %s)", word,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "", all);
}

static int put(struct yaml_tree *tree, const char *arg, size_t n_key, int source, struct yaml_node *value,
               struct diag *d)
{
    struct yaml_node *map = tree->root;
    const char *at = arg, *end = arg + n_key;
    for (;;) {
        const struct diag_mark mark = { source, 1, (int)(at - arg) + 1 };
        const char *dot = memchr(at, '.', (size_t)(end - at));
        const size_t n = (size_t)((dot ? dot : end) - at);
        if (n == 0) return diag_add(d, mark, "an empty word in the key");
        if (!dot) return yaml_put(tree, map, at, n, value, mark);
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)(n < 63 ? n : 63), at);
        struct yaml_node *child = yaml_get(map, word);
        at = dot + 1;
        if (!child) {
            child = yaml_node_new(tree, YAML_MAP, mark);
            if (!child || yaml_put(tree, map, word, n < 63 ? n : 63, child, mark) != 0) return -1;
        } else if (child->kind == YAML_LIST && map == tree->root && strcmp(word, "lanes") == 0) {
            size_t n_name;
            const struct diag_mark name_mark = { source, 1, (int)(at - arg) + 1 };
            struct yaml_node *family = find_family(child, at, &n_name);
            if (!family) return refuse_family(child, at, (size_t)(end - at), name_mark, d);
            child = family;
            at += n_name + 1;
        } else if (child->kind != YAML_MAP) {
            return diag_add(d, mark, "'%s' is %s in the config: it has no keys to set", word, yaml_kind_name(child));
        }
        map = child;
    }
}

int override_apply(struct yaml_tree *tree, const char *arg, int source, struct yaml_tree *value, struct diag *d)
{
    const struct diag_mark at = { source, 1, 1 };
    const char *equals = strchr(arg, '=');
    if (!equals || equals == arg) return diag_add(d, at, "an override has the form key=value");
    const size_t n_key = (size_t)(equals - arg);
    if (tree->root->kind != YAML_MAP) return diag_add(d, at, "the config is no map of keys and values");
    if (read_value(arg, n_key, source, value, d) != 0) return -1;
    return put(tree, arg, n_key, source, value->root, d);
}
