/* analysis/headline.h: what a study shows, in a few plain sentences at the head of its report; the rest is below them.
 *
 * Of two sets of lanes at most, those with the most corners: rectifying against reading as many bytes more; what selection, the
 * disturbed cache and both cost; what rectifying takes back.  Then the growth law of one of them and how well it predicts.  */
#ifndef ANALYSIS_HEADLINE_H
#define ANALYSIS_HEADLINE_H

#include "analysis/contest.h"
#include "analysis/growth_report.h"

enum { HEADLINE_MAX = 8 };

/* Adds HEADLINE_MAX sentences at most.  c: the sets that sentences are of (corners_plain()). */
int headline_write(const struct study *s, const struct corners *c, const struct contests *contests,
                   const struct growth_report *growth, struct notes *headline);

#endif
