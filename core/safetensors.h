/* core/safetensors.h: reading a safetensors file: a JSON header that lists tensors, then their bytes.
 *
 * The file is untrusted: header length, JSON, types, shapes and offsets are checked, the offsets against one another
 * (no holes, no overlaps, as the format demands) and against the file, so that afterwards every tensor lies inside it. */
#ifndef CORE_SAFETENSORS_H
#define CORE_SAFETENSORS_H

#include "core/tensor.h"

#include <jansson.h>
#include <stdbool.h>

enum { SAFETENSORS_MAX_DIMS = 8 };

struct safetensors_tensor {
    const char *name, *dtype; /* borrowed from the header */
    int n_dims;
    uint64_t dims[SAFETENSORS_MAX_DIMS]; /* the last one contiguous */
    const uint8_t *data;                 /* borrowed from the file's bytes */
    uint64_t begin, end;                 /* in the buffer that follows the header */
    bool used;                           /* free for the caller */
};

struct safetensors {
    json_t *header; /* owned */
    size_t n_tensors;
    struct safetensors_tensor *tensors; /* owned, sorted by name */
};

int safetensors_open(struct safetensors *s, const uint8_t *bytes, size_t n_bytes); /* bytes outlive s */
void safetensors_close(struct safetensors *s);
struct safetensors_tensor *safetensors_find(const struct safetensors *s, const char *name); /* NULL: none */

/* The tensor type of a dtype; false where there is none (only F32, F16 and BF16 have). */
bool safetensors_type(const char *dtype, enum tensor_type *type);

#endif
