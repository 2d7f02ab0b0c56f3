#include "analysis/growth_report.h"

#include "analysis/growth_sheets.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_BOUNDS = 6, MAX_GROUPS_TOLD = 8 };

enum growth_sheet {
    SHEET_GROWTH,
    SHEET_SAWTOOTH,
    SHEET_INTERVAL,
    SHEET_LAWS,
    SHEET_CURVES,
    SHEET_TEXTS,
    SHEET_SAWTOOTH_CURVES,
    SHEET_INTERVAL_POINTS,
    N_GROWTH_SHEETS
};
const char *const growth_sheet_names[N_GROWTH_SHEETS + 1] = {
    [SHEET_GROWTH] = "growth",
    [SHEET_SAWTOOTH] = "sawtooth",
    [SHEET_INTERVAL] = "interval",
    [SHEET_LAWS] = "growth-laws",
    [SHEET_CURVES] = "growth-curves",
    [SHEET_TEXTS] = "growth-texts",
    [SHEET_SAWTOOTH_CURVES] = "sawtooth-curves",
    [SHEET_INTERVAL_POINTS] = "interval-points",
};

int growth_report_open(struct growth_report *r, const struct study *s, const struct corners *c, struct notes *missing)
{
    *r = (struct growth_report){ 0 };
    if (growth_study_open(&r->study, s, c, missing) != 0 || sawteeth_open(&r->sawteeth, &r->study) != 0) return -1;
    const int n = r->study.groups.n;
    TRY(MEM_NEW(&r->intervals, n * N_INTERVAL_ERRORS, "intervals"), "%s", s->key);
    for (int i = 0; i < n; i++)
        for (int error = 0; error < N_INTERVAL_ERRORS; error++)
            if (interval_curve_open(&r->intervals[r->n_intervals++], s, &r->study.sets[i],
                                    (enum interval_error)error) != 0)
                return -1;
    return 0;
}

void growth_report_close(struct growth_report *r)
{
    for (int i = 0; i < r->n_intervals; i++) interval_curve_close(&r->intervals[i]);
    mem_free(r->intervals);
    sawteeth_close(&r->sawteeth);
    growth_study_close(&r->study);
    *r = (struct growth_report){ 0 };
}

/* In nats, ascending; the caller's own among them. */
static int bounds_make(double bound, double *bounds)
{
    static const double always[] = { 0.05, 0.1, 0.2, 0.3, 0.5 };
    const int n_always = sizeof always / sizeof *always;
    int n = 0, i = 0;
    while (i < n_always && !(always[i] > bound)) {
        if (always[i] < bound || isnan(bound)) bounds[n++] = always[i];
        i++;
    }
    if (!isnan(bound)) bounds[n++] = bound;
    while (i < n_always) bounds[n++] = always[i++];
    return n;
}

static int table_make(struct sheet *t, const struct growth_report *r, enum growth_sheet which, double bound,
                      const char *name)
{
    const struct growth_study *g = &r->study;
    double bounds[MAX_BOUNDS];
    switch (which) {
    case SHEET_GROWTH:
        return sheet_of_growth(t, g, name);
    case SHEET_SAWTOOTH:
        return sheet_of_sawteeth(t, g, &r->sawteeth, name);
    case SHEET_INTERVAL:
        return sheet_of_intervals(t, g->study, r->intervals, r->n_intervals, bounds, bounds_make(bound, bounds), name);
    case SHEET_LAWS:
        return sheet_of_growth_laws(t, g, name);
    case SHEET_CURVES:
        return sheet_of_growth_curves(t, g, name);
    case SHEET_TEXTS:
        return sheet_of_growth_texts(t, g, name);
    case SHEET_SAWTOOTH_CURVES:
        return sheet_of_sawtooth_curves(t, g, &r->sawteeth, name);
    default:
        return sheet_of_interval_points(t, g->study, r->intervals, r->n_intervals, name);
    }
}

int growth_report_tables(const struct growth_report *r, double bound, struct sheet_list *tables, const char *suffix)
{
    for (int i = 0; i < N_GROWTH_SHEETS; i++) {
        char name[96];
        struct sheet *t = sheet_list_next(tables);
        snprintf(name, sizeof name, "%s%.60s", growth_sheet_names[i], suffix);
        if (!t || table_make(t, r, (enum growth_sheet)i, bound, name) != 0) return -1;
    }
    return 0;
}

/* ---- sentences ---- */

/* "0.0746 [0.0679, 0.0818]" */
static const char *parameter_words(char *text, size_t n_bytes, const struct growth *g, int p, int decimals)
{
    const double x = g->fits[g->law].parameters[p];
    if (isnan(g->low[p]))
        snprintf(text, n_bytes, "%.*f", decimals, x);
    else
        snprintf(text, n_bytes, "%.*f [%.*f, %.*f]", decimals, x, decimals, g->low[p], decimals, g->high[p]);
    return text;
}

/* What the law says beside its jump: how it goes on. */
static void law_words(char *text, size_t n_bytes, const struct growth *g)
{
    char growth[96], shape[96];
    parameter_words(growth, sizeof growth, g, 1, 4);
    parameter_words(shape, sizeof shape, g, 2, 2);
    switch (g->law) {
    case LAW_LINEAR:
        parameter_words(growth, sizeof growth, g, 1, 6);
        snprintf(text, n_bytes, "grows by %s with each further one (linear)", growth);
        break;
    case LAW_LOGARITHMIC:
        snprintf(text, n_bytes, "grows with s of them by %s ln s (logarithmic)", growth);
        break;
    case LAW_POWER:
        snprintf(text, n_bytes, "grows with s of them by %s (s - 1)^%s (power)", growth, shape);
        break;
    case LAW_SATURATING:
        snprintf(text, n_bytes, "grows by %s in all, with a scale of %s tokens (saturating)", growth, shape);
        break;
    default:
        snprintf(text, n_bytes, "no growth is seen");
    }
}

int growth_report_law_tell(const struct growth_set *set, enum growth_quantity q, const char *what, struct notes *findings)
{
    const struct growth_result *r = &set->results[growth_source_best(set, q)][q];
    const struct growth *g = &r->growth;
    char jump[96], law[256], share[64] = "", misfit[160] = "";
    if (!growth_is_there(r) || g->curves.n_texts < 2) return 0;
    const int n_misfits = growth_misfits(g);
    if (3 * n_misfits > g->curves.axis.n)
        snprintf(misfit, sizeof misfit, "; no law fits well: the texts lie off the same way in %d of %d bins", n_misfits, g->curves.axis.n);
    parameter_words(jump, sizeof jump, g, 0, 4);
    law_words(law, sizeof law, g);
    if (g->n_replicates > 0)
        snprintf(share, sizeof share, ", chosen in %.0f %% of bootstraps of %d texts", 100 * g->share[g->law],
                 g->curves.n_texts);
    else
        snprintf(share, sizeof share, ", on %d texts, too few for a claim", g->curves.n_texts);
    if (!growth_is_identified(&r->how))
        return notes_add(findings, "Growth, %s: unidentified for %s: %s. Fitted all the same: %s at the first stale "
                                   "token, then %s%s; this may be a law of steps or of places in the block as well.",
                         set->group->title, what, growth_unidentified_words(&r->how), jump, law,
                         g->n_replicates > 0 ? "" : share);
    return notes_add(findings, "Growth, %s: %s is %s at the first stale token, then %s%s; seen up to %.0f stale tokens%s.",
                     set->group->title, what, jump, law, share, g->curves.axis.s_max, misfit);
}

/* How far off the predictions of a group's rectified lanes are, as shares of what was measured. */
int growth_report_teeth_tell(const struct growth_report *r, const struct growth_group *group, enum growth_quantity q,
                             const char *what, struct notes *findings)
{
    double sum = 0, worst = 0;
    int n = 0, n_inside = 0, n_points = 0;
    bool limits = true;
    int n_texts = 0;
    const char *from = NULL;
    for (int i = 0; i < r->sawteeth.n; i++) {
        const struct sawtooth *w = &r->sawteeth.all[i];
        bool member = false;
        for (int k = 0; k < group->n_lanes; k++) member = member || group->lanes[k] == w->lane;
        if (!member || w->quantity != q || w->n_texts == 0 || isnan(sawtooth_error(w))) continue;
        sum += fabs(sawtooth_error(w));
        worst = fmax(worst, fabs(sawtooth_error(w)));
        from = !from ? w->from : strcmp(from, w->from) == 0 ? from : "several laws, see the table";
        limits = limits && !isnan(w->mean.low);
        n_texts = w->n_texts;
        n_inside += w->n_inside;
        n_points += w->n_points;
        n++;
    }
    if (n == 0) return 0;
    char bins[96] = "", lanes[64] = "the rectified lane", at_worst[64] = "";
    if (n > 1) snprintf(lanes, sizeof lanes, "%d rectified lanes", n);
    if (n > 1) snprintf(at_worst, sizeof at_worst, " on average, %.1f %% at worst", 100 * worst);
    if (limits)
        snprintf(bins, sizeof bins, "; %d of %d bins of %s lie where they should", n_inside, n_points,
                 n == 1 ? "its window" : "their windows");
    else
        snprintf(bins, sizeof bins, ", on %d text%s, too few for a claim", n_texts, words_s(n_texts));
    return notes_add(
        findings,
        "Prediction, %s: %s of %s is off by %.1f %%%s%s (law from %s).", group->title, what, lanes, 100 * sum / n, at_worst, bins, from);
}

static int interval_tell(const struct interval_curve *c, double bound, struct notes *findings)
{
    const struct interval_point *p = interval_recommend(c, bound, true);
    char error[96];
    if (c->n_measured == 0 || isnan(c->points[0].error.high)) return 0;
    if (!p)
        return notes_add(findings, "Interval, %s: none that was run keeps %s under %g%s.", c->group->title,
                         interval_error_defs[c->error].label, bound,
                         c->clean.mean > bound ? ": selection alone is above it" : "");
    words_amount(error, sizeof error, p->error, 1, 3, " nat");
    if (p->interval == INTERVAL_NEVER)
        return notes_add(findings,
                         "Interval, %s: never rectifying keeps %s under %g: %s, at %.0f %% of the dense bytes.",
                         c->group->title, interval_error_defs[c->error].label, bound, error, 100 * p->counted);
    return notes_add(
        findings,
        "Interval, %s: %d is the longest that was run to keep %s under %g: %s, at %.0f %% of the dense bytes.",
        c->group->title, p->interval, interval_error_defs[c->error].label, bound, error, 100 * p->counted);
}

int growth_report_tell(const struct growth_report *r, double bound, struct notes *findings)
{
    for (int i = 0; i < r->study.groups.n && i < MAX_GROUPS_TOLD; i++) {
        const struct growth_set *set = &r->study.sets[i];
        if (growth_report_law_tell(set, GROWTH_K, "K's distance to clean", findings) != 0 ||
            growth_report_law_tell(set, GROWTH_KL_CLEAN, "KL from clean (nat)", findings) != 0 ||
            growth_report_law_tell(set, GROWTH_NLL, "NLL above clean (nat)", findings) != 0 ||
            growth_report_teeth_tell(r, set->group, GROWTH_K, "K's distance to clean", findings) != 0 ||
            growth_report_teeth_tell(r, set->group, GROWTH_NLL, "NLL above clean", findings) != 0)
            return -1;
    }
    for (int i = 0; i < r->n_intervals && !isnan(bound); i++)
        if (interval_tell(&r->intervals[i], bound, findings) != 0) return -1;
    return 0;
}
