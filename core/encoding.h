/* core/encoding.h: whether a file's bytes are the UTF-8 that tokenizers are made for: of another encoding there are tokens too, but not those of its text. */
#ifndef CORE_ENCODING_H
#define CORE_ENCODING_H

#include "core/diag.h"

#include <stddef.h>

/* The n bytes of the file `path`: 0, or -1 with a message at `at` in d, which names the first byte that no text holds, or a byte order mark. */
int encoding_check(struct diag *d, struct diag_mark at, const char *path, const char *text, size_t n);

#endif
