/* core/gguf.h: reading a GGUF file, version 2 or 3 (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 *
 * The file is untrusted: every length, count, type and offset is checked against the bytes there are before it is
 * used, so that afterwards every text, array and tensor below lies inside them.  Refused beside damage: duplicate
 * keys or tensor names, nested arrays, tensor types that are not in core/tensor.h, tensors that do not follow one
 * another (each at the next multiple of the alignment, as ggml demands).  Messages do not name the file: the caller
 * does.                                                                                                           */
#ifndef CORE_GGUF_H
#define CORE_GGUF_H

#include "core/str_view.h"
#include "core/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum gguf_type {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, GGUF_BOOL,
    GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64,
    N_GGUF_TYPES
};

enum { GGUF_MAX_DIMS = 4 };

struct gguf_value {
    struct str_view key;   /* borrowed from the file's bytes, as all of this */
    uint32_t type;         /* enum gguf_type; of an array's elements where is_array */
    bool is_array;
    uint64_t count;        /* elements; 1 where not is_array */
    const uint8_t *at;     /* the first element */
};

struct gguf_tensor {
    struct str_view name;
    int n_dims;
    uint64_t dims[GGUF_MAX_DIMS]; /* dims[0] contiguous */
    enum tensor_type type;
    uint64_t offset, n_bytes;     /* from the start of the data section */
    const uint8_t *data;
    bool used;                    /* free for the caller */
};

struct gguf {
    uint32_t version;
    size_t n_values, n_tensors;
    struct gguf_value *values;    /* owned, sorted by key */
    struct gguf_tensor *tensors;  /* owned, sorted by name */
};

int  gguf_open(struct gguf *g, const uint8_t *bytes, size_t n_bytes); /* bytes outlive g */
void gguf_close(struct gguf *g);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key); /* NULL: none */
struct gguf_tensor *gguf_tensor(struct gguf *g, const char *name);         /* NULL: none */

/* A value by its key, any integer or float type accepted where it holds the number; an absent key, another type or
 * a number out of [min, max] fails with a message. */
int gguf_int(const struct gguf *g, const char *key, int min, int max, int *out);
int gguf_double(const struct gguf *g, const char *key, double min, double max, double *out);
int gguf_bool(const struct gguf *g, const char *key, bool *out);
int gguf_string(const struct gguf *g, const char *key, struct str_view *out);

/* Arrays: the texts of an array of strings, or its integers; *out is the caller's (mem_free). */
int gguf_strings(const struct gguf *g, const char *key, struct str_view **out, size_t *n);
int gguf_int32s(const struct gguf *g, const char *key, int32_t **out, size_t *n);

#endif
