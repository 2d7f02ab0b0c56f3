/* Tables of the growth laws. */
#include "analysis/growth_sheets.h"

#include "core/err.h"

#include <math.h>
#include <stdio.h>

/* A row for one law of one error of one group. */
struct row {
    const struct growth_set *set;
    const struct growth_result *r;
    enum growth_source source;
    enum growth_quantity quantity;
};

typedef int (*row_writer)(struct sheet *t, const struct row *row);

/* best: the source that is told; else both. */
static int rows_each(struct sheet *t, const struct growth_study *g, bool best, row_writer write)
{
    for (int i = 0; i < g->groups.n; i++)
        for (int q = 0; q < N_GROWTH_QUANTITIES; q++)
            for (int source = 0; source < N_GROWTH_SOURCES; source++) {
                const struct row row = { &g->sets[i], &g->sets[i].results[source][q], (enum growth_source)source,
                                         (enum growth_quantity)q };
                if (best && growth_source_best(row.set, row.quantity) != row.source) continue;
                if (!best && !growth_is_there(row.r)) continue;
                if (write(t, &row) != 0) return -1;
            }
    return 0;
}

static int head_columns(struct sheet *t)
{
    if (sheet_column(t, COLUMN_TEXT, "lanes", "lanes", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "quantity", NULL, 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "error", "error", 0) != 0)
        return -1;
    return sheet_column(t, COLUMN_TEXT, "source", "from", 0);
}

static int head_write(struct sheet *t, const struct row *row)
{
    const struct growth_quantity_def *def = &growth_quantity_defs[row->quantity];
    if (sheet_text(t, row->set->group->title) != 0 || sheet_text(t, def->key) != 0 || sheet_text(t, def->label) != 0)
        return -1;
    return sheet_text(t, growth_source_names[row->source]);
}

static const char *matching_words(const struct growth_gathered *how)
{
    if (!how->matched) return "no, plain means: growth unidentified";
    return how->slots_tied ? "yes, but s and place in the block are one: growth unidentified" : "yes";
}

static struct estimate interval_of(double mean, double low, double high, int n_texts)
{
    struct estimate e = estimate_none();
    e.mean = mean;
    e.low = low;
    e.high = high;
    e.n = n_texts;
    e.n_above = mean > 0 ? n_texts : 0;
    return e;
}

static int parameters_write(struct sheet *t, const struct growth *g, enum growth_law law)
{
    for (int p = 0; p < GROWTH_PARAMETERS; p++) {
        const double low = law == g->law ? g->low[p] : (double)NAN, high = law == g->law ? g->high[p] : (double)NAN;
        if (sheet_estimate(t, interval_of(g->fits[law].parameters[p], low, high, g->curves.n_texts)) != 0) return -1;
    }
    return 0;
}

static int parameter_columns(struct sheet *t)
{
    if (sheet_column(t, COLUMN_ESTIMATE, "jump", "jump", 4) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "growth", "growth", 5) != 0)
        return -1;
    return sheet_column(t, COLUMN_ESTIMATE, "shape", "exponent, scale", 2);
}

/* ---- the chosen law ---- */

static int growth_row(struct sheet *t, const struct row *row)
{
    const struct growth *g = &row->r->growth;
    const bool there = growth_is_there(row->r);
    if (head_write(t, row) != 0 || sheet_number(t, g->curves.n_texts) != 0 || sheet_number(t, row->r->how.n_lanes) != 0)
        return -1;
    if (sheet_text(t, there ? matching_words(&row->r->how) : row->r->how.why) != 0 ||
        sheet_text(t, there ? growth_law_defs[g->law].name : "") != 0)
        return -1;
    if (!there) {
        for (int i = 0; i < GROWTH_PARAMETERS + 6; i++)
            if (sheet_number(t, NAN) != 0) return -1;
        return 0;
    }
    const double longest = g->curves.axis.s_max;
    if (parameters_write(t, g, g->law) != 0 || sheet_number(t, growth_at(&g->fits[g->law], longest)) != 0 ||
        sheet_number(t, longest) != 0 || sheet_number(t, g->curves.n_texts > 1 ? g->choice.error[g->law] : NAN) != 0 ||
        sheet_number(t, g->curves.n_texts > 1 ? g->choice.error[LAW_CONSTANT] : NAN) != 0)
        return -1;
    return sheet_number(t, g->share[g->law]) != 0 || sheet_number(t, row->r->how.at_zero) != 0 ? -1 : 0;
}

int sheet_of_growth(struct sheet *t, const struct growth_study *g, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    snprintf(
        t->caption, sizeof t->caption,
        "Growth laws: how the distance to the clean lane, and the error above it, depend on s, the tokens written "
        "since the last rectification (stale tokens). f(0) = 0; constant: no growth after the jump at the first "
        "stale token; linear: jump + growth (s - 1); logarithmic: jump + growth ln s; power: jump + growth "
        "(s - 1)^exponent; saturating: jump + growth (1 - exp(-(s - 1) / scale)). Chosen by the error of texts that "
        "were left out of the fit (squared residual over squared curve). In brackets 95 %% intervals from %d "
        "bootstraps of texts; none below %d texts. Same steps: lanes of different s compared at the same token, "
        "position and place in the block; plain means hold their effects too. Not valid past the longest s run.",
        GROWTH_REPLICATES, ESTIMATE_MIN_TEXTS);
    if (head_columns(t) != 0 || sheet_column(t, COLUMN_NUMBER, "texts", "texts", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "lane_count", NULL, 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "matched", "same steps", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "law", "law", 0) != 0 || parameter_columns(t) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "at_longest", "f(longest s)", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "longest", "longest s", 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "left_out_error", "error of left-out texts", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "left_out_error_constant", "of the constant law", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "chosen_share", "bootstraps that choose it", 2) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "at_zero", NULL, 0) != 0)
        return -1;
    return rows_each(t, g, true, growth_row);
}

/* ---- every law ---- */

static int laws_row(struct sheet *t, const struct row *row)
{
    const struct growth *g = &row->r->growth;
    for (int law = 0; law < N_GROWTH_LAWS; law++) {
        const bool chosen = g->curves.n_texts > 1;
        if (head_write(t, row) != 0 || sheet_text(t, matching_words(&row->r->how)) != 0 ||
            sheet_text(t, growth_law_defs[law].name) != 0 ||
            sheet_text(t, !chosen                      ? "one text"
                          : law == (int)g->choice.law  ? "chosen"
                          : law == (int)g->choice.best ? "least error"
                                                       : "") != 0 ||
            parameters_write(t, g, (enum growth_law)law) != 0)
            return -1;
        const double numbers[] = { chosen ? g->choice.error[law] : (double)NAN,
                                   chosen ? g->choice.excess[law] : (double)NAN,
                                   chosen ? g->choice.excess_error[law] : (double)NAN, g->share[law], g->aicc[law] };
        for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
            if (sheet_number(t, numbers[i]) != 0) return -1;
    }
    return 0;
}

int sheet_of_growth_laws(struct sheet *t, const struct growth_study *g, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(
        t->caption, sizeof t->caption,
        "Every law, from the lanes that are never rectified and from all. A law is chosen if its error of left-out "
        "texts is above the least one by no more than the standard error of that difference, of those the one of "
        "the fewest parameters. AICc takes bins for independent, which they are not: it is no ground for a choice. "
        "Share: of %d bootstraps of texts.",
        GROWTH_CHOICES);
    if (head_columns(t) != 0 || sheet_column(t, COLUMN_TEXT, "matched", "same steps", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "law", "law", 0) != 0 || sheet_column(t, COLUMN_TEXT, "choice", "", 0) != 0 ||
        parameter_columns(t) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "left_out_error", "error of left-out texts", 5) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "excess", "above the least", 5) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "excess_error", "its standard error", 5) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "chosen_share", "share", 2) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "aicc", "AICc", 1) != 0)
        return -1;
    return rows_each(t, g, false, laws_row);
}

/* ---- curves ---- */

static int curve_row(struct sheet *t, const struct row *row)
{
    const struct growth *g = &row->r->growth;
    const struct growth_axis *a = &g->curves.axis;
    for (int bin = 0; bin < a->n; bin++) {
        const double f = growth_at(&g->fits[g->law], a->s[bin]);
        if (head_write(t, row) != 0 || sheet_number(t, a->s[bin]) != 0 || sheet_number(t, a->weight[bin]) != 0 ||
            sheet_number(t, g->mean[bin]) != 0 ||
            sheet_estimate(t, interval_of(f, g->band_low[bin], g->band_high[bin], g->curves.n_texts)) != 0 ||
            sheet_number(t, g->mean[bin] - f) != 0)
            return -1;
    }
    return 0;
}

int sheet_of_growth_curves(struct sheet *t, const struct growth_study *g, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(
        t->caption, sizeof t->caption,
        "The curves behind the laws: bins of stale tokens, the mean over texts, the chosen law with its 95 %% band, "
        "and what is left.");
    if (head_columns(t) != 0 || sheet_column(t, COLUMN_NUMBER, "stale_tokens", "stale tokens", 1) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "weight", NULL, 0) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "mean", "mean of texts", 4) != 0 ||
        sheet_column(t, COLUMN_ESTIMATE, "law", "law", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "residual", "residual", 4) != 0)
        return -1;
    return rows_each(t, g, false, curve_row);
}

/* ---- texts ---- */

static int texts_row_write(struct sheet *t, const struct row *row, const struct study *s)
{
    const struct growth *g = &row->r->growth;
    for (int i = 0; i < g->curves.n_texts; i++) {
        if (head_write(t, row) != 0 || sheet_text(t, s->texts[row->r->how.texts[i]]) != 0 ||
            sheet_text(t, growth_law_defs[g->law].name) != 0)
            return -1;
        for (int p = 0; p < GROWTH_PARAMETERS; p++)
            if (sheet_number(t, g->text_fits[i].parameters[p]) != 0) return -1;
        if (sheet_text(t, growth_fit_at_bound(&g->curves.axis, &g->text_fits[i]) ? "shape at its bound" : "") != 0)
            return -1;
    }
    return 0;
}

int sheet_of_growth_texts(struct sheet *t, const struct growth_study *g, const char *name)
{
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(t->caption, sizeof t->caption, "The chosen law fitted to each text alone.");
    if (head_columns(t) != 0 || sheet_column(t, COLUMN_TEXT, "text", "text", 0) != 0 ||
        sheet_column(t, COLUMN_TEXT, "law", "law", 0) != 0 || sheet_column(t, COLUMN_NUMBER, "jump", "jump", 4) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "growth", "growth", 5) != 0 ||
        sheet_column(t, COLUMN_NUMBER, "shape", "exponent, scale", 2) != 0 ||
        sheet_column(t, COLUMN_TEXT, "note", "", 0) != 0)
        return -1;
    for (int i = 0; i < g->groups.n; i++)
        for (int q = 0; q < N_GROWTH_QUANTITIES; q++) {
            const enum growth_source source = growth_source_best(&g->sets[i], (enum growth_quantity)q);
            const struct row row = { &g->sets[i], &g->sets[i].results[source][q], source, (enum growth_quantity)q };
            if (growth_is_there(row.r) && texts_row_write(t, &row, g->study) != 0) return -1;
        }
    return 0;
}
