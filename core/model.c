#include "core/model.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/model_known.h"
#include "core/model_read.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static int store_of(struct model *m)
{
    return m->store ? 0 : MEM_NEW(&m->store, 1, "model store");
}

/* Room for one more of n elements: their array doubles when n is a power of two. */
static int grow(void **array, size_t n, size_t size)
{
    return (n & (n - 1)) == 0 ? mem_grow(array, n, n ? 2 * n : 1, size, "model store") : 0;
}

int model_store_map(struct model *m, const char *path, struct file_map *map)
{
    if (store_of(m) != 0) return -1;
    struct model_store *s = m->store;
    if (grow((void **)&s->maps, s->n_maps, sizeof *s->maps) != 0) return -1;
    if (file_map_open(map, path) != 0) return -1;
    s->maps[s->n_maps++] = *map;
    return 0;
}

int model_store_block(struct model *m, void **p, size_t n, size_t size, const char *what)
{
    if (store_of(m) != 0) return -1;
    struct model_store *s = m->store;
    if (grow((void **)&s->blocks, s->n_blocks, sizeof *s->blocks) != 0) return -1;
    if (mem_alloc(p, n, size, what) != 0) return -1;
    s->blocks[s->n_blocks++] = *p;
    return 0;
}

void model_close(struct model *m)
{
    struct model_store *s = m->store;
    tokenizer_close(&m->tokenizer);
    for (size_t i = 0; s && i < s->n_maps; i++) file_map_close(&s->maps[i]);
    for (size_t i = 0; s && i < s->n_blocks; i++) mem_free(s->blocks[i]);
    if (s) {
        mem_free(s->maps);
        mem_free(s->blocks);
    }
    mem_free(s);
    mem_free(m->layers);
    memset(m, 0, sizeof *m);
}

void model_drop_pages(const struct model *m)
{
    for (size_t i = 0; m->store && i < m->store->n_maps; i++) file_map_drop(&m->store->maps[i]);
}

static void set_name(struct model *m, const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t start = n;
    while (start > 0 && path[start - 1] != '/') start--;
    if (n - start > 5 && memcmp(path + n - 5, ".gguf", 5) == 0) n -= 5;
    snprintf(m->name, sizeof m->name, "%.*s", (int)(n - start < sizeof m->name ? n - start : sizeof m->name - 1),
             path + start);
}

static int open_known(struct model *m, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    if (model_known_path(name, path, sizeof path) != 0) return -1;
    if (stat(path, &st) != 0)
        return fail("model %s has not been fetched (%s: %s); ./run.sh fetches it, and 'resa fetch CONFIG'", name, path,
                    strerror(errno));
    if (model_open_gguf(m, path) != 0) return -1;
    if (strcmp(m->digest, model_known_digest(name)) != 0)
        return fail("%s: its SHA-256 is %s, that of %s is %s: delete the file to fetch it again", path, m->digest, name,
                    model_known_digest(name));
    set_name(m, name);
    return 0;
}

int model_open(struct model *m, const char *source)
{
    struct stat st;
    if (model_is_known(source)) return open_known(m, source);
    if (stat(source, &st) != 0) {
        if (errno == ENOENT && !strchr(source, '/'))
            return fail("model %s: no such file or folder, nor a known name (%s)", source, model_known_names());
        return fail("model %s: %s", source, strerror(errno));
    }
    if ((S_ISDIR(st.st_mode) ? model_open_hf : model_open_gguf)(m, source) != 0) return -1;
    set_name(m, source);
    return 0;
}

void model_describe(const struct model *m, char *text, size_t n_bytes)
{
    static const char *const families[] = {
        [FAMILY_LLAMA] = "llama", [FAMILY_QWEN2] = "qwen2", [FAMILY_QWEN3] = "qwen3"
    };
    static const char *const scalings[] = {
        [ROPE_PLAIN] = "plain", [ROPE_LINEAR] = "linear scaling", [ROPE_LLAMA3] = "llama3 scaling", [ROPE_YARN] = "yarn"
    };
    const struct model_shape *s = &m->shape;
    int n_of_type[N_TENSOR_TYPES] = { 0 };
    n_of_type[m->embedding.type]++;
    n_of_type[m->output_norm.type]++;
    if (!s->tied) n_of_type[m->output.type]++;
    for (int l = 0; l < s->n_layers; l++) {
        for (int i = 0; i < N_LAYER_SLOTS; i++) {
            struct tensor t;
            memcpy(&t, (const uint8_t *)&m->layers[l] + layer_slots[i].at, sizeof t);
            if (t.data) n_of_type[t.type]++;
        }
    }
    int n =
        snprintf(text, n_bytes,
                 "%s, %d layers, hidden %d, ffn %d, %d query and %d KV heads of %d, vocabulary %d, context %d, rope "
                 "base %g (%s%s), %s output, %.1f M parameters:",
                 families[s->family], s->n_layers, s->hidden, s->ffn, s->n_heads, s->n_kv_heads, s->head_dim, s->vocab,
                 s->context, s->rope.base, scalings[s->rope.scaling], s->rope.freq_divisors ? ", divided" : "",
                 s->tied ? "tied" : "own", (double)m->n_params / 1e6);
    for (int type = 0; type < N_TENSOR_TYPES; type++)
        if (n_of_type[type] && n >= 0 && (size_t)n < n_bytes)
            n += snprintf(text + n, n_bytes - (size_t)n, " %s %d", tensor_format((enum tensor_type)type)->name,
                          n_of_type[type]);
}
