#include "analysis/ablation.h"

#include "analysis/ablation_points.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CROSSED(a) "crossed-" a "-interval"
const char *const ablation_sheet_names[] = {
    "ablation-selector",    "ablation-sparsity", "ablation-block_size",  "ablation-local_blocks", "ablation-min_blocks",
    "ablation-dense_layers", "ablation-interval", "ablation-phase",       "ablation-dense_until",  "ablation-equal_bytes",
    "ablation-perturb",     CROSSED("selector"), CROSSED("sparsity"),    CROSSED("block_size"),   CROSSED("local_blocks"),
    CROSSED("min_blocks"),  CROSSED("dense_layers"), NULL,
};

static const enum measure shown[] = { MEASURE_ABOVE_DENSE, MEASURE_KL,       MEASURE_TOP1,  MEASURE_K_ACCUM,
                                      MEASURE_ATTN_ERR,    MEASURE_KEPT_MASS, MEASURE_BYTES };
static const enum measure compared[] = { MEASURE_ABOVE_DENSE, MEASURE_KL };
enum { N_WITH_INTERVAL = 2 }; /* of those shown, the first ones */
enum { N_SHOWN = sizeof shown / sizeof *shown, N_COMPARED = sizeof compared / sizeof *compared };

/* What the rows of one table are made with. */
struct table {
    const struct study *s;
    struct sheet_list *list;
    struct ablation_point *points; /* owned [n_points] */
    int n_points;
    enum axis axis;
    struct sheet *sheet;
    bool *begins;             /* owned [n_points]: begins_group() */
    double *values, *scratch; /* owned [n_points]: values of the axis, of the group at hand */
    int n_values;
    double *texts, *sum;      /* owned [n_texts] */
};

/* ---- groups ---- */

/* The points that begin a group: the first of its kind, with another value of the axis beside it. */
static bool begins_group(const struct table *t, int i)
{
    const struct ablation_point *p = t->points;
    bool varies = false;
    for (int k = 0; k < t->n_points; k++) {
        if (!points_alike(&p[i], &p[k], t->axis, N_AXES)) continue;
        if (k < i) return false;
        varies = varies || axis_compare(t->axis, p[i].at[t->axis], p[k].at[t->axis]) != 0;
    }
    return varies;
}

/* The value that the others are compared with: the default where it was run, else the smallest. */
static double reference_of(const struct table *t)
{
    for (int i = 0; i < t->n_values; i++)
        if (axis_compare(t->axis, t->values[i], axis_default(t->axis)) == 0) return t->values[i];
    return t->values[0];
}

/* Whether groups of this axis differ in another setting, which then is part of their names. */
static bool differs(const struct table *t, enum axis other)
{
    const struct ablation_point *p = t->points;
    int first = -1;
    for (int i = 0; i < t->n_points; i++) {
        if (!t->begins[i]) continue;
        if (first < 0) first = i;
        if (axis_compare(other, p[i].at[other], p[first].at[other]) != 0) return true;
    }
    return false;
}

/* "clean", "never", "f32, sparsity 0.9": what the lanes of a group have in common that others have not. */
static void group_print(const struct table *t, const struct ablation_point *p, char *text, size_t n_bytes)
{
    static const char *const roles[] = { [POINT_OWN] = "", [POINT_CLEAN] = "clean", [POINT_STALE] = "stale of " };
    char value[40];
    size_t n = (size_t)snprintf(text, n_bytes, "%s", roles[p->role]);
    const bool own = p->role != POINT_CLEAN;
    if (p->at[AXIS_EQUAL_BYTES] > 0 && t->axis != AXIS_EQUAL_BYTES)
        n += (size_t)snprintf(text + n, n_bytes - n, "%sequal %g", own ? "" : " of ", p->at[AXIS_EQUAL_BYTES]);
    else if (own && t->axis == AXIS_INTERVAL)
        n += (size_t)snprintf(text + n, n_bytes - n, "own cache");
    else if (own)
        n += (size_t)snprintf(text + n, n_bytes - n, p->at[AXIS_INTERVAL] > 0 ? "f%g" : "never", p->at[AXIS_INTERVAL]);
    for (int i = 0; i < N_AXES && n < n_bytes; i++) {
        if (i == (int)t->axis || i == AXIS_INTERVAL || i == AXIS_EQUAL_BYTES || !differs(t, (enum axis)i)) continue;
        n += (size_t)snprintf(text + n, n_bytes - n, ", %s %s", axis_keys[i], axis_print(value, sizeof value, (enum axis)i, p->at[i]));
    }
}

/* ---- rows ---- */

static int row_begin(const struct table *t, const char *group, double value, int n_groups)
{
    char text[40];
    if (sheet_text(t->sheet, group) != 0 || sheet_text(t->sheet, axis_print(text, sizeof text, t->axis, value)) != 0) return -1;
    return sheet_number(t->sheet, n_groups);
}

/* Adds a measure at `value` to t->sum, of the group of `like`; minus: less the group's reference. */
static int sum_add(const struct table *t, const struct ablation_point *like, enum measure m, double value, bool minus)
{
    const struct ablation_point *p = t->points;
    const struct ablation_point *x = point_at(p, t->n_points, like, t->axis, value);
    const struct ablation_point *y = point_at(p, t->n_points, like, t->axis, reference_of(t));
    const int rc = minus ? study_difference(t->s, x->lane, y->lane, m, t->texts) : study_measure(t->s, x->lane, m, t->s->lanes[x->lane].dense_until, t->texts);
    for (int i = 0; i < t->s->n_texts && rc == 0; i++) t->sum[i] += t->texts[i];
    return rc;
}

/* Whether a group counts for the mean over groups: its own cache, and every value of the axis that there is. */
static bool counts(const struct table *t, int i)
{
    const struct ablation_point *p = t->points;
    return p[i].role == POINT_OWN && t->begins[i] &&
           axis_values(p, t->n_points, &p[i], t->axis, N_AXES, t->scratch) == t->n_values;
}

/* One cell: the mean over groups (only: one alone) of a measure. */
static int cell_add(const struct table *t, const struct ablation_point *only, enum measure m, double value, bool minus, bool interval)
{
    int n = 0, rc = 0;
    memset(t->sum, 0, (size_t)t->s->n_texts * sizeof *t->sum);
    for (int i = 0; i < t->n_points && rc == 0; i++) {
        const bool takes = only ? only == &t->points[i] : counts(t, i);
        if (!takes) continue;
        rc = sum_add(t, &t->points[i], m, value, minus);
        n++;
    }
    for (int i = 0; i < t->s->n_texts && rc == 0; i++) t->sum[i] /= n;
    if (rc != 0) return rc;
    if (!interval) return sheet_number(t->sheet, mean_of(t->sum, (size_t)t->s->n_texts));
    return sheet_estimate(t->sheet, estimate_of(t->sum, t->s->n_texts));
}

static int rows_add(const struct table *t, const struct ablation_point *only, const char *group, int n_groups)
{
    const double reference = reference_of(t);
    const struct estimate none = { .mean = NAN, .low = NAN, .high = NAN };
    for (int v = 0; v < t->n_values; v++) {
        int rc = row_begin(t, group, t->values[v], n_groups);
        for (int i = 0; i < N_SHOWN && rc == 0; i++) rc = cell_add(t, only, shown[i], t->values[v], false, i < N_WITH_INTERVAL);
        const bool is_reference = axis_compare(t->axis, t->values[v], reference) == 0;
        for (int i = 0; i < N_COMPARED && rc == 0; i++)
            rc = is_reference ? sheet_estimate(t->sheet, none) : cell_add(t, only, compared[i], t->values[v], true, true);
        if (rc != 0) return -1;
    }
    return 0;
}

/* ---- one axis ---- */

static int columns_make(struct sheet *t, enum axis axis)
{
    char key[64], label[96];
    int rc = sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, axis_keys[axis], axis_keys[axis], 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_NUMBER, "groups", NULL, 0);
    for (int i = 0; i < N_SHOWN && rc == 0; i++) rc = sheet_column_measure(t, i < N_WITH_INTERVAL ? COLUMN_ESTIMATE : COLUMN_NUMBER, shown[i]);
    for (int i = 0; i < N_COMPARED && rc == 0; i++) {
        const struct measure_def *def = &measure_defs[compared[i]];
        snprintf(key, sizeof key, "%s_difference", def->key);
        snprintf(label, sizeof label, "%s, against the reference", def->label);
        rc = sheet_column(t, COLUMN_SIGNED, key, label, def->decimals);
    }
    return rc;
}

static void caption_make(const struct table *t)
{
    char reference[40];
    snprintf(t->sheet->caption, sizeof t->sheet->caption,
             "Ablation of %s: lanes that differ in it alone. Means over %d text%s and the steps that a lane has; the differences are paired by text and step, to %s "
             "where it was run, else to the smallest value. Rows called mean: over all groups of lanes with their own cache that have every value.%s",
             axis_keys[t->axis], t->s->n_texts, t->s->n_texts == 1 ? "" : "s",
             axis_print(reference, sizeof reference, t->axis, axis_default(t->axis)),
             t->axis == AXIS_DENSE_UNTIL ? " A row's own columns are over the steps from dense_until on, which are not the same in every row." : "");
}

/* The largest set of values that a group has; into t->values. */
static void values_find(struct table *t)
{
    const struct ablation_point *best = NULL;
    int most = 0;
    for (int i = 0; i < t->n_points; i++) {
        if (t->points[i].role != POINT_OWN || !t->begins[i]) continue;
        const int n = axis_values(t->points, t->n_points, &t->points[i], t->axis, N_AXES, t->values);
        if (n > most) {
            most = n;
            best = &t->points[i];
        }
    }
    t->n_values = best ? axis_values(t->points, t->n_points, best, t->axis, N_AXES, t->values) : 0;
}

static int mean_rows(struct table *t)
{
    char group[64];
    int n = 0;
    values_find(t);
    for (int i = 0; i < t->n_points && t->n_values > 0; i++) n += counts(t, i);
    if (n < 2) return 0;
    snprintf(group, sizeof group, "mean of %d groups", n);
    return rows_add(t, NULL, group, n);
}

static int axis_rows(struct table *t)
{
    char group[256];
    for (int i = 0; i < t->n_points; i++) {
        if (!t->begins[i]) continue;
        t->n_values = axis_values(t->points, t->n_points, &t->points[i], t->axis, N_AXES, t->values);
        group_print(t, &t->points[i], group, sizeof group);
        if (rows_add(t, &t->points[i], group, 1) != 0) return -1;
    }
    return 0;
}

static bool is_axis(const struct table *t)
{
    for (int i = 0; i < t->n_points; i++)
        if (t->begins[i]) return true;
    return false;
}

static int axis_sheet(struct table *t, const char *suffix)
{
    char name[96];
    if (!is_axis(t)) return 0;
    snprintf(name, sizeof name, "ablation-%s%.60s", axis_keys[t->axis], suffix);
    t->sheet = sheet_list_next(t->list);
    if (!t->sheet || sheet_open(t->sheet, name) != 0) return fail_in("tables");
    t->sheet->folded = true; /* there is a figure of it */
    caption_make(t);
    int rc = columns_make(t->sheet, t->axis);
    if (rc == 0) rc = mean_rows(t);
    return rc == 0 ? axis_rows(t) : rc;
}

/* ---- two axes ---- */

static int crossed_columns(const struct table *t, const double *columns, int n_columns)
{
    char value[40], key[64], label[96];
    int rc = sheet_column(t->sheet, COLUMN_TEXT, "measure", "measure", 0);
    if (rc == 0) rc = sheet_column(t->sheet, COLUMN_TEXT, axis_keys[t->axis], axis_keys[t->axis], 0);
    for (int i = 0; i < n_columns && rc == 0; i++) {
        axis_print(value, sizeof value, AXIS_INTERVAL, columns[i]);
        snprintf(key, sizeof key, "interval_%s", value);
        snprintf(label, sizeof label, columns[i] > 0 ? "every %s" : "%s", value);
        rc = sheet_column(t->sheet, COLUMN_ESTIMATE, key, label, 3);
    }
    return rc;
}

static int crossed_rows(const struct table *t, const struct ablation_point *like, const double *columns, int n_columns)
{
    char value[40];
    struct estimate e;
    for (int m = 0; m < N_COMPARED; m++)
        for (int v = 0; v < t->n_values; v++) {
            struct ablation_point row = *like;
            row.at[t->axis] = t->values[v];
            int rc = sheet_text(t->sheet, measure_defs[compared[m]].label);
            if (rc == 0) rc = sheet_text(t->sheet, axis_print(value, sizeof value, t->axis, t->values[v]));
            for (int i = 0; i < n_columns && rc == 0; i++) {
                const struct ablation_point *p = point_at(t->points, t->n_points, &row, AXIS_INTERVAL, columns[i]);
                e = estimate_none();
                if (p) rc = study_estimate(t->s, p->lane, compared[m], t->s->lanes[p->lane].dense_until, &e);
                if (rc == 0) rc = sheet_estimate(t->sheet, e);
            }
            if (rc != 0) return -1;
        }
    return 0;
}

/* Cells of axis x interval among lanes alike to `like`. */
static int cells_count(const struct table *t, const struct ablation_point *like)
{
    int n = 0;
    for (int i = 0; i < t->n_points; i++) n += points_alike(&t->points[i], like, t->axis, AXIS_INTERVAL);
    return n;
}

static int crossed_sheet(struct table *t, const char *suffix)
{
    const struct ablation_point *best = NULL;
    double *columns = NULL;
    char name[96];
    int n_columns = 0, most = CROSSED_MIN_CELLS - 1;
    for (int i = 0; i < t->n_points; i++)
        if (t->points[i].role == POINT_OWN && cells_count(t, &t->points[i]) > most) {
            best = &t->points[i];
            most = cells_count(t, best);
        }
    if (!best) return 0;
    TRY(MEM_NEW(&columns, t->n_points, "values"), "tables");
    n_columns = axis_values(t->points, t->n_points, best, AXIS_INTERVAL, t->axis, columns);
    t->n_values = axis_values(t->points, t->n_points, best, t->axis, AXIS_INTERVAL, t->values);
    int rc = 0;
    if (n_columns > 1 && t->n_values > 1) {
        snprintf(name, sizeof name, "crossed-%s-interval%.60s", axis_keys[t->axis], suffix);
        t->sheet = sheet_list_next(t->list);
        rc = t->sheet ? sheet_open(t->sheet, name) : -1;
        if (rc == 0) snprintf(t->sheet->caption, sizeof t->sheet->caption,
                 "%s crossed with the rectification interval, all else equal. Means over %d text%s, in brackets the 95 %% interval.",
                 axis_keys[t->axis], t->s->n_texts, t->s->n_texts == 1 ? "" : "s");
        if (rc == 0) rc = crossed_columns(t, columns, n_columns);
        if (rc == 0) rc = crossed_rows(t, best, columns, n_columns);
    }
    mem_free(columns);
    return rc;
}

int ablation_sheets(struct sheet_list *l, const struct study *s, const char *suffix)
{
    struct table t = { .s = s, .list = l };
    int rc = MEM_NEW(&t.points, s->n_lanes, "lanes");
    if (rc == 0) t.n_points = points_make(s, t.points);
    if (rc == 0) rc = MEM_NEW(&t.values, s->n_lanes, "values");
    if (rc == 0) rc = MEM_NEW(&t.scratch, s->n_lanes, "values");
    if (rc == 0) rc = MEM_NEW(&t.texts, s->n_texts, "texts");
    if (rc == 0) rc = MEM_NEW(&t.sum, s->n_texts, "texts");
    if (rc == 0) rc = MEM_NEW(&t.begins, s->n_lanes, "lanes");
    for (t.axis = 0; t.axis < N_AXES && rc == 0; t.axis++) {
        for (int i = 0; i < t.n_points; i++) t.begins[i] = begins_group(&t, i);
        rc = axis_sheet(&t, suffix);
    }
    for (t.axis = 0; t.axis < AXIS_INTERVAL && rc == 0; t.axis++) rc = crossed_sheet(&t, suffix);
    mem_free(t.points);
    mem_free(t.begins);
    mem_free(t.values);
    mem_free(t.scratch);
    mem_free(t.texts);
    mem_free(t.sum);
    return rc;
}
