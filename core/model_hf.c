/* A model from a Hugging Face folder: config.json, model.safetensors or its shards, tokenizer.json. */
#include "core/digest.h"
#include "core/err.h"
#include "core/mem.h"
#include "core/model_read.h"
#include "core/safetensors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_JSON_BYTES = 64 << 20 };

/* A folder being read. */
struct folder {
    struct model *m;
    const char *path;
    json_t *config, *index; /* owned; index NULL: one file */
    size_t n_files;
    struct safetensors *files; /* owned [n_files] */
    const char **names;        /* owned [n_files], borrowed texts, sorted */
    FILE *digests;             /* "NAME SHA-256" lines of the files that were read */
};

static int file_path(const struct folder *f, const char *name, char path[PATH_MAX])
{
    if (snprintf(path, PATH_MAX, "%s/%s", f->path, name) >= PATH_MAX) return fail("%s: the path is too long", f->path);
    return 0;
}

static bool is_there(const struct folder *f, const char *name)
{
    char path[PATH_MAX];
    return file_path(f, name, path) == 0 && access(path, F_OK) == 0;
}

/* A file of the folder, mapped for as long as the model lives and noted for the model's digest. */
static int map_file(struct folder *f, const char *name, struct file_map *map)
{
    char path[PATH_MAX], hex[DIGEST_CHARS + 1];
    if (file_path(f, name, path) != 0 || model_store_map(f->m, path, map) != 0) return -1;
    digest_file(map, hex);
    fprintf(f->digests, "%s %s\n", name, hex);
    f->m->file_bytes += map->n_bytes;
    return 0;
}

static int read_json(struct folder *f, const char *name, json_t **json)
{
    struct file_map map;
    json_error_t error;
    if (map_file(f, name, &map) != 0) return -1;
    if (map.n_bytes > MAX_JSON_BYTES)
        return fail("%s/%s: %zu bytes, allowed are %d", f->path, name, map.n_bytes, MAX_JSON_BYTES);
    *json = json_loadb(map.bytes ? (const char *)map.bytes : "", map.n_bytes, JSON_REJECT_DUPLICATES, &error);
    if (!*json) return fail("%s/%s:%d:%d: %s", f->path, name, error.line, error.column, error.text);
    return 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The different files that the index names, sorted. */
static int list_shards(struct folder *f)
{
    const json_t *map = json_object_get(f->index, "weight_map");
    const char *tensor;
    const json_t *file;
    size_t n = 0;
    if (!json_is_object(map) || json_object_size(map) == 0) return fail("key weight_map: not an object with tensors");
    if (MEM_NEW(&f->names, json_object_size(map), "names of shards") != 0) return -1;
    json_object_foreach((json_t *)(uintptr_t)map, tensor, file)
    {
        const char *name = json_string_value(file);
        if (!name || !*name || strchr(name, '/') || strlen(name) > NAME_MAX)
            return fail("key weight_map: %.80s: not the name of a file in this folder", tensor);
        f->names[n++] = name;
    }
    qsort(f->names, n, sizeof *f->names, compare_texts);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(f->names[i], f->names[f->n_files - 1]) != 0) f->names[f->n_files++] = f->names[i];
    return 0;
}

static int find_files(struct folder *f)
{
    static const char index_name[] = "model.safetensors.index.json", single[] = "model.safetensors";
    if (!is_there(f, single) && is_there(f, index_name)) {
        if (read_json(f, index_name, &f->index) != 0) return -1;
        TRY(list_shards(f), "%s/%s", f->path, index_name);
        return 0;
    }
    if (MEM_NEW(&f->names, 1, "names of files") != 0) return -1;
    f->names[f->n_files++] = single;
    return 0;
}

static int open_files(struct folder *f)
{
    if (MEM_NEW(&f->files, f->n_files, "files") != 0) return -1;
    for (size_t i = 0; i < f->n_files; i++) {
        struct file_map map;
        if (map_file(f, f->names[i], &map) != 0) return -1;
        TRY(safetensors_open(&f->files[i], map.bytes, map.n_bytes), "%s/%s", f->path, f->names[i]);
    }
    return 0;
}

/* The tensor in the file that should hold it; where: that file's name. */
static struct safetensors_tensor *find_tensor(const struct folder *f, const char *name, const char **where)
{
    *where = f->names[0];
    if (!f->index) return safetensors_find(&f->files[0], name);
    *where = json_string_value(json_object_get(json_object_get(f->index, "weight_map"), name));
    if (!*where) {
        *where = "model.safetensors.index.json";
        return NULL;
    }
    const char **at = bsearch(where, f->names, f->n_files, sizeof *f->names, compare_texts);
    return at ? safetensors_find(&f->files[at - f->names], name) : NULL;
}

static int place_tensor(void *source, const struct model_slot *slot, int layer, uint32_t number, struct tensor *t)
{
    struct folder *f = source;
    const char *where;
    char name[96];
    (void)number;
    if (layer < 0)
        snprintf(name, sizeof name, "%s", slot->hf);
    else
        snprintf(name, sizeof name, "model.layers.%d.%s", layer, slot->hf);
    struct safetensors_tensor *found = find_tensor(f, name, &where);
    if (!found) return fail("%s/%s: tensor %s is missing", f->path, where, name);
    const bool is_vector = found->n_dims == 1 && t->n_rows == 1 && found->dims[0] == (uint64_t)t->n_cols;
    const bool is_matrix =
        found->n_dims == 2 && found->dims[0] == (uint64_t)t->n_rows && found->dims[1] == (uint64_t)t->n_cols;
    if (!is_vector && !is_matrix)
        return fail("%s/%s: tensor %s: its shape is not %d x %d as config.json says", f->path, where, name, t->n_rows,
                    t->n_cols);
    if (!safetensors_type(found->dtype, &t->type))
        return fail("%s/%s: tensor %s: dtype %s, supported are F32, F16 and BF16", f->path, where, name, found->dtype);
    t->data = found->data;
    found->used = true;
    return 0;
}

/* Tensors that some checkpoints carry and that follow from the rest. */
static bool is_redundant(const struct model *m, const char *name)
{
    const size_t n = strlen(name);
    static const char inv_freq[] = "rotary_emb.inv_freq";
    if (n >= sizeof inv_freq - 1 && strcmp(name + n - (sizeof inv_freq - 1), inv_freq) == 0) return true;
    return m->shape.tied && strcmp(name, "lm_head.weight") == 0;
}

static int refuse_unused(const struct folder *f)
{
    for (size_t i = 0; i < f->n_files; i++) {
        for (size_t j = 0; j < f->files[i].n_tensors; j++) {
            const struct safetensors_tensor *t = &f->files[i].tensors[j];
            if (!t->used && !is_redundant(f->m, t->name))
                return fail("%s/%s: tensor %.80s is not one of this model_type's: not supported", f->path, f->names[i],
                            t->name);
        }
    }
    return 0;
}

static int read_tokenizer(struct folder *f)
{
    struct file_map map;
    static const char *const files[] = { "tokenizer.json", "tokenizer_config.json" };
    if (!is_there(f, files[0])) return 0;
    for (int i = 0; i < 2; i++)
        if (is_there(f, files[i]) && map_file(f, files[i], &map) != 0) return -1;
    if (tokenizer_open_json(&f->m->tokenizer, f->path) != 0) return -1;
    if (f->m->tokenizer.n_tokens > f->m->shape.vocab)
        return fail("%s/tokenizer.json: %d tokens, vocab_size in config.json is %d", f->path, f->m->tokenizer.n_tokens,
                    f->m->shape.vocab);
    return 0;
}

static int read_folder(struct folder *f)
{
    if (read_json(f, "config.json", &f->config) != 0) return -1;
    TRY(model_hf_shape(f->config, &f->m->shape), "%s/config.json", f->path);
    if (find_files(f) != 0 || open_files(f) != 0) return -1;
    if (model_fill(f->m, place_tensor, f) != 0 || refuse_unused(f) != 0) return -1;
    return read_tokenizer(f);
}

int model_open_hf(struct model *m, const char *path)
{
    struct folder f = { .m = m, .path = path };
    char *digests = NULL;
    size_t n_digests = 0;
    f.digests = open_memstream(&digests, &n_digests);
    if (!f.digests) return fail("%s: out of memory", path);
    int rc = read_folder(&f);
    if (fclose(f.digests) != 0 && rc == 0) rc = fail("%s: out of memory", path);
    if (rc == 0) digest_bytes(digests, n_digests, m->digest);
    free(digests);
    for (size_t i = 0; f.files && i < f.n_files; i++) safetensors_close(&f.files[i]);
    mem_free(f.files);
    mem_free(f.names);
    json_decref(f.index);
    json_decref(f.config);
    return rc;
}
