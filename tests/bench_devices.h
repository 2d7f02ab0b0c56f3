/* tests/bench_devices.h: runs of a config step by step side by side, and how far apart they are. */
#ifndef TESTS_BENCH_DEVICES_H
#define TESTS_BENCH_DEVICES_H

#include "core/run.h"

enum quantity { Q_K, Q_V, Q_ATTENTION, Q_RESIDUAL, Q_HIDDEN, Q_LOGITS, N_QUANTITIES_HERE };
enum against { FREE, REPLAYED, NOISE, EVERYWHERE, N_AGAINST };

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

struct tally {
    struct sum lane0[N_QUANTITIES_HERE], trial[N_QUANTITIES_HERE]; /* on the device; disturbed by TRIAL */
    struct sum sums[N_AGAINST][MAX_LANES][N_QUANTITIES_HERE];
    int64_t same[N_AGAINST][MAX_LANES], all[N_AGAINST][MAX_LANES]; /* of free and everywhere */
};

struct machine {
    const struct backend *cpu, *cuda;
    struct backend cpu_spy, cuda_spy, disturbed_spy;
    struct device *host, *gpu;
    struct weights cpu_w, cuda_w, disturbed_w; /* of the spies */
    struct weights cpu_plain;          /* the same matrices, without spies */
};

/* Ends the program where rc is not 0: what, and the message of it. */
void must(int rc, const char *what);

/* ---- bench_devices_engine.c ---- */
/* A back end that computes what the real one does, enqueues without recording and shows its measures. */
struct backend engine_spied(const struct backend *real);
/* The same of the CPU, with all that is ever written disturbed by as much as engine_disturb() said last. */
struct backend engine_disturbed(const struct backend *cpu);
void engine_disturb(double e);
/* Prefills.  w: of engine_spied(real); plan and lanes borrowed until the next line only. */
void engine_open(struct engine *e, const struct backend *real, const struct weights *w, const struct run_plan *plan,
                 const struct lane_spec *lanes, int n_lanes);
void engine_close(struct engine *e);
void engine_step(struct engine *e);
/* Adds the relative differences of a lane of x to one of r, in what their last steps held. */
void engine_compare(struct sum *sums, const struct engine *x, int lane_x, const struct engine *r, int lane_r, int n_layers);
/* Lists of a layer and KV head that are the same, and all of them. */
void engine_count_same(const struct engine *x, const struct engine *r, int lane, const struct model_shape *s, int64_t *same, int64_t *all);

/* ---- bench_devices_run.c ---- */
void machine_open(struct machine *m, const struct model *model, bool with_device);
/* A run of lane 0 alone, beside the CPU's. */
void measure_lane0(struct machine *m, const struct backend *be, const struct weights *w, const struct run_plan *plan, struct sum *sums);
/* The run beside the CPU's on the device, where the machine has one, noisy by `noise`, and disturbed everywhere. */
void measure_run(struct machine *m, const struct run_plan *plan, double noise, struct tally *t);

#endif
