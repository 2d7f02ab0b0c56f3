/* tests/sim_texts.h: texts as a study sees them, with a mean that is known: one value for each text, the mean over its steps of
 * the truth + an effect of the text + noise that follows an AR(1) of 0.5 from step to step.                        */
#ifndef TESTS_SIM_TEXTS_H
#define TESTS_SIM_TEXTS_H

#include "core/philox.h"

#include <math.h>
#include <stdint.h>

enum { SIM_STEPS = 64 };

enum sim_law { LAW_NONE, LAW_NORMAL, LAW_SKEWED, LAW_VERY_SKEWED, LAW_HEAVY, LAW_RARE, N_SIM_LAWS };

static const struct {
    const char *name;
    double mean;
} sim_laws[N_SIM_LAWS] = {
    { "no text effect", 0 },
    { "normal", 0 },
    { "skewed (log-normal, 0.75)", 1.3247847587288655 }, /* exp(0.75^2 / 2) */
    { "very skewed (log-normal, 1)", 1.6487212707001282 },
    { "heavy (Student's t, 3)", 0 },
    { "rare (0 at 7 of 10 texts)", 0.3 },
};

struct sim_source {
    uint32_t seed, n; /* numbers drawn so far */
};

static inline double sim_uniform(struct sim_source *s)
{
    uint32_t word[4];
    philox4x32((const uint32_t[4]){ s->n++, 0, 0, 77 }, (const uint32_t[2]){ s->seed, 0 }, word);
    return philox_uniform(word[0], word[1]) + 0x1p-54;
}

static inline double sim_normal(struct sim_source *s)
{
    const double u = sim_uniform(s), v = sim_uniform(s);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static inline double sim_effect(struct sim_source *s, enum sim_law law)
{
    double squares = 0;
    switch (law) {
    case LAW_NORMAL:
        return sim_normal(s);
    case LAW_SKEWED:
        return exp(0.75 * sim_normal(s));
    case LAW_VERY_SKEWED:
        return exp(sim_normal(s));
    case LAW_HEAVY:
        for (int i = 0; i < 3; i++) {
            const double x = sim_normal(s);
            squares += x * x;
        }
        return sim_normal(s) / sqrt(squares / 3);
    case LAW_RARE:
        return sim_uniform(s) < 0.7 ? 0 : -log(sim_uniform(s));
    default:
        return 0;
    }
}

/* values: [n] */
static inline void sim_texts(struct sim_source *s, enum sim_law law, int n, double *values)
{
    for (int i = 0; i < n; i++) {
        double noise = sim_normal(s) / sqrt(0.75), sum = 0; /* as it is after many steps */
        for (int step = 0; step < SIM_STEPS; step++) {
            sum += noise;
            noise = 0.5 * noise + sim_normal(s);
        }
        /* A text without one of the rare events is exactly 0, as a lane that never differs is. */
        const double effect = sim_effect(s, law);
        values[i] = effect + (law == LAW_RARE ? (fabs(effect) > 0 ? sum / SIM_STEPS : 0) : sum / SIM_STEPS);
    }
}

#endif
