/* analysis/plots.h: the figures of a study.                                                                       */
#ifndef ANALYSIS_PLOTS_H
#define ANALYSIS_PLOTS_H

#include "analysis/corners.h"
#include "analysis/figure.h"
#include "analysis/growth_report.h"
#include "analysis/pareto.h"
#include "analysis/plot_lanes.h"

enum { MAX_FIGURES = 48 };

struct plots {
    struct figure *figures; /* owned [n_figures], those that were drawn */
    int n_figures;
};

/* suffix: "" or "-KEY", of the names.  What cannot be drawn for want of data is said in notes; a failure is gnuplot's. */
int plots_draw(struct plots *p, const char *results, const struct study *s, const struct corners *c,
               const struct pareto *pareto, const struct growth_report *growth, const char *suffix,
               struct notes *notes);
void plots_close(struct plots *p);

/* What figures are called before their suffix; NULL after the last. */
extern const char *const plot_kind_names[];

/* ---- for the files that draw ---- */

/* What does not fit on one page is drawn in parts: 0, 1, .. */
struct plot_job {
    const struct study *study;
    const struct corners *corners;
    const struct plot_lanes *lanes;
    const struct pareto *pareto;
    const struct growth_report *growth;
    int part;
};

/* Each writes data, drawing, title and caption of a part.  1: there was nothing to draw, or there is no such part; -1. */
int plot_corners(struct figure *f,
                 const struct plot_job *job);                  /* selection, cache, both, rectified: means over steps */
int plot_pareto(struct figure *f, const struct plot_job *job); /* cost against error */
int plot_intervals(struct figure *f, const struct plot_job *job); /* errors and cost against the interval */
int plot_ablation(struct figure *f, const struct plot_job *job);  /* and against each other setting */
int plot_accumulation(struct figure *f,
                      const struct plot_job *job); /* distance to clean, NLL or KL above clean, over steps */
int plot_stale_tokens(struct figure *f, const struct plot_job *job); /* distance to clean by stale tokens */
int plot_sawtooth(struct figure *f, const struct plot_job *job);     /* the last steps, one by one */
int plot_stale(struct figure *f, const struct plot_job *job);        /* drift of the stale tokens, over steps */
int plot_growth(struct figure *f, const struct plot_job *job);       /* growth laws with residuals */
int plot_prediction(struct figure *f, const struct plot_job *job);   /* rectified lanes, predicted from them */
int plot_depth(struct figure *f, const struct plot_job *job);        /* layers against steps */
int plot_stale_depth(struct figure *f, const struct plot_job *job);  /* layers against stale tokens */
int plot_mass(struct figure *f, const struct plot_job *job);         /* attention mass kept, against what is read */

#endif
