/* tests/temp_folder.h: a folder for one test program, removed at its end with all that is in it. */
#ifndef TESTS_TEMP_FOLDER_H
#define TESTS_TEMP_FOLDER_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char temp_folder[PATH_MAX];

static inline int temp_folder_open(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(temp_folder, sizeof temp_folder, "%s/resa-test-XXXXXX", base ? base : P_tmpdir);
    return mkdtemp(temp_folder) ? 0 : -1;
}

static inline int temp_remove(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static inline int temp_folder_close(void **state)
{
    (void)state;
    return nftw(temp_folder, temp_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a file in the folder; good until the third call from now. */
static inline const char *temp_path(const char *name)
{
    static char paths[3][PATH_MAX];
    static int turn;
    turn = (turn + 1) % 3;
    snprintf(paths[turn], PATH_MAX, "%.2000s/%.1000s", temp_folder, name);
    return paths[turn];
}

static inline void temp_write(const char *name, const void *bytes, size_t n)
{
    FILE *file = fopen(temp_path(name), "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) abort();
}

#endif
