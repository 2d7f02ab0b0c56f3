/* The four corners, and what rectification and reading more make of them: a row of dots for each lane of a set. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MAX_ROWS = 16,
    MAX_PAGE_ROWS = 40,
    ROW_HEIGHT = 11,
    N_COLUMNS = 4,
    BLUE = 2,
    VERMILION = 3,
    GREEN = 4,
    PINK = 5
};

/* What a column shows: value * scale + offset. */
static const struct column {
    enum measure measure;
    double scale, offset;
    const char *title;
} of_text[N_COLUMNS] = { { MEASURE_ABOVE_DENSE, 1, 0, "NLL above dense (nat)" },
                         { MEASURE_KL, 1, 0, "KL from dense (nat)" },
                         { MEASURE_TOP1, -1, 1, "top-1 disagreement" },
                         { MEASURE_K_ACCUM, 1, 0, "distance of K to clean" } },
  of_others[N_COLUMNS] = { { MEASURE_KL, 1, 0, "KL from dense (nat)" },
                           { MEASURE_TOP1, -1, 1, "top-1 disagreement" },
                           { MEASURE_ATTN_ERR, 1, 0, "attention error" },
                           { MEASURE_K_ACCUM, 1, 0, "distance of K to clean" } };

/* A row: a lane, or, with lane STUDY_ABSENT, both minus selection alone minus cache alone. */
struct row {
    int lane, style;
    bool open; /* of the undisturbed cache, or read densely: an open mark */
    char label[64];
};

struct rows {
    struct row rows[MAX_ROWS];
    int n, n_left;
    int clean, stale, never; /* lanes or STUDY_ABSENT */
};

static void row_add(struct rows *r, int lane, int style, bool open, const char *label)
{
    r->n_left += r->n == MAX_ROWS;
    if (r->n == MAX_ROWS) return;
    r->rows[r->n] = (struct row){ .lane = lane, .style = style, .open = open };
    snprintf(r->rows[r->n++].label, sizeof r->rows[0].label, "%s", label);
}

/* Selection, cache, both, what is beyond their sum; then the lanes that are cared for. */
static void rows_make(struct rows *r, const struct corner_set *set, const struct study *s)
{
    *r = (struct rows){ .clean = corner_lane(set, CORNER_CLEAN, 0, s),
                        .stale = corner_lane(set, CORNER_STALE, 0, s),
                        .never = corner_lane(set, CORNER_NEVER, 0, s) };
    if (r->clean >= 0) row_add(r, r->clean, GREEN, true, "clean: selection alone");
    if (r->stale >= 0) row_add(r, r->stale, VERMILION, true, "stale: cache alone");
    if (r->never >= 0) row_add(r, r->never, 1, false, "never: both");
    if (r->clean >= 0 && r->stale >= 0 && r->never >= 0) row_add(r, STUDY_ABSENT, 8, false, "interaction");
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *c = &set->corners[i];
        if (c->role == CORNER_RECTIFIED) row_add(r, c->lane, BLUE, false, c->label);
        if (c->role == CORNER_EQUAL) row_add(r, c->lane, PINK, false, c->label);
    }
}

/* A row's values: out [n_texts].  A distance has no interaction. */
static int row_values(const struct study *s, const struct rows *r, const struct row *row, const struct column *column,
                      double *out, double *scratch)
{
    const int lanes[3] = { r->never, r->clean, r->stale };
    for (int i = 0; i < s->n_texts; i++)
        out[i] = row->lane == STUDY_ABSENT && column->measure != MEASURE_K_ACCUM ? 0 : NAN;
    if (row->lane != STUDY_ABSENT) {
        if (study_measure(s, row->lane, column->measure, 0, out) != 0) return -1;
        for (int i = 0; i < s->n_texts; i++) out[i] = column->offset + column->scale * out[i];
        return 0;
    }
    for (int k = 0; k < 3; k++) {
        if (study_measure(s, lanes[k], column->measure, 0, scratch) != 0) return -1;
        for (int i = 0; i < s->n_texts; i++)
            out[i] += (k == 0 ? 1 : -1) * (column->offset + column->scale * scratch[i]);
    }
    return 0;
}

/* $dN: a row's number, mean, low, high; $tN: row, text's value.  *any: rows that have a value. */
static int data_write(struct figure *f, int at, const struct study *s, const struct rows *r,
                      const struct column *column, struct plot_range *range, unsigned *any)
{
    double *values = NULL, *scratch = NULL;
    char *dots = NULL;
    size_t n_dots = 0;
    FILE *dots_file = open_memstream(&dots, &n_dots);
    int rc = dots_file ? 0 : fail("plot %s: out of memory", f->name);
    if (rc == 0) rc = MEM_NEW(&values, s->n_texts, "texts");
    if (rc == 0) rc = MEM_NEW(&scratch, s->n_texts, "texts");
    if (rc == 0) fprintf(f->script.file, "$d%d << EOD\n", at);
    for (int i = 0; i < r->n && rc == 0; i++) {
        rc = row_values(s, r, &r->rows[i], column, values, scratch);
        const struct estimate e = rc == 0 ? estimate_of(values, s->n_texts) : (struct estimate){ 0 };
        if (rc == 0) plot_point(f->script.file, -i, e, range);
        if (e.n) *any |= 1U << i;
        for (int text = 0; text < s->n_texts && e.n; text++)
            if (!isnan(values[text])) {
                fprintf(dots_file, "%d %.5g\n", -i, values[text]);
                range->min = fmin(range->min, values[text]);
                range->max = fmax(range->max, values[text]);
            }
    }
    if (dots_file) fclose(dots_file);
    if (rc == 0) fprintf(f->script.file, "EOD\n$t%d << EOD\n%sEOD\n", at, dots);
    free(dots);
    mem_free(values);
    mem_free(scratch);
    return rc;
}

static void rows_names(FILE *out, const struct rows *r, bool side)
{
    fputs("set ytics nomirror scale 0 (", out);
    for (int i = 0; i < r->n && side; i++) fprintf(out, "%s\"%s\" %d", i ? ", " : "", r->rows[i].label, -i);
    fprintf(out, side ? ")\n" : "\"\" 0)\n");
}

static void panel_draw(const struct figure *f, const struct plot_grid *g, int at, const struct rows *r,
                       const char *title, const struct column *column, unsigned any)
{
    FILE *out = f->body;
    grid_panel(g, out, at);
    fprintf(out, "set yrange [%g:0.5]\n", 0.5 - r->n);
    plot_axis_use(out, 'x', at % N_COLUMNS);
    rows_names(out, r, grid_is_side(g, at));
    fprintf(out, "set format x '%s'\n", grid_is_foot(g, at) ? "%g" : "");
    grid_x_name(g, out, at, column->title);
    if (grid_is_side(g, at)) grid_head(g, out, title);
    fputs("set arrow from 0, graph 0 to 0, graph 1 nohead lw 0.5 lc rgb '#999999'\n", out);
    if (!any) {
        fputs("set label 3 'no values' at graph 0.5, graph 0.5 center\nplot NaN\n", out);
        return;
    }
    fprintf(out, "plot $t%d using 2:1 with points pt 7 ps 0.18 lc rgb '#9a9a9a'", at);
    for (int i = 0; i < r->n; i++)
        if (any & 1U << i)
            fprintf(out,
                    ", \\\n  $d%d every ::%d::%d using 3:1:($4-$3):(0) with vectors nohead ls %d dt 1 lw 1.6"
                    ", $d%d every ::%d::%d using 2:1 with points ls %d pt %d ps 0.4",
                    at, i, i, r->rows[i].style, at, i, i, r->rows[i].style, r->rows[i].open ? 6 : 7);
    fputc('\n', out);
}

static void caption_write(struct figure *f, const struct study *s, const struct corners *c, int n_left)
{
    char count[64], legend[512], left[64] = "";
    const struct corner *list[64];
    int n = 0;
    for (int i = 0; i < c->n_sets; i++)
        for (int k = 0; k < c->sets[i].n_corners; k++)
            if (n < 64 &&
                (c->sets[i].corners[k].role == CORNER_RECTIFIED || c->sets[i].corners[k].role == CORNER_EQUAL))
                list[n++] = &c->sets[i].corners[k];
    if (n_left) snprintf(left, sizeof left, " %d more lanes: see the tables.", n_left);
    if (s->n_texts >= ESTIMATE_MIN_TEXTS)
        snprintf(count, sizeof count, "bars: 95 %% intervals over n = %d texts", s->n_texts);
    else
        snprintf(count, sizeof count, "n = %d text%s: no interval", s->n_texts, s->n_texts == 1 ? "" : "s");
    snprintf(f->title, sizeof f->title, "The four corners");
    snprintf(f->caption, sizeof f->caption,
             "The four corners against the dense lane (0): the undisturbed cache read sparsely, the sparse lane's "
             "cache read "
             "densely, both at once, and what both do beyond the sum of the two (interaction). Small dots: texts, "
             "large: their means; %s. %s.%s",
             count, legend_print(s, list, n, legend, sizeof legend), left);
}

int plot_corners(struct figure *f, const struct plot_job *job)
{
    struct plot_grid g = plot_grid_usual;
    const struct study *s = job->study;
    const struct column *columns = study_is_of_text(s) ? of_text : of_others;
    struct plot_range range[N_COLUMNS] = { 0 };
    struct rows r;
    int first, n_sets, n_most = 0, n_left = 0;
    unsigned any = 0;
    for (int i = 0; i < job->corners->n_sets; i++) {
        rows_make(&r, &job->corners->sets[i], s);
        n_most = r.n > n_most ? r.n : n_most;
    }
    if (n_most == 0 || !plot_part(job->corners->n_sets, MAX_PAGE_ROWS / n_most, job->part, &first, &n_sets)) return 1;
    g.n_columns = N_COLUMNS;
    g.n_panels = N_COLUMNS * n_sets;
    g.left = 100;
    g.gap_x = 24;
    g.panel_height = n_most * ROW_HEIGHT;
    plot_note(&g, job->study);
    grid_open(&g, f);
    for (int at = 0; at < g.n_panels; at++) {
        const struct corner_set *set = &job->corners->sets[first + at / N_COLUMNS];
        unsigned there = 0;
        rows_make(&r, set, s);
        n_left += at % N_COLUMNS == 0 ? r.n_left : 0;
        if (data_write(f, at, s, &r, &columns[at % N_COLUMNS], &range[at % N_COLUMNS], &there) != 0) return -1;
        panel_draw(f, &g, at, &r, set->title, &columns[at % N_COLUMNS], there);
        any |= there;
    }
    if (!any) return 1;
    caption_write(f, s, job->corners, n_left);
    for (int i = 0; i < N_COLUMNS; i++) plot_axis(f->script.file, 'x', i, range[i], 3);
    grid_begin(&g, f);
    return 0;
}
