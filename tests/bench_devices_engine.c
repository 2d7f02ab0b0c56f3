/* tests/bench_devices_engine.c: a run whose steps are kept: K, V, outputs, logits and lists of every lane. */
#include "tests/bench_devices.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/tensor.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct engine *stepping;        /* whose step is being computed: the spies have no other way to know */

void must(int rc, const char *what)
{
    if (rc == 0) return;
    fprintf(stderr, "bench_devices: %s: %s\n", what, fail_text());
    exit(EXIT_FAILED);
}

static int direct(struct device *d, struct graph **g, int (*enqueue)(void *context), void *context)
{
    (void)d;
    (void)g;
    return enqueue(context);
}

static void *fetch(struct engine *e, const void *from, size_t n_bytes)
{
    if (n_bytes > e->n_buffer) {
        mem_free(e->buffer);
        e->n_buffer = n_bytes;
        must(mem_alloc(&e->buffer, n_bytes, 1, "rows"), "memory");
    }
    must(e->real->download(e->w->dev, e->buffer, from, n_bytes), "download");
    must(e->real->sync(e->w->dev), "download");
    return e->buffer;
}

static int row_of(const struct engine *e, int lane)
{
    return ((const int32_t *)e->run.t.row_of_lane.host)[lane];
}

/* One layer's n floats of each lane, from rows of `stride` floats, the first `skip` left out; half: as fp16 holds them. */
static void keep(struct engine *e, enum quantity q, int layer, int n_layers, const float *rows, size_t stride, size_t skip, bool half)
{
    const size_t n = e->c.n[q] / (size_t)n_layers;
#pragma omp parallel for
    for (int lane = 0; lane < e->plan.n_lanes; lane++) {
        float *to = e->c.x[q] + (size_t)lane * e->c.n[q] + (size_t)layer * n;
        const int row = row_of(e, lane);
        for (size_t i = 0; i < n; i++) {
            const float x = row < 0 ? NAN : rows[(size_t)row * stride + skip + i];
            to[i] = half ? f16_to_f32(f32_to_f16(x)) : x;
        }
    }
}

static void keep_lists(struct engine *e, const struct measure_layer_args *a)
{
    const size_t heads = (size_t)a->n_kv_heads, rows = (size_t)e->run.pass.n_rows, most = (size_t)a->lists->max_blocks;
    int32_t *count = NULL;
    must(MEM_NEW(&count, rows * heads, "counts"), "memory");
    memcpy(count, fetch(e, a->lists->count, rows * heads * sizeof *count), rows * heads * sizeof *count);
    const int32_t *blocks = fetch(e, a->lists->blocks, rows * heads * most * sizeof *blocks);
    for (int lane = 0; lane < e->plan.n_lanes; lane++)
        for (size_t head = 0; row_of(e, lane) >= 0 && head < heads; head++) {
            const size_t from = (size_t)row_of(e, lane) * heads + head;
            int32_t *to = e->c.list + (size_t)lane * e->c.n_list + ((size_t)a->layer * heads + head) * (1 + most);
            to[0] = count[from];
            for (int i = 0; i < count[from]; i++) to[1 + i] = blocks[from * most + (size_t)i];
        }
    mem_free(count);
}

static int spy_layer(struct device *d, const struct measure_layer_args *a)
{
    (void)d;
    struct engine *e = stepping;
    const size_t rows = (size_t)e->run.pass.n_rows, dim = (size_t)a->head_dim, kv = (size_t)a->n_kv_heads * dim, q = (size_t)a->n_heads * dim;
    const size_t stride = q + 2 * kv;
    const bool half = e->real->cache_element_bytes == 2;
    const float *qkv = fetch(e, a->qkv, rows * stride * sizeof *qkv);
    keep(e, Q_K, a->layer, a->n_layers, qkv, stride, q, half);
    keep(e, Q_V, a->layer, a->n_layers, qkv, stride, q + kv, half);
    keep(e, Q_ATTENTION, a->layer, a->n_layers, fetch(e, a->attn, rows * q * sizeof(float)), q, 0, false);
    keep(e, Q_RESIDUAL, a->layer, a->n_layers, fetch(e, a->resid, rows * (size_t)a->hidden * sizeof(float)), (size_t)a->hidden, 0, false);
    keep_lists(e, a);
    return 0;
}

/* The run itself asks whether the dense lane's are numbers: they are measured too. */
static int spy_logits(struct device *d, const struct measure_logits_args *a)
{
    struct engine *e = stepping;
    const size_t rows = (size_t)e->run.pass.n_rows, vocab = (size_t)a->vocab;
    keep(e, Q_HIDDEN, 0, 1, fetch(e, a->hidden_state, rows * (size_t)a->hidden * sizeof(float)), (size_t)a->hidden, 0, false);
    float *logits = fetch(e, a->logits, rows * vocab * sizeof *logits);
#pragma omp parallel for
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t i = 0; i < vocab; i++) sum += logits[r * vocab + i];
        for (size_t i = 0; i < vocab; i++) logits[r * vocab + i] -= (float)(sum / (double)vocab);
    }
    keep(e, Q_LOGITS, 0, 1, logits, vocab, 0, false);
    return e->real->measure_logits(d, a);
}

static float everywhere; /* the disturbance of all rows */

/* The CPU's, whose arrays are the host's.  There are no lanes where none asks for noise. */
static int disturbed_rope(struct device *d, const struct rope_append_args *a)
{
    static struct lane_params lanes[MAX_LANES];
    struct rope_append_args all = *a;
    struct row *rows = (struct row *)(uintptr_t)a->rows;
    all.lanes = lanes;
    for (int i = 0; i < a->n_rows; i++) {
        rows[i].flags |= ROW_PERTURB;
        lanes[rows[i].lane].perturb = everywhere;
    }
    return backends[0]->rope_append(d, &all);
}

struct backend engine_spied(const struct backend *real)
{
    struct backend be = *real;
    be.replay = direct;
    be.measure_layer = spy_layer;
    be.measure_logits = spy_logits;
    return be;
}

struct backend engine_disturbed(const struct backend *cpu)
{
    struct backend be = engine_spied(cpu);
    be.rope_append = disturbed_rope;
    return be;
}

void engine_disturb(double e)
{
    everywhere = (float)e;
}

void engine_open(struct engine *e, const struct backend *real, const struct weights *w, const struct run_plan *plan,
                        const struct lane_spec *lanes, int n_lanes)
{
    const struct model_shape *s = &w->model->shape;
    *e = (struct engine){ .real = real, .w = w, .plan = *plan };
    must(MEM_NEW(&e->lanes, n_lanes, "lanes"), "memory");
    memcpy(e->lanes, lanes, (size_t)n_lanes * sizeof *lanes);
    e->plan.lanes = e->lanes;
    e->plan.n_lanes = n_lanes;
    e->plan.metrics = METRIC_LOGITS;
    e->plan.every = 1;
    must(run_open(&e->run, &e->plan, w), plan->id);
    const size_t layers = (size_t)s->n_layers, kv = (size_t)(s->n_kv_heads * s->head_dim);
    const size_t n[N_QUANTITIES_HERE] = { layers * kv, layers * kv, layers * (size_t)(s->n_heads * s->head_dim), layers * (size_t)s->hidden,
                                          (size_t)s->hidden, (size_t)s->vocab };
    for (int q = 0; q < N_QUANTITIES_HERE; q++) {
        e->c.n[q] = n[q];
        must(MEM_NEW(&e->c.x[q], (size_t)n_lanes * n[q], "captured"), "memory");
    }
    e->c.n_list = layers * (size_t)s->n_kv_heads * (1 + (size_t)e->run.f.lists.max_blocks);
    must(MEM_NEW(&e->c.list, (size_t)n_lanes * e->c.n_list, "lists"), "memory");
    must(run_prefill(&e->run), "prefill");
}

void engine_close(struct engine *e)
{
    run_close(&e->run);
    for (int q = 0; q < N_QUANTITIES_HERE; q++) mem_free(e->c.x[q]);
    mem_free(e->c.list);
    mem_free(e->buffer);
    mem_free(e->lanes);
}

void engine_step(struct engine *e)
{
    int step;
    stepping = e;
    must(run_step(&e->run), "step");
    while (run_take(&e->run, &step)) continue;
    must(step < 0 ? -1 : 0, "record");
}

void engine_compare(struct sum *sums, const struct engine *x, int lane_x, const struct engine *r, int lane_r, int n_layers)
{
    for (int q = 0; q < N_QUANTITIES_HERE; q++) {
        const int parts = q <= Q_RESIDUAL ? n_layers : 1;
        const size_t n = r->c.n[q] / (size_t)parts;
        for (int p = 0; p < parts; p++) {
            const float *a = x->c.x[q] + (size_t)lane_x * x->c.n[q] + (size_t)p * n, *b = r->c.x[q] + (size_t)lane_r * r->c.n[q] + (size_t)p * n;
            double d = 0, norm = 0;
            for (size_t i = 0; i < n; i++) {
                d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
                norm += (double)b[i] * b[i];
            }
            if (!(norm > 0)) continue; /* NaN: the lane has no row */
            sums[q].squares += d / norm;
            sums[q].n++;
        }
    }
}

void engine_count_same(const struct engine *x, const struct engine *r, int lane, const struct model_shape *s, int64_t *same, int64_t *all)
{
    const size_t x_list = x->c.n_list / (size_t)(s->n_layers * s->n_kv_heads), r_list = r->c.n_list / (size_t)(s->n_layers * s->n_kv_heads);
    for (size_t i = 0; i < (size_t)(s->n_layers * s->n_kv_heads); i++) {
        const int32_t *a = x->c.list + (size_t)lane * x->c.n_list + i * x_list, *b = r->c.list + (size_t)lane * r->c.n_list + i * r_list;
        if (a[0] < 0 || row_of(r, lane) < 0) continue;
        *same += a[0] == b[0] && memcmp(a, b, (size_t)(1 + a[0]) * sizeof *a) == 0;
        ++*all;
    }
}
