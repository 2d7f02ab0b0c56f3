/* core/prompt.h: the token streams that a config's prompt names.
 *
 *   file    one source for each file that a pattern matches, sorted by path, or for each known text (text_known.h) behind
 *           "debian:"; a stream begins with the model's begin-of-text token where the model wants one
 *   text    one for each text
 *   chat    the conversation in a named format, ending with the opening of the reply
 *   ids     the ids given, or those of a file
 *   random  ids uniform over the vocabulary: id i = (w * vocab) >> 32, w the word i % 4 of Philox at counter
 *           {i / 4, 0, 0, PHILOX_PROMPT} under the source's seed
 *
 * What is wrong with a source goes to the config's diagnostics, at the source's place in the file.            */
#ifndef CORE_PROMPT_H
#define CORE_PROMPT_H

#include "core/config.h"
#include "core/model.h"

enum { PROMPT_MAX_TOKENS = 1 << 24, PROMPT_MAX_FILE_BYTES = 1 << 26 };

struct prompt_source {
    char name[64];        /* unique: the file's base name without .txt, "text", "chat", "ids", "random", with -2, -3 .. where it repeats */
    char origin[80];      /* "debian:PACKAGE" of a known text; else what the prompt is: "file", "text", "chat", "ids", "random" */
    char *path;           /* owned: the file, or NULL */
    int32_t *ids;         /* owned [n] */
    int n;
};

struct prompt_set {
    struct prompt_source *sources; /* owned [n] */
    int n;
};

/* n_random: the length of random streams.  -1 after an error in c->diag, or without memory. */
int  prompt_open(struct prompt_set *s, struct config *c, const struct model *m, int n_random);
void prompt_close(struct prompt_set *s); /* safe on a zeroed or half-opened set */

#endif
