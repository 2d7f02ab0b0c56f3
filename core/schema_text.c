#include "core/schema.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void schema_format_real(double x, char *text, size_t n)
{
    char digits[40];
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, x);
        if (strtod(digits, NULL) == x) break;
    }
    char *e = strchr(digits, 'e');
    if (strchr(digits, '.') || (!e && !isdigit((unsigned char)digits[strlen(digits) - 1])))
        snprintf(text, n, "%s", digits);
    else if (e)
        snprintf(text, n, "%.*s.0%s", (int)(e - digits), digits, e); /* 1e-05: text to YAML 1.1 */
    else
        snprintf(text, n, "%s.0", digits);
}

/* Words that some YAML reader takes for something else than text. */
static bool is_reserved(const char *text)
{
    static const char *const words[] = { "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf" };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(text, words[i]) == 0) return true;
    return false;
}

/* The character at p if it is one beyond ASCII that YAML readers refuse or take for a line's end: C1, U+2028, U+2029,
 * U+FEFF, U+FFFE, U+FFFF; else 0. */
static unsigned unprintable(const unsigned char *p)
{
    if (p[0] == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0) return p[1];
    if (p[0] == 0xE2 && p[1] == 0x80 && (p[2] == 0xA8 || p[2] == 0xA9)) return 0x2000u + (p[2] - 0x80u);
    if (p[0] == 0xEF && p[1] == 0xBB && p[2] == 0xBF) return 0xFEFF;
    if (p[0] == 0xEF && p[1] == 0xBF && p[2] >= 0xBE) return 0xFFC0u + (p[2] - 0x80u);
    return 0;
}

void schema_format_text(const char *value, char *text, size_t n)
{
    bool plain = isalpha((unsigned char)value[0]) && !is_reserved(value);
    for (const char *p = value; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("._-/@", *p)) plain = false;
    if (plain) {
        snprintf(text, n, "%s", value);
        return;
    }
    size_t at = 0;
    char *out = text;
    if (n < 8) return;
    out[at++] = '"';
    for (const unsigned char *p = (const unsigned char *)value; *p && at + 8 < n; p++) {
        if (*p == '"' || *p == '\\')
            at += (size_t)snprintf(out + at, n - at, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7F)
            at += (size_t)snprintf(out + at, n - at, "\\x%02X", *p);
        else if (unprintable(p)) {
            at += (size_t)snprintf(out + at, n - at, "\\u%04X", unprintable(p));
            p += p[0] == 0xC2 ? 1 : 2;
        } else
            out[at++] = (char)*p;
    }
    out[at++] = '"';
    out[at] = 0;
}

static void format_flags(const struct schema_field *f, unsigned value, char *text, size_t n)
{
    size_t used = (size_t)snprintf(text, n, "[");
    for (int i = 0, n_shown = 0; f->names[i] && used + 1 < n; i++)
        if (value & 1u << i) used += (size_t)snprintf(text + used, n - used, "%s%s", n_shown++ ? ", " : "", f->names[i]);
    if (used + 1 < n) snprintf(text + used, n - used, "]");
}

/* The value at p of the record, whose C type follows from the kind. */
#define VALUE(type) (*(const type *)(const void *)p)

void schema_format(const struct schema_field *f, const void *record, char *text, size_t n)
{
    const char *p = (const char *)record + f->at;
    switch (f->kind) {
    case SCHEMA_TEXT:
    case SCHEMA_NAME: schema_format_text(VALUE(char *const) ? VALUE(char *const) : "", text, n); return;
    case SCHEMA_INT:
        if (f->word && VALUE(int) == (int)f->word_value)
            snprintf(text, n, "%s", f->word);
        else
            snprintf(text, n, "%d", VALUE(int));
        return;
    case SCHEMA_SEED: snprintf(text, n, "%llu", (unsigned long long)VALUE(uint64_t)); return;
    case SCHEMA_REAL: schema_format_real(VALUE(double), text, n); return;
    case SCHEMA_BOOL: snprintf(text, n, "%s", VALUE(bool) ? "true" : "false"); return;
    case SCHEMA_CHOICE: snprintf(text, n, "%s", f->names[VALUE(int)]); return;
    case SCHEMA_FLAGS: format_flags(f, VALUE(unsigned), text, n); return;
    case SCHEMA_NODE: text[0] = 0; return;
    }
}

#undef VALUE

static void document_values(const struct schema_field *f, FILE *out)
{
    switch (f->kind) {
    case SCHEMA_INT:
    case SCHEMA_SEED:
    case SCHEMA_REAL:
        fprintf(out, "%s, %.15g .. ", f->kind == SCHEMA_REAL ? "number" : "whole number", f->min);
        if (f->max == 0x1p53)
            fprintf(out, "2^53");
        else
            fprintf(out, "%.15g", f->max);
        if (f->word) fprintf(out, ", or `%s`", f->word);
        return;
    case SCHEMA_BOOL:
        fprintf(out, "`true`, `false`");
        return;
    case SCHEMA_CHOICE:
    case SCHEMA_FLAGS:
        for (int i = 0; f->names[i]; i++) fprintf(out, "%s`%s`", i ? ", " : "", f->names[i]);
        return;
    case SCHEMA_NAME:
        fprintf(out, "name");
        return;
    case SCHEMA_TEXT:
        fprintf(out, "text");
        return;
    case SCHEMA_NODE:
        fprintf(out, "see there");
        return;
    }
}

void schema_document(const struct schema *s, FILE *out)
{
    fprintf(out, "| key | values | unit | default | list | meaning |\n|---|---|---|---|---|---|\n");
    for (int i = 0; i < s->n_fields; i++) {
        const struct schema_field *f = &s->fields[i];
        fprintf(out, "| `%s` | ", f->key);
        document_values(f, out);
        fprintf(out, " | %s | ", f->units);
        if (!f->def)
            fprintf(out, "must be given");
        else if (f->def[0])
            fprintf(out, "`%s`", f->def);
        fprintf(out, " | %s | %s |\n", f->axis ? "axis" : f->kind == SCHEMA_FLAGS ? "of names" : "", f->help);
    }
}
