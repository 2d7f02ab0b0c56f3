/* One scalar by its row: what it is, or what is wrong with it. */
#include "core/schema.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_TEXT_MAX = 400, SHOWN_MAX = 60 };

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
        return diag_add(d, n->at, "%s: '%.*s': a leading zero means octal to some readers: write %s", path, SHOWN_MAX,
                        p, digits + strspn(digits, "0") - (strspn(digits, "0") == strlen(digits)));
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
    if (is_among(n->text, yes, 4, true))
        return diag_add(d, n->at, "%s: '%s' is no truth value: write true", path, n->text);
    if (is_among(n->text, no, 4, true))
        return diag_add(d, n->at, "%s: '%s' is no truth value: write false", path, n->text);
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
    diag_join(f->names, n_names, all, sizeof all);
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
    return diag_add(d, n->at,
                    "%s: '%.*s' is no name: letters, digits, '.', '_' and '-', 1 to 63 of them, the first a letter "
                    "or digit",
                    path, SHOWN_MAX, n->text);
}

int schema_read_value(const struct schema_field *f, const struct yaml_node *n, const char *path, struct schema_value *v,
                      struct diag *d)
{
    *v = (struct schema_value){ .node = n };
    if (n->kind != YAML_SCALAR) return diag_add(d, n->at, "%s: one value is expected, not %s", path, yaml_kind_name(n));
    if (is_null(n)) return diag_add(d, n->at, "%s: has no value", path);
    if (f->word && strcmp(n->text, f->word) == 0) {
        v->number = f->word_value;
        return 0;
    }
    switch (f->kind) {
    case SCHEMA_INT:
    case SCHEMA_SEED:
        return read_whole(f, n, path, v, d);
    case SCHEMA_REAL:
        return read_real(f, n, path, v, d);
    case SCHEMA_BOOL:
        return read_bool(n, path, v, d);
    case SCHEMA_CHOICE:
    case SCHEMA_FLAGS:
        return read_choice(f, n, path, v, d);
    case SCHEMA_NAME:
        v->text = n->text;
        return read_name(n, path, d);
    case SCHEMA_TEXT:
        v->text = n->text;
        if (n->text[0] == 0) return diag_add(d, n->at, "%s: is empty", path);
        if (f->max > 0 && strlen(n->text) > (size_t)f->max)
            return diag_add(d, n->at, "%s: is longer than %.0f bytes", path, f->max);
        return 0;
    case SCHEMA_NODE:
        break;
    }
    return 0;
}
