#include "analysis/plots.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdio.h>
#include <string.h>

static const struct plot_kind {
    const char *name;
    const char *missing; /* what is said where there is nothing to draw */
    int (*draw)(struct figure *f, const struct plot_job *job);
    bool all_sets; /* those too that read densely at first */
    int max_parts; /* what is drawn of a wide sweep */
} kinds[] = {
    { "corners", "the four corners are not drawn: no lane has NLL or KL (metric group logits)", plot_corners, false,
      3 },
    { "pareto", "cost against error is not drawn: the bytes of the dense lane are not there", plot_pareto, false, 1 },
    { "intervals", NULL, plot_intervals, false, 2 },
    { "ablation", NULL, plot_ablation, true, 3 },
    { "accumulation",
      "the distance to the clean lane is not drawn: no lane has k_accum, that is a clean twin and the metric group "
      "drift",
      plot_accumulation, false, 2 },
    { "stale-tokens",
      "the distance to clean by stale tokens is not drawn: no lane has a clean twin and the metric group drift",
      plot_stale_tokens, false, 2 },
    { "growth", "growth laws are not drawn: no lane was compared with its clean twin by stale tokens", plot_growth,
      true, 2 },
    { "prediction", NULL, plot_prediction, true, 2 },
    { "sawtooth", NULL, plot_sawtooth, false, 2 },
    { "stale-drift", "stale drift is not drawn: no sparse lane has k_stale_drift (metric group cache)", plot_stale,
      false, 2 },
    { "depth",
      "drift by layer is not drawn: no sparse lane has k_drift (metric group drift), or the model has one layer",
      plot_depth, false, 2 },
    { "stale-depth", NULL, plot_stale_depth, false, 2 },
    { "mass", "attention mass is not drawn: no sparse lane has kept_mass (metric group mass)", plot_mass, false, 1 },
};
enum { N_KINDS = sizeof kinds / sizeof kinds[0] };

const char *const plot_kind_names[] = {
    "corners", "pareto", "intervals", "ablation", "accumulation", "stale-tokens", "growth", "prediction", "sawtooth",
    "stale-drift", "depth", "stale-depth", "mass",
    /* of reports that were made before: removed from a folder that is reported anew */
    "distance-to-clean", "distance-steps", NULL
};

/* 0: drawn, 1: there is no such part, -1. */
static int part_draw(struct plots *p, const struct plot_kind *kind, const char *results, const struct plot_job *job,
                     const char *suffix)
{
    struct figure *f = &p->figures[p->n_figures];
    char name[96], number[16] = "";
    if (job->part > 0) snprintf(number, sizeof number, "-%d", job->part + 1);
    snprintf(name, sizeof name, "%.20s%.50s%.16s", kind->name, suffix, number);
    int rc = figure_open(f, results, name);
    if (rc == 0) rc = kind->draw(f, job);
    if (rc == 0) rc = figure_draw(f);
    figure_close(f);
    p->n_figures += rc == 0;
    return rc;
}

/* Whether the part has something to draw, which is not: 0, 1: it has not, -1. */
static int part_try(const struct plot_kind *kind, const char *results, const struct plot_job *job)
{
    struct figure f;
    int rc = figure_open(&f, results, "rest");
    if (rc == 0) rc = kind->draw(&f, job);
    figure_close(&f);
    return rc;
}

static int kind_draw(struct plots *p, const struct plot_kind *kind, const char *results, struct plot_job job,
                     const char *suffix, struct notes *notes)
{
    int rc = 0;
    for (job.part = 0; rc == 0; job.part++) {
        if (job.part == kind->max_parts || p->n_figures == MAX_FIGURES) {
            rc = part_try(kind, results, &job);
            return rc != 0
                       ? (rc < 0 ? -1 : 0)
                       : notes_add(notes, "%s%s: only the first %d of its figures %s drawn; the rest is in the tables",
                                   kind->name, suffix, job.part, job.part == 1 ? "is" : "are");
        }
        rc = part_draw(p, kind, results, &job, suffix);
        if (rc == 1 && job.part == 0 && kind->missing) return notes_add(notes, "%s", kind->missing);
    }
    return rc < 0 ? -1 : 0;
}

int plots_draw(struct plots *p, const char *results, const struct study *s, const struct corners *c,
               const struct pareto *pareto, const struct growth_report *growth, const char *suffix, struct notes *notes)
{
    struct plot_lanes lanes = { 0 };
    struct corners plain;
    *p = (struct plots){ 0 };
    TRY(MEM_NEW(&p->figures, MAX_FIGURES, "figures"), "plots");
    if (c->n_sets == 0)
        return notes_add(notes, "%s: no lane is sparse with a cache of its own: there is nothing to draw", s->key);
    int rc = corners_plain(&plain, c);
    if (rc == 0) rc = plot_lanes_open(&lanes, s, &plain);
    for (int k = 0; k < N_KINDS && rc == 0; k++)
        rc =
            kind_draw(p, &kinds[k], results,
                      (struct plot_job){ s, kinds[k].all_sets ? c : &plain, &lanes, pareto, growth, 0 }, suffix, notes);
    plot_lanes_close(&lanes);
    mem_free(plain.sets);
    return rc;
}

void plots_close(struct plots *p)
{
    for (int i = 0; i < p->n_figures; i++) figure_close(&p->figures[i]);
    mem_free(p->figures);
    *p = (struct plots){ 0 };
}
