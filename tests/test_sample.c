/* Sampling: the choice against its definition (Gumbel noise added to the logs, a sorted nucleus) in long double, and its
 * distribution against the probabilities; greedy choices, ties, rows without numbers, divergence. */
#include "core/err.h"
#include "core/philox.h"
#include "kernels/cpu.h"
#include "kernels/measure.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N_LANES = 4, MAX_VOCAB = 600, SEED = 11 };

struct fixture {
    float logits[N_LANES * MAX_VOCAB];
    int32_t step, row_of_lane[N_LANES], from_lane[N_LANES], token_at[N_LANES], tokens[N_LANES], diverged[N_LANES];
    double workspace[8][MAX_VOCAB * 3 / 2];
    struct sample_args args;
    struct device device;
};

static struct fixture *fresh(int vocab, float scale)
{
    static struct fixture f;
    memset(&f, 0, sizeof f);
    for (int i = 0; i < N_LANES * vocab; i++) {
        const uint32_t counter[4] = { (uint32_t)i, 0, 0, 97 }, key[2] = { 5, 0 };
        uint32_t out[4];
        philox4x32(counter, key, out);
        f.logits[i] = philox_signed_f32(out[0]) * scale;
    }
    for (int i = 0; i < N_LANES; i++) {
        f.row_of_lane[i] = N_LANES - 1 - i;
        f.from_lane[i] = f.token_at[i] = i;
        f.tokens[i] = f.diverged[i] = -1;
    }
    f.device = (struct device){ .isa = CPU_PORTABLE, .n_threads = 2, .workspace = (char *)f.workspace, .workspace_bytes = sizeof f.workspace[0] };
    f.args = (struct sample_args){ .n_lanes = N_LANES, .vocab = vocab, .row_of_lane = f.row_of_lane, .from_lane = f.from_lane,
                                   .logits = f.logits, .step = &f.step, .temperature = 1, .top_p = 1, .seed = SEED, .tokens = f.tokens,
                                   .token_at = f.token_at };
    return &f;
}

static float *logits_of(struct fixture *f, int lane)
{
    return f->logits + f->row_of_lane[lane] * f->args.vocab;
}

static void sample(struct fixture *f, int step)
{
    f->step = step;
    assert_int_equal(cpu_sample(&f->device, &f->args), 0);
}

/* Whether id is in the nucleus: the probability of all that come before it is below top_p. */
static bool in_nucleus(const float *x, int n, double temperature, double top_p, int id)
{
    long double before = 0, all = 0;
    for (int i = 0; i < n; i++) {
        const long double w = expl(((long double)x[i] - x[id]) / temperature);
        all += w;
        if (x[i] > x[id] || (x[i] == x[id] && i < id)) before += w;
    }
    return before == 0 || before < top_p * all;
}

static int plain_choice(const float *x, int n, double temperature, double top_p, int step)
{
    int choice = -1;
    long double most = -INFINITY;
    for (int id = 0; id < n; id++) {
        const uint32_t counter[4] = { (uint32_t)id, (uint32_t)step, 0, PHILOX_SAMPLE }, key[2] = { SEED, 0 };
        uint32_t out[4];
        philox4x32(counter, key, out);
        const long double gumbel = -logl(-logl(philox_uniform(out[0], out[1]))), score = x[id] / temperature + gumbel;
        if (score <= most || !in_nucleus(x, n, temperature, top_p, id)) continue;
        most = score;
        choice = id;
    }
    return choice;
}

/* The same token as the definition's.  Two scores closer than double precision would have to meet to differ: among 600 tokens
 * and some hundred choices that has a chance below 1e-8. */
static void test_definition(void **unused)
{
    (void)unused;
    static const struct {
        int vocab;
        float scale;
        double temperature, top_p;
    } cases[] = { { 1, 1, 1, 1 },      { 7, 2, 0.5, 1 },     { 50, 3, 1, 0.9 },     { 600, 4, 0.7, 0.95 },
                  { 600, 0, 1, 0.5 },  { 600, 30, 2, 0.99 }, { 333, 4, 1, 0.0001 }, { 100, 900, 0.01, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture *f = fresh(cases[i].vocab, cases[i].scale);
        f->args.temperature = cases[i].temperature;
        f->args.top_p = cases[i].top_p;
        for (int step = -1; step < 20; step++) {
            sample(f, step);
            for (int lane = 0; lane < N_LANES; lane++)
                assert_int_equal(f->tokens[lane],
                                 plain_choice(logits_of(f, lane), cases[i].vocab, cases[i].temperature, cases[i].top_p, step));
        }
    }
}

/* Pearson's statistic of n_steps choices; a token of probability 0 must never come. */
static double chi_square(struct fixture *f, const double *p, int n_steps)
{
    int count[MAX_VOCAB] = { 0 };
    for (int step = 0; step < n_steps; step++) {
        sample(f, step);
        count[f->tokens[0]]++;
    }
    double sum = 0;
    for (int i = 0; i < f->args.vocab; i++) {
        if (p[i] == 0) assert_int_equal(count[i], 0);
        else sum += (count[i] - n_steps * p[i]) * (count[i] - n_steps * p[i]) / (n_steps * p[i]);
    }
    return sum;
}

/* Six tokens with probabilities 32, 16, 8, 4, 2, 2 of 64 (logits ln 2 apart), 20,000 choices.  Bounds: the chi-square
 * distribution's upper tail of 1e-6, its density integrated numerically, for one degree of freedom less than tokens: 35.89, 30.66, 27.63, 23.93. */
static void test_distribution(void **unused)
{
    (void)unused;
    static const struct {
        double temperature, top_p, p[6], bound;
    } cases[] = {
        { 1, 1, { 4. / 64, 32. / 64, 2. / 64, 16. / 64, 2. / 64, 8. / 64 }, 35.89 },
        { 1, 0.9, { 4. / 60, 32. / 60, 0, 16. / 60, 0, 8. / 60 }, 30.66 },                /* 32 + 16 + 8 of 64 are 0.875: one more */
        { 1, 0.87, { 0, 32. / 56, 0, 16. / 56, 0, 8. / 56 }, 27.63 },
        { 0.5, 0.9, { 0, 0.8, 0, 0.2, 0, 0 }, 23.93 },                                    /* weights squared: 1024, 256, 64, 16, 4, 4 */
        { 1, 0.4, { 0, 1, 0, 0, 0, 0 }, 0 },
    };
    static const float x[6] = { -3, 0, -4, -1, -4, -2 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture *f = fresh(6, 1);
        for (int id = 0; id < 6; id++) logits_of(f, 0)[id] = x[id] * 0.69314718f;
        f->args.n_lanes = 1;
        f->args.temperature = cases[i].temperature;
        f->args.top_p = cases[i].top_p;
        const double chi = chi_square(f, cases[i].p, 20000);
        if (!(chi <= cases[i].bound)) fail_msg("case %zu: chi-square %.3f above %.3f", i, chi, cases[i].bound);
    }
}

/* Another seed, another step: other noise. */
static void test_noise_changes(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(600, 0);
    int first[3];
    for (int i = 0; i < 3; i++) {
        f->args.seed = i == 2 ? (uint64_t)SEED << 32 : SEED;
        sample(f, i == 1 ? 8 : 7);
        first[i] = f->tokens[0];
    }
    assert_true(first[0] != first[1] && first[0] != first[2]);
}

/* All lanes meet the same noise: equal logits in different rows give equal tokens, and so do logits a constant apart. */
static void test_same_noise_for_all_lanes(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(500, 0);
    f->args.top_p = 0.93;
    for (int i = 0; i < 500; i++)
        for (int lane = 0; lane < N_LANES; lane++) logits_of(f, lane)[i] = (float)(i * 37 % 101) * 0.0625f + (float)(lane % 2);
    for (int step = 0; step < 50; step++) {
        sample(f, step);
        for (int lane = 1; lane < N_LANES; lane++) assert_int_equal(f->tokens[lane], f->tokens[0]);
    }
}

static void test_greedy(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(33, 3);
    f->args.temperature = 0;
    f->args.top_p = 0.5;
    logits_of(f, 0)[31] = logits_of(f, 0)[12] = logits_of(f, 0)[20] = 4;
    logits_of(f, 1)[32] = 4;
    for (int i = 0; i < 33; i++) logits_of(f, 2)[i] = -INFINITY, logits_of(f, 3)[i] = 1;
    sample(f, 0);
    assert_int_equal(f->tokens[0], 12);
    assert_int_equal(f->tokens[1], 32);
    assert_int_equal(f->tokens[2], 0);
    assert_int_equal(f->tokens[3], 0);
}

/* A row that is not all finite numbers: the greatest number, 0 where there is none, at any temperature; never an id outside. */
static void test_no_numbers(void **unused)
{
    (void)unused;
    for (int greedy = 0; greedy < 2; greedy++) {
        struct fixture *f = fresh(21, 3);
        f->args.temperature = greedy ? 0 : 1;
        f->args.top_p = 0.9;
        logits_of(f, 0)[3] = NAN;
        logits_of(f, 0)[19] = 4;
        for (int i = 0; i < 21; i++) logits_of(f, 1)[i] = NAN;
        logits_of(f, 2)[7] = INFINITY;
        logits_of(f, 3)[0] = -INFINITY;
        logits_of(f, 3)[20] = 5;
        sample(f, 1);
        assert_int_equal(f->tokens[0], 19);
        assert_int_equal(f->tokens[1], 0);
        assert_int_equal(f->tokens[2], 7);
        assert_int_equal(f->tokens[3], 20);
    }
}

/* Whose logits choose, and who is left alone. */
static void test_sources(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(64, 8);
    f->args.temperature = 0;
    f->from_lane[1] = 0;  /* follows lane 0 */
    f->from_lane[2] = -1; /* gets nothing */
    f->from_lane[3] = 2;
    f->token_at[3] = 2;
    sample(f, 0);
    assert_int_equal(f->tokens[0], plain_choice(logits_of(f, 0), 64, 1e-9, 1, 0));
    assert_int_equal(f->tokens[1], f->tokens[0]);
    assert_int_equal(f->tokens[2], plain_choice(logits_of(f, 2), 64, 1e-9, 1, 0));
    assert_int_equal(f->tokens[3], -1);

    f = fresh(64, 8);
    f->row_of_lane[3] = -1; /* no row: its token stays */
    sample(f, 0);
    assert_int_equal(f->tokens[3], -1);
    assert_in_range(f->tokens[0], 0, 63);
}

static void test_divergence(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(64, 8);
    f->args.temperature = 0;
    f->args.diverged = f->diverged;
    memcpy(logits_of(f, 1), logits_of(f, 0), 64 * sizeof(float));
    f->diverged[3] = 2;
    sample(f, 5);
    assert_int_equal(f->diverged[0], -1);
    assert_int_equal(f->diverged[1], -1);
    assert_int_not_equal(f->tokens[2], f->tokens[0]);
    assert_int_equal(f->diverged[2], 6); /* the step that feeds the other token */
    assert_int_equal(f->diverged[3], 2); /* the first stays */
    memcpy(logits_of(f, 2), logits_of(f, 0), 64 * sizeof(float));
    sample(f, 6);
    assert_int_equal(f->diverged[2], 6); /* and meeting again does not undo it */
}

static void test_refusals(void **unused)
{
    (void)unused;
    struct fixture *f = fresh(64, 8);
    f->device.workspace_bytes = 100;
    assert_int_equal(cpu_sample(&f->device, &f->args), -1);
    assert_non_null(strstr(fail_text(), "workspace"));
    f = fresh(64, 8);
    f->args.n_lanes = MAX_LANES + 1;
    assert_int_equal(cpu_sample(&f->device, &f->args), -1);
}

static void expect_same_choices(enum cpu_isa isa)
{
    static const double top_p[] = { 0.8, 1 };
    for (int i = 0; i < 2; i++)
        for (int n_threads = 1; n_threads <= 3; n_threads++)
            for (int step = 0; step < 20; step++) {
                struct fixture *f = fresh(531, 5);
                f->args.top_p = top_p[i];
                f->args.temperature = 0.6;
                sample(f, step);
                int32_t want[N_LANES];
                memcpy(want, f->tokens, sizeof want);
                f->device.isa = isa;
                f->device.n_threads = n_threads;
                memset(f->tokens, 0xff, sizeof f->tokens);
                sample(f, step);
                assert_memory_equal(f->tokens, want, sizeof want);
            }
}

static void test_choices_portable(void **unused)
{
    (void)unused;
    expect_same_choices(CPU_PORTABLE);
}

static void test_choices_avx2(void **unused)
{
    (void)unused;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        expect_same_choices(CPU_AVX2);
        return;
    }
#endif
    print_message("# skip: this processor does not have it\n");
    skip();
}

static void test_choices_avx512(void **unused)
{
    (void)unused;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        expect_same_choices(CPU_AVX512);
        return;
    }
#endif
    print_message("# skip: this processor does not have it\n");
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),  cmocka_unit_test(test_distribution),     cmocka_unit_test(test_noise_changes),
        cmocka_unit_test(test_same_noise_for_all_lanes), cmocka_unit_test(test_greedy), cmocka_unit_test(test_no_numbers),
        cmocka_unit_test(test_sources),     cmocka_unit_test(test_divergence),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_choices_portable), cmocka_unit_test(test_choices_avx2), cmocka_unit_test(test_choices_avx512),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
