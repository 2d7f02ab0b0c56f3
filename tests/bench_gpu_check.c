/* Outputs on the device against double precision, from the K, V, queries and lists that the kernels themselves had.
 *
 * The device's layout is that of kernels/cuda.h: K and V of a (layer, sequence, KV head) are fp16 [token][head_dim].
 *
 * Attention.  The kernel rounds q to fp16, as here; its scores are float32 sums over head_dim; a weight is rounded to fp16 before it
 * meets V, its sum is not: so an output is off by at most 2^-11 of sum p |v| / sum p, and a score by (head_dim + 4) 2^-24 of
 * sum |q k|, which is less than 2^-13 of the weights for what is drawn here; sums of V in float32 are below 2^-15.
 *
 * Selection.  A score is a float32 chain over head_dim of max(q max, q min): off by (head_dim + 8) 2^-24 of the sum of their sizes. */
#include "tests/bench_gpu.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CHECKED = 4, CHECKED_ROWS = 3 };

/* One sequence and KV head. */
struct pair {
    int sequence, head, n_tokens; /* n_tokens: of the context */
    uint16_t *k, *v;              /* owned [all tokens of the tiles][head_dim] */
};

static const struct model_shape *shape_of(const struct bench_case *c)
{
    return &c->model.shape;
}

static void fetch(struct bench_case *c, void *host, const void *from, size_t n_bytes)
{
    must(c->l.mem.be->download(c->l.mem.dev, host, from, n_bytes));
    must(c->l.mem.be->sync(c->l.mem.dev));
}

static bool is_nan(uint16_t half)
{
    return (half & 0x7fff) > 0x7c00;
}

/* K and V of the tokens from .. to-1 that are not read; read: NULL where none is. */
static void must_be_nan(const struct pair *p, int dim, int from, int to, const uint8_t *read, const char *what)
{
    long long n_other = 0;
#pragma omp parallel for reduction(+ : n_other)
    for (int t = from; t < to; t++)
        for (size_t i = (size_t)t * (size_t)dim; !(read && read[t]) && i < (size_t)(t + 1) * (size_t)dim; i++)
            n_other += !is_nan(p->k[i]) + !is_nan(p->v[i]);
    if (n_other > 0) must(fail("sequence %d, KV head %d: %lld numbers %s are not NaN", p->sequence, p->head, n_other, what));
}

static size_t pair_at(const struct bench_case *c, int layer, const struct pair *p)
{
    return sizeof(uint16_t) * kv_own_at(&c->l.kv, layer, p->sequence, p->head, 0);
}

static void pair_open(struct bench_case *c, int layer, int index, struct pair *p)
{
    const int heads = shape_of(c)->n_kv_heads;
    *p = (struct pair){ .sequence = index / heads, .head = index % heads, .n_tokens = c->plan.prefill_tokens + c->plan.n_steps };
    const int n_all = c->l.kv.own_tiles * KV_TILE;
    const size_t n = (size_t)n_all * (size_t)shape_of(c)->head_dim;
    must(MEM_NEW(&p->k, n, "k"));
    must(MEM_NEW(&p->v, n, "v"));
    fetch(c, p->k, (const char *)c->l.kv.k_own + pair_at(c, layer, p), n * sizeof *p->k);
    fetch(c, p->v, (const char *)c->l.kv.v_own + pair_at(c, layer, p), n * sizeof *p->v);
    if (n_all == p->n_tokens) must(fail("a context of %d tokens leaves no rest of a tile", n_all));
    must_be_nan(p, shape_of(c)->head_dim, p->n_tokens, n_all, NULL, "beyond the context");
}

static void pair_close(struct pair *p)
{
    mem_free(p->k);
    mem_free(p->v);
}

/* Which pairs are looked at: all of them, or a few spread over them where there are many. */
static int n_pairs(const struct bench_case *c)
{
    const int all = c->plan.batch * shape_of(c)->n_kv_heads;
    return all < MAX_CHECKED ? all : MAX_CHECKED;
}

static int pair_index(const struct bench_case *c, int i)
{
    const int all = c->plan.batch * shape_of(c)->n_kv_heads;
    return n_pairs(c) == 1 ? 0 : i * (all - 1) / (n_pairs(c) - 1);
}

static double half(float x)
{
    return (double)f16_to_f32(f32_to_f16(x));
}

/* What a row and KV head reads: bytes [n_tokens], 1 where read. */
static void mark_read(struct bench_case *c, int row, int head, int n_tokens, uint8_t *read)
{
    const struct block_lists *lists = &c->l.f.lists;
    const size_t list = (size_t)row * (size_t)shape_of(c)->n_kv_heads + (size_t)head;
    const int size = c->plan.lanes[BENCH_RESA].block_size;
    int32_t count = 0, *blocks = NULL;
    fetch(c, &count, lists->count + list, sizeof count);
    if (count < 1 || count > lists->max_blocks) must(fail("a list of %d blocks", count));
    must(MEM_NEW(&blocks, count, "blocks"));
    fetch(c, blocks, lists->blocks + list * (size_t)lists->max_blocks, (size_t)count * sizeof *blocks);
    memset(read, 0, (size_t)n_tokens);
    for (int i = 0; i < count; i++)
        for (int t = blocks[i] * size; t < (blocks[i] + 1) * size && t < n_tokens; t++) read[t] = 1;
    mem_free(blocks);
}

/* One query head over the tokens that are read; the greatest error over its tolerance. */
static double attend_error(const struct pair *p, int dim, const float *q, const uint8_t *read, int n_tokens, const float *got)
{
    double *s = NULL, max = -INFINITY, sum = 0, worst = 0;
    must(MEM_NEW(&s, n_tokens, "scores"));
#pragma omp parallel for reduction(max : max)
    for (int t = 0; t < n_tokens; t++) {
        s[t] = -INFINITY;
        if (!read[t]) continue;
        double dot = 0;
        for (int i = 0; i < dim; i++) dot += half(q[i]) * (double)f16_to_f32(p->k[(size_t)t * (size_t)dim + (size_t)i]);
        s[t] = dot / sqrt(dim);
        max = fmax(max, s[t]);
    }
    for (int t = 0; t < n_tokens; t++) sum += s[t] = exp(s[t] - max);
#pragma omp parallel for reduction(max : worst)
    for (int i = 0; i < dim; i++) {
        double out = 0, size = 0;
        for (int t = 0; t < n_tokens; t++) {
            if (s[t] == 0) continue; /* an unread token may be NaN */
            const double v = (double)f16_to_f32(p->v[(size_t)t * (size_t)dim + (size_t)i]);
            out += s[t] * v;
            size += s[t] * fabs(v);
        }
        const double error = fabs((double)got[i] - out / sum) / ((0x1p-11 + 0x1p-13 + 0x1p-15) * size / sum);
        worst = isnan(error) ? INFINITY : fmax(worst, error);
    }
    mem_free(s);
    return worst;
}

/* A row of the pass, of the pair's sequence and KV head: the first query head of the group, and the last. */
static double row_error(struct bench_case *c, const struct pair *p, int row, int n_tokens, const uint8_t *read)
{
    const struct model_shape *s = shape_of(c);
    const int dim = s->head_dim, group = s->n_heads / s->n_kv_heads;
    float q[256], got[256];
    double worst = 0;
    for (int g = 0; g < group; g += group > 1 ? group - 1 : 1) {
        const size_t h = (size_t)(p->head * group + g) * (size_t)dim;
        fetch(c, q, c->l.f.qkv + (size_t)row * (size_t)shape_qkv(s) + h, (size_t)dim * sizeof *q);
        fetch(c, got, c->l.f.attn + (size_t)row * (size_t)(s->n_heads * dim) + h, (size_t)dim * sizeof *got);
        worst = fmax(worst, attend_error(p, dim, q, read, n_tokens, got));
    }
    return worst;
}

double check_attend(struct bench_case *c, int layer, int n_rows, bool window)
{
    double worst = 0;
    uint8_t *read = NULL;
    for (int i = 0; i < n_pairs(c); i++) {
        struct pair p;
        pair_open(c, layer, pair_index(c, i), &p);
        const int per = n_rows / c->plan.batch; /* rows of a sequence, the last at the last position */
        must(MEM_NEW(&read, p.n_tokens, "read"));
        for (int k = 0; k < CHECKED_ROWS; k++) {
            const int j = per == 1 ? 0 : k * (per - 1) / (CHECKED_ROWS - 1), n_tokens = p.n_tokens - (per - 1 - j);
            memset(read, 1, (size_t)p.n_tokens);
            if (!window && c->l.pass.sparse) {
                mark_read(c, p.sequence * per + j, p.head, n_tokens, read);
                must_be_nan(&p, shape_of(c)->head_dim, 0, n_tokens, read, "that are not selected");
            }
            worst = fmax(worst, row_error(c, &p, p.sequence * per + j, n_tokens, read));
            if (per == 1) break;
        }
        mem_free(read);
        read = NULL;
        pair_close(&p);
    }
    return worst;
}

/* ---- selection ---- */

/* Score of each block of a pair in double, and what a float32 chain may be off by. */
static void block_scores(struct bench_case *c, const struct pair *p, int n_blocks, int size, double *score, double *slack)
{
    const struct model_shape *s = shape_of(c);
    const int dim = s->head_dim, group = s->n_heads / s->n_kv_heads;
    float heads[16 * 256];
    double q[256];
    const size_t first = (size_t)p->sequence * (size_t)shape_qkv(s) + (size_t)(p->head * group * dim);
    fetch(c, heads, c->l.f.qkv + first, (size_t)(group * dim) * sizeof *heads);
    for (int i = 0; i < dim; i++) {
        float sum = heads[i];
        for (int g = 1; g < group; g++) sum += heads[g * dim + i];
        q[i] = (double)(sum / (float)group * (float)(1 / sqrt(dim)));
    }
#pragma omp parallel for
    for (int b = 0; b < n_blocks; b++) {
        score[b] = slack[b] = 0;
        for (int i = 0; i < dim; i++) {
            double low = INFINITY, high = -INFINITY;
            for (int t = b * size; t < (b + 1) * size && t < p->n_tokens; t++) {
                const double k = (double)f16_to_f32(p->k[(size_t)t * (size_t)dim + (size_t)i]);
                low = fmin(low, k);
                high = fmax(high, k);
            }
            const double x = fmax(q[i] * high, q[i] * low);
            score[b] += x;
            slack[b] += fabs(x);
        }
        slack[b] *= (dim + 8) * 0x1p-24;
    }
}

/* 0 where the list is what it should be; above 1: how far a block lies on the wrong side, over its slack. */
static double list_error(struct bench_case *c, const struct pair *p, const uint8_t *read)
{
    const struct lane_spec *l = &c->plan.lanes[BENCH_RESA];
    const int size = l->block_size, n_blocks = lane_n_blocks(l, p->n_tokens), n_local = l->local_blocks, n_rest = n_blocks - n_local;
    double *score = NULL, *slack = NULL, least = INFINITY, least_slack = 0, worst = 0;
    int n_read = 0;
    must(MEM_NEW(&score, n_blocks, "scores"));
    must(MEM_NEW(&slack, n_blocks, "scores"));
    block_scores(c, p, n_blocks, size, score, slack);
    for (int b = 0; b < n_blocks; b++) n_read += read[b * size];
    if (n_read != lane_n_selected(l, p->n_tokens)) worst = INFINITY;
    for (int b = n_rest; b < n_blocks; b++)
        if (!read[b * size]) worst = INFINITY;
    for (int b = 0; b < n_rest; b++)
        if (read[b * size] && score[b] < least) least = score[b], least_slack = slack[b];
    for (int b = 0; b < n_rest; b++)
        if (!read[b * size]) worst = fmax(worst, (score[b] - least) / (slack[b] + least_slack));
    mem_free(score);
    mem_free(slack);
    return fmax(worst, 0);
}

/* Opens a pair; which of its tokens the list of its last row reads: owned by the caller. */
static uint8_t *pair_open_read(struct bench_case *c, int layer, int index, struct pair *p)
{
    uint8_t *read = NULL;
    pair_open(c, layer, index, p);
    must(MEM_NEW(&read, p->n_tokens, "read"));
    mark_read(c, p->sequence, p->head, p->n_tokens, read);
    return read;
}

double check_select(struct bench_case *c, int layer)
{
    double worst = 0;
    for (int i = 0; i < n_pairs(c); i++) {
        struct pair p;
        uint8_t *read = pair_open_read(c, layer, pair_index(c, i), &p);
        worst = fmax(worst, list_error(c, &p, read));
        mem_free(read);
        pair_close(&p);
    }
    return worst;
}

void poison_unselected(struct bench_case *c, int layer)
{
    const size_t dim = (size_t)shape_of(c)->head_dim;
    for (int i = 0; i < n_pairs(c); i++) {
        struct pair p;
        uint8_t *read = pair_open_read(c, layer, pair_index(c, i), &p);
        for (int t = 0; t < p.n_tokens; t++)
            for (size_t k = 0; k < dim && !read[t]; k++) p.k[(size_t)t * dim + k] = p.v[(size_t)t * dim + k] = 0x7e00; /* NaN */
        const size_t n = (size_t)p.n_tokens * dim;
        must(c->l.mem.be->upload(c->l.mem.dev, (char *)c->l.kv.k_own + pair_at(c, layer, &p), p.k, n * sizeof *p.k));
        must(c->l.mem.be->upload(c->l.mem.dev, (char *)c->l.kv.v_own + pair_at(c, layer, &p), p.v, n * sizeof *p.v));
        mem_free(read);
        pair_close(&p);
    }
}
