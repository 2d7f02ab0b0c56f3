#include "tests/matrix_cases.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static float *uniform(size_t n, float size, uint64_t *state)
{
    float *p = NULL;
    assert_int_equal(MEM_NEW(&p, n, "floats"), 0);
    for (size_t i = 0; i < n; i++) p[i] = size * case_uniform(state);
    return p;
}

static void test_embed(void **state)
{
    (void)state;
    uint64_t seed = 1;
    enum { HIDDEN = 512, VOCAB = 37, N_ROWS = 45 };
    static float got[N_ROWS][HIDDEN], want[HIDDEN];
    static const enum tensor_type types[] = { TENSOR_Q8_0, TENSOR_Q6_K, TENSOR_BF16 };
    for (int i = 0; i < 3; i++) {
        struct tensor t = case_tensor(types[i], VOCAB, HIDDEN, &seed);
        struct device d = { .n_threads = 2 };
        struct matrix *m;
        assert_int_equal(cpu_matrix_pack(&d, &m, (const struct tensor *const[]){ &t }, 1), 0);
        struct row rows[N_ROWS] = { 0 };
        int32_t tokens[N_ROWS];
        for (int r = 0; r < N_ROWS; r++) {
            rows[r].token_at = N_ROWS - 1 - r;
            tokens[r] = r * 7 % VOCAB;
        }
        const struct embed_args a = {
            .n_rows = N_ROWS, .hidden = HIDDEN, .rows = rows, .tokens = tokens, .embedding = m, .out = got[0]
        };
        assert_int_equal(cpu_embed(&d, &a), 0);
        for (int r = 0; r < N_ROWS; r++) {
            tensor_row(&t, tokens[N_ROWS - 1 - r], want);
            assert_memory_equal(got[r], want, sizeof want);
        }
        cpu_matrix_free(&d, m);
        case_free(&t);
    }
}

/* Against long double.  The scale is off by at most 2^-24 and a few 2^-53, the two products by 2^-24 each: 3.01 * 2^-24 in all. */
static void check_norm(int n_rows, int n, bool in_place)
{
    uint64_t seed = 5;
    const size_t n_x = (size_t)n_rows * (size_t)n;
    float *x = uniform(n_x, 3, &seed), *weight = uniform((size_t)n, 2, &seed), *out = uniform(n_x, 0, &seed),
          *one = uniform(n_x, 0, &seed);
    struct device d = { .n_threads = 2 };
    struct norm_args a = { .n_rows = 1, .n = n, .weight = weight, .eps = 1e-5 };
    for (int r = 0; r < n_rows; r++) { /* one row at a time */
        a.x = x + (size_t)r * (size_t)n;
        a.out = one + (size_t)r * (size_t)n;
        assert_int_equal(cpu_norm(&d, &a), 0);
    }
    for (int r = 0; r < n_rows; r++) {
        long double sum = 0;
        for (int i = 0; i < n; i++) sum += (long double)x[r * n + i] * (long double)x[r * n + i];
        for (int i = 0; i < n; i++) {
            const long double want = (long double)x[r * n + i] * (long double)weight[i] / sqrtl(sum / n + 1e-5L);
            if (!(fabsl((long double)one[r * n + i] - want) <= 3.01L * 0x1p-24L * fabsl(want)))
                fail_msg("%d x %d: row %d, %d", n_rows, n, r, i);
        }
    }
    a = (struct norm_args){
        .n_rows = n_rows, .n = n, .x = x, .weight = weight, .eps = 1e-5, .out = in_place ? x : out
    };
    assert_int_equal(cpu_norm(&d, &a), 0);
    assert_memory_equal(a.out, one, n_x * sizeof *one);
    mem_free(x);
    mem_free(weight);
    mem_free(out);
    mem_free(one);
}

static void test_norm(void **state)
{
    (void)state;
    check_norm(1, 576, false);
    check_norm(7, 33, true);
    check_norm(8, 64, false);
    check_norm(61, 576, true);
}

/* silu in double; four roundings of 2^-24, and the exponential's 1.01 ulp (2.02 * 2^-24) of which silu takes the share
 * exp(-g) / (1 + exp(-g)) <= 1: 6.1 * 2^-24 in all, of a normal number. */
static void test_swiglu(void **state)
{
    (void)state;
    uint64_t seed = 6;
    static const int sizes[] = { 1, 7, 16, 23, 1536 };
    int n_isas;
    const enum cpu_isa *isas = case_isas(&n_isas);
    for (int i = 0; i < 5; i++) {
        const int n_rows = 13, n = sizes[i];
        float *gate_up = uniform((size_t)(2 * n_rows * n), 30, &seed), *out = uniform((size_t)(n_rows * n), 0, &seed);
        float *want = uniform((size_t)(n_rows * n), 0, &seed);
        gate_up[0] = -200; /* where the exponential overflows */
        for (int s = 0; s < n_isas; s++) {
            for (int threads = 1; threads <= 2; threads++) {
                struct device d = { .isa = isas[s], .n_threads = threads };
                const struct swiglu_args a = {
                    .n_rows = n_rows, .n = n, .gate_up = gate_up, .out = s == 0 ? want : out
                };
                assert_int_equal(cpu_swiglu(&d, &a), 0);
                if (s > 0) assert_memory_equal(out, want, (size_t)(n_rows * n) * sizeof *out);
            }
        }
        assert_true(want[0] == 0);
        for (int r = 0; r < n_rows; r++) {
            for (int j = r == 0; j < n; j++) {
                const double g = (double)gate_up[2 * r * n + j],
                             exact = g / (1 + exp(-g)) * (double)gate_up[(2 * r + 1) * n + j];
                if (!(fabs((double)want[r * n + j] - exact) <= 6.1 * 0x1p-24 * fabs(exact)))
                    fail_msg("n = %d: row %d, %d", n, r, j);
            }
        }
        mem_free(gate_up);
        mem_free(out);
        mem_free(want);
    }
}

/* position * frequency is rounded once in double, so an angle of up to 2^17 is off by 2^-37; the rounding to float32 adds 2^-24, relative. */
static void test_angles(void **state)
{
    (void)state;
    enum { N_ROWS = 300, N_PAIRS = 32 };
    static float cosine[N_ROWS][N_PAIRS], sine[N_ROWS][N_PAIRS];
    struct row rows[N_ROWS] = { 0 };
    double frequency[N_PAIRS];
    for (int r = 0; r < N_ROWS; r++) rows[r].position = r * r;
    for (int i = 0; i < N_PAIRS; i++) frequency[i] = pow(10000, -i / (double)N_PAIRS);
    struct device d = { .n_threads = 2 };
    const struct angles_args a = { .n_rows = N_ROWS,
                                   .n_pairs = N_PAIRS,
                                   .rows = rows,
                                   .frequency = frequency,
                                   .attention_factor = 1.25,
                                   .cosine = cosine[0],
                                   .sine = sine[0] };
    assert_int_equal(cpu_angles(&d, &a), 0);
    for (int r = 0; r < N_ROWS; r++) {
        for (int i = 0; i < N_PAIRS; i++) {
            const long double angle = (long double)rows[r].position * (long double)frequency[i];
            const double c = 1.25 * (double)cosl(angle), s = 1.25 * (double)sinl(angle);
            assert_true(fabs((double)cosine[r][i] - c) <= 0x1p-24 * fabs(c) * 1.001 + 1.25 * 0x1p-37);
            assert_true(fabs((double)sine[r][i] - s) <= 0x1p-24 * fabs(s) * 1.001 + 1.25 * 0x1p-37);
        }
    }
    assert_true(cosine[0][5] == 1.25f && sine[0][5] == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_norm),
        cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_angles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
