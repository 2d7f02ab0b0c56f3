/* analysis/growth_match.h: an error by stale tokens, told apart from the steps at which it was read, for one text.
 *
 * At step t the error of a lane with s stale tokens is taken for
 *
 *     y(t, s) = h(t) f(s),  f(0) = 0,
 *
 * a step that disturbs much or little, whoever takes it, times what s stale tokens do.  f and h are those whose sums over every
 * bin of s and over every step are the measured ones (the quasi-likelihood fit of a log-linear model, found by scaling rows
 * and columns in turn: Deming and Stephan, Annals of Mathematical Statistics 11, 1940), over the steps at which lanes of
 * different bins are there.  The mean of h over all steps is 1, so that f(s) is what s stale tokens do on average over the run.
 * Within a bin f goes on lines in ln s between the bins, so that where in its bin a lane stands is no error of the step's.
 * A difference such as NLL above clean may be below 0: there h is that of weights read at the same steps, which are not, and f(s)
 * the sum of the differences over the sum of h.                                                                    */
#ifndef ANALYSIS_GROWTH_MATCH_H
#define ANALYSIS_GROWTH_MATCH_H

#include "analysis/study.h"

#include <stdbool.h>

struct growth_observation {
    int row, slot, stale; /* row: a step of a run; slot: of the block, study_slot_bin() */
    double y, weight;     /* weight: what h is fitted to, at least 0; y itself unless y is a difference */
};

struct growth_observations {
    struct growth_observation *all; /* owned [n], row by row in ascending order, stale 1 or more */
    int n, n_rows;
    bool differences; /* y is no weight */
};
void growth_observations_close(struct growth_observations *o);

struct growth_match {
    bool matched; /* there are steps that compare GROWTH_MIN_BINS bins or more; else f are plain means, h is 1 */
    double f[STUDY_STALE_BINS];      /* NaN: bin 0, no value, or not compared with the others */
    double n[STUDY_STALE_BINS];      /* observations */
    double stale[STUDY_STALE_BINS];  /* their stale tokens, mean weighted by h as f is */
    double slots[STUDY_SLOTS];       /* mean of h over the steps at a place in the block; NaN: none */
    unsigned seen[STUDY_STALE_BINS]; /* of s < STUDY_STALE_BINS stale tokens: at which places, a bit each */
    int longest;                     /* most stale tokens of a bin with a value */
};

/* match: false for plain means whatever could be compared.  Fails where memory is short. */
int growth_match_make(struct growth_match *m, const struct growth_observations *o, bool match);

#endif
