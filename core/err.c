#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES = 4096 };
static _Thread_local char text[TEXT_BYTES];

int fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return -1;
}

int fail_in(const char *fmt, ...)
{
    char where[TEXT_BYTES], whole[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(where, sizeof where, fmt, ap);
    va_end(ap);
    if (n < 0) n = 0;
    if (n > TEXT_BYTES / 2) n = TEXT_BYTES / 2; /* a long "where" must not push the cause out */
    snprintf(whole, sizeof whole, "%.*s: %.*s", n, where, TEXT_BYTES - n - 3, text);
    memcpy(text, whole, sizeof text);
    return -1;
}

const char *fail_text(void)
{
    return text;
}
