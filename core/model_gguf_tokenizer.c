/* A GGUF file's tokenizer, from its metadata. */
#include "core/err.h"
#include "core/gguf.h"
#include "core/mem.h"
#include "core/model_read.h"

#include <string.h>

/* The arrays and texts that are made for the tokenizer to copy from. */
struct made {
    struct str_view *tokens, *merges;
    int32_t *types;
    char *model, *pre, *chat;
};

/* A text that may be absent, as a C string; NUL bytes within are refused, for they would cut it short. */
static int text_or(const struct gguf *g, const char *key, char **out)
{
    struct str_view s;
    if (!gguf_find(g, key)) return 0;
    if (gguf_string(g, key, &s) != 0) return -1;
    if (s.n && memchr(s.at, 0, s.n)) return fail("key %s: holds a NUL byte", key);
    return mem_strndup(out, s.at, s.n);
}

static int id_or(const struct gguf *g, const char *key, size_t n_tokens, int *id)
{
    *id = -1;
    return gguf_find(g, key) ? gguf_int(g, key, 0, (int)n_tokens - 1, id) : 0;
}

static int read_vocabulary(struct made *d, const struct gguf *g, int vocab, struct tokenizer_source *src)
{
    size_t n_types = 0;
    if (gguf_strings(g, "tokenizer.ggml.tokens", &d->tokens, &src->n_tokens) != 0) return -1;
    if (src->n_tokens < 1 || src->n_tokens > (size_t)vocab)
        return fail("key tokenizer.ggml.tokens: %zu tokens, the embedding has %d", src->n_tokens, vocab);
    if (gguf_strings(g, "tokenizer.ggml.merges", &d->merges, &src->n_merges) != 0) return -1;
    if (gguf_find(g, "tokenizer.ggml.token_type")) {
        if (gguf_int32s(g, "tokenizer.ggml.token_type", &d->types, &n_types) != 0) return -1;
        if (n_types != src->n_tokens)
            return fail("key tokenizer.ggml.token_type: %zu types of %zu tokens", n_types, src->n_tokens);
    }
    src->tokens = d->tokens;
    src->merges = d->merges;
    src->token_types = d->types;
    return 0;
}

/* Llama 3's files were made before add_bos_token was written, and want it. */
static int read_add_bos(const struct gguf *g, const char *pre, struct tokenizer_source *src)
{
    bool add = strcmp(pre, "llama-bpe") == 0;
    if (gguf_find(g, "tokenizer.ggml.add_bos_token") && gguf_bool(g, "tokenizer.ggml.add_bos_token", &add) != 0)
        return -1;
    if (add && src->bos_id < 0) return fail("key tokenizer.ggml.add_bos_token: there is no bos_token_id");
    src->add_bos = add;
    return 0;
}

static int open_made(struct tokenizer *t, struct made *d, const struct gguf *g, int vocab, const char *path)
{
    struct tokenizer_source src = { .name = path };
    if (text_or(g, "tokenizer.ggml.model", &d->model) != 0 || text_or(g, "tokenizer.ggml.pre", &d->pre) != 0 ||
        text_or(g, "tokenizer.chat_template", &d->chat) != 0)
        return -1;
    src.model = d->model ? d->model : "";
    if (strcmp(src.model, "gpt2") != 0)
        return fail("key tokenizer.ggml.model: '%.40s' is not supported (gpt2, that is byte-level BPE, is)", src.model);
    if (read_vocabulary(d, g, vocab, &src) != 0) return -1;
    src.pre = d->pre ? d->pre : "default";
    src.chat_template = d->chat;
    if (id_or(g, "tokenizer.ggml.bos_token_id", src.n_tokens, &src.bos_id) != 0 ||
        id_or(g, "tokenizer.ggml.eos_token_id", src.n_tokens, &src.eos_id) != 0 || read_add_bos(g, src.pre, &src) != 0)
        return -1;
    return tokenizer_open(t, &src);
}

int model_gguf_tokenizer(struct tokenizer *t, const struct gguf *g, int vocab, const char *path)
{
    struct made d = { 0 };
    if (!gguf_find(g, "tokenizer.ggml.model")) return 0;
    const int rc = open_made(t, &d, g, vocab, path);
    mem_free(d.tokens);
    mem_free(d.merges);
    mem_free(d.types);
    mem_free(d.model);
    mem_free(d.pre);
    mem_free(d.chat);
    return rc;
}
