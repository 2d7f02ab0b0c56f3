#include "analysis/latency_compare.h"

#include "analysis/latency_plot.h"
#include "analysis/page_figure.h"
#include "analysis/page_style.h"
#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is timed in one of the results at least: points that stand for their batch, context and lane, place: the lane's among the names
 * as they first come. */
struct beside {
    const struct latency_study *all; /* borrowed [n] */
    int n;
    struct latency_point *keys; /* owned [n_keys], by batch, context and place */
    int n_keys, n_lanes;
};

static const struct latency_point *point_like(const struct latency_study *s, const struct latency_point *key)
{
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i];
        if (p->batch == key->batch && p->context == key->context && strcmp(p->lane, key->lane) == 0) return p;
    }
    return NULL;
}

/* The first result's time over another's; NaN where one of them is missing. */
static double gain_of(const struct beside *b, int i, const struct latency_point *key)
{
    const struct latency_point *first = point_like(&b->all[0], key), *p = point_like(&b->all[i], key);
    return first && p ? first->token / p->token : NAN;
}

static void key_add(struct beside *b, const struct latency_point *p)
{
    struct latency_point *key = &b->keys[b->n_keys];
    *key = *p;
    key->place = b->n_lanes;
    for (int i = 0; i < b->n_keys; i++) {
        if (strcmp(b->keys[i].lane, p->lane) != 0) continue;
        key->place = b->keys[i].place;
        if (b->keys[i].batch == p->batch && b->keys[i].context == p->context) return;
    }
    b->n_lanes += key->place == b->n_lanes;
    b->n_keys++;
}

static int beside_open(struct beside *b, const struct latency_study *all, int n)
{
    int n_points = 0;
    *b = (struct beside){ .all = all, .n = n };
    for (int i = 0; i < n; i++) n_points += all[i].n_points;
    TRY(MEM_NEW(&b->keys, n_points, "points"), "compare");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < all[i].n_points; k++) key_add(b, &all[i].points[k]);
    qsort(b->keys, (size_t)b->n_keys, sizeof *b->keys, latency_point_compare);
    return 0;
}

/* ---- the table ---- */

static const struct {
    const char *key, *label;
    int decimals;
    double scale;
    bool csv_only;
} columns[] = {
    { "batch", "batch", 0, 1, false },
    { "context", "context", 0, 1, false },
    { "token_s", "a token (ms)", 3, 1e3, false },
    { "token_from_s", NULL, 3, 1e3, true },
    { "token_to_s", NULL, 3, 1e3, true },
    { "first_over_this", "the first's time over it", 2, 1, false },
    { "step_s", "step (ms)", 3, 1e3, false },
    { "rectify_s", "rectification (ms)", 3, 1e3, false },
    { "read_share", "share of plain read", 2, 1, false },
    { "clock_hz", "SM (MHz)", 0, 1e-6, false },
};
enum { N_COLUMNS = sizeof columns / sizeof columns[0] };

static const struct {
    const char *key, *label;
} texts[] = {
    { "lane", "lane" }, { "results", "results" }, { "device", "device" }, { "model", NULL }, { "machine", NULL }, { "folder", NULL }, { "commit", NULL },
};
enum { N_TEXTS = sizeof texts / sizeof texts[0] };

static int row_write(struct sheet *t, const struct beside *b, int i, const struct latency_point *key)
{
    const struct latency_study *s = &b->all[i];
    const struct latency_point *p = point_like(s, key);
    if (!p) return 0;
    const struct latency_spread *x = p->times;
    const char *const says[N_TEXTS] = { p->lane, s->label, s->device, s->model, s->machine, s->folder, s->commit };
    const double values[N_COLUMNS] = {
        p->batch, p->context, p->token, p->token_from, p->token_to, gain_of(b, i, key), x[TIME_STEP].median,
        x[TIME_RECTIFY].median, x[TIME_READ].median / x[TIME_STEP].median, p->clock_hz,
    };
    for (int k = 0; k < N_TEXTS; k++)
        if (sheet_text(t, says[k]) != 0) return -1;
    for (int k = 0; k < N_COLUMNS; k++)
        if (sheet_number(t, values[k]) != 0) return -1;
    return 0;
}

static int table_fill(struct sheet *t, const struct beside *b)
{
    TRY(sheet_open(t, "compare"), "compare");
    snprintf(t->caption, sizeof t->caption,
             "%d results side by side: device time of a token (a step, and a rectified lane's share of its rectification), medians over the timed "
             "steps; above 1.00 a result is faster than the first, %.60s, at the same lane, batch and context. Nothing is tested: a median's "
             "interval (in the csv) is of the steps of one run, and what differs between runs, the machine, its clock, the build, is not in it.",
             b->n, b->all[0].label);
    for (int i = 0; i < N_TEXTS; i++)
        if (sheet_column(t, COLUMN_TEXT, texts[i].key, texts[i].label, 0) != 0) return -1;
    for (int i = 0; i < N_COLUMNS; i++) {
        if (sheet_column(t, COLUMN_NUMBER, columns[i].key, columns[i].label, columns[i].decimals) != 0) return -1;
        t->columns[t->n_columns - 1].scale = columns[i].scale;
        if (columns[i].csv_only) sheet_column_csv_only(t);
    }
    for (int k = 0; k < b->n_keys; k++)
        for (int i = 0; i < b->n; i++)
            if (row_write(t, b, i, &b->keys[k]) != 0) return -1;
    return 0;
}

/* ---- the figure ---- */

/* A line for each lane of each result but the first, as far as line styles reach. */
static int line_style(const struct beside *b, int i, int place)
{
    const int at = (i - 1) * b->n_lanes + place;
    return at < FIGURE_STYLES ? at + 1 : 0;
}

static const char *lane_name(const struct beside *b, int place)
{
    for (int k = 0; k < b->n_keys; k++)
        if (b->keys[k].place == place) return b->keys[k].lane;
    return "";
}

/* Whether the line has a point. */
static bool line_block(struct figure *f, const struct beside *b, int i, int place, int batch)
{
    char block[48];
    int n = 0;
    for (int k = 0; k < b->n_keys; k++) {
        const struct latency_point *key = &b->keys[k];
        const double ratio = gain_of(b, i, key);
        if (key->batch != batch || key->place != place || isnan(ratio)) continue;
        snprintf(block, sizeof block, "c%d_%d_%d", batch, i, place);
        if (n++ == 0) figure_data(f, block);
        fprintf(f->script.file, "%d %.6g\n", key->context, ratio);
    }
    if (n) figure_data_end(f);
    return n > 0;
}

static void panel_write(struct figure *f, const struct plot_grid *g, const struct beside *b, int at, int batch)
{
    char title[64];
    snprintf(title, sizeof title, "batch %d", batch);
    grid_panel(g, f->body, at);
    grid_title(f->body, title);
    latency_plot_names(g, f->body, at, "times as fast");
    fputs("plot 1 with lines lc rgb '#000000' lw 0.6 dt 3", f->body);
    for (int i = 1; i < b->n; i++)
        for (int place = 0; place < b->n_lanes; place++)
            if (line_style(b, i, place) && line_block(f, b, i, place, batch))
                fprintf(f->body, ", $c%d_%d_%d using 1:2 with linespoints ls %d", batch, i, place, line_style(b, i, place));
    fputs("\n", f->body);
}

/* Around 1 and all ratios; how many there are. */
static int axes_write(struct figure *f, const struct beside *b)
{
    double low = 1, high = 1;
    int n = 0;
    for (int k = 0; k < b->n_keys; k++)
        for (int i = 1; i < b->n; i++) {
            const double ratio = gain_of(b, i, &b->keys[k]);
            n += !isnan(ratio);
            low = fmin(low, ratio); /* pass over NaN */
            high = fmax(high, ratio);
        }
    latency_plot_contexts(f->script.file, b->keys, b->n_keys);
    fprintf(f->script.file, "set yrange [%.4g:%.4g]\nset ytics nomirror out autofreq\n", low / 1.1, high * 1.1);
    if (high / low < 5) fputs("unset logscale y\n", f->script.file);
    return n;
}

/* 1: no lane is in the first result and in another. */
static int figure_write(struct figure *f, const struct beside *b, const char *folder)
{
    struct plot_grid g;
    char key[LABEL_MAX + LANE_NAME_MAX + 4];
    int batches[LATENCY_MAX_BATCHES];
    const int n = latency_plot_batches(b->keys, b->n_keys, batches);
    TRY(figure_open(f, folder, "compare"), "compare");
    TRY(latency_plot_panels(f, &g, n), "compare");
    for (int i = 1; i < b->n; i++)
        for (int place = 0; place < b->n_lanes; place++) {
            snprintf(key, sizeof key, "%s%s%s", b->n > 2 ? b->all[i].label : "", b->n > 2 ? ", " : "", lane_name(b, place));
            if (line_style(b, i, place)) grid_key_add(&g, line_style(b, i, place), GRID_BOTH, key);
        }
    snprintf(g.note, sizeof g.note, "medians over the timed steps of each run");
    grid_open(&g, f);
    for (int i = 0; i < n; i++) panel_write(f, &g, b, i, batches[i]);
    snprintf(f->title, sizeof f->title, "Times of one lane, side by side");
    snprintf(f->caption, sizeof f->caption,
             "How many times as fast as %.80s a token of each lane is in %.80s%s, by context. Above the dotted line it is faster.%s", b->all[0].label,
             b->n == 2 ? b->all[1].label : "each of the other results", b->n == 2 && strcmp(b->all[0].machine, b->all[1].machine) != 0 ? " (another machine)" : "",
             (b->n - 1) * b->n_lanes > FIGURE_STYLES ? " Some have no room here: see the table." : "");
    grid_begin(&g, f);
    return axes_write(f, b) == 0;
}

/* ---- the page ---- */

static int content_write(FILE *out, const struct beside *b, const struct sheet *t, const struct figure *f)
{
    page_begin(out, "Times side by side");
    fputs("<ul>\n", out);
    for (int i = 0; i < b->n; i++) {
        const struct latency_study *s = &b->all[i];
        char line[512];
        snprintf(line, sizeof line, ": %.63s on %.159s (device %.31s), %d run%s, made by commit %.95s.", s->model, s->machine, s->device, s->n_runs,
                 words_s(s->n_runs), s->commit);
        fputs("<li><strong>", out);
        output_html(out, s->label);
        fputs("</strong>", out);
        output_html(out, line);
        fputs("</li>\n", out);
    }
    fputs("</ul>\n", out);
    if (f && page_figure_write(out, f, "plots", "") != 0) return -1;
    if (!f) fputs("<p>No lane has a time at the same batch and context in the first result and in another: there is nothing to set side by side.</p>\n", out);
    fputs("<div class=\"table broad\"><p class=\"caption\"><strong>compare.</strong> ", out);
    output_html(out, t->caption);
    fputs("</p>\n", out);
    if (sheet_write_html(t, out) != 0) return -1;
    fputs("</div>\n", out);
    page_end(out);
    return 0;
}

static int html_write(const struct beside *b, const char *folder, const struct sheet *t, const struct figure *f)
{
    struct output o = { 0 };
    int rc = output_open(&o, folder, "compare.html");
    if (rc == 0) rc = content_write(o.file, b, t, f);
    if (rc == 0) rc = output_done(&o);
    output_close(&o);
    return rc;
}

int latency_compare_write(const struct latency_study *all, int n, const char *folder)
{
    struct beside b = { 0 };
    struct sheet t = { 0 };
    struct figure f = { 0 };
    int rc = beside_open(&b, all, n), drawn = 1;
    if (rc == 0) rc = table_fill(&t, &b);
    if (rc == 0) rc = sheet_write(&t, folder, "Nothing is tested across results.");
    if (rc == 0) drawn = figure_write(&f, &b, folder);
    if (drawn == 0) rc = figure_draw(&f);
    if (rc == 0) rc = drawn < 0 ? -1 : html_write(&b, folder, &t, drawn == 0 ? &f : NULL);
    figure_close(&f);
    sheet_close(&t);
    mem_free(b.keys);
    return rc;
}
