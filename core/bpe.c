#include "core/bpe.h"

#include "core/err.h"
#include "core/mem.h"

#include <string.h>

enum { NOBODY = -1, MIN_SYMBOLS = 1024 };

struct bpe_symbol { /* a token of the piece in the making */
    int32_t id;
    uint32_t n_bytes; /* 0: joined to the one before */
    uint32_t prev, next;
};

struct bpe_candidate { /* a pair that could be joined; stale once the pair's bytes have grown */
    uint64_t order;    /* rank << 32 | place of the left one */
    uint32_t n_bytes;  /* of both */
    int32_t joined;
};

static const uint32_t END = UINT32_MAX;

static size_t hash_bytes(struct str_view bytes)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a, 64 bits */
    for (size_t i = 0; i < bytes.n; i++) h = (h ^ (unsigned char)bytes.at[i]) * 0x100000001B3u;
    return (size_t)(h ^ h >> 32);
}

static size_t hash_pair(int32_t left, int32_t right)
{
    const uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (size_t)((key * 0x9E3779B97F4A7C15u) >> 20); /* Fibonacci hashing: the middle bits are the mixed ones */
}

static size_t table_size(size_t n) /* a power of two that n entries fill to at most two thirds */
{
    size_t size = 16;
    while (size < n + n / 2) size *= 2;
    return size;
}

static struct bpe_token *find_slot(const struct bpe *b, struct str_view bytes)
{
    size_t i = hash_bytes(bytes) & (b->n_words - 1);
    while (b->words[i].id != NOBODY) {
        const struct str_view word = b->words[i].bytes;
        if (word.n == bytes.n && memcmp(word.at, bytes.at, bytes.n) == 0) break;
        i = (i + 1) & (b->n_words - 1);
    }
    return &b->words[i];
}

static struct bpe_pair *find_pair(const struct bpe *b, int32_t left, int32_t right)
{
    size_t i = hash_pair(left, right) & (b->n_pairs - 1);
    while (b->pairs[i].left != NOBODY && !(b->pairs[i].left == left && b->pairs[i].right == right))
        i = (i + 1) & (b->n_pairs - 1);
    return &b->pairs[i];
}

int bpe_open(struct bpe *b, const struct bpe_token *tokens, size_t n, size_t n_merges)
{
    b->n_words = table_size(n);
    b->n_pairs = table_size(n_merges);
    if (MEM_NEW(&b->words, b->n_words, "vocabulary") != 0) return -1;
    if (MEM_NEW(&b->pairs, b->n_pairs, "merges") != 0) return -1;
    for (size_t i = 0; i < b->n_words; i++) b->words[i].id = NOBODY;
    for (size_t i = 0; i < b->n_pairs; i++) b->pairs[i].left = NOBODY;
    for (size_t i = 0; i < n; i++) {
        struct bpe_token *slot = find_slot(b, tokens[i].bytes);
        if (slot->id != NOBODY)
            return fail("tokens %d and %d are the same: '%.*s'", (int)slot->id, (int)tokens[i].id,
                        (int)(slot->bytes.n < 40 ? slot->bytes.n : 40), slot->bytes.at);
        *slot = tokens[i];
    }
    for (int byte = 0; byte < 256; byte++) {
        const char c = (char)byte;
        b->byte_id[byte] = bpe_find(b, (struct str_view){ &c, 1 });
    }
    return 0;
}

void bpe_close(struct bpe *b)
{
    mem_free(b->words);
    mem_free(b->pairs);
    *b = (struct bpe){ 0 };
}

int32_t bpe_find(const struct bpe *b, struct str_view bytes)
{
    return find_slot(b, bytes)->id;
}

int bpe_add_merge(struct bpe *b, uint32_t rank, struct str_view both, size_t n_left)
{
    const struct str_view left = { both.at, n_left }, right = { both.at + n_left, both.n - n_left };
    const struct bpe_pair pair = { bpe_find(b, left), bpe_find(b, right), bpe_find(b, both), rank };
    if (pair.left == NOBODY || pair.right == NOBODY || pair.joined == NOBODY)
        return fail("its %s is no token of the vocabulary", pair.left == NOBODY    ? "left half"
                                                            : pair.right == NOBODY ? "right half"
                                                                                   : "result");
    *find_pair(b, pair.left, pair.right) = pair;
    return 0;
}

/* The heap: heap[0] is the least; the children of i are 2i+1 and 2i+2. */
static void heap_push(struct bpe_candidate *heap, size_t *n, struct bpe_candidate c)
{
    size_t i = (*n)++;
    while (i > 0 && heap[(i - 1) / 2].order > c.order) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = c;
}

static struct bpe_candidate heap_pop(struct bpe_candidate *heap, size_t *n)
{
    const struct bpe_candidate least = heap[0], last = heap[--*n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= *n) break;
        if (child + 1 < *n && heap[child + 1].order < heap[child].order) child++;
        if (heap[child].order >= last.order) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = last;
    return least;
}

static void consider(const struct bpe *b, struct bpe_work *w, size_t *n_heap, uint32_t left, uint32_t right)
{
    if (left == END || right == END) return;
    const struct bpe_symbol *l = &w->symbols[left], *r = &w->symbols[right];
    const struct bpe_pair *pair = find_pair(b, l->id, r->id);
    if (pair->left == NOBODY) return;
    heap_push(w->heap, n_heap,
              (struct bpe_candidate){ (uint64_t)pair->rank << 32 | left, l->n_bytes + r->n_bytes, pair->joined });
}

static int work_reserve(struct bpe_work *w, size_t n)
{
    if (w->max_symbols >= n) return 0;
    const size_t max = n < MIN_SYMBOLS ? MIN_SYMBOLS : n; /* nearly all pieces are short */
    mem_free(w->symbols);
    mem_free(w->heap);
    *w = (struct bpe_work){ 0 };
    if (MEM_NEW(&w->symbols, max, "pieces being merged") != 0) return -1;
    /* n - 1 candidates at the start; each of at most n - 1 joins takes one out and puts at most two in. */
    if (MEM_NEW(&w->heap, 2 * max, "pieces being merged") != 0) return -1;
    w->max_symbols = max;
    return 0;
}

void bpe_work_close(struct bpe_work *w)
{
    mem_free(w->symbols);
    mem_free(w->heap);
    *w = (struct bpe_work){ 0 };
}

int bpe_output_add(struct bpe_output *out, int32_t id)
{
    if (out->n == out->max) {
        const size_t max = out->max ? 2 * out->max : 64;
        if (mem_grow((void **)&out->ids, out->n, max, sizeof *out->ids, "token ids") != 0) return -1;
        out->max = max;
    }
    out->ids[out->n++] = id;
    return 0;
}

static void join(const struct bpe *b, struct bpe_work *w, size_t *n_heap, struct bpe_candidate c)
{
    const uint32_t at = (uint32_t)(c.order & UINT32_MAX);
    struct bpe_symbol *s = w->symbols, *left = &s[at];
    if (left->n_bytes == 0 || left->next == END) return;
    struct bpe_symbol *right = &s[left->next];
    if (left->n_bytes + right->n_bytes != c.n_bytes) return; /* one of the two has grown since */
    left->id = c.joined;
    left->n_bytes = c.n_bytes;
    left->next = right->next;
    right->n_bytes = 0;
    if (left->next != END) s[left->next].prev = at;
    consider(b, w, n_heap, left->prev, at);
    consider(b, w, n_heap, at, left->next);
}

int bpe_encode(const struct bpe *b, struct str_view piece, struct bpe_work *w, struct bpe_output *out)
{
    if (piece.n == 0) return 0;
    if (piece.n >= BPE_MAX_PIECE_BYTES)
        return fail("a piece of %zu bytes without a break: the limit is %d", piece.n, BPE_MAX_PIECE_BYTES - 1);
    const int32_t whole = b->whole_first ? bpe_find(b, piece) : NOBODY;
    if (whole != NOBODY) return bpe_output_add(out, whole);
    if (work_reserve(w, piece.n) != 0) return -1;
    const uint32_t n = (uint32_t)piece.n;
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char byte = (unsigned char)piece.at[i];
        if (b->byte_id[byte] == NOBODY) return fail("byte 0x%02X: the vocabulary has no token for it", byte);
        w->symbols[i] = (struct bpe_symbol){ b->byte_id[byte], 1, i ? i - 1 : END, i + 1 < n ? i + 1 : END };
    }
    size_t n_heap = 0;
    for (uint32_t i = 0; i + 1 < n; i++) consider(b, w, &n_heap, i, i + 1);
    while (n_heap > 0) join(b, w, &n_heap, heap_pop(w->heap, &n_heap));
    for (uint32_t i = 0; i != END; i = w->symbols[i].next)
        if (bpe_output_add(out, w->symbols[i].id) != 0) return -1;
    return 0;
}
