/* Attention mass kept: against the share of tokens read, and by layer. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/plot_curve.h"
#include "analysis/plot_grid.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

enum { BEST_STYLE = 8, CLEAN_STYLE = 5, MAX_SETS = 7 };

/* What the left panel shows of each set. */
static const struct series {
    enum corner_role role;
    enum measure measure;
    int style;
    const char *name;
} series[] = { { CORNER_CLEAN, MEASURE_KEPT_MASS, CLEAN_STYLE, "clean: kept" },
               { CORNER_NEVER, MEASURE_KEPT_MASS, 1, "never: kept" },
               { CORNER_NEVER, MEASURE_BEST_MASS, BEST_STYLE, "never: best blocks" } };
enum { N_SERIES = sizeof series / sizeof series[0] };

/* $mN: share read, mean, low, high of a series over the sets, which are in the order of their sparsity. */
static int series_write(struct figure *f, const struct plot_job *job, int i, struct plot_range *range)
{
    const struct study *s = job->study;
    char block[32];
    int n = 0;
    snprintf(block, sizeof block, "m%d", i);
    for (int k = 0; k < job->corners->n_sets; k++) {
        const int lane = corner_lane(&job->corners->sets[k], series[i].role, 0, s);
        struct estimate read, mass;
        if (lane == STUDY_ABSENT) continue;
        TRY(study_estimate(s, lane, MEASURE_SHARE, 0, &read), "plot %s", f->name);
        TRY(study_estimate(s, lane, series[i].measure, 0, &mass), "plot %s", f->name);
        if (read.n == 0 || mass.n == 0) continue;
        if (n++ == 0) figure_data(f, block);
        plot_point(f->script.file, read.mean, mass, range);
    }
    if (n) figure_data_end(f);
    return n;
}

/* $lN_0 and _1: layer, mean over bins of stale tokens as steps were in them: kept, best.  Whether there is any. */
static int layers_write(struct figure *f, const struct study *s, int set, int lane)
{
    static const enum study_map maps[] = { MAP_KEPT_MASS, MAP_BEST_MASS };
    double *x = NULL;
    int n_there = 0;
    TRY(MEM_NEW(&x, s->n_layers * s->n_bins, "layers"), "plot %s", f->name);
    for (int m = 0; m < 2 && study_map(s, maps[m], lane, x); m++) {
        char block[32];
        snprintf(block, sizeof block, "l%d_%d", set, m);
        figure_data(f, block);
        for (int layer = 0; layer < s->n_layers; layer++)
            fprintf(f->script.file, "%d %.5g\n", layer,
                    mean_of(x + (size_t)layer * (size_t)s->n_bins, (size_t)s->n_bins));
        figure_data_end(f);
        n_there++;
    }
    mem_free(x);
    return n_there;
}

static int left_write(struct figure *f, const struct plot_job *job, struct plot_grid *g, struct plot_range *range)
{
    const char *comma = "plot x with lines lw 0.5 lc rgb '#999999'";
    int n_all = 0;
    grid_panel(g, f->body, 0);
    fputs("set format x '%g'; set format y '%g'\nset xrange [0:*<1]\nset xtics nomirror out autofreq\n", f->body);
    grid_x_name(g, f->body, 0, "share of tokens read");
    grid_y_name(g, f->body, 0, 0, "attention mass");
    for (int i = 0; i < N_SERIES; i++) {
        const int n = series_write(f, job, i, range);
        if (n < 0) return -1;
        n_all += n;
        if (n)
            fprintf(f->body,
                    "%s, \\\n  $m%d using 1:3:(0):($4-$3) with vectors nohead ls %d dt 1 lw 1, $m%d using 1:2 with "
                    "linespoints ls %d lw 0.8",
                    comma, i, series[i].style, i, series[i].style);
        if (n) comma = "";
    }
    fputs(n_all ? "\n" : "plot NaN\n", f->body);
    return n_all;
}

static int right_write(struct figure *f, const struct plot_job *job, struct plot_grid *g)
{
    const struct study *s = job->study;
    const char *comma = "plot ";
    grid_panel(g, f->body, 1);
    fprintf(f->body, "set format x '%%g'; set format y ''\nset xrange [0:%d]\nset xtics nomirror out %g\n",
            s->n_layers > 1 ? s->n_layers - 1 : 1, plot_tick(s->n_layers, 6));
    grid_x_name(g, f->body, 1, "layer");
    for (int k = 0; k < job->corners->n_sets && k < MAX_SETS; k++) {
        const int lane = corner_lane(&job->corners->sets[k], CORNER_NEVER, 0, s), style = k + 2;
        const int n = lane == STUDY_ABSENT ? 0 : layers_write(f, s, k, lane);
        if (n < 0) return -1;
        if (n > 0)
            fprintf(f->body, "%s$l%d_0 using 1:2 with linespoints ls %d dt 1 lw 1 pointinterval 4", comma, k, style);
        if (n > 1) fprintf(f->body, ", $l%d_1 using 1:2 with lines ls %d lw 0.8 dt (2,2)", k, style);
        if (n > 0) comma = ", \\\n  ";
    }
    fputs(comma[0] == 'p' ? "plot NaN\n" : "\n", f->body);
    return 0;
}

int plot_mass(struct figure *f, const struct plot_job *job)
{
    struct plot_grid g = plot_grid_usual;
    const struct study *s = job->study;
    struct plot_range range = { 0, 1 };
    if (job->part > 0) return 1;
    g.n_columns = g.n_panels = 2;
    g.panel_height = 150;
    g.gap_x = 20;
    for (int i = 0; i < N_SERIES; i++) grid_key_add(&g, series[i].style, GRID_BOTH, series[i].name);
    for (int k = 0; k < job->corners->n_sets && k < MAX_SETS; k++)
        grid_key_add(&g, k + 2, GRID_BOTH, job->corners->sets[k].title);
    plot_note(&g, job->study);
    grid_open(&g, f);
    const int n = left_write(f, job, &g, &range);
    if (n <= 0) return n < 0 ? -1 : 1;
    if (right_write(f, job, &g) != 0) return -1;
    snprintf(f->title, sizeof f->title, "Attention mass kept");
    snprintf(
        f->caption, sizeof f->caption,
        "Under the lane's own queries and cache. Left: against the share of tokens read, means "
        "over "
        "steps, layers and n = %d text%s%s; best blocks: what as many blocks would hold, chosen by the mass itself, so "
        "that the distance to them is the selector's loss; the diagonal is what blocks drawn at random hold of an even "
        "attention. Right: by layer, of the never rectified lane of each set, kept (points) and best (dotted).%s",
        s->n_texts, s->n_texts == 1 ? "" : "s",
        s->n_texts >= ESTIMATE_MIN_TEXTS ? ", bars: 95 % intervals over texts" : ", too few for intervals",
        job->corners->n_sets > MAX_SETS ? " Only the first sets are shown by layer." : "");
    grid_begin(&g, f);
    fputs("set yrange [0:1]\nset ytics nomirror out 0.2\n", f->script.file);
    return 0;
}
