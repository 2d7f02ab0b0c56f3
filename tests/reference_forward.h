/* tests/reference_forward.h: a transformer's logits, written as plainly as the formulas, in double: no cache, no blocks,
 * all positions of one sequence at once. */
#ifndef TESTS_REFERENCE_FORWARD_H
#define TESTS_REFERENCE_FORWARD_H

#include "core/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static inline double *ref_new(size_t n)
{
    double *p = calloc(n, sizeof *p);
    if (!p) abort();
    return p;
}

static inline double *ref_row(const struct tensor *t, int r)
{
    float *row = malloc((size_t)t->n_cols * sizeof *row);
    double *out = ref_new((size_t)t->n_cols);
    tensor_row(t, r, row);
    for (int c = 0; c < t->n_cols; c++) out[c] = (double)row[c];
    free(row);
    return out;
}

/* y[p][r] = sum_c w[r][c] x[p][c] + bias[r], x [n][w->n_cols], y [n][w->n_rows] */
static inline void ref_product(const struct tensor *w, const struct tensor *bias, const double *x, int n, double *y)
{
    double *b = bias && bias->data ? ref_row(bias, 0) : NULL;
#pragma omp parallel for schedule(static)
    for (int r = 0; r < w->n_rows; r++) {
        double *row = ref_row(w, r);
        for (int p = 0; p < n; p++) {
            const double *xp = x + (size_t)p * (size_t)w->n_cols;
            double sum[4] = { 0 };
            for (int c = 0; c < w->n_cols; c++) sum[c % 4] += row[c] * xp[c];
            y[(size_t)p * (size_t)w->n_rows + (size_t)r] = sum[0] + sum[1] + sum[2] + sum[3] + (b ? b[r] : 0);
        }
        free(row);
    }
    free(b);
}

/* y = x / rms(x) * weight for each of n rows of the weight's length; y may be x. */
static inline void ref_norm(const struct tensor *weight, double eps, const double *x, int n, double *y)
{
    const int width = weight->n_cols;
    double *w = ref_row(weight, 0);
    for (int p = 0; p < n; p++, x += width, y += width) {
        double squares = 0;
        for (int c = 0; c < width; c++) squares += x[c] * x[c];
        const double scale = 1 / sqrt(squares / width + eps);
        for (int c = 0; c < width; c++) y[c] = x[c] * scale * w[c];
    }
    free(w);
}

/* Rotates every head of x [n][n_heads][head_dim], row p at position p. */
static inline void ref_rotate(const struct model_shape *s, double *x, int n, int n_heads)
{
    const int half = s->head_dim / 2;
    double *f = ref_new((size_t)half);
    rope_frequencies(&s->rope, s->head_dim, f);
    for (int row = 0; row < n * n_heads; row++, x += s->head_dim) {
        for (int i = 0; i < half; i++) {
            double *a = s->rope.style == ROPE_PAIRS ? x + 2 * i : x + i;
            double *b = s->rope.style == ROPE_PAIRS ? a + 1 : a + half;
            const double angle = row / n_heads * f[i], u = *a, v = *b;
            *a = (u * cos(angle) - v * sin(angle)) * s->rope.attention_factor;
            *b = (u * sin(angle) + v * cos(angle)) * s->rope.attention_factor;
        }
    }
    free(f);
}

/* Causal attention: q, out [n][n_heads][head_dim]; k, v [n][n_kv_heads][head_dim]. */
static inline void ref_attend(const struct model_shape *s, const double *q, const double *k, const double *v, int n,
                              double *out)
{
    const int d = s->head_dim, group = s->n_heads / s->n_kv_heads;
    double *mass = ref_new((size_t)n);
    for (int p = 0; p < n; p++) {
        for (int h = 0; h < s->n_heads; h++) {
            const double *qh = q + (p * s->n_heads + h) * d;
            double *o = out + (p * s->n_heads + h) * d, top = -INFINITY, sum = 0;
            for (int t = 0; t <= p; t++) {
                mass[t] = 0;
                for (int i = 0; i < d; i++) mass[t] += qh[i] * k[(t * s->n_kv_heads + h / group) * d + i];
                mass[t] /= sqrt(d);
                top = fmax(top, mass[t]);
            }
            for (int t = 0; t <= p; t++) sum += mass[t] = exp(mass[t] - top);
            memset(o, 0, (size_t)d * sizeof *o);
            for (int t = 0; t <= p; t++)
                for (int i = 0; i < d; i++) o[i] += mass[t] / sum * v[(t * s->n_kv_heads + h / group) * d + i];
        }
    }
    free(mass);
}

static inline void ref_layer(const struct model *m, const struct model_layer *l, double *x, int n)
{
    const struct model_shape *s = &m->shape;
    const size_t rows = (size_t)n, hidden = (size_t)s->hidden, ffn = (size_t)s->ffn;
    const size_t n_q = (size_t)(s->n_heads * s->head_dim), n_kv = (size_t)(s->n_kv_heads * s->head_dim);
    double *h = ref_new(rows * hidden), *q = ref_new(rows * n_q), *o = ref_new(rows * n_q), *k = ref_new(rows * n_kv);
    double *v = ref_new(rows * n_kv), *gate = ref_new(rows * ffn), *up = ref_new(rows * ffn);
    ref_norm(&l->attn_norm, s->rms_eps, x, n, h);
    ref_product(&l->q, &l->q_bias, h, n, q);
    ref_product(&l->k, &l->k_bias, h, n, k);
    ref_product(&l->v, &l->v_bias, h, n, v);
    if (s->qk_norm) {
        ref_norm(&l->q_norm, s->rms_eps, q, n * s->n_heads, q);
        ref_norm(&l->k_norm, s->rms_eps, k, n * s->n_kv_heads, k);
    }
    ref_rotate(s, q, n, s->n_heads);
    ref_rotate(s, k, n, s->n_kv_heads);
    ref_attend(s, q, k, v, n, o);
    ref_product(&l->o, NULL, o, n, h);
    for (size_t i = 0; i < rows * hidden; i++) x[i] += h[i];
    ref_norm(&l->ffn_norm, s->rms_eps, x, n, h);
    ref_product(&l->gate, NULL, h, n, gate);
    ref_product(&l->up, NULL, h, n, up);
    for (size_t i = 0; i < rows * ffn; i++) up[i] *= gate[i] / (1 + exp(-gate[i]));
    ref_product(&l->down, NULL, up, n, h);
    for (size_t i = 0; i < rows * hidden; i++) x[i] += h[i];
    free(h), free(q), free(o), free(k), free(v), free(gate), free(up);
}

/* Logits [n][vocab] of the sequence ids [n]; the caller frees. */
static inline double *ref_logits(const struct model *m, const int32_t *ids, int n)
{
    const size_t hidden = (size_t)m->shape.hidden;
    double *x = ref_new((size_t)n * hidden), *logits = ref_new((size_t)n * (size_t)m->shape.vocab);
    for (int p = 0; p < n; p++) {
        double *row = ref_row(&m->embedding, ids[p]);
        memcpy(x + (size_t)p * hidden, row, hidden * sizeof *x);
        free(row);
    }
    for (int l = 0; l < m->shape.n_layers; l++) ref_layer(m, &m->layers[l], x, n);
    ref_norm(&m->output_norm, m->shape.rms_eps, x, n, x);
    ref_product(&m->output, NULL, x, n, logits);
    free(x);
    return logits;
}

#endif
