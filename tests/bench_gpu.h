/* tests/bench_gpu.h: times on the device, each beside the plain read of the same bytes and beside its check.
 *
 * A time is the median of N_REPLAYS replays of a recorded graph that does one kernel in every layer of a model, over the model's own
 * caches and weights, so that nothing is found in the second-level cache; divided by the layers.                */
#ifndef TESTS_BENCH_GPU_H
#define TESTS_BENCH_GPU_H

#include "core/latency.h"
#include "core/provenance.h"

#include <stdio.h>

/* Contexts end a few tokens before a multiple of every tile, so that the last tile of a cache has a rest, which is NaN. */
enum { N_REPLAYS = 22, MAX_BENCH_ROWS = 1024, REPORT_INTERVAL = 32, SHORT_OF_TILE = 5 };

struct bench_row {
    char shape[16], kernel[40], note[80];
    int batch, context;          /* context: the multiple that it ends before */
    double us, us_low, us_high;  /* median, first and ninth decile */
    double bytes, flop;          /* 0: not counted */
    double read_us;              /* plain read of as many bytes; NaN: none */
    double clock_mhz;            /* NaN: not known */
    double worst;                /* greatest error over its tolerance; NaN: not checked */
    bool finite;                 /* of a step: every logit is a number */
};

struct bench {
    const struct backend *be;
    struct device *dev;
    const char *folder, *only;   /* only: kernels whose names hold it */
    struct bench_row rows[MAX_BENCH_ROWS];
    int n_rows;
    struct provenance provenance;
};

/* A shape, with the lanes and the run that its caches are made for. */
struct bench_case {
    const char *name;
    struct model model;
    struct weights weights;
    struct lane_spec lanes[2];   /* dense; ReSA at the paper's defaults */
    struct run_plan plan;
    int32_t *stream;             /* owned */
    struct latency l;
};
enum { BENCH_DENSE, BENCH_RESA };

void must(int rc);               /* 0, or the message and the end of the program */
void case_open(struct bench *b, struct bench_case *c, const char *name, const struct synthetic_spec *spec);
void case_start(struct bench *b, struct bench_case *c, int batch, int context);  /* opens c->l; the last start's is closed */
void case_close(struct bench *b, struct bench_case *c);

/* A row with the quantiles of n samples, each divided by `share` (layers); the caller fills in the rest. */
struct bench_row *bench_add(struct bench *b, const struct bench_case *c, const char *kernel, const float *seconds, int share);
/* Microseconds of one plain read of n_bytes, at ever other places of the caches. */
double bench_read_us(struct bench_case *c, size_t n_bytes);

/* bench_gpu_check.c: what the last replays left in the buffers, against double precision; the greatest error over its tolerance.
 * The program ends where what must not be read is not NaN: of the pairs that are looked at, all beyond the context, and what a sparse
 * row has not selected. */
double check_attend(struct bench_case *c, int layer, int n_rows, bool window);
double check_select(struct bench_case *c, int layer);
/* Every block that a sequence and KV head of this layer has not selected becomes NaN, in K and V. */
void   poison_unselected(struct bench_case *c, int layer);

void bench_attention(struct bench *b, struct bench_case *c);  /* of the batch and context of c->l */
void bench_products(struct bench *b, struct bench_case *c);
void bench_steps(struct bench *b, struct bench_case *c);

#endif
