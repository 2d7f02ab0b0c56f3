#include "core/yaml_node.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdint.h>
#include <string.h>
#include <yaml.h>

struct anchor {
    const char *name;
    struct yaml_node *node;
    bool open; /* still being read: an alias to it would be a cycle */
};

struct reader {
    struct yaml_tree *tree;
    struct diag *diag;
    int source;
    const char *text; /* [n_text], behind a byte order mark of `bom` bytes */
    size_t n_text, bom;
    yaml_parser_t parser;
    struct yaml_node *stack[YAML_MAX_DEPTH]; /* the open lists and maps */
    int depth;
    struct anchor anchors[YAML_MAX_ANCHORS];
    int n_anchors;
    bool done; /* the end of the stream was seen */
};

static struct diag_mark mark_at(const struct reader *r, yaml_mark_t m)
{
    return (struct diag_mark){ r->source, (int)m.line + 1, (int)m.column + 1 };
}

/* The place of a byte; columns are characters. */
static struct diag_mark byte_at(const struct reader *r, size_t offset)
{
    struct diag_mark at = { r->source, 1, 1 };
    for (size_t i = 0; i < offset && i < r->n_text; i++) {
        if (r->text[i] == '\n')
            at.line++, at.column = 1;
        else if (((unsigned char)r->text[i] & 0xC0) != 0x80)
            at.column++;
    }
    return at;
}

/* What libyaml says, in words that help. */
static int parser_error(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return fail("yaml: out of memory");
    if (p->error == YAML_READER_ERROR)
        return diag_add(r->diag, byte_at(r, p->problem_offset), "not UTF-8 text: %s at byte %zu",
                        p->problem ? p->problem : "bad character", p->problem_offset + r->bom);
    const char *what = p->problem ? p->problem : "not YAML";
    const char *hint = "";
    if (strstr(what, "cannot start any token"))
        hint = " (indent with spaces, not tabs; quote values that start with @, % or a backtick)";
    else if (strstr(what, "mapping values are not allowed"))
        hint = " (two ': ' on one line, or an indentation that fits no line above)";
    if (p->context && p->context_mark.line != p->problem_mark.line)
        return diag_add(r->diag, mark_at(r, p->problem_mark), "%s, %s that began on line %zu%s", what, p->context,
                        p->context_mark.line + 1, hint);
    return diag_add(r->diag, mark_at(r, p->problem_mark), "%s%s", what, hint);
}

static bool map_has_key(const struct yaml_node *map, const char *key, const struct yaml_node **first)
{
    for (int i = 0; i + 1 < map->n_items; i += 2)
        if (strcmp(map->items[i]->text, key) == 0) return *first = map->items[i], true;
    return false;
}

/* A map's next item is a key where their number is even. */
static int check_key(struct reader *r, const struct yaml_node *map, const struct yaml_node *key)
{
    if (key->kind != YAML_SCALAR)
        return diag_add(r->diag, key->at, "a key must be a word, not %s", yaml_kind_name(key));
    if (strcmp(key->text, "<<") == 0 && key->plain)
        return diag_add(r->diag, key->at, "merge keys (<<) are not supported: write the keys out");
    if (map->n_items >= 2 * YAML_MAX_KEYS)
        return diag_add(r->diag, key->at, "more than %d keys in one map", YAML_MAX_KEYS);
    const struct yaml_node *first;
    /* Reported, and read on: several of them are shown at once. */
    if (map_has_key(map, key->text, &first))
        diag_add(r->diag, key->at, "key '%s' is given twice, first on line %d", key->text, first->at.line);
    return 0;
}

/* Puts a finished or just opened node where the document has it. */
static int place(struct reader *r, struct yaml_node *n)
{
    if (r->depth == 0) {
        r->tree->root = n;
        return 0;
    }
    struct yaml_node *parent = r->stack[r->depth - 1];
    if (parent->kind == YAML_MAP && parent->n_items % 2 == 0 && check_key(r, parent, n) != 0) return -1;
    return yaml_node_add(r->tree, parent, n);
}

static int check_count(struct reader *r, struct diag_mark at)
{
    if (r->tree->n_nodes < YAML_MAX_NODES) return 0;
    return diag_add(r->diag, at, "more than %d values (those that aliases repeat counted)", YAML_MAX_NODES);
}

static int anchor_add(struct reader *r, const yaml_char_t *name, struct yaml_node *n, bool open)
{
    if (!name) return 0;
    if (r->n_anchors == YAML_MAX_ANCHORS) return diag_add(r->diag, n->at, "more than %d anchors", YAML_MAX_ANCHORS);
    const char *text = yaml_text_new(r->tree, (const char *)name, strlen((const char *)name));
    if (!text) return -1;
    r->anchors[r->n_anchors++] = (struct anchor){ text, n, open };
    return 0;
}

static int read_scalar(struct reader *r, const yaml_event_t *e)
{
    const struct diag_mark at = mark_at(r, e->start_mark);
    if (check_count(r, at) != 0) return -1;
    if (memchr(e->data.scalar.value, 0, e->data.scalar.length))
        return diag_add(r->diag, at, "a NUL character in a value");
    struct yaml_node *n = yaml_node_new(r->tree, YAML_SCALAR, at);
    if (!n) return -1;
    n->text = yaml_text_new(r->tree, (const char *)e->data.scalar.value, e->data.scalar.length);
    if (!n->text) return -1;
    n->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (anchor_add(r, e->data.scalar.anchor, n, false) != 0) return -1;
    return place(r, n);
}

static int read_open(struct reader *r, const yaml_event_t *e, enum yaml_kind kind, const yaml_char_t *anchor)
{
    const struct diag_mark at = mark_at(r, e->start_mark);
    if (r->depth == YAML_MAX_DEPTH) return diag_add(r->diag, at, "nested deeper than %d levels", YAML_MAX_DEPTH);
    if (check_count(r, at) != 0) return -1;
    struct yaml_node *n = yaml_node_new(r->tree, kind, at);
    if (!n || anchor_add(r, anchor, n, true) != 0 || place(r, n) != 0) return -1;
    r->stack[r->depth++] = n;
    return 0;
}

static void read_close(struct reader *r)
{
    const struct yaml_node *n = r->stack[--r->depth];
    for (int i = 0; i < r->n_anchors; i++)
        if (r->anchors[i].node == n) r->anchors[i].open = false;
}

/* Copies are counted one by one, before each is made: an alias of aliases stops at the cap. */
static struct yaml_node *copy(struct reader *r, const struct yaml_node *from, struct diag_mark alias_at, int depth)
{
    if (depth > YAML_MAX_DEPTH) {
        diag_add(r->diag, alias_at, "nested deeper than %d levels", YAML_MAX_DEPTH);
        return NULL;
    }
    if (check_count(r, alias_at) != 0) return NULL;
    struct yaml_node *n = yaml_node_new(r->tree, from->kind, from->at);
    if (!n) return NULL;
    n->text = from->text;
    n->plain = from->plain;
    for (int i = 0; i < from->n_items; i++) {
        struct yaml_node *item = copy(r, from->items[i], alias_at, depth + 1);
        if (!item || yaml_node_add(r->tree, n, item) != 0) return NULL;
    }
    return n;
}

static int read_alias(struct reader *r, const yaml_event_t *e)
{
    const struct diag_mark at = mark_at(r, e->start_mark);
    const char *name = (const char *)e->data.alias.anchor;
    for (int i = r->n_anchors - 1; i >= 0; i--) { /* the latest of that name */
        if (strcmp(r->anchors[i].name, name) != 0) continue;
        if (r->anchors[i].open) return diag_add(r->diag, at, "alias *%s inside its own anchor: an endless value", name);
        struct yaml_node *n = copy(r, r->anchors[i].node, at, r->depth);
        return n ? place(r, n) : -1;
    }
    return diag_add(r->diag, at, "alias *%s: no anchor &%s before it", name, name);
}

static int refuse_tag(struct reader *r, const yaml_event_t *e, const yaml_char_t *tag)
{
    if (!tag || strcmp((const char *)tag, "!") == 0) return 0;
    return diag_add(r->diag, mark_at(r, e->start_mark), "tags (%s) have no meaning here", (const char *)tag);
}

static int read_event(struct reader *r, const yaml_event_t *e)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (!r->tree->root) return 0;
        return diag_add(r->diag, mark_at(r, e->start_mark), "a second document: one config is one document");
    case YAML_SCALAR_EVENT:
        return refuse_tag(r, e, e->data.scalar.tag) != 0 ? -1 : read_scalar(r, e);
    case YAML_SEQUENCE_START_EVENT:
        if (refuse_tag(r, e, e->data.sequence_start.tag) != 0) return -1;
        return read_open(r, e, YAML_LIST, e->data.sequence_start.anchor);
    case YAML_MAPPING_START_EVENT:
        if (refuse_tag(r, e, e->data.mapping_start.tag) != 0) return -1;
        return read_open(r, e, YAML_MAP, e->data.mapping_start.anchor);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        read_close(r);
        return 0;
    case YAML_ALIAS_EVENT:
        return read_alias(r, e);
    case YAML_STREAM_END_EVENT:
        r->done = true;
        return 0;
    default:
        return 0;
    }
}

static int read_all(struct reader *r)
{
    while (!r->done) {
        yaml_event_t e;
        if (!yaml_parser_parse(&r->parser, &e)) return parser_error(r);
        const int rc = read_event(r, &e);
        yaml_event_delete(&e);
        if (rc != 0) return -1;
    }
    return 0;
}

int yaml_tree_open(struct yaml_tree *t, const char *text, size_t n, int source, struct diag *d)
{
    const struct diag_mark whole = { source, 0, 0 };
    if (n > YAML_MAX_BYTES) return diag_add(d, whole, "%zu bytes: a config has at most %d", n, YAML_MAX_BYTES);
    if (memchr(text, 0, n)) return diag_add(d, whole, "not UTF-8 text: it holds NUL bytes");
    const size_t bom = n >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    struct reader *r = NULL;
    if (MEM_NEW(&r, 1, "yaml reader") != 0) return -1;
    *r = (struct reader){ .tree = t, .diag = d, .source = source, .text = text + bom, .n_text = n - bom, .bom = bom };
    int rc = -1;
    if (yaml_parser_initialize(&r->parser)) {
        yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&r->parser, (const unsigned char *)text + bom, n - bom);
        const int n_before = d->n_errors;
        rc = read_all(r);
        t->whole = rc == 0 && t->root;
        if (rc == 0 && d->n_errors > n_before) rc = -1;
        yaml_parser_delete(&r->parser);
    } else {
        fail("yaml: out of memory");
    }
    mem_free(r);
    if (rc == 0 && !t->root) return diag_add(d, whole, "empty");
    return rc;
}
