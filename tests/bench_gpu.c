/* tests/bench_gpu.c: bench_gpu FOLDER [all | kernels | steps | int4 | quick] [TEXT]: kernels and whole steps of the CUDA back end, 7B and 1.5B
 * shapes; of the kernels on the cache those whose names hold TEXT.
 *
 * Writes FOLDER/bench-gpu.csv and .md at the end (until then: .part beside each, so that what is stopped leaves the old).  Exit status 1 where an output was not what double precision says. */
#include "tests/bench_gpu.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct synthetic_spec shape_7b = { .family = FAMILY_QWEN2, .layers = 28, .hidden = 3584, .heads = 28, .kv_heads = 4, .head_dim = 128,
                                                .ffn = 18944, .vocab = 152064, .context = 262144 + 4096, .seed = 1 };
static const struct synthetic_spec shape_1b = { .family = FAMILY_QWEN2, .layers = 28, .hidden = 1536, .heads = 12, .kv_heads = 2, .head_dim = 128,
                                                .ffn = 8960, .vocab = 151936, .context = 262144 + 4096, .seed = 1 };
static const int batches[] = { 1, 8 }, contexts[] = { 4096, 16384, 65536, 131072, 262144 };
enum { N_BATCHES = 2, N_CONTEXTS = 5 };

static const double KERNEL_BYTES = 8e9; /* of K and V that the kernels' rotation covers, where one layer has less */

void must(int rc)
{
    if (rc == 0) return;
    fprintf(stderr, "bench_gpu: %s\n", fail_text());
    exit(1);
}

/* ---- cases ---- */

void case_open(struct bench *b, struct bench_case *c, const char *name, const struct synthetic_spec *spec)
{
    *c = (struct bench_case){ .name = name };
    must(model_open_synthetic(&c->model, spec));
    must(weights_open(&c->weights, b->be, b->dev, &c->model));
    c->lanes[BENCH_DENSE] = (struct lane_spec){ .name = "dense", .selector = SELECT_DENSE, .active_millionths = 1000000, .block_size = 16,
                                                .cache_of = LANE_OWN };
    c->lanes[BENCH_RESA] = (struct lane_spec){ .name = "resa", .selector = SELECT_MINMAX, .sparsity = 0.9, .block_size = 16,
                                               .local_blocks = 1, .min_blocks = 16, .interval = REPORT_INTERVAL, .cache_of = LANE_OWN };
    c->lanes[BENCH_RESA].active_millionths = lane_active_millionths(0.9, 0);
    const size_t n = (size_t)spec->context;
    must(MEM_NEW(&c->stream, n, "stream"));
    for (size_t i = 0; i < n; i++) c->stream[i] = (int32_t)(i * 7919 % (size_t)spec->vocab);
}

void case_start(struct bench *b, struct bench_case *c, int batch, int context)
{
    (void)b;
    latency_close(&c->l);
    /* The steps are the last of the context: the last one has it whole.  It ends within a tile, whose rest nobody wrote: NaN. */
    const int n_tokens = context - SHORT_OF_TILE;
    c->plan = (struct run_plan){ .id = "bench", .stream = c->stream, .n_stream = c->model.shape.context, .start = n_tokens - N_REPLAYS,
                                 .prefill_tokens = n_tokens - N_REPLAYS, .n_steps = N_REPLAYS, .batch = batch, .seed = 1, .every = 1,
                                 .metrics = METRIC_TIME, .lanes = c->lanes, .n_lanes = 2 };
    must(latency_open(&c->l, &c->plan, &c->weights));
}

void case_close(struct bench *b, struct bench_case *c)
{
    (void)b;
    latency_close(&c->l);
    weights_close(&c->weights);
    model_close(&c->model);
    mem_free(c->stream);
}

/* ---- rows ---- */

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double at_quantile(const float *sorted, double q)
{
    return 1e6 * (double)sorted[(int)(q * (N_REPLAYS - 1) + 0.5)];
}

struct bench_row *bench_add(struct bench *b, const struct bench_case *c, const char *kernel, const float *seconds, int share)
{
    float sorted[N_REPLAYS];
    if (b->n_rows == MAX_BENCH_ROWS) must(fail("more than %d rows", MAX_BENCH_ROWS));
    memcpy(sorted, seconds, sizeof sorted);
    qsort(sorted, N_REPLAYS, sizeof *sorted, by_size);
    struct bench_row *r = &b->rows[b->n_rows++];
    *r = (struct bench_row){ .batch = c->plan.batch, .context = c->plan.prefill_tokens + c->plan.n_steps + SHORT_OF_TILE, .read_us = NAN, .worst = NAN };
    snprintf(r->shape, sizeof r->shape, "%s", c->name);
    snprintf(r->kernel, sizeof r->kernel, "%s", kernel);
    r->us = at_quantile(sorted, 0.5) / share;
    r->us_low = at_quantile(sorted, 0.1) / share;
    r->us_high = at_quantile(sorted, 0.9) / share;
    r->clock_mhz = 1e-6 * c->l.clock_hz;
    return r;
}

/* As many reads as fill a gigabyte, one after another through K. */
struct reads {
    const struct latency *l;
    size_t n_bytes, n_reads;
};

static int enqueue_reads(void *context)
{
    const struct reads *r = context;
    const size_t step = (r->n_bytes + 63) / 64 * 64;
    for (size_t i = 0; i < r->n_reads; i++)
        TRY(r->l->mem.be->read(r->l->mem.dev, (const char *)r->l->kv.k_own + i * step, r->n_bytes), "read");
    return 0;
}

double bench_read_us(struct bench_case *c, size_t n_bytes)
{
    const size_t step = (n_bytes + 63) / 64 * 64, have = kv_own_elems(&c->l.kv) * (size_t)c->l.mem.be->cache_element_bytes;
    struct reads reads = { .l = &c->l, .n_bytes = n_bytes, .n_reads = (size_t)1 << 30 };
    float seconds[N_REPLAYS];
    if (step > have) { /* more than K holds: K and V by turns */
        must(latency_time_read(&c->l, n_bytes, seconds));
        qsort(seconds, N_REPLAYS, sizeof *seconds, by_size);
        return at_quantile(seconds, 0.5);
    }
    reads.n_reads = reads.n_reads / step < have / step ? reads.n_reads / step : have / step;
    if (reads.n_reads < 1) reads.n_reads = 1;
    if (reads.n_reads > 64) reads.n_reads = 64;
    must(latency_time(&c->l, enqueue_reads, &reads, seconds));
    qsort(seconds, N_REPLAYS, sizeof *seconds, by_size);
    return at_quantile(seconds, 0.5) / (double)reads.n_reads;
}

/* ---- what is written ---- */

static void number(FILE *out, const char *format, double x, const char *none)
{
    if (isnan(x)) fputs(none, out);
    else fprintf(out, format, x);
}

/* What is counted for each unit of time; NaN where it is not. */
static double rate(double count, double us)
{
    return count > 0 ? count / us : NAN;
}

static void write_csv(const struct bench *b, FILE *out)
{
    fprintf(out, "shape,batch,context,kernel,us,us_decile_1,us_decile_9,bytes,flop,gb_per_s,tflop_per_s,read_us,share_of_read,clock_mhz,"
                 "worst_error_over_tolerance,note\n");
    for (int i = 0; i < b->n_rows; i++) {
        const struct bench_row *r = &b->rows[i];
        fprintf(out, "%s,%d,%d,\"%s\",%.3f,%.3f,%.3f,%.0f,%.0f,", r->shape, r->batch, r->context, r->kernel, r->us, r->us_low, r->us_high,
                r->bytes, r->flop);
        number(out, "%.1f,", rate(1e-3 * r->bytes, r->us), ",");
        number(out, "%.2f,", rate(1e-6 * r->flop, r->us), ",");
        number(out, "%.3f,", r->read_us, ",");
        number(out, "%.3f,", r->read_us / r->us, ",");
        number(out, "%.0f,", r->clock_mhz, ",");
        number(out, "%.3g,", r->worst, ",");
        fprintf(out, "\"%s\"\n", r->note);
    }
}

/* Which rows were checked and how. */
static void write_checks(const struct bench *b, FILE *out)
{
    int n_checked = 0, n_blas = 0, n_finite = 0;
    for (int i = 0; i < b->n_rows; i++) {
        n_checked += !isnan(b->rows[i].worst);
        n_blas += strstr(b->rows[i].kernel, "cuBLAS") != NULL;
        n_finite += b->rows[i].finite;
    }
    fprintf(out, "\n%d rows: %d checked against double precision in the last layer that they compute (samples: up to 4 pairs of a sequence and a "
                 "KV head, of each the first and the last query head, of a chunk 3 rows; 24 outputs of a product); %d of cuBLAS, timed only; %d steps "
                 "and rectifications with finite logits; %d sums of these.\n",
            b->n_rows, n_checked, n_blas, n_finite, b->n_rows - n_checked - n_blas - n_finite);
}

static void write_md(const struct bench *b, FILE *out)
{
    const struct provenance *p = &b->provenance;
    fprintf(out, "%s, %s, commit %s%s, %s: `%s`\n\n", p->gpu, p->driver, p->commit, p->dirty ? " with changes" : "", p->start_time, p->command);
    fprintf(out, "Median device times by graph replay over cold caches; *context*: its last %d tokens are left out, so that it ends within a tile; "
                 "*read*: a plain read of the same bytes in the same run; *check*: the greatest error over its tolerance, below 1 where the output "
                 "is right.\n\n", SHORT_OF_TILE);
    fprintf(out, "| shape | batch | context | kernel | us | GB/s | TFLOP/s | read us | share | SM MHz | check | |\n");
    fprintf(out, "|--|--:|--:|--|--:|--:|--:|--:|--:|--:|--:|--|\n");
    for (int i = 0; i < b->n_rows; i++) {
        const struct bench_row *r = &b->rows[i];
        fprintf(out, "| %s | %d | %d | %s | %.2f | ", r->shape, r->batch, r->context, r->kernel, r->us);
        number(out, "%.0f", rate(1e-3 * r->bytes, r->us), "");
        fputs(" | ", out);
        number(out, "%.1f", rate(1e-6 * r->flop, r->us), "");
        fputs(" | ", out);
        number(out, "%.2f", r->read_us, "");
        fputs(" | ", out);
        number(out, "%.2f", r->read_us / r->us, "");
        fputs(" | ", out);
        number(out, "%.0f", r->clock_mhz, "");
        fputs(" | ", out);
        number(out, "%.2g", r->worst, "");
        fprintf(out, " | %s |\n", r->note);
    }
    write_checks(b, out);
}

static void write_part(const struct bench *b, const char *name, void (*write)(const struct bench *b, FILE *out))
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.part", b->folder, name);
    FILE *out = fopen(path, "w");
    if (!out) must(fail("%s: cannot be written: %m", path));
    write(b, out);
    if (fclose(out) != 0) must(fail("%s: cannot be written: %m", path));
}

static void end_part(const struct bench *b, const char *name)
{
    char path[4096], part[4200];
    snprintf(path, sizeof path, "%s/%s", b->folder, name);
    snprintf(part, sizeof part, "%s.part", path);
    if (rename(part, path) != 0) must(fail("%s: cannot be renamed: %m", part));
}

/* ---- all ---- */

/* Rows from .. on standard output; the parts anew, so that a bench that is stopped leaves what it has. */
static void tell(const struct bench *b, int from)
{
    for (int i = from; i < b->n_rows; i++) {
        const struct bench_row *r = &b->rows[i];
        printf("%-5s b%d %7d %-26s %10.2f us  read %9.2f  share %5.2f  check %8.2g %s\n", r->shape, r->batch, r->context, r->kernel, r->us,
               r->read_us, r->read_us / r->us, r->worst, r->note);
    }
    fflush(stdout);
    write_part(b, "bench-gpu.csv", write_csv);
    write_part(b, "bench-gpu.md", write_md);
}

/* The kernels see the model's heads and as many layers as rotate through enough memory; its other sizes do not matter to them. */
static void bench_kernels(struct bench *b, const char *name, const struct synthetic_spec *spec, bool quick)
{
    for (int i = 0; i < N_BATCHES; i++)
        for (int k = 0; k < N_CONTEXTS; k++) {
            struct synthetic_spec s = *spec;
            struct bench_case c;
            const int from = b->n_rows;
            const double layer = 4.0 * s.kv_heads * s.head_dim * batches[i] * contexts[k];
            if (quick && k > 1) continue;
            s.hidden = 512;
            s.ffn = 64;
            s.vocab = 512;
            s.layers = (int)fmin(28, fmax(4, KERNEL_BYTES / layer));
            case_open(b, &c, name, &s);
            case_start(b, &c, batches[i], contexts[k]);
            bench_attention(b, &c);
            case_close(b, &c);
            tell(b, from);
        }
}

/* int4: the products, and the steps where int4 tells: alone, with much to read, and in the largest batch. */
static void bench_model(struct bench *b, const char *name, const struct synthetic_spec *spec, bool quick)
{
    const bool int4 = strcmp(b->be->name, "cuda-int4") == 0;
    struct bench_case c;
    int from = b->n_rows;
    case_open(b, &c, name, spec);
    for (int i = 0; i < N_BATCHES; i++)
        for (int k = 0; k < N_CONTEXTS; k++) {
            const bool large = spec->hidden == shape_7b.hidden && batches[i] == 8 && k == N_CONTEXTS - 1;
            if (k > 0 && (quick || (int4 && k != N_CONTEXTS - 1 && (i == 0 || k != 2)))) continue;
            case_start(b, &c, large ? 6 : batches[i], contexts[k]); /* 8 do not fit */
            if (k == 0) bench_products(b, &c);
            bench_steps(b, &c);
            tell(b, from);
            from = b->n_rows;
        }
    case_close(b, &c);
}

static void open_backend(struct bench *b, const char *name)
{
    b->be = NULL;
    for (int i = 0; backends[i]; i++)
        if (strcmp(backends[i]->name, name) == 0) b->be = backends[i];
    if (b->be && b->be->open(&b->dev, 0) == 0) return;
    printf("SKIP bench_gpu: %s\n", b->be ? fail_text() : "built without CUDA");
    exit(0);
}

static bool is_known(const char *what)
{
    static const char *const known[] = { "all", "kernels", "steps", "int4", "quick" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(what, known[i]) == 0) return true;
    return false;
}

/* The parts are whole. */
static int bench_end(struct bench *b, time_t start)
{
    int n_failed = 0;
    for (int i = 0; i < b->n_rows; i++) n_failed += b->rows[i].worst > 1;
    end_part(b, "bench-gpu.csv");
    end_part(b, "bench-gpu.md");
    printf("%d rows, %d wrong, %.0f s\n", b->n_rows, n_failed, difftime(time(NULL), start));
    provenance_close(&b->provenance);
    return n_failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct bench b;
    const char *what = argc > 2 ? argv[2] : "all";
    const bool quick = strcmp(what, "quick") == 0, int4 = strcmp(what, "int4") == 0, kernels = strcmp(what, "steps") != 0 && !int4;
    const bool models = strcmp(what, "kernels") != 0;
    const time_t start = time(NULL);
    char text[256] = "";
    if (argc < 2 || !is_known(what)) {
        fprintf(stderr, "usage: bench_gpu FOLDER [all | kernels | steps | int4 | quick] [TEXT]\n");
        return 2;
    }
    open_backend(&b, "cuda");
    b.folder = argv[1];
    b.only = argc > 3 ? argv[3] : "";
    must(provenance_open(&b.provenance, argc, argv));
    b.be->identify(b.dev, &b.provenance);
    must(b.be->describe(b.dev, text, sizeof text));
    printf("%s\n", text);
    for (int i = 0; i < 2; i++)
        if (kernels) bench_kernels(&b, i ? "1.5B" : "7B", i ? &shape_1b : &shape_7b, quick);
    for (int i = 0; i < 2; i++)
        if (models && !int4) bench_model(&b, i ? "1.5B" : "7B", i ? &shape_1b : &shape_7b, quick);
    b.be->close(b.dev);
    open_backend(&b, "cuda-int4");
    if (models) bench_model(&b, "7B int4", &shape_7b, quick);
    b.be->close(b.dev);
    return bench_end(&b, start);
}
