/* The prompt's section of a config. */
#include "core/config_read.h"

#include "core/config_schema.h"
#include "core/mem.h"

static const struct schema_field text_row = { "", SCHEMA_TEXT, false, 0, 0, 0, NULL, NULL, 0, NULL, "", "" };

/* A text, or a list of them. */
static int read_texts(struct config *c, const struct yaml_node *node, const char *path)
{
    struct config_prompt *p = &c->prompt;
    const int n = node->kind == YAML_LIST ? node->n_items : 1;
    if (n == 0) return diag_add(&c->diag, node->at, "%s: an empty list: at least one text is needed", path), 0;
    if (mem_alloc((void **)&p->texts, (size_t)n, sizeof *p->texts, "prompt texts") != 0) return -1;
    for (int i = 0; i < n; i++) {
        struct schema_value v;
        const struct yaml_node *item = node->kind == YAML_LIST ? node->items[i] : node;
        if (schema_read_value(&text_row, item, path, &v, &c->diag) == 0) p->texts[p->n_texts++] = v.text;
    }
    return 0;
}

static int read_ids(struct config *c, const struct yaml_node *node)
{
    static const struct schema_field row = { "", SCHEMA_INT, false, 0, 0, 0x1p31 - 1, NULL, NULL, 0, NULL, "", "" };
    struct config_prompt *p = &c->prompt;
    if (node->kind != YAML_LIST) return read_texts(c, node, "prompt.ids");
    if (node->n_items == 0)
        return diag_add(&c->diag, node->at, "prompt.ids: an empty list: at least one id is needed"), 0;
    if (MEM_NEW(&p->ids, node->n_items, "prompt ids") != 0) return -1;
    for (int i = 0; i < node->n_items; i++) {
        struct schema_value v;
        if (schema_read_value(&row, node->items[i], "prompt.ids", &v, &c->diag) == 0)
            p->ids[p->n_ids++] = (int32_t)v.number;
    }
    return 0;
}

static int read_message(struct config *c, const struct yaml_node *node)
{
    struct schema_setting s[N_MESSAGE] = { 0 };
    const int rc = schema_read(&schema_message, node, "prompt.chat.messages", s, &c->diag);
    if (rc == 0 && s[0].n > 0 && s[1].n > 0)
        c->prompt.messages[c->prompt.n_messages++] =
            (struct config_message){ s[0].values[0].node->text, s[1].values[0].text };
    schema_settings_close(s, N_MESSAGE);
    return rc;
}

static int read_chat(struct config *c, const struct yaml_node *node)
{
    struct schema_setting s[N_CHAT] = { 0 };
    int rc = schema_read(&schema_chat, node, "prompt.chat", s, &c->diag);
    if (rc == 0) schema_store_all(&schema_chat, s, &c->prompt);
    schema_settings_close(s, N_CHAT);
    const struct yaml_node *list = yaml_get(node, "messages");
    if (rc != 0 || !list) return rc;
    if (list->kind != YAML_LIST || list->n_items == 0)
        return diag_add(&c->diag, list->at, "prompt.chat.messages: a list of {role: .., content: ..} is expected"), 0;
    if (MEM_NEW(&c->prompt.messages, list->n_items, "chat messages") != 0) return -1;
    for (int i = 0; rc == 0 && i < list->n_items; i++) rc = read_message(c, list->items[i]);
    return rc;
}

static int read_random(struct config *c, const struct schema_setting *s)
{
    if (s->n == 0) return 0;
    if (MEM_NEW(&c->prompt.random_seeds, s->n, "prompt seeds") != 0) return -1;
    for (int i = 0; i < s->n; i++) c->prompt.random_seeds[i] = (uint64_t)s->values[i].number;
    c->prompt.n_random_seeds = s->n;
    return 0;
}

static int read_source(struct config *c, int key, const struct schema_setting *s)
{
    c->prompt.source_at = s->node->at;
    switch (key) {
    case PROMPT_KEY_FILE:
        c->prompt.kind = PROMPT_FILE;
        return read_texts(c, s->node, "prompt.file");
    case PROMPT_KEY_TEXT:
        c->prompt.kind = PROMPT_TEXT;
        return read_texts(c, s->node, "prompt.text");
    case PROMPT_KEY_CHAT:
        c->prompt.kind = PROMPT_CHAT;
        return read_chat(c, s->node);
    case PROMPT_KEY_IDS:
        c->prompt.kind = PROMPT_IDS;
        return read_ids(c, s->node);
    default:
        c->prompt.kind = PROMPT_RANDOM;
        return read_random(c, s);
    }
}

/* A place on the command line, or the section. */
static struct diag_mark only_given(struct diag_mark at, struct diag_mark section)
{
    return at.source > 0 ? at : section;
}

int config_read_prompt(struct config *c, const struct yaml_node *node, struct schema_setting *settings)
{
    if (schema_read(&schema_prompt, node, "prompt", settings, &c->diag) != 0) return -1;
    c->prompt.at = node->at;
    if (node->kind != YAML_MAP) return 0;
    static const char *const sources[] = { "file", "text", "chat", "ids", "random", NULL };
    static const char *const places[] = { "windows", "start", NULL };
    int source = -1, n_sources = 0;
    for (int i = PROMPT_KEY_FILE; i <= PROMPT_KEY_RANDOM; i++)
        if (settings[i].node) n_sources++, source = i;
    if (n_sources != 1)
        return diag_add(&c->diag, only_given(yaml_at(node, sources, node->at), node->at), "prompt: %s of file, text, chat, ids and random must be given",
                        n_sources ? "only one" : "one"),
               0;
    if (settings[PROMPT_KEY_WINDOWS].n > 0)
        schema_store(&schema_prompt.fields[PROMPT_KEY_WINDOWS], &settings[PROMPT_KEY_WINDOWS].values[0], &c->prompt);
    if (c->prompt.windows > 0 && settings[PROMPT_KEY_START].node)
        diag_add(&c->diag, yaml_at(node, places, node->at), "prompt: start and windows exclude one another");
    return read_source(c, source, &settings[source]);
}
