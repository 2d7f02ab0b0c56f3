/* analysis/findings_equal.h: the reader's first question, in sentences: is rectifying better than spending its bytes on reading
 * more, and how much of what accumulates does it take back.                                                       */
#ifndef ANALYSIS_FINDINGS_EQUAL_H
#define ANALYSIS_FINDINGS_EQUAL_H

#include "analysis/contest.h"

/* A sentence for each rectified lane with an equal-bytes twin: NLL where it is a text's, KL and agreement. */
int findings_equal(const struct study *s, const struct contests *c, struct notes *findings);

/* Which of the two is better by a difference rectified minus equal; for words after a colon. */
const char *findings_equal_verdict(const struct study *s, const struct contest *k, int measure);
/* "; but equal moved 4 % fewer bytes", where least or whole blocks kept it from what rectifying costs; else "". */
int findings_equal_bytes(char *text, size_t n_bytes, const struct study *s, int rectified, int equal);

/* A sentence on the shares that a set's rectified lanes take back of K's distance to the clean lane. */
int findings_share(const struct study *s, const struct corner_set *set, const char *where, struct notes *findings);

/* " [31, 40] %" or that it is undefined; n_bytes of text. */
const char *words_share(char *text, size_t n_bytes, struct ratio share);

#endif
