/* kernels/cuda_product.cu: which kernel multiplies.  All of them give the same bits. */
#include "kernels/cuda_product.cuh"

/* Few rows: the weights' time; clusters of 4 where there are few tiles of outputs. */
static int few_rows(struct device *d, const struct product_job *j)
{
    const int n_columns = j->n_rows <= 8 ? 8 : j->n_rows <= 16 ? 16 : j->n_rows <= 32 ? 32 : 64;
    return cuda_product_split(d, j, n_columns, j->n_tiles < 2 * d->n_sms ? 4 : 1);
}

/* A kernel for many rows: its tiles, and its time in microseconds as measured on an H200: of a chunk of k, and of all else. */
struct way {
    int n_outputs, n_columns, n_split; /* n_split: blocks of a cluster that share the segments; 0: cuda_product_many's */
    double chunk, rest;
};

/* That with the least estimated time. */
static const struct way *best_of(const struct device *d, const struct product_job *j, const struct way *ways, int n_ways)
{
    double least = 0;
    int best = 0;
    for (int i = 0; i < n_ways; i++) {
        const struct way *w = &ways[i];
        const int parts = w->n_split ? w->n_split : 1, n_blocks = ceil_div(j->n_tiles * TILE, w->n_outputs) * ceil_div(j->n_rows, w->n_columns) * parts;
        const int at_once = d->n_sms - 3 * w->n_split; /* clusters do not fill the device */
        const double time = ceil_div(n_blocks, at_once) * (ceil_div(j->n_chunks, parts) * w->chunk + w->rest);
        if (i > 0 && time >= least) continue;
        least = time;
        best = i;
    }
    return &ways[best];
}

static int many_rows(struct device *d, const struct product_job *j)
{
    static const struct way ways[] = { { 128, 32, 0, 0.15, 3 },  { 128, 64, 0, 0.205, 2.5 }, { 128, 96, 0, 0.23, 4.2 }, { 128, 128, 0, 0.3, 4.2 },
                                       { 192, 128, 0, 0.43, 5 }, { 128, 128, 2, 0.37, 6.3 }, { 128, 128, 4, 0.33, 6.3 } };
    const struct way *w = best_of(d, j, ways, sizeof ways / sizeof *ways);
    return w->n_split > 0 ? cuda_product_split(d, j, w->n_columns, w->n_split) : cuda_product_many(d, j, w->n_outputs, w->n_columns);
}

static int many_rows_int4(struct device *d, const struct product_job *j)
{
    static const struct way ways[] = { { 128, 32, 0, 0.17, 4 },    { 128, 64, 0, 0.222, 4.3 }, { 128, 96, 0, 0.253, 5 },
                                       { 128, 128, 0, 0.287, 5.9 }, { 128, 128, 4, 0.347, 8.1 } };
    const struct way *w = best_of(d, j, ways, sizeof ways / sizeof *ways);
    return w->n_split > 0 && j->n_tiles < INT4_WIDE ? cuda_product_int4(d, j) : cuda_product_many_int4(d, j, w->n_columns);
}

static int job_make(struct device *d, const struct product_args *a, struct product_job *j)
{
    const struct matrix *m = a->w;
    if (a->act && m->half == 0) return fail("product: swiglu needs a matrix of two parts of equal size");
    const size_t bytes = cuda_operand_bytes(a->n_rows, m->n_in);
    if (!a->operand && bytes > d->operand_bytes)
        return fail("product: %d rows of %d need %zu bytes, %zu were reserved", a->n_rows, m->n_in, bytes, d->operand_bytes);
    if (!a->operand) TRY(cuda_operand_of(d, a->n_rows, m->n_in, a->x, d->operand, true), "product");
    *j = {};
    j->w = (const char *)m->w;
    j->x = (const char *)(a->operand ? a->operand : d->operand);
    j->bias = a->bias;
    j->residual = a->residual;
    j->y = a->y;
    j->act = a->act;
    j->most = m->most;
    j->n_tiles = m->n_tiles;
    j->n_chunks = m->n_chunks;
    j->n_out = m->n_out;
    j->half = m->half;
    j->n_rows = a->n_rows;
    j->bf16 = d->bf16;
    return 0;
}

static int multiply(struct device *d, const struct matrix *m, const struct product_job *j)
{
    if (m->element == INT4) return j->n_rows <= FEW_ROWS ? cuda_product_int4(d, j) : many_rows_int4(d, j);
    return j->n_rows <= FEW_ROWS ? few_rows(d, j) : many_rows(d, j);
}

extern "C" int cuda_product(struct device *d, const struct product_args *a)
{
    struct product_job j;
    TRY(job_make(d, a, &j), "product");
    return multiply(d, a->w, &j);
}

/* Whether each element of q, k, v becomes what rope_append makes of it without a look at more than its pair. */
static bool is_by_pairs(const struct qkv_args *a)
{
    const struct rope_append_args *r = &a->rope;
    return !r->q_norm && !r->k_norm && !r->lanes && !r->k_plain && TILE % r->kv->head_dim == 0 && a->product.w->half == 0;
}

extern "C" int cuda_qkv(struct device *d, const struct qkv_args *a)
{
    struct product_job j;
    if (a->product.n_rows > FEW_ROWS || !is_by_pairs(a)) {
        TRY(cuda_product(d, &a->product), "qkv");
        return cuda_rope_append(d, &a->rope);
    }
    TRY(job_make(d, &a->product, &j), "qkv");
    j.rope = a->rope;
    j.kv = *a->rope.kv;
    return multiply(d, a->product.w, &j);
}
