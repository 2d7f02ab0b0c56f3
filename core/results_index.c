#include "core/results_index.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/results.h"
#include "core/trace_vars.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- means ---- */

/* A sum of the values that are there. */
struct mean {
    double sum;
    size_t n;
};

static void mean_add(struct mean *m, double x)
{
    if (isnan(x)) return;
    m->sum += x;
    m->n++;
}

static double mean_of(struct mean m)
{
    return m.n ? m.sum / (double)m.n : NAN;
}

/* The variables that a summary needs: [step][lane] or [step][lane][layer]; NULL where the trace lacks one. */
enum need { NEED_NLL, NEED_TARGET, NEED_KL, NEED_TOP1, NEED_KV, NEED_KEY, NEED_RECTIFY, NEED_DRIFT, NEED_CACHE, NEED_MASS, NEED_STEP_TIME, NEED_RECTIFY_TIME, N_NEEDS };
static const struct {
    const char *name;
    bool by_layer;
} needs[N_NEEDS] = {
    [NEED_NLL] = { "nll", false },
    [NEED_TARGET] = { "target", false },
    [NEED_KL] = { "logit_kl", false },
    [NEED_TOP1] = { "top1_match", false },
    [NEED_KV] = { "kv_read_bytes", false },
    [NEED_KEY] = { "key_read_bytes", false },
    [NEED_RECTIFY] = { "rectify_bytes", false },
    [NEED_DRIFT] = { "k_drift", true },
    [NEED_CACHE] = { "k_cache_drift", true },
    [NEED_MASS] = { "kept_mass", true },
    [NEED_STEP_TIME] = { "step_time", false },
    [NEED_RECTIFY_TIME] = { "rectify_time", false },
};

static int need_load(const struct trace_file *f, enum need need, double **x)
{
    const size_t n = (size_t)f->n_steps * (size_t)f->n_lanes * (needs[need].by_layer ? (size_t)f->n_layers : 1);
    *x = NULL;
    if (!trace_has(f, needs[need].name)) return 0;
    TRY(MEM_NEW(x, n, needs[need].name), "%s", f->path);
    return trace_read_double(f, needs[need].name, TRACE_ALL, TRACE_ALL, *x, n);
}

static int double_compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* sorted: room for n_steps values. */
static double median_of_lane(const struct trace_file *f, const double *x, int lane, double *sorted)
{
    size_t n = 0;
    for (int s = 0; x && s < f->n_steps; s++) {
        const double value = x[(size_t)s * (size_t)f->n_lanes + (size_t)lane];
        if (!isnan(value)) sorted[n++] = value;
    }
    if (n == 0) return NAN;
    qsort(sorted, n, sizeof *sorted, double_compare);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static double mean_of_lane(const struct trace_file *f, const double *x, int lane)
{
    struct mean m = { 0 };
    for (int s = 0; x && s < f->n_steps; s++) mean_add(&m, x[(size_t)s * (size_t)f->n_lanes + (size_t)lane]);
    return mean_of(m);
}

/* Over layers first .. of the steps first_step .. last_step. */
static double mean_of_layers(const struct trace_file *f, const double *x, int lane, int first, int first_step, int last_step)
{
    struct mean m = { 0 };
    for (int s = first_step; x && s <= last_step; s++)
        for (int l = first; l < f->n_layers; l++)
            mean_add(&m, x[((size_t)s * (size_t)f->n_lanes + (size_t)lane) * (size_t)f->n_layers + (size_t)l]);
    return mean_of(m);
}

/* The last step that has a value: recording may be thinned out, and a lane may end early. */
static double last_of_layers(const struct trace_file *f, const double *x, int lane, int first)
{
    double value = NAN;
    for (int s = f->n_steps - 1; s >= 0 && isnan(value); s--) value = mean_of_layers(f, x, lane, first, s, s);
    return value;
}

/* end: steps before the lane's stream parts from lane 0's. */
static double above_dense(const struct trace_file *f, double *const *x, int lane, int64_t end)
{
    struct mean m = { 0 };
    if (!x[NEED_NLL] || !x[NEED_TARGET]) return NAN;
    for (int s = 0; s < f->n_steps && s < end; s++) {
        const size_t row = (size_t)s * (size_t)f->n_lanes, at = row + (size_t)lane;
        if (x[NEED_TARGET][row] == x[NEED_TARGET][at]) mean_add(&m, x[NEED_NLL][at] - x[NEED_NLL][row]);
    }
    return mean_of(m);
}

static void lane_summarise(const struct trace_file *f, double *const *x, int lane, int64_t end, double *sorted, struct lane_summary *out)
{
    /* Of experiment latency every step has the cost of a rectification beside it, of which it bears one part in `interval`. */
    const double share = f->batch > 0 && f->lanes[lane].interval > 0 ? 1.0 / f->lanes[lane].interval : 1;
    const double rectify_time = median_of_lane(f, x[NEED_RECTIFY_TIME], lane, sorted);
    *out = (struct lane_summary){
        .nll = mean_of_lane(f, x[NEED_NLL], lane),
        .nll_above_dense = above_dense(f, x, lane, end),
        .kl_mean = mean_of_lane(f, x[NEED_KL], lane),
        .kl_median = median_of_lane(f, x[NEED_KL], lane, sorted),
        .top1_agreement = mean_of_lane(f, x[NEED_TOP1], lane),
        .k_drift = mean_of_layers(f, x[NEED_DRIFT], lane, 1, 0, f->n_steps - 1),
        .k_cache_drift_end = last_of_layers(f, x[NEED_CACHE], lane, 1),
        .kept_mass = mean_of_layers(f, x[NEED_MASS], lane, 0, 0, f->n_steps - 1),
        .bytes_per_step = mean_of_lane(f, x[NEED_KV], lane) + mean_of_lane(f, x[NEED_KEY], lane) +
                          share * mean_of_lane(f, x[NEED_RECTIFY], lane),
        .time_per_step = median_of_lane(f, x[NEED_STEP_TIME], lane, sorted) + (isnan(rectify_time) ? 0 : share * rectify_time),
    };
}

int results_summarise(const struct trace_file *f, struct lane_summary *summaries)
{
    double *x[N_NEEDS] = { 0 }, *sorted = NULL;
    int64_t *divergence = NULL;
    const size_t n_lanes = (size_t)f->n_lanes;
    int rc = MEM_NEW(&sorted, f->n_steps, "steps");
    if (rc == 0) rc = MEM_NEW(&divergence, n_lanes, "lanes");
    for (int i = 0; i < N_NEEDS && rc == 0; i++) rc = need_load(f, (enum need)i, &x[i]);
    const bool parts = trace_has(f, "first_divergence");
    if (rc == 0 && parts) rc = trace_read_int(f, "first_divergence", TRACE_ALL, TRACE_ALL, divergence, n_lanes);
    for (int lane = 0; lane < f->n_lanes && rc == 0; lane++)
        lane_summarise(f, x, lane, parts && divergence[lane] >= 0 ? divergence[lane] : f->n_steps, sorted, &summaries[lane]);
    for (int i = 0; i < N_NEEDS; i++) mem_free(x[i]);
    mem_free(divergence);
    mem_free(sorted);
    return rc;
}

/* ---- rows ---- */

static void csv_text(FILE *out, const char *text)
{
    const bool quoted = text[strcspn(text, ",\"\r\n")] != '\0';
    if (quoted) fputc('"', out);
    for (; *text; text++) {
        if (*text == '"') fputc('"', out);
        fputc(*text, out);
    }
    if (quoted) fputc('"', out);
}

static void csv_number(FILE *out, double x)
{
    fputc(',', out);
    if (!isnan(x)) fprintf(out, "%.9g", x);
}

static void csv_header(FILE *out)
{
    fputs("run,model,source,start,prompt_tokens,seed,steps,lane", out);
    for (int i = 0; i < N_TRACE_LANE_DEFS; i++) fprintf(out, ",%s", trace_lane_defs[i].name + strlen("lane_"));
    fputs(",nll,nll_above_dense,kl_mean,kl_median,top1_agreement,k_drift,k_cache_drift_end,kept_mass,bytes_per_step,batch,time_per_step,commit\n", out);
}

static void csv_row(FILE *out, const struct trace_file *f, int lane, const struct lane_summary *s, const char *commit)
{
    csv_text(out, f->run_id);
    fputc(',', out);
    csv_text(out, f->model);
    fputc(',', out);
    csv_text(out, f->source);
    fprintf(out, ",%d,%d,%llu,%d,%d", f->start, f->prompt_tokens, (unsigned long long)f->seed, f->n_steps, lane);
    for (int i = 0; i < N_TRACE_LANE_DEFS; i++) {
        const struct trace_lane_def *def = &trace_lane_defs[i];
        const void *at = (const char *)&f->lanes[lane] + def->at;
        fputc(',', out);
        if (def->kind == LANE_TEXT) csv_text(out, at);
        if (def->kind == LANE_SELECTOR) csv_text(out, selector_names[*(const enum selector_id *)at]);
        if (def->kind == LANE_INT) fprintf(out, "%d", *(const int *)at);
        if (def->kind == LANE_DOUBLE) fprintf(out, "%.9g", *(const double *)at);
    }
    const double numbers[] = { s->nll, s->nll_above_dense, s->kl_mean, s->kl_median, s->top1_agreement,
                               s->k_drift, s->k_cache_drift_end, s->kept_mass, s->bytes_per_step };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) csv_number(out, numbers[i]);
    csv_number(out, f->batch > 0 ? (double)f->batch : (double)NAN);
    csv_number(out, s->time_per_step);
    fputc(',', out);
    csv_text(out, commit);
    fputc('\n', out);
}

static int rows_print(const struct trace_file *f, char **text)
{
    struct lane_summary *summaries = NULL;
    char commit[64], *buffer = NULL;
    size_t n = 0;
    TRY(results_commit(f, commit, sizeof commit), "%s", f->path);
    TRY(MEM_NEW(&summaries, f->n_lanes, "lanes"), "%s", f->path);
    int rc = results_summarise(f, summaries);
    FILE *out = rc == 0 ? open_memstream(&buffer, &n) : NULL;
    if (rc == 0 && !out) rc = fail("%s: out of memory", f->path);
    for (int i = 0; i < f->n_lanes && rc == 0; i++) csv_row(out, f, i, &summaries[i], commit);
    if (out && fclose(out) != 0 && rc == 0) rc = fail("%s: out of memory", f->path);
    if (rc == 0) rc = mem_strndup(text, buffer, n);
    free(buffer);
    mem_free(summaries);
    return rc;
}

void results_rows_free(struct results_rows *rows, int n)
{
    for (int i = 0; i < n; i++) {
        mem_free(rows[i].run_id);
        mem_free(rows[i].text);
    }
    mem_free(rows);
}

static struct results_rows *rows_find(const struct results *r, const char *run_id)
{
    for (int i = 0; i < r->n_rows; i++)
        if (strcmp(r->rows[i].run_id, run_id) == 0) return &r->rows[i];
    return NULL;
}

/* Makes the rows of a run, unless those at hand are of the very file that is there. */
static int rows_refresh(void *data, const char *run_id, const char *path)
{
    struct results *r = data;
    struct stat st;
    struct trace_file f = { 0 };
    struct results_rows *rows = rows_find(r, run_id);
    if (stat(path, &st) != 0) return fail("%s: %s", path, strerror(errno));
    if (!rows) {
        TRY(mem_grow((void **)&r->rows, (size_t)r->n_rows, (size_t)r->n_rows + 1, sizeof *r->rows, "index"), "%s", path);
        rows = &r->rows[r->n_rows];
        TRY(mem_strdup(&rows->run_id, run_id), "%s", path);
        r->n_rows++;
    } else if (rows->size_bytes == st.st_size && rows->changed.tv_sec == st.st_mtim.tv_sec &&
               rows->changed.tv_nsec == st.st_mtim.tv_nsec) {
        rows->seen = true;
        return 0;
    }
    mem_free(rows->text);
    rows->text = NULL;
    if (trace_file_open(&f, path) != 0 || rows_print(&f, &rows->text) != 0)
        results_log(r, "left out of index.csv: %s", fail_text());
    trace_file_close(&f);
    rows->size_bytes = st.st_size;
    rows->changed = st.st_mtim;
    rows->seen = true;
    return 0;
}

static int rows_compare(const void *a, const void *b)
{
    return strcmp(((const struct results_rows *)a)->run_id, ((const struct results_rows *)b)->run_id);
}

int results_write_index(struct results *r)
{
    char path[PATH_MAX], part[PATH_MAX];
    for (int i = 0; i < r->n_rows; i++) r->rows[i].seen = false;
    if (results_runs_each(r->folder, rows_refresh, r) != 0) return -1;
    if (r->n_rows) qsort(r->rows, (size_t)r->n_rows, sizeof *r->rows, rows_compare);
    if (results_path(r, "index.csv", path, sizeof path) != 0 || results_path(r, "index.csv.part", part, sizeof part) != 0) return -1;
    FILE *out = fopen(part, "we");
    if (!out) return fail("%s: cannot create: %s", part, strerror(errno));
    csv_header(out);
    for (int i = 0; i < r->n_rows; i++)
        if (r->rows[i].seen && r->rows[i].text) fputs(r->rows[i].text, out);
    int rc = ferror(out) || fflush(out) != 0 || fsync(fileno(out)) != 0 ? fail("%s: cannot write: %s", part, strerror(errno)) : 0;
    if (fclose(out) != 0 && rc == 0) rc = fail("%s: cannot write: %s", part, strerror(errno));
    if (rc == 0 && rename(part, path) != 0) rc = fail("%s: cannot rename to %s: %s", part, path, strerror(errno));
    if (rc != 0) unlink(part);
    return rc;
}
