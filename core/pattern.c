#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/pattern.h"

#include "core/err.h"
#include "core/mem.h"

#include <pcre2.h>
#include <string.h>

/* White_Space of Unicode, and all the rest: for use within [ ]. */
static const char SPACE[] =
    "\\x{09}-\\x{0D}\\x{20}\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}"
    "\\x{205F}\\x{3000}";
static const char NO_SPACE[] = "\\x{00}-\\x{08}\\x{0E}-\\x{1F}\\x{21}-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}"
                               "\\x{1681}-\\x{1FFF}\\x{200B}-\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}"
                               "\\x{2060}-\\x{2FFF}\\x{3001}-\\x{D7FF}\\x{E000}-\\x{10FFFF}";

enum { MAX_PATTERN_BYTES = 1 << 16, MAX_GROWTH = sizeof NO_SPACE + 4 };

struct translation {
    const char *in; /* what is left */
    char *out;      /* where to go on */
    bool in_class;  /* between [ and ] */
};

static void put(struct translation *t, const char *text, size_t n)
{
    memcpy(t->out, text, n);
    t->out += n;
}

static void put_class(struct translation *t, const char *before, const char *ranges)
{
    if (!t->in_class) put(t, before, strlen(before));
    put(t, ranges, strlen(ranges));
    if (!t->in_class) put(t, "]", 1);
}

static void copy(struct translation *t, size_t n)
{
    put(t, t->in, n);
    t->in += n;
}

static int translate_escape(struct translation *t)
{
    const char c = t->in[1];
    if (c == 's' || c == 'S') {
        if (c == 's')
            put_class(t, "[", SPACE);
        else if (t->in_class)
            put_class(t, "", NO_SPACE);
        else
            put_class(t, "[^", SPACE);
        t->in += 2;
        return 0;
    }
    if ((c == 'p' || c == 'P' || c == 'x') && t->in[2] == '{') {
        const char *end = strchr(t->in, '}');
        if (!end) return fail("\\%c{ is not closed", c);
        copy(t, (size_t)(end + 1 - t->in));
        return 0;
    }
    const bool is_word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == '\0') return fail("it ends in a backslash");
    if ((unsigned char)c >= 0x80 || (is_word && !strchr("pPxrntdDfv", c))) return fail("\\%c is not handled", c);
    copy(t, 2);
    return 0;
}

/* Why the text at t->in, which is no escape, would mean something else to PCRE2; NULL if it would not. */
static const char *trap(const struct translation *t)
{
    const char *s = t->in;
    if (t->in_class) {
        if (*s == '[') return "a set within a set is not handled";
        return strncmp(s, "&&", 2) == 0 ? "an intersection of sets is not handled" : NULL;
    }
    if (*s == '}' && s[1] == '+') return "a repetition {..} followed by + is not handled";
    if (strncmp(s, "{,", 2) == 0) return "a repetition {,n} is not handled";
    if (*s != '(' || s[1] != '?') {
        return *s == '(' && s[1] == '*' ? "(* is not handled" : NULL;
    }
    static const char *const known[] = { "(?:", "(?i:", "(?=", "(?!", "(?>", "(?<=", "(?<!" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(s, known[i], strlen(known[i])) == 0) return NULL;
    return "this kind of group is not handled: one of (?: (?i: (?= (?! (?> (?<= (?<!";
}

static int translate(struct translation *t)
{
    while (*t->in) {
        if (*t->in == '\\') {
            if (translate_escape(t) != 0) return -1;
            continue;
        }
        const char *why = trap(t);
        if (why) return fail("%s (at '%.20s')", why, t->in);
        if (t->in_class && *t->in == ']') {
            t->in_class = false;
        } else if (!t->in_class && *t->in == '[') {
            t->in_class = true;
            if (t->in[1] == '^') copy(t, 1);
            if (t->in[1] == ']') return fail("a set that begins with ] is not handled");
        }
        copy(t, 1);
    }
    return t->in_class ? fail("a [ is not closed") : 0;
}

int pattern_translate(const char *pattern, char **pcre2)
{
    const size_t n = strlen(pattern);
    *pcre2 = NULL;
    if (n > MAX_PATTERN_BYTES) return fail("pattern of %zu bytes: the limit is %d", n, MAX_PATTERN_BYTES);
    size_t n_escapes = 0;
    for (size_t i = 0; i < n; i++) n_escapes += pattern[i] == '\\';
    char *out = NULL;
    if (MEM_NEW(&out, n + n_escapes * MAX_GROWTH + 1, "pattern") != 0) return -1;
    struct translation t = { pattern, out, false };
    if (translate(&t) != 0) {
        mem_free(out);
        return fail_in("pattern '%.100s'", pattern);
    }
    *pcre2 = out;
    return 0;
}

static int compile(pcre2_code **code, const char *text, uint32_t options, pcre2_compile_context *context)
{
    int error = 0;
    PCRE2_SIZE at = 0;
    *code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &error, &at, context);
    if (*code) {
        (void)pcre2_jit_compile(*code, PCRE2_JIT_COMPLETE); /* where there is no JIT, matching is slower, no more */
        return 0;
    }
    char why[120] = "";
    pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
    return fail("pattern '%.100s': %s (at byte %zu)", text, why, (size_t)at);
}

int pattern_open(void **code, const char *pattern, bool literal)
{
    *code = NULL;
    /* ^ and $ stand at every line, and a line ends at \n alone: Oniguruma's Ruby syntax. */
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) return fail("pattern: out of memory");
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    char *text = NULL;
    int rc = 0;
    if (literal) {
        rc = compile((pcre2_code **)code, pattern, PCRE2_LITERAL | PCRE2_UTF, context);
    } else {
        rc = pattern_translate(pattern, &text);
        if (rc == 0) rc = compile((pcre2_code **)code, text, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, context);
    }
    mem_free(text);
    pcre2_compile_context_free(context);
    return rc;
}

void pattern_close(void *code)
{
    pcre2_code_free(code);
}
