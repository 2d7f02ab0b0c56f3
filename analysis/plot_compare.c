#include "analysis/plot_compare.h"

#include "analysis/pareto.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"
#include "analysis/plot_lanes.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_COLUMNS = 3, MAX_SERIES = 7, MAX_ROWS = 32, ROW_HEIGHT = 13, MAX_LETTERS = 48 };

/* A study of one of the results. */
struct series {
    const struct study *study;
    char name[128];
};

struct compare {
    struct series series[MAX_SERIES];
    int n_series, n_left;
    const char **lanes; /* owned [n_lanes], borrowed names in the order in which they first come */
    int n_lanes;
};

/* A lane that decodes sparsely, or reads what one left. */
static bool is_shown(const struct lane_spec *l)
{
    return l->selector != SELECT_DENSE && (l->sparsity > 0 || lane_is_probe(l));
}

static int lane_of(const struct study *s, const char *name)
{
    for (int i = 0; i < s->n_lanes; i++)
        if (strcmp(s->lanes[i].name, name) == 0) return i;
    return STUDY_ABSENT;
}

static bool name_is_there(const struct compare *c, const char *name)
{
    for (int i = 0; i < c->n_lanes; i++)
        if (strcmp(c->lanes[i], name) == 0) return true;
    return false;
}

static int lanes_add(struct compare *c, const struct study *s)
{
    TRY(mem_grow((void **)&c->lanes, (size_t)c->n_lanes, (size_t)(c->n_lanes + s->n_lanes), sizeof *c->lanes, "lanes"),
        "compare");
    for (int i = 0; i < s->n_lanes; i++)
        if (is_shown(&s->lanes[i]) && !name_is_there(c, s->lanes[i].name)) c->lanes[c->n_lanes++] = s->lanes[i].name;
    return 0;
}

/* The results' label, with its number where it is there twice, and the study's key where there are several. */
static void name_make(struct series *series, const struct evidence *all, int i, int study)
{
    char number[16] = "";
    int same = 0;
    for (int k = 0; k < i; k++) same += strcmp(all[k].label, all[i].label) == 0;
    if (same) snprintf(number, sizeof number, " (%d)", same + 1);
    snprintf(series->name, sizeof series->name, "%.60s%s%s%s", all[i].label, number, all[i].n_studies > 1 ? ", " : "",
             all[i].n_studies > 1 ? all[i].studies[study].key : "");
}

static int compare_open(struct compare *c, const struct evidence *all, int n)
{
    *c = (struct compare){ 0 };
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_studies; k++) {
            const struct study *s = &all[i].studies[k];
            c->n_left += c->n_series == MAX_SERIES;
            if (c->n_series == MAX_SERIES) continue;
            struct series *series = &c->series[c->n_series++];
            series->study = s;
            name_make(series, all, i, k);
            if (lanes_add(c, s) != 0) return -1;
        }
    return 0;
}

/* $rS_C of a series in a column: a lane's place, mean, low, high.  0, 1: no lane has a value, -1. */
static int block_write(struct figure *f, const struct compare *c, int series, int column, int first, int n,
                       struct plot_range *range)
{
    const struct study *s = c->series[series].study;
    const struct pareto_error *error = &pareto_errors[column];
    double *values = NULL;
    int n_there = 0, rc = 0;
    TRY(MEM_NEW(&values, s->n_texts, "texts"), "compare");
    for (int i = 0; i < n && rc == 0; i++) {
        const int lane = lane_of(s, c->lanes[first + i]);
        if (lane == STUDY_ABSENT || (error->measure == MEASURE_ABOVE_DENSE && !study_is_of_text(s))) continue;
        rc = study_measure(s, lane, error->measure, 0, values);
        for (int k = 0; k < s->n_texts; k++) values[k] = error->offset + error->scale * values[k];
        const struct estimate e = rc == 0 ? estimate_of(values, s->n_texts) : estimate_none();
        if (e.n == 0) continue;
        if (n_there++ == 0) fprintf(f->script.file, "$r%d_%d << EOD\n", series, column);
        plot_point(f->script.file, -i - 0.7 * ((series + 0.5) / c->n_series - 0.5), e, range);
    }
    if (n_there) fputs("EOD\n", f->script.file);
    mem_free(values);
    return rc != 0 ? -1 : n_there == 0;
}

static void lanes_name(FILE *out, const struct compare *c, int first, int n, bool side)
{
    fprintf(out, "set yrange [%g:0.5]\nset ytics nomirror scale 0 noenhanced (", 0.5 - n);
    for (int i = 0; i < n; i++) {
        fprintf(out, "%s\"", i ? ", " : "");
        if (side) output_plot(out, c->lanes[first + i]);
        fprintf(out, "\" %d", -i);
    }
    fputs(")\n", out);
}

static int panel_write(struct figure *f, const struct compare *c, const struct plot_grid *g, int column, int first,
                       int n, bool *any)
{
    FILE *out = f->body;
    struct plot_range range = { 0 };
    const char *comma = "plot ";
    bool there[MAX_SERIES] = { false };
    for (int i = 0; i < c->n_series; i++) {
        const int rc = block_write(f, c, i, column, first, n, &range);
        if (rc < 0) return -1;
        there[i] = rc == 0;
    }
    plot_axis(f->script.file, 'x', column, range, 3);
    grid_panel(g, out, column);
    plot_axis_use(out, 'x', column);
    grid_x_name(g, out, column, pareto_errors[column].label);
    lanes_name(out, c, first, n, column == 0);
    for (int i = 1; i < n; i += 2) /* every second row shaded, so that the eye keeps its line */
        fprintf(
            out,
            "set object %d rectangle from graph 0, first %g to graph 1, first %g fc rgb '#f2f2f2' fs noborder behind\n",
            i, -i - 0.5, -i + 0.5);
    for (int i = 0; i < c->n_series; i++) {
        if (!there[i]) continue;
        fprintf(out,
                "%s$r%d_%d using 3:1:($4-$3):(0) with vectors nohead ls %d dt 1 lw 1.4, $r%d_%d using 2:1 with points "
                "ls %d",
                comma, i, column, i + 2, i, column, i + 2);
        comma = ", \\\n  ";
        *any = true;
    }
    fputs(comma[0] == 'p' ? "set label 3 'no values' at graph 0.5, graph 0.5 center\nplot NaN\n" : "\n", out);
    return 0;
}

static void note_make(struct plot_grid *g, const struct compare *c)
{
    size_t n = (size_t)snprintf(g->note, sizeof g->note, "texts (the unit of sampling), n =");
    for (int i = 0; i < c->n_series && n < sizeof g->note; i++)
        n += (size_t)snprintf(g->note + n, sizeof g->note - n, "%s %d", i ? "," : "", c->series[i].study->n_texts);
}

static int page_draw(struct figure *f, const struct compare *c, int first, int n)
{
    struct plot_grid g = plot_grid_usual;
    size_t n_letters = 0;
    bool any = false;
    for (int i = 0; i < n; i++)
        n_letters = strlen(c->lanes[first + i]) > n_letters ? strlen(c->lanes[first + i]) : n_letters;
    g.n_columns = g.n_panels = N_COLUMNS;
    g.left = 14 + (int)(n_letters > MAX_LETTERS ? MAX_LETTERS : n_letters) * FIGURE_FONT * 55 / 100;
    g.gap_x = 20;
    g.panel_height = n * ROW_HEIGHT;
    for (int i = 0; i < c->n_series; i++) grid_key_add(&g, i + 2, GRID_POINT, c->series[i].name);
    note_make(&g, c);
    grid_open(&g, f);
    for (int column = 0; column < N_COLUMNS; column++)
        if (panel_write(f, c, &g, column, first, n, &any) != 0) return -1;
    if (!any) return 1;
    grid_begin(&g, f);
    return 0;
}

int plot_compare(struct figure *f, const struct evidence *all, int n, int part)
{
    struct compare c;
    int first = 0, n_here = 0, rc = compare_open(&c, all, n);
    if (rc == 0 && c.n_lanes == 0) rc = 1;
    if (rc == 0 && !plot_part(c.n_lanes, MAX_ROWS, part, &first, &n_here)) rc = 1;
    if (rc == 0) rc = page_draw(f, &c, first, n_here);
    snprintf(f->title, sizeof f->title, "Lanes of one name, side by side");
    snprintf(f->caption, sizeof f->caption,
             "Lanes of one name in each of the results: what they err from the dense lane (0), means over each one's "
             "own texts "
             "with 95 %% intervals from %d texts on. Nothing is paired across results.%s",
             ESTIMATE_MIN_TEXTS, c.n_left ? " Some results have no room here: see the table." : "");
    mem_free(c.lanes);
    return rc;
}
