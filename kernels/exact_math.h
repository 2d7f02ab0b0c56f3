/* kernels/exact_math.h: exponential, logarithm, sine and cosine whose bits are the same on every machine.
 *
 * Only IEEE basic operations and spelled-out fused multiply-adds, no tables, no library function that a processor could
 * change: the scalar code here and the vector code of exact_math_avx2.h and exact_math_avx512.h do the same operations in
 * the same order.  Polynomials are minimax fits (Remez) of our own; the reductions are Cody and Waite's with fused
 * multiply-adds, the logarithm's form in s = f / (2 + f) is the classical one.
 *
 *   exact_expf  < 1.01 ulp  NaN -> NaN, -inf and all below ln 2^-126 -> 0 (never subnormal), 0 -> 1, above ln FLT_MAX -> inf
 *   exact_exp   < 1.01 ulp  the same with ln 2^-1022 and ln DBL_MAX
 *   exact_log   < 0.9 ulp   0 -> -inf, below 0 -> NaN, inf -> inf, NaN -> NaN; subnormal arguments are exact too
 *   exact_sincos< 0.9 ulp   |x| up to 2^31; beyond it, inf and NaN -> NaN
 *   exact_logf, exact_sincosf: the double function's value rounded once, so 0.5 ulp and a trace more                */
#ifndef KERNELS_EXACT_MATH_H
#define KERNELS_EXACT_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* exp(x) = 2^n (1 + r + r^2 q(r)), n = x log2(e) to the nearest, |r| <= ln(2) / 2. */
#define EXPF_LOG2E 0x1.715476p+0f
#define EXPF_MAGIC 0x1.8p23f /* t = x log2(e) + MAGIC holds n in its low bits */
#define EXPF_LN2_HI 0x1.62e43p-1f
#define EXPF_LN2_LO -0x1.05c61p-29f
#define EXPF_Q0 0x1.fffffcp-2f
#define EXPF_Q1 0x1.555492p-3f
#define EXPF_Q2 0x1.5558f2p-5f
#define EXPF_Q3 0x1.123a2p-7f
#define EXPF_Q4 0x1.6a23dp-10f
#define EXPF_LOW -0x1.5d589ep+6f /* exp of it is the first at or above 2^-126 */
#define EXPF_HIGH 0x1.62e42ep+6f /* exp of it is the last finite one */

#define EXP_LOG2E 0x1.71547652b82fep+0
#define EXP_MAGIC 0x1.8p52
#define EXP_LN2_HI 0x1.62e42fefa39efp-1
#define EXP_LN2_LO 0x1.abc9e3b39803fp-56
#define EXP_Q0 0x1p-1
#define EXP_Q1 0x1.555555555555bp-3
#define EXP_Q2 0x1.5555555555503p-5
#define EXP_Q3 0x1.111111110ec3fp-7
#define EXP_Q4 0x1.6c16c16c305ddp-10
#define EXP_Q5 0x1.a01a01b38a170p-13
#define EXP_Q6 0x1.a01a01364e06ap-16
#define EXP_Q7 0x1.71ddf00282580p-19
#define EXP_Q8 0x1.27e5b49341302p-22
#define EXP_Q9 0x1.af6c1db8082b6p-26
#define EXP_Q10 0x1.1e3d06ff25cfcp-29
#define EXP_LOW -0x1.6232bdd7abcd2p+9
#define EXP_HIGH 0x1.62e42fefa39efp+9

static inline uint32_t exact_bits_f32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float exact_f32_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint64_t exact_bits_f64(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double exact_f64_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline float exact_expf(float x)
{
    if (!(x <= EXPF_HIGH)) return x + INFINITY;
    if (x < EXPF_LOW) return 0;
    const float t = fmaf(x, EXPF_LOG2E, EXPF_MAGIC), n = t - EXPF_MAGIC;
    const float r = fmaf(n, -EXPF_LN2_LO, fmaf(n, -EXPF_LN2_HI, x));
    float q = fmaf(EXPF_Q4, r, EXPF_Q3);
    q = fmaf(q, r, EXPF_Q2);
    q = fmaf(q, r, EXPF_Q1);
    q = fmaf(q, r, EXPF_Q0);
    const float p = fmaf(r * r, q, r) + 1;
    return exact_f32_of(exact_bits_f32(p) + (exact_bits_f32(t) << 23));
}

static inline double exact_exp(double x)
{
    if (!(x <= EXP_HIGH)) return x + (double)INFINITY;
    if (x < EXP_LOW) return 0;
    const double t = fma(x, EXP_LOG2E, EXP_MAGIC), n = t - EXP_MAGIC;
    const double r = fma(n, -EXP_LN2_LO, fma(n, -EXP_LN2_HI, x));
    double q = fma(EXP_Q10, r, EXP_Q9);
    q = fma(q, r, EXP_Q8);
    q = fma(q, r, EXP_Q7);
    q = fma(q, r, EXP_Q6);
    q = fma(q, r, EXP_Q5);
    q = fma(q, r, EXP_Q4);
    q = fma(q, r, EXP_Q3);
    q = fma(q, r, EXP_Q2);
    q = fma(q, r, EXP_Q1);
    q = fma(q, r, EXP_Q0);
    const double p = fma(r * r, q, r) + 1;
    return exact_f64_of(exact_bits_f64(p) + (exact_bits_f64(t) << 52));
}

/* log(x) = k ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)); with s = f / (2 + f) and z = s^2,
 * log(1 + f) = f - f^2/2 + s (f^2/2 + z L(z)). */
static inline double exact_log(double x)
{
    static const double ln2_hi = 0x1.62e42fefa38p-1, ln2_lo = 0x1.ef35793c7673p-45; /* k ln2_hi is exact */
    static const double l[8] = {
        0x1.5555555555555p-1, 0x1.9999999999e06p-2, 0x1.249249242aaf4p-2, 0x1.c71c7259aa5bdp-3,
        0x1.745cddff5d5ebp-3, 0x1.3b20b4e005b2cp-3, 0x1.0f5bf5effc9a4p-3, 0x1.0f6a9ad8c35d3p-3
    };
    if (!(x > 0)) return x == 0 ? -(double)INFINITY : (double)NAN;
    if (x == (double)INFINITY) return x;
    const double up = x < 0x1p-1022 ? 54 : 0;
    const uint64_t bits = exact_bits_f64(up > 0 ? x * 0x1p54 : x);
    const uint64_t above = bits - 0x3fe6a09e667f3bcd; /* sqrt(1/2) */
    const double k = (double)((int64_t)above >> 52) - up;
    const double f = exact_f64_of(bits - (above & 0xfff0000000000000)) - 1;
    const double s = f / (2 + f), z = s * s, half = 0.5 * f * f;
    double q = l[7];
    for (int i = 6; i >= 0; i--) q = fma(q, z, l[i]);
    return k * ln2_hi - ((half - fma(s, fma(z, q, half), k * ln2_lo)) - f);
}

/* x = n pi/2 + r + tail, |r| <= pi/4, pi/2 in three parts. */
static inline void exact_sincos(double x, double *sine, double *cosine)
{
    static const double half_pi[3] = { 0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110 };
    static const double s[7] = { -0x1.5555555555555p-3, 0x1.111111111110bp-7,   -0x1.a01a01a018ab3p-13,
                                 0x1.71de3a5335618p-19, -0x1.ae645292df2ddp-26, 0x1.61208f32cf11fp-33,
                                 -0x1.aaa380cbe999dp-41 };
    static const double c[7] = { 0x1.5555555555555p-5,   -0x1.6c16c16c16c10p-10, 0x1.a01a01a018dbfp-16,
                                 -0x1.27e4fb75fa933p-22, 0x1.1eed8ca05fc20p-29,  -0x1.9393347b107cbp-37,
                                 0x1.aac3f42e5cb64p-45 };
    if (!(fabs(x) <= 0x1p31)) {
        *sine = *cosine = (double)NAN;
        return;
    }
    const double t = fma(x, 0x1.45f306dc9c883p-1, EXP_MAGIC), n = t - EXP_MAGIC;
    const double near = fma(-n, half_pi[0], x); /* exact: a multiple of 2^-53 below 1 */
    const double step = n * half_pi[1], step_low = fma(n, half_pi[1], -step);
    const double r = near - step, back = r - near; /* the sum's error, as Knuth's two-sum gives it */
    const double low = (near - (r - back)) - (step + back);
    const double tail = low - fma(n, half_pi[2], step_low);
    const double z = r * r, half = 0.5 * z, one = 1 - half;
    double p = s[6], q = c[6];
    for (int i = 5; i >= 0; i--) {
        p = fma(p, z, s[i]);
        q = fma(q, z, c[i]);
    }
    const double sin_r = r + fma(z * r, p, tail * one);
    const double cos_r = one + (((1 - one) - half) + fma(z * z, q, -(r * tail)));
    const uint64_t quadrant = exact_bits_f64(t) & 3;
    const double a = quadrant & 1 ? cos_r : sin_r, b = quadrant & 1 ? sin_r : cos_r;
    *sine = quadrant & 2 ? -a : a;
    *cosine = quadrant == 1 || quadrant == 2 ? -b : b;
}

static inline float exact_logf(float x)
{
    return (float)exact_log((double)x);
}

static inline void exact_sincosf(float x, float *sine, float *cosine)
{
    double s, c;
    exact_sincos((double)x, &s, &c);
    *sine = (float)s;
    *cosine = (float)c;
}

#endif
