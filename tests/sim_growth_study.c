/* tests/sim_growth_study.c: the whole way from lanes at the same steps to the law and the prediction of a rectified lane, on studies
 * in memory whose law is known (tests/growth_study.h).  By hand:
 *
 *   make build/tests/sim_growth_study && build/tests/sim_growth_study [simulations]
 *
 * 1,000 simulations each gave the following.  Levels of texts log-normal (0.2), steps that disturb log-normal (0.4) and by a trend
 * from 130 % down to 70 %, 10 % more in the first half of a block and less in the second, noise 0.3, AR(1) with 0.5; the lanes of
 * configs/ablate-staleness.yaml.  Shares: a law is chosen; the rectified lane's mean, and its bins, are measured where the
 * prediction's 95 % interval says; off: mean error of the predicted mean, in %; a parameter's 95 % interval holds its value.
 *
 *                       chosen                                   measured inside        covered
 *     law          texts   const. linear   log.  power satur.   mean   bins    off    jump growth shape
 *     constant         8    0.975  0.004  0.011  0.002  0.008    0.932  0.938   1.07     0.935
 *     constant        16    0.989  0.001  0.006  0.000  0.004    0.937  0.925   0.77     0.943
 *     logarithmic      8    0.000  0.000  0.996  0.004  0.000    0.936  0.938   1.35     0.943  0.932
 *     logarithmic     16    0.000  0.000  1.000  0.000  0.000    0.924  0.930   1.01     0.940  0.948
 *     saturating       8    0.000  0.000  0.002  0.000  0.998    0.938  0.938   1.42     0.938  0.935  0.943
 *     saturating      16    0.000  0.000  0.000  0.000  1.000    0.938  0.933   1.05     0.941  0.946  0.946
 */
#include "tests/growth_study.h"

#include "analysis/sawtooth.h"

#include "core/err.h"

#include <gsl/gsl_errno.h>
#include <stdio.h>
#include <stdlib.h>

struct tally {
    int n, chosen[N_GROWTH_LAWS], covered[GROWTH_PARAMETERS], inside, bins, bins_inside;
    double off;
};

static int set_open(struct growth_set *set, const struct study *s, const struct growth_group *group)
{
    set->group = group;
    if (MEM_NEW(&set->results, N_GROWTH_SOURCES, "laws") != 0) return -1;
    struct growth_result *r = &set->results[GROWTH_PURE][GROWTH_K];
    if (growth_gather(&r->how, s, group, group->lanes, group->n_pure, GROWTH_K) != 0) return -1;
    return growth_open(&r->growth, &r->how.curves);
}

static int tally_add(struct tally *t, const struct study *s, struct growth_set *set, const struct growth_fit *truth)
{
    struct growth *g = &set->results[GROWTH_PURE][GROWTH_K].growth;
    struct sawtooth w = { 0 };
    const int rc = sawtooth_open(&w, s, set, set->group->lanes[set->group->n_lanes - 1], GROWTH_K, false);
    t->n++;
    t->chosen[g->choice.law]++;
    t->inside += w.mean.low <= w.mean.measured && w.mean.measured <= w.mean.high;
    t->bins += w.n_points;
    t->bins_inside += w.n_inside;
    t->off += fabs(sawtooth_error(&w));
    sawtooth_close(&w);
    if (rc != 0 || growth_refit(g, truth->law) != 0) return -1;
    for (int p = 0; p < growth_law_defs[truth->law].n_parameters; p++)
        t->covered[p] += g->low[p] <= truth->parameters[p] && truth->parameters[p] <= g->high[p];
    return 0;
}

static int simulate(struct tally *t, const struct known_study *k, gsl_rng *rng)
{
    struct study s = { 0 };
    struct corners c = { 0 };
    struct growth_groups groups = { 0 };
    struct growth_set set = { 0 };
    struct notes notes = { 0 };
    int rc = known_study_open(&s, k, rng);
    if (rc == 0) rc = corners_open(&c, &s);
    if (rc == 0) rc = growth_groups_open(&groups, &s, &c, &notes);
    if (rc == 0) rc = set_open(&set, &s, &groups.groups[0]);
    if (rc == 0) rc = tally_add(t, &s, &set, &k->truth);
    if (set.results) {
        growth_gathered_close(&set.results[GROWTH_PURE][GROWTH_K].how);
        growth_close(&set.results[GROWTH_PURE][GROWTH_K].growth);
    }
    mem_free(set.results);
    growth_groups_close(&groups);
    corners_close(&c);
    study_close(&s);
    notes_close(&notes);
    return rc;
}

static void tally_print(const struct tally *t, const struct known_study *k)
{
    printf("%-12s %5d  ", growth_law_defs[k->truth.law].name, k->n_texts);
    for (int law = 0; law < N_GROWTH_LAWS; law++) printf(" %6.3f", (double)t->chosen[law] / t->n);
    printf("   %6.3f %6.3f %6.2f   ", (double)t->inside / t->n, (double)t->bins_inside / t->bins, 100 * t->off / t->n);
    for (int p = 0; p < growth_law_defs[k->truth.law].n_parameters; p++) printf(" %6.3f", (double)t->covered[p] / t->n);
    puts("");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct growth_fit truths[] = { { LAW_CONSTANT, { 0.12, NAN, NAN }, 0 },
                                                { LAW_LOGARITHMIC, { 0.075, 0.0147, NAN }, 0 },
                                                { LAW_SATURATING, { 0.07, 0.08, 40 }, 0 } };
    const int n_sims = argc > 1 ? atoi(argv[1]) : 1000;
    gsl_set_error_handler_off();
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    int rc = rng ? 0 : -1;
    puts("law          texts   const. linear   log.  power satur.   mean   bins    off    jump growth shape");
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++)
        for (int n_texts = 8; n_texts <= 16 && rc == 0; n_texts += 8) {
            const struct known_study k = { truths[i], n_texts, 0.2, -0.3, 0.1, 0.4, 0.3, 0.5, KNOWN_STALENESS };
            struct tally t = { 0 };
            gsl_rng_set(rng, 42);
            for (int n = 0; n < n_sims && rc == 0; n++) rc = simulate(&t, &k, rng);
            if (rc == 0) tally_print(&t, &k);
        }
    if (rc != 0) fprintf(stderr, "sim_growth_study: %s\n", fail_text());
    gsl_rng_free(rng);
    return rc == 0 ? 0 : 1;
}
