#include "core/schema.h"

#include "core/err.h"
#include "core/mem.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_AXIS_VALUES = 10000, LIST_TEXT_MAX = 400, SHOWN_MAX = 60 };

static const char *const not_values[] = { "", "~", "null", "Null", "NULL" };
static const char *const yes_words[] = { "yes", "on", "y", "true" };
static const char *const no_words[] = { "no", "off", "n", "false" };

static bool is_among(const char *text, const char *const *list, size_t n, bool fold)
{
    for (size_t i = 0; i < n; i++)
        if ((fold ? strcasecmp(text, list[i]) : strcmp(text, list[i])) == 0) return true;
    return false;
}

static bool is_null(const struct yaml_node *n)
{
    return n->plain && is_among(n->text, not_values, sizeof not_values / sizeof *not_values, false);
}

static int count_names(const char *const *names)
{
    int n = 0;
    while (names && names[n]) n++;
    return n;
}

static void join(const char *const *names, int n, char *text, size_t n_bytes)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < n && at + 1 < n_bytes; i++)
        at += (size_t)snprintf(text + at, n_bytes - at, "%s%s", i ? ", " : "", names[i]);
}

static void format_limit(double x, char *text, size_t n)
{
    if (x == 0x1p53)
        snprintf(text, n, "2^53");
    else
        snprintf(text, n, "%.15g", x);
}

/* "0 .. 1", "1 .. 1024 tokens, or never" */
static void format_range(const struct schema_field *f, char *text, size_t n)
{
    char low[32], high[32];
    format_limit(f->min, low, sizeof low);
    format_limit(f->max, high, sizeof high);
    snprintf(text, n, "%s .. %s%s%s%s%s", low, high, f->units[0] ? " " : "", f->units, f->word ? ", or " : "",
             f->word ? f->word : "");
}

/* ---- scalars ---- */

static bool is_real(const char *p)
{
    if (*p == '+' || *p == '-') p++;
    const char *digits = p;
    while (isdigit((unsigned char)*p)) p++;
    size_t n = (size_t)(p - digits);
    if (*p == '.') {
        const char *fraction = ++p;
        while (isdigit((unsigned char)*p)) p++;
        n += (size_t)(p - fraction);
    }
    if (n == 0) return false;
    if (*p == 'e' || *p == 'E') {
        p++;
        if (*p == '+' || *p == '-') p++;
        if (!isdigit((unsigned char)*p)) return false;
        while (isdigit((unsigned char)*p)) p++;
    }
    return *p == 0;
}

static bool is_whole(const char *p)
{
    if (*p == '+' || *p == '-') p++;
    if (!*p) return false;
    while (isdigit((unsigned char)*p)) p++;
    return *p == 0;
}

/* What is wrong with a number, where something usual is; NULL if it is just no number. */
static const char *number_advice(const struct yaml_node *n)
{
    const char *p = n->text;
    if (!n->plain && is_real(p)) return "is quoted, that is text: write it without quotes";
    if (strstr(p, ".inf") || strstr(p, ".Inf") || strstr(p, ".INF") || strcasecmp(p, "inf") == 0 ||
        strcasecmp(p, "-inf") == 0 || strcasecmp(p, "infinity") == 0)
        return "is not finite";
    if (strcasecmp(p, ".nan") == 0 || strcasecmp(p, "nan") == 0) return "is no number that can be used";
    if (strchr(p, '_') && isdigit((unsigned char)p[0])) return "is no number here: write it without underscores";
    if (strchr(p, '%')) return "is no number: write a share such as 0.9";
    return NULL;
}

static int refuse_number(const struct schema_field *f, const struct yaml_node *n, const char *path, struct diag *d,
                         const char *kind)
{
    char range[128];
    format_range(f, range, sizeof range);
    const char *advice = number_advice(n);
    if (advice) return diag_add(d, n->at, "%s: '%.*s' %s (%s)", path, SHOWN_MAX, n->text, advice, range);
    return diag_add(d, n->at, "%s: '%.*s' is no %s (%s)", path, SHOWN_MAX, n->text, kind, range);
}

static int check_range(const struct schema_field *f, const struct yaml_node *n, const char *path, double x,
                       struct diag *d)
{
    if (x >= f->min && x <= f->max) return 0;
    char range[128];
    format_range(f, range, sizeof range);
    return diag_add(d, n->at, "%s: %.*s is out of range: %s", path, SHOWN_MAX, n->text, range);
}

static int read_whole(const struct schema_field *f, const struct yaml_node *n, const char *path, struct schema_value *v,
                      struct diag *d)
{
    const char *p = n->text;
    const char *digits = *p == '+' || *p == '-' ? p + 1 : p;
    if (!n->plain) return refuse_number(f, n, path, d, "whole number");
    if (!is_whole(p)) {
        if (is_real(p)) {
            const double x = strtod(p, NULL);
            if (x > -1e15 && x < 1e15 && x == (double)(int64_t)x)
                return diag_add(d, n->at, "%s: '%.*s' is no whole number: write %lld", path, SHOWN_MAX, p,
                                (long long)x);
        }
        return refuse_number(f, n, path, d, "whole number");
    }
    if (digits[0] == '0' && digits[1])
        return diag_add(d, n->at, "%s: '%.*s': a leading zero means octal to some readers: write %s", path, SHOWN_MAX, p,
                        digits + strspn(digits, "0") - (strspn(digits, "0") == strlen(digits)));
    errno = 0;
    const long long x = strtoll(p, NULL, 10);
    const bool beyond = errno == ERANGE || x > 1LL << 53 || x < -(1LL << 53); /* a double would round it */
    v->number = (double)x;
    return check_range(f, n, path, beyond ? HUGE_VAL : v->number, d);
}

static int read_real(const struct schema_field *f, const struct yaml_node *n, const char *path, struct schema_value *v,
                     struct diag *d)
{
    if (!n->plain || !is_real(n->text)) return refuse_number(f, n, path, d, "number");
    v->number = strtod(n->text, NULL);
    if (v->number == 0) v->number = 0; /* -0 is 0 */
    return check_range(f, n, path, v->number, d);
}

static int read_bool(const struct yaml_node *n, const char *path, struct schema_value *v, struct diag *d)
{
    const char *const *yes = yes_words, *const *no = no_words;
    if (n->plain && (!strcmp(n->text, "true") || !strcmp(n->text, "True") || !strcmp(n->text, "TRUE"))) {
        v->number = 1;
        return 0;
    }
    if (n->plain && (!strcmp(n->text, "false") || !strcmp(n->text, "False") || !strcmp(n->text, "FALSE"))) {
        v->number = 0;
        return 0;
    }
    if (is_among(n->text, yes, 4, true)) return diag_add(d, n->at, "%s: '%s' is no truth value: write true", path, n->text);
    if (is_among(n->text, no, 4, true)) return diag_add(d, n->at, "%s: '%s' is no truth value: write false", path, n->text);
    return diag_add(d, n->at, "%s: '%.*s' is neither true nor false", path, SHOWN_MAX, n->text);
}

static int read_choice(const struct schema_field *f, const struct yaml_node *n, const char *path,
                       struct schema_value *v, struct diag *d)
{
    const int n_names = count_names(f->names);
    for (int i = 0; i < n_names; i++)
        if (strcmp(n->text, f->names[i]) == 0) {
            v->number = i;
            return 0;
        }
    char all[LIST_TEXT_MAX];
    join(f->names, n_names, all, sizeof all);
    const char *near = diag_nearest(n->text, f->names, n_names);
    return diag_add(d, n->at, "%s: '%.*s' is not one of: %s%s%s%s", path, SHOWN_MAX, n->text, all,
                    near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int read_name(const struct yaml_node *n, const char *path, struct diag *d)
{
    const size_t length = strlen(n->text);
    bool good = length > 0 && length < 64 && isalnum((unsigned char)n->text[0]);
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)n->text[i]) && !strchr("._-", n->text[i])) good = false;
    if (good) return 0;
    return diag_add(d, n->at, "%s: '%.*s' is no name: letters, digits, '.', '_' and '-', 1 to 63 of them, the first a letter "
                              "or digit", path, SHOWN_MAX, n->text);
}

int schema_read_value(const struct schema_field *f, const struct yaml_node *n, const char *path, struct schema_value *v,
                      struct diag *d)
{
    *v = (struct schema_value){ .node = n };
    if (n->kind != YAML_SCALAR)
        return diag_add(d, n->at, "%s: one value is expected, not %s", path, yaml_kind_name(n));
    if (is_null(n)) return diag_add(d, n->at, "%s: has no value", path);
    if (f->word && strcmp(n->text, f->word) == 0) {
        v->number = f->word_value;
        return 0;
    }
    switch (f->kind) {
    case SCHEMA_INT:
    case SCHEMA_SEED: return read_whole(f, n, path, v, d);
    case SCHEMA_REAL: return read_real(f, n, path, v, d);
    case SCHEMA_BOOL: return read_bool(n, path, v, d);
    case SCHEMA_CHOICE:
    case SCHEMA_FLAGS: return read_choice(f, n, path, v, d);
    case SCHEMA_NAME:
        v->text = n->text;
        return read_name(n, path, d);
    case SCHEMA_TEXT:
        v->text = n->text;
        if (n->text[0] == 0) return diag_add(d, n->at, "%s: is empty", path);
        if (f->max > 0 && strlen(n->text) > (size_t)f->max)
            return diag_add(d, n->at, "%s: is longer than %.0f bytes", path, f->max);
        return 0;
    case SCHEMA_NODE: break;
    }
    return 0;
}

/* ---- sections ---- */

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

static int read_axis(const struct schema_field *f, const struct yaml_node *n, const char *path, struct schema_setting *s,
                     struct diag *d)
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
    if (n_values > MAX_AXIS_VALUES)
        return diag_add(d, n->at, "%s: more than %d values", path, MAX_AXIS_VALUES), 0;
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
    join(keys, n, all, sizeof all);
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

/* ---- records ---- */

void schema_store(const struct schema_field *f, const struct schema_value *v, void *record)
{
    char *at = (char *)record + f->at;
    switch (f->kind) {
    case SCHEMA_TEXT:
    case SCHEMA_NAME: memcpy(at, &v->text, sizeof v->text); break;
    case SCHEMA_INT:
    case SCHEMA_CHOICE: memcpy(at, &(int){ (int)v->number }, sizeof(int)); break;
    case SCHEMA_SEED: memcpy(at, &(uint64_t){ (uint64_t)v->number }, sizeof(uint64_t)); break;
    case SCHEMA_REAL: memcpy(at, &v->number, sizeof v->number); break;
    case SCHEMA_BOOL: memcpy(at, &(bool){ v->number != 0 }, sizeof(bool)); break;
    case SCHEMA_FLAGS: memcpy(at, &(unsigned){ (unsigned)v->number }, sizeof(unsigned)); break;
    case SCHEMA_NODE: break;
    }
}

void schema_store_all(const struct schema *s, const struct schema_setting *settings, void *record)
{
    for (int i = 0; i < s->n_fields; i++)
        if (settings[i].n > 0) schema_store(&s->fields[i], &settings[i].values[0], record);
}
