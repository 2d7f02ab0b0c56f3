/* Cost against error: a column of panels for each way to count bytes, a row for each error.  A curve joins the lanes of one label
 * over the sets; where there are more labels than styles, those of one role in a set over their intervals. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/pareto.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"
#include "analysis/plot_names.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALL = -1, N_TICKS = 4 };
static const double MIB = 1 << 20;

static int cost_compare(const void *a, const void *b, void *cost)
{
    const struct pareto_point *x = *(const struct pareto_point *const *)a, *y = *(const struct pareto_point *const *)b;
    const double u = x->cost[*(const int *)cost], v = y->cost[*(const int *)cost];
    return u < v ? -1 : u > v ? 1 : (x > y) - (x < y);
}

/* Curves of a figure: how many, and the style of each. */
static const enum corner_role roles[] = { CORNER_RECTIFIED, CORNER_NEVER, CORNER_EQUAL };
static const int role_styles[] = { 2, 1, 5 };
static const char *const role_names[] = { "rectified", "never", "equal bytes" };
enum { N_ROLES = sizeof roles / sizeof roles[0] };

static bool by_role(const struct plot_job *job)
{
    return job->lanes->n > FIGURE_STYLES;
}

static int curves_count(const struct plot_job *job)
{
    return by_role(job) ? N_ROLES * job->corners->n_sets : job->lanes->n;
}

static int curve_style(const struct plot_job *job, int curve)
{
    return by_role(job) ? role_styles[curve % N_ROLES] : job->lanes->styles[curve];
}

static bool curve_has(const struct plot_job *job, int curve, const struct pareto_point *point)
{
    if (!by_role(job)) return strcmp(point->corner->label, job->lanes->corners[curve]->label) == 0;
    return point->corner->role == roles[curve % N_ROLES] &&
           strcmp(point->set->key, job->corners->sets[curve / N_ROLES].key) == 0;
}

/* The points of a curve, or ALL, from the cheapest on, at list [pareto->n]; how many. */
static int points_of(const struct plot_job *job, int curve, int cost, int error, const struct pareto_point **list)
{
    int n = 0;
    for (int i = 0; i < job->pareto->n; i++) {
        const struct pareto_point *point = &job->pareto->points[i];
        if ((curve == ALL || curve_has(job, curve, point)) && point->error[error].n > 0 && !isnan(point->cost[cost]))
            list[n++] = point;
    }
    qsort_r(list, (size_t)n, sizeof *list, cost_compare, &cost);
    return n;
}

/* A set's title is for the eye here: "sparsity 0.9, block 32" -> "0.9, block 32". */
static const char *set_name(const struct corner_set *set)
{
    static const char word[] = "sparsity ";
    return strncmp(set->title, word, sizeof word - 1) == 0 ? set->title + sizeof word - 1 : set->title;
}

enum { MAX_NAMES = 64 };

static void point_name(const struct plot_job *job, const struct pareto_point *p, char *text, size_t n_bytes)
{
    const bool all = by_role(job), sets = job->corners->n_sets > 1;
    snprintf(text, n_bytes, "%s%s%s", sets ? set_name(p->set) : "", sets && all ? " " : "", all ? p->corner->label : "");
}

/* The stair $fN of a panel's Pareto set from the cheapest on. */
static void front_write(struct figure *f, int at, const struct pareto_point *const *list, int n, int cost, int error)
{
    char block[32];
    snprintf(block, sizeof block, "f%d", at);
    figure_data(f, block);
    for (int i = 0; i < n; i++)
        if (list[i]->best[cost][error])
            fprintf(f->script.file, "%.6g %.5g\n", list[i]->cost[cost] / MIB, list[i]->error[error].mean);
    figure_data_end(f);
}

static bool set_is_named(const struct corner_set *const *named, int n, const struct corner_set *set)
{
    for (int i = 0; i < n; i++)
        if (named[i] == set) return true;
    return false;
}

/* $nN: x, y, a name: of each set at the first point of the Pareto set that has room for it, or, where curves are of roles, of
 * every such point.  taken: [n + MAX_NAMES]. */
static void names_write(struct figure *f, const struct plot_job *job, int at, const struct pareto_point *const *list,
                        int n, int cost, int error, const struct name_canvas *c, struct name_box *taken)
{
    const struct corner_set *named[MAX_NAMES];
    char block[32], name[256];
    double x, y;
    int n_taken = n;
    FILE *out = f->script.file;
    for (int i = 0; i < n; i++) taken[i] = name_ring(c, list[i]->cost[cost] / MIB, list[i]->error[error].mean);
    snprintf(block, sizeof block, "n%d", at);
    figure_data(f, block);
    for (int i = 0; i < n && n_taken < n + MAX_NAMES; i++) {
        if (!list[i]->best[cost][error] || (!by_role(job) && set_is_named(named, n_taken - n, list[i]->set)))
            continue;
        point_name(job, list[i], name, sizeof name);
        if (!name[0] || !name_place(c, &taken[i], strlen(name), taken, n_taken, &taken[n_taken])) continue;
        named[n_taken - n] = list[i]->set;
        name_middle(c, &taken[n_taken++], &x, &y);
        fprintf(out, "%.6g %.5g \"", x, y);
        output_plot(out, name);
        fputs("\"\n", out);
    }
    figure_data_end(f);
}

/* The stair lies under everything; then bars, thin lines and points of each label; rings and names on top. */
static void panel_draw(FILE *out, int at, const struct plot_job *job, const bool *there)
{
    fprintf(out, "plot $f%d using 1:2 with steps lw 3 lc rgb '#d8d8d8'", at);
    for (int i = 0; i < curves_count(job); i++)
        if (there[i])
            fprintf(out,
                    ", \\\n  $e%d_%d using 1:3:(0):($4-$3) with vectors nohead ls %d dt 1 lw 1, $e%d_%d using 1:2 with "
                    "linespoints ls %d lw 0.6",
                    at, i, curve_style(job, i), at, i, curve_style(job, i));
    fprintf(out,
            ", \\\n  $f%d using 1:2 with points pt 6 ps 1.1 lw 0.8 lc rgb '#000000', $n%d using 1:2:3 with labels center "
            "font ',%d' noenhanced\n",
            at, at, FIGURE_FONT - 1);
}

/* How far the points of all panels reach: x [N_PARETO_COSTS alike], in MiB, y [N_PARETO_ERRORS].  list: room for all points. */
static void ranges_find(const struct plot_job *job, const struct pareto_point **list, struct plot_range *x,
                        struct plot_range *y)
{
    for (int at = 0; at < N_PARETO_COSTS * N_PARETO_ERRORS; at++) {
        const int cost = at % N_PARETO_COSTS, error = at / N_PARETO_COSTS, n = points_of(job, ALL, cost, error, list);
        for (int i = 0; i < n; i++) {
            const struct estimate *e = &list[i]->error[error];
            const double values[] = { e->mean, e->low, e->high };
            for (int k = 0; k < 3; k++) {
                if (values[k] < y[error].min) y[error].min = values[k];
                if (values[k] > y[error].max) y[error].max = values[k];
            }
            x->min = fmin(x->min, list[i]->cost[cost] / MIB);
            x->max = fmax(x->max, list[i]->cost[cost] / MIB);
        }
    }
}

static int curves_write(struct figure *f, const struct plot_job *job, int at, const struct pareto_point **list, bool *there)
{
    const int cost = at % N_PARETO_COSTS, error = at / N_PARETO_COSTS;
    char block[32];
    int n_all = 0;
    for (int i = 0; i < curves_count(job); i++) {
        struct plot_range unused = { 0 };
        const int n = points_of(job, i, cost, error, list);
        there[i] = n > 0;
        n_all += n;
        snprintf(block, sizeof block, "e%d_%d", at, i);
        if (n) figure_data(f, block);
        for (int k = 0; k < n; k++)
            plot_point(f->script.file, list[k]->cost[cost] / MIB, list[k]->error[error], &unused);
        if (n) figure_data_end(f);
    }
    return n_all;
}

/* list, there, taken: room for all points and lanes, and names.  x: the axis' ends, y: what the row's points reach. */
static int panel_write(struct figure *f, const struct plot_job *job, const struct plot_grid *g, int at,
                       const struct pareto_point **list, bool *there, struct name_box *taken, struct plot_range x,
                       struct plot_range y)
{
    const int cost = at % N_PARETO_COSTS, error = at / N_PARETO_COSTS;
    char title[96];
    curves_write(f, job, at, list, there);
    const int n = points_of(job, ALL, cost, error, list);
    const struct name_canvas canvas = { grid_panel_width(g), g->panel_height, x, plot_axis_ends(y, N_TICKS) };
    if (n) front_write(f, at, list, n, cost, error);
    if (n) names_write(f, job, at, list, n, cost, error, &canvas, taken);
    grid_panel(g, f->body, at);
    snprintf(title, sizeof title, "KV bytes per step (MiB), %s", pareto_cost_labels[cost]);
    grid_axes(g, f->body, at, title);
    plot_axis_use(f->body, 'y', error);
    if (grid_is_side(g, at)) grid_y_name(g, f->body, error, error, pareto_errors[error].label);
    if (n)
        panel_draw(f->body, at, job, there);
    else
        fputs("set label 3 'no values' at graph 0.5, graph 0.5 center\nplot NaN\n", f->body);
    return n;
}

static void caption_write(struct figure *f, const struct study *s, const struct plot_job *job)
{
    char legend[512], texts[96];
    if (s->n_texts >= ESTIMATE_MIN_TEXTS)
        snprintf(texts, sizeof texts, "Means over n = %d texts, bars: 95 %% intervals over texts", s->n_texts);
    else
        snprintf(texts, sizeof texts, "Means over n = %d text%s, too few for intervals", s->n_texts,
                 s->n_texts == 1 ? "" : "s");
    snprintf(f->title, sizeof f->title, "Cost against error");
    snprintf(
        f->caption, sizeof f->caption,
        "KV bytes per step by the paper's equation, KV (1/b + active + 1/f) with KV = %.3g MiB, "
        "what "
        "the dense lane reads, and as counted, against what a lane errs from the dense one, which is at 0 in every "
        "row. %s. A thin line joins the sets; the grey stair and the rings are the Pareto set, by the means, with "
        "each set's sparsity beside one of its points. %s.",
        job->pareto->dense_bytes / MIB, texts,
        legend_print(s, job->lanes->corners, job->lanes->n, legend, sizeof legend));
}

/* Room at the left for the names of the cheapest. */
static struct plot_range x_ends(struct plot_range x)
{
    const double span = fmax(x.max - x.min, 0.02 * x.max);
    return (struct plot_range){ x.min - 0.14 * span, x.max + 0.05 * span };
}

static int panels_write(struct figure *f, const struct plot_job *job, const struct plot_grid *g)
{
    const struct pareto_point **list = NULL;
    struct plot_range x = { INFINITY, 0 }, y[N_PARETO_ERRORS] = { 0 };
    struct name_box *taken = NULL;
    bool *there = NULL;
    int n = 0, rc = MEM_NEW(&list, job->pareto->n, "points");
    if (rc == 0) rc = MEM_NEW(&there, curves_count(job), "curves");
    if (rc == 0) rc = MEM_NEW(&taken, job->pareto->n + MAX_NAMES, "names");
    if (rc == 0) ranges_find(job, list, &x, y);
    const struct plot_range ends = x_ends(x);
    for (int at = 0; at < g->n_panels && rc == 0; at++)
        n += panel_write(f, job, g, at, list, there, taken, ends, y[at / N_PARETO_COSTS]);
    mem_free(list);
    mem_free(there);
    mem_free(taken);
    if (rc != 0 || n == 0) return rc != 0 ? -1 : 1;
    for (int i = 0; i < N_PARETO_ERRORS; i++) plot_axis(f->script.file, 'y', i, y[i], N_TICKS);
    grid_begin(g, f);
    fprintf(f->script.file, "set xrange [%.4g:%.4g]\nset xtics nomirror out %g\n", ends.min, ends.max,
            plot_tick(x.max - x.min, 4));
    return 0;
}

int plot_pareto(struct figure *f, const struct plot_job *job)
{
    struct plot_grid g = plot_grid_usual;
    if (job->part > 0 || !(job->pareto->dense_bytes > 0)) return 1;
    g.n_columns = N_PARETO_COSTS;
    g.n_panels = N_PARETO_COSTS * N_PARETO_ERRORS;
    g.gap_y = 12;
    g.panel_height = 100;
    for (int i = 0; i < job->lanes->n && !by_role(job); i++)
        grid_key_add(&g, job->lanes->styles[i], GRID_BOTH, job->lanes->corners[i]->label);
    for (int i = 0; i < N_ROLES && by_role(job); i++) grid_key_add(&g, role_styles[i], GRID_BOTH, role_names[i]);
    plot_note(&g, job->study);
    grid_open(&g, f);
    caption_write(f, job->study, job);
    return panels_write(f, job, &g);
}
