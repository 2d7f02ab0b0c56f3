/* core/tokenizer_json.h: the parts of reading a Hugging Face tokenizer folder (tokenizer_open_json() in
 * core/tokenizer.h is the way in).
 *
 * What decides the ids and is not handled is refused, never passed over: other models than byte-level BPE, other
 * normalisers than NFC, other steps of the pre-tokenizer than Split, Digits and ByteLevel, tokens that swallow spaces. */
#ifndef CORE_TOKENIZER_JSON_H
#define CORE_TOKENIZER_JSON_H

#include "core/pretokenizer.h"
#include "core/str_view.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct tokenizer_json {
    json_t *root;   /* owned: tokenizer.json */
    json_t *config; /* owned: tokenizer_config.json; NULL: there is none */
    char *jinja;    /* owned: chat_template.jinja; NULL: there is none */

    struct str_view *tokens; /* owned [n_tokens], the texts borrowed from root; n = 0: no token has this id */
    int32_t *types;          /* owned [n_tokens] */
    size_t n_tokens;
    struct str_view *merges; /* owned [n_merges], "left right" */
    size_t n_merges;
    char *merge_text; /* owned: merges that the file has as pairs */

    struct pretokenizer_plan plan; /* patterns borrowed from root */
    bool byte_level;               /* the plan ends in a ByteLevel step */
    int bos_id, eos_id;            /* -1: none */
    int add_bos;
};

/* All need the ones before; each returns -1 with a message that names the key. */
int tokenizer_json_read(struct tokenizer_json *j, const char *folder);
int tokenizer_json_vocabulary(struct tokenizer_json *j); /* tokens, types */
int tokenizer_json_merges(struct tokenizer_json *j);
int tokenizer_json_plan(struct tokenizer_json *j);
int tokenizer_json_ends(struct tokenizer_json *j);                   /* bos_id, eos_id, add_bos */
const char *tokenizer_json_template(const struct tokenizer_json *j); /* borrowed; NULL: none */
void tokenizer_json_close(struct tokenizer_json *j);

/* The value of key in object: of the given type or, where that is allowed, absent or null (*value: NULL). */
enum json_need { JSON_OPTIONAL, JSON_NEEDED };
int json_get(const json_t *object, const char *key, json_type type, enum json_need need, const json_t **value);
/* A boolean; absent or null: as *value was. */
int json_get_bool(const json_t *object, const char *key, bool *value);
/* The text of the string at key, "" if there is none. */
const char *json_get_text(const json_t *object, const char *key);

#endif
