/* Values of a GGUF file by key, converted to what the caller asked for. */
#include "core/bytes.h"
#include "core/err.h"
#include "core/gguf.h"
#include "core/mem.h"

#include <math.h>

static const char *const type_names[N_GGUF_TYPES] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64",
};

static int find_required(const struct gguf *g, const char *key, const struct gguf_value **v)
{
    *v = gguf_find(g, key);
    return *v ? 0 : fail("key %s is missing", key);
}

static int find_scalar(const struct gguf *g, const char *key, const struct gguf_value **v)
{
    if (find_required(g, key, v) != 0) return -1;
    return (*v)->is_array ? fail("key %s: an array, one value is supported", key) : 0;
}

static int wrong_type(const char *key, const struct gguf_value *v, const char *wanted)
{
    return fail("key %s: of type %s%s, wanted is %s", key, v->is_array ? "array of " : "", type_names[v->type], wanted);
}

/* An integer of any width; false: of another type, or above the largest int64. */
static bool read_integer(const struct gguf_value *v, uint64_t i, int64_t *x)
{
    switch (v->type) {
    case GGUF_U8:
        *x = v->at[i];
        return true;
    case GGUF_I8:
        *x = (int8_t)v->at[i];
        return true;
    case GGUF_U16:
        *x = read_u16(v->at + 2 * i);
        return true;
    case GGUF_I16:
        *x = (int16_t)read_u16(v->at + 2 * i);
        return true;
    case GGUF_U32:
        *x = read_u32(v->at + 4 * i);
        return true;
    case GGUF_I32:
        *x = (int32_t)read_u32(v->at + 4 * i);
        return true;
    case GGUF_U64:
    case GGUF_I64:
        *x = (int64_t)read_u64(v->at + 8 * i);
        return v->type == GGUF_I64 || *x >= 0;
    default:
        return false;
    }
}

int gguf_int(const struct gguf *g, const char *key, int min, int max, int *out)
{
    const struct gguf_value *v;
    int64_t x;
    if (find_scalar(g, key, &v) != 0) return -1;
    if (!read_integer(v, 0, &x)) return wrong_type(key, v, "an integer");
    if (x < min || x > max) return fail("key %s: %lld, allowed are %d to %d", key, (long long)x, min, max);
    *out = (int)x;
    return 0;
}

int gguf_double(const struct gguf *g, const char *key, double min, double max, double *out)
{
    const struct gguf_value *v;
    int64_t whole = 0;
    if (find_scalar(g, key, &v) != 0) return -1;
    double x;
    if (v->type == GGUF_F32)
        x = (double)read_f32(v->at);
    else if (v->type == GGUF_F64)
        x = read_f64(v->at);
    else if (read_integer(v, 0, &whole))
        x = (double)whole;
    else
        return wrong_type(key, v, "a number");
    if (!(x >= min && x <= max)) return fail("key %s: %g, allowed are %g to %g", key, x, min, max);
    *out = x;
    return 0;
}

int gguf_bool(const struct gguf *g, const char *key, bool *out)
{
    const struct gguf_value *v;
    if (find_scalar(g, key, &v) != 0) return -1;
    if (v->type != GGUF_BOOL) return wrong_type(key, v, "bool");
    *out = v->at[0] != 0;
    return 0;
}

static struct str_view view_at(const uint8_t *p)
{
    return (struct str_view){ (const char *)p + 8, (size_t)read_u64(p) };
}

int gguf_string(const struct gguf *g, const char *key, struct str_view *out)
{
    const struct gguf_value *v;
    if (find_scalar(g, key, &v) != 0) return -1;
    if (v->type != GGUF_STRING) return wrong_type(key, v, "string");
    *out = view_at(v->at);
    return 0;
}

int gguf_strings(const struct gguf *g, const char *key, struct str_view **out, size_t *n)
{
    const struct gguf_value *v;
    if (find_required(g, key, &v) != 0) return -1;
    if (!v->is_array || v->type != GGUF_STRING) return wrong_type(key, v, "array of string");
    *n = (size_t)v->count;
    if (MEM_NEW(out, *n, key) != 0) return -1;
    const uint8_t *p = v->at;
    for (size_t i = 0; i < *n; i++) {
        (*out)[i] = view_at(p);
        p += 8 + (*out)[i].n;
    }
    return 0;
}

int gguf_int32s(const struct gguf *g, const char *key, int32_t **out, size_t *n)
{
    const struct gguf_value *v;
    int64_t x;
    if (find_required(g, key, &v) != 0) return -1;
    if (!v->is_array) return wrong_type(key, v, "array of integers");
    *n = (size_t)v->count;
    if (MEM_NEW(out, *n, key) != 0) return -1;
    for (size_t i = 0; i < *n; i++) {
        if (!read_integer(v, i, &x)) return wrong_type(key, v, "array of integers");
        if (x < INT32_MIN || x > INT32_MAX)
            return fail("key %s: element %zu is %lld, out of 32 bits", key, i, (long long)x);
        (*out)[i] = (int32_t)x;
    }
    return 0;
}
