#include "analysis/pareto.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEED = 1 };

const struct pareto_error pareto_errors[N_PARETO_ERRORS] = {
    { MEASURE_ABOVE_DENSE, 1, 0, "nll_above_dense", "NLL above dense (nat)" },
    { MEASURE_KL, 1, 0, "kl_mean", "KL from dense (nat)" },
    { MEASURE_TOP1, -1, 1, "top1_disagreement", "top-1 disagreement" },
    { MEASURE_K_DRIFT, 1, 0, "k_drift", "K drift" },
};
const char *const pareto_cost_labels[N_PARETO_COSTS] = { "the paper's equation", "counted bytes" };

static double mean_value(const struct study *s, int lane, enum measure m, int *rc)
{
    struct estimate e = { .mean = NAN };
    if (*rc == 0) *rc = study_estimate(s, lane, m, 0, &e);
    return e.mean;
}

/* A text's errors of a point, values [N_PARETO_ERRORS][n_texts]. */
static int values_make(const struct study *s, int lane, double *values)
{
    for (int k = 0; k < N_PARETO_ERRORS; k++, values += s->n_texts) {
        const struct pareto_error *error = &pareto_errors[k];
        if (study_measure(s, lane, error->measure, 0, values) != 0) return -1;
        for (int i = 0; i < s->n_texts; i++)
            values[i] = error->measure == MEASURE_ABOVE_DENSE && !study_is_of_text(s)
                            ? (double)NAN
                            : error->scale * values[i] + error->offset;
    }
    return 0;
}

static int point_make(struct pareto_point *p, const struct study *s, const struct corner_set *set,
                      const struct corner *corner, double dense_bytes, double *values)
{
    const struct lane_spec *l = &s->lanes[corner->lane];
    int rc = 0;
    *p = (struct pareto_point){ .set = set, .corner = corner, .stands = l->selector != SELECT_ORACLE };
    /* In millionths, so that rectifying and reading as much more cost exactly the same. */
    p->cost[PARETO_EQUATION] =
        dense_bytes * 1e-6 * (1e6 / l->block_size + l->active_millionths + (l->interval > 0 ? 1e6 / l->interval : 0));
    p->cost[PARETO_COUNTED] = mean_value(s, corner->lane, MEASURE_BYTES, &rc);
    if (rc == 0) rc = values_make(s, corner->lane, values);
    for (int k = 0; k < N_PARETO_ERRORS && rc == 0; k++) p->error[k] = estimate_of(values + k * s->n_texts, s->n_texts);
    return rc;
}

/* ---- the sets ---- */

/* Points of which the dearer stand behind. */
struct order {
    const struct pareto *p;
    int cost;
    int *at; /* owned [p->n] */
};

static int cost_compare(const void *a, const void *b, void *order)
{
    const struct order *o = order;
    const int i = *(const int *)a, k = *(const int *)b;
    const double x = o->p->points[i].cost[o->cost], y = o->p->points[k].cost[o->cost];
    return x < y ? -1 : x > y ? 1 : i - k;
}

/* Which points no other beats, errors: [p->n], NaN where a point has none; out [p->n]. */
static void best_mark(const struct order *o, const double *errors, bool *out)
{
    double cheaper = INFINITY; /* the least error at less cost */
    for (int i = 0, end; i < o->p->n; i = end) {
        const double cost = o->p->points[o->at[i]].cost[o->cost];
        double here = INFINITY;
        for (end = i; end < o->p->n && !(o->p->points[o->at[end]].cost[o->cost] > cost); end++)
            if (o->p->points[o->at[end]].stands && errors[o->at[end]] < here) here = errors[o->at[end]];
        for (int k = i; k < end; k++)
            out[o->at[k]] = o->p->points[o->at[k]].stands && errors[o->at[k]] <= here && here < cheaper;
        if (here < cheaper) cheaper = here;
    }
}

static double mean_of_picks(const double *values, const int *pick, int n)
{
    double sum = 0;
    int n_values = 0;
    for (int i = 0; i < n; i++) {
        if (isnan(values[pick[i]])) continue;
        sum += values[pick[i]];
        n_values++;
    }
    return n_values ? sum / n_values : NAN;
}

/* values: [p->n][N_PARETO_ERRORS][n_texts]; errors, marks: room for points, pick: for texts. */
static void set_make(struct pareto *p, const struct order *o, int error, const double *values, int n_texts,
                     double *errors, bool *marks, int *pick)
{
    for (int i = 0; i < p->n; i++) errors[i] = p->points[i].error[error].mean;
    best_mark(o, errors, marks);
    for (int i = 0; i < p->n; i++) {
        p->points[i].best[o->cost][error] = marks[i];
        p->points[i].share[o->cost][error] = n_texts < ESTIMATE_MIN_TEXTS ? (double)NAN : 0;
    }
    for (int b = 0; b < PARETO_REPLICATES && n_texts >= ESTIMATE_MIN_TEXTS; b++) {
        estimate_resample(SEED, b, n_texts, pick);
        for (int i = 0; i < p->n; i++)
            errors[i] =
                mean_of_picks(values + ((size_t)i * N_PARETO_ERRORS + (size_t)error) * (size_t)n_texts, pick, n_texts);
        best_mark(o, errors, marks);
        for (int i = 0; i < p->n; i++) p->points[i].share[o->cost][error] += marks[i] ? 1.0 / PARETO_REPLICATES : 0;
    }
}

static int sets_make(struct pareto *p, const double *values, int n_texts)
{
    struct order order = { .p = p };
    double *errors = NULL;
    bool *marks = NULL;
    int *pick = NULL;
    int rc = MEM_NEW(&order.at, p->n, "points");
    if (rc == 0) rc = MEM_NEW(&errors, p->n, "points");
    if (rc == 0) rc = MEM_NEW(&marks, p->n, "points");
    if (rc == 0) rc = MEM_NEW(&pick, n_texts, "texts");
    for (order.cost = 0; order.cost < N_PARETO_COSTS && rc == 0; order.cost++) {
        for (int i = 0; i < p->n; i++) order.at[i] = i;
        qsort_r(order.at, (size_t)p->n, sizeof *order.at, cost_compare, &order);
        for (int error = 0; error < N_PARETO_ERRORS; error++)
            set_make(p, &order, error, values, n_texts, errors, marks, pick);
    }
    mem_free(order.at);
    mem_free(errors);
    mem_free(marks);
    mem_free(pick);
    return rc;
}

static bool is_point(const struct corner_set *set, const struct corner *c)
{
    if (set->policy.dense_until > 0) return false;
    return c->role == CORNER_RECTIFIED || c->role == CORNER_NEVER || c->role == CORNER_EQUAL;
}

int pareto_open(struct pareto *p, const struct study *s, const struct corners *c)
{
    const size_t n_values = (size_t)N_PARETO_ERRORS * (size_t)s->n_texts;
    double *values = NULL;
    int n = 0, rc = 0;
    *p = (struct pareto){ .dense_bytes = mean_value(s, 0, MEASURE_BYTES, &rc) };
    for (int i = 0; i < c->n_sets; i++) n += c->sets[i].n_corners;
    if (rc == 0) rc = MEM_NEW(&p->points, n, "points");
    if (rc == 0) rc = MEM_NEW(&values, (size_t)n * n_values, "points");
    for (int i = 0; i < c->n_sets; i++)
        for (int k = 0; k < c->sets[i].n_corners && rc == 0; k++)
            if (is_point(&c->sets[i], &c->sets[i].corners[k])) {
                rc = point_make(&p->points[p->n], s, &c->sets[i], &c->sets[i].corners[k], p->dense_bytes,
                                values + (size_t)p->n * n_values);
                p->n++;
            }
    if (rc == 0) rc = sets_make(p, values, s->n_texts);
    mem_free(values);
    return rc;
}

void pareto_close(struct pareto *p)
{
    mem_free(p->points);
    *p = (struct pareto){ 0 };
}

/* ---- the table ---- */

/* "NLL (98 %), KL (71 %)": the errors in whose Pareto sets with a cost the point is, and in how many draws of texts. */
static void best_print(const struct pareto_point *p, int cost, char *text, size_t n_bytes)
{
    static const char *const names[N_PARETO_ERRORS] = { "NLL", "KL", "top-1", "drift" };
    size_t n = 0;
    text[0] = '\0';
    for (int k = 0; k < N_PARETO_ERRORS && n < n_bytes; k++)
        if (p->best[cost][k] && isnan(p->share[cost][k]))
            n += (size_t)snprintf(text + n, n_bytes - n, "%s%s", n ? ", " : "", names[k]);
        else if (p->best[cost][k])
            n += (size_t)snprintf(text + n, n_bytes - n, "%s%s (%.0f %%)", n ? ", " : "", names[k],
                                  100 * p->share[cost][k]);
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
    char best[96];
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
        "no other lane beats in both, by the means; in brackets in how many draws of texts it is. The oracle selector, "
        "which reads everything to choose, is in none. The dense lane reads %.0f KiB per step.",
        s->n_texts, s->n_texts == 1 ? "" : "s", ESTIMATE_MIN_TEXTS, p->dense_bytes / 1024);
    TRY(columns_make(t), "pareto");
    for (int i = 0; i < p->n; i++) TRY(row_make(t, p, &p->points[i]), "pareto");
    return 0;
}
