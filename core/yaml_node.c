#include "core/yaml_node.h"

#include "core/mem.h"

#include <stdint.h>
#include <string.h>

enum { CHUNK_BYTES = 16384, CHUNK_ALIGN = 16 };

struct yaml_chunk {
    struct yaml_chunk *next;
    size_t n_used, n_bytes;
    _Alignas(CHUNK_ALIGN) char bytes[];
};

static void *tree_alloc(struct yaml_tree *t, size_t n_bytes)
{
    const size_t n = (n_bytes + CHUNK_ALIGN - 1) / CHUNK_ALIGN * CHUNK_ALIGN;
    if (!t->chunks || t->chunks->n_bytes - t->chunks->n_used < n) {
        const size_t size = n > CHUNK_BYTES ? n : CHUNK_BYTES;
        struct yaml_chunk *c = NULL;
        if (mem_alloc((void **)&c, 1, sizeof *c + size, "yaml tree") != 0) return NULL;
        c->n_bytes = size;
        c->next = t->chunks;
        t->chunks = c;
    }
    void *p = t->chunks->bytes + t->chunks->n_used;
    t->chunks->n_used += n;
    return p;
}

const char *yaml_text_new(struct yaml_tree *t, const char *text, size_t n)
{
    char *p = tree_alloc(t, n + 1);
    if (p) memcpy(p, text, n);
    return p;
}

struct yaml_node *yaml_node_new(struct yaml_tree *t, enum yaml_kind kind, struct diag_mark at)
{
    struct yaml_node *n = tree_alloc(t, sizeof *n);
    if (!n) return NULL;
    n->kind = kind;
    n->at = at;
    t->n_nodes++;
    return n;
}

int yaml_node_add(struct yaml_tree *t, struct yaml_node *parent, struct yaml_node *child)
{
    if (parent->n_items == parent->max_items) {
        const int max = parent->max_items ? 2 * parent->max_items : 8;
        struct yaml_node **items = tree_alloc(t, (size_t)max * sizeof *items);
        if (!items) return -1;
        if (parent->n_items) memcpy(items, parent->items, (size_t)parent->n_items * sizeof *items);
        parent->items = items;
        parent->max_items = max;
    }
    parent->items[parent->n_items++] = child;
    return 0;
}

void yaml_tree_close(struct yaml_tree *t)
{
    for (struct yaml_chunk *c = t->chunks, *next; c; c = next) {
        next = c->next;
        mem_free(c);
    }
    *t = (struct yaml_tree){ 0 };
}

static int key_index(const struct yaml_node *map, const char *key)
{
    if (map && map->kind == YAML_MAP)
        for (int i = 0; i + 1 < map->n_items; i += 2)
            if (strcmp(map->items[i]->text, key) == 0) return i;
    return -1;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    const int i = key_index(map, key);
    return i < 0 ? NULL : map->items[i + 1];
}

const struct yaml_node *yaml_key(const struct yaml_node *map, const char *key)
{
    const int i = key_index(map, key);
    return i < 0 ? NULL : map->items[i];
}

static const struct yaml_node *find_dotted(const struct yaml_node *map, const char *key)
{
    char word[64];
    for (const char *dot; map && (dot = strchr(key, '.')); key = dot + 1) {
        const size_t n = (size_t)(dot - key) < sizeof word ? (size_t)(dot - key) : sizeof word - 1;
        memcpy(word, key, n);
        word[n] = 0;
        map = yaml_get(map, word);
    }
    return map ? yaml_get(map, key) : NULL;
}

struct diag_mark yaml_at(const struct yaml_node *map, const char *const *keys, struct diag_mark otherwise)
{
    const struct yaml_node *written = NULL;
    for (; *keys; keys++) {
        const struct yaml_node *value = find_dotted(map, *keys);
        if (value && value->at.source > 0) return value->at;
        if (value && !written) written = value;
    }
    return written ? written->at : otherwise;
}

int yaml_put(struct yaml_tree *t, struct yaml_node *map, const char *key, size_t n_key, struct yaml_node *value,
             struct diag_mark at)
{
    for (int i = 0; i + 1 < map->n_items; i += 2)
        if (strlen(map->items[i]->text) == n_key && memcmp(map->items[i]->text, key, n_key) == 0) {
            map->items[i]->at = at;
            map->items[i + 1] = value;
            return 0;
        }
    struct yaml_node *k = yaml_node_new(t, YAML_SCALAR, at);
    if (!k) return -1;
    k->text = yaml_text_new(t, key, n_key);
    k->plain = true;
    if (!k->text || yaml_node_add(t, map, k) != 0) return -1;
    return yaml_node_add(t, map, value);
}

const char *yaml_kind_name(const struct yaml_node *n)
{
    return n->kind == YAML_MAP ? "a map" : n->kind == YAML_LIST ? "a list" : "a value";
}
