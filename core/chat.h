/* core/chat.h: conversations as the model was taught to read them.
 *
 * The formats are named and built in; a model's own template is only looked at to recognise which of them it is.  All
 * are ChatML: each message is <|im_start|>ROLE\nCONTENT<|im_end|>\n, and what differs is what stands first when the
 * conversation has no system message of its own.  Only the format's markers become control tokens: a marker that stands in
 * a message's content is spelled out as text.                                                                        */
#ifndef CORE_CHAT_H
#define CORE_CHAT_H

#include "core/str_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

struct chat_format {
    const char *name;           /* as in configs */
    const char *family;         /* "smollm2" or "qwen" */
    const char *default_system; /* the system message of a conversation that has none; NULL: none is added */
    const char *recognised_by;  /* text that a template of this format holds */
    bool thinks;                /* Qwen3: see chat_render() */
};

struct chat_message {
    const char *role; /* "system", "user" or "assistant" */
    struct str_view content;
};

/* The format called name for this tokenizer; NULL after fail() with the names there are.  A family's name ("qwen")
 * means the member recognised in the model's template, else the family's first in the table. */
const struct chat_format *chat_format_find(const struct tokenizer *t, const char *name);

/* Which named format a model's own template is; NULL if none (or if the template is NULL). */
const struct chat_format *chat_format_recognise(const char *chat_template);

/* The conversation as ids (as tokenizer_encode() gives them; no bos is put before).  with_reply: ends with the
 * opening of the assistant's reply.  Qwen3: thinking (up to </think>) of earlier replies is dropped; a reply that ends the
 * conversation is given its thinking part, empty if it has none. */
int chat_render(const struct tokenizer *t, const struct chat_format *f, const struct chat_message *messages,
                size_t n_messages, bool with_reply, int32_t **ids, size_t *n_ids);

#endif
