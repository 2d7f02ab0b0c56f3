#include "core/err.h"
#include "core/tokenizer_json.h"

#include <string.h>

/* Calls each() for the steps of a Sequence, whose list is at key, or for the one step that there is; none if null. */
static int each_step(const json_t *step, const char *key, int (*each)(struct tokenizer_json *j, const json_t *step),
                     struct tokenizer_json *j)
{
    const json_t *steps;
    if (!step || json_is_null(step)) return 0;
    if (!json_is_object(step)) return fail("an object is needed");
    if (strcmp(json_get_text(step, "type"), "Sequence") != 0) return each(j, step);
    if (json_get(step, key, JSON_ARRAY, JSON_NEEDED, &steps) != 0) return -1;
    for (size_t i = 0; i < json_array_size(steps); i++) TRY(each(j, json_array_get(steps, i)), "%s[%zu]", key, i);
    return 0;
}

static int add_normaliser(struct tokenizer_json *j, const json_t *step)
{
    const char *type = json_get_text(step, "type");
    if (strcmp(type, "NFC") != 0) return fail("type '%.40s' is not handled: only NFC is", type);
    j->plan.nfc = true;
    return 0;
}

static int add_split(struct tokenizer_json *j, struct split split)
{
    if (j->plan.n_splits == PRETOKENIZER_MAX_SPLITS) return fail("more than %d steps", PRETOKENIZER_MAX_SPLITS);
    j->plan.splits[j->plan.n_splits++] = split;
    return 0;
}

static int add_split_step(struct tokenizer_json *j, const json_t *step)
{
    const json_t *pattern;
    struct split split = { .kind = SPLIT_ISOLATE };
    bool invert = false;
    if (json_get(step, "pattern", JSON_OBJECT, JSON_NEEDED, &pattern) != 0) return -1;
    if (json_get_bool(step, "invert", &invert) != 0) return -1;
    const json_t *regex = json_object_get(pattern, "Regex"), *string = json_object_get(pattern, "String");
    split.literal = !regex;
    split.pattern = json_string_value(regex ? regex : string);
    if (!split.pattern || !*split.pattern)
        return fail("pattern: {\"Regex\": \"..\"} or {\"String\": \"..\"} is needed");
    const char *behavior = json_get_text(step, "behavior");
    if (strcmp(behavior, "Removed") == 0)
        split.kind = invert ? SPLIT_KEEP : SPLIT_DROP;
    else if (strcmp(behavior, "Isolated") != 0)
        return fail("behavior '%.40s' is not handled: Isolated and Removed are", behavior);
    return add_split(j, split);
}

static int add_step(struct tokenizer_json *j, const json_t *step)
{
    const char *type = json_get_text(step, "type");
    if (j->byte_level) return fail("type '%.40s' after ByteLevel is not handled", type);
    if (strcmp(type, "Split") == 0) return add_split_step(j, step);
    if (strcmp(type, "Digits") == 0) {
        bool individual = false;
        if (json_get_bool(step, "individual_digits", &individual) != 0) return -1;
        return add_split(j, (struct split){ .pattern = individual ? "\\p{N}" : "\\p{N}+" });
    }
    if (strcmp(type, "ByteLevel") != 0)
        return fail("type '%.40s' is not handled: Split, Digits and ByteLevel are", type);
    bool use_regex = true, prefix = true; /* what the library takes when they are left out */
    if (json_get_bool(step, "use_regex", &use_regex) != 0) return -1;
    if (json_get_bool(step, "add_prefix_space", &prefix) != 0) return -1;
    if (prefix) return fail("add_prefix_space is not handled: only false is");
    j->byte_level = true;
    return use_regex ? add_split(j, (struct split){ .pattern = PRETOKENIZER_GPT2 }) : 0;
}

int tokenizer_json_plan(struct tokenizer_json *j)
{
    const json_t *root = j->root;
    TRY(each_step(json_object_get(root, "normalizer"), "normalizers", add_normaliser, j), "normalizer");
    TRY(each_step(json_object_get(root, "pre_tokenizer"), "pretokenizers", add_step, j), "pre_tokenizer");
    if (!j->byte_level) return fail("pre_tokenizer has no ByteLevel step: only byte-level BPE is handled");
    TRY(json_get_bool(json_object_get(root, "model"), "ignore_merges", &j->plan.whole_first), "model");
    return 0;
}

static int find_token(const struct tokenizer_json *j, const char *text, int *id)
{
    const size_t n = strlen(text);
    for (size_t i = 0; i < j->n_tokens; i++) {
        if (j->tokens[i].n != n || memcmp(j->tokens[i].at, text, n) != 0) continue;
        *id = (int)i;
        return 0;
    }
    return fail("'%.40s' is not in the vocabulary", text);
}

/* The special token that a template puts before a text; more, or others behind it, are not handled. */
static int add_processor(struct tokenizer_json *j, const json_t *step)
{
    const json_t *items;
    const char *type = json_get_text(step, "type");
    bool seen_text = false;
    if (strcmp(type, "ByteLevel") == 0) return 0; /* it changes offsets, not ids */
    if (strcmp(type, "TemplateProcessing") != 0)
        return fail("type '%.40s' is not handled: ByteLevel and TemplateProcessing are", type);
    if (json_get(step, "single", JSON_ARRAY, JSON_NEEDED, &items) != 0) return -1;
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *special = json_object_get(json_array_get(items, i), "SpecialToken");
        if (!special) {
            seen_text = true;
            continue;
        }
        if (seen_text || j->add_bos == 1) return fail("single: special tokens but one in front are not handled");
        TRY(find_token(j, json_get_text(special, "id"), &j->bos_id), "single");
        j->add_bos = 1;
    }
    return 0;
}

/* "bos_token": "<s>", or {"content": "<s>", ..} */
static int find_end(const struct tokenizer_json *j, const char *key, int *id)
{
    const json_t *given = json_object_get(j->config, key);
    if (!given || json_is_null(given)) return 0;
    const char *text = json_is_string(given) ? json_string_value(given) : json_get_text(given, "content");
    if (!*text) return fail("%s: a string or {\"content\": \"..\"} is needed", key);
    TRY(find_token(j, text, id), "%s", key);
    return 0;
}

int tokenizer_json_ends(struct tokenizer_json *j)
{
    j->bos_id = j->eos_id = -1;
    j->add_bos = 0;
    TRY(each_step(json_object_get(j->root, "post_processor"), "processors", add_processor, j), "post_processor");
    bool add_bos = j->add_bos == 1, add_eos = false;
    TRY(find_end(j, "bos_token", &j->bos_id), "tokenizer_config.json");
    TRY(find_end(j, "eos_token", &j->eos_id), "tokenizer_config.json");
    TRY(json_get_bool(j->config, "add_bos_token", &add_bos), "tokenizer_config.json");
    TRY(json_get_bool(j->config, "add_eos_token", &add_eos), "tokenizer_config.json");
    if (add_eos) return fail("tokenizer_config.json: add_eos_token is not handled: prompts are continued");
    j->add_bos = add_bos;
    return 0;
}
