/* analysis/findings_near.h: sentences on how near lanes stay to others, which need no language-modelling figure. */
#ifndef ANALYSIS_FINDINGS_NEAR_H
#define ANALYSIS_FINDINGS_NEAR_H

#include "analysis/corners.h"

/* For a set of lanes whose NLL is not that of a text: KL from the dense lane and agreement on its most probable token, each
 * corner's and their differences.  where: the set's title, as a sentence begins with it. */
int findings_near_dense(const struct study *s, const struct corner_set *set, const char *where, struct notes *findings);

/* One sentence: the accumulated error, K's distance to the clean lane, of each lane of the set with a cache of its own. */
int findings_near_clean(const struct study *s, const struct corner_set *set, const char *where, struct notes *findings);

#endif
