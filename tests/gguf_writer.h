/* tests/gguf_writer.h: writes GGUF files, sound and unsound ones.  Values first, then tensors' entries, then data. */
#ifndef TESTS_GGUF_WRITER_H
#define TESTS_GGUF_WRITER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct gguf_writer {
    uint8_t *bytes; /* owned, free() */
    size_t n, capacity;
    uint64_t n_data; /* padded size of the tensors so far */
};

static inline void put(struct gguf_writer *w, const void *p, size_t n)
{
    if (w->n + n > w->capacity) {
        w->capacity = 2 * (w->n + n);
        w->bytes = realloc(w->bytes, w->capacity);
        if (!w->bytes) abort();
    }
    if (n) memcpy(w->bytes + w->n, p, n);
    w->n += n;
}

static inline void put_u8(struct gguf_writer *w, uint8_t x)
{
    put(w, &x, 1);
}

static inline void put_u32(struct gguf_writer *w, uint32_t x)
{
    for (int i = 0; i < 4; i++) put_u8(w, (uint8_t)(x >> (8 * i)));
}

static inline void put_u64(struct gguf_writer *w, uint64_t x)
{
    put_u32(w, (uint32_t)x);
    put_u32(w, (uint32_t)(x >> 32));
}

static inline void put_f32(struct gguf_writer *w, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    put_u32(w, bits);
}

static inline void put_text(struct gguf_writer *w, const char *text)
{
    put_u64(w, strlen(text));
    put(w, text, strlen(text));
}

static inline void put_head(struct gguf_writer *w, uint64_t n_tensors, uint64_t n_values)
{
    put(w, "GGUF", 4);
    put_u32(w, 3);
    put_u64(w, n_tensors);
    put_u64(w, n_values);
}

static inline void put_key(struct gguf_writer *w, const char *key, uint32_t type)
{
    put_text(w, key);
    put_u32(w, type);
}

/* A tensor's entry; its data follow those of the entries before. */
static inline void put_tensor(struct gguf_writer *w, const char *name, uint64_t n_rows, uint64_t n_cols, uint32_t type,
                              uint64_t n_bytes)
{
    put_text(w, name);
    put_u32(w, n_rows == 1 ? 1 : 2);
    put_u64(w, n_cols);
    if (n_rows != 1) put_u64(w, n_rows);
    put_u32(w, type);
    put_u64(w, w->n_data);
    w->n_data += (n_bytes + 31) / 32 * 32;
}

/* The data of all tensors: bytes that count up, so that no two rows are alike. */
static inline void put_data(struct gguf_writer *w)
{
    while (w->n % 32 != 0) put_u8(w, 0);
    for (uint64_t i = 0; i < w->n_data; i++) put_u8(w, (uint8_t)(i * 7 + i / 251));
}

#endif
