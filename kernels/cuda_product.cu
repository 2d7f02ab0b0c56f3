/* kernels/cuda_product.cu: which kernel multiplies.  All of them give the same bits. */
#include "kernels/cuda_product.cuh"

/* Few rows: the weights' time; clusters of 4 where there are few tiles of outputs. */
static int few_rows(struct device *d, const struct product_job *j)
{
    const int n_columns = j->n_rows <= 8 ? 8 : j->n_rows <= 16 ? 16 : j->n_rows <= 32 ? 32 : 64;
    return cuda_product_split(d, j, n_columns, j->n_tiles < 2 * d->n_sms ? 4 : 1);
}

/* Many rows: the kernel with the least estimated time, in microseconds as measured on an H200: of a chunk of k, and of all else. */
static int many_rows(struct device *d, const struct product_job *j)
{
    static const struct {
        int n_columns, n_split; /* 0: cuda_product_many */
        double chunk, rest;
    } ways[] = { { 64, 0, 0.2, 3.5 }, { 96, 0, 0.245, 4 }, { 128, 0, 0.31, 4.5 }, { 128, 2, 0.37, 6.3 }, { 128, 4, 0.33, 6.3 } };
    double least = 0;
    int best = 0;
    for (int i = 0; i < (int)(sizeof ways / sizeof *ways); i++) {
        const int parts = ways[i].n_split ? ways[i].n_split : 1, n_blocks = j->n_tiles * ceil_div(j->n_rows, ways[i].n_columns) * parts;
        const int at_once = d->n_sms - 3 * ways[i].n_split; /* clusters do not fill the device */
        const double time = ceil_div(n_blocks, at_once) * (ceil_div(j->n_chunks, parts) * ways[i].chunk + ways[i].rest);
        if (i > 0 && time >= least) continue;
        least = time;
        best = i;
    }
    if (ways[best].n_split == 0) return cuda_product_many(d, j, ways[best].n_columns);
    return cuda_product_split(d, j, ways[best].n_columns, ways[best].n_split);
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
    if (m->element == INT4) return cuda_product_int4(d, j);
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
