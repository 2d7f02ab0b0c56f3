/* analysis/corners.h: the lanes of a study that share everything but their cache and its care (the four corners).
 *
 * A set is one selector, sparsity, block size, local, least and dense blocks.  Its lanes are told by their settings, never by
 * their names:
 *
 *   clean          its policy over the undisturbed cache: selection alone
 *   f16 ..         rectified every 16 ..
 *   never          sparse, never rectified: both
 *   equal 32       never rectified, reading as many bytes more as rectifying every 32 costs
 *   stale          the never lane's cache, read densely: the cache alone
 *   clean of ..    the clean twin of an equal lane
 *   stale of ..    another lane's cache, read densely                                                          */
#ifndef ANALYSIS_CORNERS_H
#define ANALYSIS_CORNERS_H

#include "analysis/study.h"

enum corner_role {
    CORNER_CLEAN,
    CORNER_RECTIFIED,
    CORNER_NEVER,
    CORNER_EQUAL,
    CORNER_STALE,
    CORNER_CLEAN_OF,
    CORNER_STALE_OF
};

struct corner {
    enum corner_role role;
    int lane; /* of the study */
    char label[48];
};

struct corner_set {
    char title[192];         /* "sparsity 0.9", and what else differs between the sets */
    char key[128];           /* "s0.9-b16-..", unique in the study */
    struct lane_spec policy; /* of its first lane; interval, phase, equal_bytes mean nothing */
    struct corner *corners;  /* owned [n_corners], by role, then by interval, phase, equal_bytes */
    int n_corners;
};

struct corners {
    struct corner_set *sets; /* owned [n_sets], by sparsity, then in the order of the lanes */
    int n_sets;
};

int corners_open(struct corners *c, const struct study *s);
void corners_close(struct corners *c);

/* The sets that are sparse from the first step on, which figures and sentences are of; all where there is none.  Their corners
 * are borrowed from c: of plain only the array of sets is to be freed. */
int corners_plain(struct corners *plain, const struct corners *c);

/* For qsort_r of struct corner: by role, then by interval, phase, equal_bytes, lane; study: the struct study. */
int corner_compare(const void *a, const void *b, void *study);

/* The lane of a role; interval: of a rectified or an equal lane, 0: the first.  STUDY_ABSENT: none. */
int corner_lane(const struct corner_set *set, enum corner_role role, int interval, const struct study *s);

#endif
