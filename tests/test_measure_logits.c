/* The measures of the logits against their definitions in long double; exact cases; the same bits from every instruction
 * set and number of threads.
 *
 * Tolerance.  x - m is exact or off by 2^-53 of itself, an exponential by 2^-52, a partial sum of n/8 terms and the tree by (n/8 + 3)
 * 2^-53, the logarithm by 2^-52 of itself: log z is off by less than u = (n/8 + 16) 2^-53 (1 + log z).  A term p log p or
 * p (log p - log q) inherits u and the relative errors of its factors: (n/8 + 16) 2^-52 (1 + sum p (|log p| + |log q|)) bounds
 * every quantity here, and float32 adds 2^-24 of the value.                                                */
#include "core/err.h"
#include "core/philox.h"
#include "kernels/cpu.h"
#include "kernels/measure_logits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_LANES = 9, HIDDEN = 24, STEP = 4, MAX_VOCAB = 49152, TOKEN_BASE = 100, MAX_RECORD = 4096 };

/* Lanes: 0 dense, 1 clean probe, 2 to 6 sparse with twin 1, 7 a control (twin 0), 8 without a row and without a twin. */
struct fixture {
    struct record_layout layout;
    unsigned char record[MAX_RECORD];
    int32_t row_of_lane[N_LANES], twin[N_LANES], diverged[N_LANES], end[N_LANES], target_at[N_LANES];
    int32_t tokens[2 * N_LANES]; /* fed by row, then the targets by lane */
    struct row rows[N_LANES];
    float logits[N_LANES * MAX_VOCAB], hidden[N_LANES][HIDDEN];
    struct measure_logits_args args;
    struct device device;
};

static const int32_t step = STEP;

static struct fixture *fresh(int vocab, float scale)
{
    static struct fixture f;
    static const int32_t rows[N_LANES] = { 4, 0, 1, 7, 2, 3, 6, 5, -1 }, twins[N_LANES] = { -1, 1, 1, 1, 1, 1, 1, 0, -1 };
    memset(&f, 0, offsetof(struct fixture, logits));
    record_layout_init(&f.layout, N_LANES, 1, 1, 0, 16);
    assert_true(f.layout.n_bytes <= sizeof f.record);
    record_clear(&f.layout, f.record);
    memcpy(f.row_of_lane, rows, sizeof rows);
    memcpy(f.twin, twins, sizeof twins);
    for (int i = 0; i < N_LANES * vocab; i++) {
        const uint32_t counter[4] = { (uint32_t)i, 0, 0, 98 }, key[2] = { 3, 0 };
        uint32_t out[4];
        philox4x32(counter, key, out);
        f.logits[i] = philox_signed_f32(out[0]) * scale;
        if (i < N_LANES * HIDDEN) ((float *)f.hidden)[i] = philox_signed_f32(out[1]);
        if (i < N_LANES) f.tokens[N_LANES + i] = (int32_t)(out[2] % (uint32_t)vocab);
    }
    for (int i = 0; i < N_LANES; i++) {
        f.diverged[i] = -1;
        f.end[i] = INT32_MAX;
        f.rows[i].token_at = i;
        f.tokens[i] = TOKEN_BASE + i;
        f.target_at[i] = N_LANES + i;
    }
    f.device = (struct device){ .isa = CPU_PORTABLE, .n_threads = 2 };
    f.args = (struct measure_logits_args){ .m = { &f.layout, f.record, N_LANES, f.row_of_lane, f.twin, f.diverged, f.end, &step },
                                           .vocab = vocab, .hidden = HIDDEN, .logits = f.logits, .hidden_state = (float *)f.hidden,
                                           .tokens = f.tokens, .target_at = f.target_at, .rows = f.rows };
    return &f;
}

static void measure(struct fixture *f)
{
    assert_int_equal(cpu_measure_logits(&f->device, &f->args), 0);
}

static double got(struct fixture *f, enum record_var v, int lane)
{
    return (double)((float *)record_at(&f->layout, f->record, v))[lane];
}

static int got_i32(struct fixture *f, enum record_var v, int lane)
{
    return ((int32_t *)record_at(&f->layout, f->record, v))[lane];
}

static int got_flag(struct fixture *f, enum record_var v, int lane)
{
    return ((uint8_t *)record_at(&f->layout, f->record, v))[lane];
}

static float *logits_of(struct fixture *f, int lane)
{
    return f->logits + (size_t)f->row_of_lane[lane] * (size_t)f->args.vocab;
}

static long double log_z(const float *x, int n)
{
    long double max = x[0], z = 0;
    for (int i = 1; i < n; i++) max = fmaxl(max, x[i]);
    for (int i = 0; i < n; i++) z += expl(x[i] - max);
    return max + logl(z);
}

/* sum p (log p - log q), and its tolerance. */
static long double plain_kl(const float *p, const float *q, int n, long double *tol)
{
    const long double zp = log_z(p, n), zq = log_z(q, n);
    long double kl = 0, size = 0;
    for (int i = 0; i < n; i++) {
        const long double lp = p[i] - zp, lq = q[i] - zq;
        kl += expl(lp) * (lp - lq);
        size += expl(lp) * (fabsl(lp) + fabsl(lq));
    }
    *tol = (n / 8 + 16) * 0x1p-52L * (1 + size) + fabsl(kl) * 0x1p-24L;
    return kl;
}

static void check(double value, long double want, long double tol, const char *what, int lane)
{
    if (!(fabsl(value - want) <= tol)) fail_msg("%s of lane %d: %.10g, want %.10Lg +- %.2Lg", what, lane, value, want, tol);
}

static int plain_rank(const float *x, int n, int id)
{
    int rank = 0;
    for (int i = 0; i < n; i++) rank += x[i] > x[id] || (x[i] == x[id] && i < id);
    return rank;
}

static void expect_lane(struct fixture *f, int lane)
{
    const int n = f->args.vocab, row = f->row_of_lane[lane], target = f->tokens[N_LANES + lane];
    const float *x = logits_of(f, lane), *r = logits_of(f, 0);
    long double tol, entropy = 0;
    const long double kl = plain_kl(r, x, n, &tol), z = log_z(x, n);
    check(got(f, VAR_LOGIT_KL, lane), kl, tol, "logit_kl", lane);
    plain_kl(x, x, n, &tol);
    const long double own = tol;
    for (int i = 0; i < n; i++) entropy -= expl(x[i] - z) * (x[i] - z);
    check(got(f, VAR_ENTROPY, lane), entropy, own + entropy * 0x1p-24L, "entropy", lane);
    check(got(f, VAR_NLL, lane), z - x[target], own + (z - x[target]) * 0x1p-24L, "nll", lane);
    const int twin = f->twin[lane];
    const long double far = plain_kl(logits_of(f, twin < 0 ? 0 : twin), x, n, &tol);
    if (twin >= 0) check(got(f, VAR_KL_CLEAN, lane), far, tol, "kl_clean", lane);
    else assert_true(isnan(got(f, VAR_KL_CLEAN, lane)) && isnan(got(f, VAR_HIDDEN_ACCUM, lane)));
    int argmax = 0, argmax0 = 0;
    for (int i = 1; i < n; i++) argmax = x[i] > x[argmax] ? i : argmax, argmax0 = r[i] > r[argmax0] ? i : argmax0;
    assert_int_equal(got_i32(f, VAR_ARGMAX, lane), argmax);
    assert_int_equal(got_i32(f, VAR_TOKEN, lane), TOKEN_BASE + row);
    assert_int_equal(got_i32(f, VAR_TARGET, lane), target);
    assert_int_equal(got_flag(f, VAR_TOP1_MATCH, lane), argmax == argmax0);
    assert_int_equal(got_flag(f, VAR_TOP3_HIT, lane), plain_rank(x, n, target) < 3);
}

static void test_definitions(void **unused)
{
    (void)unused;
    static const struct {
        int vocab;
        float scale;
    } cases[] = { { 1, 2 }, { 5, 3 }, { 8, 10 }, { 9, 40 }, { 1003, 6 }, { 4096, 900 }, { 49152, 20 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture *f = fresh(cases[i].vocab, cases[i].scale);
        measure(f);
        for (int lane = 0; lane < 8; lane++) expect_lane(f, lane);
    }
}

/* Hidden states: sums of HIDDEN squares, see tests/test_measure.c. */
static void test_hidden(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(16, 3);
    measure(f);
    for (int lane = 0; lane < 8; lane++) {
        long double diff = 0, far = 0, ref = 0;
        const int twin = f->twin[lane] < 0 ? 0 : f->twin[lane];
        for (int i = 0; i < HIDDEN; i++) {
            const long double x = f->hidden[f->row_of_lane[lane]][i], r = f->hidden[f->row_of_lane[0]][i];
            const long double c = f->hidden[f->row_of_lane[twin]][i];
            diff += (x - r) * (x - r);
            far += (x - c) * (x - c);
            ref += r * r;
        }
        const long double err = sqrtl(diff / ref), accum = sqrtl(far / ref);
        check(got(f, VAR_HIDDEN_ERR, lane), err, err * (0x1p-24L + (HIDDEN + 8) * 0x1p-53L), "hidden_err", lane);
        if (f->twin[lane] < 0) assert_true(isnan(got(f, VAR_HIDDEN_ACCUM, lane)));
        else check(got(f, VAR_HIDDEN_ACCUM, lane), accum, accum * (0x1p-24L + (HIDDEN + 8) * 0x1p-53L), "hidden_accum", lane);
    }
}

/* Equal logits give 0, not nearly 0; so do logits that differ by a constant where the subtraction is exact. */
static void test_exact(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(1003, 9);
    memcpy(logits_of(f, 2), logits_of(f, 0), 1003 * sizeof(float));
    memcpy(logits_of(f, 3), logits_of(f, 1), 1003 * sizeof(float));
    for (int i = 0; i < 1003; i++) logits_of(f, 4)[i] = 3, logits_of(f, 5)[i] = -5;
    for (int i = 0; i < 1003; i++) logits_of(f, 6)[i] = i == 7 ? 0 : -2000;
    f->twin[5] = 4;
    f->tokens[N_LANES + 6] = 7;
    measure(f);
    assert_true(got(f, VAR_LOGIT_KL, 0) == 0 && got(f, VAR_LOGIT_KL, 2) == 0 && got(f, VAR_KL_CLEAN, 3) == 0);
    assert_true(got(f, VAR_KL_CLEAN, 1) == 0 && got(f, VAR_LOGIT_KL, 3) > 0);
    assert_true(got(f, VAR_KL_CLEAN, 5) == 0);
    check(got(f, VAR_ENTROPY, 4), logl(1003), logl(1003) * (0x1p-24L + 0x1p-51L), "entropy", 4);
    assert_true(got(f, VAR_ENTROPY, 4) == got(f, VAR_NLL, 4));
    assert_true(got(f, VAR_ENTROPY, 6) == 0 && got(f, VAR_NLL, 6) == 0); /* one token has all: e^-2000 is 0 in double */
    assert_int_equal(got_i32(f, VAR_ARGMAX, 4), 0);
}

/* A divergence far below 1 keeps its digits: a perturbation of 2^-11 gives some 2^-24. */
static void test_small_divergence(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(4096, 8);
    for (int i = 0; i < 4096; i++) logits_of(f, 2)[i] = logits_of(f, 0)[i] + (i % 3 == 0 ? 0x1p-11f : 0);
    measure(f);
    long double tol;
    const long double kl = plain_kl(logits_of(f, 0), logits_of(f, 2), 4096, &tol);
    assert_true(kl > 0x1p-28L && tol < kl * 1e-4L);
    check(got(f, VAR_LOGIT_KL, 2), kl, tol, "logit_kl", 2);
}

/* Ties in the argmax and in the best three go to the lowest id, wherever they lie in a vector of eight. */
static void test_ties(void **unused)
{
    (void)unused;
    for (int round = 0; round < 40; round++) {
        struct fixture *f = fresh(29, 1);
        for (int i = 0; i < 8 * 29; i++) f->logits[i] = (float)((i * 7 + i / 5 + round) % 4);
        for (int lane = 0; lane < 8; lane++) f->tokens[N_LANES + lane] = (round + lane * 5) % 29;
        measure(f);
        for (int lane = 0; lane < 8; lane++) expect_lane(f, lane);
    }
}

static void test_no_numbers(void **unused)
{
    (void)unused;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (size_t i = 0; i < 3; i++) {
        struct fixture *f = fresh(19, 3);
        logits_of(f, 2)[17] = bad[i];
        measure(f);
        assert_true(isnan(got(f, VAR_NLL, 2)) && isnan(got(f, VAR_ENTROPY, 2)) && isnan(got(f, VAR_LOGIT_KL, 2)));
        assert_true(isnan(got(f, VAR_KL_CLEAN, 2)));
        assert_int_equal(got_flag(f, VAR_TOP1_MATCH, 2), 255);
        assert_int_equal(got_flag(f, VAR_TOP3_HIT, 2), 255);
        assert_in_range(got_i32(f, VAR_ARGMAX, 2), 0, 18);
        expect_lane(f, 3);
    }
    struct fixture *f = fresh(19, 3);
    for (int i = 0; i < 19; i++) logits_of(f, 0)[i] = NAN;
    measure(f);
    assert_int_equal(got_i32(f, VAR_ARGMAX, 0), -1);
    assert_true(isnan(got(f, VAR_LOGIT_KL, 3)) && got(f, VAR_KL_CLEAN, 3) > 0 && got(f, VAR_NLL, 3) > 0);
    assert_int_equal(got_flag(f, VAR_TOP1_MATCH, 3), 255);
}

static void expect_absent(struct fixture *f, int lane)
{
    static const enum record_var vars[] = { VAR_LOGIT_KL, VAR_KL_CLEAN, VAR_NLL, VAR_ENTROPY, VAR_HIDDEN_ERR, VAR_HIDDEN_ACCUM };
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++) assert_true(isnan(got(f, vars[i], lane)));
    assert_int_equal(got_flag(f, VAR_TOP1_MATCH, lane), 255);
    assert_int_equal(got_flag(f, VAR_TOP3_HIT, lane), 255);
    assert_int_equal(got_i32(f, VAR_ARGMAX, lane), -1);
    assert_int_equal(got_i32(f, VAR_TARGET, lane), -1);
}

/* Lane 8 has no row yet and feeds lane 0's token; lane 3 has ended. */
static void test_absent_lanes(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(40, 3);
    f->end[3] = STEP;
    f->end[4] = STEP + 1;
    f->target_at[5] = -1;
    measure(f);
    expect_absent(f, 8);
    assert_int_equal(got_i32(f, VAR_TOKEN, 8), TOKEN_BASE + f->row_of_lane[0]);
    expect_absent(f, 3);
    assert_int_equal(got_i32(f, VAR_TOKEN, 3), -1);
    expect_lane(f, 4);
    assert_true(isnan(got(f, VAR_NLL, 5)) && got(f, VAR_ENTROPY, 5) > 0);
    assert_int_equal(got_flag(f, VAR_TOP3_HIT, 5), 255);
    assert_int_equal(got_i32(f, VAR_TARGET, 5), -1);
}

/* From the divergence on the comparisons are gone and the lane's own figures go on; the twin's divergence takes those with it. */
static void test_divergence(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(40, 3);
    f->diverged[2] = STEP;
    f->diverged[3] = STEP + 1;
    f->diverged[6] = STEP - 1;
    f->twin[5] = 6;
    measure(f);
    assert_true(isnan(got(f, VAR_LOGIT_KL, 2)) && isnan(got(f, VAR_KL_CLEAN, 2)) && isnan(got(f, VAR_HIDDEN_ERR, 2)));
    assert_int_equal(got_flag(f, VAR_TOP1_MATCH, 2), 255);
    assert_true(got(f, VAR_NLL, 2) > 0 && got(f, VAR_ENTROPY, 2) > 0);
    assert_int_not_equal(got_flag(f, VAR_TOP3_HIT, 2), 255);
    expect_lane(f, 3);
    assert_true(isnan(got(f, VAR_KL_CLEAN, 5)) && isnan(got(f, VAR_HIDDEN_ACCUM, 5)) && got(f, VAR_LOGIT_KL, 5) > 0);
}

static void test_group_off(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(40, 3);
    record_layout_init(&f->layout, N_LANES, 1, 1, 0, 0);
    record_clear(&f->layout, f->record);
    measure(f);
    assert_int_equal(got_i32(f, VAR_TOKEN, 2), TOKEN_BASE + 1);
    assert_in_range(got_i32(f, VAR_ARGMAX, 2), 0, 39);
    f->args.m.n_lanes = MAX_LANES + 1;
    assert_int_equal(cpu_measure_logits(&f->device, &f->args), -1);
    assert_non_null(strstr(fail_text(), "1025 lanes"));
}

static void expect_same_bits(enum cpu_isa isa)
{
    static unsigned char want[MAX_RECORD];
    static const int vocabs[] = { 1, 7, 50, 10007 };
    for (size_t i = 0; i < sizeof vocabs / sizeof *vocabs; i++)
        for (int n_threads = 1; n_threads <= 4; n_threads++) {
            struct fixture *f = fresh(vocabs[i], 12);
            f->device.n_threads = 1;
            measure(f);
            memcpy(want, f->record, sizeof want);
            record_clear(&f->layout, f->record);
            f->device = (struct device){ .isa = isa, .n_threads = n_threads };
            measure(f);
            assert_memory_equal(f->record, want, f->layout.n_bytes);
        }
}

static void test_bits_portable(void **unused)
{
    (void)unused;
    expect_same_bits(CPU_PORTABLE);
}

static void test_bits_avx2(void **unused)
{
    (void)unused;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        expect_same_bits(CPU_AVX2);
        return;
    }
#endif
    print_message("# skip: this processor does not have it\n");
    skip();
}

static void test_bits_avx512(void **unused)
{
    (void)unused;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        expect_same_bits(CPU_AVX512);
        return;
    }
#endif
    print_message("# skip: this processor does not have it\n");
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definitions),   cmocka_unit_test(test_hidden),     cmocka_unit_test(test_exact),
        cmocka_unit_test(test_small_divergence), cmocka_unit_test(test_ties),    cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_absent_lanes),  cmocka_unit_test(test_divergence), cmocka_unit_test(test_group_off),
        cmocka_unit_test(test_bits_portable), cmocka_unit_test(test_bits_avx2),  cmocka_unit_test(test_bits_avx512),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
