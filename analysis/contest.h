/* analysis/contest.h: what a sweep is run to decide: each rectified lane against the never rectified one, and against the lane
 * that spends the same bytes on reading more, in every set of lanes, by four measures.
 *
 * A contest is paired: lane a minus lane b at each step of each text, averaged over the text, tested over texts by Wilcoxon's
 * signed ranks.  The contests of one measure are one family for Holm's correction.                              */
#ifndef ANALYSIS_CONTEST_H
#define ANALYSIS_CONTEST_H

#include "analysis/corners.h"
#include "analysis/rank.h"
#include "analysis/sheet.h"

enum { N_CONTEST_MEASURES = 4 };
extern const enum measure contest_measures[N_CONTEST_MEASURES];

struct contest {
    const struct corner_set *set; /* borrowed */
    const struct corner *a, *b;   /* a: rectified; b: never or equal */
    struct estimate difference[N_CONTEST_MEASURES];
    struct rank_test rank[N_CONTEST_MEASURES];
    double holm[N_CONTEST_MEASURES]; /* p over the family; NaN: no p */
};

struct contests {
    struct contest *all; /* owned [n] */
    int n;
    int n_texts;                      /* most of any contest */
    int n_family[N_CONTEST_MEASURES]; /* contests that have a value */
};

int contests_open(struct contests *c, const struct study *s, const struct corners *corners);
void contests_close(struct contests *c);

/* "With 8 texts no p-value can be below 0.0078, ..": whether the family can reach 5 % at all; "" where it can or is empty. */
const char *contests_reach(const struct contests *c, char *text, size_t n_bytes);

/* A row for each contest and measure. */
int contests_sheet(struct sheet *t, const struct study *s, const struct contests *c, const char *name);

#endif
