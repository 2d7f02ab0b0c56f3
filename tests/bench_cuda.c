/* tests/bench_cuda.c: time on the device of single operations (7B shapes) and of whole steps (1.5B shapes).
 *
 * A time is the mean of a recorded graph of many launches over buffers that together exceed the second-level cache, replayed until
 * 50 ms have passed, the host waiting at the end only; the best of 3 such runs. */
#include "core/err.h"
#include "core/mem.h"
#include "core/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct backend *be;
static struct device *dev;
static struct model_shape shape = { .n_layers = 4, .hidden = 3584, .ffn = 18944, .n_heads = 28, .n_kv_heads = 4, .head_dim = 128, .vocab = 152064 };

static void must(int rc)
{
    if (rc == 0) return;
    fprintf(stderr, "%s\n", fail_text());
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Seconds of one enqueue(context). */
static double seconds(int (*enqueue)(void *context), void *context)
{
    struct graph *g = NULL;
    double best = 1e9;
    must(be->replay(dev, &g, enqueue, context));
    must(be->sync(dev));
    for (int round = 0; round < 3; round++) {
        int n = 0;
        const double from = now();
        do {
            for (int i = 0; i < 4; i++, n++) must(be->replay(dev, &g, enqueue, context));
            must(be->sync(dev));
        } while (now() - from < 0.05);
        const double t = (now() - from) / n;
        best = t < best ? t : best;
    }
    be->graph_free(dev, g);
    return best;
}

static void *take(size_t n_bytes)
{
    void *p = NULL;
    must(be->alloc(dev, &p, n_bytes, "bench"));
    return p;
}

/* Random floats of size 1 on the device. */
static float *floats(size_t n)
{
    float *host = malloc(n * sizeof *host), *p = take(n * sizeof *p);
    uint32_t x = 1;
    for (size_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u;
        host[i] = (float)(int32_t)x * 0x1p-31f;
    }
    must(be->upload(dev, p, host, n * sizeof *host));
    must(be->sync(dev));
    free(host);
    return p;
}

enum { COPIES = 6 };
struct products {
    struct product_args a[COPIES];
    int n;
};

static int run_products(void *context)
{
    struct products *p = context;
    for (int i = 0; i < p->n; i++) TRY(be->product(dev, &p->a[i]), "product");
    return 0;
}

static void bench_product(const char *name, int n_out, int n_in, int n_copies)
{
    static const int rows[] = { 1, 8, 16, 32, 64, 256, 1024 };
    struct products p = { .n = n_copies };
    float *w = malloc((size_t)n_out * (size_t)n_in * sizeof *w);
    for (size_t i = 0; i < (size_t)n_out * (size_t)n_in; i++) w[i] = (float)((i * 2654435761u) % 2048) / 1024 - 1;
    const struct tensor t = { TENSOR_F32, n_out, n_in, (const uint8_t *)w };
    float *x = floats((size_t)1024 * (size_t)n_in), *y = take((size_t)1024 * (size_t)n_out * sizeof *y);
    struct matrix *m[COPIES];
    for (int i = 0; i < n_copies; i++) must(be->matrix_pack(dev, &m[i], (const struct tensor *[]){ &t }, 1));
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        for (int i = 0; i < n_copies; i++) p.a[i] = (struct product_args){ .n_rows = rows[r], .w = m[i], .x = x, .y = y };
        const double s = seconds(run_products, &p) / n_copies;
        printf("product %-7s %6d x %5d, %4d rows: %8.1f us %7.0f GB/s %7.1f TFLOP/s\n", name, n_out, n_in, rows[r], s * 1e6,
               2e-9 * n_out * n_in / s, 2e-12 * rows[r] * n_out * n_in / s);
    }
    for (int i = 0; i < n_copies; i++) be->matrix_free(dev, m[i]);
    be->release(dev, x);
    be->release(dev, y);
    free(w);
}

struct attends {
    struct attend_args a;
    struct select_args s;
    int n_layers;
};

static int run_attends(void *context)
{
    struct attends *p = context;
    for (p->a.layer = 0; p->a.layer < p->n_layers; p->a.layer++) TRY(be->attend(dev, &p->a), "attend");
    return 0;
}

static int run_selects(void *context)
{
    struct attends *p = context;
    for (p->s.layer = 0; p->s.layer < p->n_layers; p->s.layer++) TRY(be->select(dev, &p->s), "select");
    return 0;
}

/* Batch sequences, each with a store of its own for all but 16 of its tokens; keys and values are zeros. */
static void bench_attend(int batch, int n_tokens)
{
    enum { BLOCK = 16 };
    const int n_blocks = n_tokens / BLOCK, n_sel = n_blocks / 10, stride = shape_qkv(&shape);
    struct kv_cache kv = { .n_layers = batch * n_tokens < 100000 ? 12 : 4, .n_kv_heads = 4, .head_dim = 128, .prefix_tokens = 16, .prefix_tiles = 1,
                           .first_own_tile = 1, .own_tiles = n_tokens / KV_TILE, .n_stores = batch };
    must(be->reserve(dev, &shape, 1024, n_tokens + 16));
    const size_t own = kv_own_elems(&kv) * 2, prefix = kv_prefix_elems(&kv) * 2;
    kv.k_own = take(own), kv.v_own = take(own), kv.k_prefix = take(prefix), kv.v_prefix = take(prefix);
    char *zero = calloc(1, own > prefix ? own : prefix);
    must(be->upload(dev, kv.k_own, zero, own) || be->upload(dev, kv.v_own, zero, own) || be->upload(dev, kv.k_prefix, zero, prefix) ||
         be->upload(dev, kv.v_prefix, zero, prefix));
    struct attend_row rows[64] = { 0 };
    struct row full[64] = { 0 };
    struct lane_params lanes[64] = { 0 };
    struct key_set sets[65] = { { KV_PREFIX, BLOCK, 0, 1, NULL } };
    int32_t *blocks = malloc((size_t)batch * 4 * (size_t)n_sel * 4), count[256], tokens[256];
    for (int r = 0; r < batch; r++) {
        rows[r] = (struct attend_row){ r, r, NO_TAIL, n_tokens - 1, r, BLOCK, r };
        full[r] = (struct row){ r, n_tokens - 1, 0, r, NO_TAIL, ROW_SPARSE };
        lanes[r] = (struct lane_params){ SELECT_MINMAX, BLOCK, 1, 16, 100000, 0, r + 1, 0, 0 };
        sets[r + 1] = (struct key_set){ r, BLOCK, 1, (n_blocks + KEY_TILE - 1) / KEY_TILE, NULL };
    }
    for (int r = 0; r <= batch; r++) {
        const size_t n = key_set_elems(&kv, &sets[r]) * 4;
        sets[r].keys = take(n);
        must(be->upload(dev, sets[r].keys, zero, n < own ? n : own));
    }
    for (int l = 0; l < batch * 4; l++) {
        for (int b = 0; b < n_sel; b++) blocks[l * n_sel + b] = b * 10 + (b * 7 + l) % 10;
        count[l] = n_sel, tokens[l] = n_sel * BLOCK;
    }
    struct block_lists lists = { n_sel + 16, take((size_t)batch * 4 * (size_t)(n_sel + 16) * 4), take(sizeof count), take(sizeof tokens) };
    struct block_lists fixed = { n_sel, take((size_t)batch * 4 * (size_t)n_sel * 4), take(sizeof count), take(sizeof tokens) };
    must(be->upload(dev, fixed.blocks, blocks, (size_t)batch * 4 * (size_t)n_sel * 4) || be->upload(dev, fixed.count, count, sizeof count) ||
         be->upload(dev, fixed.tokens, tokens, sizeof tokens));
    struct attend_row *d_rows = take(sizeof rows);
    struct row *d_full = take(sizeof full);
    struct lane_params *d_lanes = take(sizeof lanes);
    must(be->upload(dev, d_rows, rows, sizeof rows) || be->upload(dev, d_full, full, sizeof full) || be->upload(dev, d_lanes, lanes, sizeof lanes));
    float *qkv = floats((size_t)batch * (size_t)stride), *out = take((size_t)batch * 28 * 128 * 4), *scores = take((size_t)batch * 4 * (size_t)(n_blocks + 16) * 4);
    struct attends p = { .n_layers = kv.n_layers };
    p.a = (struct attend_args){ batch, 0, 28, d_rows, qkv, stride, &kv, NULL, out };
    const double dense = seconds(run_attends, &p) / kv.n_layers;
    p.a.lists = &fixed;
    const double sparse = seconds(run_attends, &p) / kv.n_layers;
    p.s = (struct select_args){ .n_rows = batch, .n_heads = 28, .rows = d_full, .lanes = d_lanes, .sets = sets, .qkv = qkv, .kv = &kv, .seed = 1,
                                .lists = &lists, .scores = scores, .max_score_blocks = n_blocks + 1, .n_sets = batch + 1 };
    const double select = seconds(run_selects, &p) / kv.n_layers;
    printf("attention, batch %d, %6d tokens: dense %8.1f us %5.0f GB/s; sparse 10%% %7.1f us %5.0f GB/s; score + select %7.1f us\n", batch, n_tokens,
           dense * 1e6, 2048e-9 * batch * n_tokens / dense, sparse * 1e6, 2048e-9 * batch * n_sel * BLOCK / sparse, select * 1e6);
    void *const owned[] = { kv.k_own, kv.v_own, kv.k_prefix, kv.v_prefix, lists.blocks, lists.count, lists.tokens, fixed.blocks, fixed.count,
                            fixed.tokens, d_rows, d_full, d_lanes, qkv, out, scores };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) be->release(dev, owned[i]);
    for (int r = 0; r <= batch; r++) be->release(dev, sets[r].keys);
    free(zero);
    free(blocks);
}

/* Whole steps of a run: dense, control of everything, and n lanes of ReSA, at a prefix. */
static void bench_run(const struct weights *w, int prefix, int n_lanes, unsigned metrics, const char *what)
{
    enum { STEPS = 64 };
    static struct lane_spec lanes[64];
    const int vocab = w->model->shape.vocab, n_stream = prefix + STEPS + 1;
    int32_t *stream = malloc((size_t)n_stream * sizeof *stream);
    for (int i = 0; i < n_stream; i++) stream[i] = (int32_t)((uint32_t)i * 2654435761u % (uint32_t)vocab);
    for (int i = 0; i < n_lanes; i++)
        lanes[i] = (struct lane_spec){ .name = "lane", .family = "lane", .selector = i ? SELECT_MINMAX : SELECT_DENSE, .active_millionths = i ? 100000 : 1000000,
                                       .block_size = 16, .local_blocks = 1, .min_blocks = 16, .interval = i ? 32 : 0, .cache_of = LANE_OWN, .clean = LANE_NONE };
    const struct run_plan plan = { .id = "bench", .source = "bench", .stream = stream, .n_stream = n_stream, .start = prefix, .prefill_tokens = prefix,
                                   .n_steps = STEPS, .seed = 1, .follow = FOLLOW_TEXT, .top_p = 1, .eos_id = -1, .metrics = metrics, .every = 1,
                                   .lanes = lanes, .n_lanes = n_lanes };
    struct run r = { 0 };
    int taken;
    must(run_open(&r, &plan, w));
    const double t0 = now();
    must(run_prefill(&r));
    must(be->sync(dev));
    const double t1 = now();
    double plain = 0, rectified = 0;
    int n_plain = 0;
    while (!run_done(&r)) {
        const int step = r.n_stepped;
        if (step == 16 || step == 31 || step == 32 || step == 48) must(be->sync(dev));
        const double from = now();
        if (step == 16 || step == 32) plain -= step == 16 ? from : 0;
        must(run_step(&r));
        if (step == 30) {
            must(be->sync(dev));
            plain += now();
            n_plain = 15;
        }
        if (step == 31) {
            must(be->sync(dev));
            rectified = now() - from;
        }
        while (run_take(&r, &taken)) {}
    }
    printf("%s: %d lanes, prefix %6d: prefill %.2f s (%.0f tokens/s), step %.3f ms, a step with rectification %.3f ms\n", what, n_lanes, prefix, t1 - t0,
           prefix / (t1 - t0), 1e3 * plain / n_plain, 1e3 * rectified);
    fflush(stdout);
    run_close(&r);
    free(stream);
}

int main(void)
{
    char text[256];
    be = backends[1];
    if (!be || be->open(&dev, 0) != 0) {
        printf("skipped: no CUDA device\n");
        return 0;
    }
    must(be->describe(dev, text, sizeof text));
    puts(text);
    must(be->reserve(dev, &shape, 1024, 4096));
    bench_product("qkv", 4608, 3584, COPIES);
    bench_product("o", 3584, 3584, COPIES);
    bench_product("gate+up", 37888, 3584, 2);
    bench_product("down", 3584, 18944, 2);
    bench_product("head", 152064, 3584, 1);
    static const int contexts[] = { 4096, 16384, 65536, 262144 };
    for (int batch = 1; batch <= 8; batch += 7)
        for (size_t i = 0; i < sizeof contexts / sizeof *contexts; i++)
            if (batch * contexts[i] <= 8 * 65536) bench_attend(batch, contexts[i]);
    fflush(stdout);
    const struct synthetic_spec spec = { .layers = 28, .hidden = 1536, .ffn = 8960, .heads = 12, .kv_heads = 2, .head_dim = 128, .vocab = 32000,
                                         .context = 1 << 20, .family = FAMILY_QWEN2, .seed = 7 };
    struct model model = { 0 };
    struct weights w = { 0 };
    must(model_open_synthetic(&model, &spec));
    must(weights_open(&w, be, dev, &model));
    const unsigned usual = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS;
    bench_run(&w, 4096, 1, 0, "1.5B shape, no measures");
    bench_run(&w, 4096, 17, 0, "1.5B shape, no measures");
    bench_run(&w, 4096, 17, usual, "1.5B shape, five groups");
    bench_run(&w, 32768, 1, 0, "1.5B shape, no measures");
    bench_run(&w, 32768, 17, 0, "1.5B shape, no measures");
    bench_run(&w, 32768, 17, usual, "1.5B shape, five groups");
    weights_close(&w);
    model_close(&model);
    be->close(dev);
    return 0;
}
