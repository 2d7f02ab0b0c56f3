#include "kernels/exact_math.h"
#include "tests/matrix_cases.h"

#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The vector code is compiled here for its instruction set, and run where the processor has it. */
#if defined(__x86_64__) && !defined(__clang__)
#define HAVE_VECTORS 1
#include <immintrin.h>
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#include "kernels/exact_math_avx2.h"
static void expf_avx2(const float *x, float *y)
{
    for (int i = 0; i < 16; i += 8) _mm256_storeu_ps(y + i, exact_expf_avx2(_mm256_loadu_ps(x + i)));
}
static void exp_avx2(const double *x, double *y)
{
    for (int i = 0; i < 8; i += 4) _mm256_storeu_pd(y + i, exact_exp_avx2(_mm256_loadu_pd(x + i)));
}
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq")
#include "kernels/exact_math_avx512.h"
static void expf_avx512(const float *x, float *y)
{
    _mm512_storeu_ps(y, exact_expf_avx512(_mm512_loadu_ps(x)));
}
static void exp_avx512(const double *x, double *y)
{
    _mm512_storeu_pd(y, exact_exp_avx512(_mm512_loadu_pd(x)));
}
#pragma GCC pop_options
#else
#define HAVE_VECTORS 0
#endif

/* Distance in units of the last of `digits` binary digits at `want`, a normal number. */
static double ulps(double got, long double want, int digits)
{
    int exponent;
    frexpl(want, &exponent);
    return (double)(fabsl((long double)got - want) / ldexpl(1, exponent - digits));
}

static void check_expf(float x)
{
    const float y = exact_expf(x);
    const long double want = expl((long double)x);
    if (want < 0x1p-126L) {
        if (exact_bits_f32(y) != 0) fail_msg("expf(%a) = %a, not 0", (double)x, (double)y);
    } else if (want > (long double)FLT_MAX) {
        if (y != INFINITY) fail_msg("expf(%a) = %a, not infinite", (double)x, (double)y);
    } else if (!(ulps((double)y, want, 24) < 1.01)) {
        fail_msg("expf(%a) = %a: %g ulp", (double)x, (double)y, ulps((double)y, want, 24));
    }
}

/* One in 997 of all floats; the bounds of the header. */
static void test_expf(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7f800000; bits += 997) {
        check_expf(exact_f32_of(bits));
        check_expf(exact_f32_of(bits | 0x80000000));
    }
    for (int i = -2000; i <= 2000; i++) { /* around both ends, and where n steps */
        check_expf(exact_f32_of(exact_bits_f32(EXPF_LOW) + (uint32_t)i));
        check_expf(exact_f32_of(exact_bits_f32(EXPF_HIGH) + (uint32_t)i));
        check_expf(exact_f32_of(exact_bits_f32(0.34657359f) + (uint32_t)i));
    }
    assert_true(exact_expf(0) == 1 && exact_expf(-0.0f) == 1);
    assert_true(exact_expf(-INFINITY) == 0 && !signbit(exact_expf(-INFINITY)));
    assert_true(exact_expf(INFINITY) == INFINITY && isnan(exact_expf(NAN)));
}

enum { N_RANDOM = 400000 };

static double uniform(uint64_t *seed)
{
    return ((double)case_random(seed) * 0x1p31 + (double)case_random(seed)) * 0x1p-62;
}

static void test_exp(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (int i = 0; i < N_RANDOM; i++) {
        const double size[] = { 708, 1, 1e-3, 30 }, x = (2 * uniform(&seed) - 1) * size[i % 4];
        const double u = ulps(exact_exp(x), expl((long double)x), 53);
        if (!(u < 1.01)) fail_msg("exp(%a): %g ulp", x, u);
    }
    assert_true(exact_exp(0) == 1 && exact_exp(-INFINITY) == 0 && exact_exp((double)INFINITY) == (double)INFINITY &&
                isnan(exact_exp((double)NAN)));
    assert_true(exact_exp(EXP_LOW) >= DBL_MIN && exact_exp(nextafter(EXP_LOW, -1000)) == 0);
    assert_true(isfinite(exact_exp(EXP_HIGH)) && exact_exp(nextafter(EXP_HIGH, 1000)) == (double)INFINITY);
}

static void test_log(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int i = 0; i < N_RANDOM; i++) {
        const double r = uniform(&seed), near_one = 1 + (r - 0.5) * 0x1p-10;
        const double all = exact_f64_of((uint64_t)(r * 0x1p63) % 0x7ff0000000000000),
                     x[] = { all, 0.5 + 2 * r, near_one, r * 0x1p-1030 };
        if (x[i % 4] == 0 || x[i % 4] == 1) continue;
        const double u = ulps(exact_log(x[i % 4]), logl((long double)x[i % 4]), 53);
        if (!(u < 0.9)) fail_msg("log(%a): %g ulp", x[i % 4], u);
    }
    assert_true(exact_log(1) == 0 && exact_log(0) == -(double)INFINITY && exact_log(-0.0) == -(double)INFINITY);
    assert_true(isnan(exact_log(-1)) && isnan(exact_log((double)NAN)) &&
                exact_log((double)INFINITY) == (double)INFINITY);
    assert_true(exact_logf(2) == 0x1.62e43p-1f);
}

/* Also next to multiples of pi/2, where all digits but the last ones cancel. */
static void test_sincos(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < N_RANDOM; i++) {
        const double r = uniform(&seed),
                     x[] = { (2 * r - 1) * 0x1p31, (2 * r - 1) * 1000, floor(r * 0x1p30) * 1.5707963267948966, r };
        double sine, cosine;
        exact_sincos(x[i % 4], &sine, &cosine);
        const double u = ulps(sine, sinl((long double)x[i % 4]), 53), v = ulps(cosine, cosl((long double)x[i % 4]), 53);
        if (x[i % 4] != 0 && !(u < 0.9 && v < 0.9)) fail_msg("sin, cos(%a): %g, %g ulp", x[i % 4], u, v);
    }
    double sine, cosine;
    exact_sincos(0, &sine, &cosine);
    assert_true(sine == 0 && cosine == 1);
    const double outside[] = { 0x1.00001p31, (double)INFINITY, (double)NAN };
    for (int i = 0; i < 3; i++) {
        exact_sincos(outside[i], &sine, &cosine);
        assert_true(isnan(sine) && isnan(cosine));
    }
    float s, c;
    exact_sincosf(1, &s, &c);
    assert_true(s == 0x1.aed548p-1f && c == 0x1.14a28p-1f);
}

#if HAVE_VECTORS
static bool same(double a, double b)
{
    return isnan(a) ? isnan(b) : exact_bits_f64(a) == exact_bits_f64(b);
}
static void check_vectors(void (*of_floats)(const float *, float *), void (*of_doubles)(const double *, double *))
{
    float x[16], y[16];
    for (uint32_t bits = 0; bits < 0xffffffff - 16 * 1009u; bits += 16 * 1009u) { /* NaNs of all payloads among them */
        for (uint32_t i = 0; i < 16; i++) x[i] = exact_f32_of(bits + i * 1009);
        of_floats(x, y);
        for (int i = 0; i < 16; i++) {
            if (!same((double)y[i], (double)exact_expf(x[i]))) fail_msg("expf(%a) = %a", (double)x[i], (double)y[i]);
        }
    }
    uint64_t seed = 4;
    double a[8], b[8];
    for (int n = 0; n < N_RANDOM / 8; n++) {
        for (int i = 0; i < 8; i++) a[i] = (2 * uniform(&seed) - 1) * (i % 2 ? 720 : 2);
        if (n == 0)
            memcpy(a, (double[]){ 0, -0.0, (double)NAN, (double)INFINITY, -(double)INFINITY, EXP_LOW, EXP_HIGH, 1e300 },
                   sizeof a);
        of_doubles(a, b);
        for (int i = 0; i < 8; i++) {
            if (!same(b[i], exact_exp(a[i]))) fail_msg("exp(%a) = %a", a[i], b[i]);
        }
    }
}
#endif

static void check_isa(enum cpu_isa isa)
{
    int n;
    const enum cpu_isa *isas = case_isas(&n);
    for (int i = 0; i < n; i++) {
#if HAVE_VECTORS
        if (isas[i] == isa && isa == CPU_AVX2) {
            check_vectors(expf_avx2, exp_avx2);
            return;
        }
        if (isas[i] == isa && isa == CPU_AVX512) {
            check_vectors(expf_avx512, exp_avx512);
            return;
        }
#endif
    }
    (void)isa;
    (void)isas;
    skip();
}

static void test_avx2_gives_the_same_bits(void **state)
{
    (void)state;
    check_isa(CPU_AVX2);
}

static void test_avx512_gives_the_same_bits(void **state)
{
    (void)state;
    check_isa(CPU_AVX512);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expf),
        cmocka_unit_test(test_exp),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_sincos),
        cmocka_unit_test(test_avx2_gives_the_same_bits),
        cmocka_unit_test(test_avx512_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
