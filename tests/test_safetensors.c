/* The safetensors reader on a sound file, on that file cut at every byte and with every bit of its head flipped (each
 * copy ends where its allocation ends, for the sanitizers), and on headers that lie, each with its message. */
#include "core/err.h"
#include "core/mem.h"
#include "core/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_FILE = 4096 };

/* A file with this header and n_data bytes of data that count up; returns its size. */
static size_t make_file(uint8_t *file, const char *header, size_t n_data)
{
    const size_t n = strlen(header);
    assert_true(8 + n + n_data <= MAX_FILE);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)((uint64_t)n >> (8 * i));
    for (size_t i = 0; i < n; i++) file[8 + i] = (uint8_t)header[i];
    for (size_t i = 0; i < n_data; i++) file[8 + n + i] = (uint8_t)i;
    return 8 + n + n_data;
}

static const char sound[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                            "\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[6,30]},"
                            "\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
                            "\"empty\":{\"dtype\":\"F16\",\"shape\":[4,0],\"data_offsets\":[6,6]},"
                            "\"scalar\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[30,38]}}   ";
enum { N_SOUND_DATA = 38 };

static int open_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    struct safetensors s = { 0 };
    volatile uint8_t sum = 0;
    if (n) memcpy(copy, bytes, n);
    const int rc = safetensors_open(&s, copy, n);
    for (size_t i = 0; rc == 0 && i < s.n_tensors; i++) {
        const struct safetensors_tensor *t = &s.tensors[i];
        assert_ptr_equal(safetensors_find(&s, t->name), t);
        for (uint64_t j = 0; j < t->end - t->begin; j++) sum = (uint8_t)(sum + t->data[j]);
    }
    safetensors_close(&s);
    free(copy);
    return rc;
}

static void test_sound(void **unused)
{
    (void)unused;
    uint8_t file[MAX_FILE];
    const size_t n = make_file(file, sound, N_SOUND_DATA);
    struct safetensors s = { 0 };
    enum tensor_type type;
    assert_int_equal(safetensors_open(&s, file, n), 0);
    assert_int_equal(s.n_tensors, 4);
    const struct safetensors_tensor *b = safetensors_find(&s, "b"), *a = safetensors_find(&s, "a");
    assert_true(!safetensors_find(&s, "__metadata__") && !safetensors_find(&s, "c"));
    if (!a || !b) {
        fail_msg("a tensor is not found");
        return;
    }
    assert_true(b->n_dims == 2 && b->dims[0] == 2 && b->dims[1] == 3 && b->data[0] == 6 && a->data[0] == 0);
    assert_true(safetensors_type(b->dtype, &type) && type == TENSOR_F32);
    assert_true(safetensors_type(a->dtype, &type) && type == TENSOR_BF16);
    assert_false(safetensors_type("I64", &type));
    assert_int_equal(safetensors_find(&s, "scalar")->n_dims, 0);
    safetensors_close(&s);
}

static void test_truncated(void **unused)
{
    (void)unused;
    uint8_t file[MAX_FILE];
    const size_t n = make_file(file, sound, N_SOUND_DATA);
    assert_int_equal(open_copy(file, n), 0);
    for (size_t i = 0; i < n; i++) assert_int_equal(open_copy(file, i), -1);
    assert_int_equal(open_copy(file, n + 1), -1); /* more data than the tensors have */
}

static void test_bit_flips(void **unused)
{
    (void)unused;
    uint8_t file[MAX_FILE];
    const size_t n = make_file(file, sound, N_SOUND_DATA);
    for (size_t bit = 0; bit < 8 * (n - N_SOUND_DATA); bit++) {
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
        const int rc = open_copy(file, n);
        if (bit < 64) assert_int_equal(rc, -1); /* the header's length */
        file[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_scribbles(void **unused)
{
    (void)unused;
    uint8_t file[MAX_FILE];
    uint64_t state = 7;
    for (int trial = 0; trial < 3000; trial++) {
        const size_t n = make_file(file, sound, N_SOUND_DATA);
        for (int i = 0; i < 3; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u; /* Knuth's LCG */
            static const char likely[] = "0123456789[]{},:\"-.e";
            file[8 + (size_t)(state >> 33) % (sizeof sound - 1)] = (uint8_t)likely[(state >> 20) % (sizeof likely - 1)];
        }
        (void)open_copy(file, n);
    }
}

#define ONE(dtype, shape, offsets) "{\"t\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_lies(void **unused)
{
    (void)unused;
    static const struct {
        const char *header, *message;
    } cases[] = {
        { "[1,2]", "its header is not a JSON object" },
        { "{\"t\":", "its header, character" },
        { "{\"t\":1}", "tensor t: it has no dtype" },
        { "{\"t\":{},\"t\":{}}", "duplicate object key" },
        { ONE("5", "[2]", "[0,8]"), "tensor t: it has no dtype" },
        { ONE("\"F33\"", "[2]", "[0,8]"), "tensor t: unknown dtype F33" },
        { ONE("\"F32\"", "2", "[0,8]"), "tensor t: its shape should be a list" },
        { ONE("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "tensor t: its shape should be a list of at most 8" },
        { ONE("\"F32\"", "[-2]", "[0,8]"), "tensor t: dimension 0 is not a count" },
        { ONE("\"F32\"", "[2.0]", "[0,8]"), "tensor t: dimension 0 is not a count" },
        { ONE("\"F32\"", "[4294967296,4294967296]", "[0,8]"), "tensor t: its size overflows 64 bits" },
        { ONE("\"F32\"", "[9223372036854775808]", "[0,8]"), "too big integer" },
        { ONE("\"F32\"", "[2]", "[0]"), "tensor t: data_offsets should be two counts" },
        { ONE("\"F32\"", "[2]", "[0,16]"), "tensor t: its data at 0 to 16 are not in the file's 8 bytes" },
        { ONE("\"F32\"", "[2]", "[8,0]"), "tensor t: its data at 8 to 0" },
        { ONE("\"F32\"", "[3]", "[0,8]"), "tensor t: 8 bytes of data, its shape needs 12" },
        { ONE("\"F32\"", "[1]", "[4,8]"), "tensor t: its data begin at 4, those before end at 0" },
        { ONE("\"F32\"", "[1]", "[0,4]"), "8 bytes of data, the tensors have 4" },
        { "{\"t\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
          "\"u\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
          "tensor u: its data begin at 4, those before end at 8" },
    };
    uint8_t file[MAX_FILE];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t n = make_file(file, cases[i].header, 8);
        assert_int_equal(open_copy(file, n), -1);
        if (!strstr(fail_text(), cases[i].message)) fail_msg("said '%s', not '%s'", fail_text(), cases[i].message);
    }
    memset(file, 0xff, 8);
    assert_int_equal(open_copy(file, 64), -1);
    assert_non_null(strstr(fail_text(), "a header of 18446744073709551615 bytes"));
}

/* 100,000 nested brackets do not end the program. */
static void test_nesting(void **unused)
{
    (void)unused;
    enum { DEPTH = 100000 };
    uint8_t *file = malloc(8 + 5 + DEPTH);
    memset(file, 0, 8);
    for (int i = 0; i < 4; i++) file[i] = (uint8_t)((5 + DEPTH) >> (8 * i));
    memcpy(file + 8, (uint8_t[5]){ '{', '"', 'a', '"', ':' }, 5);
    memset(file + 13, '[', DEPTH);
    assert_int_equal(open_copy(file, 13 + DEPTH), -1);
    assert_non_null(strstr(fail_text(), "its header, character"));
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),     cmocka_unit_test(test_truncated), cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_scribbles), cmocka_unit_test(test_lies),      cmocka_unit_test(test_nesting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
