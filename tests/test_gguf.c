/* The GGUF reader on a sound file, on that file cut at every byte and with every bit of its head flipped (run under the
 * sanitizers too: each copy ends where its allocation ends), and on files that lie, each with its message. */
#include "core/err.h"
#include "core/gguf.h"
#include "core/mem.h"
#include "tests/gguf_writer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { T_F32 = 0, T_Q8_0 = 8, T_Q4_K = 12 }; /* ggml's numbers */
enum { N_VALUES = 14, N_TENSORS = 3 };

static void put_values(struct gguf_writer *w)
{
    put_key(w, "a.u8", GGUF_U8), put_u8(w, 200);
    put_key(w, "a.i8", GGUF_I8), put_u8(w, 200);
    put_key(w, "a.u16", GGUF_U16), put_u8(w, 0x34), put_u8(w, 0x12);
    put_key(w, "a.i16", GGUF_I16), put_u8(w, 0xff), put_u8(w, 0xff);
    put_key(w, "a.u32", GGUF_U32), put_u32(w, 4000000000u);
    put_key(w, "a.i32", GGUF_I32), put_u32(w, (uint32_t)-7);
    put_key(w, "a.f32", GGUF_F32), put_f32(w, 1.5f);
    put_key(w, "a.bool", GGUF_BOOL), put_u8(w, 1);
    put_key(w, "a.text", GGUF_STRING), put_text(w, "hello");
    put_key(w, "a.u64", GGUF_U64), put_u64(w, UINT64_MAX);
    put_key(w, "a.i64", GGUF_I64), put_u64(w, (uint64_t)-9);
    put_key(w, "a.f64", GGUF_F64), put_u64(w, 0x4004000000000000u); /* 2.5 */
    put_key(w, "b.texts", GGUF_ARRAY), put_u32(w, GGUF_STRING), put_u64(w, 3);
    put_text(w, "x"), put_text(w, ""), put_text(w, "yz");
    put_key(w, "b.ints", GGUF_ARRAY), put_u32(w, GGUF_I32), put_u64(w, 2), put_u32(w, 5), put_u32(w, (uint32_t)-5);
}

/* The sound file; *n_head: where its data begin. */
static struct gguf_writer sound_file(size_t *n_head)
{
    struct gguf_writer w = { 0 };
    put_head(&w, N_TENSORS, N_VALUES);
    put_values(&w);
    put_tensor(&w, "first", 1, 5, T_F32, 20);
    put_tensor(&w, "second", 3, 64, T_Q8_0, 3 * 2 * 34);
    put_tensor(&w, "a.third", 2, 256, T_Q4_K, 2 * 144);
    *n_head = w.n;
    put_data(&w);
    return w;
}

/* Opens a copy that is exactly as long as it is said to be; reads every weight of what was accepted. */
static int open_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    struct gguf g = { 0 };
    if (n) memcpy(copy, bytes, n);
    const int rc = gguf_open(&g, copy, n);
    for (size_t i = 0; rc == 0 && i < g.n_tensors; i++) {
        const struct gguf_tensor *from = &g.tensors[i];
        const int n_rows =
            (int)(from->n_bytes / tensor_row_bytes(&(struct tensor){ from->type, 1, (int)from->dims[0], NULL }));
        const struct tensor t = { from->type, n_rows, (int)from->dims[0], from->data };
        float *row = malloc(from->dims[0] * sizeof *row);
        for (int r = 0; r < n_rows; r++) tensor_row(&t, r, row);
        free(row);
    }
    for (size_t i = 0; rc == 0 && i < g.n_values; i++) {
        struct str_view *texts = NULL;
        int32_t *ints = NULL;
        size_t n_elements;
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)g.values[i].key.n, g.values[i].key.at);
        if (gguf_strings(&g, key, &texts, &n_elements) == 0)
            for (size_t j = 0; j < n_elements; j++)
                assert_true(texts[j].n == 0 || (const uint8_t *)texts[j].at + texts[j].n <= copy + n);
        (void)gguf_int32s(&g, key, &ints, &n_elements);
        mem_free(texts);
        mem_free(ints);
    }
    gguf_close(&g);
    free(copy);
    return rc;
}

static void test_values(void **unused)
{
    (void)unused;
    size_t n_head, n;
    struct gguf_writer w = sound_file(&n_head);
    struct gguf g = { 0 };
    int x = 0;
    double d = 0;
    bool b = false;
    struct str_view text, *texts = NULL;
    int32_t *ints = NULL;
    assert_int_equal(gguf_open(&g, w.bytes, w.n), 0);
    assert_int_equal(g.n_values, N_VALUES);
    assert_true(gguf_int(&g, "a.u8", 0, 255, &x) == 0 && x == 200);
    assert_true(gguf_int(&g, "a.i8", -128, 127, &x) == 0 && x == -56);
    assert_true(gguf_int(&g, "a.u16", 0, 65535, &x) == 0 && x == 0x1234);
    assert_true(gguf_int(&g, "a.i16", -5, 5, &x) == 0 && x == -1);
    assert_true(gguf_int(&g, "a.i32", -10, 10, &x) == 0 && x == -7);
    assert_true(gguf_int(&g, "a.i64", -10, 10, &x) == 0 && x == -9);
    assert_true(gguf_double(&g, "a.f32", 0, 2, &d) == 0 && d == 1.5);
    assert_true(gguf_double(&g, "a.f64", 0, 3, &d) == 0 && d == 2.5);
    assert_true(gguf_double(&g, "a.u32", 0, 1e10, &d) == 0 && d == 4e9);
    assert_true(gguf_bool(&g, "a.bool", &b) == 0 && b);
    assert_true(gguf_string(&g, "a.text", &text) == 0 && text.n == 5 && memcmp(text.at, "hello", 5) == 0);
    assert_int_equal(gguf_strings(&g, "b.texts", &texts, &n), 0);
    assert_true(n == 3 && texts[1].n == 0 && texts[2].n == 2 && memcmp(texts[2].at, "yz", 2) == 0);
    assert_int_equal(gguf_int32s(&g, "b.ints", &ints, &n), 0);
    assert_true(n == 2 && ints[0] == 5 && ints[1] == -5);
    mem_free(texts);
    mem_free(ints);
    gguf_close(&g);
    free(w.bytes);
}

static void test_wrong_values(void **unused)
{
    (void)unused;
    size_t n_head, n;
    struct gguf_writer w = sound_file(&n_head);
    struct gguf g = { 0 };
    int x = 0;
    bool b;
    struct str_view text, *texts = NULL;
    assert_int_equal(gguf_open(&g, w.bytes, w.n), 0);
    assert_int_equal(gguf_int(&g, "a.u32", 0, 2000000000, &x), -1);
    assert_string_equal(fail_text(), "key a.u32: 4000000000, allowed are 0 to 2000000000");
    assert_int_equal(gguf_int(&g, "a.u64", 0, 5, &x), -1);
    assert_int_equal(gguf_int(&g, "a.none", 0, 5, &x), -1);
    assert_string_equal(fail_text(), "key a.none is missing");
    assert_int_equal(gguf_int(&g, "a.f32", 0, 5, &x), -1);
    assert_string_equal(fail_text(), "key a.f32: of type f32, wanted is an integer");
    assert_int_equal(gguf_int(&g, "b.ints", 0, 5, &x), -1);
    assert_int_equal(gguf_bool(&g, "a.u8", &b), -1);
    assert_int_equal(gguf_string(&g, "b.texts", &text), -1);
    assert_int_equal(gguf_strings(&g, "b.ints", &texts, &n), -1);
    assert_string_equal(fail_text(), "key b.ints: of type array of i32, wanted is array of string");
    assert_null(texts);
    gguf_close(&g);
    free(w.bytes);
}

static void test_tensors(void **unused)
{
    (void)unused;
    size_t n_head;
    struct gguf_writer w = sound_file(&n_head);
    struct gguf g = { 0 };
    assert_int_equal(gguf_open(&g, w.bytes, w.n), 0);
    const struct gguf_tensor *first = gguf_tensor(&g, "first"), *third = gguf_tensor(&g, "a.third");
    const uint8_t *data = w.bytes + (n_head + 31) / 32 * 32;
    assert_null(gguf_tensor(&g, "fourth"));
    if (!first || !third) {
        fail_msg("a tensor is not found");
        return;
    }
    assert_true(first->type == TENSOR_F32 && first->n_dims == 1 && first->dims[0] == 5 && first->data == data);
    assert_true(third->type == TENSOR_Q4_K && third->n_dims == 2 && third->dims[0] == 256 && third->dims[1] == 2);
    assert_true(third->data == data + 32 + 224 && third->n_bytes == 288);
    gguf_close(&g);
    free(w.bytes);
}

static void test_version_2(void **unused)
{
    (void)unused;
    size_t n_head;
    struct gguf_writer w = sound_file(&n_head);
    w.bytes[4] = 2;
    assert_int_equal(open_copy(w.bytes, w.n), 0);
    free(w.bytes);
}

static void test_truncated(void **unused)
{
    (void)unused;
    size_t n_head;
    struct gguf_writer w = sound_file(&n_head);
    assert_int_equal(open_copy(w.bytes, w.n), 0);
    for (size_t n = 0; n < w.n; n++) assert_int_equal(open_copy(w.bytes, n), -1);
    free(w.bytes);
}

/* A flipped bit either is found, or changes a value or a name and nothing is read out of bounds.  In the 24 bytes of
 * magic, version and counts every flip is found but those that make version 3 a 2, or 3 tensors 2 or 1. */
static void test_bit_flips(void **unused)
{
    (void)unused;
    size_t n_head;
    struct gguf_writer w = sound_file(&n_head);
    for (size_t bit = 0; bit < 8 * n_head; bit++) {
        w.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const int rc = open_copy(w.bytes, w.n);
        if (bit < 24 * 8 && bit != 4 * 8 && bit != 8 * 8 && bit != 8 * 8 + 1) assert_int_equal(rc, -1);
        w.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(w.bytes);
}

/* Random bytes over random stretches of the head, from a fixed seed. */
static void test_scribbles(void **unused)
{
    (void)unused;
    size_t n_head;
    uint64_t state = 42;
    for (int trial = 0; trial < 3000; trial++) {
        struct gguf_writer w = sound_file(&n_head);
        for (int i = 0; i < 4; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's LCG */
            const size_t at = 4 + (size_t)(state >> 33) % (n_head - 4);
            w.bytes[at] = (uint8_t)(state >> 25);
        }
        (void)open_copy(w.bytes, w.n);
        free(w.bytes);
    }
}

enum lie {
    MAGIC,
    OLD,
    SWAPPED,
    MANY_TENSORS,
    MANY_VALUES,
    LONG_KEY,
    EMPTY_KEY,
    BAD_TYPE,
    NESTED,
    HUGE_ARRAY,
    BAD_BOOL,
    SAME_KEY,
    ALIGN_3,
    ALIGN_4,
    SAME_TENSOR,
    DIMS_0,
    DIMS_5,
    DIM_ZERO,
    DIM_HUGE,
    TENSOR_Q2K,
    TENSOR_99,
    RAGGED,
    OFFSET,
    SIZE_OVERFLOW,
    PAST_END,
    LONG_NAME
};

/* A file with one value and one tensor, one of them a lie. */
static struct gguf_writer lying_file(enum lie lie)
{
    struct gguf_writer w = { 0 };
    put(&w, lie == MAGIC ? "GGML" : "GGUF", 4);
    put_u32(&w, lie == OLD ? 1 : lie == SWAPPED ? 3u << 24 : 3);
    put_u64(&w, lie == MANY_TENSORS ? UINT64_MAX : lie == SAME_TENSOR ? 2 : 1);
    put_u64(&w, lie == MANY_VALUES ? 1u << 20 : lie == SAME_KEY ? 2 : 1);
    if (lie == ALIGN_3 || lie == ALIGN_4)
        put_key(&w, "general.alignment", GGUF_U32), put_u32(&w, lie == ALIGN_3 ? 24 : 4);
    else if (lie == LONG_KEY)
        put_u64(&w, 1ull << 63);
    else if (lie == BAD_TYPE)
        put_key(&w, "k", 13), put_u32(&w, 0);
    else if (lie == NESTED)
        put_key(&w, "k", GGUF_ARRAY), put_u32(&w, GGUF_ARRAY), put_u64(&w, 1);
    else if (lie == HUGE_ARRAY)
        put_key(&w, "k", GGUF_ARRAY), put_u32(&w, GGUF_U64), put_u64(&w, 1ull << 61);
    else
        put_key(&w, lie == EMPTY_KEY ? "" : "k", GGUF_BOOL), put_u8(&w, lie == BAD_BOOL ? 2 : 1);
    if (lie == SAME_KEY) put_key(&w, "k", GGUF_U8), put_u8(&w, 1);
    put_text(&w, lie == LONG_NAME ? "a.name.of.more.than.sixty.four.bytes.is.not.allowed.by.the.format.at.all" : "t");
    put_u32(&w, lie == DIMS_0 ? 0 : lie == DIMS_5 ? 5 : lie == SIZE_OVERFLOW ? 4 : 1);
    put_u64(&w, lie == DIM_ZERO ? 0 : lie == DIM_HUGE || lie == SIZE_OVERFLOW ? 1u << 30 : lie == RAGGED ? 33 : 64);
    if (lie == SIZE_OVERFLOW) put_u64(&w, 1u << 30), put_u64(&w, 1u << 30), put_u64(&w, 1);
    put_u32(&w, lie == TENSOR_Q2K ? 10 : lie == TENSOR_99 ? 99 : lie == RAGGED ? 8 : 0);
    put_u64(&w, lie == OFFSET ? 32 : 0);
    if (lie == SAME_TENSOR) w.n_data = 256, put_tensor(&w, "t", 1, 8, T_F32, 32);
    w.n_data = lie == PAST_END ? 224 : 1024;
    put_data(&w);
    return w;
}

static void test_lies(void **unused)
{
    (void)unused;
    static const struct {
        enum lie lie;
        const char *message;
    } cases[] = {
        { MAGIC, "not a GGUF file" },
        { OLD, "GGUF version 1, supported are 2 and 3" },
        { SWAPPED, "big-endian" },
        { MANY_TENSORS, "18446744073709551615 tensors" },
        { MANY_VALUES, "1048576 metadata values" },
        { LONG_KEY, "a key ends after the file" },
        { EMPTY_KEY, "a key of 0 bytes" },
        { BAD_TYPE, "key k: unknown value type 13" },
        { NESTED, "key k: nested arrays are not supported" },
        { HUGE_ARRAY, "key k: 2305843009213693952 elements do not fit" },
        { BAD_BOOL, "key k: a truth value of 2" },
        { SAME_KEY, "key k is there twice" },
        { ALIGN_3, "key general.alignment: 24 is not a power of two" },
        { ALIGN_4, "key general.alignment: 4, allowed are 8 to" },
        { SAME_TENSOR, "tensor t is there twice" },
        { DIMS_0, "tensor t: 0 dimensions" },
        { DIMS_5, "tensor t: 5 dimensions" },
        { DIM_ZERO, "tensor t: dimension 0 is 0" },
        { DIM_HUGE, "tensor t: its data (4294967296 bytes at 0) end after the file" },
        { TENSOR_Q2K, "tensor t: type Q2_K is not supported" },
        { TENSOR_99, "tensor t: unknown type 99" },
        { RAGGED, "tensor t: rows of 33 weights, not a multiple of Q8_0's 32" },
        { OFFSET, "tensor t: its data begin at 32, should follow the tensor before at 0" },
        { SIZE_OVERFLOW, "tensor t: its size overflows 64 bits" },
        { PAST_END, "tensor t: its data (256 bytes at 0) end after the file" },
        { LONG_NAME, "a tensor's name of 72 bytes" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gguf_writer w = lying_file(cases[i].lie);
        assert_int_equal(open_copy(w.bytes, w.n), -1);
        if (!strstr(fail_text(), cases[i].message)) fail_msg("said '%s', not '%s'", fail_text(), cases[i].message);
        free(w.bytes);
    }
}

static void test_no_memory(void **unused)
{
    (void)unused;
    size_t n_head;
    struct gguf_writer w = sound_file(&n_head);
    for (int n = 0; n < 2; n++) {
        mem_fail_after(n);
        assert_int_equal(open_copy(w.bytes, w.n), -1);
        assert_non_null(strstr(fail_text(), "out of memory"));
    }
    mem_fail_after(-1);
    free(w.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),    cmocka_unit_test(test_wrong_values), cmocka_unit_test(test_tensors),
        cmocka_unit_test(test_version_2), cmocka_unit_test(test_truncated),    cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_scribbles), cmocka_unit_test(test_lies),         cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
