/* tests/bench_step.c: the engine's times on a real model beside the machine's bounds (`make bench`, `make bench-peer`).
 *
 *     bench_step MODEL TEXT ..             the page: steps, prefill, what tracing costs, growth to 4,096 tokens
 *     bench_step --samples MODEL TEXT ..   for tests/bench_peer.py: lines "name value ..": ms of one lane's and of 17 lanes' steps and
 *                                          of the prefill, and the bounds
 *     bench_step --ids MODEL TEXT ..       the token ids of both
 *     bench_step --tracing MODEL TEXT ..   of the page, what tracing costs
 *     bench_step --memory MODEL TEXT ..    the traced run of 17 lanes alone: resident memory beside what was counted beforehand
 *
 * The texts are joined: 1,024 tokens prefilled, then 64 steps of one dense lane, or of it and 16 sparse ones (sparsity 0.9, block 16,
 * min_blocks 4, never rectified).  Timing window of a step: one run_step with its records taken; of a trace, apart: opening,
 * writing all records and finishing the file.  What is compared runs side by side, step by step in turn, because a machine's speed
 * drifts.  Every figure is a median with the least and the most.                                                       */
#include "tests/bench_machine.h"
#include "tests/tiny.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/trace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PREFIX = 1024, STEPS = 64, LONG_PREFIX = 4096, LONG_STEPS = 16, N_SPARSE = 16, N_PREFILLS = 3 };
static const unsigned NO_MASS = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_LOGITS;
static const unsigned FIVE = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_LOGITS | METRIC_MASS;

/* One run among those that take turns. */
struct bench_case {
    const char *name;
    int n_lanes;
    unsigned metrics;
    enum follow follow;
    bool file;                     /* its trace is written */
    struct run_plan plan;
    struct run run;
    struct record_layout layout;
    struct trace *trace;
    char path[64];
    double step_ms[STEPS];         /* in order, until its spread was taken */
    double prefill_ms, trace_ms;   /* trace_ms: of the whole file, over the steps */
};

static void must(int rc, const char *what)
{
    if (rc == 0) return;
    fprintf(stderr, "bench_step: %s: %s\n", what, fail_text());
    exit(EXIT_FAILED);
}

/* The texts' tokens, one after another, again from the start where they are too short. */
static int32_t *read_stream(const struct tokenizer *t, int n_files, char **files, int n_tokens)
{
    int32_t *stream = NULL;
    must(MEM_NEW(&stream, n_tokens, "stream"), "stream");
    for (int at = 0, file = 0, before = 0; at < n_tokens; file = (file + 1) % n_files) {
        static char text[1 << 20];
        FILE *in = fopen(files[file], "rb");
        if (!in) must(fail("cannot be read"), files[file]);
        const size_t n = fread(text, 1, sizeof text, in);
        fclose(in);
        int32_t *ids = NULL;
        size_t n_ids = 0;
        must(tokenizer_encode(t, text, n, 0, &ids, &n_ids), files[file]);
        for (size_t i = 0; i < n_ids && at < n_tokens; i++) stream[at++] = ids[i];
        mem_free(ids);
        if (file == n_files - 1 && at == before) must(fail("the texts are empty"), files[0]);
        if (file == n_files - 1) before = at;
    }
    return stream;
}

static void case_open(struct bench_case *c, struct tiny *t, const int32_t *stream, int prefix, int steps)
{
    c->plan = (struct run_plan){ .id = "bench", .source = "bench", .stream = stream, .n_stream = prefix + steps + 1, .start = prefix,
                                 .prefill_tokens = prefix, .n_steps = steps, .seed = 1, .follow = c->follow, .top_p = 1, .eos_id = -1,
                                 .metrics = c->metrics, .every = 1, .lanes = t->lanes, .n_lanes = c->n_lanes };
    must(run_open(&c->run, &c->plan, &t->weights), "open");
    c->layout = c->run.layout;
    double from = bench_seconds();
    must(run_prefill(&c->run), "prefill");
    c->prefill_ms = 1e3 * (bench_seconds() - from);
    if (!c->file) return;
    static struct provenance p;
    static int n_files;
    if (!p.command) must(provenance_open(&p, 1, (char *[]){ (char[]){ "bench_step" }, NULL }), "provenance");
    snprintf(c->path, sizeof c->path, "/tmp/bench_step.%d.%d.h5", (int)getpid(), n_files++);
    from = bench_seconds();
    must(trace_open(&c->trace, c->path, &c->plan, &t->model, &c->run.layout, &p, ""), "trace");
    c->trace_ms = 1e3 * (bench_seconds() - from) / steps;
}

static void case_take(struct bench_case *c)
{
    int taken;
    for (const void *record; (record = run_take(&c->run, &taken)) != NULL;) {
        if (!c->trace) continue;
        const double from = bench_seconds();
        must(trace_write(c->trace, taken, record), "trace");
        c->trace_ms += 1e3 * (bench_seconds() - from) / c->plan.n_steps;
    }
}

static void case_step(struct bench_case *c, int step)
{
    const double from = bench_seconds(), traced = c->trace_ms;
    must(run_step(&c->run), "step");
    case_take(c);
    c->step_ms[step] = 1e3 * (bench_seconds() - from) - (c->trace_ms - traced) * c->plan.n_steps;
}

static void case_close(struct bench_case *c)
{
    run_drain(&c->run);
    case_take(c);
    if (c->trace) {
        const double from = bench_seconds();
        must(trace_finish(c->trace, c->run.k_spread, c->run.v_spread, NULL, c->plan.n_steps), "trace");
        c->trace_ms += 1e3 * (bench_seconds() - from) / c->plan.n_steps;
        remove(c->path);
    }
    trace_close(c->trace);
    run_close(&c->run);
}

/* All cases over the same text, in turn. */
static void cases_run(struct bench_case *c, int n_cases, struct tiny *t, const int32_t *stream, int prefix, int steps)
{
    for (int i = 0; i < n_cases; i++) case_open(&c[i], t, stream, prefix, steps);
    for (int s = 0; s < steps; s++) {
        for (int i = 0; i < n_cases; i++) case_step(&c[i], s);
    }
    for (int i = 0; i < n_cases; i++) case_close(&c[i]);
}

static void print_spread(const char *name, struct spread s)
{
    printf("%-46s %8.2f ms   (%.2f .. %.2f)\n", name, s.median, s.min, s.max);
}

/* Floating-point operations and bytes of a step that no engine can do without, and the time of the nearer bound. */
struct bound {
    double flop, bytes, fma_ms, read_ms;
};

static struct bound bound_of(const struct tiny *t, double fma_rate, double read_rate, int n_sparse, double sparse_tokens)
{
    const struct model_shape *s = &t->model.shape;
    const double q = (double)s->n_heads * s->head_dim, kv = (double)s->n_kv_heads * s->head_dim, context = PREFIX + STEPS / 2;
    const double per_row = s->n_layers * ((double)s->hidden * (2 * q + 2 * kv + 3.0 * s->ffn)) + (double)s->vocab * s->hidden;
    struct bound b = { .flop = 2 * per_row * (1 + n_sparse) + 4 * s->n_layers * q * (context + n_sparse * sparse_tokens) };
    b.bytes = (double)weights_bytes(t->be, &t->model) + 2.0 * sizeof(float) * s->n_layers * kv * context; /* the lanes share the prefix */
    b.fma_ms = fma_rate > 0 ? 1e-6 * b.flop / fma_rate : 0;
    b.read_ms = read_rate > 0 ? 1e-6 * b.bytes / read_rate : 0;
    return b;
}

static void print_bound(struct bound b, struct spread s)
{
    printf("    %.0f MFLOP take %.2f ms, %.0f MB of weights, K and V %.2f ms: %.0f %% of the nearer bound is reached\n", 1e-6 * b.flop,
           b.fma_ms, 1e-6 * b.bytes, b.read_ms, 100 * fmax(b.fma_ms, b.read_ms) / s.median);
}

static void add_sixteen(struct tiny *t)
{
    for (int i = 0; i < N_SPARSE; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%02d", i + 1);
        tiny_add(t, name, 0.9, (struct lane_spec){ .block_size = 16, .min_blocks = 4 });
    }
}

static void page_prefill(struct tiny *t, const int32_t *stream)
{
    double ms[N_PREFILLS];
    for (int i = 0; i < N_PREFILLS; i++) {
        struct bench_case c = { .n_lanes = 1, .follow = FOLLOW_REFERENCE };
        case_open(&c, t, stream, PREFIX, 1);
        run_close(&c.run);
        ms[i] = c.prefill_ms;
    }
    print_spread("prefill of 1,024, with the last row's logits", bench_spread(ms, N_PREFILLS));
}

/* The 17 lanes, untraced and with one metric group after the other. */
static void tracing(struct tiny *t, const int32_t *stream)
{
    static struct bench_case c[] = {
        { .name = "untraced", .n_lanes = 1 + N_SPARSE },
        { .name = "drift, cache, attention, logits", .n_lanes = 1 + N_SPARSE, .metrics = NO_MASS, .file = true },
        { .name = "the five default groups", .n_lanes = 1 + N_SPARSE, .metrics = FIVE, .file = true },
        { .name = "and parts", .n_lanes = 1 + N_SPARSE, .metrics = FIVE | METRIC_PARTS, .file = true },
        { .name = "and heads", .n_lanes = 1 + N_SPARSE, .metrics = FIVE | METRIC_HEADS, .file = true },
        { .name = "and selection", .n_lanes = 1 + N_SPARSE, .metrics = FIVE | METRIC_SELECTION, .file = true },
    };
    enum { N = sizeof c / sizeof *c };
    cases_run(c, N, t, stream, PREFIX, STEPS);
    printf("tracing the 17 lanes: a step, against untraced; and the trace's file, by step\n");
    double plain = 0;
    for (int i = 0; i < N; i++) {
        const struct spread s = bench_spread(c[i].step_ms, STEPS);
        if (i == 0) plain = s.median;
        printf("  %-44s %8.2f ms   (%.2f .. %.2f)   %+.1f %%", c[i].name, s.median, s.min, s.max, 100 * (s.median / plain - 1));
        if (c[i].file) printf("; file %.2f ms, together %+.1f %%", c[i].trace_ms, 100 * ((s.median + c[i].trace_ms) / plain - 1));
        printf("\n");
    }
}

static void page_steps(struct tiny *t, const int32_t *stream, double fma_rate, double read_rate)
{
    static struct bench_case c[] = { { .name = "one dense lane, untraced", .n_lanes = 1, .follow = FOLLOW_REFERENCE },
                                     { .name = "dense and 16 sparse lanes, untraced", .n_lanes = 1 + N_SPARSE } };
    cases_run(c, 2, t, stream, PREFIX, STEPS);
    const struct spread dense = bench_spread(c[0].step_ms, STEPS), many = bench_spread(c[1].step_ms, STEPS);
    print_spread(c[0].name, dense);
    print_bound(bound_of(t, fma_rate, read_rate, 0, 0), dense);
    print_spread(c[1].name, many);
    print_bound(bound_of(t, fma_rate, read_rate, N_SPARSE, 7 * 16), many); /* 7 of 65 to 68 blocks */
}

static void page_long(struct tiny *t, const int32_t *stream)
{
    static struct bench_case c[] = { { .name = "  untraced", .n_lanes = 1 + N_SPARSE },
                                     { .name = "  with the five default groups", .n_lanes = 1 + N_SPARSE, .metrics = FIVE } };
    cases_run(c, 2, t, stream, LONG_PREFIX, LONG_STEPS);
    printf("the 17 lanes at 4,096 tokens of context (prefill, without logits, %.0f ms)\n", c[0].prefill_ms);
    const struct spread plain = bench_spread(c[0].step_ms, LONG_STEPS), traced = bench_spread(c[1].step_ms, LONG_STEPS);
    print_spread(c[0].name, plain);
    print_spread(c[1].name, traced);
    printf("    %+.1f %%\n", 100 * (traced.median / plain.median - 1));
}

static void page(struct tiny *t, const int32_t *stream)
{
    char device[128];
    t->be->describe(t->dev, device, sizeof device);
    const double fma_rate = machine_fma_rate(t->dev->isa, t->dev->n_threads), read_rate = machine_read_rate(t->dev->n_threads);
    printf("%s on cpu, %s: %.0f GFLOP/s of fused multiply-adds, %.1f GB/s of reads\n", t->model.name, device, fma_rate, read_rate);
    printf("%d tokens prefilled, %d steps; medians (least .. most)\n", PREFIX, STEPS);
    page_prefill(t, stream);
    page_steps(t, stream, fma_rate, read_rate);
    tracing(t, stream);
    page_long(t, stream);
}

static void print_samples(const char *name, const double *ms, int n)
{
    printf("%s", name);
    for (int i = 0; i < n; i++) printf(" %.4f", ms[i]);
    printf("\n");
}

static void samples(struct tiny *t, const int32_t *stream)
{
    const double fma_rate = machine_fma_rate(t->dev->isa, t->dev->n_threads), read_rate = machine_read_rate(t->dev->n_threads);
    static struct bench_case dense = { .n_lanes = 1, .follow = FOLLOW_REFERENCE }, many = { .n_lanes = 1 + N_SPARSE };
    cases_run(&dense, 1, t, stream, PREFIX, STEPS);
    cases_run(&many, 1, t, stream, PREFIX, STEPS);
    print_samples("dense", dense.step_ms, STEPS);
    print_samples("lanes", many.step_ms, STEPS);
    print_samples("prefill", &dense.prefill_ms, 1);
    const struct bound one = bound_of(t, fma_rate, read_rate, 0, 0), all = bound_of(t, fma_rate, read_rate, N_SPARSE, 7 * 16);
    printf("machine %.1f %.2f\n", fma_rate, read_rate);
    printf("bound_dense %.4f %.4f\nbound_lanes %.4f %.4f\n", one.fma_ms, one.read_ms, all.fma_ms, all.read_ms);
}

static void memory(struct tiny *t, const int32_t *stream)
{
    static const char *const part[] = { "weights", "prefix", "suffixes", "block keys", "buffers", "measures" };
    static struct bench_case c = { .n_lanes = 1 + N_SPARSE, .metrics = FIVE, .file = true };
    uint64_t bytes[N_MEMORY_PARTS];
    cases_run(&c, 1, t, stream, PREFIX, STEPS);
    must(run_memory(&c.plan, &t->model, t->be, bytes), "memory");
    bytes[MEMORY_WEIGHTS] = weights_bytes(t->be, &t->model);
    double sum = 1e-6 * (double)trace_buffer_bytes(&c.layout, STEPS);
    printf("17 lanes, the five default groups, counted beforehand (MB): trace %.1f", sum);
    for (int i = 0; i < N_MEMORY_PARTS; i++) {
        printf(", %s %.1f", part[i], 1e-6 * (double)bytes[i]);
        sum += 1e-6 * (double)bytes[i];
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    const double peak = 1e-6 * 1024 * (double)u.ru_maxrss, allowed = 1.05 * sum + 1e-6 * (64 << 20);
    printf("\ntogether %.1f MB; most resident %.1f MB, %s the %.1f MB allowed (5 %% + 64 MiB)\n", sum, peak,
           peak <= allowed ? "within" : "ABOVE", allowed);
}

static void ids(struct tiny *t, const int32_t *stream)
{
    (void)t;
    for (int i = 0; i < PREFIX + STEPS; i++) printf("%d\n", stream[i]);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *option;
        void (*show)(struct tiny *t, const int32_t *stream);
    } shows[] = { { "--samples", samples }, { "--ids", ids }, { "--tracing", tracing }, { "--memory", memory } };
    static struct tiny t;
    void (*show)(struct tiny *t, const int32_t *stream) = page;
    int at = 1;
    for (size_t i = 0; argc > 1 && i < sizeof shows / sizeof *shows; i++) {
        if (strcmp(argv[1], shows[i].option) != 0) continue;
        show = shows[i].show;
        at = 2;
    }
    if (argc < at + 2 || argv[at][0] == '-') {
        fprintf(stderr, "usage: bench_step [--samples|--ids|--tracing|--memory] MODEL TEXT ..\n");
        return EXIT_USAGE;
    }
    tiny_open_model(&t, argv[at], getenv("RESA_ISA"), 0);
    add_sixteen(&t);
    int32_t *stream = read_stream(&t.model.tokenizer, argc - at - 1, argv + at + 1, LONG_PREFIX + LONG_STEPS + 1);
    show(&t, stream);
    mem_free(stream);
    tiny_close(&t);
    return EXIT_OK;
}
