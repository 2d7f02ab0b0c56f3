/* Drift by layer and step: a row of three heat maps for each set. */
#include "analysis/plots.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_COLUMNS = 3, MAX_ROWS = 3, ROW_HEIGHT = 142, TOP = 4, HEADS = 28, BOTTOM = 66, NEAR = 32 };

static const struct column {
    enum study_map map;
    bool rectified;
    const char *title; /* before the lane's label */
} columns[N_COLUMNS] = {
    { MAP_K_DRIFT, false, "K drift of " },
    { MAP_V_DRIFT, true, "V drift of " },
    { MAP_K_ACCUM, true, "K to clean, " },
};

/* Never rectified for the first column, the interval nearest 32 for the others; where one is missing, any own lane. */
static const struct corner *corner_pick(const struct corner_set *set, const struct study *s, bool rectified)
{
    const struct corner *best = NULL;
    int least = 0;
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *c = &set->corners[i];
        if (c->role != (rectified ? CORNER_RECTIFIED : CORNER_NEVER)) continue;
        const int off = abs(s->lanes[c->lane].interval - NEAR);
        if (!best || off < least) {
            best = c;
            least = off;
        }
    }
    for (int i = 0; i < set->n_corners && !best; i++)
        if (set->corners[i].role == CORNER_NEVER || set->corners[i].role == CORNER_RECTIFIED ||
            set->corners[i].role == CORNER_EQUAL)
            best = &set->corners[i];
    return best;
}

/* The block $name, [layer 1 ..][bin]; *max is raised.  1: no values. */
static int map_write(struct figure *f, const char *name, const struct study *s, enum study_map map, int lane,
                     double *max)
{
    const size_t n_bins = (size_t)s->n_bins, n = (size_t)s->n_layers * n_bins;
    double *x = NULL;
    TRY(MEM_NEW(&x, n, "heat map"), "plot");
    const bool any = study_map(s, map, lane, x) && s->n_layers > 1;
    if (any) figure_data(f, name);
    for (size_t i = n_bins; i < n && any; i++) {
        if (isnan(x[i]))
            fputs("NaN", f->script.file);
        else
            fprintf(f->script.file, "%.4g", x[i]);
        if (x[i] > *max) *max = x[i];
        fputc((i + 1) % n_bins ? ' ' : '\n', f->script.file);
    }
    if (any) figure_data_end(f);
    mem_free(x);
    return any ? 0 : 1;
}

struct maps {
    const struct corner *corners[MAX_ROWS][N_COLUMNS];
    bool there[MAX_ROWS][N_COLUMNS];
    double max[N_COLUMNS];
    int first[N_COLUMNS]; /* the first row with values */
};

static int maps_write(struct figure *f, const struct plot_job *job, struct maps *m)
{
    bool any = false;
    for (int i = 0; i < N_COLUMNS; i++) m->first[i] = STUDY_ABSENT;
    for (int row = 0; row < job->n; row++)
        for (int i = 0; i < N_COLUMNS; i++) {
            const struct corner *c =
                corner_pick(&job->corners->sets[job->first + row], job->study, columns[i].rectified);
            char block[32];
            m->corners[row][i] = c;
            if (!c) continue;
            snprintf(block, sizeof block, "m%d_%d", row, i);
            const int rc = map_write(f, block, job->study, columns[i].map, c->lane, &m->max[i]);
            if (rc < 0) return -1;
            m->there[row][i] = rc == 0;
            if (rc == 0 && m->first[i] == STUDY_ABSENT) m->first[i] = row;
            any |= rc == 0;
        }
    return any ? 0 : 1;
}

static void panel_draw(const struct figure *f, const struct plot_job *job, const struct maps *m, int row, int column)
{
    FILE *out = f->script.file;
    const struct study *s = job->study;
    const double height = (double)(f->height - TOP - BOTTOM) / f->height / job->n, width = 0.91 / N_COLUMNS;
    const double left = 0.09 + column * width, top = 1 - (double)TOP / f->height - row * height,
                 bin = (double)s->n_steps / s->n_bins;
    const bool last = row == job->n - 1;
    fprintf(out,
            "set lmargin at screen %.4f; set rmargin at screen %.4f; set tmargin at screen %.4f; set bmargin at screen "
            "%.4f\n",
            left, left + width - 0.035, top - (double)HEADS / f->height, top - height + 5.0 / f->height);
    fprintf(out, "unset label\nset label 1 \"%s%s\" at graph 0, screen %.4f left noenhanced\n", columns[column].title,
            m->corners[row][column] ? m->corners[row][column]->label : "no lane", top - 20.0 / f->height);
    if (column == 0) {
        fputs("set label 3 \"", out);
        output_plot(out, job->corners->sets[job->first + row].title);
        fprintf(out,
                "\" at screen %.4f, screen %.4f left noenhanced font ',9'\nset label 4 'layer' at screen 0.03, graph "
                "0.5 center rotate\n",
                left, top - 7.0 / f->height);
    }
    fprintf(out, "set format x '%s'; set format y '%s'\n", last ? "%g" : "", column == 0 ? "%g" : "");
    fprintf(out, last ? "set xlabel 'decoding step (tokens)' offset 0,0.5\n" : "unset xlabel\n");
    fprintf(out, "set cbrange [0:%g]\nset cbtics %g\n", plot_ceil(m->max[column]),
            plot_tick(plot_ceil(m->max[column]), 2));
    if (row == m->first[column]) /* one for the column, at its foot */
        fprintf(out, "set colorbox horizontal user origin screen %.4f, screen %.4f size screen %.4f, screen %.4f\n",
                left, 22.0 / f->height, width - 0.035, 7.0 / f->height);
    else
        fputs("unset colorbox\n", out);
    if (m->there[row][column])
        fprintf(out, "plot $m%d_%d matrix using (($1+0.5)*%g-0.5):($2+1):3 with image notitle\n", row, column, bin);
    else
        fputs("set label 5 'no values' at graph 0.5, graph 0.5 center\nplot NaN notitle\n", out);
}

int plot_depth(struct figure *f, const struct plot_job *job)
{
    struct maps m = { 0 };
    char count[32];
    const int rc = maps_write(f, job, &m);
    if (rc != 0) return rc;
    f->height = TOP + BOTTOM + ROW_HEIGHT * job->n;
    figure_begin(f);
    fprintf(f->script.file,
            "set multiplot\nset xrange [-0.5:%g]\nset yrange [0.5:%g]\nset xtics %g\nset ytics %d\nset border 15 lw "
            "0.6\nset cbtics scale 0.3 offset 0,0.6\n",
            job->study->n_steps - 0.5, job->study->n_layers - 0.5, plot_tick(job->study->n_steps, 4),
            (job->study->n_layers + 5) / 6);
    for (int row = 0; row < job->n; row++)
        for (int column = 0; column < N_COLUMNS; column++) panel_draw(f, job, &m, row, column);
    bool to_clean = false;
    for (int row = 0; row < job->n; row++) to_clean = to_clean || m.there[row][N_COLUMNS - 1];
    snprintf(f->caption, sizeof f->caption,
             "Where the drift sits: layers 1 and up against steps, mean over runs (%s)%s. K and V drift: the current "
             "token's, as first written, against the dense lane (relative norm)%s. The lane is named in each panel; a "
             "column shares its scale.",
             plot_count(job->study, count, sizeof count),
             job->study->n_steps > job->study->n_bins ? ", in bins of steps" : "",
             to_clean ? "; distance of K to clean: against the same policy over the undisturbed cache" : "");
    return 0;
}
