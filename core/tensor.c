#include "core/tensor.h"

#include "core/bytes.h"
#include "core/philox.h"

#include <math.h>
#include <string.h>

static const struct tensor_format formats[N_TENSOR_TYPES] = {
    [TENSOR_F32] = { "F32", 32, 0, 1, 4 },       [TENSOR_F16] = { "F16", 16, 0, 1, 2 },
    [TENSOR_BF16] = { "BF16", 16, 0, 1, 2 },     [TENSOR_Q4_0] = { "Q4_0", 4, 32, 32, 18 },
    [TENSOR_Q4_1] = { "Q4_1", 4, 32, 32, 20 },   [TENSOR_Q5_0] = { "Q5_0", 5, 32, 32, 22 },
    [TENSOR_Q5_1] = { "Q5_1", 5, 32, 32, 24 },   [TENSOR_Q8_0] = { "Q8_0", 8, 32, 32, 34 },
    [TENSOR_Q4_K] = { "Q4_K", 4, 32, 256, 144 }, [TENSOR_Q5_K] = { "Q5_K", 5, 32, 256, 176 },
    [TENSOR_Q6_K] = { "Q6_K", 6, 16, 256, 210 }, [TENSOR_SEED] = { "seeded F32", 32, 0, 1, 4 },
};

const struct tensor_format *tensor_format(enum tensor_type type)
{
    return &formats[type];
}

size_t tensor_row_bytes(const struct tensor *t)
{
    const struct tensor_format *f = &formats[t->type];
    return (size_t)(t->n_cols / f->block) * (size_t)f->block_bytes;
}

static float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 1023;
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24, exact in float32 */
        const float x = (float)fraction * 0x1p-24f;
        return sign ? -x : x;
    }
    if (exponent == 31) /* infinity, or a NaN made quiet as the hardware's conversion does */
        return float_of_bits(sign | 0x7f800000u | fraction << 13 | (fraction ? 0x400000u : 0));
    return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

uint16_t f32_to_f16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7e00 | (size >> 13 & 0x3ff));
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65520 and above round to infinity */
    if (size < 0x38800000)                                    /* below 2^-14 the result is a multiple of 2^-24 */
        return (uint16_t)(sign | (uint32_t)lrintf(fabsf(x) * 0x1p24f));
    const uint32_t even = size >> 13 & 1;
    return (uint16_t)(sign | ((size - 0x38000000 + 0xfff + even) >> 13));
}

float bf16_to_f32(uint16_t h)
{
    return float_of_bits((uint32_t)h << 16);
}

/* One packed block as u, scales and minima. */
struct parts {
    uint8_t *u;
    float *scale, *minimum;
};

static void unpack_nibbles(const uint8_t *qs, uint8_t *u)
{
    for (int j = 0; j < 16; j++) {
        u[j] = qs[j] & 15;
        u[j + 16] = qs[j] >> 4;
    }
}

static void add_fifth_bits(const uint8_t *qh, uint8_t *u)
{
    const uint32_t high = read_u32(qh);
    for (int j = 0; j < 32; j++) u[j] = (uint8_t)(u[j] | (high >> j & 1) << 4);
}

static void parts_q4_0(const uint8_t *b, struct parts p)
{
    *p.scale = f16_to_f32(read_u16(b));
    *p.minimum = -8 * *p.scale;
    unpack_nibbles(b + 2, p.u);
}

static void parts_q4_1(const uint8_t *b, struct parts p)
{
    *p.scale = f16_to_f32(read_u16(b));
    *p.minimum = f16_to_f32(read_u16(b + 2));
    unpack_nibbles(b + 4, p.u);
}

static void parts_q5_0(const uint8_t *b, struct parts p)
{
    *p.scale = f16_to_f32(read_u16(b));
    *p.minimum = -16 * *p.scale;
    unpack_nibbles(b + 6, p.u);
    add_fifth_bits(b + 2, p.u);
}

static void parts_q5_1(const uint8_t *b, struct parts p)
{
    *p.scale = f16_to_f32(read_u16(b));
    *p.minimum = f16_to_f32(read_u16(b + 2));
    unpack_nibbles(b + 8, p.u);
    add_fifth_bits(b + 4, p.u);
}

static void parts_q8_0(const uint8_t *b, struct parts p)
{
    *p.scale = f16_to_f32(read_u16(b));
    *p.minimum = -128 * *p.scale;
    for (int j = 0; j < 32; j++) p.u[j] = b[2 + j] ^ 128; /* two's complement plus 128 */
}

/* The eight 6-bit scales and minima of a Q4_K or Q5_K block, times d and dmin. */
static void scales_k(const uint8_t *b, float *scale, float *minimum)
{
    const float d = f16_to_f32(read_u16(b)), d_min = f16_to_f32(read_u16(b + 2));
    const uint8_t *s = b + 4;
    for (int j = 0; j < 4; j++) {
        scale[j] = d * (float)(s[j] & 63);
        minimum[j] = -(d_min * (float)(s[j + 4] & 63));
        scale[j + 4] = d * (float)((s[j + 8] & 15) | s[j] >> 6 << 4);
        minimum[j + 4] = -(d_min * (float)(s[j + 8] >> 4 | s[j + 4] >> 6 << 4));
    }
}

static void parts_q4_k(const uint8_t *b, struct parts p)
{
    scales_k(b, p.scale, p.minimum);
    for (int i = 0; i < 4; i++) {
        for (int l = 0; l < 32; l++) {
            const uint8_t q = b[16 + 32 * i + l];
            p.u[64 * i + l] = q & 15;
            p.u[64 * i + 32 + l] = q >> 4;
        }
    }
}

static void parts_q5_k(const uint8_t *b, struct parts p)
{
    scales_k(b, p.scale, p.minimum);
    const uint8_t *qh = b + 16, *qs = b + 48;
    for (int i = 0; i < 4; i++) {
        for (int l = 0; l < 32; l++) {
            const uint8_t q = qs[32 * i + l];
            p.u[64 * i + l] = (uint8_t)((q & 15) | (qh[l] >> (2 * i) & 1) << 4);
            p.u[64 * i + 32 + l] = (uint8_t)(q >> 4 | (qh[l] >> (2 * i + 1) & 1) << 4);
        }
    }
}

static void parts_q6_k(const uint8_t *b, struct parts p)
{
    const float d = f16_to_f32(read_u16(b + 208));
    for (int j = 0; j < 16; j++) {
        p.scale[j] = d * (float)(int8_t)b[192 + j];
        p.minimum[j] = -32 * p.scale[j];
    }
    for (int half = 0; half < 2; half++) {
        const uint8_t *ql = b + 64 * half, *qh = b + 128 + 32 * half;
        uint8_t *u = p.u + 128 * half;
        for (int l = 0; l < 32; l++) {
            u[l] = (uint8_t)((ql[l] & 15) | (qh[l] & 3) << 4);
            u[l + 32] = (uint8_t)((ql[l + 32] & 15) | (qh[l] >> 2 & 3) << 4);
            u[l + 64] = (uint8_t)(ql[l] >> 4 | (qh[l] >> 4 & 3) << 4);
            u[l + 96] = (uint8_t)(ql[l + 32] >> 4 | qh[l] >> 6 << 4);
        }
    }
}

static void (*const parts_of[N_TENSOR_TYPES])(const uint8_t *, struct parts) = {
    [TENSOR_Q4_0] = parts_q4_0, [TENSOR_Q4_1] = parts_q4_1, [TENSOR_Q5_0] = parts_q5_0, [TENSOR_Q5_1] = parts_q5_1,
    [TENSOR_Q8_0] = parts_q8_0, [TENSOR_Q4_K] = parts_q4_k, [TENSOR_Q5_K] = parts_q5_k, [TENSOR_Q6_K] = parts_q6_k,
};

void tensor_row_parts(const struct tensor *t, int row, uint8_t *u, float *scale, float *minimum)
{
    const struct tensor_format *f = &formats[t->type];
    const uint8_t *b = t->data + (size_t)row * tensor_row_bytes(t);
    for (int c = 0; c < t->n_cols; c += f->block, b += f->block_bytes)
        parts_of[t->type](b, (struct parts){ u + c, scale + c / f->group, minimum + c / f->group });
}

static void row_of_floats(const struct tensor *t, const uint8_t *b, float *out)
{
    for (int c = 0; c < t->n_cols; c++) {
        if (t->type == TENSOR_F32)
            out[c] = read_f32(b + 4 * (size_t)c);
        else if (t->type == TENSOR_F16)
            out[c] = f16_to_f32(read_u16(b + 2 * (size_t)c));
        else
            out[c] = bf16_to_f32(read_u16(b + 2 * (size_t)c));
    }
}

static void row_of_seed(const struct tensor *t, int row, float *out)
{
    struct tensor_seed s;
    memcpy(&s, t->data, sizeof s); /* bytes, at any address */
    const uint64_t first = (uint64_t)row * (uint64_t)t->n_cols;
    uint32_t key[2], words[4];
    philox_key(s.seed, key);
    for (int c = 0; c < t->n_cols; c++) {
        const uint64_t i = first + (uint64_t)c, block = i / 4;
        if (c == 0 || i % 4 == 0) philox4x32((uint32_t[4]){ (uint32_t)block, (uint32_t)(block >> 32), s.number, PHILOX_WEIGHTS }, key, words);
        out[c] = s.size * philox_signed_f32(words[i % 4]);
    }
}

void tensor_row(const struct tensor *t, int row, float *out)
{
    enum { MAX_BLOCK = 256, MAX_GROUPS = 16 };
    if (t->type == TENSOR_SEED) {
        row_of_seed(t, row, out);
        return;
    }
    const struct tensor_format *f = &formats[t->type];
    const uint8_t *b = t->data + (size_t)row * tensor_row_bytes(t);
    if (f->group == 0) {
        row_of_floats(t, b, out);
        return;
    }
    uint8_t u[MAX_BLOCK];
    float scale[MAX_GROUPS], minimum[MAX_GROUPS];
    for (int c = 0; c < t->n_cols; c += f->block, b += f->block_bytes) {
        parts_of[t->type](b, (struct parts){ u, scale, minimum });
        for (int j = 0; j < f->block; j++) out[c + j] = fmaf((float)u[j], scale[j / f->group], minimum[j / f->group]);
    }
}
