/* Drift by layer and step, by layer and stale tokens: heat maps, a row for each lane that is shown. */
#include "analysis/plots.h"

#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_COLUMNS = 3, MAX_ROWS = 4, NEAR = 32, BOX_HEIGHT = 6, BOX_FOOT = 20 };

/* A figure of three columns over one axis. */
struct kind {
    struct column {
        enum study_map map;
        const char *title;
    } columns[N_COLUMNS];
    int n_columns;
    bool stale; /* over stale tokens and of one lane of each set, else over steps and of a rectified one too */
};

/* One lane, all columns. */
struct row {
    const struct corner_set *set;
    const struct corner *corner; /* NULL: the set has none */
};

/* The lane that is never rectified, or the one whose interval is nearest 32; NULL: there is none. */
static const struct corner *corner_find(const struct corner_set *set, const struct study *s, bool rectified)
{
    const struct corner *best = NULL;
    int least = 0;
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *c = &set->corners[i];
        if (c->role != (rectified ? CORNER_RECTIFIED : CORNER_NEVER)) continue;
        const int off = abs(s->lanes[c->lane].interval - NEAR);
        if (!best || off < least) {
            best = c;
            least = off;
        }
    }
    return best;
}

/* A set's rows: never rectified and, where both are shown, rectified; without either any lane with its own cache. */
static int set_rows(const struct corner_set *set, const struct study *s, bool both, struct row *rows)
{
    const struct corner *never = corner_find(set, s, false), *rectified = corner_find(set, s, true), *any = NULL;
    int n = 0;
    for (int i = 0; i < set->n_corners && !any; i++)
        if (set->corners[i].role == CORNER_EQUAL) any = &set->corners[i];
    if (never) rows[n++] = (struct row){ set, never };
    if (rectified && (both || !never)) rows[n++] = (struct row){ set, rectified };
    if (n == 0) rows[n++] = (struct row){ set, any };
    return n;
}

/* All rows, rows [2 * n_sets]. */
static int rows_find(const struct corners *c, const struct study *s, const struct kind *kind, struct row *rows)
{
    int n = 0;
    for (int i = 0; i < c->n_sets; i++) n += set_rows(&c->sets[i], s, !kind->stale, rows + n);
    return n;
}

static int bins_of(const struct kind *kind, const struct study *s)
{
    return kind->stale ? STUDY_STALE_BINS : s->n_bins;
}

/* Bins of stale tokens that a study can have. */
static int stale_bins_of(const struct study *s)
{
    return study_stale_bin(s->n_steps - 1) + 1;
}

/* The block $name, [layer 1 ..][bin]; *max is raised.  1: no values. */
static int map_write(struct figure *f, const char *name, const struct study *s, const struct kind *kind,
                     enum study_map map, int lane, double *max)
{
    const size_t n_bins = (size_t)bins_of(kind, s), n = (size_t)s->n_layers * n_bins,
                 n_shown = kind->stale ? (size_t)stale_bins_of(s) : n_bins;
    double *x = NULL;
    TRY(MEM_NEW(&x, n, "heat map"), "plot");
    const bool any =
        s->n_layers > 1 && (kind->stale ? study_stale_map(s, map, STUDY_ABSENT, lane, x) : study_map(s, map, lane, x));
    if (any) figure_data(f, name);
    for (size_t i = n_bins; i < n && any; i++) {
        if (i % n_bins >= n_shown) continue;
        if (isnan(x[i]))
            fputs("NaN", f->script.file);
        else
            fprintf(f->script.file, "%.4g", x[i]);
        if (x[i] > *max) *max = x[i];
        fputc(i % n_bins + 1 < n_shown ? ' ' : '\n', f->script.file);
    }
    if (any) figure_data_end(f);
    mem_free(x);
    return any ? 0 : 1;
}

/* Bins stand side by side: each power of two or four is named at its own. */
static void stale_ticks(FILE *out, const struct study *s, bool foot)
{
    fputs("set format x '%g'\nset xtics nomirror out scale 0.4 (", out);
    fprintf(out, "\"%s\" 0", foot ? "0" : "");
    for (int tokens = 1; tokens<s->n_steps; tokens *= s->n_steps> 64 ? 4 : 2) {
        const int bin = study_stale_bin(tokens);
        if (foot)
            fprintf(out, ", \"%d\" %d", study_stale_bin_first(bin), bin);
        else
            fprintf(out, ", \"\" %d", bin);
    }
    fputs(")\n", out);
}

/* *max is the column's; *any: whether a map was there. */
static int panel_write(struct figure *f, const struct plot_job *job, const struct kind *kind,
                       const struct row *row, const struct plot_grid *g, int at, double *max, bool *any)
{
    const struct study *s = job->study;
    const int column = at % kind->n_columns;
    const struct corner *c = row->corner;
    char block[32], title[256];
    snprintf(block, sizeof block, "m%d", at);
    const int rc = c ? map_write(f, block, s, kind, kind->columns[column].map, c->lane, max) : 1;
    if (rc < 0) return -1;
    *any = *any || rc == 0;
    grid_panel(g, f->body, at);
    grid_axes(g, f->body, at, kind->stale ? "stale tokens" : "decoding step (tokens)");
    if (kind->stale) stale_ticks(f->body, s, grid_is_foot(g, at));
    snprintf(title, sizeof title, "%s%s%s", row->set->title, c ? ", " : "", c ? c->label : "");
    grid_title(f->body, title);
    if (at < kind->n_columns)
        fprintf(f->body, "set label 4 '%s' at graph 0.5, graph 1 center offset 0,1.9\n", kind->columns[column].title);
    if (column == 0) grid_y_name(g, f->body, at / kind->n_columns, at / kind->n_columns, "layer");
    if (at == column) grid_colour_box(g, f->body, column, BOX_FOOT, BOX_HEIGHT);
    fprintf(f->body, "set cbrange [0:c%d_high]\nset cbtics c%d_tick\n", column, column);
    if (rc == 0)
        fprintf(f->body, "plot $%s matrix using (($1+0.5)*%g-0.5):($2+1):3 with image\n", block,
                kind->stale ? 1.0 : (double)s->n_steps / s->n_bins);
    else
        fputs("set label 3 'no values' at graph 0.5, graph 0.5 center\nplot NaN\n", f->body);
    if (at == column) fputs("unset colorbox\n", f->body); /* one for the column, at its foot */
    return 0;
}

/* Whether a run has the column's variable: a metric group may be off. */
static bool column_is_there(const struct study *s, const struct kind *kind, enum study_map map)
{
    if (!kind->stale) return s->steps[map].sum != NULL;
    for (int run = 0; run < s->n_runs; run++)
        if (s->runs[run].grids[AXIS_STALE][map].sum) return true;
    return false;
}

static struct kind kind_there(const struct study *s, const struct kind *all)
{
    struct kind kind = { .stale = all->stale };
    for (int i = 0; i < all->n_columns; i++)
        if (column_is_there(s, all, all->columns[i].map)) kind.columns[kind.n_columns++] = all->columns[i];
    return kind;
}

static int rows_draw(struct figure *f, const struct plot_job *job, const struct kind *kind, const struct row *rows, int n_rows)
{
    struct plot_grid g = plot_grid_usual;
    const struct study *s = job->study;
    double max[N_COLUMNS] = { 0 };
    bool any = false;
    g.n_columns = kind->n_columns;
    g.n_panels = kind->n_columns * n_rows;
    f->width = FIGURE_WIDTH * (kind->n_columns + 1) / (N_COLUMNS + 1);
    g.left = 34;
    g.top = 30;
    g.bottom = 62;
    g.panel_height = 96;
    plot_note(&g, job->study);
    grid_open(&g, f);
    for (int at = 0; at < g.n_panels; at++)
        if (panel_write(f, job, kind, &rows[at / kind->n_columns], &g, at, &max[at % kind->n_columns], &any) != 0)
            return -1;
    if (!any) return 1;
    for (int i = 0; i < kind->n_columns; i++)
        fprintf(f->script.file, "c%d_high = %g; c%d_tick = %g\n", i, plot_ceil(max[i]), i,
                plot_tick(plot_ceil(max[i]), 3));
    grid_begin(&g, f);
    fprintf(f->script.file,
            "set border 15 lw 0.5\nset cbtics scale 0.3 offset 0,0.5\nset xrange [-0.5:%g]\nset yrange [0.5:%g]\n"
            "set xtics nomirror out %g\nset ytics nomirror out %d\n",
            (kind->stale ? stale_bins_of(s) : s->n_steps) - 0.5, s->n_layers - 0.5, plot_tick(s->n_steps, 4),
            (s->n_layers + 5) / 6);
    return 0;
}

static int maps_draw(struct figure *f, const struct plot_job *job, const struct kind *all)
{
    const struct kind kind = kind_there(job->study, all);
    struct row *rows = NULL;
    int first, n, rc = 1;
    TRY(MEM_NEW(&rows, 2 * job->corners->n_sets, "rows"), "plot %s", f->name);
    const int n_rows = rows_find(job->corners, job->study, &kind, rows);
    if (kind.n_columns > 0 && plot_part(n_rows, MAX_ROWS, job->part, &first, &n))
        rc = rows_draw(f, job, &kind, rows + first, n);
    mem_free(rows);
    return rc;
}

int plot_depth(struct figure *f, const struct plot_job *job)
{
    static const struct kind kind = { { { MAP_K_DRIFT, "drift of K" },
                                        { MAP_V_DRIFT, "drift of V" },
                                        { MAP_K_ACCUM, "distance of K to clean" } },
                                      N_COLUMNS,
                                      false };
    const struct study *s = job->study;
    snprintf(f->title, sizeof f->title, "Drift by layer and step");
    snprintf(
        f->caption, sizeof f->caption,
        "Where the drift sits: layers 1 and up against steps, mean over the runs of n = %d text%s%s. Drift of K and "
        "V: the current token's, as first written, against the dense lane, relative norm; distance of K to clean: "
        "against the same policy over the undisturbed cache, over the dense lane's norm. A row is one lane, named above "
        "its panels: never rectified, and rectified at the interval nearest 32; a column shares its scale.",
        s->n_texts, s->n_texts == 1 ? "" : "s", s->n_steps > s->n_bins ? ", in bins of steps" : "");
    return maps_draw(f, job, &kind);
}

int plot_stale_depth(struct figure *f, const struct plot_job *job)
{
    static const struct kind kind = { { { MAP_K_ACCUM, "distance of K to clean" },
                                        { MAP_ATTN_ACCUM, "attention, to clean" },
                                        { MAP_STALE_MASS, "attention on stale tokens" } },
                                      N_COLUMNS,
                                      true };
    const struct study *s = job->study;
    snprintf(f->title, sizeof f->title, "Accumulation by layer and stale tokens");
    snprintf(
        f->caption, sizeof f->caption,
        "Where the accumulation sits: layers 1 and up against the number of stale tokens, mean over n = %d text%s. "
        "Distance of the current token's K, and of its attention output, to the same policy's over the undisturbed "
        "cache, over the dense lane's norm; share of the full softmax mass on stale tokens. The lane is named above "
        "each panel; a column shares its scale.",
        s->n_texts, s->n_texts == 1 ? "" : "s");
    return maps_draw(f, job, &kind);
}
