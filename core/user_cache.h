/* core/user_cache.h: the user's cache folder, ${XDG_CACHE_HOME:-$HOME/.cache}/resa: models that were fetched, digests
 * of big files. */
#ifndef CORE_USER_CACHE_H
#define CORE_USER_CACHE_H

#include <stddef.h>

int user_cache_path(const char *name, char *path, size_t n_bytes); /* FOLDER/name, there or not */
int user_cache_make(const char *name);                             /* makes the folder FOLDER/name and those above it */

#endif
