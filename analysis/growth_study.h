/* analysis/growth_study.h: the growth laws of a study: of each group of lanes, each error, from two sources.          */
#ifndef ANALYSIS_GROWTH_STUDY_H
#define ANALYSIS_GROWTH_STUDY_H

#include "analysis/growth_gather.h"

enum growth_source {
    GROWTH_PURE, /* lanes that are never rectified: the rectified ones are predicted from it */
    GROWTH_ALL,  /* and those that are: more steps at which lanes are compared */
    N_GROWTH_SOURCES
};
extern const char *const growth_source_names[N_GROWTH_SOURCES];

struct growth_result {
    struct growth_gathered how; /* its curves have gone into growth */
    struct growth growth;       /* growth.curves.n_texts 0: no law, how.why says why */
};

struct growth_set {
    const struct growth_group *group;                     /* borrowed from groups */
    struct growth_result (*results)[N_GROWTH_QUANTITIES]; /* owned [N_GROWTH_SOURCES][N_GROWTH_QUANTITIES] */
};

struct growth_study {
    const struct study *study; /* borrowed */
    struct growth_groups groups;
    struct growth_set *sets; /* owned [groups.n] */
};

/* What cannot be said and why goes to missing. */
int growth_study_open(struct growth_study *g, const struct study *s, const struct corners *c, struct notes *missing);
void growth_study_close(struct growth_study *g);

static inline bool growth_is_there(const struct growth_result *r)
{
    return r->growth.curves.n_texts > 0;
}
/* Which lanes a law is from and how they were matched: "4 never rectified lanes, matched by position and place in the block".
 * source GROWTH_ALL without `without`: of all lanes of the group; else of all but the one that is predicted. */
const char *growth_law_words(char *text, size_t n_bytes, enum growth_source source, const struct growth_gathered *how,
                             bool without);

/* From the never rectified lanes where they were compared at the same steps, else from all lanes if these were. */
enum growth_source growth_source_best(const struct growth_set *set, enum growth_quantity q);

#endif
