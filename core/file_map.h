/* core/file_map.h: a file mapped read-only into memory. */
#ifndef CORE_FILE_MAP_H
#define CORE_FILE_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

struct file_map {
    const uint8_t *bytes; /* owned [n_bytes]; NULL for an empty file */
    size_t n_bytes;
    /* which file this is and which state of it, for core/digest.h */
    uint64_t device, inode;
    struct timespec modified, changed;
};

int file_map_open(struct file_map *f, const char *path); /* regular files only */
void file_map_close(struct file_map *f);
void file_map_drop(const struct file_map *f); /* its pages are not needed for now */

#endif
