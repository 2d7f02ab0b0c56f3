/* tests/bench_devices.c: does the device compute what the CPU computes?  Whole runs of a config on both, step by step side by side.
 *
 *     bench_devices CONFIG OUT.csv [e=NUMBER] [key=value ..]     (experiment drift; the config's own `device` counts for nothing)
 *
 * e: the relative difference of lane 0's K (after RoPE) and V, as the caches hold them, between the device and the CPU, RMS over
 * steps, layers and runs.  Then for every lane the difference of K, V, attention output, residual stream, final hidden state and logits
 * (centred: a softmax ignores their mean) to the same lane of the CPU, relative, RMS over steps and layers:
 *   free       the device selects its blocks itself
 *   replayed   its lanes are of selector `replay`, and read the blocks that the CPU's run recorded
 *   noise      no device at all: a CPU lane of the same settings with `perturb: e`.  A probe takes no perturbation: it
 *              reads the cache of its owner's noisy lane, that of a noisy control lane where its owner is lane 0
 *   everywhere no device at all: `perturb` disturbs only what a step writes; here all that is ever written is disturbed, as rounding does:
 *              the prompt's K and V and a rectification's too, by as much as makes lane 0 differ by e
 * and the share of the block lists in which the CPU agrees with free and with everywhere.  Where free or replayed is above noise and above
 * everywhere, the device does more than a rounding of the size that its own dense lane shows.  With e=NUMBER no device is used: there is
 * neither free nor replayed.
 *
 * Each run has a process of its own, with its share of the cores; they wait for each other between e and the tables, which need it. */
#include "core/err.h"
#include "core/mem.h"
#include "core/run.h"
#include "core/tensor.h"
#include "core/trace.h"
#include "experiments/session.h"

#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum quantity { Q_K, Q_V, Q_ATTENTION, Q_RESIDUAL, Q_HIDDEN, Q_LOGITS, N_QUANTITIES_HERE };
static const char *const quantity_names[] = { "k", "v", "attention", "residual", "hidden", "logits" };
enum against { FREE, REPLAYED, NOISE, EVERYWHERE, N_AGAINST };
static const char *const against_names[N_AGAINST] = { "free", "replayed", "noise", "everywhere" };
static const double TRIAL = 5e-4; /* the disturbance from which e's is found: they are in proportion */

/* What a step held, by lane; NaN where a lane has no row. */
struct capture {
    size_t n[N_QUANTITIES_HERE];       /* floats of a lane, all layers */
    float *x[N_QUANTITIES_HERE];       /* owned [n_lanes][n] */
    int32_t *list;                     /* owned [n_lanes][n_layers][n_kv_heads][1 + max_blocks]: count, blocks */
    size_t n_list;                     /* of a lane */
};

/* A run on a back end whose measures are spied upon. */
struct engine {
    const struct backend *real;
    const struct weights *w;
    struct run run;
    struct run_plan plan;
    struct lane_spec *lanes;           /* owned */
    struct capture c;
    void *buffer;                      /* owned host memory for one array of rows */
    size_t n_buffer;
};

struct sum {
    double squares;
    int64_t n;
};

static struct engine *stepping;        /* whose step is being computed: the spies have no other way to know */

static void must(int rc, const char *what)
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

static int spy_logits(struct device *d, const struct measure_logits_args *a)
{
    (void)d;
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
    return 0;
}

static float everywhere; /* the disturbance of all rows */

/* The CPU's, whose arrays are the host's. */
static int disturbed_rope(struct device *d, const struct rope_append_args *a)
{
    struct row *rows = (struct row *)(uintptr_t)a->rows;
    struct lane_params *lanes = (struct lane_params *)(uintptr_t)a->lanes;
    for (int i = 0; i < a->n_rows; i++) {
        rows[i].flags |= ROW_PERTURB;
        lanes[rows[i].lane].perturb = everywhere;
    }
    return backends[0]->rope_append(d, a);
}

/* A back end that computes what the real one does, enqueues without recording and shows its measures. */
static struct backend spied(const struct backend *real)
{
    struct backend be = *real;
    be.replay = direct;
    be.measure_layer = spy_layer;
    be.measure_logits = spy_logits;
    return be;
}

static void engine_open(struct engine *e, const struct backend *real, const struct weights *w, const struct run_plan *plan,
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

static void engine_close(struct engine *e)
{
    run_close(&e->run);
    for (int q = 0; q < N_QUANTITIES_HERE; q++) mem_free(e->c.x[q]);
    mem_free(e->c.list);
    mem_free(e->buffer);
    mem_free(e->lanes);
}

static void engine_step(struct engine *e)
{
    int step;
    stepping = e;
    must(run_step(&e->run), "step");
    while (run_take(&e->run, &step)) continue;
}

/* Adds the relative differences of a lane of x to one of r. */
static void compare(struct sum *sums, const struct engine *x, int lane_x, const struct engine *r, int lane_r, int n_layers)
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

/* Lists of a layer and KV head that are the same, and all of them. */
static void count_same(const struct engine *x, const struct engine *r, int lane, const struct model_shape *s, int64_t *same, int64_t *all)
{
    const size_t x_list = x->c.n_list / (size_t)(s->n_layers * s->n_kv_heads), r_list = r->c.n_list / (size_t)(s->n_layers * s->n_kv_heads);
    for (size_t i = 0; i < (size_t)(s->n_layers * s->n_kv_heads); i++) {
        const int32_t *a = x->c.list + (size_t)lane * x->c.n_list + i * x_list, *b = r->c.list + (size_t)lane * r->c.n_list + i * r_list;
        if (a[0] < 0 || row_of(r, lane) < 0) continue;
        *same += a[0] == b[0] && memcmp(a, b, (size_t)(1 + a[0]) * sizeof *a) == 0;
        ++*all;
    }
}

/* ---- lanes ---- */

/* The plan's lanes, then a noisy partner of each: partner[i] is lane i's.  A noisy control stands for lane 0. */
static int add_partners(const struct run_plan *plan, double noise, struct lane_spec *lanes, int *partner)
{
    int n = plan->n_lanes;
    memcpy(lanes, plan->lanes, (size_t)n * sizeof *lanes);
    const int control = n;
    lanes[n] = (struct lane_spec){ .family = "noise", .selector = SELECT_MINMAX, .active_millionths = 1000000, .block_size = 16,
                                   .local_blocks = 1, .min_blocks = 1, .perturb = noise, .cache_of = LANE_OWN, .clean = LANE_NONE };
    snprintf(lanes[n].name, sizeof lanes[n].name, "noise/control");
    partner[0] = n++;
    for (int pass = 0; pass < 2; pass++) /* owners come before their probes */
        for (int i = 1; i < plan->n_lanes; i++) {
            if (lane_is_probe(&plan->lanes[i]) != (pass == 1)) continue;
            lanes[n] = plan->lanes[i];
            snprintf(lanes[n].name, sizeof lanes[n].name, "noise/%d", i);
            if (pass == 1) lanes[n].cache_of = plan->lanes[i].cache_of == 0 ? control : partner[plan->lanes[i].cache_of];
            else lanes[n].perturb = noise;
            partner[i] = n++;
        }
    return n;
}

/* The CPU's lists, as a trace. */
static void record_lists(const struct run_plan *plan, const struct weights *w, const char *path)
{
    struct run run = { 0 };
    struct trace *t = NULL;
    struct provenance prov = { 0 };
    struct run_plan p = *plan;
    char *argv[] = { (char *)"bench_devices", NULL };
    int step;
    const void *record;
    p.metrics = METRIC_SELECTION;
    p.every = 1;
    must(provenance_open(&prov, 1, argv), "provenance");
    must(run_open(&run, &p, w), plan->id);
    must(trace_open(&t, path, &p, w->model, &run.layout, &prov, ""), path);
    must(run_prefill(&run), "prefill");
    while (!run_done(&run)) {
        must(run_step(&run), "step");
        while ((record = run_take(&run, &step)) != NULL) must(trace_write(t, step, record), path);
    }
    run_drain(&run);
    while ((record = run_take(&run, &step)) != NULL) must(trace_write(t, step, record), path);
    must(trace_finish(t, NULL, NULL, NULL, run.n_stepped), path);
    trace_close(t);
    run_close(&run);
    provenance_close(&prov);
}

/* ---- what is measured ---- */

struct machine {
    const struct backend *cpu, *cuda;
    struct backend cpu_spy, cuda_spy, disturbed_spy;
    struct device *host, *gpu;
    struct weights cpu_w, cuda_w, disturbed_w; /* of the spies */
    struct weights cpu_plain;          /* the same matrices, without spies */
};

static void machine_open(struct machine *m, const struct model *model, bool with_device)
{
    m->cpu = backends[0];
    m->cuda = with_device ? backends[1] : NULL;
    must(m->cpu->open(&m->host, 0), "cpu");
    m->cpu_spy = m->disturbed_spy = spied(m->cpu);
    m->disturbed_spy.rope_append = disturbed_rope;
    must(weights_open(&m->cpu_w, &m->cpu_spy, m->host, model), "weights");
    m->cpu_plain = m->disturbed_w = m->cpu_w;
    m->cpu_plain.be = m->cpu;
    m->disturbed_w.be = &m->disturbed_spy;
    if (!with_device) return;
    must(m->cuda->open(&m->gpu, 0), "cuda");
    m->cuda_spy = spied(m->cuda);
    must(weights_open(&m->cuda_w, &m->cuda_spy, m->gpu, model), "weights");
}

static double rms(const struct sum *s)
{
    return s->n > 0 ? sqrt(s->squares / (double)s->n) : NAN;
}

/* A run of lane 0 alone, beside the CPU's. */
static void measure_lane0(struct machine *m, const struct backend *be, const struct weights *w, const struct run_plan *plan, struct sum *sums)
{
    struct engine cpu, other;
    engine_open(&cpu, m->cpu, &m->cpu_w, plan, plan->lanes, 1);
    engine_open(&other, be, w, plan, plan->lanes, 1);
    while (!run_done(&cpu.run)) {
        engine_step(&cpu);
        engine_step(&other);
        compare(sums, &other, 0, &cpu, 0, m->cpu_w.model->shape.n_layers);
    }
    engine_close(&cpu);
    engine_close(&other);
}

struct tally {
    struct sum lane0[N_QUANTITIES_HERE], trial[N_QUANTITIES_HERE]; /* on the device; disturbed by TRIAL */
    struct sum sums[N_AGAINST][MAX_LANES][N_QUANTITIES_HERE];
    int64_t same[N_AGAINST][MAX_LANES], all[N_AGAINST][MAX_LANES]; /* of free and everywhere */
};

/* What the processes have in common. */
struct common {
    pthread_barrier_t lane0_known;
    struct tally runs[];
};

static void replay_plan(struct run_plan *p, struct lane_spec *lanes, const struct run_plan *plan, char *trace)
{
    *p = *plan;
    memcpy(lanes, plan->lanes, (size_t)plan->n_lanes * sizeof *lanes);
    for (int i = 1; i < plan->n_lanes; i++) lanes[i].selector = SELECT_REPLAY;
    p->lanes = lanes;
    p->replay = trace;
}

/* The engines beside the CPU's; those that are there. */
struct others {
    struct engine e[N_AGAINST];
    bool on[N_AGAINST];
};

static void compare_lane(const struct others *o, const struct engine *cpu, int lane, int partner, const struct model_shape *s, struct tally *t)
{
    for (int a = 0; a < N_AGAINST; a++)
        if (o->on[a]) compare(t->sums[a][lane], &o->e[a], lane, cpu, lane, s->n_layers);
    compare(t->sums[NOISE][lane], cpu, partner, cpu, lane, s->n_layers);
    if (o->on[FREE]) count_same(&o->e[FREE], cpu, lane, s, &t->same[FREE][lane], &t->all[FREE][lane]);
    count_same(&o->e[EVERYWHERE], cpu, lane, s, &t->same[EVERYWHERE][lane], &t->all[EVERYWHERE][lane]);
}

static void measure_run(struct machine *m, const struct run_plan *plan, double noise, struct tally *t)
{
    static struct lane_spec lanes[MAX_LANES], again[MAX_LANES];
    static int partner[MAX_LANES];
    static struct others o;
    const char *folder = getenv("TMPDIR");
    const int n = plan->n_lanes;
    char trace[4096];
    struct engine cpu;
    struct run_plan replay;
    snprintf(trace, sizeof trace, "%s/bench_devices.XXXXXX", folder ? folder : "/tmp");
    const int fd = mkstemp(trace);
    if (fd < 0 || close(fd) != 0) must(fail("%s cannot be made", trace), "trace");
    engine_open(&cpu, m->cpu, &m->cpu_w, plan, lanes, add_partners(plan, noise, lanes, partner));
    engine_open(&o.e[EVERYWHERE], m->cpu, &m->disturbed_w, plan, plan->lanes, n);
    o.on[EVERYWHERE] = true;
    o.on[FREE] = o.on[REPLAYED] = m->cuda != NULL;
    if (m->cuda) {
        record_lists(plan, &m->cpu_plain, trace);
        replay_plan(&replay, again, plan, trace);
        engine_open(&o.e[FREE], m->cuda, &m->cuda_w, plan, plan->lanes, n);
        engine_open(&o.e[REPLAYED], m->cuda, &m->cuda_w, &replay, again, n);
    }
    const struct model_shape *s = &m->cpu_w.model->shape;
    while (!run_done(&cpu.run)) {
        engine_step(&cpu);
        for (int a = 0; a < N_AGAINST; a++)
            if (o.on[a]) engine_step(&o.e[a]);
#pragma omp parallel for
        for (int i = 0; i < n; i++) compare_lane(&o, &cpu, i, partner[i], s, t);
    }
    engine_close(&cpu);
    for (int a = 0; a < N_AGAINST; a++)
        if (o.on[a]) engine_close(&o.e[a]);
    unlink(trace);
}

static void add_sum(struct sum *to, const struct sum *from)
{
    to->squares += from->squares;
    to->n += from->n;
}

static void add_sums(struct sum *to, const struct sum *from)
{
    for (int q = 0; q < N_QUANTITIES_HERE; q++) add_sum(&to[q], &from[q]);
}

/* The tallies of all runs. */
static void add_runs(struct tally *all, const struct common *c, int n_runs)
{
    for (int r = 0; r < n_runs; r++) {
        const struct tally *t = &c->runs[r];
        add_sums(all->lane0, t->lane0);
        add_sums(all->trial, t->trial);
        for (int a = 0; a < N_AGAINST; a++)
            for (int i = 0; i < MAX_LANES; i++) {
                add_sums(all->sums[a][i], t->sums[a][i]);
                all->same[a][i] += t->same[a][i];
                all->all[a][i] += t->all[a][i];
            }
    }
}

static double kv_rms(const struct sum *sums)
{
    struct sum both = sums[Q_K];
    add_sum(&both, &sums[Q_V]);
    return rms(&both);
}

static double lists_equal(const struct tally *t, enum against a, int lane)
{
    return t->all[a][lane] ? (double)t->same[a][lane] / (double)t->all[a][lane] : NAN;
}

/* What a table has: without a device neither free nor replayed. */
static int first_against(bool with_device)
{
    return with_device ? FREE : NOISE;
}

static void print_row(const struct tally *t, const char *lane, int i, int q, bool with_device, FILE *csv, int *above, int *beyond)
{
    double x[N_AGAINST];
    printf("%-44s %-10s", lane, quantity_names[q]);
    fprintf(csv, "%s,%s", lane, quantity_names[q]);
    for (int a = first_against(with_device); a < N_AGAINST; a++) {
        x[a] = rms(&t->sums[a][i][q]);
        printf(" %10.3e", x[a]);
        fprintf(csv, ",%.9g", x[a]);
    }
    for (int a = first_against(with_device); a < N_AGAINST; a++) {
        if (a != FREE && a != EVERYWHERE) continue;
        printf(" %16.4f", lists_equal(t, a, i));
        fprintf(csv, ",%.9g", lists_equal(t, a, i));
    }
    fprintf(csv, "\n");
    for (int a = first_against(with_device); a < NOISE; a++) {
        if (!(x[a] > x[NOISE])) continue;
        above[a]++;
        if (x[a] > x[EVERYWHERE]) beyond[a]++;
        printf("  %s %.2f of noise, %.2f of everywhere", against_names[a], x[a] / x[NOISE], x[a] / x[EVERYWHERE]);
    }
    printf("\n");
}

static void print_all(const struct tally *t, const struct run_plan *plan, bool with_device, FILE *csv)
{
    int above[N_AGAINST] = { 0 }, beyond[N_AGAINST] = { 0 };
    fprintf(csv, "lane,quantity%s,noise,everywhere%s,lists_equal_everywhere\n", with_device ? ",free,replayed" : "",
            with_device ? ",lists_equal_free" : "");
    printf("%-44s %-10s", "lane", "quantity");
    for (int a = first_against(with_device); a < N_AGAINST; a++) printf(" %10s", against_names[a]);
    printf("%s %16s\n", with_device ? "       lists free" : "", with_device ? "everywhere" : "lists everywhere");
    for (int i = 0; i < plan->n_lanes; i++)
        for (int q = 0; q < N_QUANTITIES_HERE; q++) print_row(t, plan->lanes[i].name, i, q, with_device, csv, above, beyond);
    for (int a = first_against(with_device); a < NOISE; a++)
        printf("%s: %d of %d above noise, %d of them above everywhere too\n", against_names[a], above[a], plan->n_lanes * N_QUANTITIES_HERE, beyond[a]);
}

/* A process: one run.  e: 0 where the device is to say. */
static void run_one(const struct session *s, int r, struct common *c, double e)
{
    static struct machine m;
    static struct tally all;
    const int share = omp_get_num_procs() / s->plan.n_runs;
    omp_set_num_threads(share > 1 ? share : 1);
    machine_open(&m, &s->model, !(e > 0));
    if (m.cuda) measure_lane0(&m, m.cuda, &m.cuda_w, &s->plan.runs[r], c->runs[r].lane0);
    everywhere = (float)TRIAL;
    measure_lane0(&m, m.cpu, &m.disturbed_w, &s->plan.runs[r], c->runs[r].trial);
    pthread_barrier_wait(&c->lane0_known);
    add_runs(&all, c, s->plan.n_runs);
    if (m.cuda) e = kv_rms(all.lane0);
    everywhere = (float)(TRIAL * e / kv_rms(all.trial));
    measure_run(&m, &s->plan.runs[r], e, &c->runs[r]);
    if (m.cuda) m.cuda->close(m.gpu);
}

/* The child ends with its parent, which may have ended before this is said. */
static void end_with(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_FAILED);
}

static void end_runs(const struct session *s, const pid_t *pid, int n)
{
    for (int r = 0; r < n; r++)
        if (pid[r] > 0 && kill(pid[r], SIGTERM) != 0) fprintf(stderr, "bench_devices: %s: process %d stays\n", s->plan.runs[r].id, (int)pid[r]);
}

/* Ends all of them where one fails: the others would wait for it. */
static int run_all(const struct session *s, struct common *c, double e)
{
    const int n = s->plan.n_runs;
    const pid_t parent = getpid();
    pid_t *pid = NULL;
    int status, failed = 0, n_left = 0;
    must(MEM_NEW(&pid, n, "processes"), "memory");
    for (; n_left < n; n_left++) {
        pid[n_left] = fork();
        if (pid[n_left] == 0) {
            end_with(parent);
            run_one(s, n_left, c, e);
            exit(EXIT_OK);
        }
        if (pid[n_left] > 0) continue;
        fprintf(stderr, "bench_devices: %s: no more processes: %m\n", s->plan.runs[n_left].id);
        end_runs(s, pid, n_left);
        failed = 1;
        break;
    }
    for (; n_left > 0; n_left--) {
        const pid_t ended = wait(&status);
        for (int r = 0; r < n; r++)
            if (pid[r] == ended) pid[r] = 0;
        if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK) continue;
        if (!failed) end_runs(s, pid, n);
        failed = 1;
    }
    mem_free(pid);
    return failed;
}

static bool device_found(void)
{
    struct device *gpu = NULL;
    const pid_t pid = fork(); /* a process that has opened a device cannot hand it to its children */
    int status = 0;
    if (pid == 0) exit(backends[1] && backends[1]->open(&gpu, 0) == 0 ? EXIT_OK : EXIT_FAILED);
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_OK;
}

static void print_lane0(const struct sum *sums, const char *what)
{
    printf("%s: K %.3e, V %.3e, attention %.3e, residual %.3e, hidden %.3e, logits %.3e; K and V %.4e\n", what, rms(&sums[Q_K]), rms(&sums[Q_V]),
           rms(&sums[Q_ATTENTION]), rms(&sums[Q_RESIDUAL]), rms(&sums[Q_HIDDEN]), rms(&sums[Q_LOGITS]), kv_rms(sums));
}

/* e=NUMBER, whole, between 0 and 1; 0 where the device is to say. */
static double read_e(const char *text)
{
    char *end = NULL;
    if (!text || strncmp(text, "e=", 2) != 0) return 0;
    const double e = strtod(text + 2, &end);
    if (end == text + 2 || *end || !(e > 0 && e < 1)) must(fail("%s: not a number between 0 and 1", text), "e");
    return e;
}

static void check_plan(const struct plan *p, const char *config)
{
    if (p->config.experiment != EXPERIMENT_DRIFT)
        must(fail("experiment: %s has no lanes side by side to compare; only drift has", experiment_names[p->config.experiment]), config);
    if (2 * p->runs[0].n_lanes + 1 > MAX_LANES) must(fail("%d lanes and their partners are more than %d", p->runs[0].n_lanes, MAX_LANES), config);
}

static struct common *share_open(int n_runs)
{
    pthread_barrierattr_t shared;
    const size_t n_bytes = sizeof(struct common) + (size_t)n_runs * sizeof(struct tally);
    struct common *c = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (c == MAP_FAILED) must(fail("%zu bytes to share", n_bytes), "memory");
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&c->lane0_known, &shared, (unsigned)n_runs);
    return c;
}

/* Who made the table.  The runs have ended, so the device may be opened here. */
static void print_provenance(int argc, char **argv, bool with_device)
{
    struct provenance p = { 0 };
    struct device *d = NULL;
    const struct backend *be = backends[with_device];
    must(provenance_open(&p, argc, argv), "provenance");
    must(be->open(&d, 0), be->name);
    be->identify(d, &p);
    be->close(d);
    if (with_device) printf("%s, %s; ", p.gpu, p.driver);
    printf("CPU %s, %d cores; commit %s%s, %s: %s\n", p.cpu, omp_get_num_procs(), p.commit, p.dirty ? " with changes" : "", p.start_time, p.command);
    provenance_close(&p);
}

static void write_all(const struct tally *all, const struct plan *p, bool with_device, const char *path)
{
    char part[4200];
    snprintf(part, sizeof part, "%.4095s.part", path);
    FILE *csv = fopen(part, "we");
    if (!csv) must(fail("cannot be written: %m"), part);
    if (with_device) print_lane0(all->lane0, "lane 0, device against CPU");
    print_lane0(all->trial, "lane 0, all that is written disturbed by 0.0005");
    print_all(all, &p->runs[0], with_device, csv);
    const bool bad = ferror(csv) != 0;
    if (fclose(csv) != 0 || bad) must(fail("cannot be written"), part);
    if (rename(part, path) != 0) must(fail("cannot be renamed: %m"), part);
}

/* Before hours of work. */
static void check_writable(const char *path)
{
    char part[4200];
    snprintf(part, sizeof part, "%.4095s.part", path);
    FILE *f = fopen(part, "we");
    if (!f) must(fail("cannot be written: %m"), part);
    fclose(f);
    remove(part);
}

int main(int argc, char **argv)
{
    struct session s;
    static struct tally all;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_devices CONFIG OUT.csv [e=NUMBER] [key=value ..]\n");
        return EXIT_USAGE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    const double e = read_e(argv[3]); /* argv ends with NULL */
    const bool with_device = !(e > 0);
    const int first = with_device ? 3 : 4, status = session_open(&s, argv[1], argc - first, argv + first);
    if (status != EXIT_OK) return status;
    check_plan(&s.plan, argv[1]);
    if (with_device && !device_found()) {
        printf("SKIP bench_devices: %s; e=NUMBER after OUT.csv needs none\n", backends[1] ? "no CUDA device" : "built without CUDA");
        return 0;
    }
    check_writable(argv[2]);
    struct common *c = share_open(s.plan.n_runs);
    if (run_all(&s, c, e) != 0) return EXIT_FAILED;
    add_runs(&all, c, s.plan.n_runs);
    print_provenance(argc, argv, with_device);
    write_all(&all, &s.plan, with_device, argv[2]);
    return 0;
}
