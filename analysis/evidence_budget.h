/* analysis/evidence_budget.h: lanes whose budgets hardly differ.
 *
 * A budget is a whole number of blocks, so that at a short context two lanes of another sparsity, another number of least blocks or
 * more bytes read as many blocks at many steps.  There they do nearly the same, and a comparison over all steps says little. */
#ifndef ANALYSIS_EVIDENCE_BUDGET_H
#define ANALYSIS_EVIDENCE_BUDGET_H

#include "analysis/evidence.h"

/* From this share of the steps on it is warned of. */
#define BUDGET_SAME_SHARE 0.25

/* The share of the steps, of those at which both are sparse, at which lanes a and b have the same budget of blocks; NaN where they
 * differ in more than what their budget is made of, so that they are no such pair. */
double budget_same_share(const struct study *s, int a, int b);

/* Adds to the warnings of e the pairs of lanes with caches of their own, the first of them by name. */
int evidence_budget_check(struct evidence *e, const struct study *s);

#endif
