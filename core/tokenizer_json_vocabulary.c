#include "core/err.h"
#include "core/mem.h"
#include "core/tokenizer.h"
#include "core/tokenizer_json.h"

#include <string.h>

enum { MAX_SHOWN = 40, MAX_ADDED = 1 << 20 };

static int check_model(const json_t *model)
{
    const char *type = json_get_text(model, "type");
    const json_t *dropout = json_object_get(model, "dropout");
    bool byte_fallback = false;
    if (*type && strcmp(type, "BPE") != 0)
        return fail("model: type '%.40s' is not handled: only BPE (byte-level) is", type);
    if (*json_get_text(model, "continuing_subword_prefix") || *json_get_text(model, "end_of_word_suffix"))
        return fail("model: a prefix or suffix of subwords is not handled: the model is not byte-level");
    if (dropout && !json_is_null(dropout) && !(json_is_number(dropout) && json_number_value(dropout) == 0))
        return fail("model: dropout is not handled: it makes the ids random");
    TRY(json_get_bool(model, "byte_fallback", &byte_fallback), "model");
    return byte_fallback ? fail("model: byte_fallback is not handled: the model is not byte-level") : 0;
}

static int check_id(const char *text, const json_t *id)
{
    if (!json_is_integer(id)) return fail("token '%.40s': its id is no integer", text);
    const json_int_t v = json_integer_value(id);
    if (v < 0 || v >= TOKENIZER_MAX_TOKENS)
        return fail("token '%.40s': id %lld: 0 to %d are possible", text, (long long)v, TOKENIZER_MAX_TOKENS - 1);
    return 0;
}

/* The number of ids that vocab and the added tokens need. */
static int count_tokens(const json_t *vocab, const json_t *added, size_t *n)
{
    const char *text;
    json_t *value;
    *n = 0;
    json_object_foreach((json_t *)vocab, text, value)
    {
        TRY(check_id(text, value), "model.vocab");
        if ((size_t)json_integer_value(value) + 1 > *n) *n = (size_t)json_integer_value(value) + 1;
    }
    size_t i;
    json_array_foreach((json_t *)added, i, value)
    {
        const json_t *content = json_object_get(value, "content"), *id = json_object_get(value, "id");
        if (!json_is_string(content)) return fail("added_tokens[%zu]: content: a string is needed", i);
        TRY(check_id(json_string_value(content), id), "added_tokens[%zu]", i);
        if ((size_t)json_integer_value(id) + 1 > *n) *n = (size_t)json_integer_value(id) + 1;
    }
    return *n ? 0 : fail("model.vocab is empty");
}

static int add_vocab(struct tokenizer_json *j, const json_t *vocab)
{
    const char *text;
    json_t *value;
    json_object_foreach((json_t *)vocab, text, value)
    {
        struct str_view *token = &j->tokens[json_integer_value(value)];
        if (token->at)
            return fail("model.vocab: '%.40s' and '%.40s' have the same id %lld", token->at, text,
                        (long long)json_integer_value(value));
        *token = (struct str_view){ text, strlen(text) };
        j->types[json_integer_value(value)] = TOKEN_NORMAL;
    }
    return 0;
}

static int add_added(struct tokenizer_json *j, const json_t *vocab, const json_t *entry)
{
    const json_int_t id = json_integer_value(json_object_get(entry, "id"));
    const char *text = json_get_text(entry, "content");
    bool special = false, swallows = false;
    static const char *const keys[] = { "lstrip", "rstrip", "single_word" };
    TRY(json_get_bool(entry, "special", &special), "'%.40s'", text);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        TRY(json_get_bool(entry, keys[i], &swallows), "'%.40s'", text);
        if (swallows) return fail("'%.40s': %s is not handled", text, keys[i]);
    }
    const json_t *known = json_object_get(vocab, text);
    if (known && json_integer_value(known) != id)
        return fail("'%.40s': id %lld, but %lld in model.vocab", text, (long long)id,
                    (long long)json_integer_value(known));
    struct str_view *token = &j->tokens[id];
    if (token->at && strcmp(token->at, text) != 0)
        return fail("'%.40s': id %lld is that of '%.40s'", text, (long long)id, token->at);
    if (j->types[id] == TOKEN_CONTROL || j->types[id] == TOKEN_USER_DEFINED) return fail("'%.40s': twice", text);
    *token = (struct str_view){ text, strlen(text) };
    j->types[id] = special ? TOKEN_CONTROL : TOKEN_USER_DEFINED;
    return 0;
}

int tokenizer_json_vocabulary(struct tokenizer_json *j)
{
    const json_t *model, *vocab, *added;
    if (json_get(j->root, "model", JSON_OBJECT, JSON_NEEDED, &model) != 0) return -1;
    if (check_model(model) != 0) return -1;
    TRY(json_get(model, "vocab", JSON_OBJECT, JSON_NEEDED, &vocab), "model");
    if (json_get(j->root, "added_tokens", JSON_ARRAY, JSON_OPTIONAL, &added) != 0) return -1;
    if (json_array_size(added) > MAX_ADDED)
        return fail("added_tokens: %zu: at most %d are possible", json_array_size(added), MAX_ADDED);
    if (count_tokens(vocab, added, &j->n_tokens) != 0) return -1;
    if (MEM_NEW(&j->tokens, j->n_tokens, "vocabulary") != 0) return -1;
    if (MEM_NEW(&j->types, j->n_tokens, "vocabulary") != 0) return -1;
    for (size_t i = 0; i < j->n_tokens; i++) j->types[i] = TOKEN_UNUSED;
    if (add_vocab(j, vocab) != 0) return -1;
    for (size_t i = 0; i < json_array_size(added); i++)
        TRY(add_added(j, vocab, json_array_get(added, i)), "added_tokens[%zu]", i);
    return 0;
}

/* The bytes that a merge written as a pair takes as "left right"; 0 if it is no pair of strings. */
static size_t pair_bytes(const json_t *merge)
{
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_array_size(merge) != 2 || !json_is_string(left) || !json_is_string(right)) return 0;
    return json_string_length(left) + 1 + json_string_length(right);
}

static struct str_view put_pair(const json_t *merge, char *to)
{
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    const size_t n_left = json_string_length(left), n_right = json_string_length(right);
    memcpy(to, json_string_value(left), n_left);
    to[n_left] = ' ';
    memcpy(to + n_left + 1, json_string_value(right), n_right);
    return (struct str_view){ to, n_left + 1 + n_right };
}

int tokenizer_json_merges(struct tokenizer_json *j)
{
    const json_t *merges;
    size_t n_bytes = 0;
    TRY(json_get(json_object_get(j->root, "model"), "merges", JSON_ARRAY, JSON_NEEDED, &merges), "model");
    const size_t n = json_array_size(merges);
    for (size_t i = 0; i < n; i++) {
        const json_t *merge = json_array_get(merges, i);
        if (!json_is_string(merge) && pair_bytes(merge) == 0)
            return fail("model.merges[%zu]: \"left right\" or [\"left\", \"right\"] is needed", i);
        if (!json_is_string(merge)) n_bytes += pair_bytes(merge);
    }
    if (MEM_NEW(&j->merges, n, "merges") != 0) return -1;
    if (MEM_NEW(&j->merge_text, n_bytes + 1, "merges") != 0) return -1;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *merge = json_array_get(merges, i);
        if (json_is_string(merge)) {
            /* older files carry the first line of a merges.txt along */
            if (strncmp(json_string_value(merge), "#version", 8) == 0) continue;
            j->merges[j->n_merges++] = (struct str_view){ json_string_value(merge), json_string_length(merge) };
        } else {
            j->merges[j->n_merges++] = put_pair(merge, j->merge_text + at);
            at += pair_bytes(merge);
        }
    }
    return 0;
}
