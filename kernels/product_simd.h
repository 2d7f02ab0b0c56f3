/* kernels/product_simd.h: the product's kernel in terms of a vector type; included by one file per instruction set, which
 * defines before it
 *
 *   LANES, vec, ivec            floats of a vector (a divisor of PANEL), vectors of float32 and of uint32
 *   vec_load, vec_store, vec_set, vec_fma, vec_mul
 *   vec_of_ints, vec_of_bytes, vec_of_f16, vec_of_bf16    to float32: an ivec, LANES bytes, LANES halves
 *   ivec_load, ivec_and, ivec_or, ivec_right, ivec_left, ivec_set
 *   TILE_ROWS, TILE_VECS        register block for many rows: TILE_ROWS x TILE_VECS sums (TILE_ROWS is 4, 6 or 9)
 *   WIDE_VECS                   vectors for one or two rows: enough chains to cover the latency of the fused multiply-add
 *
 * Always-inline functions with constant arguments stand for templates: kind, n_vecs and n_rows are constants in each call.  */
#ifndef KERNELS_PRODUCT_SIMD_H
#define KERNELS_PRODUCT_SIMD_H

#include "kernels/exact_math.h"
#include "kernels/product.h"

#if defined(__GNUC__)
#define KEEP_POINTER(p) __asm__("" : "+r"(p))
#else
#define KEEP_POINTER(p) (void)(p)
#endif
#define INLINE static inline __attribute__((always_inline))
#ifndef UNROLL
#define UNROLL _Pragma("GCC unroll 32")
#endif

enum {
    PANEL_VECS = PANEL / LANES,
    TILE_PANELS = TILE_VECS / PANEL_VECS,
    WIDE_PANELS = WIDE_VECS / PANEL_VECS,
    WIDE_ROWS = 2,
    FLOATS = 100,           /* kind of weights: FLOATS + their type, or the bits of u */
    PREFETCH_FLOATS = 2048, /* bytes ahead */
};

/* A panel's place in memory at a step of MATRIX_STEP k's. */
struct place {
    const uint8_t *scales, *low, *high;
};

INLINE struct place place_at(const struct matrix_part *p, const int bits, const uint8_t *panel, int k)
{
    const size_t step = (size_t)(k / MATRIX_STEP), low_bytes = bits == 8 ? 32 * PANEL : 16 * PANEL;
    const size_t high_bytes = bits == 5 ? 4 * PANEL : bits == 6 ? 8 * PANEL : 0;
    return (struct place){ panel + step * p->step_bytes, panel + p->low_at + step * low_bytes,
                           panel + p->high_at + step * high_bytes };
}

/* Where the chunk after n_k k's from k0 begins: the processor's own prefetching does not find it in time. */
INLINE struct place place_after(const struct matrix_part *p, const int bits, const uint8_t *panel, int k0, int n_k,
                                int n_panels)
{
    if (k0 + n_k < p->n_in) return place_at(p, bits, panel, k0 + n_k);
    return place_at(p, bits, panel + (size_t)n_panels * p->panel_bytes, 0);
}

/* Lines of step t of that chunk; addresses past the end do no harm. */
#define PREFETCH_STEP(p, bits, place, t, level)                                                                        \
    do {                                                                                                               \
        const size_t low_lines = (bits) == 8 ? 8 : 4, high_lines = (bits) == 5 ? 1 : (bits) == 6 ? 2 : 0;              \
        UNROLL for (size_t l = 0; l < low_lines; l++)                                                                  \
            __builtin_prefetch((place)->low + ((size_t)(t)*low_lines + l) * 64, 0, level);                             \
        UNROLL for (size_t l = 0; l < high_lines; l++)                                                                 \
            __builtin_prefetch((place)->high + ((size_t)(t)*high_lines + l) * 64, 0, level);                           \
        __builtin_prefetch((place)->scales + (size_t)(t) * (p)->step_bytes, 0, level);                                 \
    } while (0)

/* LANES outputs from lane0 of n groups of a block. */
INLINE void load_scales_k(const uint8_t *block, int n, int lane0, float *out)
{
    const uint16_t *half = (const uint16_t *)(const void *)block + lane0;
    const vec d = vec_of_f16(half), minus_min = vec_mul(vec_of_f16(half + PANEL), vec_set(-1));
    const uint8_t *integers = block + 4 * PANEL + lane0;
    for (int g = 0; g < n; g++, integers += 2 * PANEL, out += 2 * PANEL) {
        vec_store(out + lane0, vec_mul(d, vec_of_bytes(integers)));
        vec_store(out + PANEL + lane0, vec_mul(minus_min, vec_of_bytes(integers + PANEL)));
    }
}

INLINE void load_scales_k6(const uint8_t *block, int n, int lane0, float *out)
{
    const vec d = vec_of_f16((const uint16_t *)(const void *)block + lane0);
    const uint8_t *integers = block + 2 * PANEL + lane0;
    for (int g = 0; g < n; g++, integers += PANEL, out += 2 * PANEL) {
        const vec scale = vec_mul(d, vec_fma(vec_of_bytes(integers), vec_set(1), vec_set(-128)));
        vec_store(out + lane0, scale);
        vec_store(out + PANEL + lane0, vec_mul(scale, vec_set(-32)));
    }
}

/* Scales and minima of n groups as float32, each [n][2][PANEL]; of a K type at most one block's. */
static void load_scales(const struct matrix_part *p, const uint8_t *scales, int n, float *out)
{
    for (int lane0 = 0; lane0 < PANEL && p->scales >= SCALES_K; lane0 += LANES) {
        if (p->scales == SCALES_K)
            load_scales_k(scales, n, lane0, out);
        else
            load_scales_k6(scales, n, lane0, out);
    }
    if (p->scales >= SCALES_K) return;
    const vec offset = vec_set(p->offset);
    for (int g = 0; g < n; g++, out += 2 * PANEL, scales += p->step_bytes) {
        const uint16_t *half = (const uint16_t *)(const void *)scales;
        for (int v = 0; v < PANEL; v += LANES) {
            const vec scale = vec_of_f16(half + v);
            vec_store(out + v, scale);
            vec_store(out + PANEL + v,
                      p->scales == SCALES_MINIMUM ? vec_of_f16(half + PANEL + v) : vec_mul(scale, offset));
        }
    }
}

/* The rows of x by threes: rows r, r + 1, r + 2 are at a base and one or two strides from it, so that few registers address them. */
struct x_rows {
    const float *base[(TILE_ROWS + 2) / 3];
    size_t stride;
};

INLINE struct x_rows x_rows_of(const int n_rows, const float *x, size_t stride)
{
    struct x_rows rows = { .stride = stride };
    UNROLL for (int b = 0; b < (n_rows + 2) / 3; b++) rows.base[b] = x + 3 * (size_t)b * stride;
    return rows;
}

INLINE vec x_at(const struct x_rows *x, int r, int j)
{
    return vec_set(x->base[r / 3][(size_t)(r % 3) * x->stride + (size_t)j]);
}

/* n k's on; the compiler is kept from turning the bases into one pointer for each row. */
INLINE void x_advance(const int n_rows, struct x_rows *x, int n)
{
    UNROLL for (int b = 0; b < (n_rows + 2) / 3; b++)
    {
        x->base[b] += n;
        KEEP_POINTER(x->base[b]);
    }
}

/* What the four k's 4 i .. 4 i + 3 of a step share.  A nibble is not shifted down but left where it is, at bit 4 i, and the scale
 * divided by 16^i (exact: it is an f16, or one times a 6-bit or 8-bit integer): one operation less for every weight.  The last nibble, where
 * the word would turn negative, is shifted. */
struct quarter {
    ivec low_mask, high_mask;
    vec factor;
};

INLINE struct quarter quarter_of(const int bits, const bool top, int i)
{
    const uint32_t high = bits == 5 ? 16 : 48;
    const int at = top ? 0 : 4 * i;
    return (struct quarter){ ivec_set((int)(15u << at)), ivec_set((int)(high << at)),
                             vec_set(exact_f32_of((uint32_t)(127 - at) << 23)) };
}

/* LANES u's of k = 4 i + j, outputs from lane0, times 16^i where not top; as float32. */
INLINE vec unsigned_at(const int bits, const bool top, const struct place *s, const struct quarter *q, int lane0, int i,
                       int j)
{
    if (bits == 8) return vec_of_bytes(s->low + (4 * i + j) * PANEL + lane0);
    ivec word = ivec_load(s->low + 4 * (j * PANEL + lane0));
    word = top ? ivec_right(word, 28) : ivec_and(word, q->low_mask);
    if (bits > 4) {
        const int from = bits == 5 ? j : 2 * (j & 1); /* of the upper bits, less 4 i */
        const ivec high = ivec_load(s->high + 4 * ((bits == 5 ? 0 : j / 2 * PANEL) + lane0));
        word = ivec_or(word, ivec_and(top ? ivec_right(high, 24 + from) : ivec_left(high, 4 - from), q->high_mask));
    }
    return vec_of_ints(word);
}

/* Whether a kernel leaves the weights in w for further rows: not the widest, which has all the rows there are. */
INLINE bool stored(const int n_rows, const int n_vecs)
{
    return !(n_vecs == WIDE_VECS && n_rows <= WIDE_ROWS);
}

/* Four k's: n_vecs vectors of weights each, times n_rows rows. */
INLINE void quarter_multiply(const int bits, const bool top, const int n_rows, const int n_vecs, const struct place *s,
                             const float *const *scales, int i, const struct x_rows *x, float *w,
                             vec sum[TILE_ROWS][WIDE_VECS])
{
    const struct quarter q = quarter_of(bits, top, i);
    vec scale[WIDE_VECS];
    UNROLL for (int v = 0; v < n_vecs; v++)
    {
        scale[v] = vec_load(scales[v / PANEL_VECS] + v % PANEL_VECS * LANES);
        if (bits != 8 && !top) scale[v] = vec_mul(scale[v], q.factor);
    }
    UNROLL for (int j = 0; j < 4; j++)
    {
        vec weights[WIDE_VECS];
        UNROLL for (int v = 0; v < n_vecs; v++)
        {
            const int lane0 = v % PANEL_VECS * LANES;
            const vec u = unsigned_at(bits, top, &s[v / PANEL_VECS], &q, lane0, i, j);
            weights[v] = vec_fma(u, scale[v], vec_load(scales[v / PANEL_VECS] + PANEL + lane0));
            if (stored(n_rows, n_vecs)) vec_store(w + (j * n_vecs + v) * LANES, weights[v]);
        }
        UNROLL for (int r = 0; r < n_rows; r++)
        {
            const vec xk = x_at(x, r, j);
            UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_fma(xk, weights[v], sum[r][v]);
        }
    }
}

/* n_k k's from k0 of n_vecs / PANEL_VECS panels of u's times n_rows rows. */
INLINE void fused_block(const int bits, const int n_rows, const int n_vecs, const struct matrix_part *p,
                        const uint8_t *panel, int k0, int n_k, const float *x, size_t x_stride, float *w, float *acc,
                        size_t acc_stride)
{
    enum { MAX_GROUPS = PRODUCT_CHUNK / 16 };
    _Alignas(64) float scales[WIDE_VECS][MAX_GROUPS * 2 * PANEL];
    const int n_panels = n_vecs / PANEL_VECS, groups = bits == 6 ? 2 : 1; /* groups of a step */
    struct place s[WIDE_VECS], next[WIDE_VECS];
    UNROLL for (int i = 0; i < n_panels; i++)
    {
        s[i] = place_at(p, bits, panel + (size_t)i * p->panel_bytes, k0);
        next[i] = place_after(p, bits, panel + (size_t)i * p->panel_bytes, k0, n_k, n_panels);
        load_scales(p, s[i].scales, n_k / MATRIX_STEP * groups, scales[i]);
    }
    struct x_rows rows = x_rows_of(n_rows, x, x_stride);
    vec sum[TILE_ROWS][WIDE_VECS];
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_load(acc + (size_t)r * acc_stride + v * LANES);
    }
    for (int t = 0; t < n_k / MATRIX_STEP; t++) {
        UNROLL for (int i = 0; i < n_panels; i++)
        {
            if (n_rows <= WIDE_ROWS)
                PREFETCH_STEP(p, bits, &next[i], t, 3);
            else
                PREFETCH_STEP(p, bits, &next[i], t, 2);
        }
        const float *scale[WIDE_VECS];
        for (int i = 0; i < (bits == 8 ? 8 : 7); i++) {
            UNROLL for (int v = 0; v < n_panels; v++) scale[v] =
                scales[v] + (t * groups + (bits == 6 ? i / 4 : 0)) * 2 * PANEL;
            quarter_multiply(bits, false, n_rows, n_vecs, s, scale, i, &rows, w, sum);
            x_advance(n_rows, &rows, 4);
            w += 4 * n_vecs * LANES;
        }
        if (bits != 8) {
            UNROLL for (int v = 0; v < n_panels; v++) scale[v] = scales[v] + (t * groups + groups - 1) * 2 * PANEL;
            quarter_multiply(bits, true, n_rows, n_vecs, s, scale, 7, &rows, w, sum);
            x_advance(n_rows, &rows, 4);
            w += 4 * n_vecs * LANES;
        }
        UNROLL for (int i = 0; i < n_panels; i++)
        {
            s[i].low += bits == 8 ? 32 * PANEL : 16 * PANEL;
            s[i].high += bits == 5 ? 4 * PANEL : bits == 6 ? 8 * PANEL : 0;
        }
    }
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int v = 0; v < n_vecs; v++) vec_store(acc + (size_t)r * acc_stride + v * LANES, sum[r][v]);
    }
}

/* LANES weights of a panel of floats from element `at`. */
INLINE vec float_weights(enum tensor_type type, const uint8_t *panel, size_t at)
{
    if (type == TENSOR_F32) return vec_load((const float *)(const void *)panel + at);
    const uint16_t *half = (const uint16_t *)(const void *)panel + at;
    return type == TENSOR_F16 ? vec_of_f16(half) : vec_of_bf16(half);
}

INLINE void fused_floats(const enum tensor_type type, const int n_rows, const int n_vecs, const struct matrix_part *p,
                         const uint8_t *panel, int k0, int n_k, const float *x, size_t x_stride, float *w, float *acc,
                         size_t acc_stride)
{
    const size_t bytes = type == TENSOR_F32 ? 4 * PANEL : 2 * PANEL;
    struct x_rows rows = x_rows_of(n_rows, x, x_stride);
    vec sum[TILE_ROWS][WIDE_VECS];
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_load(acc + (size_t)r * acc_stride + v * LANES);
    }
    panel += (size_t)k0 * bytes;
    for (int k = 0; k < n_k; k++, panel += bytes) {
        vec weights[WIDE_VECS];
        UNROLL for (int v = 0; v < n_vecs; v++)
        {
            const uint8_t *mine = panel + (size_t)(v / PANEL_VECS) * p->panel_bytes;
            if (v % PANEL_VECS == 0) __builtin_prefetch(mine + PREFETCH_FLOATS, 0, 3);
            weights[v] = float_weights(type, mine, (size_t)(v % PANEL_VECS * LANES));
            if (stored(n_rows, n_vecs)) vec_store(w + (k * n_vecs + v) * LANES, weights[v]);
        }
        UNROLL for (int r = 0; r < n_rows; r++)
        {
            const vec xk = x_at(&rows, r, 0);
            UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_fma(xk, weights[v], sum[r][v]);
        }
        x_advance(n_rows, &rows, 1);
    }
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int v = 0; v < n_vecs; v++) vec_store(acc + (size_t)r * acc_stride + v * LANES, sum[r][v]);
    }
}

INLINE void tile_block(const int n_rows, const int n_vecs, int n_k, const float *x, size_t x_stride, const float *w,
                       float *acc, size_t acc_stride)
{
    struct x_rows rows = x_rows_of(n_rows, x, x_stride);
    vec sum[TILE_ROWS][WIDE_VECS];
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_load(acc + (size_t)r * acc_stride + v * LANES);
    }
    for (int k = 0; k < n_k; k++, w += n_vecs * LANES) {
        vec weights[WIDE_VECS];
        UNROLL for (int v = 0; v < n_vecs; v++) weights[v] = vec_load(w + v * LANES);
        UNROLL for (int r = 0; r < n_rows; r++)
        {
            const vec xk = x_at(&rows, r, 0);
            UNROLL for (int v = 0; v < n_vecs; v++) sum[r][v] = vec_fma(xk, weights[v], sum[r][v]);
        }
        x_advance(n_rows, &rows, 1);
    }
    UNROLL for (int r = 0; r < n_rows; r++)
    {
        UNROLL for (int v = 0; v < n_vecs; v++) vec_store(acc + (size_t)r * acc_stride + v * LANES, sum[r][v]);
    }
}

/* Rows of a tile, constant to the compiler. */
#define CASES_4(X) X(1) X(2) X(3) X(4)
#define CASES_6(X) CASES_4(X) X(5) X(6)
#define CASES_9(X) CASES_6(X) X(7) X(8) X(9)
#define CASES_OF(n) CASES_##n
#define CASES(n) CASES_OF(n)

#define FUSED_PARAMETERS                                                                                               \
    const struct matrix_part *p, const uint8_t *panel, int k0, int n_k, const float *x, size_t x_stride, float *w,     \
        float *acc, size_t acc_stride
#define FUSED_ARGUMENTS p, panel, k0, n_k, x, x_stride, w, acc, acc_stride

INLINE void fused(const int kind, const int n_rows, const int n_vecs, FUSED_PARAMETERS)
{
    if (kind >= FLOATS)
        fused_floats((enum tensor_type)(kind - FLOATS), n_rows, n_vecs, FUSED_ARGUMENTS);
    else
        fused_block(kind, n_rows, n_vecs, FUSED_ARGUMENTS);
}

/* n_rows <= TILE_ROWS of TILE_PANELS; or <= WIDE_ROWS of WIDE_PANELS; or 1 row of one panel. */
INLINE void fused_rows(const int kind, int n_rows, int n_panels, FUSED_PARAMETERS)
{
#define FUSED_CASE(n)                                                                                                  \
    case n:                                                                                                            \
        fused(kind, n, TILE_VECS, FUSED_ARGUMENTS);                                                                    \
        return;
    if (n_panels == TILE_PANELS) {
        switch (n_rows) {
            CASES(TILE_ROWS)(FUSED_CASE)
        }
    } else if (n_panels == WIDE_PANELS) {
        if (n_rows == 1)
            fused(kind, 1, WIDE_VECS, FUSED_ARGUMENTS);
        else
            fused(kind, 2, WIDE_VECS, FUSED_ARGUMENTS);
    } else {
        fused(kind, 1, PANEL_VECS, FUSED_ARGUMENTS);
    }
}

#define FUSED_KERNEL(name, kind)                                                                                       \
    static void name(int n_rows, int n_panels, FUSED_PARAMETERS)                                                       \
    {                                                                                                                  \
        fused_rows(kind, n_rows, n_panels, FUSED_ARGUMENTS);                                                           \
    }
FUSED_KERNEL(fused_4_bits, 4)
FUSED_KERNEL(fused_5_bits, 5)
FUSED_KERNEL(fused_6_bits, 6)
FUSED_KERNEL(fused_8_bits, 8)
FUSED_KERNEL(fused_f32, FLOATS + TENSOR_F32)
FUSED_KERNEL(fused_f16, FLOATS + TENSOR_F16)
FUSED_KERNEL(fused_bf16, FLOATS + TENSOR_BF16)

static void (*const fused_kernels[N_TENSOR_TYPES])(int n_rows, int n_panels, FUSED_PARAMETERS) = {
    [TENSOR_F32] = fused_f32,     [TENSOR_F16] = fused_f16,     [TENSOR_BF16] = fused_bf16,
    [TENSOR_Q4_0] = fused_4_bits, [TENSOR_Q4_1] = fused_4_bits, [TENSOR_Q5_0] = fused_5_bits,
    [TENSOR_Q5_1] = fused_5_bits, [TENSOR_Q8_0] = fused_8_bits, [TENSOR_Q4_K] = fused_4_bits,
    [TENSOR_Q5_K] = fused_5_bits, [TENSOR_Q6_K] = fused_6_bits,
};

INLINE void tile_rows(int n_rows, const int n_vecs, int n_k, const float *x, size_t x_stride, const float *w,
                      float *acc, size_t acc_stride)
{
#define TILE_CASE(n)                                                                                                   \
    case n:                                                                                                            \
        tile_block(n, n_vecs, n_k, x, x_stride, w, acc, acc_stride);                                                   \
        return;
    switch (n_rows) {
        CASES(TILE_ROWS)(TILE_CASE)
    }
}

/* Tiles of nearly equal height, 17 rows of at most 9 are 9 and 8: the first decodes the weights into w. */
static void simd_multiply(const struct matrix_part *p, int panel, int n_panels, int k0, int n_k, int n_rows,
                          const float *x, size_t x_stride, float *w, float *acc, size_t acc_stride)
{
    const int wide = n_rows <= WIDE_ROWS ? WIDE_PANELS : TILE_PANELS;
    while (n_panels > 0) {
        const int now = n_panels >= wide ? wide : n_panels >= TILE_PANELS ? TILE_PANELS : 1;
        const uint8_t *bytes = p->panels + (size_t)panel * p->panel_bytes;
        int n_tiles = (n_rows + TILE_ROWS - 1) / TILE_ROWS;
        int r = now >= TILE_PANELS ? (n_rows + n_tiles - 1) / n_tiles : 1;
        fused_kernels[p->type](r, now, p, bytes, k0, n_k, x, x_stride, w, acc, acc_stride);
        for (n_tiles = (n_rows - r + TILE_ROWS - 1) / TILE_ROWS; n_tiles > 0; n_tiles--) {
            const int n = (n_rows - r + n_tiles - 1) / n_tiles;
            if (now == TILE_PANELS)
                tile_rows(n, TILE_VECS, n_k, x + (size_t)r * x_stride, x_stride, w, acc + (size_t)r * acc_stride,
                          acc_stride);
            else
                tile_rows(n, PANEL_VECS, n_k, x + (size_t)r * x_stride, x_stride, w, acc + (size_t)r * acc_stride,
                          acc_stride);
            r += n;
        }
        n_panels -= now;
        panel += now;
        acc += now * PANEL;
    }
}

static int simd_panels(int n_rows)
{
    return n_rows <= WIDE_ROWS ? WIDE_PANELS : TILE_PANELS;
}

#endif
