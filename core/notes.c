#include "core/notes.h"

#include "core/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { MAX_NOTES = 1000 };

int notes_add(struct notes *n, const char *fmt, ...)
{
    if (n->n == MAX_NOTES) return 0;
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (n->n == MAX_NOTES - 1) snprintf(text, sizeof text, "more was left out than is listed here");
    if (n->n % 16 == 0 && mem_grow((void **)&n->text, (size_t)n->n, (size_t)n->n + 16, sizeof *n->text, "notes") != 0)
        return -1;
    if (mem_strdup(&n->text[n->n], text) != 0) return -1;
    n->n++;
    return 0;
}

void notes_close(struct notes *n)
{
    for (int i = 0; i < n->n; i++) mem_free(n->text[i]);
    mem_free(n->text);
    *n = (struct notes){ 0 };
}
