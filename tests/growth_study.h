/* tests/growth_study.h: studies in memory whose growth law is known.
 *
 * Of text i at step t a lane with s stale tokens is y = level_i h_i(t) f(s) (1 + noise) from its clean twin, with
 *
 *   level     log-normal of mean 1
 *   h         trend: falls or rises over the run; place: greater at the first places of a block; word: a step's own, log-normal,
 *             the same for all lanes
 *   noise     normal, AR(1) along the stream, each lane its own
 *
 * Lanes: dense, clean, never rectified ones that turn stale at different steps, rectified ones.  NLL and KL of the clean lane
 * are CLEAN_ERROR above dense, of the others y more.                                                             */
#ifndef TESTS_GROWTH_STUDY_H
#define TESTS_GROWTH_STUDY_H

#include "analysis/growth_study.h"

#include "core/mem.h"

#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#include <math.h>
#include <stdio.h>

enum { KNOWN_PROMPT = 256, KNOWN_STEPS = 512, KNOWN_BLOCK = 16, KNOWN_MAX_LANES = 16 };
static const double CLEAN_ERROR = 0.25;

struct known_lane {
    int interval, phase, dense_until;
};

struct known_study {
    struct growth_fit truth;
    int n_texts;
    double level_sd, trend, place, word_sd, step_sd, lag1;
    struct known_lane lanes[KNOWN_MAX_LANES]; /* of their own cache; until {-1} */
};

/* The lanes of configs/ablate-staleness.yaml. */
#define KNOWN_STALENESS                                                                                                \
    {                                                                                                                  \
        { 0, 0, 0 }, { 0, 0, 128 }, { 0, 0, 256 }, { 0, 0, 384 }, { 0, 0, 448 }, { 0, 0, 480 }, { 0, 0, 496 },         \
            { 0, 0, 504 }, { 32, 0, 0 },                                                                               \
        {                                                                                                              \
            -1, 0, 0                                                                                                   \
        }                                                                                                              \
    }

static inline void known_lane_make(struct lane_spec *l, const char *name, int cache_of, const struct known_lane *k)
{
    *l = (struct lane_spec){ .selector = SELECT_MINMAX,
                             .sparsity = 0.9,
                             .active_millionths = 100000,
                             .block_size = KNOWN_BLOCK,
                             .local_blocks = 1,
                             .min_blocks = 2,
                             .interval = k->interval,
                             .phase = k->phase,
                             .dense_until = k->dense_until,
                             .cache_of = cache_of,
                             .clean = 1 };
    snprintf(l->name, sizeof l->name, "%s", name);
}

static inline int known_lanes_make(struct study *s, const struct known_study *k)
{
    const struct known_lane plain = { 0, 0, 0 };
    char name[64];
    int n = 0;
    while (k->lanes[n].interval >= 0) n++;
    s->n_lanes = n + 2;
    if (MEM_NEW(&s->lanes, s->n_lanes, "lanes") != 0) return -1;
    known_lane_make(&s->lanes[0], "dense", LANE_OWN, &plain);
    s->lanes[0].selector = SELECT_DENSE;
    s->lanes[0].clean = 0;
    known_lane_make(&s->lanes[1], "clean", 0, &plain);
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "f%d-p%d-u%d", k->lanes[i].interval, k->lanes[i].phase, k->lanes[i].dense_until);
        known_lane_make(&s->lanes[i + 2], name, LANE_OWN, &k->lanes[i]);
    }
    return 0;
}

/* What a step does to any lane, mean about 1. */
static inline double known_step(const struct known_study *k, int step, gsl_rng *rng)
{
    const int slot = (KNOWN_PROMPT + step) % KNOWN_BLOCK;
    const double trend = 1 + k->trend * (2.0 * step / KNOWN_STEPS - 1),
                 place = 1 + k->place * (slot < KNOWN_BLOCK / 2 ? 1 : -1);
    return trend * place * exp(k->word_sd * gsl_ran_ugaussian(rng) - k->word_sd * k->word_sd / 2);
}

static inline void known_run_fill(struct study_run *run, const struct study *s, const struct known_study *k,
                                  gsl_rng *rng)
{
    static const enum quantity distances[] = { QUANTITY_K_ACCUM, QUANTITY_V_ACCUM, QUANTITY_KL_CLEAN },
                               errors[] = { QUANTITY_ABOVE_DENSE, QUANTITY_KL };
    const double level = exp(k->level_sd * gsl_ran_ugaussian(rng) - k->level_sd * k->level_sd / 2);
    double noise[KNOWN_MAX_LANES];
    for (int lane = 0; lane < s->n_lanes; lane++) noise[lane] = k->step_sd * gsl_ran_ugaussian(rng);
    for (int step = 0; step < run->n_steps; step++) {
        const double h = level * known_step(k, step, rng);
        for (int lane = 0; lane < s->n_lanes; lane++) {
            const struct lane_spec *l = &s->lanes[lane];
            const int at = lane * run->n_steps + step;
            const int stale = lane > 1 && step >= l->dense_until ? lane_stale_tokens(l, step) : 0;
            const double y = h * growth_at(&k->truth, stale) * (1 + noise[lane]);
            noise[lane] = k->lag1 * noise[lane] + k->step_sd * sqrt(1 - k->lag1 * k->lag1) * gsl_ran_ugaussian(rng);
            for (int i = 0; i < 3; i++) run->series[distances[i]][at] = (float)y;
            for (int i = 0; i < 2; i++) run->series[errors[i]][at] = (float)(lane ? CLEAN_ERROR + y : 0);
            run->series[QUANTITY_STALE_TOKENS][at] = (float)stale;
            run->series[QUANTITY_BYTES][at] = lane ? 250 : 1000;
            for (int q = 0; q < N_QUANTITIES; q++)
                if (run->series[q] && step < l->dense_until) run->series[q][at] = NAN;
        }
    }
}

static inline int known_study_open(struct study *s, const struct known_study *k, gsl_rng *rng)
{
    static const enum quantity quantities[] = { QUANTITY_K_ACCUM,     QUANTITY_V_ACCUM, QUANTITY_KL_CLEAN,
                                                QUANTITY_ABOVE_DENSE, QUANTITY_KL,      QUANTITY_STALE_TOKENS,
                                                QUANTITY_BYTES };
    *s = (struct study){ .prompt_tokens = KNOWN_PROMPT,
                         .n_steps = KNOWN_STEPS,
                         .n_texts = k->n_texts,
                         .n_runs = k->n_texts,
                         .n_layers = 1 };
    snprintf(s->target_of, sizeof s->target_of, "text");
    if (known_lanes_make(s, k) != 0 || MEM_NEW(&s->texts, k->n_texts, "texts") != 0 ||
        MEM_NEW(&s->runs, k->n_texts, "runs") != 0)
        return -1;
    for (int text = 0; text < k->n_texts; text++) {
        struct study_run *run = &s->runs[text];
        snprintf(s->texts[text], sizeof s->texts[text], "text%d", text);
        *run = (struct study_run){ .text = text, .n_steps = KNOWN_STEPS, .n_lanes = s->n_lanes, .n_map = s->n_lanes };
        if (MEM_NEW(&run->map, s->n_lanes, "lanes") != 0) return -1;
        for (int lane = 0; lane < s->n_lanes; lane++) run->map[lane] = lane;
        for (size_t i = 0; i < sizeof quantities / sizeof *quantities; i++)
            if (MEM_NEW(&run->series[quantities[i]], s->n_lanes * KNOWN_STEPS, "series") != 0) return -1;
        known_run_fill(run, s, k, rng);
    }
    return 0;
}

#endif
