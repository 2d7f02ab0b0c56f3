#include "analysis/pareto.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

const struct pareto_error pareto_errors[N_PARETO_ERRORS] = {
    { MEASURE_ABOVE_DENSE, 1, 0, "nll_above_dense", "NLL above dense (nat)" },
    { MEASURE_KL, 1, 0, "kl_mean", "KL from dense (nat)" },
    { MEASURE_TOP1, -1, 1, "top1_disagreement", "top-1 disagreement (1)" },
    { MEASURE_K_DRIFT, 1, 0, "k_drift", "K drift (1)" },
};
const char *const pareto_cost_labels[N_PARETO_COSTS] = { "the paper's equation", "counted bytes" };

static double mean_value(const struct study *s, int lane, enum measure m, int *rc)
{
    struct estimate e = { .mean = NAN };
    if (*rc == 0) *rc = study_estimate(s, lane, m, 0, &e);
    return e.mean;
}

static int errors_make(struct pareto_point *p, const struct study *s, double *values)
{
    for (int k = 0; k < N_PARETO_ERRORS; k++) {
        const struct pareto_error *error = &pareto_errors[k];
        if (study_measure(s, p->corner->lane, error->measure, 0, values) != 0) return -1;
        for (int i = 0; i < s->n_texts; i++)
            values[i] = error->measure == MEASURE_ABOVE_DENSE && !study_is_of_text(s)
                            ? (double)NAN
                            : error->scale * values[i] + error->offset;
        p->error[k] = estimate_of(values, s->n_texts);
    }
    return 0;
}

static int point_make(struct pareto_point *p, const struct study *s, const struct corner_set *set,
                      const struct corner *corner, double dense_bytes, double *values)
{
    const struct lane_spec *l = &s->lanes[corner->lane];
    int rc = 0;
    *p = (struct pareto_point){ .set = set, .corner = corner, .stands = l->selector != SELECT_ORACLE };
    p->cost[PARETO_EQUATION] =
        dense_bytes * (1.0 / l->block_size + l->active_millionths / 1e6 + (l->interval > 0 ? 1.0 / l->interval : 0));
    p->cost[PARETO_COUNTED] = mean_value(s, corner->lane, MEASURE_BYTES, &rc);
    return rc == 0 ? errors_make(p, s, values) : -1;
}

/* Whether a is at most as large in both and smaller in one. */
static bool beats(const struct pareto_point *a, const struct pareto_point *b, int cost, int error)
{
    const double x = a->cost[cost], y = b->cost[cost], u = a->error[error].mean, v = b->error[error].mean;
    return a->stands && x <= y && u <= v && (x < y || u < v);
}

static void sets_make(struct pareto *p, int cost, int error)
{
    for (int i = 0; i < p->n; i++) {
        bool best = p->points[i].stands && !isnan(p->points[i].cost[cost]) && p->points[i].error[error].n > 0;
        for (int k = 0; k < p->n && best; k++) best = !beats(&p->points[k], &p->points[i], cost, error);
        p->points[i].best[cost][error] = best;
    }
}

static bool is_point(const struct corner_set *set, const struct corner *c)
{
    if (set->policy.dense_until > 0) return false;
    return c->role == CORNER_RECTIFIED || c->role == CORNER_NEVER || c->role == CORNER_EQUAL;
}

int pareto_open(struct pareto *p, const struct study *s, const struct corners *c)
{
    double *values = NULL;
    int n = 0, rc = 0;
    *p = (struct pareto){ .dense_bytes = mean_value(s, 0, MEASURE_BYTES, &rc) };
    for (int i = 0; i < c->n_sets; i++) n += c->sets[i].n_corners;
    if (rc == 0) rc = MEM_NEW(&p->points, n, "points");
    if (rc == 0) rc = MEM_NEW(&values, s->n_texts, "texts");
    for (int i = 0; i < c->n_sets; i++)
        for (int k = 0; k < c->sets[i].n_corners && rc == 0; k++)
            if (is_point(&c->sets[i], &c->sets[i].corners[k]))
                rc = point_make(&p->points[p->n++], s, &c->sets[i], &c->sets[i].corners[k], p->dense_bytes, values);
    mem_free(values);
    for (int cost = 0; cost < N_PARETO_COSTS && rc == 0; cost++)
        for (int error = 0; error < N_PARETO_ERRORS; error++) sets_make(p, cost, error);
    return rc;
}

void pareto_close(struct pareto *p)
{
    mem_free(p->points);
    *p = (struct pareto){ 0 };
}

/* ---- the table ---- */

/* "NLL, KL": the errors in whose Pareto sets with a cost the point is. */
static void best_print(const struct pareto_point *p, int cost, char *text, size_t n_bytes)
{
    static const char *const names[N_PARETO_ERRORS] = { "NLL", "KL", "top-1", "drift" };
    size_t n = 0;
    text[0] = '\0';
    for (int k = 0; k < N_PARETO_ERRORS && n < n_bytes; k++)
        if (p->best[cost][k]) n += (size_t)snprintf(text + n, n_bytes - n, "%s%s", n ? ", " : "", names[k]);
}

static int columns_make(struct sheet *t)
{
    if (sheet_column(t, COLUMN_TEXT, "set", "set", 0) != 0 || sheet_column(t, COLUMN_TEXT, "lane", "lane", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "bytes_equation", "KV bytes per step by the paper's equation (KiB)", 0) != 0)
        return -1;
    t->columns[t->n_columns - 1].scale = 1.0 / 1024;
    if (sheet_column(t, COLUMN_NUMBER, "bytes_counted", "counted (KiB)", 0) != 0) return -1;
    t->columns[t->n_columns - 1].scale = 1.0 / 1024;
    if (sheet_column(t, COLUMN_NUMBER, "share_counted", "of the dense lane's", 3) != 0) return -1;
    for (int k = 0; k < N_PARETO_ERRORS; k++)
        if (sheet_column(t, COLUMN_ESTIMATE, pareto_errors[k].key, pareto_errors[k].label, 3) != 0) return -1;
    if (sheet_column(t, COLUMN_TEXT, "pareto_equation", "in the Pareto set, by the equation", 0) != 0) return -1;
    return sheet_column(t, COLUMN_TEXT, "pareto_counted", "in the Pareto set, by counted bytes", 0);
}

static int row_make(struct sheet *t, const struct pareto *p, const struct pareto_point *point)
{
    char best[64];
    if (sheet_text(t, point->set->title) != 0 || sheet_text(t, point->corner->label) != 0 ||
        sheet_number(t, point->cost[PARETO_EQUATION]) != 0 || sheet_number(t, point->cost[PARETO_COUNTED]) != 0 ||
        sheet_number(t, point->cost[PARETO_COUNTED] / p->dense_bytes) != 0)
        return -1;
    for (int k = 0; k < N_PARETO_ERRORS; k++)
        if (sheet_estimate(t, point->error[k]) != 0) return -1;
    for (int cost = 0; cost < N_PARETO_COSTS; cost++) {
        best_print(point, cost, best, sizeof best);
        if (sheet_text(t, best) != 0) return -1;
    }
    return 0;
}

int pareto_sheet(struct sheet *t, const struct study *s, const struct pareto *p, const char *name)
{
    TRY(sheet_open(t, name), "pareto");
    snprintf(
        t->caption, sizeof t->caption,
        "Cost against error: KV bytes per step by the paper's equation 6, KV (1/b + active + 1/f), and as counted, "
        "against four errors, means over n = %d text%s with 95 %% intervals from %d texts on. In the Pareto set is "
        "what "
        "no other lane beats in both, by the means; the oracle selector, which reads everything to choose, is in "
        "none. The dense lane reads %.0f KiB per step.",
        s->n_texts, s->n_texts == 1 ? "" : "s", ESTIMATE_MIN_TEXTS, p->dense_bytes / 1024);
    TRY(columns_make(t), "pareto");
    for (int i = 0; i < p->n; i++) TRY(row_make(t, p, &p->points[i]), "pareto");
    return 0;
}
