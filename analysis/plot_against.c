#include "analysis/plot_against.h"

#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

enum { N_ROWS = 3 };
static const struct row {
    enum measure measure;
    double scale;
    const char *name;
} rows_of_text[N_ROWS] = { { MEASURE_ABOVE_DENSE, 1, "NLL above dense (nat)" },
                           { MEASURE_K_ACCUM, 1, "distance of K to clean" },
                           { MEASURE_BYTES, 1.0 / (1 << 20), "KV bytes per step (MiB)" } },
  rows_of_others[N_ROWS] = { { MEASURE_KL, 1, "KL from dense (nat)" },
                             { MEASURE_K_ACCUM, 1, "distance of K to clean" },
                             { MEASURE_BYTES, 1.0 / (1 << 20), "KV bytes per step (MiB)" } };

static const int widths[AGAINST_COLUMNS + 1] = { 0, 290, 400, FIGURE_WIDTH }; /* panels of few places are narrow */

int against_place(struct against_column *column, const char *name)
{
    if (column->n == AGAINST_PLACES) return -1;
    snprintf(column->places[column->n], sizeof column->places[0], "%s", name);
    for (int i = 0; i < AGAINST_SERIES; i++) column->lanes[i][column->n] = STUDY_ABSENT;
    return column->n++;
}

/* $block of a series over the column's places, which stand at 0, 1, ..; series a little beside one another. */
static int block_write(struct figure *f, const char *block, const struct study *s, const struct against *a,
                       const struct against_column *column, int series, const struct row *row, struct plot_range *range)
{
    const size_t n = (size_t)column->n, n_texts = (size_t)s->n_texts;
    double *values = NULL, *one = NULL, x[AGAINST_PLACES];
    int rc = MEM_NEW(&values, n * n_texts, "texts");
    if (rc == 0) rc = MEM_NEW(&one, n_texts, "texts");
    for (size_t i = 0; i < n && rc == 0; i++) {
        const int lane = column->lanes[series][i];
        x[i] = (double)i + 0.05 * (series - (a->n_series - 1) / 2.0);
        if (lane != STUDY_ABSENT) rc = study_measure(s, lane, row->measure, column->first, one);
        for (size_t text = 0; text < n_texts && rc == 0; text++)
            values[text * n + i] = lane == STUDY_ABSENT ? (double)NAN : row->scale * one[text];
    }
    if (rc == 0) rc = plot_block_of(f, block, x, values, s->n_texts, column->n, true, range);
    mem_free(values);
    mem_free(one);
    return rc;
}

static void places_name(FILE *out, const struct against_column *column, bool foot)
{
    fprintf(out, "set xrange [-0.5:%g]\nset xtics nomirror out scale 0.4 (", column->n - 0.5);
    for (int i = 0; i < column->n; i++) fprintf(out, "%s\"%s\" %d", i ? ", " : "", foot ? column->places[i] : "", i);
    fputs(")\n", out);
}

static int panel_write(struct figure *f, const struct study *s, const struct against *a, const struct plot_grid *g,
                       int at, struct plot_range *range, bool *any)
{
    const int row = at / g->n_columns;
    const struct against_column *column = &a->columns[at % g->n_columns];
    const struct row *def = (study_is_of_text(s) ? rows_of_text : rows_of_others) + row;
    struct plot_panel panel = { .n_texts = s->n_texts };
    char block[32];
    for (int i = 0; i < a->n_series; i++) {
        snprintf(block, sizeof block, "b%d_%d", at, i);
        const int rc = block_write(f, block, s, a, column, i, def, range);
        if (rc < 0) return -1;
        if (rc == 0) plot_panel_add(&panel, block, a->styles[i], PLOT_BARS);
    }
    *any = *any || panel.n;
    grid_panel(g, f->body, at);
    grid_axes(g, f->body, at, column->name);
    fputs("set format x '%g'\n", f->body);
    places_name(f->body, column, grid_is_foot(g, at));
    plot_axis_use(f->body, 'y', row);
    if (row == 0) grid_title(f->body, column->title);
    if (grid_is_side(g, at)) grid_y_name(g, f->body, row, row, def->name);
    plot_panel_draw(&panel, f->body);
    return 0;
}

int against_draw(struct figure *f, const struct study *s, const struct against *a)
{
    struct plot_grid g = plot_grid_usual;
    struct plot_range range[N_ROWS] = { 0 };
    bool any = false;
    g.n_columns = a->n_columns;
    g.n_panels = a->n_columns * N_ROWS;
    g.panel_height = 100;
    g.gap_y = 10;
    f->width = widths[a->n_columns];
    for (int i = 0; i < a->n_series; i++) grid_key_add(&g, a->styles[i], GRID_BOTH, a->labels[i]);
    plot_note(&g, s);
    grid_open(&g, f);
    for (int at = 0; at < g.n_panels; at++)
        if (panel_write(f, s, a, &g, at, &range[at / g.n_columns], &any) != 0) return -1;
    if (!any) return 1;
    for (int row = 0; row < N_ROWS; row++) plot_axis(f->script.file, 'y', row, range[row], 4);
    grid_begin(&g, f);
    return 0;
}

const char *against_measures(const struct study *s)
{
    return study_is_of_text(s) ? "NLL above the dense lane, distance of the current token's K to the clean lane's, and "
                                 "counted KV bytes per step"
                               : "KL from the dense lane, distance of the current token's K to the clean lane's, and "
                                 "counted KV bytes per step";
}
