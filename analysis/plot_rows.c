/* Quantities over steps, step by step: a row of panels for each lane, a column for each set. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"

#include "core/err.h"

#include <stdio.h>

enum { MAX_COLUMNS = 3, MAX_ROWS = 9, MAX_POINTS = 512, CLOSE_STEPS = 160, MAX_QUANTITIES = 2, FIRST_STYLE = 2 };

struct rows {
    enum quantity quantities[MAX_QUANTITIES];
    const char *names[MAX_QUANTITIES]; /* in the key; NULL: no key */
    int n;
    struct plot_span span;
    const char *y_name;
};

/* A rectification stands between two steps: a line at s + 1/2. */
static void rectifications_draw(FILE *out, const struct lane_spec *l, struct plot_span span)
{
    if (l->interval < 2 || span.n_steps / l->interval > 64) return;
    for (int step = span.first; step < span.first + span.n_steps; step++)
        if (lane_rectifies_after(l, step))
            fprintf(out,
                    "set arrow from first %d.5, graph 0 to first %d.5, graph 1 nohead lw 0.5 lc rgb '#999999' dt "
                    "(2,3)\n",
                    step, step);
}

static int curves_write(struct figure *f, const struct study *s, int lane, int at, const struct rows *rows,
                        struct plot_panel *panel, struct plot_range *range)
{
    for (int i = 0; i < rows->n; i++) {
        char block[32];
        snprintf(block, sizeof block, "r%d_%d", at, i);
        const int rc =
            plot_block(f, block, s, (struct plot_source){ lane, STUDY_ABSENT, rows->quantities[i] }, rows->span, range);
        if (rc < 0) return -1;
        if (rc == 0) plot_panel_add(panel, block, FIRST_STYLE + i, 0);
    }
    return 0;
}

static int panel_write(struct figure *f, const struct plot_job *job, const struct plot_view *v,
                       const struct plot_grid *g, int at, const struct rows *rows, struct plot_range *range, bool *any)
{
    const struct study *s = job->study;
    const struct corner_set *set = &job->corners->sets[v->first_set + at % g->n_columns];
    const char *label = v->shown[at / g->n_columns]->label;
    const struct corner *c = plot_lanes_in(set, label);
    struct plot_panel panel = { .n_texts = s->n_texts };
    if (c && curves_write(f, s, c->lane, at, rows, &panel, range) != 0) return -1;
    *any = *any || panel.n;
    grid_panel(g, f->body, at);
    grid_axes(g, f->body, at, "decoding step (tokens)");
    grid_inside(f->body, label);
    if (at < g->n_columns) grid_title(f->body, set->title);
    if (at == 0) grid_y_name(g, f->body, 0, g->n_rows - 1, rows->y_name);
    if (c) rectifications_draw(f->body, &s->lanes[c->lane], rows->span);
    plot_panel_draw(&panel, f->body);
    return 0;
}

static int rows_draw(struct figure *f, const struct plot_job *job, const struct rows *rows, const char *what)
{
    struct plot_grid g = plot_grid_usual;
    struct plot_view v;
    struct plot_range range = { 0 };
    char texts[200], legend[512];
    bool any = false;
    if (!plot_view_open(&v, job->lanes, job->corners->n_sets, job->part, MAX_COLUMNS, MAX_ROWS, false)) return 1;
    g.n_columns = v.n_sets;
    g.n_panels = v.n_sets * v.n;
    g.panel_height = 56;
    g.gap_y = 10;
    for (int i = 0; i < rows->n && rows->names[i]; i++) grid_key_add(&g, FIRST_STYLE + i, GRID_LINE, rows->names[i]);
    plot_note(&g, job->study);
    grid_open(&g, f);
    for (int at = 0; at < g.n_panels; at++)
        if (panel_write(f, job, &v, &g, at, rows, &range, &any) != 0) return -1;
    if (!any) return 1;
    snprintf(f->caption, sizeof f->caption, "%s %s %s.%s", what,
             plot_words_of_texts(job->study, false, texts, sizeof texts),
             legend_print(job->study, v.shown, v.n, legend, sizeof legend),
             rows->span.n_bins < rows->span.n_steps
                 ? " Steps are averaged in bins, so that short intervals are smoothed away."
                 : "");
    plot_axis(f->script.file, 'y', 0, range, 2);
    grid_begin(&g, f);
    plot_axis_use(f->script.file, 'y', 0);
    plot_x_steps(f->script.file, rows->span.first, rows->span.first + rows->span.n_steps);
    return 0;
}

int plot_stale(struct figure *f, const struct plot_job *job)
{
    const int n = job->study->n_steps;
    const struct rows rows = { .quantities = { QUANTITY_K_STALE },
                               .n = 1,
                               .span = { 0, n, n < MAX_POINTS ? n : MAX_POINTS },
                               .y_name = "relative K drift of the stale tokens" };
    snprintf(f->title, sizeof f->title, "Drift of the stale tokens over steps");
    return rows_draw(f, job, &rows,
                     "K of the suffix tokens that sparse steps wrote and no rectification rewrote, and of "
                     "the current one, against the dense lane, just before a rectification; relative norm, mean over "
                     "layers 1 and up.");
}

int plot_sawtooth(struct figure *f, const struct plot_job *job)
{
    const int n_steps = job->study->n_steps, n = n_steps < CLOSE_STEPS ? n_steps : CLOSE_STEPS;
    const struct rows rows = { .quantities = { QUANTITY_K_CACHE, QUANTITY_K_ACCUM },
                               .names = { "K of the whole suffix, against dense", "K of the current token, to clean" },
                               .n = 2,
                               .span = { n_steps - n, n, n },
                               .y_name = "relative norm" };
    snprintf(f->title, sizeof f->title, "The saw-tooth of rectification, close up");
    return rows_draw(f, job, &rows,
                     "The last steps one by one. The cache's drift (K of all suffix tokens, "
                     "as it stands after "
                     "the step, against the dense lane) falls to the floor at each rectification (dotted); the "
                     "current token's K, against the same policy over the undisturbed cache, falls with it. Mean over "
                     "layers 1 and up.");
}
