/* analysis/rank.h: tests by ranks on paired differences, one difference for each text.
 *
 * Wilcoxon's signed-rank test (Wilcoxon 1945), two-sided, after Pratt (1959): the absolute differences are ranked with the
 * zeros among them, ties take the mean of their ranks, then the zeros are dropped.  p is exact: the share of the 2^m sign
 * patterns of the m differences that are not 0 whose rank sum is at least as far from its mean as the one seen.  For m
 * above RANK_MAX_EXACT the normal law with the variance of these ranks takes the place of the sign patterns.
 *
 * With n texts p cannot fall below 2^(1-n); fewer than ESTIMATE_MIN_TEXTS give none.                              */
#ifndef ANALYSIS_RANK_H
#define ANALYSIS_RANK_H

#include <stddef.h>

enum { RANK_MAX_EXACT = 128 };

struct rank_test {
    int n;          /* texts that have a difference */
    int n_zero;     /* of them, exactly 0 */
    double above;   /* sum of the ranks of the differences above 0; NaN: no text */
    double below;   /* and of those below */
    double p;       /* two-sided; NaN: too few texts.  All differences 0: 1 */
    double effect;  /* matched-pairs rank-biserial correlation, (above - below) / (above + below), -1 .. 1; NaN: all are 0 */
    double shift;   /* Hodges and Lehmann: the median of the means of all pairs, each with itself too; NaN: no text */
};

/* differences: [n], NaN where a text has none. */
int rank_signed(const double *differences, int n, struct rank_test *test);

/* Holm (1979): p, [n], become adjusted for their number, so that each may be compared with the level of the whole family.
 * NaN is no member of it. */
int rank_holm(double *p, int n);

/* The smallest p that n texts can have, 2^(1-n), and the fewest texts at which a family of n_tests can have one below
 * level after Holm. */
double rank_least_p(int n);
int    rank_texts_needed(int n_tests, double level);

#endif
