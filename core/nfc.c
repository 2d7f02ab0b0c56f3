#include "core/nfc.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A combining mark of a run that is being sorted. */
struct mark {
    int32_t code;
    uint32_t class;
    size_t place;
};

int nfc_is_plain(struct str_view text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.at[i] >= 0x80) return 0;
    return 1;
}

static int compare_marks(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->class != y->class) return x->class < y->class ? -1 : 1;
    return x->place < y->place ? -1 : 1; /* the order within a class stays */
}

static uint32_t class_of(int32_t code)
{
    return (uint32_t)utf8proc_get_property(code)->combining_class;
}

/* Sorts codes[0 .. n-1], all of them marks, by class. */
static int sort_run(int32_t *codes, size_t n, struct mark **marks, size_t *max_marks)
{
    if (n < 2) return 0;
    if (n > *max_marks) {
        if (mem_grow((void **)marks, 0, 2 * n, sizeof **marks, "combining marks") != 0) return -1;
        *max_marks = 2 * n;
    }
    for (size_t i = 0; i < n; i++) (*marks)[i] = (struct mark){ codes[i], class_of(codes[i]), i };
    qsort(*marks, n, sizeof **marks, compare_marks);
    for (size_t i = 0; i < n; i++) codes[i] = (*marks)[i].code;
    return 0;
}

static int sort_marks(int32_t *codes, size_t n)
{
    struct mark *marks = NULL;
    size_t max_marks = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        size_t end = i;
        while (end < n && class_of(codes[end]) != 0) end++;
        rc = sort_run(codes + i, end - i, &marks, &max_marks);
        i = end;
    }
    mem_free(marks);
    return rc;
}

/* The canonical decomposition of text; codes has room for max. */
static int decompose(struct str_view text, int32_t *codes, size_t max, size_t *n)
{
    const utf8proc_uint8_t *s = (const utf8proc_uint8_t *)text.at;
    *n = 0;
    for (size_t i = 0; i < text.n;) {
        utf8proc_int32_t code = 0;
        const utf8proc_ssize_t length = utf8proc_iterate(s + i, (utf8proc_ssize_t)(text.n - i), &code);
        if (length <= 0) return fail("NFC: byte %zu: not UTF-8", i);
        const utf8proc_ssize_t wrote = utf8proc_decompose_char(code, codes + *n, (utf8proc_ssize_t)(max - *n),
                                                               UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, NULL);
        if (wrote < 0 || (size_t)wrote > max - *n)
            return fail("NFC: byte %zu: U+%04X decomposes too far", i, (unsigned)code);
        *n += (size_t)wrote;
        i += (size_t)length;
    }
    return 0;
}

static int compose(int32_t *codes, size_t n, char **out, size_t *n_bytes)
{
    const utf8proc_ssize_t n_codes =
        utf8proc_normalize_utf32(codes, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (n_codes < 0) return fail("NFC: %s", utf8proc_errmsg(n_codes));
    if (MEM_NEW(out, 4 * (size_t)n_codes + 1, "NFC text") != 0) return -1;
    size_t at = 0;
    for (utf8proc_ssize_t i = 0; i < n_codes; i++)
        at += (size_t)utf8proc_encode_char(codes[i], (utf8proc_uint8_t *)*out + at);
    *n_bytes = at;
    return 0;
}

int nfc_normalise(struct str_view text, char **out, size_t *n)
{
    *out = NULL;
    /* No character has more than 4 code points to its canonical decomposition, nor more than 2 for a byte of UTF-8. */
    const size_t max = 2 * text.n + 4;
    int32_t *codes = NULL;
    size_t n_codes = 0;
    if (MEM_NEW(&codes, max, "NFC code points") != 0) return -1;
    int rc = decompose(text, codes, max, &n_codes);
    if (rc == 0) rc = sort_marks(codes, n_codes);
    if (rc == 0) rc = compose(codes, n_codes, out, n);
    mem_free(codes);
    return rc;
}
