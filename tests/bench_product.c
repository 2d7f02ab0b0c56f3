/* Time of all matrix products of one SmolLM2-135M pass (30 layers in Q4_1, the head in Q8_0), by number of rows and instruction
 * set, beside the two bounds measured in the same run: fused multiply-adds in registers, and a plain read of the packed bytes.
 *
 *     bench_product [portable|avx2|avx512 [rows ..]]
 *
 * Each figure is the median of passes over weights that do not fit the caches (the matrices follow one another).         */
#include "kernels/matrix.h"
#include "tests/bench_machine.h"
#include "tests/matrix_cases.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_LAYERS = 30, N_KINDS = 4, MAX_ROWS = 1024, MAX_PASSES = 101 };

static const struct shape {
    const char *name;
    int n_parts, n_out[3], n_in;
} shapes[N_KINDS] = {
    { "qkv", 3, { 576, 192, 192 }, 576 },
    { "o", 1, { 576 }, 576 },
    { "gate, up", 2, { 1536, 1536 }, 576 },
    { "down", 1, { 576 }, 1536 },
};
static const struct shape head = { "head", 1, { 49152 }, 576 };

struct weights {
    struct matrix *layers[N_LAYERS][N_KINDS], *head;
    size_t bytes; /* packed */
    double weights;
    float *x, *y;
};

static int matrix_open(struct weights *m, struct device *d, struct matrix **out, const struct shape *s,
                       enum tensor_type type, uint64_t *state)
{
    struct tensor t[3];
    const struct tensor *parts[3];
    for (int i = 0; i < s->n_parts; i++) {
        t[i] = case_tensor(type, s->n_out[i], s->n_in, state);
        parts[i] = &t[i];
        m->weights += (double)s->n_out[i] * s->n_in;
    }
    m->bytes += cpu_matrix_bytes(parts, s->n_parts);
    const int rc = cpu_matrix_pack(d, out, parts, s->n_parts);
    for (int i = 0; i < s->n_parts; i++) case_free(&t[i]);
    return rc;
}

static int weights_open(struct weights *m, struct device *d)
{
    uint64_t state = 1;
    for (int l = 0; l < N_LAYERS; l++) {
        for (int i = 0; i < N_KINDS; i++) {
            if (matrix_open(m, d, &m->layers[l][i], &shapes[i], TENSOR_Q4_1, &state) != 0) return -1;
        }
    }
    if (matrix_open(m, d, &m->head, &head, TENSOR_Q8_0, &state) != 0) return -1;
    if (MEM_NEW(&m->x, MAX_ROWS * 1536, "x") != 0 || MEM_NEW(&m->y, (size_t)MAX_ROWS * 49152, "y") != 0) return -1;
    for (size_t i = 0; i < MAX_ROWS * 1536; i++) m->x[i] = case_uniform(&state);
    return 0;
}

static void weights_close(struct weights *m, struct device *d)
{
    for (int l = 0; l < N_LAYERS; l++) {
        for (int i = 0; i < N_KINDS; i++) cpu_matrix_free(d, m->layers[l][i]);
    }
    cpu_matrix_free(d, m->head);
    mem_free(m->x);
    mem_free(m->y);
}

/* Seconds by kind, the head last; of one pass. */
static void weights_pass(const struct weights *m, struct device *d, int n_rows, double *seconds)
{
    for (int i = 0; i <= N_KINDS; i++) seconds[i] = 0;
    double from = omp_get_wtime();
    for (int l = 0; l < N_LAYERS + 1; l++) {
        for (int i = 0; i < (l < N_LAYERS ? N_KINDS : 1); i++) {
            const struct matrix *w = l < N_LAYERS ? m->layers[l][i] : m->head;
            cpu_product(d, &(struct product_args){ .n_rows = n_rows, .w = w, .x = m->x, .y = m->y });
            const double to = omp_get_wtime();
            seconds[l < N_LAYERS ? i : N_KINDS] += to - from;
            from = to;
        }
    }
}

/* Reads the thread's share of a matrix's packed bytes. */
static uint64_t matrix_read(const struct matrix *m)
{
    uint64_t sum = 0;
    for (int i = 0; i < m->n_parts; i++) {
        const struct matrix_part *p = &m->parts[i];
        const uint64_t *words = (const uint64_t *)(const void *)p->panels;
        const size_t n_lines = (size_t)p->n_panels * p->panel_bytes / 64;
#pragma omp for schedule(static) nowait
        for (size_t j = 0; j < n_lines; j++) sum += words[8 * j]; /* a line is read whole */
    }
    return sum;
}

/* GB/s of a plain read of all packed bytes. */
static double read_rate(const struct weights *m, const struct device *d)
{
    double best = 0;
    for (int pass = 0; pass < 15; pass++) {
        const double from = omp_get_wtime();
        uint64_t sum = 0;
#pragma omp parallel num_threads(d->n_threads) reduction(+ : sum)
        {
            for (int l = 0; l < N_LAYERS; l++) {
                for (int i = 0; i < N_KINDS; i++) sum += matrix_read(m->layers[l][i]);
            }
            sum += matrix_read(m->head);
        }
        const double rate = (double)m->bytes / (omp_get_wtime() - from) * 1e-9;
        if (sum != 0 && rate > best) best = rate;
    }
    return best;
}

static void bench_rows(const struct weights *m, struct device *d, int n_rows, double fma, double read)
{
    static double seconds[MAX_PASSES], kinds[N_KINDS + 1][MAX_PASSES];
    int n = 0;
    weights_pass(m, d, n_rows, (double[N_KINDS + 1]){ 0 });
    for (double spent = 0; n < 7 || (n < MAX_PASSES && spent < 1.5); n++) {
        double of[N_KINDS + 1];
        weights_pass(m, d, n_rows, of);
        seconds[n] = 0;
        for (int i = 0; i <= N_KINDS; i++) {
            kinds[i][n] = of[i];
            seconds[n] += of[i];
        }
        spent += seconds[n];
    }
    const struct spread all = bench_spread(seconds, n);
    const double time = all.median;
    const double rate = 2 * m->weights * n_rows / time * 1e-9;
    printf("%6d %9.2f %9.2f %9.1f", n_rows, time * 1e3, all.min * 1e3, rate);
    if (fma > 0) printf(" %6.1f%%", 100 * rate / fma);
    if (n_rows == 1)
        printf("   %.1f GB/s, %.0f%% of a plain read", (double)m->bytes / time * 1e-9,
               100 * (double)m->bytes / time * 1e-9 / read);
    printf("   |");
    for (int i = 0; i <= N_KINDS; i++) printf(" %s %.2f", i < N_KINDS ? shapes[i].name : head.name, bench_spread(kinds[i], n).median * 1e3);
    printf("\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const int all_rows[] = { 1, 2, 4, 8, 17, 24, 56, 256, 1024 };
    struct device d = { .n_threads = omp_get_max_threads() };
    struct weights m = { 0 };
    double from = omp_get_wtime();
    if (weights_open(&m, &d) != 0) return 1;
    printf("%.1f M weights, %.1f MB packed, made in %.2f s; %d threads\n", m.weights * 1e-6, (double)m.bytes * 1e-6,
           omp_get_wtime() - from, d.n_threads);
    int n_isas;
    const enum cpu_isa *isas = case_isas(&n_isas);
    for (int s = n_isas - 1; s >= 0; s--) {
        d.isa = isas[s];
        static const char *const key[] = { "portable", "avx2", "avx512" };
        if (argc > 1 ? strcmp(argv[1], key[d.isa]) != 0 : d.isa == CPU_PORTABLE) continue;
        const double fma = machine_fma_rate(d.isa, d.n_threads), read = read_rate(&m, &d);
        printf("%s: %.0f GFLOP/s of fused multiply-adds in registers, plain read %.1f GB/s\n", case_isa_name[d.isa], fma, read);
        printf("  rows median ms   best ms   GFLOP/s   peak\n");
        if (argc > 2) {
            for (int i = 2; i < argc; i++) {
                const int n_rows = atoi(argv[i]);
                if (n_rows > 0 && n_rows <= MAX_ROWS) bench_rows(&m, &d, n_rows, fma, read);
            }
        } else {
            for (size_t i = 0; i < sizeof all_rows / sizeof *all_rows; i++) bench_rows(&m, &d, all_rows[i], fma, read);
        }
    }
    weights_close(&m, &d);
    return 0;
}
