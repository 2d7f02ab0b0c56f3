#include "tests/matrix_cases.h"

#include "core/err.h"
#include "kernels/matrix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool same_bits(const float *a, const float *b, int n)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static float *floats(size_t n)
{
    float *p = NULL;
    assert_int_equal(MEM_NEW(&p, n, "floats"), 0);
    memset(p, 0xff, n * sizeof *p);
    return p;
}

/* Every row as tensor_row() decodes it. */
static void check_rows(const struct matrix *m, const struct tensor *const *parts)
{
    float *want = floats((size_t)m->n_in), *got = floats((size_t)m->n_in);
    for (int i = 0, out = 0; i < m->n_parts; i++) {
        for (int row = 0; row < parts[i]->n_rows; row++, out++) {
            tensor_row(parts[i], row, want);
            matrix_row(m, out, got);
            if (!same_bits(want, got, m->n_in))
                fail_msg("%s: row %d of part %d", tensor_format(parts[i]->type)->name, row, i);
        }
    }
    mem_free(want);
    mem_free(got);
}

static void check_pack(const enum tensor_type *types, const int *n_rows, int n_parts, int n_in)
{
    uint64_t state = 1;
    struct tensor t[MAX_MATRIX_PARTS];
    const struct tensor *parts[MAX_MATRIX_PARTS];
    for (int i = 0; i < n_parts; i++) {
        t[i] = case_tensor(types[i], n_rows[i], n_in, &state);
        parts[i] = &t[i];
    }
    struct device d = { .n_threads = 2 };
    struct matrix *m;
    assert_int_equal(cpu_matrix_pack(&d, &m, parts, n_parts), 0);
    check_rows(m, parts);
    cpu_matrix_free(&d, m);
    for (int i = 0; i < n_parts; i++) case_free(&t[i]);
}

static void test_every_type(void **state)
{
    (void)state;
    static const int rows[] = { 1, 15, 16, 17, 40 };
    for (enum tensor_type type = 0; type < N_TENSOR_TYPES; type++) {
        const int block = tensor_format(type)->block;
        for (int i = 0; i < 5; i++) {
            for (int blocks = 1; blocks <= 3; blocks++) check_pack(&type, &rows[i], 1, blocks * block);
        }
        if (block == 32) check_pack(&type, &rows[4], 1, 576);
        if (block == 1) check_pack(&type, &rows[4], 1, 259); /* a chunk and 3 */
    }
}

static void test_parts_of_different_types(void **state)
{
    (void)state;
    check_pack((const enum tensor_type[]){ TENSOR_Q5_0, TENSOR_Q5_0, TENSOR_Q8_0 }, (const int[]){ 56, 8, 24 }, 3, 128);
    check_pack((const enum tensor_type[]){ TENSOR_Q4_K, TENSOR_Q6_K, TENSOR_F16, TENSOR_F32 },
               (const int[]){ 3, 16, 17, 1 }, 4, 512);
}

/* Bits per weight of whole panels: what a token's pass reads. */
static void test_bytes(void **state)
{
    (void)state;
    static const double bits[N_TENSOR_TYPES] = {
        [TENSOR_F32] = 32,     [TENSOR_F16] = 16,     [TENSOR_BF16] = 16,    [TENSOR_Q4_0] = 4.5,
        [TENSOR_Q4_1] = 5,     [TENSOR_Q5_0] = 5.5,   [TENSOR_Q5_1] = 6,     [TENSOR_Q8_0] = 8.5,
        [TENSOR_Q4_K] = 4.625, [TENSOR_Q5_K] = 5.625, [TENSOR_Q6_K] = 6.5625,
        [TENSOR_SEED] = 32
    };
    for (enum tensor_type type = 0; type < N_TENSOR_TYPES; type++) {
        const struct tensor t = { .type = type, .n_rows = 64, .n_cols = 2048 };
        const double got = (double)(cpu_matrix_bytes((const struct tensor *const[]){ &t }, 1) - sizeof(struct matrix)) *
                           8 / (64 * 2048);
        if (fabs(got - bits[type]) > 1e-9) fail_msg("%s takes %g bits a weight", tensor_format(type)->name, got);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    uint64_t seed = 1;
    struct device d = { .n_threads = 1 };
    struct matrix *m;
    struct tensor a = case_tensor(TENSOR_Q4_0, 2, 64, &seed), b = case_tensor(TENSOR_Q4_0, 2, 32, &seed);
    const struct tensor odd = { .type = TENSOR_Q4_K, .n_rows = 1, .n_cols = 128, .data = a.data };
    const struct tensor *many[] = { &a, &a, &a, &a, &a };
    assert_int_equal(cpu_matrix_pack(&d, &m, (const struct tensor *const[]){ &a, &b }, 2), -1);
    assert_string_equal(fail_text(), "pack: matrix: parts of 64 and 32 columns");
    assert_int_equal(cpu_matrix_pack(&d, &m, (const struct tensor *const[]){ &odd }, 1), -1);
    assert_int_equal(cpu_matrix_pack(&d, &m, many, 5), -1);
    assert_int_equal(cpu_matrix_pack(&d, &m, many, 0), -1);
    for (long n = 0; n < 3; n++) { /* the matrix, its block, the scratch */
        mem_fail_after(n);
        assert_int_equal(cpu_matrix_pack(&d, &m, many, 1), -1);
        assert_null(m);
    }
    mem_fail_after(-1);
    cpu_matrix_free(&d, NULL);
    case_free(&a);
    case_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type),
        cmocka_unit_test(test_parts_of_different_types),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
