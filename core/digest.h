/* core/digest.h: SHA-256 in hex, of bytes and of mapped files. */
#ifndef CORE_DIGEST_H
#define CORE_DIGEST_H

#include "core/file_map.h"

#include <stddef.h>

enum { DIGEST_CHARS = 64 };

void digest_bytes(const void *bytes, size_t n_bytes, char hex[DIGEST_CHARS + 1]);

/* The digest of a whole mapped file.  That of a big file is kept in the user's cache under its device, inode, size
 * and times, so that it is computed once; a cache that cannot be read or written costs time and nothing else. */
void digest_file(const struct file_map *f, char hex[DIGEST_CHARS + 1]);

#endif
