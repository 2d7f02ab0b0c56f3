/* analysis/sawtooth.h: what the growth law says of a rectified lane, and what the lane did.
 *
 * Within a window the tokens written since the last rectification are stale: a lane of interval f goes through 0 .. f - 1 of them
 * again and again.  If the error is a matter of stale tokens and of the place in the block, f(s) and p(slot) of lanes that are
 * never rectified (analysis/growth_match.h; p: the mean of h there) say what each of its steps has, and their mean over the
 * lane's own steps what the lane has:
 *
 *     predicted = sum over s, slot of n(s, slot) f(s) p(slot) / sum of n(s, slot),   n: steps of the lane with s stale tokens
 *
 * The law comes from the never rectified lanes (GROWTH_PURE); where these were not compared at the same steps, so that their law is
 * one of steps, from all lanes of the group but the predicted one (GROWTH_ALL).  Both are of the texts of the law.
 *
 * The interval is where the measured value should lie: the prediction and the 95 % expanded percentiles of how measured less
 * predicted varies over bootstraps of texts (analysis/growth.h), both from the same texts each time.                   */
#ifndef ANALYSIS_SAWTOOTH_H
#define ANALYSIS_SAWTOOTH_H

#include "analysis/growth_study.h"

struct sawtooth_point {
    double s;     /* mean stale tokens */
    double share; /* of the lane's steps */
    double measured, predicted;
    double low, high; /* where measured should lie; NaN: fewer than ESTIMATE_MIN_TEXTS texts */
};

struct sawtooth {
    int lane; /* of the study */
    enum growth_quantity quantity;
    enum growth_source source;
    char from[160]; /* which law, in words: growth_law_words() */
    bool identified; /* that law's growth */
    enum growth_law law;
    int n_texts;
    struct sawtooth_point mean;    /* over all steps of the lane, those without stale tokens among them */
    struct sawtooth_point *points; /* owned [n_points]: bins of stale tokens from 1 on */
    int n_points, n_inside;        /* n_inside: measured within the interval */
    double at_zero;                /* measured at the steps without stale tokens, where the law says 0; NaN: there are none */
    char why[160];                 /* n_texts 0: why there is none */
};

/* lane: of the set's group, with an interval.  others: whether a law of all lanes but this one may be made where it is needed. */
int sawtooth_open(struct sawtooth *w, const struct study *s, const struct growth_set *set, int lane,
                  enum growth_quantity q, bool others);
void sawtooth_close(struct sawtooth *w);

/* Each rectified lane of each group, of the distance of K, KL from clean, and KL and NLL above clean. */
enum { N_SAWTOOTH_QUANTITIES = 4 };
/* A law of the other lanes is a law for each lane: it is made for the first so many; the rest are predicted from the never
 * rectified lanes' plain means. */
enum { SAWTOOTH_MAX_OTHERS = 32 };
extern const enum growth_quantity sawtooth_quantities[N_SAWTOOTH_QUANTITIES];
struct sawteeth {
    struct sawtooth *all; /* owned [n] */
    int n;
};
int sawteeth_open(struct sawteeth *w, const struct growth_study *g);
void sawteeth_close(struct sawteeth *w);

static inline double sawtooth_error(const struct sawtooth *w)
{
    return w->mean.predicted / w->mean.measured - 1;
}

#endif
