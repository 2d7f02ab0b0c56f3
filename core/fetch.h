/* core/fetch.h: what the fetching of models and of texts into the user's cache shares.  Private to the two and their tests.
 *
 * Everything is made in KIND/NAME.fetch/, which is emptied before and after; KIND/NAME.EXTENSION appears by a rename, whole,
 * on the disk, and verified by the caller, or not at all.  One fetch of a name runs at a time (KIND/NAME.lock).           */
#ifndef CORE_FETCH_H
#define CORE_FETCH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

struct fetch {
    char name[64];
    bool verbose;
    char folder[PATH_MAX];   /* KIND/NAME.fetch */
    char target[PATH_MAX];   /* KIND/NAME.EXTENSION */
    char part[PATH_MAX + 8]; /* folder/part: the target until it is whole */
    bool has_folder;
    int lock_fd;
};

/* Waits for its turn.  fetch_close() is due also where it fails. */
int  fetch_open(struct fetch *f, const char *kind, const char *name, const char *extension, bool verbose);
int  fetch_make_folder(struct fetch *f);
/* fd: the part, open and written; it stays the caller's. */
int  fetch_publish(const struct fetch *f, int fd);
void fetch_close(struct fetch *f);

/* Runs argv[0] within the folder with standard input from nowhere and its standard output in `out` (a path; NULL: with the
 * rest of what it says).  -1 with its last words, an error's first of all, where it fails. */
int  fetch_run(const struct fetch *f, const char *const *argv, const char *out);
/* The one file of the folder whose name ends so. */
int  fetch_find(const struct fetch *f, const char *ending, char *path, size_t n_bytes);

#endif
