/* core/added_tokens.h: the tokens that are cut out of a text as they stand, before anything else is done to it. */
#ifndef CORE_ADDED_TOKENS_H
#define CORE_ADDED_TOKENS_H

#include "core/str_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct added_token {
    struct str_view text; /* borrowed from the tokenizer; never empty */
    int32_t id;
    bool control;
};

struct added_tokens {
    struct added_token *sorted; /* owned [n], ascending by bytes, no text twice */
    size_t n;
    bool begins[256]; /* whether a token begins with this byte */
};

/* Copies and sorts list [n]; fails if a text is empty or comes twice. */
int added_tokens_open(struct added_tokens *a, const struct added_token *list, size_t n);
void added_tokens_close(struct added_tokens *a);

/* The leftmost place in text[from ..] where a token stands, and there the longest one; NULL if there is none.
 * Control tokens count only if control is set.  *at is its offset in text. */
const struct added_token *added_tokens_next(const struct added_tokens *a, struct str_view text, size_t from,
                                            bool control, size_t *at);

const struct added_token *added_tokens_find(const struct added_tokens *a, struct str_view text); /* NULL: none */

#endif
