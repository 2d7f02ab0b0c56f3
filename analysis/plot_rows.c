/* A quantity over steps, step by step: a row of panels for each lane, a column for each set.  The saw-tooth is here. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/words.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

enum { MAX_ROWS = 7, MAX_COLUMNS = 2, MAX_POINTS = 512, ROW_HEIGHT = 78, TOP = 22, BOTTOM = 38 };

struct panels {
    const struct corner *corners[MAX_ROWS]; /* borrowed: the first of its label */
    int n_rows, n_left;                     /* n_left: lanes for which there is no room */
    bool there[MAX_ROWS][MAX_COLUMNS];
};

static int row_find(struct panels *p, const struct corner *c)
{
    for (int i = 0; i < p->n_rows; i++)
        if (strcmp(p->corners[i]->label, c->label) == 0) return i;
    if (p->n_rows == MAX_ROWS) return STUDY_ABSENT;
    p->corners[p->n_rows] = c;
    return p->n_rows++;
}

static int panels_write(struct figure *f, const struct plot_job *job, enum quantity q, struct panels *p, double *max)
{
    const struct study *s = job->study;
    const int n_bins = s->n_steps < MAX_POINTS ? s->n_steps : MAX_POINTS;
    for (int column = 0; column < job->n; column++) {
        const struct corner_set *set = &job->corners->sets[job->first + column];
        for (int i = 0; i < set->n_corners; i++) {
            const struct corner *c = &set->corners[i];
            char block[32];
            if (c->role != CORNER_RECTIFIED && c->role != CORNER_NEVER && c->role != CORNER_EQUAL) continue;
            const int row = row_find(p, c);
            p->n_left += row < 0;
            if (row < 0) continue;
            snprintf(block, sizeof block, "p%d_%d", row, column);
            const int rc = plot_block(f, block, s, c->lane, q, n_bins, max);
            if (rc < 0) return -1;
            p->there[row][column] = rc == 0;
        }
    }
    return 0;
}

static void panel_draw(const struct figure *f, const struct plot_job *job, const struct panels *p, const char *label,
                       int row, int column)
{
    FILE *out = f->script.file;
    const double width = 0.89 / job->n, height = (double)(f->height - TOP - BOTTOM) / f->height / p->n_rows;
    const double left = 0.105 + column * width, top = 1 - (double)TOP / f->height - row * height;
    const int mean = job->study->n_texts + 2;
    fprintf(out,
            "set lmargin at screen %.4f; set rmargin at screen %.4f; set tmargin at screen %.4f; set bmargin at screen "
            "%.4f\n",
            left, left + width - 0.035, top - 0.012, top - height + 0.012);
    fprintf(out, "unset label\nset label 1 \"%s\" at graph 0.012, graph 0.9 left noenhanced front\n",
            p->corners[row]->label);
    if (row == 0) {
        fputs("set label 2 \"", out);
        output_plot(out, job->corners->sets[job->first + column].title);
        fputs("\" at graph 0.5, graph 1.16 center noenhanced\n", out);
    }
    if (row == 0 && column == 0) /* one for the rows, which share their axis */
        fprintf(out, "set label 9 '%s' at screen 0.016, screen %.4f center rotate\n", label,
                (1 - (double)TOP / f->height + (double)BOTTOM / f->height) / 2);
    fprintf(out, "set format x '%s'; set format y '%s'\n", row == p->n_rows - 1 ? "%g" : "", column == 0 ? "%g" : "");
    fprintf(out, row == p->n_rows - 1 ? "set xlabel 'decoding step (tokens)' offset 0,0.3\n" : "unset xlabel\n");
    if (!p->there[row][column]) {
        fputs("set label 3 'no values' at graph 0.5, graph 0.5 center\nplot NaN notitle\n", out);
        return;
    }
    fprintf(out,
            "plot for [i=2:%d] $p%d_%d using 1:i with lines lw 0.5 lc rgb '#9ecae1' notitle, "
            "$p%d_%d using 1:%d with lines lw 1.6 lc rgb '#08306b' notitle\n",
            mean - 1, row, column, row, column, mean);
}

static void rows_caption(struct figure *f, const struct plot_job *job, const struct panels *p, const char *what)
{
    char count[32], legend[400], left[64] = "";
    if (p->n_left) snprintf(left, sizeof left, " %d more lane%s: see the tables.", p->n_left, words_s(p->n_left));
    snprintf(f->caption, sizeof f->caption, "%s Thin lines: texts (%s), thick: their mean. %s.%s%s", what,
             plot_count(job->study, count, sizeof count),
             legend_print(job->study, p->corners, p->n_rows, legend, sizeof legend), left,
             job->study->n_steps > MAX_POINTS
                 ? " Steps are averaged in bins, so that short intervals are smoothed away."
                 : "");
}

/* 1: there was nothing to draw. */
static int rows_draw(struct figure *f, const struct plot_job *job, enum quantity q, const char *label, const char *what)
{
    struct panels p = { 0 };
    double max = 0;
    bool any = false;
    if (panels_write(f, job, q, &p, &max) != 0) return -1;
    for (int row = 0; row < p.n_rows; row++)
        for (int column = 0; column < job->n; column++) any |= p.there[row][column];
    if (!any) return 1;
    rows_caption(f, job, &p, what);
    f->height = TOP + BOTTOM + ROW_HEIGHT * p.n_rows;
    figure_begin(f);
    fprintf(
        f->script.file,
        "set datafile missing '?'\nset multiplot\nset xrange [0:%d]\nset yrange [0:%g]\nset ytics %g\nset xtics %g\n",
        job->study->n_steps, plot_ceil(max), plot_tick(plot_ceil(max), 2), plot_tick(job->study->n_steps, 4));
    for (int row = 0; row < p.n_rows; row++)
        for (int column = 0; column < job->n; column++) panel_draw(f, job, &p, label, row, column);
    return 0;
}

int plot_stale(struct figure *f, const struct plot_job *job)
{
    return rows_draw(f, job, QUANTITY_K_STALE, "relative K drift of the stale tokens (1)",
                     "Stale drift: K of the suffix tokens that sparse steps wrote and no rectification rewrote, and of "
                     "the current one, against the dense lane, just before a rectification; relative norm, mean over "
                     "layers 1 and up.");
}

int plot_distance_steps(struct figure *f, const struct plot_job *job)
{
    return rows_draw(f, job, QUANTITY_K_ACCUM, "distance of K to clean (1)",
                     "Accumulated error, step by step: distance of the current token's K to the same token's in the "
                     "clean lane (same policy, undisturbed cache), over the dense lane's norm, mean over layers 1 and "
                     "up. 0 is no accumulation.");
}
