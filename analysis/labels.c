#include "analysis/labels.h"

#include "core/err.h"
#include "core/mem.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The last [depth] parts of an absolute path. */
static const char *path_end(const char *path, int depth)
{
    const char *at = path + strlen(path);
    while (at > path && depth > 0)
        if (*--at == '/') depth--;
    return *at == '/' ? at + 1 : at;
}

static bool is_beside(const char *a, const char *b)
{
    const size_t n = (size_t)(path_end(a, 1) - a);
    return n == (size_t)(path_end(b, 1) - b) && strncmp(a, b, n) == 0;
}

/* Whether the path of another folder that does not lie beside the first either ends as paths[i] does. */
static bool is_shared(char *const *paths, int n, int i, int depth)
{
    for (int k = 0; k < n; k++)
        if (!is_beside(paths[k], paths[0]) && strcmp(paths[k], paths[i]) != 0 &&
            strcmp(path_end(paths[k], depth), path_end(paths[i], depth)) == 0)
            return true;
    return false;
}

static void labels_take(char (*labels)[LABEL_MAX], char *const *paths, int n)
{
    for (int i = 0; i < n; i++) {
        const bool beside = is_beside(paths[i], paths[0]);
        int depth = beside ? 1 : 2;
        while (!beside && is_shared(paths, n, i, depth)) depth++;
        snprintf(labels[i], LABEL_MAX, "%s", path_end(paths[i], depth));
    }
}

int labels_make(char (*labels)[LABEL_MAX], const char *const *folders, int n)
{
    char **paths = NULL;
    int rc = MEM_NEW(&paths, n, "folders");
    for (int i = 0; i < n && rc == 0; i++) {
        paths[i] = realpath(folders[i], NULL);
        if (!paths[i]) rc = fail("%s: %s", folders[i], strerror(errno));
    }
    if (rc == 0) labels_take(labels, paths, n);
    for (int i = 0; paths && i < n; i++) free(paths[i]);
    mem_free(paths);
    return rc;
}

int labels_folder_make(char *path, const char *first, char (*labels)[LABEL_MAX], int n)
{
    enum { MAX_NAME = 160 };
    char name[MAX_NAME + 300] = "compare", *full = realpath(first, NULL);
    if (!full) return fail("%s: %s", first, strerror(errno));
    *strrchr(full, '/') = '\0'; /* no folder of results is the root */
    for (int i = 0; i < n; i++) {
        const size_t at = strlen(name);
        if (at + strlen(labels[i]) < MAX_NAME) {
            snprintf(name + at, sizeof name - at, "-%s", labels[i]);
            continue;
        }
        snprintf(name + at, sizeof name - at, "-and-%d-more", n - i);
        break;
    }
    for (char *slash = name; (slash = strchr(slash, '/')) != NULL;) *slash = '_';
    const int length = snprintf(path, PATH_MAX, "%s/%s", full, name);
    free(full);
    if (length >= PATH_MAX) return fail("%s: the path is too long", name);
    return mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : fail("%s: %s", path, strerror(errno));
}
