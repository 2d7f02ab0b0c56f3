/* core/bpe.h: byte-pair encoding over bytes: the vocabulary, the merges and their ranks.
 *
 * A piece starts as one token for each byte; again and again the adjacent pair whose merge has the lowest rank is
 * joined, the leftmost of equals first, until no pair has a merge.  A heap over a linked list: n log n in the
 * bytes of the piece, whatever its length.                                                                          */
#ifndef CORE_BPE_H
#define CORE_BPE_H

#include "core/str_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bpe_token {
    struct str_view bytes; /* what the token stands for, not in the byte alphabet; borrowed for the life of the bpe */
    int32_t id;
};

struct bpe_pair { /* a slot of the table of merges; left = -1: empty */
    int32_t left, right, joined;
    uint32_t rank;
};

struct bpe {
    struct bpe_token *words; /* owned [n_words]: hash table from bytes to id; id = -1: empty */
    size_t n_words;          /* a power of two */
    struct bpe_pair *pairs;  /* owned [n_pairs]: hash table from (left, right) */
    size_t n_pairs;          /* a power of two */
    int32_t byte_id[256];    /* the token of each single byte */
    bool whole_first;        /* a piece that is a token as it stands is not merged ("ignore_merges" of Llama 3) */
};

/* Buffers that grow and are used again, one for each thread that encodes.  Zeroed is a good start. */
struct bpe_work {
    struct bpe_symbol *symbols; /* owned */
    struct bpe_candidate *heap; /* owned */
    size_t max_symbols, max_heap;
};

struct bpe_output {
    int32_t *ids; /* owned; mem_free() */
    size_t n, max;
};

/* tokens [n]: every token that text can be merged to; all 256 single bytes must be among them. */
int bpe_open(struct bpe *b, const struct bpe_token *tokens, size_t n, size_t n_merges);
/* The merge of rank `rank`: its two halves and their join must be tokens.  The same pair again: the later rank holds. */
int bpe_add_merge(struct bpe *b, uint32_t rank, struct str_view left, struct str_view right);
void bpe_close(struct bpe *b);

int32_t bpe_find(const struct bpe *b, struct str_view bytes); /* the token of exactly these bytes; -1: none */
int bpe_encode(const struct bpe *b, struct str_view piece, struct bpe_work *w, struct bpe_output *out); /* appends */
void bpe_work_close(struct bpe_work *w);
int bpe_output_add(struct bpe_output *out, int32_t id);

#endif
