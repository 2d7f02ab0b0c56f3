/* analysis/words.h: counts and estimates as parts of sentences.  Each writes to the caller's text, which it returns. */
#ifndef ANALYSIS_WORDS_H
#define ANALYSIS_WORDS_H

#include "analysis/study.h"

/* "texts", "runs", but "text", "run" for 1. */
static inline const char *words_s(int n)
{
    return n == 1 ? "" : "s";
}

/* How an estimate of a difference is told: which of these it is. */
enum told { TOLD_NOTHING, TOLD_SAME, TOLD_FEW, TOLD_UNCLEAR, TOLD_CLEAR };
enum told told_of(struct estimate e);

/* "0.306 nat [0.281, 0.331]": the size, for sentences that say the direction; the interval where there is one.  unit: " nat". */
const char *words_amount(char *text, size_t n_bytes, struct estimate e, double scale, int decimals, const char *unit);
/* " (on 7 of 8 texts)": those on the mean's side. */
const char *words_side(char *text, size_t n_bytes, struct estimate e);
/* "on all 8 texts", "on the one text" */
const char *words_all(char *text, size_t n_bytes, int n);
/* "on average of 3 texts, too few for a claim", and the other reasons for which there is no interval. */
const char *words_average(char *text, size_t n_bytes, struct estimate e);

/* Where lanes choose their own tokens a comparison ends as soon as the streams part.  ", over 37.2 of 512 steps": those at
 * which lane a, and b unless it is STUDY_ABSENT, has a value, on average over runs; "" where every step has one or lanes
 * are fed the same tokens. */
const char *words_covered(char *text, size_t n_bytes, const struct study *s, int a, int b, enum quantity q);
/* Whether a rectified lane and b (or STUDY_ABSENT), on average over runs, part before its first rectification: nothing is to be said of that. */
bool words_part_early(const struct study *s, int rectified, int b, enum quantity q);

#endif
