/* Growth laws with their residuals, a column of panels for each group of lanes; what they predict of rectified lanes. */
#include "analysis/plots.h"

#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"
#include "analysis/sawtooth.h"

#include "core/err.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_COLUMNS = 3,
    N_ROWS = 4,
    MAX_PANELS = 12,
    LAW_PLACES = 48,
    MAX_SAWTEETH = 256,
    LAW_STYLE = 2,
    MEAN_STYLE = 1
};

/* Rows come in pairs: an error, and what the law leaves of it. */
static const struct row {
    enum growth_quantity quantity;
    bool residual;
    const char *name;
} rows[N_ROWS] = { { GROWTH_K, false, "K to clean" },
                   { GROWTH_K, true, "residual" },
                   { GROWTH_KL_CLEAN, false, "KL from clean (nat)" },
                   { GROWTH_KL_CLEAN, true, "residual (nat)" } };

static const struct growth_result *result_of(const struct growth_set *set, enum growth_quantity q)
{
    return &set->results[growth_source_best(set, q)][q];
}

static void reach(struct plot_range *range, double value)
{
    if (isnan(value)) return;
    range->min = fmin(range->min, value);
    range->max = fmax(range->max, value);
}

/* A number of a block, "?" where there is none. */
static void number_write(FILE *out, double value, struct plot_range *range)
{
    if (isnan(value))
        fputs(" ?", out);
    else
        fprintf(out, " %.5g", value);
    reach(range, value);
}

/* $pN: stale tokens, mean, the law's band, each text; less the law where residual. */
static void points_write(struct figure *f, int at, const struct growth *w, bool residual, struct plot_range *range)
{
    FILE *out = f->script.file;
    fprintf(out, "$p%d << EOD\n", at);
    for (int i = 0; i < w->curves.axis.n; i++) {
        const double s = w->curves.axis.s[i], less = residual ? growth_at(&w->fits[w->law], s) : 0;
        fprintf(out, "%.6g", s);
        number_write(out, w->mean[i] - less, range);
        number_write(out, w->band_low[i] - less, range);
        number_write(out, w->band_high[i] - less, range);
        for (int text = 0; text < w->curves.n_texts; text++)
            number_write(out, growth_curve(&w->curves, text)[i] - less, range);
        fputc('\n', out);
    }
    fputs("EOD\n", out);
}

/* $lN: the law from 1 stale token to the longest that was run, and nowhere else. */
static void law_write(struct figure *f, int at, const struct growth *w)
{
    fprintf(f->script.file, "$l%d << EOD\n", at);
    for (int i = 0; i < LAW_PLACES; i++) {
        const double s = exp(log(w->curves.axis.s_max) * i / (LAW_PLACES - 1));
        fprintf(f->script.file, "%.6g %.5g\n", s, growth_at(&w->fits[w->law], s));
    }
    fputs("EOD\n", f->script.file);
}

static void law_name(const struct growth_result *r, char *text, size_t n_bytes)
{
    const struct growth *w = &r->growth;
    size_t n = (size_t)snprintf(text, n_bytes, "%s", growth_law_defs[w->law].name);
    if (!isnan(w->share[w->law]) && n < n_bytes)
        n += (size_t)snprintf(text + n, n_bytes - n, " (%.0f %%)", 100 * w->share[w->law]);
    if (!growth_is_identified(&r->how) && n < n_bytes) snprintf(text + n, n_bytes - n, ", unidentified");
}

static int panel_write(struct figure *f, const struct plot_job *job, const struct plot_grid *g, int at,
                       const struct growth_set *set, struct plot_range *range)
{
    const struct row *row = &rows[at / g->n_columns];
    const struct growth_result *r = result_of(set, row->quantity);
    const struct growth *w = &r->growth;
    FILE *out = f->body;
    char law[96];
    grid_panel(g, out, at);
    grid_axes(g, out, at, "stale tokens");
    plot_x_stale(out, job->study->n_steps, grid_is_foot(g, at));
    plot_axis_use(out, 'y', at / g->n_columns);
    if (at < g->n_columns) grid_title(out, set->group->title);
    if (grid_is_side(g, at)) grid_y_name(g, out, at / g->n_columns, at / g->n_columns, row->name);
    if (!growth_is_there(r)) {
        fputs("set label 3 'no law' at graph 0.5, graph 0.5 center\nplot NaN\n", out);
        return 0;
    }
    points_write(f, at, w, row->residual, range);
    if (!row->residual) law_write(f, at, w);
    law_name(r, law, sizeof law);
    if (!row->residual) grid_inside(out, law);
    fprintf(out, "plot for [i=5:%d] $p%d using 1:i with lines lw 0.4 lc rgb '#b8b8b8'", w->curves.n_texts + 4, at);
    fprintf(out, ", $p%d using 1:3:4 with filledcurves fc rgb '#a0%s' fs solid noborder", at,
            figure_colours[LAW_STYLE - 1] + 1);
    if (row->residual)
        fputs(", 0 with lines lw 0.8 lc rgb '#666666'", out);
    else
        fprintf(out, ", $l%d using 1:2 with lines ls %d", at, LAW_STYLE);
    fprintf(out, ", $p%d using 1:2 with points ls %d, $z with points ls %d\n", at, MEAN_STYLE, MEAN_STYLE);
    return 1;
}

static void growth_caption(struct figure *f, const struct plot_job *job)
{
    const struct study *s = job->study;
    snprintf(f->title, sizeof f->title, "Growth laws");
    snprintf(f->caption, sizeof f->caption,
             "Growth by stale tokens: distance of the current token's K to the clean lane's (same policy, undisturbed "
             "cache) "
             "over the dense lane's norm, and KL of the output from the clean lane's; the law chosen by left-out texts "
             "and%s what it leaves (residual). Points: means over n = %d text%s of lanes compared at the same steps%s, "
             "thin: each text; without stale tokens the distance is 0. A law is not drawn past the longest staleness that was run. Unidentified: staleness "
             "was not told apart from position and place in the block (no phase or dense_until lanes).",
             s->n_texts >= ESTIMATE_MIN_TEXTS ? ", in brackets, how often resampled texts choose it;" : "", s->n_texts,
             s->n_texts == 1 ? "" : "s",
             s->n_texts >= ESTIMATE_MIN_TEXTS ? ", band: the law's 95 % interval over texts" : "");
}

int plot_growth(struct figure *f, const struct plot_job *job)
{
    struct plot_grid g = plot_grid_usual;
    struct plot_range range[N_ROWS] = { 0 };
    int first, n, n_drawn = 0;
    if (!plot_part(job->growth->study.groups.n, MAX_COLUMNS, job->part, &first, &n)) return 1;
    g.n_columns = n;
    g.n_panels = n * N_ROWS;
    g.panel_height = 80;
    g.gap_y = 10;
    grid_key_add(&g, MEAN_STYLE, GRID_POINT, "mean over texts");
    grid_key_add(&g, LAW_STYLE, GRID_LINE, "law");
    plot_note(&g, job->study);
    grid_open(&g, f);
    for (int at = 0; at < g.n_panels; at++)
        n_drawn += panel_write(f, job, &g, at, &job->growth->study.sets[first + at % n], &range[at / n]);
    if (n_drawn == 0) return 1;
    fprintf(f->script.file, "$z << EOD\n%g 0\nEOD\n", PLOT_STALE_ZERO); /* f(0) = 0 */
    growth_caption(f, job);
    for (int row = 0; row < N_ROWS; row++) plot_axis(f->script.file, 'y', row, range[row], 3);
    grid_begin(&g, f);
    return 0;
}

/* ---- what the laws predict of rectified lanes ---- */

static const struct growth_set *set_of(const struct growth_study *g, int lane)
{
    for (int i = 0; i < g->groups.n; i++)
        for (int k = 0; k < g->sets[i].group->n_lanes; k++)
            if (g->sets[i].group->lanes[k] == lane) return &g->sets[i];
    return NULL;
}

static int prediction_write(struct figure *f, const struct plot_job *job, const struct plot_grid *g, int at,
                            const struct sawtooth *w, int longest, struct plot_range *range)
{
    const struct lane_spec *l = &job->study->lanes[w->lane];
    const struct growth_set *set = set_of(&job->growth->study, w->lane);
    FILE *out = f->script.file;
    char title[256];
    fprintf(out, "$w%d << EOD\n", at);
    if (!isnan(w->at_zero)) { /* where the law says 0 */
        fprintf(out, "%g", PLOT_STALE_ZERO);
        number_write(out, w->at_zero, range);
        fputs(" ? ? ?\n", out);
    }
    for (int i = 0; i < w->n_points; i++) {
        const struct sawtooth_point *p = &w->points[i];
        fprintf(out, "%.6g", p->s);
        number_write(out, p->measured, range);
        number_write(out, p->low, range);
        number_write(out, p->high, range);
        number_write(out, p->predicted, range);
        fputc('\n', out);
    }
    fputs("EOD\n", out);
    out = f->body;
    grid_panel(g, out, at);
    grid_axes(g, out, at, "stale tokens");
    plot_axis_use(out, 'y', 0);
    plot_x_stale(out, longest, grid_is_foot(g, at));
    snprintf(title, sizeof title, "%s%sf%d", set ? set->group->title : "", set ? ", " : "", l->interval);
    if (l->phase > 0) snprintf(title + strlen(title), sizeof title - strlen(title), ", phase %d", l->phase);
    grid_title(out, title);
    snprintf(title, sizeof title, "law of %s%s", w->source == GROWTH_PURE ? "never rectified lanes" : "other lanes",
             w->identified ? "" : ", unidentified");
    grid_inside_foot(out, title);
    if (at == 0) grid_y_name(g, out, 0, g->n_rows - 1, "distance of K to clean");
    fprintf(
        out,
        "plot $w%d using 1:3:4 with filledcurves fc rgb '#a0%s' fs solid noborder, $w%d using 1:5 with lines ls %d, "
        "$w%d using 1:2 with points ls %d\n",
        at, figure_colours[LAW_STYLE - 1] + 1, at, LAW_STYLE, at, MEAN_STYLE);
    return 0;
}

int plot_prediction(struct figure *f, const struct plot_job *job)
{
    struct plot_grid g = plot_grid_usual;
    struct plot_range range = { 0 };
    const struct sawtooth *list[MAX_SAWTEETH];
    int n = 0, first, n_here, longest = 1;
    for (int i = 0; i < job->growth->sawteeth.n && n < MAX_SAWTEETH; i++)
        if (job->growth->sawteeth.all[i].quantity == GROWTH_K && job->growth->sawteeth.all[i].n_points > 0)
            list[n++] = &job->growth->sawteeth.all[i];
    if (!plot_part(n, MAX_PANELS, job->part, &first, &n_here)) return 1;
    g.n_columns = MAX_COLUMNS;
    g.n_panels = n_here;
    g.panel_height = 84;
    grid_key_add(&g, MEAN_STYLE, GRID_POINT, "measured");
    grid_key_add(&g, LAW_STYLE, GRID_LINE, "predicted");
    plot_note(&g, job->study);
    grid_open(&g, f);
    for (int i = 0; i < n; i++) {
        const int interval = job->study->lanes[list[i]->lane].interval;
        longest = interval > longest ? interval : longest;
    }
    for (int at = 0; at < n_here; at++) prediction_write(f, job, &g, at, list[first + at], longest, &range);
    snprintf(f->title, sizeof f->title, "Rectified lanes, predicted and measured");
    snprintf(
        f->caption, sizeof f->caption,
        "The saw-tooth within a window, predicted and measured: distance of the current token's K to the clean lane's "
        "by "
        "the tokens gone stale since the last rectification, mean over n = %d text%s. Predicted from the growth law "
        "of other lanes of the same policy, as each panel says, and the place in the block%s. Unidentified: there staleness "
        "was not told apart from position and place in the block.",
        job->study->n_texts, job->study->n_texts == 1 ? "" : "s",
        job->study->n_texts >= ESTIMATE_MIN_TEXTS ? "; band: where 95 % of measured values should lie" : "");
    plot_axis(f->script.file, 'y', 0, range, 3);
    grid_begin(&g, f);
    return 0;
}
