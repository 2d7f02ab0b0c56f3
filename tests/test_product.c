#include "tests/matrix_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* A matrix with its tensors, rows of x, bias, residual, and the contract's result of each row. */
struct problem {
    struct tensor t[4];
    int n_parts, n_in, n_out, n_rows;
    struct matrix *m;
    float *x, *bias, *residual, *want, *y;
};

enum { GUARD = 64 }; /* floats behind y that must stay untouched */

static float *floats(size_t n)
{
    float *p = NULL;
    assert_int_equal(MEM_NEW(&p, n, "floats"), 0);
    return p;
}

static float *uniform(size_t n, uint64_t *state)
{
    float *p = floats(n);
    for (size_t i = 0; i < n; i++) p[i] = case_uniform(state);
    return p;
}

/* The contract, word for word; and the same sum in double, which it must meet within gamma_n sum |x w|
 * (Higham, Accuracy and Stability, section 3.1): n_in fused operations and one addition, each of them off by 2^-24. */
static void reference_output(struct problem *p, const float *w, int o)
{
    for (int r = 0; r < p->n_rows; r++) {
        const float *x = p->x + (size_t)r * (size_t)p->n_in;
        const size_t at = (size_t)r * (size_t)p->n_out + (size_t)o;
        float acc = p->bias ? p->bias[o] : 0;
        double sum = (double)acc, size = fabs(sum);
        for (int k = 0; k < p->n_in; k++) {
            acc = fmaf(x[k], w[k], acc);
            sum += (double)x[k] * (double)w[k];
            size += fabs((double)x[k] * (double)w[k]);
        }
        if (p->residual) {
            acc += p->residual[at];
            sum += (double)p->residual[at];
            size += fabs((double)p->residual[at]);
        }
        p->want[at] = acc;
        const double nu = (p->n_in + 1) * 0x1p-24;
        if (!(fabs((double)acc - sum) <= nu / (1 - nu) * size))
            fail_msg("row %d, output %d: %g, in double %g", r, o, (double)acc, sum);
    }
}

static void problem_open(struct problem *p, const enum tensor_type *types, const int *n_out, int n_parts, int n_in,
                         int n_rows, bool biased)
{
    uint64_t state = 7;
    *p = (struct problem){ .n_parts = n_parts, .n_in = n_in, .n_rows = n_rows };
    const struct tensor *parts[4];
    for (int i = 0; i < n_parts; i++) {
        p->t[i] = case_tensor(types[i], n_out[i], n_in, &state);
        parts[i] = &p->t[i];
        p->n_out += n_out[i];
    }
    struct device d = { .n_threads = 2 };
    assert_int_equal(cpu_matrix_pack(&d, &p->m, parts, n_parts), 0);
    const size_t n_y = (size_t)n_rows * (size_t)p->n_out;
    p->x = uniform((size_t)n_rows * (size_t)n_in, &state);
    p->want = floats(n_y);
    p->y = floats(n_y + GUARD);
    if (biased) {
        p->bias = uniform((size_t)p->n_out, &state);
        p->residual = uniform(n_y, &state);
    }
    float *w = floats((size_t)n_in);
    for (int i = 0, o = 0; i < n_parts; i++) {
        for (int row = 0; row < n_out[i]; row++, o++) {
            tensor_row(parts[i], row, w);
            reference_output(p, w, o);
        }
    }
    mem_free(w);
}

static void problem_close(struct problem *p)
{
    struct device d = { .n_threads = 1 };
    cpu_matrix_free(&d, p->m);
    for (int i = 0; i < p->n_parts; i++) case_free(&p->t[i]);
    mem_free(p->x);
    mem_free(p->bias);
    mem_free(p->residual);
    mem_free(p->want);
    mem_free(p->y);
}

/* Rows cut into calls of `cut` rows; in_place: y holds the residual before. */
static void problem_run(struct problem *p, struct device *d, int cut, bool in_place)
{
    const size_t n_out = (size_t)p->n_out, n_y = (size_t)p->n_rows * n_out;
    memset(p->y, 0xff, (n_y + GUARD) * sizeof *p->y);
    if (in_place) memcpy(p->y, p->residual, n_y * sizeof *p->y);
    for (int r = 0; r < p->n_rows; r += cut) {
        const size_t at = (size_t)r * n_out;
        struct product_args a = { .w = p->m, .x = p->x + (size_t)r * (size_t)p->n_in, .bias = p->bias, .y = p->y + at };
        a.n_rows = p->n_rows - r < cut ? p->n_rows - r : cut;
        if (p->residual) a.residual = in_place ? a.y : p->residual + at;
        assert_int_equal(cpu_product(d, &a), 0);
    }
}

static void problem_check(struct problem *p, const struct device *d, int cut)
{
    const size_t n_y = (size_t)p->n_rows * (size_t)p->n_out;
    for (size_t i = 0; i < n_y; i++) {
        if (memcmp(&p->y[i], &p->want[i], sizeof(float)) != 0)
            fail_msg("%s, %s, %d threads, %d of %d rows at a time, %d x %d: row %zu, output %zu is %a, not %a",
                     tensor_format(p->t[0].type)->name, case_isa_name[d->isa], d->n_threads, cut, p->n_rows, p->n_out,
                     p->n_in, i / (size_t)p->n_out, i % (size_t)p->n_out, (double)p->y[i], (double)p->want[i]);
    }
    for (size_t i = n_y; i < n_y + GUARD; i++) {
        uint32_t bits;
        memcpy(&bits, &p->y[i], 4);
        assert_int_equal(bits, UINT32_MAX);
    }
}

/* Every instruction set, 1 to 3 threads, the rows in one call and cut up: the contract's bits. */
static void problem_test(const enum tensor_type *types, const int *n_out, int n_parts, int n_in, int n_rows,
                         bool biased)
{
    struct problem p;
    problem_open(&p, types, n_out, n_parts, n_in, n_rows, biased);
    int n_isas;
    const enum cpu_isa *isas = case_isas(&n_isas);
    for (int s = 0; s < n_isas; s++) {
        for (int threads = 1; threads <= 3; threads++) {
            struct device d = { .isa = isas[s], .n_threads = threads };
            const int cuts[] = { n_rows, 1, 7 };
            for (int c = 0; c < 3; c++) {
                problem_run(&p, &d, cuts[c], biased && c != 1);
                problem_check(&p, &d, cuts[c]);
            }
        }
    }
    problem_close(&p);
}

static void test_every_type(void **state)
{
    (void)state;
    static const int sizes[] = { 1, 16, 50, 129 };
    for (enum tensor_type type = 0; type < N_TENSOR_TYPES; type++) {
        const int block = tensor_format(type)->block;
        for (int i = 0; i < 4; i++)
            problem_test(&type, &sizes[i], 1, block == 1 ? 67 : block < 256 ? 96 : 256, 3, i % 2 != 0);
        problem_test(&type, &sizes[3], 1,
                     block == 1    ? 515
                     : block < 256 ? 544
                                   : 768,
                     18, true); /* several chunks of k, the last one short */
    }
}

/* Each number of rows up to three register blocks, so that every height of a tile is met. */
static void test_every_number_of_rows(void **state)
{
    (void)state;
    const enum tensor_type type = TENSOR_Q4_1;
    const int n_out = 80;
    for (int n_rows = 1; n_rows <= 40; n_rows++) problem_test(&type, &n_out, 1, 96, n_rows, false);
}

static void test_parts(void **state)
{
    (void)state;
    problem_test((const enum tensor_type[]){ TENSOR_Q5_0, TENSOR_Q5_0, TENSOR_Q8_0 }, (const int[]){ 72, 9, 33 }, 3,
                 128, 17, true);
    problem_test((const enum tensor_type[]){ TENSOR_Q4_K, TENSOR_Q6_K, TENSOR_BF16, TENSOR_F32 },
                 (const int[]){ 5, 100, 17, 1 }, 4, 512, 5, false);
}

/* More rows than share one decoding of the weights. */
static void test_many_rows(void **state)
{
    (void)state;
    const enum tensor_type type = TENSOR_Q5_1;
    const int n_out = 33;
    problem_test(&type, &n_out, 1, 64, 531, true);
    problem_test(&type, &n_out, 1, 2048, 211, true);
}

/* Zero weights beside NaN and infinite inputs: nothing may be skipped. */
static void test_not_finite(void **state)
{
    (void)state;
    uint64_t seed = 3;
    struct tensor t = case_tensor(TENSOR_F32, 20, 8, &seed);
    memset((void *)(uintptr_t)t.data, 0, 20 * 8 * sizeof(float));
    struct device d = { .n_threads = 1 };
    struct matrix *m;
    assert_int_equal(cpu_matrix_pack(&d, &m, (const struct tensor *const[]){ &t }, 1), 0);
    float x[2][8] = { { 1, 2, INFINITY, 4, 5, 6, 7, 8 }, { 1, 2, 3, 4, 5, 6, 7, 8 } }, y[2][20];
    int n_isas;
    const enum cpu_isa *isas = case_isas(&n_isas);
    for (int s = 0; s < n_isas; s++) {
        d.isa = isas[s];
        const struct product_args a = { .n_rows = 2, .w = m, .x = x[0], .y = y[0] };
        assert_int_equal(cpu_product(&d, &a), 0);
        for (int o = 0; o < 20; o++) assert_true(isnan(y[0][o]) && y[1][o] == 0);
    }
    cpu_matrix_free(&d, m);
    case_free(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type), cmocka_unit_test(test_every_number_of_rows), cmocka_unit_test(test_parts),
        cmocka_unit_test(test_many_rows),  cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
