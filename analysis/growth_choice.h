/* analysis/growth_choice.h: which law holds for texts that were not seen.
 *
 * Steps of one stream depend on one another, so that a criterion that counts them finds growth where there is none.  Here each
 * text is left out in turn: a law is fitted to the mean curve of the others and must predict its curve.  A text has a level of
 * its own (how far it drifts at all differs between texts by a third, the shape far less), which is taken from the left-out text
 * itself, one factor for every law alike: what is judged is the shape.  The error is the squared residual over the squared curve.
 *
 * Chosen is the law of the fewest parameters whose error is above the least one by no more than the standard error of that
 * difference over texts, times GROWTH_RULE (Breiman and others, "Classification and Regression Trees", section 3.4.3, the
 * one-standard-error rule, on paired differences); of two with as many, the one of the lesser error.               */
#ifndef ANALYSIS_GROWTH_CHOICE_H
#define ANALYSIS_GROWTH_CHOICE_H

#include "analysis/growth_law.h"

#include <stdbool.h>

struct growth_curves {
    struct growth_axis axis;
    int n_texts;
    double *y; /* owned [n_texts][axis.n], none NaN */
};
void growth_curves_close(struct growth_curves *c);

/* Of a bin of so many steps of a text.  Steps average out, a text's own way does not: from some GROWTH_STEPS steps on more of
 * them say little more.  Intervals hold for any weights. */
enum { GROWTH_STEPS = 16 };
static inline double growth_weight(double n_steps)
{
    return n_steps / (n_steps + GROWTH_STEPS);
}

static inline const double *growth_curve(const struct growth_curves *c, int text)
{
    return c->y + (long)text * c->axis.n;
}

struct growth_choice {
    enum growth_law law, best;          /* chosen; of the least error */
    double error[N_GROWTH_LAWS];        /* of left-out texts: mean over texts */
    double excess[N_GROWTH_LAWS];       /* over the best law's */
    double excess_error[N_GROWTH_LAWS]; /* standard error of the excess over texts */
};

/* The mean of the curves of the texts pick: [n], repeats allowed; without: a text that is left out in all its copies, or -1.
 * mean: [axis.n].  Returns how many texts are in it. */
int growth_mean(const struct growth_curves *c, const int *pick, int n, int without, double *mean);

/* pick: [n] texts, repeats allowed.  Fails where fewer than two different texts are among them or memory is short. */
int growth_choose(const struct growth_curves *c, const int *pick, int n, struct growth_choice *choice);

#endif
