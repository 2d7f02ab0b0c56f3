/* kernels/measure_logits_passes.h: the passes of measure_logits.h, written once in vectors of eight and compiled for each
 * instruction set: the including file has defined v8d, exp8(v8d *) in place, and the name PASSES of its table.  Vectors of the
 * compiler have the semantics of their elements, so the bits do not depend on how wide the hardware is.     */
#include "kernels/measure_logits.h"

#include <math.h>
#include <string.h>

/* The warning is about vectors that a call returns to another file; here none does.  Vectors go in by address. */
#pragma GCC diagnostic ignored "-Wpsabi"

typedef float v8f __attribute__((vector_size(32)));
typedef int32_t v8i __attribute__((vector_size(32)));
typedef int64_t v8l __attribute__((vector_size(64)));

static inline v8f load8(const float *x)
{
    v8f v;
    memcpy(&v, x, sizeof v);
    return v;
}

/* The last n (1 .. 7) elements; `rest` in the places past them. */
static inline v8f load_tail(const float *x, int n, float rest)
{
    v8f v = { rest, rest, rest, rest, rest, rest, rest, rest };
    for (int i = 0; i < n; i++) v[i] = x[i];
    return v;
}

#define TO_DOUBLE(x) __builtin_convertvector((x), v8d)

/* x_i - max, and its exponential. */
static inline v8d logits_below(const v8f *x, double max)
{
    return TO_DOUBLE(*x) - max;
}

static inline v8d exp_of(const v8d *x)
{
    v8d e = *x;
    exp8(&e);
    return e;
}

static inline double sum8(const v8d *p)
{
    const v8d s = *p;
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* Keeps the first n terms, +0 in the places past them. */
static inline v8d first(const v8d *term, int n)
{
    const v8l index = { 0, 1, 2, 3, 4, 5, 6, 7 };
    return (v8d)((v8l)*term & (index < (int64_t)n));
}

/* The greatest number of a row, -inf where there is none; *finite: every logit is. */
static float row_max(const float *x, int n, bool *finite)
{
    v8f most = { -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY };
    v8i off = { 0 };
    for (int i = 0; i < n; i += 8) {
        const v8f v = i + 8 <= n ? load8(x + i) : load_tail(x + i, n - i, x[i]);
        const v8i more = v > most; /* false where v is no number */
        most = (v8f)(((v8i)v & more) | ((v8i)most & ~more));
        off |= v - v != 0;
    }
    float max = -INFINITY;
    int any = 0;
    for (int i = 0; i < 8; i++) {
        max = most[i] > max ? most[i] : max;
        any |= off[i];
    }
    *finite = !any;
    return max;
}

static void pass_row(struct logit_row *r)
{
    const float *x = r->x;
    const int n = r->n;
    bool finite;
    const float max = row_max(x, n, &finite);
    r->max = (double)max;
    r->argmax = 0;
    while (r->argmax < n && !(x[r->argmax] == max)) r->argmax++;
    if (r->argmax == n) r->argmax = -1;
    r->z = r->entropy = (double)NAN;
    if (!finite) return;
    v8d z = { 0 }, s = { 0 };
    for (int i = 0; i < n; i += 8) {
        const v8f v = i + 8 <= n ? load8(x + i) : load_tail(x + i, n - i, max);
        const v8d d = logits_below(&v, r->max), e = exp_of(&d), de = d * e;
        z += i + 8 <= n ? e : first(&e, n - i);
        s += i + 8 <= n ? de : first(&de, n - i);
    }
    r->z = sum8(&z);
    r->entropy = sum8(&s) / r->z;
}

static void pass_kl(struct logit_group *g)
{
    const struct logit_row *ref = g->ref, *row[LOGIT_GROUP];
    for (int k = 0; k < LOGIT_GROUP; k++) row[k] = g->row[k < g->n_rows ? k : 0];
    const int n = ref->n;
    v8d sum[LOGIT_GROUP] = { { 0 } };
    for (int i = 0; i < n; i += 8) {
        const v8f r = i + 8 <= n ? load8(ref->x + i) : load_tail(ref->x + i, n - i, (float)ref->max);
        const v8d d = logits_below(&r, ref->max), log_p = d - ref->log_z, e = exp_of(&d);
        for (int k = 0; k < LOGIT_GROUP; k++) {
            const v8f v = i + 8 <= n ? load8(row[k]->x + i) : load_tail(row[k]->x + i, n - i, 0);
            const v8d term = e * (log_p - (logits_below(&v, row[k]->max) - row[k]->log_z));
            sum[k] += i + 8 <= n ? term : first(&term, n - i);
        }
    }
    for (int k = 0; k < g->n_rows; k++) g->kl[k] = sum8(&sum[k]) / ref->z;
}

static int pass_rank(const struct logit_row *r, int id)
{
    const float *x = r->x, at = r->x[id];
    v8i above = { 0 }; /* a true comparison is -1 */
    int i = 0, rank = 0;
    for (; i + 8 <= id; i += 8) above += load8(x + i) >= at;
    for (; i < id; i++) rank += x[i] >= at;
    for (; i < r->n && i % 8 != 0; i++) rank += x[i] > at;
    for (; i + 8 <= r->n; i += 8) above += load8(x + i) > at;
    for (; i < r->n; i++) rank += x[i] > at;
    for (int k = 0; k < 8; k++) rank -= above[k];
    return rank;
}

static double pass_weigh(const struct logit_row *r, double temperature, double *weight)
{
    v8d sum = { 0 };
    for (int i = 0; i < r->n; i += 8) {
        const int n = r->n - i < 8 ? r->n - i : 8;
        const v8f v = n == 8 ? load8(r->x + i) : load_tail(r->x + i, n, (float)r->max);
        const v8d d = logits_below(&v, r->max) / temperature, e = exp_of(&d);
        sum += n == 8 ? e : first(&e, n);
        memcpy(weight + i, &e, (size_t)n * sizeof *weight);
    }
    return sum8(&sum);
}

const struct logit_passes PASSES = { pass_row, pass_kl, pass_rank, pass_weigh };
