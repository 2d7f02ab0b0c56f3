#include "core/axes.h"

#include "core/err.h"
#include "core/mem.h"

#include <string.h>

enum { MAX_AXES = 24 };

void points_close(struct points *p)
{
    mem_free(p->values);
    mem_free((void *)p->nodes);
    *p = (struct points){ 0 };
}

static bool same_value(const struct schema_value *a, const struct schema_value *b)
{
    if (a->text && b->text) return strcmp(a->text, b->text) == 0;
    return !a->text && !b->text && a->number == b->number;
}

static int find_axis(const struct axes *a, const char *key)
{
    for (int i = 0; i < a->n; i++)
        if (strcmp(a->axis[i].key, key) == 0) return i;
    return -1;
}

static int points_add(struct points *p, const struct schema_value *values, const struct yaml_node *node)
{
    if (p->n == p->max) {
        const size_t max = p->max ? 2 * (size_t)p->max : 16;
        const size_t row = (size_t)p->n_axes * sizeof *p->values;
        if (mem_grow((void **)&p->values, (size_t)p->n, max, row, "points") != 0 ||
            mem_grow((void **)&p->nodes, (size_t)p->n, max, sizeof *p->nodes, "points") != 0)
            return -1;
        p->max = (int)max;
    }
    memcpy(p->values + (size_t)p->n * (size_t)p->n_axes, values, (size_t)p->n_axes * sizeof *values);
    p->nodes[p->n++] = node;
    return 0;
}

/* ---- zip ---- */

static void where(const struct axes *a, const char *key, char *text, size_t n)
{
    snprintf(text, n, "%.120s%s%s", a->path, a->path[0] ? "." : "", key);
}

/* Marks the axes of one group with its number; the first of them leads. */
static void read_zip_group(const struct axes *a, const struct yaml_node *g, int number, int *group, const char *path,
                           struct diag *d)
{
    int first = -1;
    if (g->kind != YAML_LIST || g->n_items < 2) {
        diag_add(d, g->at, "%s: a list of lists of at least two keys is expected: [[sparsity, interval]]", path);
        return;
    }
    for (int i = 0; i < g->n_items; i++) {
        const struct yaml_node *key = g->items[i];
        const int axis = key->kind == YAML_SCALAR ? find_axis(a, key->text) : -1;
        if (axis < 0) {
            const char *keys[MAX_AXES];
            for (int k = 0; k < a->n; k++) keys[k] = a->axis[k].key;
            const char *near = key->kind == YAML_SCALAR ? diag_nearest(key->text, keys, a->n) : NULL;
            diag_add(d, key->at, "%s: no key '%s' to pair here%s%s%s", path, key->kind == YAML_SCALAR ? key->text : "",
                     near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
            continue;
        }
        const struct axis *x = &a->axis[axis];
        if (group[axis] >= 0)
            diag_add(d, key->at, "%s: '%s' is paired twice", path, x->key);
        else if (!x->setting->is_list)
            diag_add(d, key->at, "%s: '%s' is no list here, there is nothing to pair", path, x->key);
        else if (first >= 0 && a->axis[first].setting->n != x->setting->n)
            diag_add(d, key->at, "%s: '%s' has %d values and '%s' has %d: lists of equal length are paired", path,
                     a->axis[first].key, a->axis[first].setting->n, x->key, x->setting->n);
        group[axis] = number;
        if (first < 0) first = axis;
    }
}

/* group[axis]: the number of its zip group, or -1. */
static void read_zip(const struct axes *a, int *group, struct diag *d)
{
    char path[160];
    where(a, "zip", path, sizeof path);
    for (int i = 0; i < a->n; i++) group[i] = -1;
    if (!a->zip) return;
    if (a->zip->kind != YAML_LIST || a->zip->n_items == 0) {
        diag_add(d, a->zip->at, "%s: a list of lists of keys is expected: [[sparsity, interval]]", path);
        return;
    }
    for (int i = 0; i < a->zip->n_items; i++) read_zip_group(a, a->zip->items[i], i, group, path, d);
}

/* ---- product ---- */

/* n_values and lead: an axis that is led by another of its group moves with it. */
struct product {
    const struct schema_setting *setting[MAX_AXES];
    int lead[MAX_AXES];
    int n_axes;
};

static double product_count(const struct product *x)
{
    double count = 1;
    for (int i = 0; i < x->n_axes; i++)
        if (x->lead[i] == i) count *= x->setting[i]->n;
    return count;
}

static int product_add(const struct product *x, const struct yaml_node *node, struct points *p)
{
    int at[MAX_AXES] = { 0 };
    for (;;) {
        struct schema_value values[MAX_AXES];
        for (int i = 0; i < x->n_axes; i++) values[i] = x->setting[i]->values[at[x->lead[i]]];
        if (points_add(p, values, node) != 0) return -1;
        int i = x->n_axes - 1; /* the last axis fastest */
        for (; i >= 0; i--) {
            if (x->lead[i] != i) continue;
            if (++at[i] < x->setting[i]->n) break;
            at[i] = 0;
        }
        if (i < 0) return 0;
    }
}

static int add_product(const struct axes *a, const struct product *x, const struct yaml_node *node, struct diag_mark at,
                       struct points *p, struct diag *d)
{
    const double count = product_count(x);
    if (p->n + count > a->max_points)
        return diag_add(d, at, "%s%sthe lists multiply to %.0f points, at most %d are allowed", a->path,
                        a->path[0] ? ": " : "", p->n + count, a->max_points),
               0;
    return product_add(x, node, p);
}

/* ---- include, exclude ---- */

/* The axes as a table, so that a map of include or exclude is read by the same rules as the section itself. */
struct point_schema {
    struct schema schema;
    struct schema_field fields[MAX_AXES];
};

static void point_schema_open(struct point_schema *s, const struct axes *a)
{
    for (int i = 0; i < a->n; i++) {
        s->fields[i] = *a->axis[i].field;
        s->fields[i].key = a->axis[i].key;
        s->fields[i].axis = true;
        s->fields[i].def = "";
    }
    s->schema = (struct schema){ a->title, a->path, s->fields, a->n };
}

static int read_map(const struct axes *a, const struct yaml_node *map, const char *path,
                    struct schema_setting *settings, struct diag *d, bool *good)
{
    struct point_schema s;
    point_schema_open(&s, a);
    const int n_before = d->n_errors;
    if (schema_read(&s.schema, map, path, settings, d) != 0) return -1;
    if (d->n_errors == n_before && map->n_items == 0)
        diag_add(d, map->at, "%s: an empty map: name at least one key", path);
    *good = d->n_errors == n_before;
    return 0;
}

static int include_one(const struct axes *a, const struct yaml_node *map, const char *path, struct points *p,
                       struct diag *d)
{
    struct schema_setting settings[MAX_AXES] = { 0 };
    struct product x = { .n_axes = a->n };
    bool good = false;
    int rc = read_map(a, map, path, settings, d, &good);
    for (int i = 0; rc == 0 && good && i < a->n; i++) {
        x.lead[i] = i;
        x.setting[i] = settings[i].n > 0 ? &settings[i] : a->axis[i].setting;
        if (settings[i].n == 0 && a->axis[i].setting->n > 1) {
            diag_add(d, map->at, "%s: must name '%s', which has %d values here", path, a->axis[i].key,
                     a->axis[i].setting->n);
            good = false;
        }
    }
    if (rc == 0 && good) rc = add_product(a, &x, map, map->at, p, d);
    schema_settings_close(settings, a->n);
    return rc;
}

static void point_text(const struct axes *a, const struct schema_value *values, char *text, size_t n)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < a->n && at + 1 < n; i++) {
        if (a->axis[i].setting->n < 2) continue;
        const struct schema_field *f = a->axis[i].field;
        char shown[64];
        if (values[i].text)
            snprintf(shown, sizeof shown, "%.60s", values[i].text);
        else if (f->names)
            snprintf(shown, sizeof shown, "%s", f->names[(int)values[i].number]);
        else if (f->word && values[i].number == f->word_value)
            snprintf(shown, sizeof shown, "%s", f->word);
        else
            snprintf(shown, sizeof shown, "%.15g", values[i].number);
        at += (size_t)snprintf(text + at, n - at, "%s%s %s", at ? ", " : "", a->axis[i].key, shown);
    }
    if (!at) snprintf(text, n, "the only point");
}

static bool is_match(const struct schema_setting *settings, const struct schema_value *values, int n_axes)
{
    for (int i = 0; i < n_axes; i++) {
        bool any = settings[i].n == 0;
        for (int k = 0; k < settings[i].n; k++) any |= same_value(&settings[i].values[k], &values[i]);
        if (!any) return false;
    }
    return true;
}

static int drop_matches(const struct axes *a, const struct yaml_node *map, const struct schema_setting *settings,
                        struct points *p, struct notes *notes)
{
    int n_left = 0;
    char place[32] = "on the command line";
    if (map->at.source == 0) snprintf(place, sizeof place, "on line %d", map->at.line);
    for (int i = 0; i < p->n; i++) {
        struct schema_value *values = p->values + (size_t)i * (size_t)a->n;
        if (!is_match(settings, values, a->n)) {
            memmove(p->values + (size_t)n_left * (size_t)a->n, values, (size_t)a->n * sizeof *values);
            p->nodes[n_left++] = p->nodes[i];
            continue;
        }
        char text[300];
        point_text(a, values, text, sizeof text);
        if (notes_add(notes, "%s: %s: excluded %s", a->title, text, place) != 0) return -1;
    }
    const bool none = n_left == p->n;
    p->n = n_left;
    return none ? notes_add(notes, "%s: an exclude %s matches no point", a->title, place) : 0;
}

static int exclude_one(const struct axes *a, const struct yaml_node *map, const char *path, struct points *p,
                       struct notes *notes, struct diag *d)
{
    struct schema_setting settings[MAX_AXES] = { 0 };
    bool good = false;
    int rc = read_map(a, map, path, settings, d, &good);
    if (rc == 0 && good) rc = drop_matches(a, map, settings, p, notes);
    schema_settings_close(settings, a->n);
    return rc;
}

static int each_map(const struct axes *a, const struct yaml_node *list, const char *key, struct points *p,
                    struct notes *notes, struct diag *d)
{
    char path[160];
    where(a, key, path, sizeof path);
    if (!list) return 0;
    if (list->kind != YAML_LIST) return diag_add(d, list->at, "%s: a list of maps is expected: [{..}]", path), 0;
    for (int i = 0; i < list->n_items; i++) {
        const struct yaml_node *map = list->items[i];
        const int rc = notes ? exclude_one(a, map, path, p, notes, d) : include_one(a, map, path, p, d);
        if (rc != 0) return -1;
    }
    return 0;
}

/* ---- all of it ---- */

static void refuse_twice(const struct axes *a, const struct points *p, struct diag_mark at, struct diag *d)
{
    const size_t n = (size_t)a->n;
    for (int i = 0; i < p->n; i++) {
        if (!p->nodes[i]) continue; /* a product has no point twice: an axis has no value twice */
        for (int k = 0; k < i; k++) {
            bool same = true;
            for (size_t x = 0; x < n && same; x++)
                same = same_value(&p->values[(size_t)i * n + x], &p->values[(size_t)k * n + x]);
            if (!same) continue;
            diag_add(d, p->nodes[i] ? p->nodes[i]->at : at, "%s%sinclude adds a point that is already there", a->path,
                     a->path[0] ? ": " : "");
            break;
        }
    }
}

int axes_expand(const struct axes *a, struct points *p, struct notes *notes, struct diag *d)
{
    const int n_before = d->n_errors;
    struct diag_mark at = { 0 }; /* of the first list: where too many points are reported */
    for (int i = a->n - 1; i >= 0; i--)
        if (a->axis[i].setting->is_list) at = a->axis[i].setting->node->at;
    int group[MAX_AXES];
    struct product x = { .n_axes = a->n };
    p->n_axes = a->n;
    read_zip(a, group, d);
    for (int i = 0; i < a->n; i++) {
        x.setting[i] = a->axis[i].setting;
        x.lead[i] = i;
        for (int k = i - 1; k >= 0 && group[i] >= 0; k--)
            if (group[k] == group[i]) x.lead[i] = k; /* ends at the first of the group */
    }
    int rc = d->n_errors == n_before ? add_product(a, &x, NULL, at, p, d) : 0;
    if (rc == 0) rc = each_map(a, a->include, "include", p, NULL, d);
    if (rc == 0 && d->n_errors == n_before) refuse_twice(a, p, at, d);
    if (rc == 0) rc = each_map(a, a->exclude, "exclude", p, notes, d);
    if (rc == 0 && d->n_errors == n_before && p->n == 0)
        diag_add(d, a->exclude ? a->exclude->at : at, "%s%sexclude leaves nothing", a->path, a->path[0] ? ": " : "");
    if (d->n_errors > n_before) p->n = 0;
    return rc;
}
