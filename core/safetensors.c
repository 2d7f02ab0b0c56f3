#include "core/safetensors.h"

#include "core/bytes.h"
#include "core/err.h"
#include "core/mem.h"

#include <stdlib.h>

/* The writers' own limit is 100 MB; this one still holds a hundred thousand tensors. */
enum { MAX_HEADER_BYTES = 16 << 20, LENGTH_BYTES = 8 };

static const struct {
    const char *name;
    int bits;
    int type; /* enum tensor_type, or -1 */
} dtypes[] = {
    { "F32", 32, TENSOR_F32 }, { "F16", 16, TENSOR_F16 }, { "BF16", 16, TENSOR_BF16 }, { "F64", 64, -1 },
    { "I64", 64, -1 },         { "I32", 32, -1 },         { "I16", 16, -1 },           { "I8", 8, -1 },
    { "U64", 64, -1 },         { "U32", 32, -1 },         { "U16", 16, -1 },           { "U8", 8, -1 },
    { "BOOL", 8, -1 },         { "C64", 64, -1 },         { "F8_E4M3", 8, -1 },        { "F8_E5M2", 8, -1 },
    { "F8_E8M0", 8, -1 },
};
enum { N_DTYPES = sizeof dtypes / sizeof *dtypes };

static int find_dtype(const char *name)
{
    for (int i = 0; i < N_DTYPES; i++)
        if (strcmp(dtypes[i].name, name) == 0) return i;
    return -1;
}

bool safetensors_type(const char *dtype, enum tensor_type *type)
{
    const int i = find_dtype(dtype);
    if (i < 0 || dtypes[i].type < 0) return false;
    *type = (enum tensor_type)dtypes[i].type;
    return true;
}

static bool read_count(const json_t *value, uint64_t *x)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *x = (uint64_t)json_integer_value(value);
    return true;
}

/* The bytes that the dtype and the shape demand. */
static int read_shape(struct safetensors_tensor *t, const json_t *shape, uint64_t *n_bytes)
{
    const int dtype = find_dtype(t->dtype);
    if (dtype < 0) return fail("tensor %.80s: unknown dtype %.20s", t->name, t->dtype);
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_MAX_DIMS)
        return fail("tensor %.80s: its shape should be a list of at most %d numbers", t->name, SAFETENSORS_MAX_DIMS);
    t->n_dims = (int)json_array_size(shape);
    *n_bytes = (uint64_t)dtypes[dtype].bits / 8;
    for (int d = 0; d < t->n_dims; d++) {
        if (!read_count(json_array_get(shape, (size_t)d), &t->dims[d]))
            return fail("tensor %.80s: dimension %d is not a count", t->name, d);
        if (__builtin_mul_overflow(*n_bytes, t->dims[d], n_bytes))
            return fail("tensor %.80s: its size overflows 64 bits", t->name);
    }
    return 0;
}

static int read_entry(struct safetensors_tensor *t, const char *name, const json_t *entry, const uint8_t *buffer,
                      uint64_t n_buffer)
{
    uint64_t n_bytes = 0;
    const json_t *offsets = json_object_get(entry, "data_offsets");
    t->name = name;
    t->dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!t->dtype) return fail("tensor %.80s: it has no dtype", name);
    if (read_shape(t, json_object_get(entry, "shape"), &n_bytes) != 0) return -1;
    if (json_array_size(offsets) != 2 || !read_count(json_array_get(offsets, 0), &t->begin) ||
        !read_count(json_array_get(offsets, 1), &t->end))
        return fail("tensor %.80s: data_offsets should be two counts", name);
    if (t->begin > t->end || t->end > n_buffer)
        return fail("tensor %.80s: its data at %llu to %llu are not in the file's %llu bytes of data, truncated?", name,
                    (unsigned long long)t->begin, (unsigned long long)t->end, (unsigned long long)n_buffer);
    if (t->end - t->begin != n_bytes)
        return fail("tensor %.80s: %llu bytes of data, its shape needs %llu", name,
                    (unsigned long long)(t->end - t->begin), (unsigned long long)n_bytes);
    t->data = buffer + t->begin;
    return 0;
}

static int compare_places(const void *a, const void *b)
{
    const struct safetensors_tensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct safetensors_tensor *)a)->name, ((const struct safetensors_tensor *)b)->name);
}

static int check_places(struct safetensors *s, uint64_t n_buffer)
{
    uint64_t next = 0;
    qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_places);
    for (size_t i = 0; i < s->n_tensors; next = s->tensors[i++].end)
        if (s->tensors[i].begin != next)
            return fail("tensor %.80s: its data begin at %llu, those before end at %llu", s->tensors[i].name,
                        (unsigned long long)s->tensors[i].begin, (unsigned long long)next);
    if (next != n_buffer)
        return fail("%llu bytes of data, the tensors have %llu", (unsigned long long)n_buffer,
                    (unsigned long long)next);
    return 0;
}

int safetensors_open(struct safetensors *s, const uint8_t *bytes, size_t n_bytes)
{
    json_error_t error;
    const char *name;
    json_t *entry;
    if (n_bytes < LENGTH_BYTES + 2) return fail("not a safetensors file: %zu bytes", n_bytes);
    const uint64_t n_header = read_u64(bytes);
    if (n_header > MAX_HEADER_BYTES || n_header > n_bytes - LENGTH_BYTES)
        return fail("not a safetensors file, or truncated: a header of %llu bytes, allowed are %d, and the file's %zu",
                    (unsigned long long)n_header, MAX_HEADER_BYTES, n_bytes);
    const uint8_t *buffer = bytes + LENGTH_BYTES + n_header;
    const uint64_t n_buffer = n_bytes - LENGTH_BYTES - n_header;
    if (n_header < 2 || bytes[LENGTH_BYTES] != '{')
        return fail("not a safetensors file: its header is not a JSON object");
    s->header = json_loadb((const char *)bytes + LENGTH_BYTES, (size_t)n_header, JSON_REJECT_DUPLICATES, &error);
    if (!s->header) return fail("its header, character %d: %s", error.position, error.text);
    if (!json_is_object(s->header)) return fail("its header is not a JSON object");
    if (MEM_NEW(&s->tensors, json_object_size(s->header), "tensors") != 0) return -1;
    json_object_foreach(s->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) continue;
        if (read_entry(&s->tensors[s->n_tensors], name, entry, buffer, n_buffer) != 0) return -1;
        s->n_tensors++;
    }
    if (check_places(s, n_buffer) != 0) return -1;
    qsort(s->tensors, s->n_tensors, sizeof *s->tensors, compare_names);
    return 0;
}

void safetensors_close(struct safetensors *s)
{
    json_decref(s->header);
    mem_free(s->tensors);
    memset(s, 0, sizeof *s);
}

struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name)
{
    const struct safetensors_tensor wanted = { .name = name };
    return s->n_tensors ? bsearch(&wanted, s->tensors, s->n_tensors, sizeof *s->tensors, compare_names) : NULL;
}
