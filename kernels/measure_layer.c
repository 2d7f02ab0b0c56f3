#include "core/err.h"
#include "kernels/measure.h"

#include <omp.h>

static bool lane_has_row(const struct measure *m, int lane)
{
    return m->row_of_lane[lane] >= 0 && m->step[0] < m->end[lane];
}

static bool lane_diverged(const struct measure *m, int lane)
{
    return m->diverged[lane] >= 0 && m->step[0] >= m->diverged[lane];
}

struct measure_rows measure_rows_of(const struct measure *m, int lane)
{
    struct measure_rows r = { -1, -1, -1 };
    if (!lane_has_row(m, lane)) return r;
    r.row = m->row_of_lane[lane];
    if (!lane_has_row(m, 0) || lane_diverged(m, lane)) return r;
    r.ref = m->row_of_lane[0];
    const int twin = m->twin[lane];
    if (twin >= 0 && lane_has_row(m, twin) && !lane_diverged(m, twin)) r.twin = m->row_of_lane[twin];
    return r;
}

/* The variables of K, and the same of V. */
static const struct kv_vars {
    enum record_var drift, accum, norm, shift, head_drift;
} kv_vars[2] = {
    { VAR_K_DRIFT, VAR_K_ACCUM, VAR_K_NORM, VAR_K_SHIFT, VAR_K_HEAD_DRIFT },
    { VAR_V_DRIFT, VAR_V_ACCUM, VAR_V_NORM, VAR_V_SHIFT, VAR_V_HEAD_DRIFT },
};

/* kv 0: K, 1: V, f32 [n_kv_heads][head_dim] of a row. */
static const float *kv_of(const struct measure_layer_args *a, int row, int kv)
{
    const size_t stride = (size_t)(a->n_heads + 2 * a->n_kv_heads) * (size_t)a->head_dim;
    return a->qkv + (size_t)row * stride + (size_t)(a->n_heads + kv * a->n_kv_heads) * (size_t)a->head_dim;
}

static size_t at_layer(const struct measure_layer_args *a, int lane)
{
    return (size_t)lane * (size_t)a->m.layout->n_layers + (size_t)a->layer;
}

/* Drift of this token's K or V, and its squares for the cache group. */
static void measure_kv(const struct measure_layer_args *a, int lane, const struct measure_rows *rows, int kv)
{
    const struct kv_vars *v = &kv_vars[kv];
    const size_t n_heads = (size_t)a->n_kv_heads, dim = (size_t)a->head_dim, at = at_layer(a, lane);
    const float *x = kv_of(a, rows->row, kv), *r = kv_of(a, rows->ref, kv);
    const struct squares all = squares_of(x, r, n_heads * dim);
    measure_put(&a->m, v->drift, at, squares_rel(all.diff, all.ref));
    double shift = 0;
    for (size_t g = 0; g < n_heads; g++) {
        const struct squares head = squares_of(x + g * dim, r + g * dim, dim);
        measure_put(&a->m, v->head_drift, at * n_heads + g, squares_rel(head.diff, head.ref));
        if (lane == 0) measure_put(&a->m, v->norm, (size_t)a->layer * n_heads + g, sqrt(head.ref));
        if (!a->spread) continue;
        const double spread = a->spread[(size_t)kv * n_heads + g], rel = squares_rel(head.diff, spread * spread);
        shift += rel * rel;
    }
    if (a->spread) measure_put(&a->m, v->shift, at, sqrt(shift / (double)n_heads));
    if (rows->twin >= 0)
        measure_put(&a->m, v->accum, at, squares_rel(squares_of(x, kv_of(a, rows->twin, kv), n_heads * dim).diff, all.ref));
    if (!a->squares || a->store_of_lane[lane] < 0) return;
    double *to = a->squares + (((size_t)lane * (size_t)a->n_layers + (size_t)a->layer) * (size_t)a->n_steps + (size_t)a->m.step[0]) * 4;
    to[2 * kv] = all.diff;
    to[2 * kv + 1] = all.ref;
}

/* Attention output and residual stream. */
static void measure_attention(const struct measure_layer_args *a, int lane, const struct measure_rows *rows)
{
    const size_t n = (size_t)a->n_heads * (size_t)a->head_dim, hidden = (size_t)a->hidden, at = at_layer(a, lane);
    const size_t n_kv = (size_t)a->n_kv_heads, n_group = n / n_kv;
    const float *x = a->attn + (size_t)rows->row * n, *r = a->attn + (size_t)rows->ref * n;
    const struct squares all = squares_of(x, r, n);
    measure_put(&a->m, VAR_ATTN_ERR, at, squares_rel(all.diff, all.ref));
    if (rows->twin >= 0 && measure_has(&a->m, VAR_ATTN_ACCUM))
        measure_put(&a->m, VAR_ATTN_ACCUM, at, squares_rel(squares_of(x, a->attn + (size_t)rows->twin * n, n).diff, all.ref));
    for (size_t g = 0; g < n_kv && measure_has(&a->m, VAR_ATTN_HEAD_ERR); g++) {
        const struct squares head = squares_of(x + g * n_group, r + g * n_group, n_group);
        measure_put(&a->m, VAR_ATTN_HEAD_ERR, at * n_kv + g, squares_rel(head.diff, head.ref));
    }
    if (measure_has(&a->m, VAR_RESID_ERR)) {
        const struct squares resid = squares_of(a->resid + (size_t)rows->row * hidden, a->resid + (size_t)rows->ref * hidden, hidden);
        measure_put(&a->m, VAR_RESID_ERR, at, squares_rel(resid.diff, resid.ref));
    }
    if (lane == 0) return; /* its parts are 0 by definition */
    if (a->attn_select && measure_has(&a->m, VAR_ATTN_ERR_SELECT)) {
        const struct squares part = squares_of(a->attn_select + (size_t)lane * n, r, n);
        measure_put(&a->m, VAR_ATTN_ERR_SELECT, at, squares_rel(part.diff, part.ref));
    }
    if (a->attn_cache && measure_has(&a->m, VAR_ATTN_ERR_CACHE)) {
        const struct squares part = squares_of(a->attn_cache + (size_t)lane * n, r, n);
        measure_put(&a->m, VAR_ATTN_ERR_CACHE, at, squares_rel(part.diff, part.ref));
    }
}

/* What lane 0 has by definition: it reads all, and nothing of its cache is stale. */
static void measure_dense(const struct measure_layer_args *a)
{
    static const struct {
        enum record_var var;
        double value;
    } fixed[] = { { VAR_KEPT_MASS, 1 },       { VAR_KEPT_MASS_MIN, 1 },  { VAR_BEST_MASS, 1 },      { VAR_STALE_MASS, 0 },
                  { VAR_ATTN_ERR_SELECT, 0 }, { VAR_ATTN_ERR_CACHE, 0 }, { VAR_KEPT_MASS_DENSE, 1 } };
    static const struct {
        enum record_var var;
        double value;
    } by_head[] = { { VAR_KEPT_HEAD_MASS, 1 }, { VAR_BEST_HEAD_MASS, 1 }, { VAR_STALE_HEAD_MASS, 0 } };
    const size_t at = at_layer(a, 0), n_kv = (size_t)a->n_kv_heads;
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) measure_put(&a->m, fixed[i].var, at, fixed[i].value);
    for (size_t i = 0; i < sizeof by_head / sizeof by_head[0]; i++)
        for (size_t g = 0; g < n_kv; g++) measure_put(&a->m, by_head[i].var, at * n_kv + g, by_head[i].value);
    if (a->m.twin[0] == 0) measure_put(&a->m, VAR_SELECT_OVERLAP, at, 1);
}

/* In a step that is not recorded in full, the norms and the squares still are. */
static bool kv_is_wanted(const struct measure_layer_args *a, int lane, const struct kv_vars *v)
{
    return a->squares || measure_has(&a->m, v->drift) || measure_has(&a->m, v->head_drift) || (lane == 0 && measure_has(&a->m, v->norm));
}

static void measure_lane(const struct measure_layer_args *a, int lane, double *scratch)
{
    const struct measure_rows rows = measure_rows_of(&a->m, lane);
    if (rows.row < 0) return;
    if (rows.ref >= 0) {
        for (int kv = 0; kv < 2; kv++)
            if (kv_is_wanted(a, lane, &kv_vars[kv])) measure_kv(a, lane, &rows, kv);
        measure_attention(a, lane, &rows);
    }
    if (lane == 0) {
        measure_dense(a);
        return;
    }
    measure_mass(a, lane, &rows, scratch);
    measure_selection(a, lane, &rows);
}

int cpu_measure_layer(struct device *d, const struct measure_layer_args *a)
{
    const size_t need = measure_layer_workspace(a->mass ? a->mass_blocks : 0);
    if (d->workspace_bytes < need)
        return fail("measure_layer: %zu bytes of workspace for each thread, %zu needed for %d blocks", d->workspace_bytes, need,
                    a->mass_blocks);
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 1)
    for (int lane = 0; lane < a->m.n_lanes; lane++)
        measure_lane(a, lane, (double *)(void *)(d->workspace + (size_t)omp_get_thread_num() * d->workspace_bytes));
    return 0;
}
