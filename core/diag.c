#include "core/diag.h"

#include "core/err.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

enum { LINE_SHOWN = 160, WORD_MAX = 63 };

/* The bytes of the character that starts here, of at most n, if it may reach a terminal: well-formed UTF-8, no control
 * character (C0 but for tabs, DEL, C1).  0: it may not. */
static size_t shown_bytes(const char *text, size_t n)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const unsigned char *p = (const unsigned char *)text;
    if (p[0] < 0x80) return (p[0] >= 0x20 && p[0] != 0x7F) || p[0] == '\t';
    const size_t n_bytes = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
    if (p[0] < 0xC2 || p[0] > 0xF4 || n_bytes > n) return 0;
    unsigned c = p[0] & (0x7Fu >> n_bytes);
    for (size_t i = 1; i < n_bytes; i++) {
        if ((p[i] & 0xC0) != 0x80) return 0;
        c = c << 6 | (p[i] & 0x3F);
    }
    return c < least[n_bytes] || c < 0xA0 || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF ? 0 : n_bytes;
}

char *diag_clean(char *text)
{
    for (char *p = text; *p;) {
        const size_t n = shown_bytes(p, strlen(p) < 4 ? strlen(p) : 4);
        if (n == 0) *p = '?';
        p += n ? n : 1;
    }
    return text;
}

static void where_text(const struct diag *d, struct diag_mark at, char *text, size_t n)
{
    const char *name = at.source < d->n_sources ? d->sources[at.source].name : "config";
    if (at.source > 0 || at.line == 0)
        snprintf(text, n, "%s", name);
    else
        snprintf(text, n, "%s:%d:%d", name, at.line, at.column);
    diag_clean(text);
}

int diag_add(struct diag *d, struct diag_mark at, const char *fmt, ...)
{
    if (d->n_errors < DIAG_MAX_ERRORS) {
        struct diag_error *e = &d->errors[d->n_errors];
        e->at = at;
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(e->message, sizeof e->message, fmt, ap);
        va_end(ap);
        diag_clean(e->message);
    }
    d->n_errors++;
    char where[512];
    where_text(d, d->errors[0].at, where, sizeof where);
    if (d->n_errors == 1) return fail("%s: error: %s", where, d->errors[0].message);
    return fail("%s: error: %s (and %d more)", where, d->errors[0].message, d->n_errors - 1);
}

/* The bytes of a UTF-8 character that starts here, at most n; a stray byte counts as one. */
static size_t char_bytes(const char *p, size_t n)
{
    size_t k = 1;
    while (k < n && ((unsigned char)p[k] & 0xC0) == 0x80) k++;
    return k;
}

/* The line with a caret below.  Of a long line a part around the column is shown.  Tabs stay tabs in both rows. */
static void print_line(const struct diag_source *s, struct diag_mark at, FILE *out)
{
    const char *p = s->text, *end = s->text + s->n_text;
    for (int line = 1; line < at.line; line++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        if (!nl) return; /* an error at the end of the file has no line of its own */
        p = nl + 1;
    }
    const char *nl = memchr(p, '\n', (size_t)(end - p));
    const char *stop = nl ? nl : end;
    if (stop > p && stop[-1] == '\r') stop--;
    int column = at.column;
    while (column > LINE_SHOWN / 2 && p < stop) {
        p += char_bytes(p, (size_t)(stop - p));
        column--;
    }
    char caret[LINE_SHOWN + 1];
    size_t n_caret = 0;
    fprintf(out, "  ");
    for (int i = 1; i <= LINE_SHOWN && p < stop; i++) {
        const size_t n = char_bytes(p, (size_t)(stop - p));
        const bool shown = shown_bytes(p, (size_t)(stop - p)) == n;
        if (i < column && i < LINE_SHOWN) caret[n_caret++] = *p == '\t' ? '\t' : ' ';
        fprintf(out, "%.*s", shown ? (int)n : 1, shown ? p : "?");
        p += n;
    }
    while ((int)n_caret < column - 1 && n_caret < LINE_SHOWN) caret[n_caret++] = ' ';
    fprintf(out, "\n  %.*s^\n", (int)n_caret, caret);
}

static int mark_before(struct diag_mark a, struct diag_mark b)
{
    if (a.source != b.source) return a.source < b.source;
    if (a.line != b.line) return a.line < b.line;
    return a.column < b.column;
}

void diag_print(const struct diag *d, FILE *out)
{
    const int n = d->n_errors < DIAG_MAX_ERRORS ? d->n_errors : DIAG_MAX_ERRORS;
    int order[DIAG_MAX_ERRORS];
    for (int i = 0; i < n; i++) { /* insertion sort: stable, and at most 20 */
        int j = i;
        for (; j > 0 && mark_before(d->errors[i].at, d->errors[order[j - 1]].at); j--) order[j] = order[j - 1];
        order[j] = i;
    }
    for (int i = 0; i < n; i++) {
        const struct diag_error *e = &d->errors[order[i]];
        char where[512];
        where_text(d, e->at, where, sizeof where);
        fprintf(out, "%s: error: %s\n", where, e->message);
        if (e->at.source < d->n_sources && e->at.line > 0) print_line(&d->sources[e->at.source], e->at, out);
    }
    if (d->n_errors > n) fprintf(out, "and %d more errors\n", d->n_errors - n);
}

static char folded(char c)
{
    return c == '-' ? '_' : (char)tolower((unsigned char)c);
}

static bool same_folded(const char *a, const char *b)
{
    while (*a && folded(*a) == folded(*b)) a++, b++;
    return folded(*a) == folded(*b);
}

static int min3(int a, int b, int c)
{
    const int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Damerau-Levenshtein distance in its optimal string alignment form, on folded characters. */
static int distance(const char *a, int n_a, const char *b, int n_b)
{
    int rows[3][WORD_MAX + 1] = { { 0 } };
    int *before = rows[0], *last = rows[1], *now = rows[2];
    for (int j = 0; j <= n_b; j++) last[j] = j;
    for (int i = 1; i <= n_a; i++) {
        now[0] = i;
        for (int j = 1; j <= n_b; j++) {
            const char x = folded(a[i - 1]), y = folded(b[j - 1]);
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == folded(b[j - 2]) && folded(a[i - 2]) == y && before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        int *oldest = before;
        before = last, last = now, now = oldest;
    }
    return last[n_b];
}

const char *diag_nearest(const char *word, const char *const *candidates, int n)
{
    const size_t n_word = strlen(word);
    const char *best = NULL;
    int best_distance = 0;
    for (int i = 0; i < n; i++)
        if (same_folded(word, candidates[i])) return candidates[i];
    if (n_word == 0 || n_word > WORD_MAX) return NULL;
    const int limit = n_word < 3 ? 1 : (int)n_word / 3;
    for (int i = 0; i < n; i++) {
        const size_t n_candidate = strlen(candidates[i]);
        if (n_candidate > WORD_MAX) continue;
        const int far = distance(word, (int)n_word, candidates[i], (int)n_candidate);
        if (far <= limit && (!best || far < best_distance)) best = candidates[i], best_distance = far;
    }
    return best;
}

void diag_join(const char *const *words, int n, char *text, size_t n_bytes)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < n && at + 1 < n_bytes; i++)
        at += (size_t)snprintf(text + at, n_bytes - at, "%s%s", i ? ", " : "", words[i]);
}
