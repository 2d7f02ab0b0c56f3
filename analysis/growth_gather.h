/* analysis/growth_gather.h: each text's curve of an error by stale tokens, read from lanes at the same steps.
 *
 * In a lane that is never rectified stale tokens and steps are one and the same, and a growth law read from it would be one of
 * the text's length: the share of blocks that is read, the place in the block and the token itself go along.  Lanes that turned
 * stale at different steps tell them apart.  How: analysis/growth_match.h.  A
 * difference is weighted by the KL divergence from the clean lane.
 *
 * Where no such steps are (one lane, or lanes whose bins do not meet) f(s) is the plain mean: not matched, and said to be.   */
#ifndef ANALYSIS_GROWTH_GATHER_H
#define ANALYSIS_GROWTH_GATHER_H

#include "analysis/growth.h"
#include "analysis/growth_group.h"
#include "analysis/growth_match.h"

enum growth_quantity {
    GROWTH_K,
    GROWTH_V,
    GROWTH_ATTN,
    GROWTH_HIDDEN,
    GROWTH_KL_CLEAN,
    GROWTH_KL,
    GROWTH_NLL,
    N_GROWTH_QUANTITIES
};

struct growth_quantity_def {
    const char *key, *label; /* in csv; for people, with its unit */
    enum quantity quantity;
    bool less_clean; /* the clean twin's is subtracted */
};
extern const struct growth_quantity_def growth_quantity_defs[N_GROWTH_QUANTITIES];

struct growth_gathered {
    struct growth_curves curves; /* owned until growth_open() takes it; n_texts 0: nothing, see why */
    int *texts;                  /* owned [n_texts]: the study's */
    int n_texts, n_lanes;
    double (*slots)
        [STUDY_SLOTS]; /* owned [n_texts]: how much steps at a place in the block disturb, over all steps' mean */
    bool matched;      /* at the same steps */
    bool slots_tied;   /* each number of stale tokens below a block stood at one place in the block alone; with matched: the
                          law is identified only where this is false */
    double at_zero;    /* greatest size of what a lane without stale tokens read: 0 on exact machines; NaN: none seen */
    char why[160];     /* why there are no curves */
};

/* lanes: [n_lanes] of the group.  A text that lacks more than half of the bins is left out, then bins that a text lacks. */
int growth_gather(struct growth_gathered *g, const struct study *s, const struct growth_group *group, const int *lanes,
                  int n_lanes, enum growth_quantity q);
void growth_gathered_close(struct growth_gathered *g);

/* Whether stale tokens were told apart from steps and from places in the block: only then is growth identified. */
static inline bool growth_is_identified(const struct growth_gathered *how)
{
    return how->matched && !how->slots_tied;
}
/* Why not; "" where it is. */
const char *growth_unidentified_words(const struct growth_gathered *how);

/* A lane's quantity at a step of a run; NaN: none. */
struct growth_series {
    const float *y, *clean, *stale; /* borrowed [n_steps]; y NULL: the run lacks it; clean NULL: nothing to subtract */
};
struct growth_series growth_series_of(const struct study *s, int run, int lane, enum growth_quantity q);
static inline double growth_series_at(const struct growth_series *x, int step)
{
    return x->clean ? (double)x->y[step] - (double)x->clean[step] : (double)x->y[step];
}

#endif
