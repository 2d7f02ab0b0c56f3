/* Ablations: errors and cost against a setting's value, everything else the same; a column of panels for each setting and each
 * choice of the others, a curve for each lane of a set. */
#include "analysis/plot_against.h"

#include "analysis/legend.h"
#include "analysis/plot_curve.h"

#include "core/config.h"
#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_AXIS_COLUMNS = 64, CLEAN_STYLE = 8 };

enum axis { BY_SPARSITY, BY_BLOCK, BY_LOCAL, BY_LEAST, BY_LAYERS, BY_SELECTOR, BY_UNTIL, N_AXES };
static const char *const axis_names[N_AXES] = { "sparsity",      "block size (tokens)", "local blocks",
                                                "least blocks",  "dense layers",    "selector",
                                                "dense until (step)" };

static double axis_value(const struct lane_spec *l, int axis)
{
    const double values[N_AXES] = { l->sparsity,     l->block_size,       l->local_blocks, l->min_blocks,
                                    l->dense_layers, (double)l->selector, l->dense_until };
    return values[axis];
}

/* Whether two sets differ in nothing but the axis. */
static bool same_but(const struct corner_set *a, const struct corner_set *b, int axis)
{
    for (int i = 0; i < N_AXES; i++) {
        const double x = axis_value(&a->policy, i), y = axis_value(&b->policy, i);
        if (i != axis && (x < y || x > y)) return false;
    }
    return true;
}

/* A column: the sets that differ in the axis alone, by its value. */
struct axis_column {
    int axis;
    const struct corner_set **sets; /* owned [n] */
    int n;
};

static int set_compare(const void *a, const void *b, void *axis)
{
    const struct corner_set *x = *(const struct corner_set *const *)a, *y = *(const struct corner_set *const *)b;
    const double u = axis_value(&x->policy, *(const int *)axis), v = axis_value(&y->policy, *(const int *)axis);
    return (u > v) - (u < v);
}

/* A set that is dense at first, where the same is there sparse from the first step on: it is shown over that axis alone. */
static bool is_late(const struct corners *c, int set)
{
    for (int i = 0; i < c->n_sets; i++)
        if (c->sets[i].policy.dense_until == 0 && c->sets[set].policy.dense_until > 0 &&
            same_but(&c->sets[i], &c->sets[set], BY_UNTIL))
            return true;
    return false;
}

/* The column that begins with set first, unless an earlier set does or it is alone: then n is 0. */
static int column_make(struct axis_column *column, const struct corners *c, int first, int axis)
{
    *column = (struct axis_column){ .axis = axis };
    if (axis != BY_UNTIL && is_late(c, first)) return 0;
    for (int i = 0; i < first; i++)
        if (same_but(&c->sets[i], &c->sets[first], axis)) return 0;
    TRY(MEM_NEW(&column->sets, c->n_sets, "sets"), "plot");
    for (int i = first; i < c->n_sets; i++)
        if (same_but(&c->sets[i], &c->sets[first], axis)) column->sets[column->n++] = &c->sets[i];
    qsort_r(column->sets, (size_t)column->n, sizeof(struct corner_set *), set_compare, &axis);
    if (column->n < 2) column->n = 0;
    return 0;
}

/* What the other settings are, where they too differ between sets. */
static void title_print(const struct corners *c, const struct axis_column *column, char *title, size_t n_bytes)
{
    size_t n = 0;
    title[0] = '\0';
    for (int axis = 0; axis < N_AXES; axis++) {
        bool differs = false;
        for (int i = 1; i < c->n_sets; i++)
            differs = differs || axis_value(&c->sets[i].policy, axis) < axis_value(&c->sets[0].policy, axis) ||
                      axis_value(&c->sets[i].policy, axis) > axis_value(&c->sets[0].policy, axis);
        const struct lane_spec *l = &column->sets[0]->policy;
        if (axis == column->axis || !differs || n >= n_bytes || (axis == BY_UNTIL && l->dense_until == 0)) continue;
        if (axis == BY_SELECTOR)
            n += (size_t)snprintf(title + n, n_bytes - n, "%s%s", n ? ", " : "", selector_names[l->selector]);
        else
            n += (size_t)snprintf(title + n, n_bytes - n, "%s%.*s %g", n ? ", " : "",
                                  (int)strcspn(axis_names[axis], "("), axis_names[axis], axis_value(l, axis));
    }
}

/* ---- a page ---- */

static void series_make(struct against *a, const struct plot_lanes *lanes)
{
    a->labels[0] = "clean";
    a->styles[0] = CLEAN_STYLE;
    a->n_series = 1;
    for (int i = 0; i < lanes->n && a->n_series < AGAINST_SERIES; i++) {
        a->labels[a->n_series] = lanes->corners[i]->label;
        a->styles[a->n_series++] = lanes->styles[i];
    }
}

static void column_fill(struct against *a, const struct corners *c, const struct axis_column *from)
{
    struct against_column *column = &a->columns[a->n_columns++];
    char name[16];
    *column = (struct against_column){ .name = axis_names[from->axis] };
    title_print(c, from, column->title, sizeof column->title);
    for (int i = 0; i < from->n; i++) {
        const struct lane_spec *l = &from->sets[i]->policy;
        column->first = l->dense_until > column->first ? l->dense_until : column->first;
        if (from->axis == BY_SELECTOR)
            snprintf(name, sizeof name, "%s", selector_names[l->selector]);
        else
            snprintf(name, sizeof name, "%g", axis_value(l, from->axis));
        const int place = against_place(column, name);
        for (int k = 0; k < a->n_series && place >= 0; k++) {
            const struct corner *corner = plot_lanes_in(from->sets[i], a->labels[k]);
            if (corner) column->lanes[k][place] = corner->lane;
        }
    }
}

static void caption_write(struct figure *f, const struct plot_job *job, const struct against *a)
{
    char legend[512], texts[200];
    bool late = false;
    for (int i = 0; i < a->n_columns; i++) late = late || a->columns[i].first > 0;
    snprintf(f->title, sizeof f->title, "Ablations");
    snprintf(f->caption, sizeof f->caption,
             "%s, against the setting named below, everything else the same%s. %s clean: the undisturbed cache, "
             "read sparsely (selection alone); %s.%s",
             against_measures(job->study), late ? " (against dense until: over the steps at which all are sparse)" : "",
             plot_words_of_texts(job->study, true, texts, sizeof texts),
             legend_print(job->study, job->lanes->corners, a->n_series - 1, legend, sizeof legend),
             job->lanes->n + 1 > a->n_series ? " More lanes are in the tables." : "");
}

int plot_ablation(struct figure *f, const struct plot_job *job)
{
    struct axis_column columns[MAX_AXIS_COLUMNS];
    struct against against = { 0 };
    int n = 0, first = 0, n_here = 0, rc = 0;
    for (int axis = 0; axis < N_AXES; axis++)
        for (int i = 0; i < job->corners->n_sets && n < MAX_AXIS_COLUMNS && rc == 0; i++) {
            rc = column_make(&columns[n], job->corners, i, axis);
            if (columns[n].n == 0)
                mem_free(columns[n].sets);
            else
                n++;
        }
    if (rc == 0) rc = plot_part(n, AGAINST_COLUMNS, job->part, &first, &n_here) ? 0 : 1;
    if (rc == 0) series_make(&against, job->lanes);
    for (int i = 0; i < n_here && rc == 0; i++) column_fill(&against, job->corners, &columns[first + i]);
    for (int i = 0; i < n; i++) mem_free(columns[i].sets);
    if (rc == 0) rc = against_draw(f, job->study, &against);
    if (rc == 0) caption_write(f, job, &against);
    return rc;
}
