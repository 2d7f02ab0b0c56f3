#include "core/user_cache.h"

#include "core/err.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int user_cache_path(const char *name, char *path, size_t n_bytes)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (xdg && xdg[0] == '/') /* a relative path is to be ignored (XDG Base Directory Specification) */
        n = snprintf(path, n_bytes, "%s/resa/%s", xdg, name);
    else if (home && home[0] == '/')
        n = snprintf(path, n_bytes, "%s/.cache/resa/%s", home, name);
    else
        return fail("no cache folder: neither XDG_CACHE_HOME nor HOME is an absolute path");
    if (n < 0 || (size_t)n >= n_bytes) return fail("the cache folder's path is longer than %zu bytes", n_bytes - 1);
    return 0;
}

int user_cache_make(const char *name)
{
    char path[PATH_MAX];
    if (user_cache_path(name, path, sizeof path) != 0) return -1;
    for (char *p = path + 1;; p++) {
        if (*p != '/' && *p != '\0') continue;
        const char end = *p;
        *p = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST) return fail("cannot make folder %s: %s", path, strerror(errno));
        *p = end;
        if (!end) return 0;
    }
}
