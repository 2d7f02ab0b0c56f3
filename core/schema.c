#include "core/schema.h"

#include "core/err.h"
#include "core/mem.h"

#include <ctype.h>
#include <string.h>

enum { MAX_AXIS_VALUES = 10000, LIST_TEXT_MAX = 400, SHOWN_MAX = 60 };

static int read_flags(const struct schema_field *f, const struct yaml_node *n, const char *path,
                      struct schema_setting *s, struct diag *d)
{
    if (n->kind != YAML_LIST) return diag_add(d, n->at, "%s: a list is expected, such as [%s]", path, f->names[0]), 0;
    unsigned bits = 0;
    for (int i = 0; i < n->n_items; i++) {
        struct schema_value v;
        if (schema_read_value(f, n->items[i], path, &v, d) != 0) continue;
        const unsigned bit = 1u << (unsigned)v.number;
        if (bits & bit) diag_add(d, n->items[i]->at, "%s: '%s' is given twice", path, n->items[i]->text);
        bits |= bit;
    }
    s->values[0].number = bits;
    s->values[0].node = n;
    return 0;
}

static bool same_value(const struct schema_value *a, const struct schema_value *b)
{
    if (a->text && b->text) return strcmp(a->text, b->text) == 0;
    return !a->text && !b->text && a->number == b->number;
}

static int read_axis(const struct schema_field *f, const struct yaml_node *n, const char *path,
                     struct schema_setting *s, struct diag *d)
{
    int n_good = 0;
    s->is_list = true;
    if (n->n_items == 0) diag_add(d, n->at, "%s: an empty list: at least one value is needed", path);
    for (int i = 0; i < n->n_items; i++) {
        struct schema_value v;
        if (schema_read_value(f, n->items[i], path, &v, d) != 0) continue;
        bool twice = false;
        for (int k = 0; k < n_good; k++)
            if (same_value(&s->values[k], &v)) twice = true;
        if (twice)
            diag_add(d, n->items[i]->at, "%s: %.*s is given twice", path, SHOWN_MAX, n->items[i]->text);
        else
            s->values[n_good++] = v;
    }
    s->n = n_good;
    return 0;
}

static int read_field(const struct schema_field *f, const struct yaml_node *n, const char *path,
                      struct schema_setting *s, struct diag *d)
{
    const bool list = f->axis && n->kind == YAML_LIST;
    const int n_values = list && n->n_items > 1 ? n->n_items : 1;
    s->node = n;
    if (n_values > MAX_AXIS_VALUES) return diag_add(d, n->at, "%s: more than %d values", path, MAX_AXIS_VALUES), 0;
    if (MEM_NEW(&s->values, n_values, "config values") != 0) return -1;
    s->n = 1;
    s->values[0].node = n;
    if (f->kind == SCHEMA_NODE) return 0;
    if (f->kind == SCHEMA_FLAGS) return read_flags(f, n, path, s, d);
    if (list) return read_axis(f, n, path, s, d);
    if (n->kind == YAML_LIST) return diag_add(d, n->at, "%s: takes one value, not a list", path), 0;
    if (schema_read_value(f, n, path, &s->values[0], d) != 0) s->n = 0;
    return 0;
}

/* The default, read by the same rules; the tables are checked by a test. */
static int read_default(const struct schema_field *f, struct schema_setting *s)
{
    if (f->kind == SCHEMA_NODE || !f->def || !f->def[0]) return 0;
    if (MEM_NEW(&s->values, 1, "config values") != 0) return -1;
    s->n = 1;
    if (f->kind == SCHEMA_FLAGS) {
        unsigned bits = 0;
        for (int i = 0; f->names[i]; i++) {
            const char *at = strstr(f->def, f->names[i]);
            const size_t n = strlen(f->names[i]);
            if (at && !isalnum((unsigned char)at[-1]) && !isalnum((unsigned char)at[n])) bits |= 1u << i;
        }
        s->values[0].number = bits;
        return 0;
    }
    const struct yaml_node n = { .kind = YAML_SCALAR, .text = f->def, .plain = true };
    struct diag d = { 0 };
    if (schema_read_value(f, &n, f->key, &s->values[0], &d) != 0) return -1;
    s->values[0].node = NULL;
    return 0;
}

static void key_path(const char *path, const char *key, char *text, size_t n)
{
    snprintf(text, n, "%.120s%s%.60s", path, path[0] ? "." : "", key);
}

void schema_refuse_key(const struct schema *s, const struct yaml_node *key, const char *path, struct diag *d)
{
    const char *keys[64];
    int n = 0;
    for (int i = 0; i < s->n_fields && n < 64; i++) keys[n++] = s->fields[i].key;
    char all[LIST_TEXT_MAX];
    diag_join(keys, n, all, sizeof all);
    const char *near = diag_nearest(key->text, keys, n);
    char full[200];
    key_path(path, key->text, full, sizeof full);
    if (near)
        diag_add(d, key->at, "unknown key '%s' in %s; did you mean '%s'? (keys: %s)", full, s->title, near, all);
    else
        diag_add(d, key->at, "unknown key '%s' in %s (keys: %s)", full, s->title, all);
}

int schema_find(const struct schema *s, const char *key)
{
    for (int i = 0; i < s->n_fields; i++)
        if (strcmp(s->fields[i].key, key) == 0) return i;
    return -1;
}

int schema_read(const struct schema *s, const struct yaml_node *map, const char *path, struct schema_setting *settings,
                struct diag *d)
{
    if (map && map->kind != YAML_MAP) {
        diag_add(d, map->at, "%s%s%s is a map of keys and values, not %s", path, path[0] ? ": " : "", s->title,
                 yaml_kind_name(map));
        map = NULL;
    }
    for (int i = 0; map && i + 1 < map->n_items; i += 2)
        if (schema_find(s, map->items[i]->text) < 0) schema_refuse_key(s, map->items[i], path, d);
    for (int i = 0; i < s->n_fields; i++) {
        const struct schema_field *f = &s->fields[i];
        const struct yaml_node *n = yaml_get(map, f->key);
        char full[200];
        key_path(path, f->key, full, sizeof full);
        if (n && read_field(f, n, full, &settings[i], d) != 0) return -1;
        if (!n && read_default(f, &settings[i]) != 0) return -1;
        if (!n && !f->def && map) diag_add(d, map->at, "%s has no key '%s' (%s)", s->title, f->key, f->help);
    }
    return 0;
}

void schema_settings_close(struct schema_setting *settings, int n)
{
    for (int i = 0; i < n; i++) {
        mem_free(settings[i].values);
        settings[i] = (struct schema_setting){ 0 };
    }
}

void schema_store(const struct schema_field *f, const struct schema_value *v, void *record)
{
    char *at = (char *)record + f->at;
    switch (f->kind) {
    case SCHEMA_TEXT:
    case SCHEMA_NAME:
        memcpy(at, &v->text, sizeof v->text);
        break;
    case SCHEMA_INT:
    case SCHEMA_CHOICE:
        memcpy(at, &(int){ (int)v->number }, sizeof(int));
        break;
    case SCHEMA_SEED:
        memcpy(at, &(uint64_t){ (uint64_t)v->number }, sizeof(uint64_t));
        break;
    case SCHEMA_REAL:
        memcpy(at, &v->number, sizeof v->number);
        break;
    case SCHEMA_BOOL:
        memcpy(at, &(bool){ v->number != 0 }, sizeof(bool));
        break;
    case SCHEMA_FLAGS:
        memcpy(at, &(unsigned){ (unsigned)v->number }, sizeof(unsigned));
        break;
    case SCHEMA_NODE:
        break;
    }
}

void schema_store_all(const struct schema *s, const struct schema_setting *settings, void *record)
{
    for (int i = 0; i < s->n_fields; i++)
        if (settings[i].n > 0) schema_store(&s->fields[i], &settings[i].values[0], record);
}
