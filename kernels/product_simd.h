/* kernels/product_simd.h: the product's kernels in terms of a vector type; included by one file per instruction set, which
 * defines before it
 *
 *   LANES, vec, ivec            floats of a vector (a divisor of PANEL), vectors of float32 and of uint32
 *   vec_load, vec_store, vec_set, vec_fma, vec_mul
 *   vec_of_ints, vec_of_bytes, vec_of_f16, vec_of_bf16    to float32: an ivec, LANES bytes, LANES halves
 *   ivec_load, ivec_and, ivec_or, ivec_right, ivec_left, ivec_set
 *   ROW_VECS                    chains that the one-row kernel keeps at a time, to cover the latency of the fused multiply-add
 *   TILE_ROWS, TILE_VECS        register block of the tile
 *
 * Always-inline functions with constant arguments stand for templates: bits, n_vecs and n_rows are constants in each call.  */
#ifndef KERNELS_PRODUCT_SIMD_H
#define KERNELS_PRODUCT_SIMD_H

#include "kernels/product.h"

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

enum { PANEL_VECS = PANEL / LANES, ROW_PANELS = ROW_VECS / PANEL_VECS, TILE_PANELS = TILE_VECS / PANEL_VECS };

/* A panel's place in memory at a step of MATRIX_STEP k's. */
struct place {
    const uint8_t *scales, *low, *high;
};

INLINE struct place place_at(const struct matrix_part *p, const int bits, const uint8_t *panel, int k)
{
    const size_t step = (size_t)(k / MATRIX_STEP), low_bytes = bits == 8 ? 32 * PANEL : 16 * PANEL;
    const size_t high_bytes = bits == 5 ? 4 * PANEL : bits == 6 ? 8 * PANEL : 0;
    return (struct place){ panel + step * (bits == 6 ? 2 : 1) * p->group_bytes, panel + p->low_at + step * low_bytes,
                           panel + p->high_at + step * high_bytes };
}

/* Where the chunk after n_k k's from k0 begins: the processor's own prefetching does not find it in time. */
INLINE struct place place_after(const struct matrix_part *p, const int bits, const uint8_t *panel, int k0, int n_k, int n_panels)
{
    if (k0 + n_k < p->n_in) return place_at(p, bits, panel, k0 + n_k);
    return place_at(p, bits, panel + (size_t)n_panels * p->panel_bytes, 0);
}

/* Lines of step t of that chunk; addresses past the end do no harm. */
#define PREFETCH_STEP(p, bits, place, t, level)                                                                         \
    do {                                                                                                               \
        const size_t low_lines = (bits) == 8 ? 8 : 4, high_lines = (bits) == 5 ? 1 : (bits) == 6 ? 2 : 0;              \
        const size_t scale_bytes = (p)->group_bytes * ((bits) == 6 ? 2 : 1);                                           \
        UNROLL for (size_t l = 0; l < low_lines; l++)                                                                  \
            __builtin_prefetch((place)->low + ((size_t)(t) * low_lines + l) * 64, 0, level);                           \
        UNROLL for (size_t l = 0; l < high_lines; l++)                                                                 \
            __builtin_prefetch((place)->high + ((size_t)(t) * high_lines + l) * 64, 0, level);                         \
        for (size_t b = 0; b < scale_bytes; b += 64) __builtin_prefetch((place)->scales + (size_t)(t) * scale_bytes + b, 0, level); \
    } while (0)

/* Scales and minima of n groups as float32, each [n][2][PANEL]. */
INLINE void load_scales(const struct matrix_part *p, const uint8_t *scales, int n, float *out)
{
    const vec offset = vec_set(p->offset);
    for (int g = 0; g < n; g++, out += 2 * PANEL, scales += p->group_bytes) {
        const float *f = (const float *)(const void *)scales;
        const uint16_t *h = (const uint16_t *)(const void *)scales;
        for (int v = 0; v < PANEL; v += LANES) {
            if (p->scales == SCALES_FLOAT) {
                vec_store(out + v, vec_load(f + v));
                vec_store(out + PANEL + v, vec_load(f + PANEL + v));
            } else if (p->scales == SCALES_MINIMUM) {
                vec_store(out + v, vec_of_f16(h + v));
                vec_store(out + PANEL + v, vec_of_f16(h + PANEL + v));
            } else {
                const vec scale = vec_of_f16(h + v);
                vec_store(out + v, scale);
                vec_store(out + PANEL + v, vec_mul(scale, offset));
            }
        }
    }
}

/* LANES weights of k = 4 i + j of a step, outputs from lane0; scale [groups of the step][2][PANEL]. */
INLINE vec step_weights(const int bits, const struct place *s, const float *scale, int lane0, int i, int j)
{
    scale += lane0 + (bits == 6 && i >= 4 ? 2 * PANEL : 0);
    vec u;
    if (bits == 8) {
        u = vec_of_bytes(s->low + (4 * i + j) * PANEL + lane0);
    } else {
        ivec word = ivec_and(ivec_right(ivec_load(s->low + 4 * (j * PANEL + lane0)), 4 * i), ivec_set(15));
        if (bits == 5) {
            const ivec high = ivec_load(s->high + 4 * lane0);
            const int k = 4 * i + j;
            word = ivec_or(word, ivec_and(k < 4 ? ivec_left(high, 4 - k) : ivec_right(high, k - 4), ivec_set(16)));
        } else if (bits == 6) {
            const ivec high = ivec_load(s->high + 4 * (j / 2 * PANEL + lane0));
            const int at = 4 * i + 2 * (j & 1);
            word = ivec_or(word, ivec_and(at < 4 ? ivec_left(high, 4 - at) : ivec_right(high, at - 4), ivec_set(48)));
        }
        u = vec_of_ints(word);
    }
    return vec_fma(u, vec_load(scale), vec_load(scale + PANEL));
}

enum { MAX_CHUNK_GROUPS = PRODUCT_CHUNK / 16 };

/* One row times n_vecs / PANEL_VECS panels of u's. */
INLINE void row_quantised(const int bits, const int n_vecs, const struct matrix_part *p, const uint8_t *panel, const float *x, float *acc)
{
    _Alignas(64) float scales[ROW_PANELS][MAX_CHUNK_GROUPS * 2 * PANEL];
    const int n_panels = n_vecs / PANEL_VECS, groups = bits == 6 ? 2 : 1; /* groups of a step */
    const int chunk = product_chunk(p->n_in);
    vec sum[ROW_VECS];
    UNROLL for (int v = 0; v < n_vecs; v++) sum[v] = vec_load(acc + v * LANES);
    for (int k0 = 0; k0 < p->n_in; k0 += chunk) {
        const int n_k = p->n_in - k0 < chunk ? p->n_in - k0 : chunk;
        struct place s[ROW_PANELS], next[ROW_PANELS];
        UNROLL for (int i = 0; i < n_panels; i++) {
            s[i] = place_at(p, bits, panel + (size_t)i * p->panel_bytes, k0);
            next[i] = place_after(p, bits, panel + (size_t)i * p->panel_bytes, k0, n_k, n_panels);
            load_scales(p, s[i].scales, n_k / MATRIX_STEP * groups, scales[i]);
        }
        for (int t = 0; t < n_k / MATRIX_STEP; t++, x += MATRIX_STEP) {
            UNROLL for (int i = 0; i < n_panels; i++) PREFETCH_STEP(p, bits, &next[i], t, 3);
            UNROLL for (int k = 0; k < MATRIX_STEP; k++) {
                const vec xk = vec_set(x[k]);
                UNROLL for (int v = 0; v < n_vecs; v++) {
                    const int i = v / PANEL_VECS;
                    const float *scale = scales[i] + t * groups * 2 * PANEL;
                    sum[v] = vec_fma(xk, step_weights(bits, &s[i], scale, v % PANEL_VECS * LANES, k / 4, k % 4), sum[v]);
                }
            }
            UNROLL for (int i = 0; i < n_panels; i++) {
                s[i].low += bits == 8 ? 32 * PANEL : 16 * PANEL;
                s[i].high += bits == 5 ? 4 * PANEL : bits == 6 ? 8 * PANEL : 0;
            }
        }
    }
    UNROLL for (int v = 0; v < n_vecs; v++) vec_store(acc + v * LANES, sum[v]);
}

/* LANES weights of a panel of floats from element `at`. */
INLINE vec float_weights(enum tensor_type type, const uint8_t *panel, size_t at)
{
    if (type == TENSOR_F32) return vec_load((const float *)(const void *)panel + at);
    const uint16_t *half = (const uint16_t *)(const void *)panel + at;
    return type == TENSOR_F16 ? vec_of_f16(half) : vec_of_bf16(half);
}

INLINE void row_floats(const enum tensor_type type, const int n_vecs, const struct matrix_part *p, const uint8_t *panel, const float *x, float *acc)
{
    vec sum[ROW_VECS];
    UNROLL for (int v = 0; v < n_vecs; v++) sum[v] = vec_load(acc + v * LANES);
    for (int k = 0; k < p->n_in; k++) {
        const vec xk = vec_set(x[k]);
        UNROLL for (int v = 0; v < n_vecs; v++) {
            const uint8_t *mine = panel + (size_t)(v / PANEL_VECS) * p->panel_bytes;
            sum[v] = vec_fma(xk, float_weights(type, mine, (size_t)k * PANEL + (size_t)(v % PANEL_VECS * LANES)), sum[v]);
        }
    }
    UNROLL for (int v = 0; v < n_vecs; v++) vec_store(acc + v * LANES, sum[v]);
}

INLINE void row_any(const int n_vecs, const struct matrix_part *p, const uint8_t *panel, const float *x, float *acc)
{
    switch (p->type) {
    case TENSOR_F32: row_floats(TENSOR_F32, n_vecs, p, panel, x, acc); return;
    case TENSOR_F16: row_floats(TENSOR_F16, n_vecs, p, panel, x, acc); return;
    case TENSOR_BF16: row_floats(TENSOR_BF16, n_vecs, p, panel, x, acc); return;
    default: break;
    }
    switch (p->bits) {
    case 4: row_quantised(4, n_vecs, p, panel, x, acc); return;
    case 5: row_quantised(5, n_vecs, p, panel, x, acc); return;
    case 6: row_quantised(6, n_vecs, p, panel, x, acc); return;
    default: row_quantised(8, n_vecs, p, panel, x, acc); return;
    }
}

static void simd_row(const struct matrix_part *p, int panel, int n_panels, const float *x, float *acc)
{
    const uint8_t *first = p->panels + (size_t)panel * p->panel_bytes;
    if (n_panels == ROW_PANELS) {
        row_any(ROW_VECS, p, first, x, acc);
        return;
    }
    for (int i = 0; i < n_panels; i++) row_any(PANEL_VECS, p, first + (size_t)i * p->panel_bytes, x, acc + i * PANEL);
}

INLINE void decode_quantised(const int bits, const struct matrix_part *p, const uint8_t *panel, int k0, int n_k, float *w, int stride)
{
    _Alignas(64) float scales[MAX_CHUNK_GROUPS * 2 * PANEL];
    const int groups = bits == 6 ? 2 : 1;
    struct place s = place_at(p, bits, panel, k0);
    const struct place next = place_after(p, bits, panel, k0, n_k, stride / PANEL);
    load_scales(p, s.scales, n_k / MATRIX_STEP * groups, scales);
    for (int t = 0; t < n_k / MATRIX_STEP; t++) {
        const float *scale = scales + t * groups * 2 * PANEL;
        PREFETCH_STEP(p, bits, &next, t, 2);
        UNROLL for (int r = 0; r < MATRIX_STEP; r++, w += stride) {
            UNROLL for (int v = 0; v < PANEL; v += LANES) vec_store(w + v, step_weights(bits, &s, scale, v, r / 4, r % 4));
        }
        s.low += bits == 8 ? 32 * PANEL : 16 * PANEL;
        s.high += bits == 5 ? 4 * PANEL : bits == 6 ? 8 * PANEL : 0;
    }
}

static void simd_decode(const struct matrix_part *p, int panel, int k0, int n_k, float *w, int stride)
{
    const uint8_t *from = p->panels + (size_t)panel * p->panel_bytes;
    if (p->group == 0) {
        for (int k = 0; k < n_k; k++, w += stride) {
            for (int v = 0; v < PANEL; v += LANES) vec_store(w + v, float_weights(p->type, from, (size_t)(k0 + k) * PANEL + (size_t)v));
        }
        return;
    }
    switch (p->bits) {
    case 4: decode_quantised(4, p, from, k0, n_k, w, stride); return;
    case 5: decode_quantised(5, p, from, k0, n_k, w, stride); return;
    case 6: decode_quantised(6, p, from, k0, n_k, w, stride); return;
    default: decode_quantised(8, p, from, k0, n_k, w, stride); return;
    }
}

INLINE void tile_block(const int n_rows, const int n_vecs, int n_k, const float *x, size_t x_stride, const float *w, float *acc)
{
    vec sum[TILE_ROWS][TILE_VECS];
    UNROLL for (int r = 0; r < n_rows; r++) {
        UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_load(acc + (r * n_vecs + v) * LANES);
    }
    for (int k = 0; k < n_k; k++, w += n_vecs * LANES) {
        vec weights[TILE_VECS];
        UNROLL for (int v = 0; v < n_vecs; v++) weights[v] = vec_load(w + v * LANES);
        UNROLL for (int r = 0; r < n_rows; r++) {
            const vec xk = vec_set(x[(size_t)r * x_stride + (size_t)k]);
            UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_fma(xk, weights[v], sum[r][v]);
        }
    }
    UNROLL for (int r = 0; r < n_rows; r++) {
        UNROLL for (int v = 0; v < n_vecs; v++) vec_store(acc + (r * n_vecs + v) * LANES, sum[r][v]);
    }
}

#define TILE_CASE(n)                                                                                                   \
    case n: tile_block(n, n_vecs, n_k, x, x_stride, w, acc); return;

/* At most TILE_ROWS rows. */
INLINE void tile_rows(int n_rows, const int n_vecs, int n_k, const float *x, size_t x_stride, const float *w, float *acc)
{
    switch (n_rows) {
        TILE_CASE(1) TILE_CASE(2) TILE_CASE(3) TILE_CASE(4)
#if TILE_ROWS > 4
        TILE_CASE(5) TILE_CASE(6)
#endif
#if TILE_ROWS > 6
        TILE_CASE(7) TILE_CASE(8) TILE_CASE(9)
#endif
#if TILE_ROWS > 9
        TILE_CASE(10) TILE_CASE(11) TILE_CASE(12)
#endif
    }
}

/* Tiles of nearly equal height: 17 rows of at most 9 are 9 and 8. */
INLINE void tile_any(int n_rows, const int n_vecs, int n_k, const float *x, size_t x_stride, const float *w, float *acc)
{
    for (int n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS; n_tiles > 0; n_tiles--) {
        const int n = (n_rows + n_tiles - 1) / n_tiles;
        tile_rows(n, n_vecs, n_k, x, x_stride, w, acc);
        x += (size_t)n * x_stride;
        acc += n * n_vecs * LANES;
        n_rows -= n;
    }
}

static void simd_tile(int n_rows, int n_panels, int n_k, const float *x, size_t x_stride, const float *w, float *acc)
{
    switch (n_panels) {
    case 1: tile_any(n_rows, PANEL_VECS, n_k, x, x_stride, w, acc); return;
#if TILE_VECS * LANES >= 2 * 16
    case 2: tile_any(n_rows, 2 * PANEL_VECS, n_k, x, x_stride, w, acc); return;
#endif
#if TILE_VECS * LANES >= 3 * 16
    case 3: tile_any(n_rows, 3 * PANEL_VECS, n_k, x, x_stride, w, acc); return;
#endif
    }
}

#endif
