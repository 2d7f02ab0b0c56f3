#include "analysis/ablation_points.h"

#include "core/config.h"

#include <math.h>
#include <stdio.h>

const char *const axis_keys[N_AXES] = {
    [AXIS_SELECTOR] = "selector",         [AXIS_SPARSITY] = "sparsity",         [AXIS_BLOCK_SIZE] = "block_size",
    [AXIS_LOCAL_BLOCKS] = "local_blocks", [AXIS_MIN_BLOCKS] = "min_blocks",     [AXIS_DENSE_LAYERS] = "dense_layers",
    [AXIS_INTERVAL] = "interval",         [AXIS_PHASE] = "phase",               [AXIS_DENSE_UNTIL] = "dense_until",
    [AXIS_EQUAL_BYTES] = "equal_bytes",   [AXIS_PERTURB] = "perturb",
};

double axis_default(enum axis axis)
{
    static const double defaults[N_AXES] = {
        [AXIS_SELECTOR] = SELECT_MINMAX, [AXIS_SPARSITY] = 0.9, [AXIS_BLOCK_SIZE] = 16, [AXIS_LOCAL_BLOCKS] = 1, [AXIS_MIN_BLOCKS] = 16,
    };
    return defaults[axis];
}

static void settings_of(const struct lane_spec *l, double *at)
{
    at[AXIS_SELECTOR] = l->selector;
    at[AXIS_SPARSITY] = round(1e6 * l->sparsity) / 1e6; /* as the engine takes it */
    at[AXIS_BLOCK_SIZE] = l->block_size;
    at[AXIS_LOCAL_BLOCKS] = l->local_blocks;
    at[AXIS_MIN_BLOCKS] = l->min_blocks;
    at[AXIS_DENSE_LAYERS] = l->dense_layers;
    at[AXIS_INTERVAL] = l->interval;
    at[AXIS_PHASE] = l->phase;
    at[AXIS_DENSE_UNTIL] = l->dense_until;
    at[AXIS_EQUAL_BYTES] = l->equal_bytes;
    at[AXIS_PERTURB] = l->perturb;
}

int points_make(const struct study *s, struct ablation_point *points)
{
    int n = 0;
    for (int lane = 1; lane < s->n_lanes; lane++) {
        const struct lane_spec *l = &s->lanes[lane];
        struct ablation_point *p = &points[n];
        if (!lane_is_probe(l) && l->active_millionths >= 1000000 && !(l->perturb > 0)) continue;
        *p = (struct ablation_point){ .lane = lane };
        settings_of(l, p->at);
        if (lane_is_probe(l)) {
            p->role = l->cache_of == 0 ? POINT_CLEAN : POINT_STALE;
            if (p->role == POINT_STALE && l->active_millionths < 1000000) continue;
            if (p->role == POINT_STALE) settings_of(&s->lanes[l->cache_of], p->at);
        }
        n++;
    }
    return n;
}

bool points_alike(const struct ablation_point *x, const struct ablation_point *y, enum axis a, enum axis b)
{
    if (x->role != y->role) return false;
    for (int i = 0; i < N_AXES; i++)
        if (i != (int)a && i != (int)b && (x->at[i] > y->at[i] || x->at[i] < y->at[i])) return false;
    return true;
}

int axis_compare(enum axis axis, double x, double y)
{
    const double u = axis == AXIS_INTERVAL && !(x > 0) ? INFINITY : x, v = axis == AXIS_INTERVAL && !(y > 0) ? INFINITY : y;
    return (u > v) - (u < v);
}

const char *axis_print(char *text, size_t n_bytes, enum axis axis, double x)
{
    if (axis == AXIS_SELECTOR)
        snprintf(text, n_bytes, "%s", selector_names[(int)x]);
    else if (axis == AXIS_INTERVAL && !(x > 0))
        snprintf(text, n_bytes, "never");
    else
        snprintf(text, n_bytes, "%.9g", x);
    return text;
}

int axis_values(const struct ablation_point *points, int n_points, const struct ablation_point *like, enum axis axis, enum axis other,
                double *values)
{
    int n = 0;
    for (int i = 0; i < n_points; i++) {
        if (!points_alike(&points[i], like, axis, other)) continue;
        const double x = points[i].at[axis];
        int at = 0;
        while (at < n && axis_compare(axis, values[at], x) < 0) at++;
        if (at < n && axis_compare(axis, values[at], x) == 0) continue;
        for (int k = n++; k > at; k--) values[k] = values[k - 1];
        values[at] = x;
    }
    return n;
}

const struct ablation_point *point_at(const struct ablation_point *points, int n_points, const struct ablation_point *like, enum axis axis,
                                      double value)
{
    for (int i = 0; i < n_points; i++)
        if (points_alike(&points[i], like, axis, N_AXES) && axis_compare(axis, points[i].at[axis], value) == 0) return &points[i];
    return NULL;
}
