/* tests/bench_profile.c: where a step's time goes, by operation, on a real model (`make bench`).
 *
 *     bench_profile MODEL
 *
 * The back end's table is copied with a clock around each operation: one dense lane, then it and 16 sparse ones (as in
 * bench_step.c), untraced and with the five default groups; random tokens, 1,024 prefilled.  Figures are medians over the
 * steps after the first; the share is of the step's median. */
#include "kernels/matrix.h"
#include "tests/bench_machine.h"
#include "tests/tiny.h"

#include "core/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX = 1024, STEPS = 48, N_SPARSE = 16, MAX_PRODUCTS = 8 };

#define OPERATIONS(X)                                                                                                              \
    X(embed) X(norm) X(swiglu) X(angles) X(rope_append) X(choose) X(attend) X(block_mass) X(kv_copy)       \
    X(measure_layer) X(measure_cache) X(measure_logits) X(sample)

static const struct backend *real;

#define X(op) OP_##op,
enum { OPERATIONS(X) N_OPERATIONS };
#undef X
#define X(op) #op,
static const char *const names[] = { OPERATIONS(X) };
#undef X

static int step; /* in work */
static double spent[N_OPERATIONS][STEPS], spent_all[STEPS], in_step[STEPS];
static struct {
    int n_out, n_in;
    double s[STEPS];
} products[MAX_PRODUCTS]; /* by shape */

static int spend(double *s, double from, int rc)
{
    const double took = bench_seconds() - from;
    s[step] += took;
    spent_all[step] += took;
    return rc;
}

#define X(op)                                                                                                                      \
    static int timed_##op(struct device *d, const struct op##_args *a)                                                             \
    {                                                                                                                              \
        const double from = bench_seconds();                                                                                       \
        return spend(spent[OP_##op], from, real->op(d, a));                                                                        \
    }
OPERATIONS(X)
#undef X

static int timed_product(struct device *d, const struct product_args *a)
{
    int i = 0;
    while (i < MAX_PRODUCTS - 1 && products[i].n_out && (products[i].n_out != a->w->n_out || products[i].n_in != a->w->n_in)) i++;
    products[i].n_out = a->w->n_out;
    products[i].n_in = a->w->n_in;
    const double from = bench_seconds();
    return spend(products[i].s, from, real->product(d, a));
}

static void must(int rc)
{
    if (rc == 0) return;
    fprintf(stderr, "bench_profile: %s\n", fail_text());
    exit(EXIT_FAILED);
}

/* Of the steps after the first, whose arrays are new to the caches. */
static double median(double *s)
{
    return bench_spread(s + 1, STEPS - 1).median;
}

static void print_part(const char *name, double s, double of)
{
    if (s > 0) printf("    %-20s %8.3f ms  %5.1f %%\n", name, 1e3 * s, 100 * s / of);
}

static void run_steps(struct run *r)
{
    memset(spent, 0, sizeof spent);
    memset(spent_all, 0, sizeof spent_all);
    memset(products, 0, sizeof products);
    for (step = 0; step < STEPS; step++) {
        const double from = bench_seconds();
        int taken;
        must(run_step(r));
        while (run_take(r, &taken)) {}
        in_step[step] = bench_seconds() - from;
    }
}

static void profile(struct tiny *t, const char *name, int n_lanes, unsigned metrics)
{
    struct run r = { 0 };
    tiny_plan(t, PREFIX, STEPS, metrics);
    t->plan.n_lanes = n_lanes;
    step = 0;
    must(run_open(&r, &t->plan, &t->weights));
    must(run_prefill(&r));
    run_steps(&r);
    run_close(&r);
    for (int s = 0; s < STEPS; s++) spent_all[s] = in_step[s] - spent_all[s];
    const double of = median(in_step);
    printf("%s: %.2f ms a step\n", name, 1e3 * of);
    for (int i = 0; i < MAX_PRODUCTS && products[i].n_out; i++) {
        char shape[64];
        snprintf(shape, sizeof shape, "product %d x %d", products[i].n_out, products[i].n_in);
        print_part(shape, median(products[i].s), of);
    }
    for (int i = 0; i < N_OPERATIONS; i++) print_part(names[i], median(spent[i]), of);
    print_part("between operations", median(spent_all), of);
}

int main(int argc, char **argv)
{
    static struct tiny t;
    if (argc != 2) {
        fprintf(stderr, "usage: bench_profile MODEL\n");
        return EXIT_USAGE;
    }
    tiny_open_model(&t, argv[1], getenv("RESA_ISA"), 0);
    for (int i = 0; i < N_SPARSE; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%02d", i + 1);
        tiny_add(&t, name, 0.9, (struct lane_spec){ .block_size = 16, .min_blocks = 4 });
    }
    real = t.be;
    struct backend timed = *real;
#define X(op) timed.op = timed_##op;
    OPERATIONS(X)
#undef X
    timed.product = timed_product;
    t.weights.be = &timed;
    profile(&t, "one dense lane", 1, 0);
    profile(&t, "dense and 16 sparse lanes", 1 + N_SPARSE, 0);
    profile(&t, "the same with the five default groups", 1 + N_SPARSE,
            METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS);
    t.weights.be = real;
    tiny_close(&t);
    return EXIT_OK;
}
