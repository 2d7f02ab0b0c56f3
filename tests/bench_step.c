/* tests/bench_step.c: the engine's times on a real model, medians of steps, every ratio within this one run (`make bench`).
 *
 *     bench_step MODEL TEXT ..      the texts are joined and decoded: 1,024 tokens prefilled, then 64 steps
 *
 * Timing window: one run_step with its records taken; no trace file.  Bounds: the products' fused multiply-adds at the peak that
 * this run measures, and the packed weights' bytes at the read bandwidth that this run measures. */
#include "tests/tiny.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { PREFIX = 1024, STEPS = 64 };
static const unsigned NO_MASS = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_LOGITS;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return n % 2 ? x[n / 2] : 0.5 * (x[n / 2 - 1] + x[n / 2]);
}

static void die(const char *what)
{
    fprintf(stderr, "bench_step: %s: %s\n", what, fail_text());
    exit(1);
}

/* The texts' tokens, one after another, again from the start where they are too short. */
static int32_t *read_stream(const struct tokenizer *t, int n_files, char **files, int n_tokens)
{
    int32_t *stream = NULL;
    if (MEM_NEW(&stream, n_tokens, "stream") != 0) die("stream");
    for (int at = 0, file = 0; at < n_tokens; file = (file + 1) % n_files) {
        static char text[1 << 20];
        FILE *in = fopen(files[file], "rb");
        if (!in) die(files[file]);
        const size_t n = fread(text, 1, sizeof text, in);
        fclose(in);
        int32_t *ids = NULL;
        size_t n_ids = 0;
        if (tokenizer_encode(t, text, n, 0, &ids, &n_ids) != 0) die(files[file]);
        for (size_t i = 0; i < n_ids && at < n_tokens; i++) stream[at++] = ids[i];
        mem_free(ids);
    }
    return stream;
}

struct timing {
    double prefill, step; /* seconds; step: the median */
};

static struct timing time_run(struct tiny *t, int prefix, int steps, unsigned metrics, enum follow follow)
{
    struct run r = { 0 };
    struct timing out;
    double *each = malloc((size_t)steps * sizeof *each);
    if (!each) die("no memory");
    t->plan = (struct run_plan){ .id = "bench", .stream = t->plan.stream, .n_stream = prefix + steps + 1, .start = prefix,
                                 .prefill_tokens = prefix, .n_steps = steps, .seed = 1, .follow = follow, .top_p = 1, .eos_id = -1,
                                 .metrics = metrics, .every = 1, .lanes = t->lanes, .n_lanes = t->n_lanes };
    if (run_open(&r, &t->plan, &t->weights) != 0) die("open");
    double from = seconds();
    if (run_prefill(&r) != 0) die("prefill");
    out.prefill = seconds() - from;
    for (int s = 0, taken; s < steps; s++) {
        from = seconds();
        if (run_step(&r) != 0) die("step");
        while (run_take(&r, &taken)) {}
        each[s] = seconds() - from;
    }
    out.step = median(each, steps);
    free(each);
    run_close(&r);
    return out;
}

static void add_sixteen(struct tiny *t)
{
    t->n_lanes = 1;
    for (int i = 0; i < 16; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%02d", i + 1);
        tiny_add(t, name, 0.9, (struct lane_spec){ .block_size = 16, .min_blocks = 4 });
    }
}

static double peak_rss_bytes(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return 1024.0 * (double)u.ru_maxrss;
}

static void print_tracing(struct tiny *t, double untraced)
{
    static const struct {
        const char *name;
        unsigned metrics;
    } cases[] = {
        { "drift, cache, attention, logits", NO_MASS },
        { "the five default groups", NO_MASS | METRIC_MASS },
        { "and parts", NO_MASS | METRIC_MASS | METRIC_PARTS },
        { "and heads", NO_MASS | METRIC_MASS | METRIC_HEADS },
        { "and selection", NO_MASS | METRIC_MASS | METRIC_SELECTION },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double traced = time_run(t, PREFIX, STEPS, cases[i].metrics, FOLLOW_TEXT).step;
        /* The untraced step again beside it: this machine's speed drifts. */
        const double beside = time_run(t, PREFIX, STEPS, 0, FOLLOW_TEXT).step;
        printf("  %-34s %7.2f ms a step, %+5.1f %% of the untraced %.2f ms\n", cases[i].name, 1e3 * traced,
               100 * (traced / (0.5 * (beside + untraced)) - 1), 1e3 * beside);
        untraced = beside;
    }
}

int main(int argc, char **argv)
{
    static struct tiny t;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_step MODEL TEXT ..\n");
        return 2;
    }
    tiny_open_model(&t, argv[1], NULL, 0);
    char device[128];
    t.be->describe(t.dev, device, sizeof device);
    t.plan.stream = read_stream(&t.model.tokenizer, argc - 2, argv + 2, 4096 + STEPS + 1);
    printf("%s on %s; %d tokens prefilled, %d steps, medians\n", t.model.name, device, PREFIX, STEPS);

    const struct timing dense = time_run(&t, PREFIX, STEPS, 0, FOLLOW_REFERENCE);
    printf("one dense lane, untraced:            %7.2f ms a step\n", 1e3 * dense.step);
    printf("prefill with the last row's logits:  %7.3f s\n", dense.prefill);
    add_sixteen(&t);
    const struct timing many = time_run(&t, PREFIX, STEPS, 0, FOLLOW_TEXT);
    printf("dense and 16 sparse lanes, untraced: %7.2f ms a step\n", 1e3 * many.step);
    uint64_t bytes[N_MEMORY_PARTS], sum = 0;
    t.plan.metrics = NO_MASS | METRIC_MASS;
    if (run_memory(&t.plan, &t.model, bytes) != 0) die("memory");
    printf("tracing the same 17 lanes:\n");
    print_tracing(&t, many.step);
    bytes[MEMORY_WEIGHTS] = weights_bytes(t.be, &t.model);
    printf("memory counted beforehand with the five groups (MB):");
    static const char *const part[] = { "weights", "prefix", "suffixes", "block keys", "buffers", "measures" };
    for (int i = 0; i < N_MEMORY_PARTS; i++) {
        printf(" %s %.1f,", part[i], 1e-6 * (double)bytes[i]);
        sum += bytes[i];
    }
    printf(" together %.1f; peak resident so far %.1f\n", 1e-6 * (double)sum, 1e-6 * peak_rss_bytes());
    printf("at 4,096 tokens of context:\n");
    const struct timing long_untraced = time_run(&t, 4096, 16, 0, FOLLOW_TEXT);
    const struct timing long_traced = time_run(&t, 4096, 16, NO_MASS | METRIC_MASS, FOLLOW_TEXT);
    printf("  untraced %.2f ms a step, with the five default groups %.2f ms, %+.1f %%; prefill %.2f s\n", 1e3 * long_untraced.step,
           1e3 * long_traced.step, 100 * (long_traced.step / long_untraced.step - 1), long_untraced.prefill);
    mem_free((void *)(uintptr_t)t.plan.stream);
    tiny_close(&t);
    return 0;
}
