#include "core/prompt.h"

#include "core/chat.h"
#include "core/encoding.h"
#include "core/err.h"
#include "core/mem.h"
#include "core/philox.h"
#include "core/text_known.h"

#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct prompt_reader {
    struct prompt_set *set;
    struct config *config;
    const struct model *model;
    int n_random;
};

static int refuse(struct prompt_reader *r, const char *what)
{
    return diag_add(&r->config->diag, r->config->prompt.source_at, "prompt: %s", what);
}

/* ---- sources ---- */

static bool is_taken(const struct prompt_set *s, const char *name)
{
    for (int i = 0; i < s->n; i++)
        if (strcmp(s->sources[i].name, name) == 0) return true;
    return false;
}

/* A name that can stand in a file's name, and that no source has yet. */
static void name_source(const struct prompt_set *s, struct prompt_source *source, const char *wanted)
{
    char base[48];
    size_t n = 0;
    for (const char *p = wanted; *p && n + 1 < sizeof base; p++)
        base[n++] = isalnum((unsigned char)*p) || strchr("._-", *p) ? *p : '_';
    base[n] = 0;
    if (n > 4 && strcmp(base + n - 4, ".txt") == 0) base[n - 4] = 0;
    if (base[0] == '.') base[0] = '_';
    snprintf(source->name, sizeof source->name, "%s", base);
    for (int i = 2; is_taken(s, source->name); i++) snprintf(source->name, sizeof source->name, "%s-%d", base, i);
}

static const char *const kind_names[] = { "file", "text", "chat", "ids", "random" }; /* by enum prompt_kind */

/* Takes ids over, also where it fails. */
static int add_source(struct prompt_reader *r, const char *name, const char *path, int32_t *ids, size_t n)
{
    struct prompt_set *s = r->set;
    struct prompt_source source = { .ids = ids, .n = (int)n };
    snprintf(source.origin, sizeof source.origin, "%s", kind_names[r->config->prompt.kind]);
    int rc = 0;
    if (n == 0 || n > PROMPT_MAX_TOKENS) {
        char text[300];
        snprintf(text, sizeof text, "%.200s: %zu tokens: 1 .. %d are possible", path ? path : name, n,
                 PROMPT_MAX_TOKENS);
        rc = refuse(r, text);
    }
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (ids[i] < 0 || ids[i] >= r->model->shape.vocab)
            rc = diag_add(&r->config->diag, r->config->prompt.source_at,
                          "prompt: %.200s: token id %d at index %zu is not in the model's vocabulary 0 .. %d",
                          path ? path : name, ids[i], i, r->model->shape.vocab - 1);
    if (rc == 0 && path) rc = mem_strdup(&source.path, path);
    if (rc == 0 && s->n % 16 == 0)
        rc = mem_grow((void **)&s->sources, (size_t)s->n, (size_t)s->n + 16, sizeof *s->sources, "prompt sources");
    if (rc != 0) {
        mem_free(ids);
        mem_free(source.path);
        return -1;
    }
    name_source(s, &source, name);
    s->sources[s->n++] = source;
    return 0;
}

static int need_tokenizer(struct prompt_reader *r)
{
    if (r->model->tokenizer.n_tokens > 0) return 0;
    return refuse(r, "this model has no tokenizer: give ids or random");
}

/* After a failure to encode text: names the byte that the vocabulary has no token for, where that is what it was. */
static int refuse_text(struct prompt_reader *r, const char *name, const char *text, size_t n)
{
    const int32_t *byte_id = r->model->tokenizer.bpe.byte_id;
    char shown[100];
    for (size_t i = 0; i < n; i++)
        if (byte_id[(unsigned char)text[i]] < 0)
            return diag_add(&r->config->diag, r->config->prompt.source_at,
                            "prompt: %.300s: byte 0x%02X at offset %zu: the model's tokenizer has no token for it", name,
                            (unsigned char)text[i], i);
    snprintf(shown, sizeof shown, "%s", name);
    return fail_in("prompt %s", diag_clean(shown));
}

static int add_text(struct prompt_reader *r, const char *name, const char *path, const char *text, size_t n)
{
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (tokenizer_encode(&r->model->tokenizer, text, n, TOKENIZER_BOS, &ids, &n_ids) != 0) {
        mem_free(ids);
        return refuse_text(r, path ? path : name, text, n);
    }
    if (path && encoding_check(&r->config->diag, r->config->prompt.source_at, path, text, n) != 0) {
        mem_free(ids);
        return -1;
    }
    return add_source(r, name, path, ids, n_ids);
}

/* ---- files ---- */

/* The whole file, with a 0 behind it. */
static int read_file(struct prompt_reader *r, const char *path, char **text, size_t *n)
{
    char what[400];
    FILE *f = fopen(path, "rb");
    *text = NULL;
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        snprintf(what, sizeof what, "%.300s: %s", path, strerror(errno));
        if (f) fclose(f);
        return refuse(r, what);
    }
    const long size = ftell(f);
    struct stat st;
    int rc = 0;
    if (fstat(fileno(f), &st) == 0 && S_ISDIR(st.st_mode)) {
        snprintf(what, sizeof what, "%.300s: a folder; a pattern for the files in it is needed, as /*.txt behind its name", path);
        rc = refuse(r, what);
    } else if (size < 0 || size > PROMPT_MAX_FILE_BYTES) {
        snprintf(what, sizeof what, "%.300s: a text file of at most %d bytes is needed", path, PROMPT_MAX_FILE_BYTES);
        rc = refuse(r, what);
    }
    rewind(f);
    if (rc == 0) rc = mem_alloc((void **)text, (size_t)size + 1, 1, "prompt file");
    if (rc == 0) {
        *n = fread(*text, 1, (size_t)size, f);
        if (ferror(f)) {
            snprintf(what, sizeof what, "%.300s: %s", path, strerror(errno));
            rc = refuse(r, what);
        }
    }
    fclose(f);
    return rc;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* known: the text that the file should hold, or NULL. */
static int add_file(struct prompt_reader *r, const char *path, const struct text_package *known)
{
    char *text = NULL;
    size_t n = 0;
    for (int i = 0; i < r->set->n; i++)
        if (strcmp(r->set->sources[i].path, path) == 0) return 0; /* two patterns may match one file */
    int rc = read_file(r, path, &text, &n);
    if (rc == 0 && known && !text_known_is(known, text, n))
        rc = fail("%s is not the text %s%s (SHA-256 %s): delete the file to fetch it again", path, TEXT_PREFIX, known->name, known->digest);
    if (rc == 0) rc = add_text(r, base_name(path), path, text, n);
    if (rc == 0 && known) {
        struct prompt_source *source = &r->set->sources[r->set->n - 1];
        snprintf(source->origin, sizeof source->origin, TEXT_PREFIX "%s", known->package);
    }
    mem_free(text);
    return rc;
}

static int add_known(struct prompt_reader *r, const char *pattern)
{
    char path[PATH_MAX], what[300];
    const struct text_package *t = text_known_next(pattern, NULL);
    if (!t) {
        snprintf(what, sizeof what, "'%s%.60s' is no known text (%s)", TEXT_PREFIX, pattern, text_known_names());
        return refuse(r, what);
    }
    for (; t; t = text_known_next(pattern, t)) {
        TRY(text_known_path(t, path, sizeof path), "text %s", t->name);
        if (access(path, F_OK) != 0)
            return fail("text %s%s has not been fetched (%s: %s); ./run.sh fetches it, and 'resa fetch CONFIG'", TEXT_PREFIX, t->name,
                        path, strerror(errno));
        if (add_file(r, path, t) != 0) return -1;
    }
    return 0;
}

/* The pattern relative to the config's folder; what glob() would expand in the folder's own name is escaped. */
static int join_pattern(const struct config *c, const char *pattern, bool escape, char **path)
{
    const bool bare = pattern[0] == '/' || strcmp(c->folder, ".") == 0;
    const size_t n = 2 * strlen(c->folder) + strlen(pattern) + 2;
    if (mem_alloc((void **)path, n, 1, "prompt path") != 0) return -1;
    char *out = *path;
    for (const char *p = c->folder; !bare && *p; p++) {
        if (escape && strchr("*?[\\", *p)) *out++ = '\\';
        *out++ = *p;
    }
    if (!bare && out > *path && out[-1] != '/') *out++ = '/';
    memcpy(out, pattern, strlen(pattern) + 1);
    return 0;
}

static int add_pattern(struct prompt_reader *r, const char *pattern)
{
    char *path = NULL;
    glob_t g = { 0 };
    if (text_known_pattern(pattern)) return add_known(r, text_known_pattern(pattern));
    if (join_pattern(r->config, pattern, true, &path) != 0) return -1;
    const int found = glob(path, 0, NULL, &g);
    int rc = 0;
    char what[400];
    if (found == GLOB_NOMATCH) {
        snprintf(what, sizeof what, "no file matches '%.150s' (looked for %.200s)", pattern, path);
        rc = refuse(r, what);
    } else if (found != 0) {
        snprintf(what, sizeof what, "%.150s", pattern);
        rc = fail("prompt %s: %s", diag_clean(what), found == GLOB_NOSPACE ? "out of memory" : "cannot be read");
    }
    for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++) rc = add_file(r, g.gl_pathv[i], NULL);
    globfree(&g);
    mem_free(path);
    return rc;
}

/* ---- ids ---- */

static int parse_ids(struct prompt_reader *r, const char *path, const char *text, size_t n, int32_t **ids,
                     size_t *n_ids)
{
    const char *p = text, *end = text + n;
    size_t max = 0, line = 1;
    for (;;) {
        for (; p < end && isspace((unsigned char)*p); p++) line += *p == '\n';
        if (p == end) return 0;
        long long value = 0;
        const char *word = p;
        for (; p < end && isdigit((unsigned char)*p) && value < INT32_MAX; p++) value = 10 * value + (*p - '0');
        if (p == word || value > INT32_MAX || (p < end && !isspace((unsigned char)*p)))
            return diag_add(
                &r->config->diag, r->config->prompt.source_at, "prompt: %.200s:%zu: '%.*s' is no token id", path, line,
                (int)(end - word < 20 ? strcspn(word, " \t\r\n") < 20 ? strcspn(word, " \t\r\n") : 20 : 20), word);
        if (*n_ids == max) {
            const size_t more = max ? 2 * max : 1024;
            if (mem_grow((void **)ids, max, more, sizeof **ids, "prompt ids") != 0) return -1;
            max = more;
        }
        (*ids)[(*n_ids)++] = (int32_t)value;
    }
}

static int add_ids_file(struct prompt_reader *r, const char *given)
{
    char *path = NULL, *text = NULL;
    int32_t *ids = NULL;
    size_t n = 0, n_ids = 0;
    int rc = join_pattern(r->config, given, false, &path);
    if (rc == 0) rc = read_file(r, path, &text, &n);
    if (rc == 0) rc = parse_ids(r, path, text, n, &ids, &n_ids);
    if (rc == 0)
        rc = add_source(r, base_name(path), path, ids, n_ids);
    else
        mem_free(ids);
    mem_free(text);
    mem_free(path);
    return rc;
}

static int add_ids(struct prompt_reader *r)
{
    const struct config_prompt *p = &r->config->prompt;
    int32_t *ids = NULL;
    for (int i = 0; i < p->n_texts; i++)
        if (add_ids_file(r, p->texts[i]) != 0) return -1;
    if (p->n_ids == 0) return 0;
    if (MEM_NEW(&ids, p->n_ids, "prompt ids") != 0) return -1;
    memcpy(ids, p->ids, (size_t)p->n_ids * sizeof *ids);
    return add_source(r, "ids", NULL, ids, (size_t)p->n_ids);
}

/* ---- random, chat ---- */

static int add_random(struct prompt_reader *r, uint64_t seed)
{
    int32_t *ids = NULL;
    uint32_t key[2], words[4] = { 0 };
    char name[40];
    philox_key(seed, key);
    if (MEM_NEW(&ids, r->n_random, "prompt ids") != 0) return -1;
    for (int i = 0; i < r->n_random; i++) {
        const uint32_t counter[4] = { (uint32_t)i / 4, 0, 0, PHILOX_PROMPT };
        if (i % 4 == 0) philox4x32(counter, key, words);
        ids[i] = (int32_t)((uint64_t)words[i % 4] * (uint64_t)r->model->shape.vocab >> 32);
    }
    snprintf(name, sizeof name, r->config->prompt.n_random_seeds > 1 ? "random%llu" : "random",
             (unsigned long long)seed);
    return add_source(r, name, NULL, ids, (size_t)r->n_random);
}

/* The first message with a byte that has no token; else the failure as it is. */
static int refuse_chat(struct prompt_reader *r)
{
    const struct config_prompt *p = &r->config->prompt;
    const int32_t *byte_id = r->model->tokenizer.bpe.byte_id;
    for (int i = 0; i < p->n_messages; i++)
        for (const char *at = p->messages[i].content; *at; at++) {
            if (byte_id[(unsigned char)*at] >= 0) continue;
            char name[40];
            snprintf(name, sizeof name, "chat.messages[%d]", i);
            return refuse_text(r, name, p->messages[i].content, strlen(p->messages[i].content));
        }
    return fail_in("prompt.chat");
}

static int add_chat(struct prompt_reader *r)
{
    const struct config_prompt *p = &r->config->prompt;
    const struct tokenizer *t = &r->model->tokenizer;
    const struct chat_format *format = t->chat;
    struct chat_message *messages = NULL;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (strcmp(p->chat_format, "auto") != 0) {
        format = chat_format_find(t, p->chat_format);
        if (!format) return refuse(r, fail_text());
    }
    if (!format) return refuse(r, "the model's own chat format is not a known one: give prompt.chat.format");
    if (MEM_NEW(&messages, p->n_messages, "chat messages") != 0) return -1;
    for (int i = 0; i < p->n_messages; i++)
        messages[i] =
            (struct chat_message){ p->messages[i].role, { p->messages[i].content, strlen(p->messages[i].content) } };
    int rc = chat_render(t, format, messages, (size_t)p->n_messages, true, &ids, &n_ids);
    mem_free(messages);
    if (rc != 0) {
        mem_free(ids);
        return refuse_chat(r);
    }
    return add_source(r, "chat", NULL, ids, n_ids);
}

int prompt_open(struct prompt_set *s, struct config *c, const struct model *m, int n_random)
{
    struct prompt_reader r = { s, c, m, n_random };
    const struct config_prompt *p = &c->prompt;
    const bool is_text = p->kind == PROMPT_FILE || p->kind == PROMPT_TEXT || p->kind == PROMPT_CHAT;
    if (is_text && need_tokenizer(&r) != 0) return -1;
    int rc = 0;
    switch (p->kind) {
    case PROMPT_FILE:
        for (int i = 0; rc == 0 && i < p->n_texts; i++) rc = add_pattern(&r, p->texts[i]);
        return rc;
    case PROMPT_TEXT:
        for (int i = 0; rc == 0 && i < p->n_texts; i++)
            rc = add_text(&r, "text", NULL, p->texts[i], strlen(p->texts[i]));
        return rc;
    case PROMPT_CHAT:
        return add_chat(&r);
    case PROMPT_IDS:
        return add_ids(&r);
    case PROMPT_RANDOM:
        for (int i = 0; rc == 0 && i < p->n_random_seeds; i++) rc = add_random(&r, p->random_seeds[i]);
        return rc;
    }
    return rc;
}

void prompt_close(struct prompt_set *s)
{
    for (int i = 0; i < s->n; i++) {
        mem_free(s->sources[i].path);
        mem_free(s->sources[i].ids);
    }
    mem_free(s->sources);
    *s = (struct prompt_set){ 0 };
}
