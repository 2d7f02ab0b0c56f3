/* Layered variables of a trace, each read once, some steps at a time: their means over layers, their grids, their maxima.
 * A lane belongs to one thread, so that the sums do not depend on how many there are. */
#include "analysis/study_load.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/trace_rows.h"

#include <math.h>

const enum quantity study_map_quantities[N_STUDY_MAPS] = {
    [MAP_K_DRIFT] = QUANTITY_K_DRIFT,       [MAP_V_DRIFT] = QUANTITY_V_DRIFT,
    [MAP_K_ACCUM] = QUANTITY_K_ACCUM,       [MAP_V_ACCUM] = QUANTITY_V_ACCUM,
    [MAP_ATTN_ACCUM] = QUANTITY_ATTN_ACCUM, [MAP_ATTN_ERR] = QUANTITY_ATTN_ERR,
    [MAP_KEPT_MASS] = QUANTITY_KEPT_MASS,   [MAP_BEST_MASS] = QUANTITY_BEST_MASS,
    [MAP_STALE_MASS] = QUANTITY_STALE_MASS,
};

/* ---- bins ---- */

static const int stale_firsts[STUDY_STALE_BINS] = { 0,   1,   2,   3,    4,    6,    8,    11,   16,   23,    32,
                                                    45,  64,  91,  128,  181,  256,  362,  512,  724,  1024,  1448,
                                                    2048, 2896, 4096, 5793, 8192, 11585, 16384, 23170, 32768, 46341 };

int study_stale_bin(int stale_tokens)
{
    int bin = 0;
    while (bin + 1 < STUDY_STALE_BINS && stale_firsts[bin + 1] <= stale_tokens) bin++;
    return bin;
}

int study_stale_bin_first(int bin)
{
    return bin < STUDY_STALE_BINS ? stale_firsts[bin] : STUDY_STALE_END;
}

int study_axis_bins(const struct study *s, enum study_axis axis)
{
    return axis == AXIS_STEP ? s->n_bins : axis == AXIS_STALE ? STUDY_STALE_BINS : STUDY_SLOTS;
}

void study_grid_close(struct study_grid *g)
{
    mem_free(g->sum);
    mem_free(g->n);
    *g = (struct study_grid){ 0 };
}

/* ---- one variable ---- */

struct layered {
    const struct study *s;
    const struct trace_file *f;
    int first_layer;
    float *series;                          /* NULL: not wanted */
    double *max;                            /* NULL: not wanted */
    struct study_grid *grids[N_STUDY_AXES]; /* NULL: not wanted */
    const float *stale;                     /* [n_lanes][n_steps], or NULL */
};

static void cell_add(const struct layered *v, enum study_axis axis, int lane, int bin, const float *x)
{
    const size_t n_layers = (size_t)v->f->n_layers,
                 at = ((size_t)lane * (size_t)study_axis_bins(v->s, axis) + (size_t)bin) * n_layers;
    float *sum = v->grids[axis]->sum + at;
    uint32_t *n = v->grids[axis]->n + at;
    for (size_t layer = 0; layer < n_layers; layer++) {
        const bool there = !isnan(x[layer]);
        sum[layer] += there ? x[layer] : 0;
        n[layer] += there;
    }
}

/* The mean over the layers that have a value; *max: the greatest of them, raised. */
static float layers_mean(const float *x, int first, int n_layers, double *max)
{
    double sum = 0, most = *max;
    int n = 0;
    for (int layer = first; layer < n_layers; layer++) {
        if (isnan(x[layer])) continue;
        sum += (double)x[layer];
        if (!(most >= (double)x[layer])) most = (double)x[layer];
        n++;
    }
    *max = most;
    return n ? (float)(sum / n) : NAN;
}

static void lane_reduce(const struct layered *v, const struct trace_rows *r, int lane)
{
    const struct trace_file *f = v->f;
    const int block_size = f->lanes[lane].block_size;
    double max = v->max ? v->max[lane] : NAN;
    for (int i = 0; i < r->n; i++) {
        const int step = r->first + i;
        const size_t at = (size_t)lane * (size_t)f->n_steps + (size_t)step;
        const float *x = r->values + ((size_t)i * (size_t)f->n_lanes + (size_t)lane) * (size_t)f->n_layers;
        const float mean = layers_mean(x, v->first_layer, f->n_layers, &max);
        if (v->series) v->series[at] = mean;
        if (!v->grids[AXIS_STEP] || (isnan(mean) && f->n_layers > v->first_layer)) continue;
        cell_add(v, AXIS_STEP, lane, (int)((int64_t)step * v->s->n_bins / v->s->n_steps), x);
        cell_add(v, AXIS_SLOT, lane, study_slot_bin((f->prompt_tokens + step) % block_size, block_size), x);
        if (v->stale && !isnan(v->stale[at])) cell_add(v, AXIS_STALE, lane, study_stale_bin((int)v->stale[at]), x);
    }
    if (v->max) v->max[lane] = max;
}

static int layered_read(const struct layered *v, const char *name)
{
    struct trace_rows r = { 0 };
    int rc = trace_rows_open(&r, v->f, name);
    while (rc == 0 && (rc = trace_rows_next(&r)) == 0 && r.n > 0) {
#pragma omp parallel for schedule(static)
        for (int lane = 0; lane < v->f->n_lanes; lane++) lane_reduce(v, &r, lane);
    }
    trace_rows_close(&r);
    return rc;
}

/* ---- all of them ---- */

static int grids_open(struct study_run *run, const struct study *s, const struct trace_file *f, int map,
                      struct layered *v)
{
    for (int axis = 0; axis < N_STUDY_AXES; axis++) {
        struct study_grid *g = &run->grids[axis][map];
        const size_t n =
            (size_t)f->n_lanes * (size_t)study_axis_bins(s, (enum study_axis)axis) * (size_t)f->n_layers;
        TRY(MEM_NEW(&g->sum, n, "heat map"), "%s", f->path);
        TRY(MEM_NEW(&g->n, n, "heat map"), "%s", f->path);
        v->grids[axis] = g;
    }
    return 0;
}

static int quantity_load(struct study_run *run, const struct study *s, const struct trace_file *f, enum quantity q)
{
    const struct quantity_def *def = &quantity_defs[q];
    struct layered v = { .s = s, .f = f, .first_layer = def->first_layer, .stale = run->series[QUANTITY_STALE_TOKENS] };
    TRY(MEM_NEW(&run->series[q], (size_t)f->n_lanes * (size_t)f->n_steps, def->vars[0]), "%s", f->path);
    v.series = run->series[q];
    v.max = q == QUANTITY_K_DRIFT ? run->k_drift_max : NULL;
    for (int m = 0; m < N_STUDY_MAPS; m++)
        if (study_map_quantities[m] == q && grids_open(run, s, f, m, &v) != 0) return -1;
    return layered_read(&v, def->vars[0]);
}

int study_layers_load(struct study_run *run, const struct study *s, const struct trace_file *f)
{
    for (int q = 0; q < N_QUANTITIES; q++) {
        const struct quantity_def *def = &quantity_defs[q];
        if (!def->vars[0] || def->first_layer == NO_LAYERS || !trace_has(f, def->vars[0])) continue;
        if (quantity_load(run, s, f, (enum quantity)q) != 0) return -1;
    }
    if (!trace_has(f, "k_rect_drift")) return 0;
    return layered_read(&(struct layered){ .s = s, .f = f, .first_layer = 1, .max = run->k_rect_max }, "k_rect_drift");
}
