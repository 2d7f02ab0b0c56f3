/* core/text_known.h: texts that can be named in a config (`prompt: {file: [debian:sawyer]}`), and the fetching of them.
 *
 * A known text is an excerpt, fixed by offset and length, of one file of a Debian package: titles, contents and licence
 * headers are left out by it.  Only the excerpt is kept, in ${XDG_CACHE_HOME:-$HOME/.cache}/resa/texts/NAME.txt, and its
 * SHA-256 is checked whenever it is read.  Nothing is installed: text_fetch.h tells how it is got.                      */
#ifndef CORE_TEXT_KNOWN_H
#define CORE_TEXT_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text_package {
    const char *name;               /* in configs behind TEXT_PREFIX */
    const char *package;            /* Debian package */
    const char *version;            /* the one that the digest was taken from */
    const char *path;               /* absolute, as installed; *.gz: packed with gzip */
    int64_t offset, n_bytes;        /* the excerpt, within the unpacked file; whole lines, n_bytes > 0 */
    const char *digest;             /* SHA-256 in hex of the excerpt */
    const char *about, *licence;    /* for people */
};

#define TEXT_PREFIX "debian:"

extern const struct text_package text_packages[]; /* until one without name */

/* The name or the pattern (`*`) behind the prefix, or NULL where `given` does not begin with it. */
const char *text_known_pattern(const char *given);
const char *text_known_names(void);               /* "a, b, c", for messages */
/* The next text from `after` on (NULL: the first) whose name matches, or NULL.  The long texts (long-*: for long streams, from the
 * same files as shorter ones) are matched by patterns that begin with long- alone. */
const struct text_package *text_known_next(const char *pattern, const struct text_package *after);
int  text_known_path(const struct text_package *t, char *path, size_t n_bytes); /* where the cache keeps it, there or not */
/* Whether these bytes are the text. */
bool text_known_is(const struct text_package *t, const void *bytes, size_t n_bytes);

#endif
