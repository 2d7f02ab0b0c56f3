/* analysis/plots.h: the figures of a study.  Each is drawn into FOLDER/plots as svg and png beside its script.
 *
 * A figure holds a few sets of lanes (analysis/corners.h), more go into more figures.  The unit drawn is a text: thin lines are
 * texts, thick ones their mean.                                                                               */
#ifndef ANALYSIS_PLOTS_H
#define ANALYSIS_PLOTS_H

#include "analysis/corners.h"
#include "analysis/figure.h"

enum { MAX_FIGURES = 24 };

struct plots {
    struct figure *figures; /* owned [n_figures], those that were drawn */
    int n_figures;
};

/* suffix: "" or "-KEY", of the names.  What cannot be drawn for want of data is said in notes; a failure is gnuplot's. */
int plots_draw(struct plots *p, const char *results, const struct study *s, const struct corners *c, const char *suffix,
               struct notes *notes);
void plots_close(struct plots *p);

/* What figures are called before their suffix; NULL after the last. */
enum { N_PLOT_KINDS = 4 };
extern const char *const plot_kind_names[N_PLOT_KINDS + 1];

/* ---- for the files that draw ---- */

/* What one figure shows: sets first .. first + n - 1. */
struct plot_job {
    const struct study *study;
    const struct corners *corners;
    int first, n;
};

/* Stale drift (the saw-tooth), distance to clean in bins and step by step, drift by layer and step: each writes data, script
 * and caption.  1: there was nothing to draw. */
int plot_stale(struct figure *f, const struct plot_job *job);
int plot_distance(struct figure *f, const struct plot_job *job);
int plot_distance_steps(struct figure *f, const struct plot_job *job);
int plot_depth(struct figure *f, const struct plot_job *job);

/* A text's curve, or the mean over texts (text STUDY_ABSENT), over n_bins bins of steps: out [n_bins], NaN where there is
 * none.  False: nothing at all. */
bool plot_curve(const struct study *s, int lane, enum quantity q, int text, int n_bins, double *out);
/* The block $name: step at a bin's middle, a column for each text that the study has, their mean; "?" is missing.
 * *max is raised to the greatest value.  0, 1: the lane has no values, -1. */
int plot_block(struct figure *f, const char *name, const struct study *s, int lane, enum quantity q, int n_bins,
               double *max);
/* A round number at or above x, for the end of an axis. */
double plot_ceil(double x);
/* The distance of at most n ticks, beside 0, up to max. */
double plot_tick(double max, int n);
/* "n = 8 texts", "n = 1 text" */
const char *plot_count(const struct study *s, char *text, size_t n_bytes);

#endif
