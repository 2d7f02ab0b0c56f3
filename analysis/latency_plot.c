/* Figures of experiment latency: a panel for each batch. */
#include "analysis/latency_plot.h"
#include "analysis/words.h"

#include "core/err.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

int latency_plot_batches(const struct latency_point *points, int n, int *batches)
{
    int n_batches = 0;
    for (int i = 0; i < n; i++)
        if ((n_batches == 0 || batches[n_batches - 1] != points[i].batch) && n_batches < LATENCY_MAX_BATCHES)
            batches[n_batches++] = points[i].batch;
    return n_batches;
}

static int lanes_of(const struct latency_study *s)
{
    int n = 0;
    for (int i = 0; i < s->n_points; i++) n = s->points[i].place >= n ? s->points[i].place + 1 : n;
    return n;
}

static const struct latency_point *point_of(const struct latency_study *s, int batch, int place, int from)
{
    for (int i = from; i < s->n_points; i++)
        if (s->points[i].batch == batch && s->points[i].place == place) return &s->points[i];
    return NULL;
}

static int style_of(int place)
{
    return place % FIGURE_STYLES + 1;
}

int latency_plot_panels(struct figure *f, struct plot_grid *g, int n_batches)
{
    *g = plot_grid_usual;
    g->n_panels = n_batches;
    g->n_columns = n_batches < 3 ? n_batches : 3;
    g->panel_height = 150;
    g->gap_x = 30;
    return n_batches > 0 ? 0 : fail("plot %s: no times", f->name);
}

void latency_plot_names(const struct plot_grid *g, FILE *out, int panel, const char *y_name)
{
    const int row = panel / g->n_columns;
    grid_x_name(g, out, panel, "context (tokens)");
    if (grid_is_side(g, panel)) grid_y_name(g, out, row, row, y_name);
}

/* ---- a token ---- */

static void token_block(struct figure *f, const struct latency_study *s, int batch, int place)
{
    char block[32];
    snprintf(block, sizeof block, "t%d_%d", batch, place);
    figure_data(f, block);
    for (const struct latency_point *p = point_of(s, batch, place, 0); p; p = point_of(s, batch, place, (int)(p - s->points) + 1))
        fprintf(f->script.file, "%d %.6g %.6g\n", p->context, 1e3 * p->token, 1e3 * p->times[TIME_READ].median);
    figure_data_end(f);
}

/* The strong dense step, once for each context. */
static bool peer_block(struct figure *f, const struct latency_study *s, int batch)
{
    char block[32];
    int n = 0;
    snprintf(block, sizeof block, "peer%d", batch);
    for (int i = 0; i < s->n_points; i++) n += s->points[i].batch == batch && s->points[i].place == 0 && !isnan(s->points[i].peer);
    if (n == 0) return false;
    figure_data(f, block);
    for (const struct latency_point *p = point_of(s, batch, 0, 0); p; p = point_of(s, batch, 0, (int)(p - s->points) + 1))
        if (!isnan(p->peer)) fprintf(f->script.file, "%d %.6g\n", p->context, 1e3 * p->peer);
    figure_data_end(f);
    return true;
}

static void token_panel(struct figure *f, const struct plot_grid *g, const struct latency_study *s, int at, int batch)
{
    char title[64];
    const int n = lanes_of(s);
    for (int place = 0; place < n; place++)
        if (point_of(s, batch, place, 0)) token_block(f, s, batch, place);
    const bool peer = peer_block(f, s, batch);
    grid_panel(g, f->body, at);
    snprintf(title, sizeof title, "batch %d", batch);
    grid_title(f->body, title);
    latency_plot_names(g, f->body, at, "ms");
    fputs("plot ", f->body);
    for (int place = 0, first = 1; place < n; place++) {
        if (!point_of(s, batch, place, 0)) continue;
        fprintf(f->body, "%s$t%d_%d using 1:2 with linespoints ls %d", first ? "" : ", ", batch, place, style_of(place));
        fprintf(f->body, ", $t%d_%d using 1:3 with lines lc rgb '%s' lw 0.6 dt 3", batch, place, figure_colours[style_of(place) - 1]);
        first = 0;
    }
    if (peer) fprintf(f->body, ", $peer%d using 1:2 with linespoints ls %d", batch, style_of(n));
    fputs("\n", f->body);
}

void latency_plot_contexts(FILE *out, const struct latency_point *points, int n)
{
    int least = points[0].context, most = 0;
    for (int i = 0; i < n; i++) {
        least = points[i].context < least ? points[i].context : least;
        most = points[i].context > most ? points[i].context : most;
    }
    fprintf(out, "set logscale xy\nset xrange [%.6g:%.6g]\nset xtics nomirror out (", least / 1.3, most * 1.3);
    for (int i = 0, n_ticks = 0; i < n; i++) {
        bool first = true;
        for (int k = 0; k < i; k++) first = first && points[k].context != points[i].context;
        if (!first) continue;
        fprintf(out, "%s'", n_ticks++ ? ", " : "");
        if (lround(log2((double)points[i].context / least)) % 2 == 0) fprintf(out, "%gK", points[i].context / 1024.0);
        fprintf(out, "' %d", points[i].context);
    }
    fputs(")\nset format y '%g'\n", out);
}

/* Around all values. */
static void token_axes(struct figure *f, const struct latency_study *s)
{
    double low = INFINITY, high = 0;
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i];
        low = fmin(low, fmin(p->token, p->times[TIME_READ].median));
        high = fmax(high, fmax(p->token, p->peer)); /* fmax and fmin pass over NaN */
        low = fmin(low, p->peer);
    }
    latency_plot_contexts(f->script.file, s->points, s->n_points);
    fprintf(f->script.file, "set yrange [%.4g:%.4g]\nset ytics nomirror out (", 1e3 * low / 1.3, 1e3 * high * 1.3);
    for (int decade = -3; decade < 6; decade++)
        fprintf(f->script.file, "%s1e%d, 2e%d, 5e%d", decade > -3 ? ", " : "", decade, decade, decade);
    fputs(")\n", f->script.file);
}

int latency_plot_tokens(struct figure *f, const struct latency_study *s)
{
    struct plot_grid g;
    int batches[LATENCY_MAX_BATCHES];
    const int n = latency_plot_batches(s->points, s->n_points, batches);
    TRY(figure_open(f, s->folder, "latency-token"), "latency");
    TRY(latency_plot_panels(f, &g, n), "latency");
    for (int place = 0; place < lanes_of(s); place++) {
        const struct latency_point *p = NULL;
        for (int i = 0; i < n && !p; i++) p = point_of(s, batches[i], place, 0);
        if (p) grid_key_add(&g, style_of(place), GRID_BOTH, p->lane);
    }
    if (s->n_peers > 0) grid_key_add(&g, style_of(lanes_of(s)), GRID_BOTH, "strong dense");
    snprintf(g.note, sizeof g.note, "medians over the timed steps of %d run%s on one machine", s->n_runs, words_s(s->n_runs));
    grid_open(&g, f);
    for (int i = 0; i < n; i++) token_panel(f, &g, s, i, batches[i]);
    snprintf(f->title, sizeof f->title, "Time of a token");
    snprintf(f->caption, sizeof f->caption,
             "Time of a token of every sequence (a step, and a rectified lane's share of its rectification) of %s on %s, by context. Dotted: a "
             "plain read of what the step moves, in the same run.%s%s%s",
             s->model, s->machine, s->n_peers > 0 ? " Strong dense: " : "", s->peer, s->n_peers > 0 ? "." : "");
    grid_begin(&g, f);
    token_axes(f, s);
    return 0;
}

/* ---- parts ---- */

static const struct {
    enum latency_time time;
    int style;
    const char *name;
} parts[] = {
    { TIME_PRODUCT, 2, "products" },   { TIME_SELECT, 6, "score and select" }, { TIME_ATTEND, 3, "attention" },
    { TIME_OTHER, 8, "the rest" },     { TIME_RECTIFY, 5, "rectification, a token's share" },
};
enum { N_PARTS = sizeof parts / sizeof parts[0] };

static double part_of(const struct latency_point *p, int part)
{
    const double x = p->times[parts[part].time].median / (parts[part].time == TIME_RECTIFY && p->interval > 0 ? p->interval : 1);
    return isnan(x) ? 0 : 1e3 * x;
}

/* Bars side by side for the lanes of a context, each a pile of parts: left, right, and the piles' edges. */
static void parts_block(struct figure *f, const struct latency_study *s, int batch)
{
    char block[32];
    int group = -1, context = -1;
    const double width = 0.8 / lanes_of(s);
    snprintf(block, sizeof block, "p%d", batch);
    figure_data(f, block);
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i];
        if (p->batch != batch) continue;
        if (p->context != context) context = p->context, group++;
        const double left = group - 0.4 + width * p->place;
        double sum = 0;
        fprintf(f->script.file, "%.4f %.4f 0", left, left + 0.9 * width);
        for (int k = 0; k < N_PARTS; k++) fprintf(f->script.file, " %.6g", sum += part_of(p, k));
        fprintf(f->script.file, " %.6g\n", 1e3 * p->token);
    }
    figure_data_end(f);
}

static void parts_panel(struct figure *f, const struct plot_grid *g, const struct latency_study *s, int at, int batch)
{
    char title[64];
    int context = -1, group = 0;
    parts_block(f, s, batch);
    grid_panel(g, f->body, at);
    snprintf(title, sizeof title, "batch %d", batch);
    grid_title(f->body, title);
    latency_plot_names(g, f->body, at, "ms");
    fputs("set xtics nomirror out (", f->body);
    for (int i = 0; i < s->n_points; i++) {
        if (s->points[i].batch != batch || s->points[i].context == context) continue;
        context = s->points[i].context;
        fprintf(f->body, "%s'%gK' %d", group ? ", " : "", context / 1024.0, group);
        group++;
    }
    fprintf(f->body, ")\nset xrange [-0.6:%.1f]\nplot ", group - 0.4);
    for (int k = 0; k < N_PARTS; k++)
        fprintf(f->body, "$p%d using 1:%d:1:2:%d:%d with boxxyerror fs solid 0.85 noborder lc rgb '%s', ", batch, 3 + k, 3 + k, 4 + k,
                figure_colours[parts[k].style - 1]);
    fprintf(f->body, "$p%d using (($1+$2)/2):%d with points pt 2 ps 0.6 lc rgb '#000000'\n", batch, 4 + N_PARTS);
}

/* What of the whole step its parts leave out, a share of it; below 0: they are more than it. */
static double unexplained(const struct latency_point *p)
{
    double sum = 0;
    for (int k = 0; k < N_PARTS; k++)
        if (parts[k].time != TIME_RECTIFY) sum += part_of(p, k);
    return 1 - sum / (1e3 * p->times[TIME_STEP].median);
}

/* " In 2 of 12 bars ..", where parts and step differ by more than a tenth of the step; "" where none do. */
static const char *unexplained_say(const struct latency_study *s, char *text, size_t n_bytes)
{
    const struct latency_point *worst = NULL;
    int n = 0;
    text[0] = '\0';
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i];
        if (!(fabs(unexplained(p)) > 0.1)) continue;
        if (!worst || fabs(unexplained(p)) > fabs(unexplained(worst))) worst = p;
        n++;
    }
    if (worst)
        snprintf(text, n_bytes, " In %d of %d bars the parts miss the whole step by more than 10 %% of it: at worst they add up to %.0f %% %s (%s, batch %d, context %d).",
                 n, s->n_points, 100 * fabs(unexplained(worst)), unexplained(worst) > 0 ? "less" : "more", worst->lane, worst->batch, worst->context);
    return text;
}

int latency_plot_parts(struct figure *f, const struct latency_study *s)
{
    struct plot_grid g;
    char lanes[512] = "", missing[320];
    int batches[LATENCY_MAX_BATCHES];
    const int n = latency_plot_batches(s->points, s->n_points, batches);
    TRY(figure_open(f, s->folder, "latency-parts"), "latency");
    TRY(latency_plot_panels(f, &g, n), "latency");
    for (int k = 0; k < N_PARTS; k++) grid_key_add(&g, parts[k].style, GRID_BOX, parts[k].name);
    snprintf(g.note, sizeof g.note, "medians over the timed steps of %d run%s on one machine", s->n_runs, words_s(s->n_runs));
    grid_open(&g, f);
    for (int i = 0; i < n; i++) parts_panel(f, &g, s, i, batches[i]);
    for (int place = 0, at = 0; place < lanes_of(s) && n > 0 && at < (int)sizeof lanes; place++) {
        const struct latency_point *p = point_of(s, batches[0], place, 0);
        if (p) at += snprintf(lanes + at, sizeof lanes - (size_t)at, "%s%s", at ? ", " : "", p->lane);
    }
    snprintf(f->title, sizeof f->title, "What a token's time consists of");
    snprintf(f->caption, sizeof f->caption,
             "What a token's time consists of, on %s: the parts timed apart, piled up; a cross: the whole step and a rectified lane's share of "
             "its rectification, timed as a whole. Bars of a context, from the left: %s.%s",
             s->machine, lanes, unexplained_say(s, missing, sizeof missing));
    grid_begin(&g, f);
    fputs("set yrange [0:*]\n", f->script.file);
    return 0;
}
