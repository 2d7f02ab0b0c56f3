#include "analysis/leftovers.h"

#include "core/err.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* After before and digits; NULL: they are not there. */
static const char *number_skip(const char *text, const char *before)
{
    const size_t n = strlen(before);
    if (strncmp(text, before, n) != 0) return NULL;
    const size_t digits = strspn(text + n, "0123456789");
    return digits ? text + n + digits : NULL;
}

/* Whether the text up to end is what may follow a kind. */
static bool is_suffix(const char *text, const char *end)
{
    const char *tokens = number_skip(text, "-p"), *steps = tokens ? number_skip(tokens, "-t") : NULL;
    if (steps) text = steps;
    for (int i = 0; i < (steps ? 2 : 1) && text != end; i++) {
        const char *next = number_skip(text, "-");
        if (!next) return false;
        text = next;
    }
    return text == end;
}

/* Where the name's extension begins; NULL: it is none of the report's. */
static const char *extension_find(const struct leftovers *l, const char *name)
{
    const size_t n = strlen(name);
    for (int i = 0; l->extensions[i]; i++) {
        const size_t n_extension = strlen(l->extensions[i]);
        if (n > n_extension && strcmp(name + n - n_extension, l->extensions[i]) == 0) return name + n - n_extension;
    }
    return NULL;
}

static bool is_left(const struct leftovers *l, const char *name)
{
    const char *end = extension_find(l, name);
    if (!end) return false;
    for (int i = 0; i < l->n_kept; i++)
        if (strlen(l->kept[i]) == (size_t)(end - name) && strncmp(name, l->kept[i], (size_t)(end - name)) == 0)
            return false;
    for (int i = 0; l->kinds[i]; i++) {
        const size_t n = strlen(l->kinds[i]);
        if (strncmp(name, l->kinds[i], n) == 0 && name + n <= end && is_suffix(name + n, end)) return true;
    }
    return false;
}

int leftovers_remove(const struct leftovers *l)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", l->folder, l->part) >= (int)sizeof path)
        return fail("%s/%s: the path is too long", l->folder, l->part);
    DIR *dir = opendir(path);
    if (!dir) return errno == ENOENT ? 0 : fail("%s: cannot be read: %s", path, strerror(errno));
    int rc = 0;
    for (struct dirent *d = readdir(dir); d && rc == 0; d = readdir(dir))
        if (is_left(l, d->d_name) && unlinkat(dirfd(dir), d->d_name, 0) != 0)
            rc = fail("%s/%s: an earlier report's file cannot be removed: %s", path, d->d_name, strerror(errno));
    closedir(dir);
    return rc;
}
