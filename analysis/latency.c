#include "analysis/latency.h"
#include "analysis/latency_peer.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/results.h"
#include "core/trace_read.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const time_vars[N_LATENCY_TIMES] = {
    [TIME_STEP] = "step_time",       [TIME_PRODUCT] = "product_time", [TIME_SELECT] = "select_time", [TIME_ATTEND] = "attend_time",
    [TIME_OTHER] = "other_time",     [TIME_RECTIFY] = "rectify_time", [TIME_READ] = "read_time",
};

/* ---- reading ---- */

static int spread_read(const struct trace_file *f, const char *name, int lane, double *values, struct latency_spread *spread)
{
    const size_t n = (size_t)f->n_steps;
    if (trace_read_double(f, name, lane, TRACE_ALL, values, n) != 0) return -1;
    latency_spread_fill(spread, values, n);
    return 0;
}

static int point_read(const struct trace_file *f, int lane, double *values, struct latency_point *p)
{
    struct latency_spread spread;
    *p = (struct latency_point){ .place = lane, .interval = f->lanes[lane].interval, .batch = f->batch, .context = f->prompt_tokens, .gain = NAN, .attend_gain = NAN, .peer = NAN, .peer_gain = NAN };
    snprintf(p->lane, sizeof p->lane, "%s", f->lanes[lane].name);
    for (int i = 0; i < N_LATENCY_TIMES; i++)
        if (spread_read(f, time_vars[i], lane, values, &p->times[i]) != 0) return -1;
    if (spread_read(f, "step_bytes", lane, values, &spread) != 0) return -1;
    p->bytes = spread.median;
    if (spread_read(f, "clock", lane, values, &spread) != 0) return -1;
    p->clock_hz = spread.median;
    latency_token_fill(p);
    return 0;
}

static int text_copy(const struct trace_file *f, const char *name, char *out, size_t n_bytes)
{
    char *text = NULL;
    if (trace_attr_text(f, name, &text) != 0) return -1;
    snprintf(out, n_bytes, "%s", text);
    mem_free(text);
    return 0;
}

static int facts_read(struct latency_study *s, const struct trace_file *f)
{
    char gpu[128] = "";
    static const char *const shape[N_LATENCY_SHAPE] = { "model_layers", "model_hidden", "model_heads", "model_kv_heads", "model_head_dim", "model_ffn", "model_vocab" };
    int64_t dirty = 0;
    for (int i = 0; i < N_LATENCY_SHAPE; i++)
        if (trace_attr_int(f, shape[i], &s->shape[i]) != 0) return -1;
    snprintf(s->model, sizeof s->model, "%s", f->model);
    if (text_copy(f, "device", s->device, sizeof s->device) != 0 || text_copy(f, "gpu", gpu, sizeof gpu) != 0 ||
        text_copy(f, "cpu", s->machine, sizeof s->machine) != 0 || text_copy(f, "commit", s->commit, 80) != 0 ||
        trace_attr_int(f, "commit_dirty", &dirty) != 0)
        return -1;
    if (gpu[0]) snprintf(s->machine, sizeof s->machine, "%s", gpu);
    if (dirty) strncat(s->commit, "-dirty", sizeof s->commit - strlen(s->commit) - 1);
    return 0;
}

static int trace_add(struct latency_study *s, const struct trace_file *f)
{
    double *values = NULL;
    const size_t n = (size_t)s->n_points, more = n + (size_t)f->n_lanes;
    if (s->n_runs++ == 0 && facts_read(s, f) != 0) return -1;
    TRY(mem_grow((void **)&s->points, n, more, sizeof *s->points, "points"), "%s", f->path);
    TRY(MEM_NEW(&values, f->n_steps, "times"), "%s", f->path);
    int rc = 0;
    for (int lane = 0; lane < f->n_lanes && rc == 0; lane++) {
        rc = point_read(f, lane, values, &s->points[s->n_points]);
        struct latency_point *p = &s->points[s->n_points++];
        const double select = lane > 0 ? p->times[TIME_SELECT].median : 0;
        const struct latency_point *dense = &s->points[n];
        p->gain = dense->token / p->token;
        if (lane > 0) p->verdict = latency_judge(p, dense->token, dense->token_from, dense->token_to);
        p->attend_gain = s->points[n].times[TIME_ATTEND].median / (select + p->times[TIME_ATTEND].median);
    }
    mem_free(values);
    return rc;
}

static int run_read(void *data, const char *run_id, const char *path)
{
    struct latency_study *s = data;
    struct trace_file f = { 0 };
    struct stat st;
    int rc = 0;
    if (stat(path, &st) != 0) return notes_add(&s->warnings, "run %s is missing", run_id);
    if (trace_file_open(&f, path) != 0)
        rc = notes_add(&s->warnings, "run %s cannot be read: %s", run_id, fail_text());
    else if (f.batch == 0)
        rc = notes_add(&s->warnings, "run %s is of another experiment", run_id);
    else
        rc = trace_add(s, &f);
    trace_file_close(&f);
    return rc;
}

int latency_point_compare(const void *a, const void *b)
{
    const struct latency_point *x = a, *y = b;
    if (x->batch != y->batch) return x->batch - y->batch;
    if (x->context != y->context) return x->context - y->context;
    return x->place - y->place;
}

/* Whether plan.yaml names the experiment, as the program writes it: no trace has to be opened for that. */
static bool plan_is_timed(const char *folder)
{
    char path[4200], line[256];
    bool found = false;
    snprintf(path, sizeof path, "%s/plan.yaml", folder);
    FILE *in = fopen(path, "re");
    while (in && !found && fgets(line, sizeof line, in)) found = strcmp(line, "experiment: latency\n") == 0;
    if (in) fclose(in);
    return found;
}

int latency_study_open(struct latency_study *s, const char *folder, bool *is)
{
    *s = (struct latency_study){ 0 };
    *is = strlen(folder) < sizeof s->folder && plan_is_timed(folder);
    if (!*is) return 0;
    snprintf(s->folder, sizeof s->folder, "%s", folder);
    if (results_planned_each(folder, run_read, s) != 0) return -1;
    if (s->n_runs == 0) return fail("%s: none of its runs can be read%s%s", folder, s->warnings.n ? "; " : "", s->warnings.n ? s->warnings.text[0] : "");
    qsort(s->points, (size_t)s->n_points, sizeof *s->points, latency_point_compare);
    return latency_peer_read(s);
}

void latency_study_close(struct latency_study *s)
{
    mem_free(s->points);
    notes_close(&s->warnings);
    *s = (struct latency_study){ 0 };
}

/* ---- the table ---- */

static const struct {
    const char *key, *label;
    int decimals;
    double scale;
} columns[] = {
    { "batch", "batch", 0, 1 },
    { "context", "context", 0, 1 },
    { "token_s", "a token (ms)", 3, 1e3 },
    { "token_from_s", "its median's interval, from", 3, 1e3 },
    { "token_to_s", "to", 3, 1e3 },
    { "gain", "against dense", 2, 1 },
    { "strong_dense_s", "strong dense (ms)", 3, 1e3 },
    { "strong_dense_gain", "against strong dense", 2, 1 },
    { "step_s", "step (ms)", 3, 1e3 },
    { "step_decile_1_s", "1st decile", 3, 1e3 },
    { "step_decile_9_s", "9th decile", 3, 1e3 },
    { "product_s", "products (ms)", 3, 1e3 },
    { "select_s", "score, select (ms)", 3, 1e3 },
    { "attend_s", "attention (ms)", 3, 1e3 },
    { "attend_gain", "attention against dense", 2, 1 },
    { "other_s", "the rest (ms)", 3, 1e3 },
    { "rectify_s", "rectification (ms)", 3, 1e3 },
    { "rectify_share_s", "of it, a token (ms)", 3, 1e3 },
    { "bytes", "moved (MB)", 1, 1e-6 },
    { "bytes_per_s", "GB/s", 0, 1e-9 },
    { "read_s", "plain read (ms)", 3, 1e3 },
    { "read_share", "share of plain read", 2, 1 },
    { "clock_hz", "SM (MHz)", 0, 1e-6 },
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static const char *const verdicts[] = {
    [VERDICT_NONE] = "", [VERDICT_FEW] = "too few steps", [VERDICT_OPEN] = "not distinguishable", [VERDICT_SLOWER] = "slower", [VERDICT_FASTER] = "faster",
};

static int row_write(struct sheet *t, const struct latency_study *s, const struct latency_point *p)
{
    const struct latency_spread *x = p->times;
    const double values[N_COLUMNS] = {
        p->batch, p->context, p->token, p->token_from, p->token_to, p->gain, p->peer, p->peer_gain, x[TIME_STEP].median, x[TIME_STEP].low, x[TIME_STEP].high, x[TIME_PRODUCT].median,
        x[TIME_SELECT].median, x[TIME_ATTEND].median, p->attend_gain, x[TIME_OTHER].median, x[TIME_RECTIFY].median,
        p->interval > 0 ? x[TIME_RECTIFY].median / p->interval : NAN, p->bytes, p->bytes / x[TIME_STEP].median, x[TIME_READ].median,
        x[TIME_READ].median / x[TIME_STEP].median, p->clock_hz,
    };
    TRY(sheet_text(t, p->lane), "latency");
    for (int i = 0; i < N_COLUMNS; i++) TRY(sheet_number(t, values[i]), "latency");
    TRY(sheet_text(t, verdicts[latency_verdict(s, p)]), "latency");
    return 0;
}

int latency_sheet(struct sheet *t, const struct latency_study *s)
{
    char peer[512];
    latency_peer_say(s, peer, sizeof peer);
    TRY(sheet_open(t, "latency"), "latency");
    snprintf(t->caption, sizeof t->caption,
             "Device time of decode steps of %s on %s (%s), one policy at a time, by turns, cold: medians over the timed steps. A token's time is the "
             "step's and, of a rectified lane, one part in its interval of a rectification's. The parts are the same step with the other "
             "operations left out; attention against dense counts the selection with it and no rectification. Moved: weights, K, V and block keys, each once; plain read: as many bytes by the machine's fastest "
             "read, in the same run. Verdict: faster or slower than %s where the 95 %% intervals of the two medians do not overlap%s. %s",
             s->model, s->machine, s->device, s->n_peers > 0 ? "strong dense" : "dense",
             s->n_peers > 0 ? " (strong dense is known by its median alone, which counts as exact)" : "", peer);
    TRY(sheet_column(t, COLUMN_TEXT, "lane", "lane", 0), "latency");
    for (int i = 0; i < N_COLUMNS; i++) {
        TRY(sheet_column(t, COLUMN_NUMBER, columns[i].key, columns[i].label, columns[i].decimals), "latency");
        t->columns[t->n_columns - 1].scale = columns[i].scale;
        /* The interval's ends are in the csv; people see the verdict. */
        if (strncmp(columns[i].key, "token_", 6) == 0 && columns[i].key[6] != 's') sheet_column_csv_only(t);
    }
    TRY(sheet_column(t, COLUMN_TEXT, "verdict", s->n_peers > 0 ? "than strong dense" : "than dense", 0), "latency");
    for (int i = 0; i < s->n_points; i++)
        if (row_write(t, s, &s->points[i]) != 0) return -1;
    return 0;
}
