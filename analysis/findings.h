/* analysis/findings.h: what the figures show, in plain sentences computed from the data.
 *
 * The direction of nothing is presumed.  An interval that holds 0 is said to; with fewer than ESTIMATE_MIN_TEXTS texts a figure
 * is reported and nothing is claimed.                                                                          */
#ifndef ANALYSIS_FINDINGS_H
#define ANALYSIS_FINDINGS_H

#include "analysis/contest.h"

/* Adds the sentences of a study to findings, rectified against equal bytes first, and to missing what was not run and so
 * cannot be said. */
int findings_write(const struct study *s, const struct corners *c, const struct contests *contests,
                   struct notes *findings, struct notes *missing);

#endif
