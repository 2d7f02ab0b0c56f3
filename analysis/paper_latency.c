#include "analysis/paper_latency.h"

#include "analysis/latency_peer.h"
#include "analysis/paper.h"

#include "core/err.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PAPER_INTERVAL = 32, PAPER_BATCH = 8, N_CONTEXTS = 3 };
static const int contexts[N_CONTEXTS] = { 16384, 65536, 262144 }; /* of the rows of v2 Figure 6, in its order */

/* The columns of v2 Figure 6, in its order, and what each is here. */
enum column { SCORING, ATTENTION, RECTIFICATION, RESA, DENSE, SPEEDUP, N_FIGURE_COLUMNS };
static const char *const here[N_FIGURE_COLUMNS] = {
    [SCORING] = "selection: scores and choice", [ATTENTION] = "attention to the selected blocks",
    [RECTIFICATION] = "one part in 32 of a rectification, its products included", [RESA] = "the three together",
    [DENSE] = "attention of the dense lane", [SPEEDUP] = "dense over the three together",
};

static const struct paper_table *table_of(const char *source)
{
    const struct paper_table *t = paper_tables;
    while (t->source && strcmp(t->source, source) != 0) t++;
    return t;
}

/* The point of the paper's batch, or of the nearest one below it that was timed at this context; NULL: none. */
static const struct latency_point *point_find(const struct latency_study *s, int context, int interval)
{
    const struct latency_point *best = NULL;
    for (int i = 0; i < s->n_points; i++) {
        const struct latency_point *p = &s->points[i];
        const bool wanted = interval == 0 ? p->place == 0 : p->interval == interval;
        if (p->context == context && wanted && p->batch <= PAPER_BATCH && (!best || p->batch > best->batch)) best = p;
    }
    return best;
}

/* Milliseconds, or the speedup; NaN where a lane was not timed. */
static void times_find(const struct latency_study *s, int context, double *values, int *batch)
{
    const struct latency_point *resa = point_find(s, context, PAPER_INTERVAL), *dense = point_find(s, context, 0);
    for (int i = 0; i < N_FIGURE_COLUMNS; i++) values[i] = NAN;
    *batch = 0;
    if (!resa || !dense || resa->batch != dense->batch) return;
    *batch = resa->batch;
    values[SCORING] = 1e3 * resa->times[TIME_SELECT].median;
    values[ATTENTION] = 1e3 * resa->times[TIME_ATTEND].median;
    values[RECTIFICATION] = 1e3 * resa->times[TIME_RECTIFY].median / PAPER_INTERVAL;
    values[RESA] = values[SCORING] + values[ATTENTION] + values[RECTIFICATION];
    values[DENSE] = 1e3 * dense->times[TIME_ATTEND].median;
    values[SPEEDUP] = values[DENSE] / values[RESA];
}

static int row_add(struct sheet *t, const char *source, const char *context, const char *measure, double published, double value, int batch,
                   const char *what)
{
    int rc = sheet_text(t, source);
    if (rc == 0) rc = sheet_text(t, context);
    if (rc == 0) rc = sheet_text(t, measure);
    if (rc == 0) rc = sheet_number(t, published);
    if (rc == 0) rc = sheet_number(t, value);
    if (rc == 0) rc = sheet_number(t, batch > 0 ? (double)batch : (double)NAN);
    return rc == 0 ? sheet_text(t, isnan(value) ? "not run" : what) : rc;
}

static int figure_rows(struct sheet *t, const struct latency_study *s)
{
    const struct paper_table *p = table_of("v2 Figure 6");
    for (int i = 0; i < N_CONTEXTS && p->source; i++) {
        double values[N_FIGURE_COLUMNS];
        int batch;
        times_find(s, contexts[i], values, &batch);
        for (int k = 0; k < N_FIGURE_COLUMNS; k++)
            if (row_add(t, p->source, p->rows[i].setting, p->columns[k], p->rows[i].values[k], values[k], batch, here[k]) != 0) return -1;
    }
    return 0;
}

#define TOKEN "a token of every sequence, one part in 32 of a rectification included; unquantised weights, a cache of its own in every layer"

/* Speedups of whole steps: all at 256K. */
static int whole_rows(struct sheet *t, const struct latency_study *s, const char *source)
{
    const struct paper_table *p = table_of(source);
    const struct latency_point *resa = point_find(s, contexts[N_CONTEXTS - 1], PAPER_INTERVAL);
    for (int i = 0; p->source && p->rows[i].setting; i++) {
        char measure[96];
        snprintf(measure, sizeof measure, "speedup of a step%s%s", p->rows[i].setting[0] ? ", " : "", p->rows[i].setting);
        if (row_add(t, p->source, p->columns[0], measure, p->rows[i].values[0], resa ? latency_gain(s, resa) : NAN, resa ? resa->batch : 0,
                    s->n_peers > 0 ? "against the strong dense step: " TOKEN : "against our own dense step: " TOKEN) != 0)
            return -1;
    }
    return 0;
}

int paper_latency_sheet(struct sheet *t, const struct latency_study *s)
{
    char peer[512];
    latency_peer_say(s, peer, sizeof peer);
    static const char *const heads[][2] = { { "source", "source" }, { "context", "context" }, { "measure", "measure" } };
    TRY(sheet_open(t, "paper-latency"), "tables");
    snprintf(t->caption, sizeof t->caption,
             "The paper's times beside these. There: A100-80G, batch 8, the shape of Qwen2.5-7B, fp16; times read off a figure to about 1 %%. Here: "
             "%s on %s, medians; the batch is 8 or the largest below it that was timed at that context. %s",
             s->model, s->machine, peer);
    int rc = 0;
    for (size_t i = 0; i < sizeof heads / sizeof *heads && rc == 0; i++) rc = sheet_column(t, COLUMN_TEXT, heads[i][0], heads[i][1], 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_NUMBER, "published", "there", 2);
    if (rc == 0) rc = sheet_column(t, COLUMN_NUMBER, "here", "here", 2);
    if (rc == 0) rc = sheet_column(t, COLUMN_NUMBER, "batch", "batch here", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "is", "what it is here", 0);
    if (rc == 0) rc = figure_rows(t, s);
    if (rc == 0) rc = whole_rows(t, s, "v2 text, end to end");
    return rc == 0 ? whole_rows(t, s, "ACL abstract, end to end") : rc;
}
