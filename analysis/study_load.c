#include "analysis/study_load.h"

#include "analysis/study_store.h"

#include "core/err.h"
#include "core/hdf5_file.h"
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
    [FACT_ORIGIN] = "prompt_origin",
};

static size_t lane_steps(const struct trace_file *f)
{
    return (size_t)f->n_lanes * (size_t)f->n_steps;
}

/* The sum of the quantity's variables, [step][lane], as [lane][step]. */
static int flat_load(struct study_run *run, const struct trace_file *f, enum quantity q)
{
    const struct quantity_def *def = &quantity_defs[q];
    const size_t n_lanes = (size_t)f->n_lanes, n_steps = (size_t)f->n_steps;
    double *x = NULL, *sum = NULL;
    int rc = MEM_NEW(&x, lane_steps(f), def->vars[0]);
    if (rc == 0) rc = MEM_NEW(&sum, lane_steps(f), def->vars[0]);
    if (rc == 0) rc = MEM_NEW(&run->series[q], lane_steps(f), def->vars[0]);
    for (int i = 0; i < QUANTITY_MAX_VARS && def->vars[i] && rc == 0; i++) {
        rc = trace_read_double(f, def->vars[i], TRACE_ALL, TRACE_ALL, x, lane_steps(f));
        for (size_t k = 0; k < lane_steps(f) && rc == 0; k++) sum[k] += x[k];
    }
    for (size_t lane = 0; lane < n_lanes && rc == 0; lane++)
        for (size_t step = 0; step < n_steps; step++)
            run->series[q][lane * n_steps + step] = (float)sum[step * n_lanes + lane];
    mem_free(sum);
    mem_free(x);
    return rc;
}

static int flats_load(struct study_run *run, const struct trace_file *f)
{
    for (int q = 0; q < N_QUANTITIES; q++) {
        const struct quantity_def *def = &quantity_defs[q];
        bool there = def->vars[0] && def->first_layer == NO_LAYERS;
        for (int i = 0; i < QUANTITY_MAX_VARS && def->vars[i]; i++) there = there && trace_has(f, def->vars[i]);
        if (there && flat_load(run, f, (enum quantity)q) != 0) return -1;
    }
    return 0;
}

/* nll above lane 0's, at steps where both predict the same token after the same stream. */
static int above_dense_load(struct study_run *run, const struct trace_file *f)
{
    const size_t n = lane_steps(f), n_steps = (size_t)f->n_steps;
    const float *nll = run->series[QUANTITY_NLL];
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
        run->series[QUANTITY_ABOVE_DENSE][i] = same ? (float)((double)nll[i] - (double)nll[step]) : NAN;
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
        if (i == FACT_ORIGIN && !hdf5_attr_exists(f->id, run_fact_attributes[i])) {
            if (mem_strdup(&run->facts[i], "unknown") != 0) return -1;
        } else if (trace_attr_text(f, run_fact_attributes[i], &run->facts[i]) != 0) {
            return -1;
        }
    if (trace_attr_int(f, "commit_dirty", &dirty) != 0 || trace_attr_int(f, "threads", &n_threads) != 0) return -1;
    run->n_threads = (int)(n_threads > 0 && n_threads < 1 << 20 ? n_threads : 0);
    if (!dirty) return 0;
    snprintf(commit, sizeof commit, "%.60s-dirty", run->facts[FACT_COMMIT]);
    mem_free(run->facts[FACT_COMMIT]);
    run->facts[FACT_COMMIT] = NULL;
    return mem_strdup(&run->facts[FACT_COMMIT], commit);
}

/* A lane whose logits ran away. */
static void infinite_find(struct study_run *run)
{
    static const enum quantity where[] = { QUANTITY_NLL, QUANTITY_KL };
    const size_t n_steps = (size_t)run->n_steps;
    for (size_t i = 0; i < sizeof where / sizeof where[0]; i++) {
        const float *x = run->series[where[i]];
        for (size_t k = 0; x && k < (size_t)run->n_lanes * n_steps; k++)
            if (isinf(x[k])) run->infinite[k / n_steps] = true;
    }
}

int study_run_load(struct study_run *run, const struct study *s, const struct trace_file *f)
{
    snprintf(run->id, sizeof run->id, "%s", f->run_id);
    snprintf(run->source, sizeof run->source, "%s", f->source);
    run->start = f->start;
    run->n_steps = f->n_steps;
    run->n_lanes = f->n_lanes;
    TRY(MEM_NEW(&run->k_drift_max, f->n_lanes, "lanes"), "%s", f->path);
    TRY(MEM_NEW(&run->k_rect_max, f->n_lanes, "lanes"), "%s", f->path);
    TRY(MEM_NEW(&run->repeats, f->n_lanes, "lanes"), "%s", f->path);
    TRY(MEM_NEW(&run->infinite, f->n_lanes, "lanes"), "%s", f->path);
    for (int i = 0; i < f->n_lanes; i++) run->k_drift_max[i] = run->k_rect_max[i] = run->repeats[i] = NAN;
    if (flats_load(run, f) != 0 || above_dense_load(run, f) != 0 || study_layers_load(run, s, f) != 0) return -1;
    if (trace_has(f, "token") && repeats_load(run, f) != 0) return -1;
    infinite_find(run);
    return facts_load(run, f);
}

void study_run_close(struct study_run *run)
{
    study_store_close(run);
    mem_free(run->map);
    for (int q = 0; q < N_QUANTITIES; q++) mem_free(run->series[q]);
    for (int axis = 0; axis < N_STUDY_AXES; axis++)
        for (int m = 0; m < N_STUDY_MAPS; m++) study_grid_close(&run->grids[axis][m]);
    mem_free(run->k_drift_max);
    mem_free(run->k_rect_max);
    mem_free(run->repeats);
    mem_free(run->infinite);
    for (int i = 0; i < N_RUN_FACTS; i++) mem_free(run->facts[i]);
    *run = (struct study_run){ 0 };
}
