/* tests/cuda_pair.h: the CPU and the CUDA back end side by side, on the same inputs: what tests/test_cuda*.c are made of.
 *
 * Inputs are numbers that fp16 holds, so that what is compared is the order of sums and the rounding inside an operation alone. */
#ifndef TESTS_CUDA_PAIR_H
#define TESTS_CUDA_PAIR_H

#include "core/err.h"
#include "core/mem.h"
#include "core/ops.h"
#include "core/philox.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct pair {
    const struct backend *cpu, *cuda;
    struct device *host, *gpu;
    struct model_shape shape;
    struct kv_cache kv, kv_gpu;      /* float32 in the CPU's layout; fp16 */
    uint32_t draws;
    void *taken[256];                /* device memory, released by pair_close */
    void *held[256];                 /* host memory */
    int n_taken, n_held;
};

static inline void must(int rc)
{
    if (rc != 0) fail_msg("%s", fail_text());
}

/* In [-1, 1), a number that fp16 holds. */
static inline float draw(struct pair *p)
{
    const uint32_t counter[4] = { p->draws++, 0, 0, 98 }, key[2] = { 23, 0 };
    uint32_t word[4];
    philox4x32(counter, key, word);
    return f16_to_f32(f32_to_f16(philox_signed_f32(word[0])));
}

static inline int draw_int(struct pair *p, int n)
{
    return (int)((draw(p) + 1) * 0.49f * (float)n);
}

/* n_bytes of host memory, NaN. */
static inline void *hold(struct pair *p, size_t n_bytes)
{
    void *x = NULL;
    must(mem_alloc(&x, n_bytes ? n_bytes : 1, 1, "test"));
    memset(x, 0xff, n_bytes);
    return p->held[p->n_held++] = x;
}

static inline float *random_floats(struct pair *p, size_t n, float size)
{
    float *x = hold(p, n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = f16_to_f32(f32_to_f16(draw(p) * size));
    return x;
}

/* What int4 makes of the weights of an output (cuda_matrix.cuh). */
static inline void int4_round_row(float *w, int n)
{
    for (int from = 0; from < n; from += 128) {
        const int end = n - from < 128 ? n : from + 128;
        float most = 0;
        for (int i = from; i < end; i++) most = fmaxf(most, fabsf(w[i]));
        const float scale = f16_to_f32(f32_to_f16(most / 7)), inverse = scale > 0 ? 1 / scale : 0;
        for (int i = from; i < end; i++) w[i] = f16_to_f32(f32_to_f16(rintf(w[i] * inverse) * scale));
    }
}

/* A copy on the device; host NULL: NaN. */
static inline void *on_gpu(struct pair *p, const void *host, size_t n_bytes)
{
    void *x = NULL;
    must(p->cuda->alloc(p->gpu, &x, n_bytes ? n_bytes : 1, "test"));
    if (host) must(p->cuda->upload(p->gpu, x, host, n_bytes));
    return p->taken[p->n_taken++] = x;
}

static inline void *from_gpu(struct pair *p, const void *device, size_t n_bytes)
{
    void *x = hold(p, n_bytes);
    must(p->cuda->download(p->gpu, x, device, n_bytes));
    must(p->cuda->sync(p->gpu));
    return x;
}

/* False, after a message, where there is no device. */
static inline bool pair_open(struct pair *p)
{
    memset(p, 0, sizeof *p);
    p->cpu = backends[0];
    p->cuda = backends[1];
    if (!p->cuda) {
        print_message("skipped: this program was built without CUDA\n");
        return false;
    }
    if (p->cuda->open(&p->gpu, 0) != 0) {
        print_message("skipped: %s\n", fail_text());
        return false;
    }
    must(p->cpu->open(&p->host, 0));
    return true;
}

/* The same for another CUDA back end, by its name. */
static inline bool pair_open_as(struct pair *p, const char *name)
{
    if (!pair_open(p)) return false;
    p->cuda->close(p->gpu);
    for (int i = 1; backends[i]; i++)
        if (strcmp(backends[i]->name, name) == 0) p->cuda = backends[i];
    must(p->cuda->open(&p->gpu, 0));
    return true;
}

#define WITH_PAIR(p)                                                                                                           \
    struct pair p;                                                                                                             \
    (void)state;                                                                                                               \
    if (!pair_open(&p)) skip()

static inline void pair_close(struct pair *p)
{
    for (int i = 0; i < p->n_taken; i++) p->cuda->release(p->gpu, p->taken[i]);
    for (int i = 0; i < p->n_held; i++) mem_free(p->held[i]);
    p->cuda->close(p->gpu);
    p->cpu->close(p->host);
}

/* Forgets the arrays so far. */
static inline void pair_clear(struct pair *p)
{
    for (int i = 0; i < p->n_taken; i++) p->cuda->release(p->gpu, p->taken[i]);
    for (int i = 0; i < p->n_held; i++) mem_free(p->held[i]);
    p->n_taken = p->n_held = 0;
}

/* Both layouts of the cache have the same tiles in the same places; within a tile of K the CPU has [head_dim][KV_TILE]. */
static inline uint16_t *to_f16(struct pair *p, const float *x, size_t n_elems, bool keys)
{
    const size_t dim = (size_t)p->kv.head_dim, tile = dim * KV_TILE;
    uint16_t *out = hold(p, n_elems * sizeof *out);
    for (size_t i = 0; i < n_elems; i++) {
        const size_t in = i % tile, from = keys ? i - in + in % dim * KV_TILE + in / dim : i;
        out[i] = isnan(x[from]) ? 0xffff : f32_to_f16(x[from]);
    }
    return out;
}

/* Back again. */
static inline void to_f32(const struct pair *p, const uint16_t *x, size_t n_elems, bool keys, float *out)
{
    const size_t dim = (size_t)p->kv.head_dim, tile = dim * KV_TILE;
    for (size_t i = 0; i < n_elems; i++) {
        const size_t in = i % tile, to = keys ? i - in + in % dim * KV_TILE + in / dim : i;
        out[to] = f16_to_f32(x[i]);
    }
}

/* A cache of n_stores stores with n_own random suffix tokens each; everything else NaN.  k_size: of keys; V is in [-1, 1). */
static inline void pair_cache(struct pair *p, int n_layers, int n_heads, int n_kv, int dim, int prefix, int n_steps, int n_own, int n_stores,
                              int n_tails, float k_size)
{
    p->shape = (struct model_shape){ .n_layers = n_layers, .n_heads = n_heads, .n_kv_heads = n_kv, .head_dim = dim, .hidden = n_heads * dim,
                                     .ffn = 4 * dim, .vocab = 5000 };
    struct kv_cache *c = &p->kv;
    *c = (struct kv_cache){ .n_layers = n_layers, .n_kv_heads = n_kv, .head_dim = dim, .prefix_tokens = prefix,
                            .prefix_tiles = (prefix + KV_TILE - 1) / KV_TILE, .first_own_tile = prefix / KV_TILE,
                            .n_stores = n_stores, .n_tails = n_tails };
    c->own_tiles = (prefix + n_steps + KV_TILE - 1) / KV_TILE - c->first_own_tile;
    c->k_prefix = hold(p, kv_prefix_elems(c) * sizeof(float));
    c->v_prefix = hold(p, kv_prefix_elems(c) * sizeof(float));
    c->k_own = hold(p, kv_own_elems(c) * sizeof(float));
    c->v_own = hold(p, kv_own_elems(c) * sizeof(float));
    c->k_tail = hold(p, kv_tail_elems(c) * sizeof(float));
    c->v_tail = hold(p, kv_tail_elems(c) * sizeof(float));
    for (int l = 0; l < n_layers; l++)
        for (int s = -1; s < n_stores; s++)
            for (int h = 0; h < n_kv; h++)
                for (int at = s < 0 ? 0 : c->first_own_tile * KV_TILE; at < (s < 0 ? prefix : prefix + n_own); at++)
                    for (int i = 0; i < dim; i++) {
                        const size_t tile = s < 0 ? kv_prefix_at(c, l, h, at / KV_TILE) : kv_own_at(c, l, s, h, at / KV_TILE);
                        float *k = (float *)(s < 0 ? c->k_prefix : c->k_own) + tile, *v = (float *)(s < 0 ? c->v_prefix : c->v_own) + tile;
                        const size_t ki = (size_t)(i * KV_TILE + at % KV_TILE), vi = (size_t)(at % KV_TILE * dim + i);
                        if (s >= 0 && at < prefix) { /* the straddling tile's copy */
                            const size_t from = kv_prefix_at(c, l, h, at / KV_TILE);
                            k[ki] = ((float *)c->k_prefix)[from + ki];
                            v[vi] = ((float *)c->v_prefix)[from + vi];
                        } else {
                            k[ki] = f16_to_f32(f32_to_f16(draw(p) * k_size));
                            v[vi] = draw(p);
                        }
                    }
    p->kv_gpu = *c;
    struct kv_cache *g = &p->kv_gpu;
    g->k_prefix = on_gpu(p, to_f16(p, c->k_prefix, kv_prefix_elems(c), true), kv_prefix_elems(c) * 2);
    g->v_prefix = on_gpu(p, to_f16(p, c->v_prefix, kv_prefix_elems(c), false), kv_prefix_elems(c) * 2);
    g->k_own = on_gpu(p, to_f16(p, c->k_own, kv_own_elems(c), true), kv_own_elems(c) * 2);
    g->v_own = on_gpu(p, to_f16(p, c->v_own, kv_own_elems(c), false), kv_own_elems(c) * 2);
    g->k_tail = on_gpu(p, to_f16(p, c->k_tail, kv_tail_elems(c), true), kv_tail_elems(c) * 2);
    g->v_tail = on_gpu(p, to_f16(p, c->v_tail, kv_tail_elems(c), false), kv_tail_elems(c) * 2);
}

/* The device's K or V of everything, as the CPU would hold it. */
static inline float *cache_from_gpu(struct pair *p, const void *device, size_t n_elems, bool keys)
{
    float *x = hold(p, n_elems * sizeof *x);
    to_f32(p, from_gpu(p, device, n_elems * 2), n_elems, keys, x);
    return x;
}

static inline int pair_stride(const struct pair *p)
{
    return (p->shape.n_heads + 2 * p->shape.n_kv_heads) * p->shape.head_dim;
}

enum { MASS_LANES = 64 };

/* Block mass included, of up to MASS_LANES rows. */
static inline void pair_reserve(struct pair *p, int max_rows, int max_context)
{
    const struct work_extent e = { .max_rows = max_rows, .max_context = max_context, .n_lanes = max_rows < MASS_LANES ? max_rows : MASS_LANES,
                                   .mass_blocks = 1, .max_blocks = 1 };
    must(p->cpu->reserve(p->host, &p->shape, &e));
    must(p->cuda->reserve(p->gpu, &p->shape, &e));
}

/* The same rows a few at a time, which another kernel takes. */
static inline void attend_few(struct pair *p, struct attend_args a)
{
    enum { FEW = 16 };
    const struct attend_row *const rows = a.rows;
    const int n = a.n_rows;
    for (int at = 0; at < n; at += FEW) {
        a.rows = rows + at, a.n_rows = n - at < FEW ? n - at : FEW;
        must(p->cuda->attend(p->gpu, &a));
    }
}

#endif
