/* Distance to the clean lane over steps: a panel for each set, a curve for each lane. */
#include "analysis/plots.h"

#include "analysis/legend.h"
#include "analysis/words.h"

#include "core/err.h"

#include <stdio.h>
#include <string.h>

enum { MAX_CURVES = FIGURE_STYLES, MAX_COLUMNS = 2, MAX_POINTS = 16, KEYS_A_ROW = 5, KEY_HEIGHT = 13, HEIGHT = 200 };

static const char *const thin_colours[FIGURE_STYLES] = { "#000000", "#0072B2", "#D55E00", "#009E73",
                                                         "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F" };

struct curves {
    const struct corner *corners[MAX_CURVES]; /* borrowed: the first of its label */
    int styles[MAX_CURVES];
    int n, n_left; /* n_left: lanes for which there is no room */
    bool there[MAX_CURVES][MAX_COLUMNS];
};

/* Never is black in every figure; the others take the styles in their order. */
static int curve_find(struct curves *p, const struct corner *c)
{
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->corners[i]->label, c->label) == 0) return i;
    if (p->n == MAX_CURVES) return STUDY_ABSENT;
    int style = 1;
    for (int i = 0; i < p->n && c->role != CORNER_NEVER; i++) style += p->styles[i] > 1;
    p->corners[p->n] = c;
    p->styles[p->n] = c->role == CORNER_NEVER ? 1 : style + 1 > FIGURE_STYLES ? FIGURE_STYLES : style + 1;
    return p->n++;
}

static int curves_write(struct figure *f, const struct plot_job *job, struct curves *p, double *max)
{
    const struct study *s = job->study;
    const int n_bins = s->n_steps < MAX_POINTS ? s->n_steps : MAX_POINTS;
    for (int column = 0; column < job->n; column++) {
        const struct corner_set *set = &job->corners->sets[job->first + column];
        for (int i = 0; i < set->n_corners; i++) {
            const struct corner *c = &set->corners[i];
            char block[32];
            if (c->role != CORNER_RECTIFIED && c->role != CORNER_NEVER && c->role != CORNER_EQUAL) continue;
            const int curve = curve_find(p, c);
            p->n_left += curve < 0;
            if (curve < 0) continue;
            snprintf(block, sizeof block, "c%d_%d", curve, column);
            const int rc = plot_block(f, block, s, c->lane, QUANTITY_K_ACCUM, n_bins, max);
            if (rc < 0) return -1;
            p->there[curve][column] = rc == 0;
        }
    }
    return 0;
}

static int key_rows(const struct curves *p)
{
    return (p->n + KEYS_A_ROW - 1) / KEYS_A_ROW;
}

static void panel_draw(const struct figure *f, const struct plot_job *job, const struct curves *p, int column)
{
    FILE *out = f->script.file;
    const double width = 0.89 / job->n, left = 0.105 + column * width;
    const int mean = job->study->n_texts + 2;
    bool any = false;
    fprintf(out,
            "set lmargin at screen %.4f; set rmargin at screen %.4f; set tmargin at screen %.4f; set bmargin at screen "
            "%.4f\n",
            left, left + width - 0.035, 1 - (key_rows(p) * KEY_HEIGHT + 20.0) / f->height, 38.0 / f->height);
    fprintf(out, "set format y '%s'\nunset label\nset label 2 \"", column == 0 ? "%g" : "");
    output_plot(out, job->corners->sets[job->first + column].title);
    fputs("\" at graph 0.5, graph 1.06 center noenhanced\n", out);
    fputs(column == 0 ? "set ylabel 'distance of K to clean (1)' offset 1.2\n" : "unset ylabel\n", out);
    fputs("plot ", out);
    for (int i = 0; i < p->n; i++) { /* thin ones first, so that no mean is hidden */
        if (!p->there[i][column]) continue;
        fprintf(out, "%sfor [i=2:%d] $c%d_%d using 1:i with lines lw 0.4 lc rgb '#c0%s' notitle", any ? ", " : "",
                mean - 1, i, column, thin_colours[p->styles[i] - 1] + 1);
        any = true;
    }
    for (int i = 0; i < p->n; i++) {
        if (!p->there[i][column]) continue;
        fprintf(out, ", $c%d_%d using 1:%d with linespoints ls %d pointinterval 3 notitle", i, column, mean,
                p->styles[i]);
    }
    fputs(any ? "\n" : "NaN notitle\n", out);
}

/* Over all panels, an entry at a time: the key of a panel would be as narrow as the panel. */
static void key_draw(const struct figure *f, const struct curves *p)
{
    FILE *out = f->script.file;
    const int a_row = p->n < KEYS_A_ROW ? p->n : KEYS_A_ROW;
    fputs("set lmargin at screen 0; set rmargin at screen 1; set tmargin at screen 1; set bmargin at screen 0\n"
          "unset border; unset xtics; unset ytics\n",
          out);
    for (int i = 0; i < p->n; i++) {
        const int row = i / KEYS_A_ROW;
        fprintf(out,
                "set key at screen %.4f, screen %.4f left center Left reverse noenhanced samplen 4\nplot NaN with "
                "linespoints ls %d title \"%s\"\n",
                0.105 + 0.85 * (i % KEYS_A_ROW) / a_row, 1 - (row + 0.6) * KEY_HEIGHT / f->height, p->styles[i],
                p->corners[i]->label);
    }
    fputs("unset key\nset border 3\n", out);
}

static void distance_caption(struct figure *f, const struct plot_job *job, const struct curves *p)
{
    const int bin = (job->study->n_steps + MAX_POINTS - 1) / MAX_POINTS;
    char count[32], legend[400], bins[128] = "", left[64] = "";
    if (bin > 1)
        snprintf(bins, sizeof bins, " Means of bins of %d steps, so that most saw-teeth are averaged out.", bin);
    if (p->n_left) snprintf(left, sizeof left, " %d more lane%s: see the tables.", p->n_left, words_s(p->n_left));
    snprintf(f->caption, sizeof f->caption,
             "Accumulated error: distance of the current token's K to the same token's in the clean lane (same policy, "
             "undisturbed cache), over the dense lane's norm, mean over layers 1 and up. 0 would be no accumulation. "
             "Thin lines: texts (%s), thick: their mean. %s.%s%s",
             plot_count(job->study, count, sizeof count),
             legend_print(job->study, p->corners, p->n, legend, sizeof legend), left, bins);
}

int plot_distance(struct figure *f, const struct plot_job *job)
{
    struct curves p = { 0 };
    double max = 0;
    bool any = false;
    if (curves_write(f, job, &p, &max) != 0) return -1;
    for (int i = 0; i < p.n; i++)
        for (int column = 0; column < job->n; column++) any |= p.there[i][column];
    if (!any) return 1;
    f->height = HEIGHT + key_rows(&p) * KEY_HEIGHT;
    figure_begin(f);
    fprintf(f->script.file, "set datafile missing '?'\nset multiplot\nset xrange [0:%d]\nset yrange [0:%g]\n",
            job->study->n_steps, plot_ceil(max));
    key_draw(f, &p);
    fprintf(f->script.file,
            "set ytics nomirror out %g\nset xtics nomirror out %g\nset xlabel 'decoding step (tokens)' offset 0,0.3\n",
            plot_tick(plot_ceil(max), 5), plot_tick(job->study->n_steps, 4));
    for (int column = 0; column < job->n; column++) panel_draw(f, job, &p, column);
    distance_caption(f, job, &p);
    return 0;
}
