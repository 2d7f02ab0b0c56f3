#include "core/encoding.h"

#include <string.h>

#include <utf8proc.h>

int encoding_check(struct diag *d, struct diag_mark at, const char *path, const char *text, size_t n)
{
    if (n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0)
        return diag_add(d, at, "prompt: %.300s: begins with a byte order mark, which would become tokens: remove it",
                        path);
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t code;
        const utf8proc_ssize_t length =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &code);
        if (length < 1 || code == 0)
            return diag_add(d, at, "prompt: %.300s: byte 0x%02X at offset %zu: not a text in UTF-8", path,
                            (unsigned char)text[i], i);
        i += (size_t)length;
    }
    return 0;
}
