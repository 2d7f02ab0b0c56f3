/* Accumulated error over steps: distance to the clean lane, and what it costs in NLL or KL above the clean lane; a panel for
 * each set, a curve for each lane. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

enum { MAX_COLUMNS = 3, MAX_CURVES = 6, MAX_POINTS = 16, N_ROWS = 2 };

/* The quantity of a row, above the clean lane; K's distance already is one to it. */
static struct plot_source source_of(const struct study *s, int row, int lane)
{
    if (row == 0) return (struct plot_source){ lane, STUDY_ABSENT, QUANTITY_K_ACCUM };
    return (struct plot_source){ lane, s->lanes[lane].clean, study_is_of_text(s) ? QUANTITY_NLL : QUANTITY_KL };
}

static const char *row_name(const struct study *s, int row)
{
    if (row == 0) return "distance of K to clean (1)";
    return study_is_of_text(s) ? "NLL above clean (nat)" : "KL above clean (nat)";
}

static struct plot_span span_of(const struct study *s)
{
    return (struct plot_span){ 0, s->n_steps, s->n_steps < MAX_POINTS ? s->n_steps : MAX_POINTS };
}

/* *any: whether a curve was there. */
static int panel_write(struct figure *f, const struct plot_job *job, const struct plot_view *v,
                       const struct plot_grid *g, int at, struct plot_range *range, bool *any)
{
    const struct study *s = job->study;
    const int row = at / g->n_columns;
    const struct corner_set *set = &job->corners->sets[v->first_set + at % g->n_columns];
    struct plot_panel panel = { .n_texts = s->n_texts };
    for (int i = 0; i < v->n; i++) {
        const struct corner *c = plot_lanes_in(set, v->shown[i]->label);
        char block[32];
        if (!c || s->lanes[c->lane].clean == LANE_NONE) continue;
        snprintf(block, sizeof block, "a%d_%d", at, i);
        const int rc = plot_block(f, block, s, source_of(s, row, c->lane), span_of(s), range);
        if (rc < 0) return -1;
        if (rc == 0) plot_panel_add(&panel, block, v->styles[i], 3);
    }
    grid_panel(g, f->body, at);
    grid_axes(g, f->body, at, "decoding step (tokens)");
    plot_axis_use(f->body, 'y', row);
    if (row == 0) grid_title(f->body, set->title);
    if (grid_is_side(g, at)) grid_y_name(g, f->body, row, row, row_name(s, row));
    plot_panel_draw(&panel, f->body);
    *any = *any || panel.n;
    return 0;
}

static void caption_write(struct figure *f, const struct study *s, const struct plot_view *v)
{
    const int bin = s->n_steps / span_of(s).n_bins;
    char texts[200], legend[512], bins[128] = "";
    if (bin > 1)
        snprintf(bins, sizeof bins, " Means of bins of %d steps, so that most saw-teeth are averaged out.", bin);
    snprintf(f->title, sizeof f->title, "Accumulated error over steps");
    snprintf(f->caption, sizeof f->caption,
             "Accumulated error. Above: distance of the current token's K to the same token's in the clean lane (same "
             "policy, undisturbed cache), over the dense lane's norm, mean over layers 1 and up; 0 is no accumulation. "
             "Below: %s above the clean lane's, nat per token; 0 is no harm. %s %s.%s",
             study_is_of_text(s) ? "NLL of the text" : "KL from the dense lane",
             plot_words_of_texts(s, false, texts, sizeof texts), legend_print(s, v->shown, v->n, legend, sizeof legend),
             bins);
}

int plot_accumulation(struct figure *f, const struct plot_job *job)
{
    struct plot_grid g = plot_grid_usual;
    struct plot_view v;
    struct plot_range range[N_ROWS] = { 0 };
    bool any = false;
    if (!plot_view_open(&v, job->lanes, job->corners->n_sets, job->part, MAX_COLUMNS, MAX_CURVES, true)) return 1;
    g.n_columns = v.n_sets;
    g.n_panels = v.n_sets * N_ROWS;
    g.gap_y = 10;
    for (int i = 0; i < v.n; i++) grid_key_add(&g, v.styles[i], v.shown[i]->label);
    grid_open(&g, f);
    for (int at = 0; at < g.n_panels; at++)
        if (panel_write(f, job, &v, &g, at, &range[at / g.n_columns], &any) != 0) return -1;
    if (!any) return 1;
    caption_write(f, job->study, &v);
    for (int row = 0; row < N_ROWS; row++) plot_axis(f->script.file, 'y', row, range[row], 4);
    grid_begin(&g, f);
    plot_x_steps(f->script.file, 0, job->study->n_steps);
    return 0;
}
