#include "analysis/study_load.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GRAM = 4, MIN_GRAMS = 8 };

const char *const run_fact_attributes[N_RUN_FACTS] = {
    [FACT_MODEL] = "model",
    [FACT_MODEL_DIGEST] = "model_digest",
    [FACT_COMMIT] = "commit",
    [FACT_COMMAND] = "command",
    [FACT_CPU] = "cpu",
    [FACT_GPU] = "gpu",
    [FACT_DEVICE] = "device",
    [FACT_ISA] = "instruction_set",
    [FACT_START] = "start_time",
    [FACT_END] = "end_time",
    [FACT_LIBRARIES] = "libraries",
    [FACT_PROGRAM] = "version",
};

const char *const study_map_vars[N_STUDY_MAPS] = { "k_drift", "v_drift", "k_accum" };

static size_t lane_steps(const struct trace_file *f)
{
    return (size_t)f->n_lanes * (size_t)f->n_steps;
}

/* [step][lane] added to [lane][step]. */
static int flat_add(const struct trace_file *f, const char *name, double *series)
{
    double *x = NULL;
    TRY(MEM_NEW(&x, lane_steps(f), name), "%s", f->path);
    const int rc = trace_read_double(f, name, TRACE_ALL, TRACE_ALL, x, lane_steps(f));
    for (int step = 0; step < f->n_steps && rc == 0; step++)
        for (int lane = 0; lane < f->n_lanes; lane++)
            series[(size_t)lane * (size_t)f->n_steps + (size_t)step] +=
                x[(size_t)step * (size_t)f->n_lanes + (size_t)lane];
    mem_free(x);
    return rc;
}

static int layered_read(const struct trace_file *f, const char *name, float **x)
{
    const size_t n = lane_steps(f) * (size_t)f->n_layers;
    TRY(MEM_NEW(x, n, name), "%s", f->path);
    return trace_read_float(f, name, TRACE_ALL, TRACE_ALL, *x, n);
}

/* The mean over layers from first on that have a value; *max: the greatest of them, raised. */
static double layers_mean(const float *x, int first, int n_layers, double *max)
{
    double sum = 0;
    int n = 0;
    for (int layer = first; layer < n_layers; layer++) {
        if (isnan(x[layer])) continue;
        sum += (double)x[layer];
        if (!(*max >= (double)x[layer])) *max = (double)x[layer];
        n++;
    }
    return n ? sum / n : NAN;
}

/* [step][lane][layer] to [lane][step] (series, or NULL) and the greatest value of each lane (max, or NULL). */
static int layered_reduce(const struct trace_file *f, const char *name, int first, double *series, double *max)
{
    float *x = NULL;
    int rc = layered_read(f, name, &x);
    for (int lane = 0; lane < f->n_lanes && rc == 0; lane++) {
        double most = NAN;
        for (int step = 0; step < f->n_steps; step++) {
            const size_t at = ((size_t)step * (size_t)f->n_lanes + (size_t)lane) * (size_t)f->n_layers;
            const double mean = layers_mean(x + at, first, f->n_layers, &most);
            if (series) series[(size_t)lane * (size_t)f->n_steps + (size_t)step] = mean;
        }
        if (max) max[lane] = most;
    }
    mem_free(x);
    return rc;
}

static int quantity_load(struct study_run *run, const struct trace_file *f, enum quantity q)
{
    const struct quantity_def *def = &quantity_defs[q];
    for (int i = 0; i < QUANTITY_MAX_VARS && def->vars[i]; i++)
        if (!trace_has(f, def->vars[i])) return 0;
    if (!def->vars[0]) return 0;
    TRY(MEM_NEW(&run->series[q], lane_steps(f), def->vars[0]), "%s", f->path);
    if (def->first_layer != NO_LAYERS)
        return layered_reduce(f, def->vars[0], def->first_layer, run->series[q],
                              q == QUANTITY_K_DRIFT ? run->k_drift_max : NULL);
    for (int i = 0; i < QUANTITY_MAX_VARS && def->vars[i]; i++)
        if (flat_add(f, def->vars[i], run->series[q]) != 0) return -1;
    return 0;
}

/* nll above lane 0's, at steps where both predict the same token after the same stream. */
static int above_dense_load(struct study_run *run, const struct trace_file *f)
{
    const size_t n = lane_steps(f), n_steps = (size_t)f->n_steps;
    const double *nll = run->series[QUANTITY_NLL];
    int64_t *target = NULL, *divergence = NULL;
    if (!nll || !trace_has(f, "target")) return 0;
    int rc = MEM_NEW(&target, n, "target");
    if (rc == 0) rc = MEM_NEW(&divergence, f->n_lanes, "first_divergence");
    if (rc == 0) rc = MEM_NEW(&run->series[QUANTITY_ABOVE_DENSE], n, "nll above dense");
    if (rc == 0) rc = trace_read_int(f, "target", TRACE_ALL, TRACE_ALL, target, n);
    for (int i = 0; i < f->n_lanes && rc == 0; i++) divergence[i] = -1;
    if (rc == 0 && trace_has(f, "first_divergence"))
        rc = trace_read_int(f, "first_divergence", TRACE_ALL, TRACE_ALL, divergence, (size_t)f->n_lanes);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const size_t lane = i / n_steps, step = i % n_steps, row = step * (size_t)f->n_lanes;
        const bool same =
            target[row + lane] == target[row] && (divergence[lane] < 0 || (int64_t)step < divergence[lane]);
        run->series[QUANTITY_ABOVE_DENSE][i] = same ? nll[i] - nll[step] : NAN;
    }
    mem_free(target);
    mem_free(divergence);
    return rc;
}

struct gram {
    int64_t token[GRAM];
};

static int gram_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct gram));
}

static double repeats_of(struct gram *grams, int n)
{
    int n_repeats = 0;
    if (n < MIN_GRAMS) return NAN;
    qsort(grams, (size_t)n, sizeof *grams, gram_compare);
    for (int i = 1; i < n; i++) n_repeats += gram_compare(&grams[i - 1], &grams[i]) == 0;
    return (double)n_repeats / n;
}

static int repeats_load(struct study_run *run, const struct trace_file *f)
{
    int64_t *token = NULL;
    struct gram *grams = NULL;
    int rc = MEM_NEW(&token, lane_steps(f), "token");
    if (rc == 0) rc = MEM_NEW(&grams, f->n_steps, "4-grams");
    if (rc == 0) rc = trace_read_int(f, "token", TRACE_ALL, TRACE_ALL, token, lane_steps(f));
    for (int lane = 0; lane < f->n_lanes && rc == 0; lane++) {
        int n = 0;
        for (int step = 0; step + GRAM <= f->n_steps; step++) {
            bool there = true; /* -1: the lane has ended */
            for (int i = 0; i < GRAM; i++) {
                grams[n].token[i] = token[(size_t)(step + i) * (size_t)f->n_lanes + (size_t)lane];
                there = there && grams[n].token[i] >= 0;
            }
            n += there;
        }
        run->repeats[lane] = repeats_of(grams, n);
    }
    mem_free(token);
    mem_free(grams);
    return rc;
}

static int facts_load(struct study_run *run, const struct trace_file *f)
{
    char commit[80];
    int64_t dirty = 0, n_threads = 0;
    for (int i = 0; i < N_RUN_FACTS; i++)
        if (trace_attr_text(f, run_fact_attributes[i], &run->facts[i]) != 0) return -1;
    if (trace_attr_int(f, "commit_dirty", &dirty) != 0 || trace_attr_int(f, "threads", &n_threads) != 0) return -1;
    run->n_threads = (int)(n_threads > 0 && n_threads < 1 << 20 ? n_threads : 0);
    if (!dirty) return 0;
    snprintf(commit, sizeof commit, "%.60s-dirty", run->facts[FACT_COMMIT]);
    mem_free(run->facts[FACT_COMMIT]);
    run->facts[FACT_COMMIT] = NULL;
    return mem_strdup(&run->facts[FACT_COMMIT], commit);
}

int study_run_load(struct study_run *run, const struct trace_file *f)
{
    snprintf(run->id, sizeof run->id, "%s", f->run_id);
    snprintf(run->source, sizeof run->source, "%s", f->source);
    run->start = f->start;
    run->n_steps = f->n_steps;
    run->n_lanes = f->n_lanes;
    TRY(MEM_NEW(&run->k_drift_max, f->n_lanes, "lanes"), "%s", f->path);
    TRY(MEM_NEW(&run->k_rect_max, f->n_lanes, "lanes"), "%s", f->path);
    TRY(MEM_NEW(&run->repeats, f->n_lanes, "lanes"), "%s", f->path);
    for (int i = 0; i < f->n_lanes; i++) run->k_drift_max[i] = run->k_rect_max[i] = run->repeats[i] = NAN;
    for (int q = 0; q < N_QUANTITIES; q++)
        if (quantity_load(run, f, (enum quantity)q) != 0) return -1;
    if (above_dense_load(run, f) != 0) return -1;
    if (trace_has(f, "k_rect_drift") && layered_reduce(f, "k_rect_drift", 1, NULL, run->k_rect_max) != 0) return -1;
    if (trace_has(f, "token") && repeats_load(run, f) != 0) return -1;
    return facts_load(run, f);
}

void study_run_close(struct study_run *run)
{
    mem_free(run->map);
    for (int q = 0; q < N_QUANTITIES; q++) mem_free(run->series[q]);
    mem_free(run->k_drift_max);
    mem_free(run->k_rect_max);
    mem_free(run->repeats);
    for (int i = 0; i < N_RUN_FACTS; i++) mem_free(run->facts[i]);
    *run = (struct study_run){ 0 };
}

int study_map_add(struct study *s, const struct study_run *run, const struct trace_file *f, enum study_map map)
{
    float *x = NULL;
    const size_t n_layers = (size_t)s->n_layers, n_bins = (size_t)s->n_bins;
    if (!trace_has(f, study_map_vars[map])) return 0;
    const int rc = layered_read(f, study_map_vars[map], &x);
    for (int lane = 0; lane < s->n_lanes && rc == 0; lane++) {
        const int from = run->map[lane];
        for (int step = 0; step < f->n_steps && from >= 0; step++) {
            const size_t bin = (size_t)step * n_bins / (size_t)s->n_steps;
            const float *row = x + ((size_t)step * (size_t)f->n_lanes + (size_t)from) * n_layers;
            for (size_t layer = 0; layer < n_layers; layer++) {
                if (isnan(row[layer])) continue;
                const size_t at = ((size_t)lane * n_layers + layer) * n_bins + bin;
                s->map_sum[map][at] += row[layer];
                s->map_n[map][at] += 1;
            }
        }
    }
    mem_free(x);
    return rc;
}
