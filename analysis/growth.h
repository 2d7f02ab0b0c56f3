/* analysis/growth.h: the growth law of an error by stale tokens, and how far it can be trusted.
 *
 * The unit of sampling is a text: intervals come from a bootstrap that draws whole texts with replacement.  A percentile interval
 * of few clusters is too narrow; its levels are widened so that for a mean it would be Student's (Hesterberg, "What teachers
 * should know about the bootstrap", The American Statistician 69, 2015: expanded percentiles), which keeps an interval of a
 * bounded parameter within its bounds.  What they cover: tests/sim_growth.c.
 *
 * A law is never evaluated past the greatest number of stale tokens that was run.                                    */
#ifndef ANALYSIS_GROWTH_H
#define ANALYSIS_GROWTH_H

#include "analysis/growth_choice.h"

enum { GROWTH_REPLICATES = 2000, GROWTH_CHOICES = 200 };

struct growth {
    struct growth_curves curves;           /* owned */
    double mean[GROWTH_MAX_BINS];          /* over texts */
    struct growth_choice choice;           /* n_texts of 2 or more */
    enum growth_law law;                   /* of all that follows: the chosen one, or what growth_refit() was told */
    struct growth_fit fits[N_GROWTH_LAWS]; /* of the mean curve */
    double
        aicc[N_GROWTH_LAWS]; /* of the mean curve, bins taken for independent, which they are not; NaN: too few bins */
    struct growth_fit *text_fits; /* owned [n_texts]: each text's own, of the law */

    /* From ESTIMATE_MIN_TEXTS texts on; else NaN, and no replicates. */
    double share[N_GROWTH_LAWS];                            /* of GROWTH_CHOICES bootstraps in which a law is chosen */
    double low[GROWTH_PARAMETERS], high[GROWTH_PARAMETERS]; /* 95 % interval of the law's parameters */
    double band_low[GROWTH_MAX_BINS], band_high[GROWTH_MAX_BINS]; /* and of its curve */
    struct growth_fit *replicates;                                /* owned [n_replicates]: the law's */
    int n_replicates;
};

/* Takes the curves, which it closes.  n_texts: 1 or more; with one text nothing is chosen but the constant law reported. */
int growth_open(struct growth *g, struct growth_curves *curves);
void growth_close(struct growth *g);

/* Makes text_fits, replicates, low, high and the band those of another law than the chosen one; choice and share stay. */
int growth_refit(struct growth *g, enum growth_law law);

/* The chosen law's fit to the mean curve, whose f is NaN past the longest staleness that was run. */
double growth_predict(const struct growth *g, const struct growth_fit *fit, double s);

/* Bins where the texts' curves, each less its own fit of the law, are not 0 on the mean (beyond Student's 97.5 %): of a law that fits,
 * few.  From ESTIMATE_MIN_TEXTS texts on; else 0. */
int growth_misfits(const struct growth *g);

/* The seed of every bootstrap of texts here, so that the same texts are drawn for every quantity and lane. */
enum { GROWTH_SEED = 1 };

/* The expanded 95 % percentile interval of a statistic of n_texts texts; values: [n], sorted here. */
void growth_interval(double *values, int n, int n_texts, double *low, double *high);

#endif
