/* core/pretokenizer.h: cuts a text into the pieces that are merged each for itself.
 *
 * A plan is a list of stages; each cuts every piece of the stage before it, taken as a text of its own, at the
 * matches of a regular expression.  The expressions are written as tokenizer.json has them (Oniguruma's syntax) and run
 * by PCRE2 after core/pattern.h has made the two agree.                                                              */
#ifndef CORE_PRETOKENIZER_H
#define CORE_PRETOKENIZER_H

#include "core/str_view.h"

#include <stdbool.h>
#include <stddef.h>

enum { PRETOKENIZER_MAX_SPLITS = 8 };

/* The expression that GPT-2 cuts by, and with it every ByteLevel step of a tokenizer.json that has use_regex. */
#define PRETOKENIZER_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

enum split_kind {
    SPLIT_ISOLATE, /* matches and the gaps between them are pieces */
    SPLIT_KEEP,    /* matches are pieces, gaps are dropped */
    SPLIT_DROP,    /* gaps are pieces, matches are dropped */
};

struct split {
    enum split_kind kind;
    bool literal;        /* pattern is a plain string */
    const char *pattern; /* borrowed while the pretokenizer is opened */
};

struct pretokenizer_plan {
    const char *name; /* as in GGUF's tokenizer.ggml.pre */
    bool nfc;         /* normalise to NFC first */
    bool whole_first; /* see struct bpe */
    bool add_bos;     /* for files that do not say */
    size_t n_splits;
    struct split splits[PRETOKENIZER_MAX_SPLITS];
};

struct pretokenizer {
    size_t n_splits;
    struct {
        enum split_kind kind;
        void *code; /* owned: pcre2_code */
    } splits[PRETOKENIZER_MAX_SPLITS];
    bool nfc;
};

/* A named plan, or NULL after fail() with the names there are. */
const struct pretokenizer_plan *pretokenizer_plan_find(const char *name);

int pretokenizer_open(struct pretokenizer *p, const struct pretokenizer_plan *plan);
void pretokenizer_close(struct pretokenizer *p);

/* Calls piece(user, bytes) for each piece of text, in order; text must be UTF-8.  Stops at the first piece that fails
 * (not 0) and returns -1. */
int pretokenizer_run(const struct pretokenizer *p, struct str_view text,
                     int (*piece)(void *user, struct str_view bytes), void *user);

#endif
