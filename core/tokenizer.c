#include "core/tokenizer.h"

#include "core/byte_level.h"
#include "core/chat.h"
#include "core/err.h"
#include "core/mem.h"
#include "core/nfc.h"

#include <string.h>

struct encoder {
    const struct tokenizer *t;
    bool control;
    struct bpe_work work;
    struct bpe_output out;
};

static int encode_piece(void *user, struct str_view piece)
{
    struct encoder *e = user;
    return bpe_encode(&e->t->bpe, piece, &e->work, &e->out);
}

/* UTF-8 without added tokens. */
static int encode_plain(struct encoder *e, struct str_view text)
{
    if (text.n == 0) return 0;
    if (!e->t->pre.nfc || nfc_is_plain(text)) return pretokenizer_run(&e->t->pre, text, encode_piece, e);
    char *normal = NULL;
    size_t n = 0;
    if (nfc_normalise(text, &normal, &n) != 0) return -1;
    const int rc = pretokenizer_run(&e->t->pre, (struct str_view){ normal, n }, encode_piece, e);
    mem_free(normal);
    return rc;
}

/* UTF-8: cut at its added tokens. */
static int encode_valid(struct encoder *e, struct str_view text)
{
    size_t from = 0, at = 0;
    const struct added_token *token;
    while ((token = added_tokens_next(&e->t->added, text, from, e->control, &at))) {
        if (encode_plain(e, (struct str_view){ text.at + from, at - from }) != 0) return -1;
        if (bpe_output_add(&e->out, token->id) != 0) return -1;
        from = at + token->text.n;
    }
    return encode_plain(e, (struct str_view){ text.at + from, text.n - from });
}

static int encode_all(struct encoder *e, struct str_view text)
{
    for (size_t at = 0; at < text.n;) {
        bool valid = false;
        const size_t end = byte_level_stretch(text, at, &valid);
        const struct str_view stretch = { text.at + at, end - at };
        if ((valid ? encode_valid(e, stretch) : encode_piece(e, stretch)) != 0)
            return fail_in("encoding bytes %zu to %zu of a text", at, end - 1);
        at = end;
    }
    return 0;
}

int tokenizer_encode(const struct tokenizer *t, const char *bytes, size_t n, unsigned flags, int32_t **ids,
                     size_t *n_ids)
{
    struct encoder e = { .t = t, .control = (flags & TOKENIZER_CONTROL) != 0 };
    *ids = NULL;
    *n_ids = 0;
    e.out.max = 16;
    int rc = MEM_NEW(&e.out.ids, e.out.max, "token ids");
    if (rc == 0 && (flags & TOKENIZER_BOS) && t->add_bos) rc = bpe_output_add(&e.out, t->bos_id);
    if (rc == 0) rc = encode_all(&e, (struct str_view){ bytes, n });
    bpe_work_close(&e.work);
    if (rc != 0) {
        mem_free(e.out.ids);
        return -1;
    }
    *ids = e.out.ids;
    *n_ids = e.out.n;
    return 0;
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n_ids, unsigned flags, char **bytes,
                     size_t *n)
{
    *bytes = NULL;
    *n = 0;
    size_t total = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (ids[i] < 0 || ids[i] >= t->n_tokens)
            return fail("token id %d (number %zu): the tokenizer's ids are 0 to %d", (int)ids[i], i, t->n_tokens - 1);
        total += tokenizer_token(t, ids[i]).n;
    }
    char *out = NULL;
    if (MEM_NEW(&out, total + 1, "decoded text") != 0) return -1;
    for (size_t i = 0; i < n_ids; i++) {
        if (t->type[ids[i]] == TOKEN_CONTROL && !(flags & TOKENIZER_CONTROL)) continue;
        const struct str_view token = tokenizer_token(t, ids[i]);
        if (token.n) memcpy(out + *n, token.at, token.n);
        *n += token.n;
    }
    *bytes = out;
    return 0;
}

int tokenizer_find_added(const struct tokenizer *t, struct str_view text)
{
    const struct added_token *token = added_tokens_find(&t->added, text);
    return token ? token->id : -1;
}

struct str_view tokenizer_token(const struct tokenizer *t, int32_t id)
{
    if (id < 0 || id >= t->n_tokens) return (struct str_view){ NULL, 0 };
    return (struct str_view){ t->text + t->at[id], t->at[id + 1] - t->at[id] };
}

void tokenizer_close(struct tokenizer *t)
{
    mem_free(t->text);
    mem_free(t->at);
    mem_free(t->type);
    bpe_close(&t->bpe);
    added_tokens_close(&t->added);
    pretokenizer_close(&t->pre);
    *t = (struct tokenizer){ 0 };
}
