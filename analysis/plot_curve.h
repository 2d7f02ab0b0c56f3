/* analysis/plot_curve.h: curves of figures: the mean over texts with what is known of it.
 *
 * From ESTIMATE_MIN_TEXTS texts on a curve has a band, Student's 95 % interval over texts at each of its places by itself, or
 * bars, estimate_of()'s; with fewer each text has a thin line.  A block of data: x, mean, low, high, then, with fewer, each
 * text's value; "?" is missing.                                                                                 */
#ifndef ANALYSIS_PLOT_CURVE_H
#define ANALYSIS_PLOT_CURVE_H

#include "analysis/figure.h"
#include "analysis/plot_grid.h"
#include "analysis/study.h"

enum { PLOT_MAX_CURVES = 12, PLOT_BARS = -1 };

struct plot_range {
    double min, max; /* what the curves of a figure reach; begins as { 0, 0 } */
};

/* Steps first .. first + n_steps - 1, in n_bins bins. */
struct plot_span {
    int first, n_steps, n_bins;
};

/* Lane `lane`, or its difference to lane `minus` (STUDY_ABSENT: itself), of a quantity. */
struct plot_source {
    int lane, minus;
    enum quantity quantity;
};

/* $block of the source over the span's bins, x: a bin's middle step.  0; 1: there are no values, and no block; -1. */
int plot_block(struct figure *f, const char *block, const struct study *s, struct plot_source source,
               struct plot_span span, struct plot_range *range);
/* The same of numbers: x [n], values [n_texts][n], NaN where there is none. */
int plot_block_of(struct figure *f, const char *block, const double *x, const double *values, int n_texts, int n,
                  bool bars, struct plot_range *range);

/* A point of a block: x, mean, low, high. */
void plot_point(FILE *script, double x, struct estimate e, struct plot_range *range);

/* A panel's curves, drawn together so that no mean lies under a band. */
struct plot_panel {
    int n_texts, n;
    struct plot_curve {
        char block[32];
        int style,
            every; /* a point at each every-th place; 0: a line without points; PLOT_BARS: points joined by a thin
                             line, each with its own interval as a bar */
    } curves[PLOT_MAX_CURVES];
};
void plot_panel_add(struct plot_panel *p, const char *block, int style, int every);
/* The plot command, after whatever settings; "no values" where there is no curve. */
void plot_panel_draw(const struct plot_panel *p, FILE *out);

/* "Lines: means over texts (n = 8 texts); bands: 95 % intervals .." or what few texts have instead.  bars: of PLOT_BARS. */
const char *plot_words_of_texts(const struct study *s, bool bars, char *text, size_t n_bytes);

/* What a figure of a study is of, for its foot: "n = 8 texts (16 runs), the unit of sampling: a text". */
void plot_note(struct plot_grid *g, const struct study *s);

/* A round number at or above x, for the end of an axis. */
double plot_ceil(double x);
/* The distance of at most n ticks, beside 0, up to max. */
double plot_tick(double max, int n);
/* For axes that several panels share: its ends and ticks, from the least round number to the greatest that hold the range, as
 * the variables of axis number `number` (with the data); what a panel says to have them (with the drawing).  axis: 'x', 'y'. */
void plot_axis(FILE *script, char axis, int number, struct plot_range range, int n_ticks);
/* Those ends. */
struct plot_range plot_axis_ends(struct plot_range range, int n_ticks);
void plot_axis_use(FILE *body, char axis, int number);
/* The x axis of all panels: steps first to end. */
void plot_x_steps(FILE *script, int first, int end);
/* A panel's: stale tokens up to max on a logarithmic axis, 0 at PLOT_STALE_ZERO. */
#define PLOT_STALE_ZERO 0.5
void plot_x_stale(FILE *out, int max, bool numbers);

#endif
