#include "core/gguf.h"

#include "core/bytes.h"
#include "core/err.h"
#include "core/mem.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_VALUES = 1 << 16, MAX_TENSORS = 1 << 20, MAX_KEY_BYTES = 65535, MAX_NAME_BYTES = 64 };
enum { MIN_ALIGNMENT = 8, MAX_ALIGNMENT = 1 << 20 };
enum { MIN_VALUE_BYTES = 8 + 4 + 1, MIN_TENSOR_BYTES = 8 + 4 + 8 + 4 + 8, HEAD_BYTES = 24 };

static const uint8_t element_bytes[N_GGUF_TYPES] = {
    [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2,  [GGUF_I16] = 2,    [GGUF_U32] = 4,
    [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_STRING] = 8, [GGUF_ARRAY] = 0,
    [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
};

/* The rest of the file that has not been read. */
struct cursor {
    const uint8_t *at;
    size_t left;
};

static bool take(struct cursor *c, size_t n, const uint8_t **p)
{
    if (c->left < n) return false;
    *p = c->at;
    c->at += n;
    c->left -= n;
    return true;
}

static bool take_u32(struct cursor *c, uint32_t *x)
{
    const uint8_t *p;
    if (!take(c, 4, &p)) return false;
    *x = read_u32(p);
    return true;
}

static bool take_u64(struct cursor *c, uint64_t *x)
{
    const uint8_t *p;
    if (!take(c, 8, &p)) return false;
    *x = read_u64(p);
    return true;
}

static bool take_string(struct cursor *c, struct str_view *s)
{
    uint64_t n;
    const uint8_t *p;
    if (!take_u64(c, &n) || n > c->left || !take(c, (size_t)n, &p)) return false;
    *s = (struct str_view){ (const char *)p, (size_t)n };
    return true;
}

/* A name from the file as it may be shown: at most 64 characters, anything unprintable as '?'. */
static const char *shown(struct str_view s, char text[MAX_NAME_BYTES + 1])
{
    const size_t n = s.n < MAX_NAME_BYTES ? s.n : MAX_NAME_BYTES;
    for (size_t i = 0; i < n; i++) text[i] = s.at[i] >= ' ' && s.at[i] <= '~' ? s.at[i] : '?';
    text[n] = '\0';
    return text;
}

static int compare_views(struct str_view a, struct str_view b)
{
    const size_t n = a.n < b.n ? a.n : b.n;
    const int order = n ? memcmp(a.at, b.at, n) : 0;
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_values(const void *a, const void *b)
{
    return compare_views(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

static int compare_tensors(const void *a, const void *b)
{
    return compare_views(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

/* count elements of v->type at the cursor; each bool and each string is looked at. */
static int read_elements(struct cursor *c, struct gguf_value *v, const char *what)
{
    if (v->count > c->left / element_bytes[v->type])
        return fail("%s: %llu elements do not fit in the rest of the file (%zu bytes)", what,
                    (unsigned long long)v->count, c->left);
    if (v->type == GGUF_STRING) {
        struct str_view s;
        v->at = c->at;
        for (uint64_t i = 0; i < v->count; i++)
            if (!take_string(c, &s)) return fail("%s: text %llu ends after the file", what, (unsigned long long)i);
        return 0;
    }
    if (!take(c, (size_t)v->count * element_bytes[v->type], &v->at)) return fail("%s: ends after the file", what);
    for (uint64_t i = 0; v->type == GGUF_BOOL && i < v->count; i++)
        if (v->at[i] > 1) return fail("%s: a truth value of %d, not 0 or 1", what, v->at[i]);
    return 0;
}

static int read_value(struct cursor *c, struct gguf_value *v)
{
    char name[MAX_NAME_BYTES + 1], what[MAX_NAME_BYTES + 16];
    if (!take_string(c, &v->key)) return fail("a key ends after the file");
    if (v->key.n == 0 || v->key.n > MAX_KEY_BYTES)
        return fail("a key of %zu bytes, allowed are 1 to %d", v->key.n, MAX_KEY_BYTES);
    snprintf(what, sizeof what, "key %s", shown(v->key, name));
    if (!take_u32(c, &v->type)) return fail("%s: the file ends before its type", what);
    v->count = 1;
    v->is_array = v->type == GGUF_ARRAY;
    if (v->is_array && (!take_u32(c, &v->type) || !take_u64(c, &v->count)))
        return fail("%s: the file ends before its elements", what);
    if (v->is_array && v->type == GGUF_ARRAY) return fail("%s: nested arrays are not supported", what);
    if (v->type >= N_GGUF_TYPES) return fail("%s: unknown value type %u", what, v->type);
    return read_elements(c, v, what);
}

static int read_values(struct gguf *g, struct cursor *c)
{
    char name[MAX_NAME_BYTES + 1];
    for (size_t i = 0; i < g->n_values; i++)
        if (read_value(c, &g->values[i]) != 0) return fail_in("value %zu of %zu", i + 1, g->n_values);
    qsort(g->values, g->n_values, sizeof *g->values, compare_values);
    for (size_t i = 1; i < g->n_values; i++)
        if (compare_values(&g->values[i - 1], &g->values[i]) == 0)
            return fail("key %s is there twice", shown(g->values[i].key, name));
    return 0;
}

/* ggml's numbers of the tensor types. */
static const struct {
    const char *name;
    int type; /* enum tensor_type, -1: not supported */
} ggml_types[] = {
    [0] = { "F32", TENSOR_F32 },
    [1] = { "F16", TENSOR_F16 },
    [2] = { "Q4_0", TENSOR_Q4_0 },
    [3] = { "Q4_1", TENSOR_Q4_1 },
    [6] = { "Q5_0", TENSOR_Q5_0 },
    [7] = { "Q5_1", TENSOR_Q5_1 },
    [8] = { "Q8_0", TENSOR_Q8_0 },
    [9] = { "Q8_1", -1 },
    [10] = { "Q2_K", -1 },
    [11] = { "Q3_K", -1 },
    [12] = { "Q4_K", TENSOR_Q4_K },
    [13] = { "Q5_K", TENSOR_Q5_K },
    [14] = { "Q6_K", TENSOR_Q6_K },
    [15] = { "Q8_K", -1 },
    [16] = { "IQ2_XXS", -1 },
    [17] = { "IQ2_XS", -1 },
    [18] = { "IQ3_XXS", -1 },
    [19] = { "IQ1_S", -1 },
    [20] = { "IQ4_NL", -1 },
    [21] = { "IQ3_S", -1 },
    [22] = { "IQ2_S", -1 },
    [23] = { "IQ4_XS", -1 },
    [24] = { "I8", -1 },
    [25] = { "I16", -1 },
    [26] = { "I32", -1 },
    [27] = { "I64", -1 },
    [28] = { "F64", -1 },
    [29] = { "IQ1_M", -1 },
    [30] = { "BF16", TENSOR_BF16 },
    [34] = { "TQ1_0", -1 },
    [35] = { "TQ2_0", -1 },
    [39] = { "MXFP4", -1 },
};

static int find_type(struct gguf_tensor *t, uint32_t number, const char *name)
{
    if (number >= sizeof ggml_types / sizeof *ggml_types || !ggml_types[number].name)
        return fail("tensor %s: unknown type %u", name, number);
    if (ggml_types[number].type < 0)
        return fail("tensor %s: type %s is not supported (F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, "
                    "Q6_K are)",
                    name, ggml_types[number].name);
    t->type = (enum tensor_type)ggml_types[number].type;
    return 0;
}

/* The tensor's size in bytes from its dimensions. */
static int find_size(struct gguf_tensor *t, const char *name)
{
    const struct tensor_format *f = tensor_format(t->type);
    if (t->dims[0] % (uint64_t)f->block != 0)
        return fail("tensor %s: rows of %llu weights, not a multiple of %s's %d", name, (unsigned long long)t->dims[0],
                    f->name, f->block);
    t->n_bytes = t->dims[0] / (uint64_t)f->block * (uint64_t)f->block_bytes; /* below 2^31 * 210 */
    for (int d = 1; d < t->n_dims; d++)
        if (__builtin_mul_overflow(t->n_bytes, t->dims[d], &t->n_bytes))
            return fail("tensor %s: its size overflows 64 bits", name);
    return 0;
}

/* One tensor's entry; *next is where its data has to begin, and is moved past them. */
static int read_tensor(struct gguf_tensor *t, struct cursor *c, uint64_t *next, uint64_t alignment)
{
    char name[MAX_NAME_BYTES + 1];
    uint32_t n_dims, type;
    uint64_t padded;
    if (!take_string(c, &t->name)) return fail("a tensor's name ends after the file");
    if (t->name.n == 0 || t->name.n > MAX_NAME_BYTES)
        return fail("a tensor's name of %zu bytes, allowed are 1 to %d", t->name.n, MAX_NAME_BYTES);
    shown(t->name, name);
    if (!take_u32(c, &n_dims)) return fail("tensor %s: the file ends before its dimensions", name);
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
        return fail("tensor %s: %u dimensions, allowed are 1 to %d", name, n_dims, GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (int d = 0; d < t->n_dims; d++) {
        if (!take_u64(c, &t->dims[d])) return fail("tensor %s: the file ends within its dimensions", name);
        if (t->dims[d] < 1 || t->dims[d] > INT_MAX)
            return fail("tensor %s: dimension %d is %llu, allowed are 1 to %d", name, d, (unsigned long long)t->dims[d],
                        INT_MAX);
    }
    if (!take_u32(c, &type) || !take_u64(c, &t->offset))
        return fail("tensor %s: the file ends before its offset", name);
    if (find_type(t, type, name) != 0 || find_size(t, name) != 0) return -1;
    if (t->offset != *next)
        return fail("tensor %s: its data begin at %llu, should follow the tensor before at %llu", name,
                    (unsigned long long)t->offset, (unsigned long long)*next);
    if (__builtin_add_overflow(t->n_bytes, alignment - 1, &padded) ||
        __builtin_add_overflow(*next, padded / alignment * alignment, next))
        return fail("tensor %s: its end overflows 64 bits", name);
    return 0;
}

static int read_tensors(struct gguf *g, struct cursor *c, uint64_t alignment)
{
    char name[MAX_NAME_BYTES + 1];
    uint64_t next = 0;
    for (size_t i = 0; i < g->n_tensors; i++)
        if (read_tensor(&g->tensors[i], c, &next, alignment) != 0)
            return fail_in("tensor %zu of %zu", i + 1, g->n_tensors);
    qsort(g->tensors, g->n_tensors, sizeof *g->tensors, compare_tensors);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (compare_tensors(&g->tensors[i - 1], &g->tensors[i]) == 0)
            return fail("tensor %s is there twice", shown(g->tensors[i].name, name));
    return 0;
}

/* Points every tensor at its data, which begin at the next multiple of the alignment after the entries. */
static int place_data(struct gguf *g, const struct cursor *c, const uint8_t *bytes, uint64_t alignment)
{
    char name[MAX_NAME_BYTES + 1];
    const uint64_t entries_end = (uint64_t)(c->at - bytes);
    const uint64_t start = (entries_end + alignment - 1) / alignment * alignment;
    const uint64_t available = start - entries_end <= c->left ? c->left - (start - entries_end) : 0;
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        if (t->offset > available || t->n_bytes > available - t->offset)
            return fail("tensor %s: its data (%llu bytes at %llu) end after the file, truncated? (%llu bytes of data)",
                        shown(t->name, name), (unsigned long long)t->n_bytes, (unsigned long long)t->offset,
                        (unsigned long long)available);
        t->data = bytes + start + t->offset;
    }
    return 0;
}

static int read_head(struct gguf *g, struct cursor *c)
{
    const uint8_t *magic;
    uint64_t n_tensors, n_values;
    if (!take(c, 4, &magic) || memcmp(magic, "GGUF", 4) != 0)
        return fail("not a GGUF file (it does not begin with \"GGUF\")");
    if (!take_u32(c, &g->version) || !take_u64(c, &n_tensors) || !take_u64(c, &n_values))
        return fail("the file ends within its first %d bytes", HEAD_BYTES);
    if ((g->version & 0xffff) == 0) return fail("a big-endian GGUF file, which is not supported");
    if (g->version < 2 || g->version > 3) return fail("GGUF version %u, supported are 2 and 3", g->version);
    if (n_values > MAX_VALUES || n_values > c->left / MIN_VALUE_BYTES)
        return fail("%llu metadata values, allowed are %d, and the file's %zu bytes", (unsigned long long)n_values,
                    MAX_VALUES, c->left);
    if (n_tensors > MAX_TENSORS || n_tensors > c->left / MIN_TENSOR_BYTES)
        return fail("%llu tensors, allowed are %d, and the file's %zu bytes", (unsigned long long)n_tensors,
                    MAX_TENSORS, c->left);
    g->n_values = (size_t)n_values;
    g->n_tensors = (size_t)n_tensors;
    return 0;
}

static int read_alignment(const struct gguf *g, uint64_t *alignment)
{
    int n = (int)*alignment;
    if (!gguf_find(g, "general.alignment")) return 0;
    if (gguf_int(g, "general.alignment", MIN_ALIGNMENT, MAX_ALIGNMENT, &n) != 0) return -1;
    if ((n & (n - 1)) != 0) return fail("key general.alignment: %d is not a power of two", n);
    *alignment = (uint64_t)n;
    return 0;
}

int gguf_open(struct gguf *g, const uint8_t *bytes, size_t n_bytes)
{
    struct cursor c = { bytes, n_bytes };
    uint64_t alignment = 32;
    if (read_head(g, &c) != 0) return -1;
    if (MEM_NEW(&g->values, g->n_values, "metadata") != 0 || read_values(g, &c) != 0) return -1;
    if (read_alignment(g, &alignment) != 0) return -1;
    if (MEM_NEW(&g->tensors, g->n_tensors, "tensors") != 0) return -1;
    if (read_tensors(g, &c, alignment) != 0) return -1;
    return place_data(g, &c, bytes, alignment);
}

void gguf_close(struct gguf *g)
{
    mem_free(g->values);
    mem_free(g->tensors);
    memset(g, 0, sizeof *g);
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    const struct gguf_value wanted = { .key = { key, strlen(key) } };
    if (!g->n_values) return NULL;
    return bsearch(&wanted, g->values, g->n_values, sizeof *g->values, compare_values);
}

struct gguf_tensor *gguf_tensor(struct gguf *g, const char *name)
{
    const struct gguf_tensor wanted = { .name = { name, strlen(name) } };
    if (!g->n_tensors) return NULL;
    return bsearch(&wanted, g->tensors, g->n_tensors, sizeof *g->tensors, compare_tensors);
}
