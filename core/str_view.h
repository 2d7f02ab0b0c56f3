/* core/str_view.h: bytes that somebody else owns, not terminated, possibly with NUL bytes in them. */
#ifndef CORE_STR_VIEW_H
#define CORE_STR_VIEW_H

#include <stddef.h>

struct str_view {
    const char *at; /* borrowed */
    size_t n;       /* bytes */
};

#endif
