#include "core/tokenizer_json.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/tokenizer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_FILE_BYTES = 1 << 28, MAX_PATH_BYTES = 4096 };

static const char *type_name(json_type type)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array", [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number",  [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"
    };
    return names[type];
}

int json_get(const json_t *object, const char *key, json_type type, enum json_need need, const json_t **value)
{
    const json_t *found = json_object_get(object, key);
    *value = NULL;
    if (!found || json_is_null(found))
        return need == JSON_OPTIONAL ? 0 : fail("%s is missing: %s is needed", key, type_name(type));
    if (json_typeof(found) != type)
        return fail("%s is %s: %s is needed", key, type_name(json_typeof(found)), type_name(type));
    *value = found;
    return 0;
}

int json_get_bool(const json_t *object, const char *key, bool *value)
{
    const json_t *found = json_object_get(object, key);
    if (!found || json_is_null(found)) return 0;
    if (!json_is_boolean(found)) return fail("%s is %s: true or false is needed", key, type_name(json_typeof(found)));
    *value = json_is_true(found);
    return 0;
}

const char *json_get_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static int read_stream(FILE *f, char **text, size_t *n)
{
    struct stat st;
    if (fstat(fileno(f), &st) != 0) return fail("%s", strerror(errno));
    if (!S_ISREG(st.st_mode)) return fail("not a file");
    if (st.st_size > MAX_FILE_BYTES) return fail("%lld bytes: the limit is %d", (long long)st.st_size, MAX_FILE_BYTES);
    const size_t size = (size_t)st.st_size;
    if (MEM_NEW(text, size + 1, "file") != 0) return -1;
    *n = fread(*text, 1, size, f);
    return *n == size ? 0 : fail("%zu of %zu bytes could be read", *n, size);
}

/* *text: the file's bytes, terminated by a NUL besides, owned by the caller; NULL if there is no such file. */
static int read_file(const char *folder, const char *name, char **text, size_t *n)
{
    char path[MAX_PATH_BYTES];
    *text = NULL;
    *n = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return fail("%.60s..: the path is longer than %d bytes", folder, MAX_PATH_BYTES - 1);
    FILE *f = fopen(path, "rb");
    if (!f && errno == ENOENT) return 0;
    if (!f) return fail("%s: %s", path, strerror(errno));
    int rc = read_stream(f, text, n);
    fclose(f);
    if (rc != 0) {
        mem_free(*text);
        *text = NULL;
        return fail_in("%s", path);
    }
    return 0;
}

static int read_json(const char *folder, const char *name, json_t **root)
{
    char *text = NULL;
    size_t n = 0;
    json_error_t error;
    if (read_file(folder, name, &text, &n) != 0) return -1;
    if (!text) return 0;
    *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
    mem_free(text);
    if (!*root) return fail("%s/%s:%d:%d: %s", folder, name, error.line, error.column, error.text);
    if (!json_is_object(*root))
        return fail("%s/%s: %s: an object is needed", folder, name, type_name(json_typeof(*root)));
    return 0;
}

int tokenizer_json_read(struct tokenizer_json *j, const char *folder)
{
    size_t n = 0;
    if (read_json(folder, "tokenizer.json", &j->root) != 0) return -1;
    if (!j->root) return fail("%s: there is no tokenizer.json", folder);
    if (read_json(folder, "tokenizer_config.json", &j->config) != 0) return -1;
    return read_file(folder, "chat_template.jinja", &j->jinja, &n);
}

/* A template, or a list of them with names, of which the default one is meant. */
const char *tokenizer_json_template(const struct tokenizer_json *j)
{
    const json_t *given = json_object_get(j->config, "chat_template");
    if (j->jinja) return j->jinja;
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *one = json_array_get(given, i);
        if (strcmp(json_get_text(one, "name"), "default") == 0) return json_get_text(one, "template");
    }
    return json_string_value(given);
}

void tokenizer_json_close(struct tokenizer_json *j)
{
    json_decref(j->root);
    json_decref(j->config);
    mem_free(j->jinja);
    mem_free(j->tokens);
    mem_free(j->types);
    mem_free(j->merges);
    mem_free(j->merge_text);
    *j = (struct tokenizer_json){ 0 };
}

static int open_read(struct tokenizer *t, struct tokenizer_json *j)
{
    if (tokenizer_json_vocabulary(j) != 0) return -1;
    if (tokenizer_json_merges(j) != 0) return -1;
    if (tokenizer_json_plan(j) != 0) return -1;
    if (tokenizer_json_ends(j) != 0) return -1;
    const struct tokenizer_source src = {
        .model = "gpt2",
        .n_tokens = j->n_tokens,
        .tokens = j->tokens,
        .token_types = j->types,
        .n_merges = j->n_merges,
        .merges = j->merges,
        .bos_id = j->bos_id,
        .eos_id = j->eos_id,
        .add_bos = j->add_bos,
        .chat_template = tokenizer_json_template(j),
    };
    return tokenizer_open_plan(t, &src, &j->plan);
}

int tokenizer_open_json(struct tokenizer *t, const char *folder)
{
    struct tokenizer_json j = { 0 };
    int rc = tokenizer_json_read(&j, folder);
    if (rc == 0 && open_read(t, &j) != 0) rc = fail_in("%s/tokenizer.json", folder);
    tokenizer_json_close(&j);
    return rc;
}
