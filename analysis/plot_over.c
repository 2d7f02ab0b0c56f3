/* Errors over steps, and by the number of stale tokens: a column of panels for each set, a row for each error, a curve for each
 * lane. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_COLUMNS = 3, MAX_CURVES = 6, MAX_POINTS = 16, MAX_ROWS = 3 };

/* What is drawn over what. */
struct over {
    int n_rows, rows[MAX_ROWS]; /* those that there is something for, of all that there are */
    const char *x_name;
    int every; /* places of a curve to a point of it */
    const char *(*row_name)(const struct study *s, int row);
    /* $block of a lane in a row: 0, 1: no values, -1. */
    int (*write)(struct figure *f, const char *block, const struct study *s, int row, int lane,
                 struct plot_range *range);
    void (*axis)(FILE *out, const struct study *s, bool foot); /* "set xrange", "set xtics"; foot: with numbers */
};

static int curves_write(struct figure *f, const struct plot_job *job, const struct plot_view *v,
                        const struct over *over, int at, struct plot_panel *panel, struct plot_range *range)
{
    const struct study *s = job->study;
    const struct corner_set *set = &job->corners->sets[v->first_set + at % v->n_sets];
    for (int i = 0; i < v->n; i++) {
        const struct corner *c = plot_lanes_in(set, v->shown[i]->label);
        char block[32];
        if (!c || s->lanes[c->lane].clean == LANE_NONE) continue;
        snprintf(block, sizeof block, "a%d_%d", at, i);
        const int rc = over->write(f, block, s, over->rows[at / v->n_sets], c->lane, range);
        if (rc < 0) return -1;
        if (rc == 0) plot_panel_add(panel, block, v->styles[i], over->every);
    }
    return 0;
}

/* *any: whether a curve was there. */
static int panel_write(struct figure *f, const struct plot_job *job, const struct plot_view *v, const struct over *over,
                       const struct plot_grid *g, int at, struct plot_range *range, bool *any)
{
    const int row = at / g->n_columns;
    struct plot_panel panel = { .n_texts = job->study->n_texts };
    if (curves_write(f, job, v, over, at, &panel, range) != 0) return -1;
    grid_panel(g, f->body, at);
    grid_axes(g, f->body, at, over->x_name);
    over->axis(f->body, job->study, grid_is_foot(g, at));
    plot_axis_use(f->body, 'y', row);
    if (row == 0) grid_title(f->body, job->corners->sets[v->first_set + at].title);
    if (grid_is_side(g, at)) grid_y_name(g, f->body, row, row, over->row_name(job->study, over->rows[row]));
    plot_panel_draw(&panel, f->body);
    *any = *any || panel.n;
    return 0;
}

/* *v: what the part shows.  1: nothing. */
static int over_draw(struct figure *f, const struct plot_job *job, const struct over *over, struct plot_view *v)
{
    struct plot_grid g = plot_grid_usual;
    struct plot_range range[MAX_ROWS] = { 0 };
    bool any = false;
    if (!plot_view_open(v, job->lanes, job->corners->n_sets, job->part, MAX_COLUMNS, MAX_CURVES, true)) return 1;
    g.n_columns = v->n_sets;
    g.n_panels = v->n_sets * over->n_rows;
    g.panel_height = over->n_rows == MAX_ROWS ? 100 : 120;
    g.gap_y = 10;
    for (int i = 0; i < v->n; i++) grid_key_add(&g, v->styles[i], GRID_BOTH, v->shown[i]->label);
    plot_note(&g, job->study);
    grid_open(&g, f);
    for (int at = 0; at < g.n_panels; at++)
        if (panel_write(f, job, v, over, &g, at, &range[at / g.n_columns], &any) != 0) return -1;
    if (!any) return 1;
    for (int row = 0; row < over->n_rows; row++) plot_axis(f->script.file, 'y', row, range[row], 4);
    grid_begin(&g, f);
    return 0;
}

/* ---- over steps ---- */

/* K's distance already is one to the clean lane; NLL and KL are taken above the clean lane's. */
static const struct step_row {
    enum quantity quantity;
    bool above;
    const char *name;
} step_rows[MAX_ROWS] = { { QUANTITY_K_ACCUM, false, "distance of K to clean" },
                          { QUANTITY_NLL, true, "NLL above clean (nat)" },
                          { QUANTITY_KL, true, "KL above clean (nat)" } };

static const char *step_row_name(const struct study *s, int row)
{
    if (step_rows[row].quantity == QUANTITY_NLL && !study_is_of_text(s)) return "NLL of dense's token (nat)";
    return step_rows[row].name;
}

/* Of what a lane writes itself NLL is no error. */
static void step_rows_find(struct over *over, const struct study *s)
{
    for (int row = 0; row < MAX_ROWS; row++) {
        const bool own = step_rows[row].quantity == QUANTITY_NLL && strcmp(s->target_of, "own") == 0;
        bool there = false;
        for (int run = 0; run < s->n_runs; run++) there = there || s->runs[run].series[step_rows[row].quantity];
        if (there && !own) over->rows[over->n_rows++] = row;
    }
}

static struct plot_span span_of(const struct study *s)
{
    return (struct plot_span){ 0, s->n_steps, s->n_steps < MAX_POINTS ? s->n_steps : MAX_POINTS };
}

static int step_write(struct figure *f, const char *block, const struct study *s, int row, int lane,
                      struct plot_range *range)
{
    const struct step_row *r = &step_rows[row];
    const struct plot_source source = { lane, r->above ? s->lanes[lane].clean : STUDY_ABSENT, r->quantity };
    return plot_block(f, block, s, source, span_of(s), range);
}

static void step_axis(FILE *out, const struct study *s, bool foot)
{
    (void)foot; /* the format of numbers says it */
    plot_x_steps(out, 0, s->n_steps);
}

int plot_accumulation(struct figure *f, const struct plot_job *job)
{
    struct over over = { 0, { 0 }, "decoding step (tokens)", 3, step_row_name, step_write, step_axis };
    const struct study *s = job->study;
    const int bin = s->n_steps / span_of(s).n_bins;
    struct plot_view v;
    char texts[200], legend[512], bins[128] = "";
    step_rows_find(&over, s);
    if (over.n_rows == 0) return 1;
    const int rc = over_draw(f, job, &over, &v);
    if (rc != 0) return rc;
    if (bin > 1)
        snprintf(bins, sizeof bins, " Means of bins of %d steps, so that most saw-teeth are averaged out.", bin);
    snprintf(f->title, sizeof f->title, "Accumulated error over steps");
    snprintf(f->caption, sizeof f->caption,
             "What accumulates, against the clean lane (same policy, undisturbed cache): distance of the current token's "
             "K, over the dense lane's norm, mean over layers 1 and up; NLL%s and KL from dense above the clean lane's, "
             "nat per token. 0 is no accumulation. %s %s.%s",
             study_is_of_text(s) ? " of the text" : strcmp(s->target_of, "own") == 0 ? "" : " of the dense lane's choice",
             plot_words_of_texts(s, false, texts, sizeof texts), legend_print(s, v.shown, v.n, legend, sizeof legend),
             bins);
    return 0;
}

/* ---- by stale tokens ---- */

static const struct stale_row {
    enum quantity quantity;
    const char *name;
} stale_rows[MAX_ROWS] = { { QUANTITY_K_ACCUM, "distance of K to clean" },
                           { QUANTITY_ATTN_ACCUM, "attention, to clean" },
                           { QUANTITY_KL_CLEAN, "KL from clean (nat)" } };

static const char *stale_row_name(const struct study *s, int row)
{
    (void)s;
    return stale_rows[row].name;
}

/* Where a bin stands on a logarithmic axis that also has 0: its first number's and its last one's geometric mean. */
static double stale_place(int bin)
{
    const int first = study_stale_bin_first(bin), last = study_stale_bin_first(bin + 1) - 1;
    return bin == 0 ? PLOT_STALE_ZERO : sqrt((double)first * last);
}

static int stale_write(struct figure *f, const char *block, const struct study *s, int row, int lane,
                       struct plot_range *range)
{
    double *values = NULL, x[STUDY_STALE_BINS];
    TRY(MEM_NEW(&values, s->n_texts * STUDY_STALE_BINS, "curves"), "plot %s", f->name);
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) x[bin] = stale_place(bin);
    for (int text = 0; text < s->n_texts; text++) {
        double *mean = values + (size_t)text * STUDY_STALE_BINS;
        if (!study_stale_curve(s, text, lane, stale_rows[row].quantity, STUDY_ABSENT, mean, NULL))
            for (int bin = 0; bin < STUDY_STALE_BINS; bin++) mean[bin] = NAN;
    }
    const int rc = plot_block_of(f, block, x, values, s->n_texts, STUDY_STALE_BINS, false, range);
    mem_free(values);
    return rc;
}

static void stale_axis(FILE *out, const struct study *s, bool foot)
{
    plot_x_stale(out, s->n_steps, foot);
}

int plot_stale_tokens(struct figure *f, const struct plot_job *job)
{
    static const struct over over = { MAX_ROWS, { 0, 1, 2 }, "stale tokens", 2, stale_row_name, stale_write, stale_axis };
    const struct study *s = job->study;
    struct plot_view v;
    char texts[200], legend[512];
    const int rc = over_draw(f, job, &over, &v);
    if (rc != 0) return rc;
    snprintf(f->title, sizeof f->title, "Distance to clean by stale tokens");
    snprintf(
        f->caption, sizeof f->caption,
        "Distance to the clean lane (same policy, undisturbed cache) by the tokens in the cache that sparse steps "
        "wrote "
        "and no rectification rewrote: the current token's K and its attention output, over the dense lane's norm, "
        "mean over layers 1 and up, and KL of the output. At 0 stale tokens it is 0. Steps are not matched here: a "
        "lane that is never rectified has few stale tokens only at its first steps, so that its curve mixes "
        "staleness with position; the growth law compares at the same steps. %s %s.",
        plot_words_of_texts(s, false, texts, sizeof texts), legend_print(s, v.shown, v.n, legend, sizeof legend));
    return 0;
}
