/* tests/kv_fixture.h: a small cache of random keys and values on a CPU device, for the tests of what works on it. */
#ifndef TESTS_KV_FIXTURE_H
#define TESTS_KV_FIXTURE_H

#include "core/err.h"
#include "core/mem.h"
#include "core/philox.h"
#include "kernels/cpu_device.h"
#include "kernels/kv_tile.h"

#include <math.h>
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
    struct device *device;
    struct model_shape shape;
    struct kv_cache kv;
    int n_steps;
    uint32_t draws;
};

/* Uniform in [-1, 1), the next of the fixture's own stream. */
static inline float draw(struct fixture *f)
{
    const uint32_t counter[4] = { f->draws++, 0, 0, 99 }, key[2] = { 17, 0 };
    uint32_t word[4];
    philox4x32(counter, key, word);
    return philox_signed_f32(word[0]);
}

static inline int draw_int(struct fixture *f, int n)
{
    return (int)((draw(f) + 1) * 0.5f * (float)n);
}

static inline void fill(struct fixture *f, float *x, size_t n, float size)
{
    for (size_t i = 0; i < n; i++) x[i] = draw(f) * size;
}

static inline void *device_array(struct fixture *f, size_t n_bytes)
{
    void *p = NULL;
    assert_int_equal(cpu_alloc(f->device, &p, n_bytes ? n_bytes : 1, "test"), 0);
    return p;
}

static inline void fixture_open(struct fixture *f, int n_layers, int n_heads, int n_kv, int dim, int prefix, int n_steps,
                                int n_stores, int n_tails)
{
    memset(f, 0, sizeof *f);
    if (cpu_open(&f->device, 0) != 0) fail_msg("%s", fail_text());
    f->n_steps = n_steps;
    f->shape = (struct model_shape){ .n_layers = n_layers, .n_heads = n_heads, .n_kv_heads = n_kv, .head_dim = dim };
    struct kv_cache *c = &f->kv;
    *c = (struct kv_cache){ .n_layers = n_layers, .n_kv_heads = n_kv, .head_dim = dim, .prefix_tokens = prefix,
                            .prefix_tiles = (prefix + KV_TILE - 1) / KV_TILE, .first_own_tile = prefix / KV_TILE,
                            .n_stores = n_stores, .n_tails = n_tails };
    c->own_tiles = (prefix + n_steps + KV_TILE - 1) / KV_TILE - c->first_own_tile;
    c->k_prefix = device_array(f, kv_prefix_elems(c) * sizeof(float));
    c->v_prefix = device_array(f, kv_prefix_elems(c) * sizeof(float));
    c->k_own = device_array(f, kv_own_elems(c) * sizeof(float));
    c->v_own = device_array(f, kv_own_elems(c) * sizeof(float));
    c->k_tail = device_array(f, kv_tail_elems(c) * sizeof(float));
    c->v_tail = device_array(f, kv_tail_elems(c) * sizeof(float));
}

static inline void fixture_close(struct fixture *f)
{
    struct kv_cache *c = &f->kv;
    void *arrays[] = { c->k_prefix, c->v_prefix, c->k_own, c->v_own, c->k_tail, c->v_tail };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cpu_release(f->device, arrays[i]);
    cpu_close(f->device);
}

/* Random K, V at positions from .. to-1 of a store or the prefix, in every layer. */
static inline void fixture_tokens(struct fixture *f, int store, int from, int to, float size)
{
    const struct kv_cache *c = &f->kv;
    for (int l = 0; l < c->n_layers; l++)
        for (int h = 0; h < c->n_kv_heads; h++)
            for (int p = from; p < to; p++)
                for (int i = 0; i < c->head_dim; i++) {
                    kv_k_tile(c, l, store, h, p / KV_TILE)[i * KV_TILE + p % KV_TILE] = draw(f) * size;
                    kv_v_tile(c, l, store, h, p / KV_TILE)[p % KV_TILE * c->head_dim + i] = draw(f);
                }
}

/* Prefix, the straddling tile's copies and n_own suffix tokens of every store. */
static inline void fixture_fill(struct fixture *f, int n_own, float size)
{
    const struct kv_cache *c = &f->kv;
    fixture_tokens(f, KV_PREFIX, 0, c->prefix_tokens, size);
    for (int s = 0; s < c->n_stores; s++) {
        for (int l = 0; l < c->n_layers; l++) {
            const struct kv_copy_args copy = { l, KV_PREFIX, s, c->first_own_tile * KV_TILE, c->prefix_tokens, &f->kv };
            assert_int_equal(cpu_kv_copy(f->device, &copy), 0);
        }
        fixture_tokens(f, s, c->prefix_tokens, c->prefix_tokens + n_own, size);
    }
}

/* The instruction sets of this processor; the portable one is always the first. */
static inline int fixture_isas(enum cpu_isa isas[3])
{
    static const char *const names[] = { "portable", "avx2", "avx512" };
    int n = 0;
    for (int i = 0; i < 3; i++) {
        struct device *d = NULL;
        setenv("RESA_ISA", names[i], 1);
        if (cpu_open(&d, 0) == 0) isas[n++] = d->isa;
        cpu_close(d);
    }
    unsetenv("RESA_ISA");
    return n;
}

/* Another instruction set and number of threads for the same cache. */
static inline void fixture_device(struct fixture *f, enum cpu_isa isa, int n_threads, int max_rows)
{
    static const char *const names[] = { "portable", "avx2", "avx512" };
    cpu_close(f->device);
    setenv("RESA_ISA", names[isa], 1);
    omp_set_num_threads(n_threads);
    assert_int_equal(cpu_open(&f->device, 0), 0);
    unsetenv("RESA_ISA");
    const struct work_extent e = { .max_rows = max_rows, .max_context = f->kv.prefix_tokens + f->n_steps };
    assert_int_equal(cpu_reserve(f->device, &f->shape, &e), 0);
}

static inline size_t qkv_stride(const struct fixture *f)
{
    return (size_t)(f->shape.n_heads + 2 * f->shape.n_kv_heads) * (size_t)f->shape.head_dim;
}

#endif
