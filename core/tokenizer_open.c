/* Makes a tokenizer of what a model file says: checks all of it, for the file may be damaged or lie. */
#include "core/byte_level.h"
#include "core/chat.h"
#include "core/err.h"
#include "core/mem.h"
#include "core/tokenizer.h"

#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 1 << 28, MAX_SHOWN = 40 };

static int shown(struct str_view s) /* for %.*s: a file's strings may be of any length */
{
    return (int)(s.n < MAX_SHOWN ? s.n : MAX_SHOWN);
}

static int copy_text(struct tokenizer *t, const struct tokenizer_source *src)
{
    size_t n_bytes = 0;
    for (size_t i = 0; i < src->n_tokens; i++) {
        n_bytes += src->tokens[i].n;
        if (src->tokens[i].n > MAX_TEXT_BYTES || n_bytes > MAX_TEXT_BYTES)
            return fail("the vocabulary's text is longer than %d bytes", MAX_TEXT_BYTES);
    }
    if (MEM_NEW(&t->text, n_bytes + 1, "vocabulary") != 0) return -1;
    if (MEM_NEW(&t->at, src->n_tokens + 1, "vocabulary") != 0) return -1;
    if (MEM_NEW(&t->type, src->n_tokens, "vocabulary") != 0) return -1;
    t->n_tokens = (int)src->n_tokens;
    return 0;
}

/* Lays the tokens' texts out, and lists those that merging can reach and those that are cut out as they stand. */
static int fill_tokens(struct tokenizer *t, const struct tokenizer_source *src, struct bpe_token *words,
                       size_t *n_words, struct added_token *added, size_t *n_added)
{
    uint32_t at = 0;
    for (size_t i = 0; i < src->n_tokens; i++) {
        const struct str_view token = src->tokens[i];
        const int32_t type = src->token_types ? src->token_types[i] : TOKEN_NORMAL, id = (int32_t)i;
        if (type < TOKEN_NORMAL || type > TOKEN_BYTE)
            return fail("token %zu: type %d: types are %d to %d", i, (int)type, TOKEN_NORMAL, TOKEN_BYTE);
        const bool is_word = type == TOKEN_NORMAL || type == TOKEN_USER_DEFINED || type == TOKEN_BYTE;
        const bool is_added = type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED;
        char *const out = t->text + at;
        size_t n = 0;
        bool mapped = is_word && token.n && byte_level_decode(token, out, &n);
        if (!mapped || is_added) { /* added tokens stand for their text, and are words where the alphabet agrees */
            mapped = mapped && n == token.n && memcmp(out, token.at, n) == 0;
            n = token.n;
            if (n) memcpy(out, token.at, n);
        }
        const struct str_view text = { out, n };
        if (mapped) words[(*n_words)++] = (struct bpe_token){ text, id };
        if (is_added) added[(*n_added)++] = (struct added_token){ text, id, type == TOKEN_CONTROL };
        t->type[i] = (uint8_t)type;
        t->at[i] = at;
        at += (uint32_t)n;
    }
    t->at[src->n_tokens] = at;
    return 0;
}

static int open_tokens(struct tokenizer *t, const struct tokenizer_source *src)
{
    struct bpe_token *words = NULL;
    struct added_token *added = NULL;
    size_t n_words = 0, n_added = 0;
    int rc = copy_text(t, src);
    if (rc == 0) rc = MEM_NEW(&words, src->n_tokens, "vocabulary");
    if (rc == 0) rc = MEM_NEW(&added, src->n_tokens, "vocabulary");
    if (rc == 0) rc = fill_tokens(t, src, words, &n_words, added, &n_added);
    if (rc == 0) rc = bpe_open(&t->bpe, words, n_words, src->n_merges);
    if (rc == 0) rc = added_tokens_open(&t->added, added, n_added);
    mem_free(words);
    mem_free(added);
    return rc;
}

/* "left right" in the byte alphabet, which has no space of its own.  buffer has room for merge.n bytes. */
static int add_merge(struct tokenizer *t, size_t rank, struct str_view merge, char *buffer)
{
    const char *space = merge.n ? memchr(merge.at, ' ', merge.n) : NULL;
    const size_t n_left = space ? (size_t)(space - merge.at) : 0;
    const struct str_view left = { merge.at, n_left };
    size_t n = 0, n_right = 0;
    if (!space || n_left == 0 || n_left + 1 == merge.n || memchr(space + 1, ' ', merge.n - n_left - 1))
        return fail("merge %zu: '%.*s': not two tokens with a space between", rank, shown(merge), merge.at);
    const struct str_view right = { space + 1, merge.n - n_left - 1 };
    if (!byte_level_decode(left, buffer, &n) || !byte_level_decode(right, buffer + n, &n_right))
        return fail("merge %zu: '%.*s': a character that is not of the byte alphabet", rank, shown(merge), merge.at);
    TRY(bpe_add_merge(&t->bpe, (uint32_t)rank, (struct str_view){ buffer, n + n_right }, n), "merge %zu: '%.*s'", rank,
        shown(merge), merge.at);
    return 0;
}

static int open_merges(struct tokenizer *t, const struct tokenizer_source *src)
{
    size_t longest = 0;
    for (size_t i = 0; i < src->n_merges; i++)
        if (src->merges[i].n > longest) longest = src->merges[i].n;
    char *buffer = NULL;
    int rc = MEM_NEW(&buffer, longest + 1, "merges");
    for (size_t i = 0; rc == 0 && i < src->n_merges; i++) rc = add_merge(t, i, src->merges[i], buffer);
    mem_free(buffer);
    return rc;
}

static int check_id(const struct tokenizer *t, const char *what, int id)
{
    if (id >= -1 && id < t->n_tokens) return 0;
    return fail("%s %d: the tokenizer's ids are 0 to %d", what, id, t->n_tokens - 1);
}

static int open_ends(struct tokenizer *t, const struct tokenizer_source *src, const struct pretokenizer_plan *plan)
{
    if (check_id(t, "bos_token_id", src->bos_id) != 0) return -1;
    if (check_id(t, "eos_token_id", src->eos_id) != 0) return -1;
    t->bos_id = src->bos_id;
    t->eos_id = src->eos_id;
    t->add_bos = src->add_bos < 0 ? plan->add_bos && t->bos_id >= 0 : src->add_bos != 0;
    if (t->add_bos && t->bos_id < 0) return fail("add_bos_token is set, but no token is named as bos");
    t->chat = chat_format_recognise(src->chat_template);
    return 0;
}

static void digest_number(struct sha256_ctx *sha, uint64_t v)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(v >> (8 * i));
    sha256_update(sha, sizeof bytes, bytes);
}

static void digest_text(struct sha256_ctx *sha, struct str_view text)
{
    digest_number(sha, text.n);
    sha256_update(sha, text.n, (const uint8_t *)text.at);
}

/* All that decides the ids: vocabulary, merges, the plan's steps and the ends. */
static void make_digest(struct tokenizer *t, const struct tokenizer_source *src, const struct pretokenizer_plan *plan)
{
    struct sha256_ctx sha;
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_init(&sha);
    digest_number(&sha, src->n_tokens);
    for (int i = 0; i < t->n_tokens; i++) {
        digest_number(&sha, t->type[i]);
        digest_text(&sha, tokenizer_token(t, i));
    }
    digest_number(&sha, src->n_merges);
    for (size_t i = 0; i < src->n_merges; i++) digest_text(&sha, src->merges[i]);
    digest_number(&sha, (uint64_t)plan->nfc | (uint64_t)plan->whole_first << 1 | (uint64_t)t->add_bos << 2);
    digest_number(&sha, plan->n_splits);
    for (size_t i = 0; i < plan->n_splits; i++) {
        digest_number(&sha, (uint64_t)plan->splits[i].kind << 1 | plan->splits[i].literal);
        digest_text(&sha, (struct str_view){ plan->splits[i].pattern, strlen(plan->splits[i].pattern) });
    }
    digest_number(&sha, (uint64_t)(int64_t)t->bos_id);
    digest_number(&sha, (uint64_t)(int64_t)t->eos_id);
    sha256_digest(&sha, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) snprintf(t->digest + 2 * i, 3, "%02x", digest[i]);
}

static int check_model(const struct tokenizer_source *src)
{
    if (src->model && strcmp(src->model, "gpt2") == 0) return 0;
    return fail("model '%.60s' is not handled: only 'gpt2' (byte-level BPE) is", src->model ? src->model : "(none)");
}

static int open_all(struct tokenizer *t, const struct tokenizer_source *src, const struct pretokenizer_plan *plan)
{
    if (check_model(src) != 0) return -1;
    if (!plan && !src->pre) return fail("no pre-tokenizer is named (tokenizer.ggml.pre)");
    if (!plan) plan = pretokenizer_plan_find(src->pre);
    if (!plan) return -1;
    if (src->n_tokens == 0 || src->n_tokens > TOKENIZER_MAX_TOKENS)
        return fail("%zu tokens: 1 to %d are possible", src->n_tokens, TOKENIZER_MAX_TOKENS);
    if (src->n_merges > TOKENIZER_MAX_TOKENS)
        return fail("%zu merges: at most %d are possible", src->n_merges, TOKENIZER_MAX_TOKENS);
    if (open_tokens(t, src) != 0 || open_merges(t, src) != 0 || open_ends(t, src, plan) != 0) return -1;
    if (pretokenizer_open(&t->pre, plan) != 0) return -1;
    t->bpe.whole_first = plan->whole_first;
    make_digest(t, src, plan);
    return 0;
}

int tokenizer_open_plan(struct tokenizer *t, const struct tokenizer_source *src, const struct pretokenizer_plan *plan)
{
    if (open_all(t, src, plan) == 0) return 0;
    return src->name ? fail_in("%s: tokenizer", src->name) : fail_in("tokenizer");
}

int tokenizer_open(struct tokenizer *t, const struct tokenizer_source *src)
{
    return tokenizer_open_plan(t, src, NULL);
}
