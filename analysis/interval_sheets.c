/* Tables of what the growth law predicts: rectified lanes, and the interval that keeps an error. */
#include "analysis/growth_sheets.h"

#include "core/err.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- saw-teeth ---- */

static const char *group_title(const struct growth_study *g, int lane)
{
    for (int i = 0; i < g->groups.n; i++)
        for (int k = 0; k < g->groups.groups[i].n_lanes; k++)
            if (g->groups.groups[i].lanes[k] == lane) return g->groups.groups[i].title;
    return "";
}

static int tooth_head_columns(struct sheet *t)
{
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 || sheet_column(t, COLUMN_TEXT, "lane", NULL, 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "interval", "interval", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "phase", "phase", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "quantity", NULL, 0) != 0)
        return -1;
    return sheet_column(t, COLUMN_TEXT, "error", "error", 0);
}

static int tooth_head_write(struct sheet *t, const struct growth_study *g, const struct sawtooth *w)
{
    const struct lane_spec *l = &g->study->lanes[w->lane];
    const struct growth_quantity_def *def = &growth_quantity_defs[w->quantity];
    if (sheet_text(t, group_title(g, w->lane)) != 0 || sheet_text(t, l->name) != 0 ||
        sheet_number(t, l->interval) != 0 || sheet_number(t, l->phase) != 0)
        return -1;
    return sheet_text(t, def->key) != 0 || sheet_text(t, def->label) != 0 ? -1 : 0;
}

/* The predicted value with the interval in which the measured one should lie. */
static struct estimate predicted_of(const struct sawtooth *w, const struct sawtooth_point *p)
{
    struct estimate e = estimate_none();
    e.mean = p->predicted;
    e.low = p->low;
    e.high = p->high;
    e.n = w->n_texts;
    e.n_above = p->predicted > 0 ? w->n_texts : 0;
    return e;
}

static int tooth_row(struct sheet *t, const struct growth_study *g, const struct sawtooth *w)
{
    const bool there = w->n_texts > 0, inside = there && !isnan(w->mean.low);
    const struct sawtooth_point none = { NAN, NAN, NAN, NAN, NAN, NAN }, *p = there ? &w->mean : &none;
    if (tooth_head_write(t, g, w) != 0 || sheet_text(t, there ? w->from : w->why) != 0 ||
        sheet_text(t, there ? growth_law_defs[w->law].name : "") != 0 || sheet_number(t, p->measured) != 0 ||
        sheet_estimate(t, predicted_of(w, p)) != 0 || sheet_number(t, there ? 100 * sawtooth_error(w) : NAN) != 0)
        return -1;
    return sheet_number(t, inside ? (double)w->n_inside : (double)NAN) != 0 ||
                   sheet_number(t, there ? (double)w->n_points : (double)NAN) != 0
               ? -1
               : 0;
}

int sheet_of_sawteeth(struct sheet *t, const struct growth_study *g, const struct sawteeth *w, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    snprintf(
        t->caption, sizeof t->caption,
        "Rectified lanes, predicted: the growth law and the place in the block, averaged over the lane's own steps. "
        "Law from: the never rectified lanes of the same policy; where these were not compared at the same steps, all "
        "lanes but the predicted one. In brackets where the measured mean should lie (95 %%, bootstrap of texts). Bins: of "
        "stale tokens within the window, how many are measured where they should lie.");
    if (tooth_head_columns(t) != 0 || sheet_column(t, COLUMN_TEXT, "source", "law from", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "law", "law", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "measured", "measured", 4) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "predicted", "predicted", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "off_percent", "off (%)", 1) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "bins_inside", "bins inside", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "bins", "of", 0) != 0)
        return -1;
    for (int i = 0; i < w->n; i++)
        if (tooth_row(t, g, &w->all[i]) != 0) return -1;
    return 0;
}

int sheet_of_sawtooth_curves(struct sheet *t, const struct growth_study *g, const struct sawteeth *w, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(t->caption, sizeof t->caption,
             "The same within the window, by bins of stale tokens: share of the lane's steps, measured, predicted.");
    if (tooth_head_columns(t) != 0 || sheet_column(t, COLUMN_NUMBER, "stale_tokens", "stale tokens", 1) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "share", "share of steps", 3) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "measured", "measured", 4) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "predicted", "predicted", 4) != 0)
        return -1;
    for (int i = 0; i < w->n; i++)
        for (int k = 0; k < w->all[i].n_points; k++) {
            const struct sawtooth_point *p = &w->all[i].points[k];
            if (tooth_head_write(t, g, &w->all[i]) != 0 || sheet_number(t, p->s) != 0 ||
                sheet_number(t, p->share) != 0 || sheet_number(t, p->measured) != 0 ||
                sheet_estimate(t, predicted_of(&w->all[i], p)) != 0)
                return -1;
        }
    return 0;
}

/* ---- intervals ---- */

static const char *interval_words(char *text, size_t n_bytes, int interval)
{
    if (interval == INTERVAL_NEVER)
        snprintf(text, n_bytes, "never");
    else
        snprintf(text, n_bytes, "%d", interval);
    return text;
}

/* Why none is advised. */
static const char *none_words(const struct interval_curve *c, double bound, bool measured)
{
    const int first = measured ? 0 : c->n_measured, end = measured ? c->n_measured : c->n;
    if (first == end) return measured ? "none was run" : "–";
    if (isnan(c->points[first].error.high)) return "too few texts for a limit";
    if (c->clean.mean > bound) return "none: selection alone is above it";
    if (c->clean.high > bound) return "none: selection alone may be above it";
    return measured ? "none that was run" : "none";
}

static int advice_write(struct sheet *t, const struct interval_curve *c, double bound, bool measured)
{
    const struct interval_point *p = interval_recommend(c, bound, measured);
    char text[32];
    const bool longest = p && !measured && p == &c->points[c->n - 1];
    char at_least[72];
    snprintf(at_least, sizeof at_least, "%s%s", p ? interval_words(text, sizeof text, p->interval) : "",
             longest ? " (the longest staleness run)" : "");
    if (sheet_text(t, p ? at_least : none_words(c, bound, measured)) != 0 ||
        sheet_estimate(t, p ? p->error : estimate_none()) != 0)
        return -1;
    if (measured && sheet_number(t, p ? 100 * p->counted : NAN) != 0) return -1;
    return sheet_number(t, p ? 100 * p->equation : NAN);
}

enum { BOUND_DECIMALS = 2, MAX_BOUND_DECIMALS = 9 };

/* As many as every bound needs to be told as it was asked for. */
static int bound_decimals(const double *bounds, int n)
{
    int decimals = BOUND_DECIMALS;
    for (int i = 0; i < n; i++)
        for (char text[64]; decimals < MAX_BOUND_DECIMALS; decimals++) {
            snprintf(text, sizeof text, "%.*f", decimals, bounds[i]);
            if (fabs(strtod(text, NULL) - bounds[i]) <= 1e-9 * bounds[i]) break;
        }
    return decimals;
}

static int advice_columns(struct sheet *t, int decimals)
{
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "error", "error", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "bound", "bound", decimals) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "clean", "selection alone", 3) != 0 ||
        sheet_column(t, COLUMN_TEXT, "measured_interval", "longest interval, measured", 0) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "measured_error", "its error", 3) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "measured_counted_percent", "bytes (% of dense)", 1) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "measured_equation_percent", "by the equation (%)", 1) != 0 ||
        sheet_column(t, COLUMN_TEXT, "predicted_interval", "longest interval, predicted", 0) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "predicted_error", "its error", 3) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "predicted_equation_percent", "by the equation (%)", 1) != 0)
        return -1;
    return sheet_column(t, COLUMN_TEXT, "predicted_from", "predicted from", 0);
}

int sheet_of_intervals(struct sheet *t, const struct study *s, const struct interval_curve *curves, int n,
                       const double *bounds, int n_bounds, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    snprintf(
        t->caption, sizeof t->caption,
        "The longest rectification interval that keeps the error against the dense lane under a bound: the upper end "
        "of its 95 %% interval over texts (%d) is at most the bound, and so is that of every shorter interval. "
        "Measured: of the lanes that were run; where measured and predicted differ, measured counts. Predicted: error "
        "of the clean lane and the mean of the growth law over the window, no further than it was run; by the law of "
        "the lanes in the last column. Bytes of K, V "
        "and block keys for each step over the dense lane's, as counted, and by the equation 1 / block size + active + "
        "1 / interval.",
        s->n_texts);
    if (advice_columns(t, bound_decimals(bounds, n_bounds)) != 0) return -1;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n_bounds && curves[i].n > 0; k++)
            if (sheet_text(t, curves[i].group->title) != 0 ||
                sheet_text(t, interval_error_defs[curves[i].error].label) != 0 || sheet_number(t, bounds[k]) != 0 ||
                sheet_estimate(t, curves[i].clean) != 0 || advice_write(t, &curves[i], bounds[k], true) != 0 ||
                advice_write(t, &curves[i], bounds[k], false) != 0 ||
                sheet_text(t, curves[i].from[0] ? curves[i].from : curves[i].why) != 0)
                return -1;
    return 0;
}

int sheet_of_interval_points(struct sheet *t, const struct study *s, const struct interval_curve *curves, int n,
                             const char *name)
{
    char text[32];
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(t->caption, sizeof t->caption, "Every interval's error and cost, measured and predicted.");
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "error", "error", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "interval", "interval", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "kind", "", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "predicted_from", "predicted from", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "lane", NULL, 0) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "value", "against dense", 3) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "counted_percent", "bytes (% of dense)", 1) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "equation_percent", "by the equation (%)", 1) != 0)
        return -1;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < curves[i].n; k++) {
            const struct interval_point *p = &curves[i].points[k];
            if (sheet_text(t, curves[i].group->title) != 0 ||
                sheet_text(t, interval_error_defs[curves[i].error].label) != 0 ||
                sheet_text(t, interval_words(text, sizeof text, p->interval)) != 0 ||
                sheet_text(t, p->measured ? "measured" : "predicted") != 0 ||
                sheet_text(t, p->measured ? "" : curves[i].from) != 0 ||
                sheet_text(t, p->lane >= 0 ? s->lanes[p->lane].name : "") != 0 || sheet_estimate(t, p->error) != 0 ||
                sheet_number(t, 100 * p->counted) != 0 || sheet_number(t, 100 * p->equation) != 0)
                return -1;
        }
    return 0;
}
