/* tables/latency.csv and .md, plots, report.html of a folder of experiment latency. */
#include "analysis/latency.h"
#include "analysis/latency_peer.h"
#include "analysis/output.h"
#include "analysis/page_figure.h"
#include "analysis/page_style.h"
#include "analysis/paper_latency.h"

#include "core/err.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { N_FIGURES = 2, N_TABLES = 2 };

/* The first of a batch's lane. */
static bool is_first(const struct latency_study *s, int at)
{
    const struct latency_point *p = &s->points[at];
    for (int k = 0; k < at; k++)
        if (s->points[k].batch == p->batch && s->points[k].place == p->place) return false;
    return p->place > 0;
}

/* The batch's lane where it gains most; NULL: nothing is beside it. */
static const struct latency_point *best_of(const struct latency_study *s, const struct latency_point *p)
{
    const struct latency_point *best = NULL;
    for (int k = 0; k < s->n_points; k++) {
        const struct latency_point *x = &s->points[k];
        if (x->batch != p->batch || x->place != p->place || isnan(latency_gain(s, x))) continue;
        if (!best || latency_gain(s, x) > latency_gain(s, best)) best = x;
    }
    return best;
}

/* Where the strong dense step is the measure: from where on our own dense step is beaten too. */
static void say_own(const struct latency_study *s, const struct latency_point *p, char *text, size_t n_bytes)
{
    int below = 0;
    text[0] = '\0';
    if (s->n_peers == 0) return;
    const int cross = latency_crossover(s, p->batch, p->place, false, &below);
    if (cross == 0) snprintf(text, n_bytes, " It is never faster than our own dense step.");
    else if (below == 0) snprintf(text, n_bytes, " It is faster than our own dense step at each of them too.");
    else snprintf(text, n_bytes, " Than our own dense step it is faster from %d tokens on, not at %d.", cross, below);
}

/* What the numbers say about where a policy pays, a sentence for each batch and lane, against the strongest dense step that there is. */
static int findings_write(const struct latency_study *s, struct notes *findings)
{
    const char *dense = s->n_peers > 0 ? "the strong dense step" : "dense";
    char peer[512], own[160];
    latency_peer_say(s, peer, sizeof peer);
    TRY(notes_add(findings, "%s", peer), "findings");
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i], *best = best_of(s, p);
        int below = 0;
        if (!is_first(s, i)) continue;
        if (!best) {
            TRY(notes_add(findings, "Batch %d: %s: %s was timed at none of its contexts.", p->batch, p->lane, dense), "findings");
            continue;
        }
        const double gain = latency_gain(s, best);
        say_own(s, p, own, sizeof own);
        const int cross = latency_crossover(s, p->batch, p->place, s->n_peers > 0, &below);
        if (cross == 0)
            TRY(notes_add(findings, "Batch %d: %s is never faster than %s up to a context of %d tokens (%.2fx at best, at %d): stay dense.",
                          p->batch, p->lane, dense, below, gain, best->context), "findings");
        else if (below == 0)
            TRY(notes_add(findings, "Batch %d: %s is faster than %s from the smallest context timed on (%d tokens); at best %.2fx, at %d.%s",
                          p->batch, p->lane, dense, cross, gain, best->context, own), "findings");
        else
            TRY(notes_add(findings, "Batch %d: %s is faster than %s from a context of %d tokens on, and not at %d: the crossover lies between. "
                          "At best %.2fx, at %d.%s", p->batch, p->lane, dense, cross, below, gain, best->context, own), "findings");
    }
    return 0;
}

static void list_write(FILE *out, const struct notes *notes)
{
    fputs("<ul>\n", out);
    for (int i = 0; i < notes->n; i++) {
        fputs("<li>", out);
        output_html(out, notes->text[i]);
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
}

static int page(const struct latency_study *s, const struct notes *findings, const struct figure *figures, const struct sheet *tables)
{
    struct output o = { 0 };
    char title[256];
    const char *slash = strrchr(s->folder, '/');
    TRY(output_open(&o, s->folder, "report.html"), "%s", s->folder);
    snprintf(title, sizeof title, "%.120s: the time of decode steps", slash && slash[1] ? slash + 1 : s->folder);
    page_begin(o.file, title);
    fputs("<p>", o.file);
    output_html(o.file, s->model);
    fputs(" on ", o.file);
    output_html(o.file, s->machine);
    fprintf(o.file, " (device %s), %d runs, made by commit ", s->device, s->n_runs);
    output_html(o.file, s->commit);
    fputs(".</p>\n", o.file);
    if (s->warnings.n) {
        fputs("<div class=\"warnings\">\n", o.file);
        list_write(o.file, &s->warnings);
        fputs("</div>\n", o.file);
    }
    list_write(o.file, findings);
    int rc = 0;
    for (int i = 0; i < N_FIGURES && rc == 0; i++) rc = page_figure_write(o.file, &figures[i], "plots", "");
    for (int i = 0; i < N_TABLES && rc == 0; i++) {
        fputs("<p class=\"caption\">", o.file);
        output_html(o.file, tables[i].caption);
        fputs("</p>\n", o.file);
        rc = sheet_write_html(&tables[i], o.file);
    }
    page_end(o.file);
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    return rc;
}

int latency_report(const struct latency_study *s)
{
    static int (*const plots[N_FIGURES])(struct figure *f, const struct latency_study *s) = { latency_plot_tokens, latency_plot_parts };
    struct figure figures[N_FIGURES] = { 0 };
    struct sheet tables[N_TABLES] = { 0 };
    struct notes findings = { 0 };
    char footer[400];
    snprintf(footer, sizeof footer, "%s on %s, made by commit %s", s->model, s->machine, s->commit);
    int rc = latency_sheet(&tables[0], s);
    if (rc == 0) rc = paper_latency_sheet(&tables[1], s);
    for (int i = 0; i < N_TABLES && rc == 0; i++) rc = sheet_write(&tables[i], s->folder, footer);
    for (int i = 0; i < N_FIGURES && rc == 0; i++) {
        rc = plots[i](&figures[i], s);
        if (rc == 0) rc = figure_draw(&figures[i]);
    }
    if (rc == 0) rc = findings_write(s, &findings);
    if (rc == 0) rc = page(s, &findings, figures, tables);
    for (int i = 0; i < N_FIGURES; i++) figure_close(&figures[i]);
    notes_close(&findings);
    for (int i = 0; i < N_TABLES; i++) sheet_close(&tables[i]);
    return rc;
}
