/* The products of a layer and of the head, for few rows (a step) and many (a rectification), beside cuBLAS on matrices of the same size.
 *
 * cuBLAS is looked for when the bench runs and left out, with a word, where it is not there.
 *
 * An output is a sum of n_in products of fp16 numbers in float32, in steps of 16: off by less than (n_in / 16 + 32) 2^-22 of the sum of
 * their sizes (the tensor cores cut, they do not round).                                                        */
#include "tests/bench_gpu.h"

#include "core/err.h"
#include "core/mem.h"
#include "kernels/cuda.h"

#include <dlfcn.h>
#include <math.h>
#include <string.h>

enum { QKV, O, GATE_UP, DOWN, HEAD, N_KINDS };
static const char *const kind_names[N_KINDS] = { "qkv", "o", "gate+up", "down", "head" };
enum { CHECKED_OUTPUTS = 24, MAX_CUBLAS_BYTES = 1 << 30 };

/* Rows come as an operand, as they do in a step; the same rows in float32 are for the check. */
struct product_of {
    struct bench_case *c;
    int kind, n_rows, n_in, n_out, n_layers;
    float *x, *y;          /* owned device memory [n_rows][n_in], [n_rows][n_out] */
    void *operand, *act;   /* owned device memory; act: gate+up's, as in a step; NULL for the others */
};

/* Random rows through the norm, which writes operands. */
static void fill_rows(struct product_of *p)
{
    const struct backend *be = p->c->l.mem.be;
    const size_t n = (size_t)p->n_rows * (size_t)p->n_in;
    float *host = NULL, *ones = NULL;
    uint32_t state = 7;
    must(MEM_NEW(&host, n, "rows"));
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        host[i] = (float)(int32_t)state * 0x1p-31f;
    }
    must(be->upload(p->c->l.mem.dev, p->x, host, n * sizeof *host));
    for (int i = 0; i < p->n_in; i++) host[i] = 1;
    must(be->alloc(p->c->l.mem.dev, (void **)&ones, (size_t)p->n_in * sizeof *ones, "ones"));
    must(be->upload(p->c->l.mem.dev, ones, host, (size_t)p->n_in * sizeof *ones));
    const struct norm_args a = { .n_rows = p->n_rows, .n = p->n_in, .x = p->x, .weight = ones, .eps = 1e-6, .out = p->x, .operand = p->operand };
    must(be->norm(p->c->l.mem.dev, &a));
    must(be->sync(p->c->l.mem.dev));
    be->release(p->c->l.mem.dev, ones);
    mem_free(host);
}

static void product_open(struct product_of *p, struct bench_case *c, int kind, int n_rows)
{
    const struct model_shape *s = &c->model.shape;
    const struct backend *be = c->l.mem.be;
    const int heads = s->n_heads * s->head_dim;
    const int sizes[N_KINDS][2] = { [QKV] = { s->hidden, shape_qkv(s) }, [O] = { heads, s->hidden }, [GATE_UP] = { s->hidden, 2 * s->ffn },
                                    [DOWN] = { s->ffn, s->hidden }, [HEAD] = { s->hidden, s->vocab } };
    *p = (struct product_of){ .c = c, .kind = kind, .n_rows = n_rows, .n_in = sizes[kind][0], .n_out = sizes[kind][1],
                              .n_layers = kind == HEAD ? 1 : s->n_layers };
    must(be->alloc(c->l.mem.dev, (void **)&p->x, (size_t)n_rows * (size_t)p->n_in * sizeof *p->x, "rows"));
    must(be->alloc(c->l.mem.dev, (void **)&p->y, (size_t)n_rows * (size_t)p->n_out * sizeof *p->y, "outputs"));
    must(be->alloc(c->l.mem.dev, &p->operand, be->operand_bytes(n_rows, p->n_in), "operand"));
    if (kind == GATE_UP) must(be->alloc(c->l.mem.dev, &p->act, be->operand_bytes(n_rows, s->ffn), "activation"));
    fill_rows(p);
}

static void product_close(struct product_of *p)
{
    void *const owned[] = { p->x, p->y, p->operand, p->act };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) p->c->l.mem.be->release(p->c->l.mem.dev, owned[i]);
}

static int enqueue_ours(void *context)
{
    const struct product_of *p = context;
    const struct weights *w = p->c->l.w;
    for (int layer = 0; layer < p->n_layers; layer++) {
        const struct layer_weights *l = &w->layers[layer];
        const struct matrix *const all[N_KINDS] = { l->qkv, l->o, l->gate_up, l->down, w->output };
        const struct product_args a = { .n_rows = p->n_rows, .w = all[p->kind], .operand = p->operand, .y = p->y, .act = p->act };
        TRY(w->be->product(w->dev, &a), "product");
    }
    return 0;
}

/* ---- the check: the last layer's outputs ---- */

/* Row r of the matrix as the checkpoint has it. */
static void weight_row(const struct product_of *p, int row, float *out)
{
    const struct model *m = &p->c->model;
    const struct model_layer *l = &m->layers[m->shape.n_layers - 1];
    const struct tensor *const parts[N_KINDS][3] = { { &l->q, &l->k, &l->v }, { &l->o }, { &l->gate, &l->up }, { &l->down }, { &m->output } };
    int i = 0;
    for (; i < 2 && row >= parts[p->kind][i]->n_rows; i++) row -= parts[p->kind][i]->n_rows;
    tensor_row(parts[p->kind][i], row, out);
}

/* Whether this matrix is in 4 bits. */
static bool is_int4(const struct product_of *p)
{
    return strcmp(p->c->l.mem.be->name, "cuda-int4") == 0 && p->kind != HEAD;
}

/* As it enters a product (cuda_matrix.cuh). */
static void row_round(const struct product_of *p, float *w)
{
    for (int k = 0, group = 0; k < p->n_in; group = k) {
        float most = 0, scale = 0;
        for (int i = group; is_int4(p) && i < p->n_in && i < group + 128; i++) most = fmaxf(most, fabsf(w[i]));
        scale = f16_to_f32(f32_to_f16(most / 7));
        for (; k < p->n_in && k < group + 128; k++) {
            if (is_int4(p)) w[k] = scale > 0 ? rintf(w[k] * (1 / scale)) * scale : 0;
            w[k] = f16_to_f32(f32_to_f16(w[k]));
        }
    }
}

/* To 11 bits, as fp16 has them wherever its exponents reach: a row is scaled so that they do. */
static double eleven_bits(float x)
{
    int e;
    const double m = frexp((double)x, &e);
    return ldexp(rint(ldexp(m, 11)), e - 11);
}

/* Gate and up are checked without what is fused behind them. */
static double check_product(const struct product_of *p)
{
    struct product_of plain = *p;
    plain.act = NULL;
    must(enqueue_ours(&plain));
    const size_t n_in = (size_t)p->n_in;
    float *x = NULL, *w = NULL, got = 0;
    double worst = 0;
    must(MEM_NEW(&x, n_in, "row"));
    must(MEM_NEW(&w, n_in, "row"));
    for (int i = 0; i < CHECKED_OUTPUTS; i++) {
        const int row = i * (p->n_rows - 1) / (CHECKED_OUTPUTS - 1), out = (int)((size_t)i * (size_t)(p->n_out - 1) / (CHECKED_OUTPUTS - 1));
        double sum = 0, size = 0;
        must(p->c->l.mem.be->download(p->c->l.mem.dev, x, p->x + (size_t)row * n_in, n_in * sizeof *x));
        must(p->c->l.mem.be->download(p->c->l.mem.dev, &got, p->y + (size_t)row * (size_t)p->n_out + (size_t)out, sizeof got));
        must(p->c->l.mem.be->sync(p->c->l.mem.dev));
        weight_row(p, out, w);
        row_round(p, w);
        for (size_t k = 0; k < n_in; k++) {
            const double term = eleven_bits(x[k]) * (double)w[k];
            sum += term;
            size += fabs(term);
        }
        const double error = fabs((double)got - sum) / ((p->n_in / 16 + 32) * 0x1p-22 * size);
        worst = isnan(error) ? INFINITY : fmax(worst, error);
    }
    mem_free(x);
    mem_free(w);
    return worst;
}

/* ---- cuBLAS ---- */

/* Of cublas_v2.h: CUBLAS_OP_N, _T; CUDA_R_16F, _32F; CUBLAS_COMPUTE_32F; CUBLAS_GEMM_DEFAULT. */
enum { OP_N = 0, OP_T = 1, R_16F = 2, R_32F = 0, COMPUTE_32F = 68, ALGO_DEFAULT = -1 };

static struct {
    void *library, *handle;
    const struct backend *be; /* whose stream it uses */
    int (*create)(void **handle);
    int (*set_stream)(void *handle, void *stream);
    int (*set_workspace)(void *handle, void *workspace, size_t n_bytes);
    int (*gemm)(void *handle, int transa, int transb, int m, int n, int k, const void *alpha, const void *a, int a_type, int lda,
                const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc, int compute, int algo);
} blas;

static bool blas_open(struct bench *b)
{
    static const char *const names[] = { "libcublas.so.13", "libcublas.so.12", "libcublas.so", "/usr/local/cuda/lib64/libcublas.so.13" };
    void *workspace = NULL;
    if (blas.be == b->be) return blas.handle;
    blas.be = b->be;
    for (size_t i = 0; i < sizeof names / sizeof *names && !blas.library; i++) blas.library = dlopen(names[i], RTLD_NOW);
    if (!blas.library) return false;
    *(void **)&blas.create = dlsym(blas.library, "cublasCreate_v2");
    *(void **)&blas.set_stream = dlsym(blas.library, "cublasSetStream_v2");
    *(void **)&blas.set_workspace = dlsym(blas.library, "cublasSetWorkspace_v2");
    *(void **)&blas.gemm = dlsym(blas.library, "cublasGemmEx");
    if (!blas.create || !blas.set_stream || !blas.set_workspace || !blas.gemm || (!blas.handle && blas.create(&blas.handle) != 0)) return false;
    must(b->be->alloc(b->dev, &workspace, 64 << 20, "cuBLAS"));
    return blas.set_stream(blas.handle, cuda_stream(b->dev)) == 0 && blas.set_workspace(blas.handle, workspace, 64 << 20) == 0;
}

struct blas_product {
    struct product_of p;
    uint16_t *w, *x, *y; /* device: fp16 [copies][n_out][n_in], [n_rows][n_in], [n_rows][n_out] */
    int copies;
};

static int enqueue_blas(void *context)
{
    const struct blas_product *b = context;
    const struct product_of *p = &b->p;
    const float one = 1, zero = 0;
    for (int i = 0; i < p->n_layers; i++) {
        const uint16_t *w = b->w + (size_t)(i % b->copies) * (size_t)p->n_out * (size_t)p->n_in;
        const int rc = blas.gemm(blas.handle, OP_T, OP_N, p->n_out, p->n_rows, p->n_in, &one, w, R_16F, p->n_in, b->x, R_16F, p->n_in, &zero,
                                 b->y, R_16F, p->n_out, COMPUTE_32F, ALGO_DEFAULT);
        if (rc != 0) return fail("cuBLAS: status %d", rc);
    }
    return 0;
}

/* n fp16 numbers from -1 to 1 on the device: a block of them again and again. */
static uint16_t *random_halves(struct bench *b, size_t n)
{
    enum { BLOCK = 1 << 22 };
    uint16_t *host = NULL;
    void *p = NULL;
    uint32_t state = 1;
    must(MEM_NEW(&host, BLOCK, "halves"));
    for (int i = 0; i < BLOCK; i++) {
        state = state * 1664525u + 1013904223u;
        host[i] = f32_to_f16((float)(int32_t)state * 0x1p-31f);
    }
    must(b->be->alloc(b->dev, &p, n * sizeof *host, "halves"));
    for (size_t at = 0; at < n; at += BLOCK)
        must(b->be->upload(b->dev, (uint16_t *)p + at, host, (n - at < BLOCK ? n - at : BLOCK) * sizeof *host));
    must(b->be->sync(b->dev));
    mem_free(host);
    return p;
}

/* Timed only. */
static void bench_blas(struct bench *b, const struct product_of *p, const char *name)
{
    struct blas_product blas_p = { .p = *p };
    float seconds[N_REPLAYS];
    char text[40];
    const size_t n = (size_t)p->n_out * (size_t)p->n_in;
    blas_p.copies = (int)(MAX_CUBLAS_BYTES / (2 * n)) + 1;
    if (blas_p.copies > p->n_layers) blas_p.copies = p->n_layers;
    blas_p.w = random_halves(b, n * (size_t)blas_p.copies);
    blas_p.x = random_halves(b, (size_t)p->n_rows * (size_t)p->n_in);
    blas_p.y = random_halves(b, (size_t)p->n_rows * (size_t)p->n_out);
    must(latency_time(&p->c->l, enqueue_blas, &blas_p, seconds));
    snprintf(text, sizeof text, "%.20s, cuBLAS", name);
    struct bench_row *r = bench_add(b, p->c, text, seconds, p->n_layers);
    r->bytes = 2.0 * (double)n;
    r->flop = 2.0 * (double)n * p->n_rows;
    b->be->release(b->dev, blas_p.w);
    b->be->release(b->dev, blas_p.x);
    b->be->release(b->dev, blas_p.y);
}

static void bench_rows(struct bench *b, struct bench_case *c, int n_rows)
{
    for (int kind = 0; kind < N_KINDS; kind++) {
        struct product_of p;
        float seconds[N_REPLAYS];
        char name[40];
        if (kind == HEAD && n_rows > c->plan.batch) continue; /* a rectification has no logits */
        snprintf(name, sizeof name, "%s, %d row%s", kind_names[kind], n_rows, n_rows == 1 ? "" : "s");
        product_open(&p, c, kind, n_rows);
        must(latency_time(&c->l, enqueue_ours, &p, seconds));
        struct bench_row *r = bench_add(b, c, name, seconds, p.n_layers);
        r->worst = check_product(&p);
        r->bytes = is_int4(&p) ? (0.5 + 2.0 / 128) * p.n_in * p.n_out : 2.0 * p.n_in * p.n_out;
        r->flop = 2.0 * p.n_in * p.n_out * n_rows;
        r->read_us = bench_read_us(c, (size_t)r->bytes);
        if (blas_open(b)) {
            bench_blas(b, &p, name);
            snprintf(r->note, sizeof r->note, "%.2fx of cuBLAS's time%s", r->us / b->rows[b->n_rows - 1].us, is_int4(&p) ? " in fp16" : "");
        }
        product_close(&p);
    }
}

void bench_products(struct bench *b, struct bench_case *c)
{
    bench_rows(b, c, c->plan.batch);
    if (c->plan.batch > 1) bench_rows(b, c, c->plan.batch * REPORT_INTERVAL);
    if (!blas.handle) printf("cuBLAS is not there: its rows are left out\n");
}
