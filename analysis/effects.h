/* analysis/effects.h: the four corners as effects: what selection costs alone, what the disturbed cache costs
 * alone, both, their interaction, and what rectification takes back of what accumulates.
 *
 *                 NLL, KL, top-1 agreement (differences)       K, V, attention, hidden state (distances)
 *   selection     clean − dense                                none: the clean lane is what distances are to
 *   cache         stale − dense                                stale's distance to dense
 *   both          never − dense                                never's distance to clean
 *   interaction   never − clean − stale + dense                none: distances do not add
 *   accumulated   never − clean                                never's distance to clean
 *   left by f     f − clean                                    f's distance to clean
 *   taken back    never − f, and its share of what accumulated (a ratio of means with Fieller's interval)
 *   bought        f − equal: rectified minus as many bytes spent on reading more
 *
 * Values are paired step by step, then averaged over each text; estimates are over texts.                         */
#ifndef ANALYSIS_EFFECTS_H
#define ANALYSIS_EFFECTS_H

#include "analysis/corners.h"
#include "analysis/sheet.h"

enum effect {
    EFFECT_SELECTION,
    EFFECT_CACHE,
    EFFECT_BOTH,
    EFFECT_INTERACTION,
    EFFECT_ACCUMULATED,
    EFFECT_LEFT,
    EFFECT_BACK,
    EFFECT_BOUGHT,
    N_EFFECTS
};
enum { N_EFFECT_MEASURES = 7 };
extern const enum measure effect_measures[N_EFFECT_MEASURES];

/* The lanes that make the effect; rectified: a lane of the set, for those from EFFECT_LEFT on.  False: a lane was not run, or
 * the measure has no such effect. */
bool effect_contrast(const struct study *s, const struct corner_set *set, enum effect effect, int rectified,
                     enum measure m, struct contrast *c);
int effect_estimate(const struct study *s, const struct corner_set *set, enum effect effect, int rectified,
                    enum measure m, struct estimate *e);
/* The share of EFFECT_ACCUMULATED that the rectified lane takes back. */
int effect_share(const struct study *s, const struct corner_set *set, int rectified, enum measure m, struct ratio *share);

/* A row for each set and effect, a column for each measure. */
int effects_sheet(struct sheet *t, const struct study *s, const struct corners *c, const char *name);

#endif
