/* tests/bench_attention.c: time of the operations on the KV cache, for SmolLM2-135M's shape at a context of 1,024 tokens.
 *
 * Usage: bench_attention [repetitions [text]]: text: only the lines that contain it.  Every figure is one operation's time in all 30 layers, the median over the
 * repetitions, and the same of the CPU time by thread, which a busy machine disturbs less; the share is the CPU time's, of the
 * best FMA peak measured in between with the same threads.  Layers follow one another as in a
 * run, so a layer's K and V (1.6 MB) come from wherever they are kept between steps.                     */
#include "core/err.h"
#include "core/mem.h"
#include "core/philox.h"
#include "kernels/cpu_device.h"
#include "kernels/kv_tile.h"
#include "tests/bench_machine.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N_LAYERS = 30, N_HEADS = 9, N_KV = 3, DIM = 64, PREFIX = 1024, N_STEPS = 64, N_LANES = 17, BLOCK = 16 };
enum { STEP = 32, RECTIFIED = 6, WINDOW = 32, CHUNK = 256, MAX_ROWS = 256, MAX_BLOCKS = 68, MAX_REPEATS = 101 };
enum { QKV = (N_HEADS + 2 * N_KV) * DIM };

struct bench {
    struct device *device;
    struct kv_cache kv;
    struct key_set sets[N_LANES + 1]; /* the last is the prefix's */
    struct lane_params lanes[N_LANES];
    struct row rows[MAX_ROWS];
    struct attend_row attend[MAX_ROWS];
    struct mass_row mass_rows[N_LANES];
    struct block_lists lists;
    float *qkv, *out, *angles;
    double *mass, *stale;
    int n_rows, n_repeats;
    const char *only;
};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void must(int rc)
{
    if (rc == 0) return;
    fprintf(stderr, "bench_attention: %s\n", fail_text());
    exit(EXIT_FAILED);
}

static void *array(struct bench *b, size_t n_bytes)
{
    void *p = NULL;
    must(cpu_alloc(b->device, &p, n_bytes, "bench"));
    return p;
}

static float *random_floats(struct bench *b, size_t n)
{
    float *x = array(b, n * sizeof(float));
    const uint32_t key[2] = { 1, 2 };
    for (size_t i = 0; i < n; i += 4) {
        const uint32_t counter[4] = { (uint32_t)i, (uint32_t)(i >> 32), 0, 0 };
        uint32_t word[4];
        philox4x32(counter, key, word);
        for (size_t j = i; j < n && j < i + 4; j++) x[j] = 2 * philox_signed_f32(word[j - i]);
    }
    return x;
}

static struct key_set keys_open(struct bench *b, int store, int first, int end)
{
    struct key_set s = { store, BLOCK, first, (end - first + KEY_TILE - 1) / KEY_TILE, NULL };
    s.keys = array(b, key_set_elems(&b->kv, &s) * sizeof(float));
    return s;
}

static void bench_open(struct bench *b)
{
    must(cpu_open(&b->device, 0));
    struct kv_cache *c = &b->kv;
    *c = (struct kv_cache){ N_LAYERS, N_KV, DIM, PREFIX, PREFIX / KV_TILE, PREFIX / KV_TILE, N_STEPS / KV_TILE, N_LANES, 0,
                            NULL, NULL, NULL, NULL, NULL, NULL };
    c->k_prefix = random_floats(b, kv_prefix_elems(c));
    c->v_prefix = random_floats(b, kv_prefix_elems(c));
    c->k_own = random_floats(b, kv_own_elems(c));
    c->v_own = random_floats(b, kv_own_elems(c));
    b->qkv = random_floats(b, MAX_ROWS * QKV);
    b->angles = random_floats(b, MAX_ROWS * DIM / 2);
    b->out = array(b, MAX_ROWS * N_HEADS * DIM * sizeof(float));
    b->mass = array(b, N_LANES * N_HEADS * MAX_BLOCKS * sizeof(double));
    b->stale = array(b, N_LANES * N_HEADS * sizeof(double));
    b->lists = (struct block_lists){ MAX_BLOCKS, array(b, MAX_ROWS * N_KV * MAX_BLOCKS * sizeof(int32_t)),
                                     array(b, MAX_ROWS * N_KV * sizeof(int32_t)), array(b, MAX_ROWS * N_KV * sizeof(int32_t)) };
    for (int l = 0; l < N_LANES; l++) {
        b->sets[l] = keys_open(b, l, PREFIX / BLOCK, (PREFIX + N_STEPS) / BLOCK);
        b->lanes[l] = (struct lane_params){ l ? SELECT_MINMAX : SELECT_DENSE, BLOCK, 1, 4, 100000, 0, l, N_LANES, 0 };
    }
    b->sets[N_LANES] = keys_open(b, KV_PREFIX, 0, PREFIX / BLOCK);
    const struct model_shape shape = { .n_heads = N_HEADS, .n_kv_heads = N_KV, .head_dim = DIM };
    must(cpu_reserve(b->device, &shape, &(struct work_extent){ .max_rows = MAX_ROWS, .max_context = PREFIX + N_STEPS }));
}

static void op_rope(struct bench *b, int layer)
{
    const struct rope_append_args a = { b->n_rows, layer, N_HEADS, b->rows, b->lanes, b->qkv, NULL, NULL, 0, b->angles, b->angles,
                                        ROPE_HALVES, NULL, &b->kv, 1 };
    must(cpu_rope_append(b->device, &a));
}

static void op_select(struct bench *b, int layer)
{
    const struct select_args a = { b->n_rows, layer, N_HEADS, b->rows, b->lanes, b->sets, b->qkv, &b->kv, NULL, 0, 1,
                                   &b->lists, NULL, 0, 0, NULL };
    must(cpu_select(b->device, &a));
}

static void op_attend(struct bench *b, int layer)
{
    const struct attend_args a = { b->n_rows, layer, N_HEADS, b->attend, b->qkv, QKV, &b->kv, &b->lists, b->out, NULL };
    must(cpu_attend(b->device, &a));
}

static void op_commit(struct bench *b, int layer)
{
    const struct keys_commit_args a = { b->n_rows, layer, N_HEADS, N_LANES + 1, b->rows, b->sets, b->qkv, &b->kv };
    must(cpu_keys_commit(b->device, &a));
}

static void op_mass(struct bench *b, int layer)
{
    const struct block_mass_args a = { N_LANES, layer, N_HEADS, b->mass_rows, b->qkv, QKV, MAX_BLOCKS, &b->kv, b->mass, b->stale };
    must(cpu_block_mass(b->device, &a));
}

static void op_keys_build(struct bench *b, int layer)
{
    for (int set = 0; set <= N_LANES; set++) {
        const int first = b->sets[set].first_block, n_tokens = set < N_LANES ? PREFIX + STEP : PREFIX;
        const struct keys_build_args a = { layer, set, first, first + b->sets[set].n_tiles * KEY_TILE - 1, n_tokens, b->sets, &b->kv };
        must(cpu_keys_build(b->device, &a));
    }
}

static void op_compare(struct bench *b, int layer)
{
    for (int s = 1; s <= RECTIFIED; s++) {
        const struct kv_compare_args a = { layer, s, 0, PREFIX, PREFIX + WINDOW, &b->kv, b->mass };
        must(cpu_kv_compare(b->device, &a));
    }
}

static int compare_double(const void *x, const void *y)
{
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* gflop 0: no share of the peak. */
static void report(struct bench *b, const char *what, void (*op)(struct bench *, int), double gflop)
{
    if (b->only && !strstr(what, b->only)) return;
    double ms[MAX_REPEATS], cpu[MAX_REPEATS], peak[MAX_REPEATS];
    for (int r = 0; r < b->n_repeats; r++) {
        peak[r] = machine_fma_window(b->device->isa, b->device->n_threads);
        const double start = now(CLOCK_MONOTONIC), start_cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        for (int l = 0; l < N_LAYERS; l++) op(b, l);
        ms[r] = 1e3 * (now(CLOCK_MONOTONIC) - start);
        cpu[r] = 1e3 * (now(CLOCK_PROCESS_CPUTIME_ID) - start_cpu) / b->device->n_threads;
    }
    qsort(cpu, (size_t)b->n_repeats, sizeof *cpu, compare_double);
    qsort(ms, (size_t)b->n_repeats, sizeof *ms, compare_double);
    qsort(peak, (size_t)b->n_repeats, sizeof *peak, compare_double);
    const int mid = b->n_repeats / 2;
    const double rate = gflop / (1e-3 * cpu[mid]), top = peak[b->n_repeats - 1];
    printf("%-36s %9.3f ms, of CPU %9.3f, best %9.3f", what, ms[mid], cpu[mid], cpu[0]);
    if (gflop > 0) printf("  %7.1f GFLOP/s  %4.0f %% of %.0f", rate, 100 * rate / top, top);
    printf("\n");
    fflush(stdout);
}

/* Attention's arithmetic over n_tokens tokens of one row, all heads and layers. */
static double attend_gflop(double n_tokens)
{
    return 4.0 * DIM * N_HEADS * N_LAYERS * n_tokens * 1e-9;
}

static void bench_step(struct bench *b)
{
    b->n_rows = N_LANES;
    for (int l = 0; l < N_LANES; l++) {
        b->rows[l] = (struct row){ l, PREFIX + STEP, 0, l, NO_TAIL, l ? ROW_SPARSE : 0 };
        b->attend[l] = (struct attend_row){ l, l, NO_TAIL, PREFIX + STEP, l, BLOCK, l };
        b->mass_rows[l] = (struct mass_row){ l, l, NO_TAIL, PREFIX + STEP, BLOCK, PREFIX, l };
    }
    for (int l = 0; l < N_LAYERS; l++) op_keys_build(b, l);
    printf("a step of 17 rows (16 sparse, 0.9) at %d tokens\n", PREFIX + STEP);
    op_select(b, 0);
    double tokens = 0;
    for (int i = 0; i < N_LANES * N_KV; i++) tokens += b->lists.tokens[i] / (double)N_KV;
    report(b, "  rope_append", op_rope, 0);
    report(b, "  select", op_select, 4.0 * DIM * N_KV * N_LAYERS * 16 * (PREFIX + STEP) / BLOCK * 1e-9);
    report(b, "  attend", op_attend, attend_gflop(tokens));
    report(b, "  keys_commit", op_commit, 0);
    report(b, "  block_mass of 17 rows", op_mass, 0.5 * attend_gflop((PREFIX + STEP) * (double)N_LANES));
    b->n_rows = 1;
    report(b, "  attend, the dense row alone", op_attend, attend_gflop(PREFIX + STEP));
}

static void bench_chunks(struct bench *b)
{
    printf("prefill of %d tokens in chunks of %d, rectification of %d lanes of %d tokens\n", PREFIX, CHUNK, RECTIFIED, WINDOW);
    for (int from = 0; from < PREFIX; from += CHUNK) {
        b->n_rows = CHUNK;
        double tokens = 0;
        for (int r = 0; r < CHUNK; r++) {
            b->rows[r] = (struct row){ 0, from + r, 0, KV_PREFIX, NO_TAIL, 0 };
            b->attend[r] = (struct attend_row){ r, KV_PREFIX, NO_TAIL, from + r, -1, 0, r };
            tokens += from + r + 1;
        }
        char what[64];
        snprintf(what, sizeof what, "  attend, positions %d ..", from);
        report(b, what, op_attend, attend_gflop(tokens));
    }
    report(b, "  rope_append of a chunk", op_rope, 0);
    b->n_rows = RECTIFIED * WINDOW;
    double tokens = 0;
    for (int r = 0; r < b->n_rows; r++) {
        const int position = PREFIX + r % WINDOW;
        b->attend[r] = (struct attend_row){ r, 1 + r / WINDOW, NO_TAIL, position, -1, 0, r };
        tokens += position + 1;
    }
    report(b, "  attend of the windows", op_attend, attend_gflop(tokens));
    report(b, "  keys_build, prefix and all stores", op_keys_build, 0);
    report(b, "  kv_compare of the windows", op_compare, 0);
}

int main(int argc, char **argv)
{
    struct bench b = { .n_repeats = argc > 1 ? atoi(argv[1]) : 11, .only = argc > 2 ? argv[2] : NULL };
    if (b.n_repeats < 1 || b.n_repeats > MAX_REPEATS) {
        fprintf(stderr, "bench_attention: repetitions: 1 to %d\n", MAX_REPEATS);
        return EXIT_USAGE;
    }
    bench_open(&b);
    char text[64];
    must(cpu_describe(b.device, text, sizeof text));
    printf("%s, %d repetitions\n", text, b.n_repeats);
    bench_step(&b);
    bench_chunks(&b);
    return EXIT_OK;
}
