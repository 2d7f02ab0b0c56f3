/* Every tensor type against the file format's own definition (written again here, product then sum) on random
 * blocks with extreme scales, and against what the `gguf` Python package decodes (tests/golden/quant.bin, made by
 * tests/golden/make_quant_golden.py).  All comparisons are exact. */
#include "core/mem.h"
#include "core/tensor.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { N_COLS = 512, N_ROWS = 200 };

static uint64_t state = 88172645463325252u;
static uint32_t random_u32(void) /* xorshift64, Marsaglia 2003 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static float half_at(const uint8_t *b)
{
    return f16_to_f32((uint16_t)(b[0] | b[1] << 8));
}

/* Weight j of the block at b, as the format defines it: one rounded operation after the other. */
static float defined_weight(enum tensor_type type, const uint8_t *b, int j)
{
    const float d = half_at(b), m = half_at(b + 2);
    const int lo = j % 32 < 16, nibble_at = j % 16;
    switch (type) {
    case TENSOR_Q4_0:
        return (float)((lo ? b[2 + nibble_at] & 15 : b[2 + nibble_at] >> 4) - 8) * d;
    case TENSOR_Q4_1: {
        const float p = (float)(lo ? b[4 + nibble_at] & 15 : b[4 + nibble_at] >> 4) * d;
        return p + m;
    }
    case TENSOR_Q5_0: {
        const int fifth = b[2 + j / 8] >> (j % 8) & 1;
        return (float)(((lo ? b[6 + nibble_at] & 15 : b[6 + nibble_at] >> 4) | fifth << 4) - 16) * d;
    }
    case TENSOR_Q5_1: {
        const int fifth = b[4 + j / 8] >> (j % 8) & 1;
        const float p = (float)((lo ? b[8 + nibble_at] & 15 : b[8 + nibble_at] >> 4) | fifth << 4) * d;
        return p + m;
    }
    case TENSOR_Q8_0:
        return (float)(int8_t)b[2 + j] * d;
    case TENSOR_Q4_K:
    case TENSOR_Q5_K: {
        const uint8_t *s = b + 4;
        const int g = j / 32, sc = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | s[g - 4] >> 6 << 4;
        const int mn = g < 4 ? s[g + 4] & 63 : s[g + 4] >> 4 | s[g] >> 6 << 4;
        const uint8_t byte = b[(type == TENSOR_Q4_K ? 16 : 48) + 32 * (g / 2) + j % 32];
        int q = g % 2 ? byte >> 4 : byte & 15;
        if (type == TENSOR_Q5_K) q += 16 * (b[16 + j % 32] >> g & 1);
        const float ds = d * (float)sc, p = ds * (float)q, ms = m * (float)mn;
        return p - ms;
    }
    case TENSOR_Q6_K: {
        const int half = j / 128, k = j % 128, l = k % 32, quarter = k / 32;
        const uint8_t low = b[64 * half + l + 32 * (quarter % 2)], high = b[128 + 32 * half + l];
        const int q = ((quarter < 2 ? low & 15 : low >> 4) | (high >> (2 * quarter) & 3) << 4) - 32;
        const float ds = half_at(b + 208) * (float)(int8_t)b[192 + 8 * half + k / 16];
        return ds * (float)q;
    }
    default:
        fail_msg("no definition of type %d", type);
    }
    return NAN;
}

/* A finite f16 from the whole range: subnormal, zero, largest and everything between. */
static void random_half(uint8_t *at)
{
    static const uint16_t extremes[] = { 0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x7bff, 0xfbff };
    uint16_t h = (uint16_t)random_u32();
    if (random_u32() % 4 == 0) h = extremes[random_u32() % 8];
    if ((h >> 10 & 31) == 31) h = (uint16_t)(h & 0x83ff);
    at[0] = (uint8_t)h;
    at[1] = (uint8_t)(h >> 8);
}

static void random_row(const struct tensor *t, uint8_t *bytes)
{
    const struct tensor_format *f = tensor_format(t->type);
    for (size_t i = 0; i < tensor_row_bytes(t); i++) bytes[i] = (uint8_t)random_u32();
    for (uint8_t *b = bytes; b < bytes + tensor_row_bytes(t); b += f->block_bytes) {
        if (t->type == TENSOR_Q6_K) {
            random_half(b + 208);
            continue;
        }
        random_half(b);
        if (t->type == TENSOR_Q4_1 || t->type == TENSOR_Q5_1 || t->type == TENSOR_Q4_K || t->type == TENSOR_Q5_K)
            random_half(b + 2);
    }
}

/* Equal bits, a zero's sign apart (see tensor.h). */
static void assert_same(float got, float want, const char *what, int at)
{
    if (got == 0 && want == 0) return;
    if (memcmp(&got, &want, 4) != 0) fail_msg("%s: weight %d is %a, should be %a", what, at, (double)got, (double)want);
}

static void test_definition(void **unused)
{
    (void)unused;
    uint8_t bytes[2 * 2 * 256], u[N_COLS];
    float got[N_COLS], scale[N_COLS], minimum[N_COLS];
    for (int type = TENSOR_Q4_0; type <= TENSOR_Q6_K; type++) {
        const struct tensor_format *f = tensor_format((enum tensor_type)type);
        const struct tensor t = { (enum tensor_type)type, 1, N_COLS, bytes };
        assert_true(tensor_row_bytes(&t) <= sizeof bytes);
        for (int row = 0; row < N_ROWS; row++) {
            random_row(&t, bytes);
            tensor_row(&t, 0, got);
            tensor_row_parts(&t, 0, u, scale, minimum);
            for (int c = 0; c < N_COLS; c++) {
                const int g = c / f->group;
                const float fused = fmaf((float)u[c], scale[g], minimum[g]);
                const uint8_t *b = bytes + c / f->block * f->block_bytes;
                assert_true(u[c] < 1 << f->bits);
                assert_same(fused, defined_weight(t.type, b, c % f->block), f->name, c);
                assert_memory_equal(&got[c], &fused, 4);
            }
        }
    }
}

static void test_second_row(void **unused)
{
    (void)unused;
    uint8_t bytes[2 * 36] = { 0 };
    const struct tensor t = { TENSOR_Q8_0, 2, 32, bytes };
    bytes[34 + 1] = 0x3c; /* d = 1 in the second row, which starts after 34 bytes */
    for (int j = 0; j < 32; j++) bytes[36 + j] = (uint8_t)(j - 16);
    float got[32];
    tensor_row(&t, 1, got);
    for (int j = 0; j < 32; j++) assert_true(got[j] == (float)(j - 16));
}

static void test_golden(void **unused)
{
    (void)unused;
    FILE *file = fopen("tests/golden/quant.bin", "rb");
    if (!file) fail_msg("tests/golden/quant.bin cannot be read: run from the repository's root");
    struct {
        char name[8];
        uint32_t n_cols, n_bytes;
    } head;
    uint8_t bytes[4 * N_COLS];
    float got[N_COLS], want[N_COLS];
    int n_records = 0;
    for (; fread(&head, sizeof head, 1, file) == 1; n_records++) {
        assert_int_equal(head.n_cols, N_COLS);
        assert_true(head.n_bytes <= sizeof bytes);
        assert_int_equal(fread(bytes, 1, head.n_bytes, file), head.n_bytes);
        assert_int_equal(fread(want, sizeof *want, N_COLS, file), N_COLS);
        int type = 0;
        while (type < N_TENSOR_TYPES && strncmp(tensor_format((enum tensor_type)type)->name, head.name, 8) != 0) type++;
        assert_true(type < N_TENSOR_TYPES);
        const struct tensor t = { (enum tensor_type)type, 1, N_COLS, bytes };
        assert_int_equal(tensor_row_bytes(&t), head.n_bytes);
        tensor_row(&t, 0, got);
        for (int c = 0; c < N_COLS; c++) assert_same(got[c], want[c], head.name, c);
    }
    fclose(file);
    assert_int_equal(n_records, TENSOR_SEED); /* every type of a file */
}

/* Every f16: to f32 by its definition, and back to itself. */
static void test_half_all(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 65536; h++) {
        const int exponent = h >> 10 & 31, fraction = h & 1023;
        const float x = f16_to_f32((uint16_t)h);
        if (exponent == 31) {
            assert_true(fraction ? isnan(x) : isinf(x));
            assert_true(!!signbit(x) == h >> 15);
            if (fraction) continue;
        } else {
            const double size = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
            assert_true((double)x == (h >> 15 ? -size : size));
        }
        assert_int_equal(f32_to_f16(x), h);
    }
    assert_true(isnan(f16_to_f32(f32_to_f16(NAN))));
}

/* Rounding: the point between two neighbours goes to the even one, anything beside it to the nearer. */
static void test_half_rounding(void **unused)
{
    (void)unused;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        const float a = f16_to_f32((uint16_t)h), b = f16_to_f32((uint16_t)(h + 1)), mid = (a + b) / 2; /* exact */
        assert_int_equal(f32_to_f16(mid), h + (h & 1));
        assert_int_equal(f32_to_f16(nextafterf(mid, 0)), h);
        assert_int_equal(f32_to_f16(-nextafterf(mid, INFINITY)), (h + 1) | 0x8000);
    }
    assert_int_equal(f32_to_f16(65520), 0x7c00);
    assert_int_equal(f32_to_f16(nextafterf(65520, 0)), 0x7bff);
    assert_int_equal(f32_to_f16(1e-30f), 0);
    assert_true(bf16_to_f32(0x3f80) == 1 && bf16_to_f32(0xc049) == -3.140625f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition), cmocka_unit_test(test_second_row),    cmocka_unit_test(test_golden),
        cmocka_unit_test(test_half_all),   cmocka_unit_test(test_half_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
