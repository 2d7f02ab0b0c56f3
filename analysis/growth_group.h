/* analysis/growth_group.h: the lanes of a study from which a growth law is read.
 *
 * A group is one policy: selector, sparsity, block size, local, least and dense blocks.  Its lanes have a cache of their own, a
 * clean twin that is the same for all, and differ in when their tokens turn stale: interval, phase, dense_until.  (The sets of
 * analysis/corners.h part by dense_until, which here is the point.)  Lanes that read more (equal_bytes) or are perturbed are
 * in no group.                                                                                                     */
#ifndef ANALYSIS_GROWTH_GROUP_H
#define ANALYSIS_GROWTH_GROUP_H

#include "analysis/corners.h"

struct growth_group {
    char title[192], key[128];
    struct lane_spec policy; /* interval, phase, dense_until mean nothing */
    int clean;               /* the study's lane */
    int *lanes;              /* owned [n_lanes]: never rectified ones first, each kind in the study's order */
    int n_lanes, n_pure;     /* n_pure: never rectified */
};

struct growth_groups {
    struct growth_group *groups; /* owned [n] */
    int n;
};

/* Groups without a lane that is never rectified or without a clean twin are not listed; who would be is told in notes. */
int growth_groups_open(struct growth_groups *g, const struct study *s, const struct corners *c, struct notes *notes);
void growth_groups_close(struct growth_groups *g);

#endif
