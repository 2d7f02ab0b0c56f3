/* core/tokenizer.h: text to token ids and back, by byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM).
 *
 * Encoding: the text is cut at its added tokens (markers such as <|im_start|>), normalised (NFC, where the
 * vocabulary was made so), cut into pieces by the pre-tokenizer's regular expressions, and each piece's bytes are merged
 * pairwise, lowest rank first.  The same ids as Hugging Face's `tokenizers` library.
 *
 * Any bytes can be encoded.  Where they are not UTF-8, each maximal run of stray bytes is a piece of its own and each
 * valid stretch is encoded as if it stood alone; without NFC, decoding gives every byte back.  A byte that the vocabulary
 * has no token for is an error, not a loss (SmolLM2 has none for 21 bytes, most of which no UTF-8 text holds).
 *
 * A marker in the text becomes its control token only under TOKENIZER_CONTROL; else it is spelled out like any text, so
 * that no content can pose as the template's own markers (core/chat.h).
 *
 * An open tokenizer is only read: any number of threads may encode and decode with it.                               */
#ifndef CORE_TOKENIZER_H
#define CORE_TOKENIZER_H

#include "core/added_tokens.h"
#include "core/bpe.h"
#include "core/pretokenizer.h"
#include "core/str_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As in GGUF's tokenizer.ggml.token_type. */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4, /* an added token that is text: always cut out */
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

enum tokenizer_flag {
    TOKENIZER_CONTROL = 1, /* encode: markers become control tokens; decode: control tokens are written as text */
    TOKENIZER_BOS = 2,     /* encode: begin with bos_id if the model wants it (add_bos) */
};

enum { TOKENIZER_MAX_TOKENS = 1 << 22, TOKENIZER_DIGEST_CHARS = 64 };

/* What a model file says of its tokenizer; everything is borrowed and copied by tokenizer_open(). */
struct tokenizer_source {
    const char *name;              /* put before every message: the file; NULL: nothing */
    const char *model;             /* "gpt2", that is byte-level BPE; any other is refused */
    const char *pre;               /* a name that pretokenizer_plan_find() knows, such as "smollm" */
    size_t n_tokens;               /* the vocabulary: ids 0 .. n_tokens-1 */
    const struct str_view *tokens; /* [n_tokens]; normal ones in the byte alphabet, core/byte_level.h */
    const int32_t *token_types;    /* [n_tokens], enum token_type; NULL: all normal */
    size_t n_merges;
    const struct str_view *merges; /* [n_merges] "left right", in rank order */
    int bos_id, eos_id;            /* -1: none */
    int add_bos;                   /* 1: prompts begin with bos_id; 0: not; -1: as is usual for `pre` */
    const char *chat_template;     /* NULL: none; used only to recognise one of the named formats (core/chat.h) */
};

struct tokenizer {
    int n_tokens;
    int bos_id, eos_id; /* -1: none */
    bool add_bos;
    const struct chat_format *chat;          /* the named format recognised in the model's template, or NULL; static */
    char digest[TOKENIZER_DIGEST_CHARS + 1]; /* SHA-256, hex, of all that decides the ids */

    /* private */
    char *text;    /* owned: what the tokens decode to, one after another */
    uint32_t *at;  /* owned [n_tokens + 1]: token i is text[at[i] .. at[i+1]-1] */
    uint8_t *type; /* owned [n_tokens]: enum token_type */
    struct bpe bpe;
    struct added_tokens added;
    struct pretokenizer pre;
};

/* All need a zeroed struct; after a failure tokenizer_close() is still the caller's.  A folder's tokenizer is its
 * tokenizer.json and, where they are there, its tokenizer_config.json and chat_template.jinja. */
int tokenizer_open(struct tokenizer *t, const struct tokenizer_source *src);
int tokenizer_open_json(struct tokenizer *t, const char *folder);
/* As tokenizer_open(), but with the pre-tokenizer described by plan (NULL: the one that src->pre names). */
int tokenizer_open_plan(struct tokenizer *t, const struct tokenizer_source *src, const struct pretokenizer_plan *plan);
void tokenizer_close(struct tokenizer *t); /* accepts a zeroed, half-opened or closed struct */

/* flags: enum tokenizer_flag.  *ids (the caller frees it with mem_free(); NULL after a failure) holds *n_ids ids. */
int tokenizer_encode(const struct tokenizer *t, const char *bytes, size_t n, unsigned flags, int32_t **ids,
                     size_t *n_ids);

/* The bytes of the ids, one after another; they need not be UTF-8, since a character may be spread over several tokens.
 * *bytes is terminated by a NUL that *n does not count; the caller frees it with mem_free(); NULL after a failure. */
int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n_ids, unsigned flags, char **bytes,
                     size_t *n);

/* The id of an added token by its text; -1 if there is none. */
int tokenizer_find_added(const struct tokenizer *t, struct str_view text);

/* What token id stands for (borrowed from t); n = 0 for an id out of range. */
struct str_view tokenizer_token(const struct tokenizer *t, int32_t id);

#endif
