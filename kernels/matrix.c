#include "kernels/matrix.h"

#include "core/err.h"
#include "core/mem.h"
#include "kernels/cpu.h"

#include <math.h>
#include <omp.h>
#include <string.h>

/* Scales of 256 k's. */
enum { K_BYTES = (4 + 8 * 2) * PANEL, K6_BYTES = (2 + 16) * PANEL };

static size_t align64(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static enum matrix_scales scales_of(enum tensor_type type, float *offset)
{
    switch (type) {
    case TENSOR_Q4_0:
        *offset = -8;
        return SCALES_SYMMETRIC;
    case TENSOR_Q5_0:
        *offset = -16;
        return SCALES_SYMMETRIC;
    case TENSOR_Q8_0:
        *offset = -128;
        return SCALES_SYMMETRIC;
    case TENSOR_Q4_1:
    case TENSOR_Q5_1:
        return SCALES_MINIMUM;
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        return SCALES_K;
    case TENSOR_Q6_K:
        *offset = -32;
        return SCALES_K6;
    default:
        return SCALES_NONE;
    }
}

/* Bytes of scales for MATRIX_STEP k's. */
static size_t step_bytes(enum matrix_scales scales)
{
    static const size_t bytes[] = { [SCALES_SYMMETRIC] = 2 * PANEL,
                                    [SCALES_MINIMUM] = 4 * PANEL,
                                    [SCALES_K] = K_BYTES / 8,
                                    [SCALES_K6] = K6_BYTES / 8 };
    return bytes[scales];
}

/* Everything of a part but its place in y and in memory. */
static void part_lay_out(struct matrix_part *p, const struct tensor *t)
{
    const struct tensor_format *f = tensor_format(t->type);
    const size_t n_in = (size_t)t->n_cols;
    *p = (struct matrix_part){
        .type = t->type == TENSOR_SEED ? TENSOR_F32 : t->type, .n_in = t->n_cols, .n_out = t->n_rows, .bits = f->bits, .group = f->group
    };
    p->scales = scales_of(t->type, &p->offset);
    p->step_bytes = step_bytes(p->scales);
    p->n_panels = t->n_rows / PANEL + (t->n_rows % PANEL != 0);
    const int low_bits = f->bits == 5 || f->bits == 6 ? 4 : f->bits;
    p->low_at = align64(n_in / MATRIX_STEP * p->step_bytes);
    p->high_at = align64(p->low_at + n_in * (size_t)low_bits / 8 * PANEL);
    p->panel_bytes = align64(p->high_at + n_in * (size_t)(f->bits - low_bits) / 8 * PANEL);
}

size_t cpu_matrix_bytes(const struct tensor *const *parts, int n_parts)
{
    size_t bytes = sizeof(struct matrix);
    for (int i = 0; i < n_parts; i++) {
        struct matrix_part p;
        part_lay_out(&p, parts[i]);
        bytes += (size_t)p.n_panels * p.panel_bytes;
    }
    return bytes;
}

static void put_half(uint8_t *to, uint16_t half)
{
    memcpy(to, &half, 2);
}

/* PANEL rows as tensor_row_parts() gives them; rows past the end are zero. */
struct panel_rows {
    uint8_t *u;             /* [PANEL][n_in] */
    float *scale, *minimum; /* [PANEL][groups] */
};

static void pack_scales(const struct matrix_part *p, const struct panel_rows *rows, uint8_t *panel)
{
    const int groups = p->n_in / p->group;
    for (int g = 0; g < groups; g++, panel += p->step_bytes) {
        for (int o = 0; o < PANEL; o++) {
            put_half(panel + 2 * o, f32_to_f16(rows->scale[o * groups + g]));
            if (p->scales == SCALES_MINIMUM)
                put_half(panel + 2 * (PANEL + o), f32_to_f16(rows->minimum[o * groups + g]));
        }
    }
}

/* Scales of lane o from a row of Q4_K or Q5_K blocks: d, d_min, then eight 6-bit scales and minima in 12 bytes. */
static void pack_scales_k(const uint8_t *row, int n_blocks, int block_bytes, int o, uint8_t *panel)
{
    for (int i = 0; i < n_blocks; i++, row += block_bytes, panel += K_BYTES) {
        const uint8_t *s = row + 4;
        uint8_t *to = panel + 4 * PANEL + o;
        memcpy(panel + 2 * o, row, 2);
        memcpy(panel + 2 * (PANEL + o), row + 2, 2);
        for (int j = 0; j < 4; j++) {
            to[2 * j * PANEL] = s[j] & 63;
            to[(2 * j + 1) * PANEL] = s[j + 4] & 63;
            to[(2 * j + 8) * PANEL] = (uint8_t)((s[j + 8] & 15) | s[j] >> 6 << 4);
            to[(2 * j + 9) * PANEL] = (uint8_t)(s[j + 8] >> 4 | s[j + 4] >> 6 << 4);
        }
    }
}

/* The same of Q6_K blocks: sixteen int8 scales at 192, d at 208. */
static void pack_scales_k6(const uint8_t *row, int n_blocks, int block_bytes, int o, uint8_t *panel)
{
    for (int i = 0; i < n_blocks; i++, row += block_bytes, panel += K6_BYTES) {
        memcpy(panel + 2 * o, row + 208, 2);
        for (int j = 0; j < 16; j++)
            panel[2 * PANEL + j * PANEL + o] = row[192 + j] ^ 128; /* two's complement plus 128 */
    }
}

static uint32_t low_word(const uint8_t *u, int j)
{
    uint32_t word = 0;
    for (int i = 0; i < 8; i++) word |= (uint32_t)(u[4 * i + j] & 15) << (4 * i);
    return word;
}

/* Word j of the upper bits of 32 weights: 1 bit of all of them, or 2 bits of those with k % 4 = 2 j or 2 j + 1. */
static uint32_t high_word(const uint8_t *u, int bits, int j)
{
    uint32_t word = 0;
    for (int k = 0; k < MATRIX_STEP; k++) {
        if (bits == 5)
            word |= (uint32_t)(u[k] >> 4) << k;
        else if (k % 4 / 2 == j)
            word |= (uint32_t)(u[k] >> 4) << (k / 4 * 4 + k % 2 * 2);
    }
    return word;
}

static void pack_words(const struct matrix_part *p, const struct panel_rows *rows, uint8_t *panel)
{
    uint8_t *low = panel + p->low_at, *high = panel + p->high_at;
    for (int k = 0; k < p->n_in; k += MATRIX_STEP) {
        for (int j = 0; j < 4; j++, low += 4 * PANEL) {
            for (int o = 0; o < PANEL; o++) {
                const uint32_t word = low_word(rows->u + (size_t)o * (size_t)p->n_in + k, j);
                memcpy(low + 4 * o, &word, 4);
            }
        }
        for (int j = 0; j < p->bits - 4; j++, high += 4 * PANEL) {
            for (int o = 0; o < PANEL; o++) {
                const uint32_t word = high_word(rows->u + (size_t)o * (size_t)p->n_in + k, p->bits, j);
                memcpy(high + 4 * o, &word, 4);
            }
        }
    }
}

/* Elements of `size` bytes from [PANEL][n_in], row o at rows + o * stride, to [n_in][PANEL]. */
static void pack_elements(const uint8_t *rows, size_t stride, int n_out, int n_in, size_t size, uint8_t *to)
{
    for (int k = 0; k < n_in; k++) {
        for (int o = 0; o < n_out; o++)
            memcpy(to + ((size_t)k * PANEL + (size_t)o) * size, rows + (size_t)o * stride + (size_t)k * size, size);
    }
}

static void pack_panel(const struct matrix_part *p, const struct tensor *t, int panel, const struct panel_rows *rows)
{
    uint8_t *to = p->panels + (size_t)panel * p->panel_bytes;
    const int first = panel * PANEL, n_out = t->n_rows - first < PANEL ? t->n_rows - first : PANEL;
    if (t->type == TENSOR_SEED) {
        float *row = (float *)(void *)rows->u; /* PANEL bytes for each k */
        for (int o = 0; o < n_out; o++) {
            tensor_row(t, first + o, row);
            for (int k = 0; k < p->n_in; k++) memcpy(to + ((size_t)k * PANEL + (size_t)o) * sizeof *row, row + k, sizeof *row);
        }
        return;
    }
    if (p->group == 0) {
        const size_t stride = tensor_row_bytes(t);
        pack_elements(t->data + (size_t)first * stride, stride, n_out, p->n_in, (size_t)p->bits / 8, to);
        return;
    }
    const size_t n_in = (size_t)p->n_in, groups = n_in / (size_t)p->group;
    for (size_t o = 0; o < PANEL; o++) {
        if (o < (size_t)n_out) {
            tensor_row_parts(t, first + (int)o, rows->u + o * n_in, rows->scale + o * groups,
                             rows->minimum + o * groups);
        } else {
            memset(rows->u + o * n_in, 0, n_in);
            memset(rows->scale + o * groups, 0, groups * sizeof(float));
            memset(rows->minimum + o * groups, 0, groups * sizeof(float));
        }
    }
    const int n_blocks = p->n_in / 256, block_bytes = tensor_format(t->type)->block_bytes;
    for (int o = 0; o < n_out && p->scales >= SCALES_K; o++) {
        const uint8_t *row = t->data + (size_t)(first + o) * tensor_row_bytes(t);
        (p->scales == SCALES_K ? pack_scales_k : pack_scales_k6)(row, n_blocks, block_bytes, o, to);
    }
    if (p->scales < SCALES_K) pack_scales(p, rows, to);
    if (p->bits == 8)
        pack_elements(rows->u, n_in, PANEL, p->n_in, 1, to + p->low_at);
    else
        pack_words(p, rows, to);
}

/* scratch: what panel_rows needs, for each thread. */
static void part_pack(const struct matrix_part *p, const struct tensor *t, uint8_t *scratch, size_t slice,
                      int n_threads)
{
    const size_t n_in = (size_t)p->n_in;
#pragma omp parallel for num_threads(n_threads) schedule(static)
    for (int panel = 0; panel < p->n_panels; panel++) {
        uint8_t *mine = scratch + (size_t)omp_get_thread_num() * slice;
        struct panel_rows rows = { .u = mine };
        if (p->group > 0) {
            rows.scale = (float *)(void *)(mine + align64(PANEL * n_in));
            rows.minimum = rows.scale + PANEL * n_in / (size_t)p->group;
        }
        pack_panel(p, t, panel, &rows);
    }
}

static int parts_check(const struct tensor *const *parts, int n_parts)
{
    if (n_parts < 1 || n_parts > MAX_MATRIX_PARTS)
        return fail("matrix: %d parts, allowed are 1 to %d", n_parts, MAX_MATRIX_PARTS);
    for (int i = 0; i < n_parts; i++) {
        const struct tensor *t = parts[i];
        const struct tensor_format *f = tensor_format(t->type);
        if (t->n_rows < 1 || t->n_cols < 1 || t->n_cols % f->block != 0)
            return fail("matrix: a part of type %s is %d x %d: columns come in blocks of %d", f->name, t->n_rows,
                        t->n_cols, f->block);
        if (t->n_cols != parts[0]->n_cols)
            return fail("matrix: parts of %d and %d columns", parts[0]->n_cols, t->n_cols);
    }
    return 0;
}

int cpu_matrix_pack(struct device *d, struct matrix **out, const struct tensor *const *parts, int n_parts)
{
    *out = NULL;
    TRY(parts_check(parts, n_parts), "pack");
    struct matrix *m;
    TRY(MEM_NEW(&m, 1, "matrix"), "pack");
    m->n_parts = n_parts;
    m->n_in = parts[0]->n_cols;
    /* u and, at the smallest group of 16, scale and minimum */
    const size_t slice = align64((size_t)m->n_in * PANEL) + align64((size_t)m->n_in * PANEL * 2 * sizeof(float) / 16);
    uint8_t *scratch = NULL;
    if (MEM_NEW(&m->block, cpu_matrix_bytes(parts, n_parts) - sizeof *m, "packed weights") != 0 ||
        MEM_NEW(&scratch, slice * (size_t)d->n_threads, "packing") != 0) {
        cpu_matrix_free(d, m);
        return -1;
    }
    uint8_t *at = m->block;
    for (int i = 0; i < n_parts; i++) {
        struct matrix_part *p = &m->parts[i];
        part_lay_out(p, parts[i]);
        p->panels = at;
        p->first_out = m->n_out;
        at += (size_t)p->n_panels * p->panel_bytes;
        m->n_out += p->n_out;
        m->n_panels += p->n_panels;
        part_pack(p, parts[i], scratch, slice, d->n_threads);
    }
    mem_free(scratch);
    *out = m;
    return 0;
}

void cpu_matrix_free(struct device *d, struct matrix *m)
{
    (void)d;
    if (!m) return;
    mem_free(m->block);
    mem_free(m);
}

static uint32_t word_at(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
}

static uint16_t half_at(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, 2);
    return half;
}

static float float_at(const uint8_t *p)
{
    float x;
    memcpy(&x, p, 4);
    return x;
}

/* Of lane o at k. */
static void scale_at(const struct matrix_part *p, const uint8_t *panel, int k, int o, float *scale, float *minimum)
{
    const uint8_t *at = panel + (size_t)(p->scales >= SCALES_K ? k / 256 * 8 : k / MATRIX_STEP) * p->step_bytes;
    const float d = f16_to_f32(half_at(at + 2 * o));
    const int group = k % 256 / p->group;
    *scale = d;
    if (p->scales == SCALES_K) *scale = d * (float)at[4 * PANEL + 2 * group * PANEL + o];
    if (p->scales == SCALES_K6) *scale = d * (float)(at[2 * PANEL + group * PANEL + o] - 128);
    *minimum = p->offset * *scale;
    if (p->scales == SCALES_MINIMUM) *minimum = f16_to_f32(half_at(at + 2 * (PANEL + o)));
    if (p->scales == SCALES_K)
        *minimum = -(f16_to_f32(half_at(at + 2 * (PANEL + o))) * (float)at[4 * PANEL + (2 * group + 1) * PANEL + o]);
}

static uint32_t unsigned_at(const struct matrix_part *p, const uint8_t *panel, int k, int o)
{
    const uint8_t *low = panel + p->low_at, *high = panel + p->high_at;
    if (p->bits == 8) return low[(size_t)k * PANEL + (size_t)o];
    const size_t step = (size_t)(k / MATRIX_STEP);
    const int r = k % MATRIX_STEP, i = r / 4, j = r % 4;
    const uint32_t u = word_at(low + 4 * ((4 * step + (size_t)j) * PANEL + (size_t)o)) >> (4 * i) & 15;
    if (p->bits == 5) return u | (word_at(high + 4 * (step * PANEL + (size_t)o)) >> r & 1) << 4;
    if (p->bits == 6)
        return u | (word_at(high + 4 * ((2 * step + (size_t)(j / 2)) * PANEL + (size_t)o)) >> (4 * i + 2 * (j & 1)) & 3)
                       << 4;
    return u;
}

void matrix_row(const struct matrix *m, int out, float *w)
{
    const struct matrix_part *p = m->parts;
    while (out >= p->first_out + p->n_out) p++;
    const int row = out - p->first_out, o = row % PANEL;
    const uint8_t *panel = p->panels + (size_t)(row / PANEL) * p->panel_bytes;
    float scale = 0, minimum = 0;
    for (int k = 0; k < p->n_in; k++) {
        const size_t element = (size_t)k * PANEL + (size_t)o;
        if (p->group > 0 && k % p->group == 0) scale_at(p, panel, k, o, &scale, &minimum);
        if (p->bits == 32)
            w[k] = float_at(panel + 4 * element);
        else if (p->bits == 16)
            w[k] = p->type == TENSOR_F16 ? f16_to_f32(half_at(panel + 2 * element))
                                         : bf16_to_f32(half_at(panel + 2 * element));
        else
            w[k] = fmaf((float)unsigned_at(p, panel, k, o), scale, minimum);
    }
}
