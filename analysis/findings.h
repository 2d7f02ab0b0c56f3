/* analysis/findings.h: what the figures show, in plain sentences computed from the data.
 *
 * The direction of nothing is presumed.  An interval that holds 0 is said to; with fewer than ESTIMATE_MIN_TEXTS texts a figure
 * is reported and nothing is claimed.                                                                          */
#ifndef ANALYSIS_FINDINGS_H
#define ANALYSIS_FINDINGS_H

#include "analysis/contest.h"

/* What sentences are of; growth: analysis/growth_report.h. */
enum findings_kind { FINDINGS_EQUAL, FINDINGS_CORNERS, FINDINGS_GROWTH, N_FINDINGS_KINDS };
extern const char *const findings_titles[N_FINDINGS_KINDS];

/* Adds the sentences of a study to findings [N_FINDINGS_KINDS], rectified against equal bytes and the corners, and to missing what
 * was not run and so cannot be said.  c: the sets that sentences are of (corners_plain()). */
int findings_write(const struct study *s, const struct corners *c, const struct contests *contests,
                   struct notes *findings, struct notes *missing);

#endif
