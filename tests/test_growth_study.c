/* Growth laws of studies in memory whose law is known: matching, prediction, intervals, where the drift sits, what is missing. */
#include "tests/growth_study.h"
#include "tests/growth_random.h"

#include "analysis/drift_where.h"
#include "analysis/interval.h"
#include "analysis/sawtooth.h"

#include "core/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static const struct growth_fit logarithmic = { LAW_LOGARITHMIC, { 0.07, 0.015, NAN }, 0 };

/* A study with its groups and laws. */
struct known {
    struct study study;
    struct corners corners;
    struct growth_study growth;
    struct notes missing;
};

static void known_open(struct known *k, const struct known_study *how)
{
    *k = (struct known){ 0 };
    gsl_rng_set(rng, 11);
    if (known_study_open(&k->study, how, rng) != 0 || corners_open(&k->corners, &k->study) != 0)
        fail_msg("%s", fail_text());
}

static void known_laws(struct known *k)
{
    if (growth_study_open(&k->growth, &k->study, &k->corners, &k->missing) != 0) fail_msg("%s", fail_text());
}

static void known_close(struct known *k)
{
    growth_study_close(&k->growth);
    corners_close(&k->corners);
    study_close(&k->study);
    notes_close(&k->missing);
}

static const struct growth_result *result_of(const struct known *k, enum growth_source source, enum growth_quantity q)
{
    assert_int_equal(k->growth.groups.n, 1);
    return &k->growth.sets[0].results[source][q];
}

static void groups(void **state)
{
    (void)state;
    const struct known_study how = { .truth = logarithmic, .n_texts = 2, .lanes = KNOWN_STALENESS };
    struct known k;
    struct growth_groups g;
    known_open(&k, &how);
    assert_int_equal(growth_groups_open(&g, &k.study, &k.corners, &k.missing), 0);
    assert_int_equal(k.missing.n, 0);
    assert_int_equal(g.n, 1); /* one policy, whatever dense_until is */
    assert_int_equal(g.groups[0].n_lanes, 9);
    assert_int_equal(g.groups[0].n_pure, 8);
    assert_int_equal(g.groups[0].clean, 1);
    assert_string_equal(g.groups[0].title, "sparsity 0.9");
    for (int i = 0; i < 9; i++) assert_int_equal(k.study.lanes[g.groups[0].lanes[i]].interval, i < 8 ? 0 : 32);
    growth_groups_close(&g);
    for (int lane = 2; lane < k.study.n_lanes; lane++) k.study.lanes[lane].clean = LANE_NONE;
    assert_int_equal(growth_groups_open(&g, &k.study, &k.corners, &k.missing), 0);
    assert_int_equal(g.n, 0);
    assert_non_null(strstr(k.missing.text[0], "no sparse lane has a clean twin"));
    growth_groups_close(&g);
    known_close(&k);
}

/* Steps that disturb ever less hide the growth from whoever looks at one lane; lanes at the same steps show it.  Without noise
 * the law is recovered but for its bend within a bin: the mean of ln s over a bin is up to (ln 1.45)^2 / 24 = 0.0058 below the
 * logarithm of its mean s, that is 0.0058 * 0.015 of a curve of 0.07 and more, 0.13 %; twice that, and a little, is let through. */
static void matching(void **state)
{
    (void)state;
    const struct known_study how = { logarithmic, 6, 0.3, -0.6, 0.1, 0.5, 0, 0, KNOWN_STALENESS };
    struct known k;
    known_open(&k, &how);
    known_laws(&k);
    const struct growth_result *pure = result_of(&k, GROWTH_PURE, GROWTH_K);
    assert_true(growth_is_there(pure) && pure->how.matched);
    assert_false(pure->how.slots_tied);
    assert_true(pure->how.at_zero <= 0);
    assert_int_equal(pure->how.n_texts, 6);
    assert_int_equal(pure->growth.law, LAW_LOGARITHMIC);
    assert_true(pure->growth.curves.axis.s_max == 511);
    const double *p = pure->growth.fits[LAW_LOGARITHMIC].parameters;
    /* The texts' levels and their steps' mean are in both parameters alike. */
    assert_true(fabs(p[1] / p[0] / (0.015 / 0.07) - 1) < 0.003);
    for (int slot = 0; slot < STUDY_SLOTS;
         slot++) { /* 32 steps each: their own effects have a mean of 1 +- 0.5 / sqrt(32) */
        double mean = 0;
        for (int i = 0; i < 6; i++) mean += pure->how.slots[i][slot] / 6;
        assert_true(fabs(mean - (slot < 8 ? 1.1 : 0.9)) < 5 * 0.5 / sqrt(6.0 * 32));
    }
    struct growth_gathered plain;
    const int never[] = { k.growth.groups.groups[0].lanes[0] };
    assert_int_equal(growth_gather(&plain, &k.study, &k.growth.groups.groups[0], never, 1, GROWTH_K), 0);
    assert_false(plain.matched);
    assert_true(plain.slots_tied);
    struct growth alone;
    assert_int_equal(growth_open(&alone, &plain.curves), 0);
    assert_int_equal(alone.law, LAW_CONSTANT); /* the trend eats the growth */
    growth_close(&alone);
    growth_gathered_close(&plain);
    known_close(&k);
}

/* With quiet steps f is what it is, not only its shape. */
static void level(void **state)
{
    (void)state;
    const struct known_study how = { .truth = logarithmic, .n_texts = 6, .trend = 0.5, .lanes = KNOWN_STALENESS };
    struct known k;
    known_open(&k, &how);
    known_laws(&k);
    for (int q = 0; q < N_GROWTH_QUANTITIES; q++) {
        const struct growth_result *r = result_of(&k, GROWTH_PURE, (enum growth_quantity)q);
        if (q == GROWTH_ATTN || q == GROWTH_HIDDEN) { /* were not measured */
            assert_false(growth_is_there(r));
            assert_string_equal(r->how.why, "no lane has both stale tokens and this quantity");
            continue;
        }
        assert_int_equal(r->growth.law, LAW_LOGARITHMIC);
        /* h has mean 1 over the steps that have stale tokens, all but the first, at which it is 0.5: 0.1 % */
        assert_true(fabs(r->growth.fits[LAW_LOGARITHMIC].parameters[0] / 0.07 - 1) < 0.004);
        assert_true(fabs(r->growth.fits[LAW_LOGARITHMIC].parameters[1] / 0.015 - 1) < 0.004);
    }
    known_close(&k);
}

/* Steps of two blocks at phase 0 alone: stale tokens stand at one place each. */
static void tied_places(void **state)
{
    (void)state;
    struct known_study how = { .truth = logarithmic,
                               .n_texts = 2,
                               .lanes = { { 0, 0, 0 }, { 16, 0, 0 }, { 64, 0, 0 }, { -1, 0, 0 } } };
    struct known k;
    known_open(&k, &how);
    known_laws(&k);
    assert_false(result_of(&k, GROWTH_PURE, GROWTH_K)->how.matched);
    assert_true(result_of(&k, GROWTH_ALL, GROWTH_K)->how.matched);
    assert_true(result_of(&k, GROWTH_ALL, GROWTH_K)->how.slots_tied);
    assert_int_equal(growth_source_best(&k.growth.sets[0], GROWTH_K), GROWTH_ALL);
    known_close(&k);
    how.lanes[2].phase = 5;
    known_open(&k, &how);
    known_laws(&k);
    assert_false(result_of(&k, GROWTH_ALL, GROWTH_K)->how.slots_tied);
    known_close(&k);
}

static void spoil(struct study *s, int text, int lane, enum quantity q, int first, double x)
{
    for (int step = first; step < s->n_steps; step++) s->runs[text].series[q][lane * s->n_steps + step] = (float)x;
}

static void gaps(void **state)
{
    (void)state;
    const struct known_study how = { .truth = logarithmic, .n_texts = 8, .lanes = KNOWN_STALENESS };
    struct known k;
    known_open(&k, &how);
    for (int lane = 0; lane < k.study.n_lanes; lane++) { /* text 3 has nothing, text 5 ends early */
        spoil(&k.study, 3, lane, QUANTITY_K_ACCUM, 0, NAN);
        spoil(&k.study, 5, lane, QUANTITY_K_ACCUM, 300, NAN);
    }
    spoil(&k.study, 0, 2, QUANTITY_K_ACCUM, 511, NAN);
    k.study.runs[1].series[QUANTITY_K_ACCUM][2 * KNOWN_STEPS] = 0.5F; /* without a stale token */
    known_laws(&k);
    const struct growth_result *r = result_of(&k, GROWTH_PURE, GROWTH_K);
    assert_int_equal(r->how.n_texts, 7);
    for (int i = 0; i < 7; i++) assert_int_not_equal(r->how.texts[i], 3);
    assert_true(r->growth.curves.axis.s_max == 361); /* the end of the last bin that all of the texts have */
    assert_true(r->how.at_zero >= 0.5);
    assert_int_equal(r->growth.law, LAW_LOGARITHMIC);
    known_close(&k);

    known_open(&k, &how);
    for (int text = 0; text < 8; text++) {
        mem_free(k.study.runs[text].series[QUANTITY_K_ACCUM]);
        k.study.runs[text].series[QUANTITY_K_ACCUM] = NULL;
        mem_free(k.study.runs[text].series[QUANTITY_KL_CLEAN]);
        k.study.runs[text].series[QUANTITY_KL_CLEAN] = NULL;
    }
    known_laws(&k);
    assert_false(growth_is_there(result_of(&k, GROWTH_PURE, GROWTH_K)));
    assert_false(growth_is_there(result_of(&k, GROWTH_PURE, GROWTH_NLL))); /* nothing to weight the differences by */
    assert_int_equal(k.missing.n, 1);
    assert_string_equal(k.missing.text[0],
                        "No growth law of sparsity 0.9: no lane has both stale tokens and this quantity.");
    struct sawteeth w;
    assert_int_equal(sawteeth_open(&w, &k.growth), 0);
    assert_int_equal(w.all[0].n_texts, 0);
    assert_string_equal(w.all[0].why, "no lane has both stale tokens and this quantity");
    sawteeth_close(&w);
    known_close(&k);
}

/* ---- predictions ---- */

/* The rectified lane is foretold from the others, its window and the place in the block with it. */
static void saw_tooth(void **state)
{
    (void)state;
    const struct known_study how = { logarithmic, 8, 0.3, -0.5, 0.2, 0, 0.05, 0.5, KNOWN_STALENESS };
    struct known k;
    struct sawteeth w;
    known_open(&k, &how);
    known_laws(&k);
    assert_int_equal(sawteeth_open(&w, &k.growth), 0);
    assert_int_equal(w.n, N_SAWTOOTH_QUANTITIES);
    for (int i = 0; i < w.n; i++) {
        assert_int_equal(w.all[i].n_texts, 8);
        assert_int_equal(w.all[i].source, GROWTH_PURE);
        assert_true(w.all[i].identified);
        assert_int_equal(w.all[i].n_points, 9); /* 1, 2, 3, 4, 6, 8, 11, 16, 23 .. 31 */
        assert_true(fabs(sawtooth_error(&w.all[i])) < 0.02);
        assert_true(w.all[i].mean.low < w.all[i].mean.predicted && w.all[i].mean.predicted < w.all[i].mean.high);
        /* Noise of 0.05 a step, AR(1) with 0.5, that is 0.087 of a mean's root n: at 16 steps of a window's place in 8 texts
         * 0.8 %, of lanes and law alike; four standard errors of both together are 4.5 %. */
        for (int point = 0; point < w.all[i].n_points; point++)
            assert_true(fabs(w.all[i].points[point].predicted / w.all[i].points[point].measured - 1) < 0.045);
    }
    /* The mean by hand, of what was measured: 512 steps of text means. */
    double sum = 0;
    for (int text = 0; text < 8; text++)
        for (int step = 0; step < KNOWN_STEPS; step++)
            sum += (double)study_series(&k.study, text, w.all[0].lane, QUANTITY_K_ACCUM)[step];
    assert_true(fabs(w.all[0].mean.measured / (sum / 8 / KNOWN_STEPS) - 1) < 1e-12);
    sawteeth_close(&w);
    known_close(&k);
}

/* A law is not stretched past what was run. */
static void past_the_law(void **state)
{
    (void)state;
    const struct known_study how = { .truth = logarithmic,
                                     .n_texts = 6,
                                     .lanes = {
                                         { 0, 0, 400 }, { 0, 0, 440 }, { 0, 0, 470 }, { 256, 0, 0 }, { -1, 0, 0 } } };
    struct known k;
    struct sawteeth w;
    known_open(&k, &how);
    known_laws(&k);
    assert_true(result_of(&k, GROWTH_PURE, GROWTH_K)->growth.curves.axis.s_max == 111);
    assert_int_equal(sawteeth_open(&w, &k.growth), 0);
    assert_int_equal(w.all[0].n_texts, 0);
    assert_string_equal(w.all[0].why, "the lane has up to 181 stale tokens or more, the law ends at 111");
    sawteeth_close(&w);
    known_close(&k);
}

/* ---- intervals ---- */

static void advice(void **state)
{
    (void)state;
    struct interval_point points[] = {
        { 8, true, 2, { .mean = 0.1, .high = 0.12 }, 0.3, 0.3 },
        { 16, true, 3, { .mean = 0.15, .high = 0.2 }, 0.3, 0.3 },
        { 32, true, 4, { .mean = 0.18, .high = 0.25 }, 0.3, 0.3 },
        { 64, true, 5, { .mean = 0.15, .high = 0.19 }, 0.3, 0.3 },
        { 0, true, 6, { .mean = 0.3, .high = 0.4 }, 0.3, 0.3 },
        { 4, false, -1, { .mean = 0.2, .high = 0.3 }, NAN, 0.3 },
    };
    const struct interval_curve c = { .points = points, .n = 6, .n_measured = 5 };
    assert_null(interval_recommend(&c, 0.119, true));
    assert_int_equal(interval_recommend(&c, 0.12, true)->interval, 8);
    assert_int_equal(interval_recommend(&c, 0.2, true)->interval, 16); /* 64 is allowed, but 32 is not */
    assert_int_equal(interval_recommend(&c, 0.3, true)->interval, 64);
    assert_int_equal(interval_recommend(&c, 0.4, true)->interval, INTERVAL_NEVER);
    assert_null(interval_recommend(&c, 0.29, false));
    assert_int_equal(interval_recommend(&c, 0.3, false)->interval, 4);
    points[0].error.high = NAN; /* too few texts */
    assert_null(interval_recommend(&c, 10, true));
}

static void interval_curves(void **state)
{
    (void)state;
    const struct known_study how = {
        .truth = logarithmic,
        .n_texts = 6,
        .lanes = { { 0, 0, 0 }, { 0, 0, 100 }, { 0, 0, 300 }, { 64, 0, 0 }, { 32, 0, 0 }, { 32, 7, 0 }, { -1, 0, 0 } }
    };
    struct known k;
    struct interval_curve c;
    known_open(&k, &how);
    known_laws(&k);
    for (int error = 0; error < N_INTERVAL_ERRORS; error++) {
        assert_int_equal(interval_curve_open(&c, &k.study, &k.growth.sets[0], (enum interval_error)error), 0);
        assert_int_equal(c.n_measured, 3); /* neither another phase nor a lane that begins late */
        assert_int_equal(c.points[0].interval, 32);
        assert_int_equal(c.points[1].interval, 64);
        assert_int_equal(c.points[2].interval, INTERVAL_NEVER);
        assert_true(fabs(c.clean.mean - CLEAN_ERROR) < 1e-9);
        assert_true(fabs(c.points[0].equation - (1.0 / 16 + 0.1 + 1.0 / 32)) < 1e-15); /* the paper's 0.19375 */
        assert_true(fabs(c.points[2].equation - 0.1625) < 1e-15);
        assert_true(fabs(c.points[0].counted - 0.25) < 1e-12);
        /* The predicted error by its definition; ln s bends within bins and segments: 0.13 % of f as above, twice. */
        for (int i = c.n_measured; i < c.n; i++) {
            double sum = 0;
            for (int s = 0; s < c.points[i].interval; s++) sum += growth_at(&logarithmic, s);
            const double above = sum / c.points[i].interval;
            assert_true(fabs(c.points[i].error.mean - CLEAN_ERROR - above) < 0.006 * above);
            assert_false(c.points[i].measured);
        }
        assert_int_equal(c.points[c.n_measured].interval, 2);
        assert_int_equal(c.points[c.n_measured + 3].interval, 6);
        assert_int_equal(c.points[c.n - 1].interval, 512);
        interval_curve_close(&c);
    }
    snprintf(k.study.target_of, sizeof k.study.target_of, "own");
    assert_int_equal(interval_curve_open(&c, &k.study, &k.growth.sets[0], INTERVAL_NLL), 0);
    assert_int_equal(c.n, 0);
    assert_non_null(strstr(c.why, "no text's"));
    interval_curve_close(&c);
    known_close(&k);
}

/* ---- where ---- */

static void where(void **state)
{
    (void)state;
    const struct known_study how = { .truth = logarithmic, .n_texts = 2, .place = 0.25, .lanes = KNOWN_STALENESS };
    struct known k;
    double slots[2 * STUDY_SLOTS], ranks[2], x[2 * WHERE_PARTS], y[2 * WHERE_PARTS], stale[2 * STUDY_STALE_BINS];
    known_open(&k, &how);
    float *a = k.study.runs[0].series[QUANTITY_K_ACCUM] + 2 * KNOWN_STEPS,
          *kl = k.study.runs[0].series[QUANTITY_KL_CLEAN] + 2 * KNOWN_STEPS;
    for (int step = 0; step < KNOWN_STEPS; step++) { /* kl falls as a rises, by the square */
        a[step] = (float)(step * 37 % KNOWN_STEPS);
        kl[step] = -a[step] * a[step];
    }
    a[100] = NAN;
    assert_int_equal(where_ranks(&k.study, 2, QUANTITY_KL_CLEAN, QUANTITY_K_ACCUM, ranks), 0);
    assert_true(fabs(ranks[0] + 1) < 1e-12 && fabs(ranks[1] - 1) < 1e-12); /* of text 1 they are the same */
    assert_int_equal(where_ranks(&k.study, 1, QUANTITY_KL_CLEAN, QUANTITY_K_ACCUM, ranks), 0);
    assert_true(isnan(ranks[0])); /* the clean lane's do not vary */
    a[100] = (float)(100 * 37 % KNOWN_STEPS);
    spoil(&k.study, 0, 2, QUANTITY_K_ACCUM, 510, NAN);
    assert_int_equal(where_parts(&k.study, 2, QUANTITY_KL_CLEAN, QUANTITY_K_ACCUM, x, y), 0);
    for (int part = 1; part < WHERE_PARTS; part++) assert_true(x[part] > x[part - 1] && y[part] < y[part - 1]);
    double sum = 0, n = 0; /* parts of 102 steps each: their mean is the mean */
    for (int step = 0; step < 510; step++) sum += (double)a[step], n++;
    assert_true(fabs((x[0] + x[1] + x[2] + x[3] + x[4]) / 5 / (sum / n) - 1) < 1e-12);
    /* At the first half of the block 1.25, at the second 0.75 of what it is between; of text 1, which nobody spoilt. */
    where_slots(&k.study, 3, QUANTITY_K_ACCUM, slots);
    assert_true(slots[STUDY_SLOTS + 7] / slots[STUDY_SLOTS + 8] > 1.6 &&
                slots[STUDY_SLOTS + 7] / slots[STUDY_SLOTS + 8] < 1.7);
    where_stale(&k.study, (int[]){ 2, 3 }, 2, QUANTITY_STALE_TOKENS, stale);
    assert_true(stale[STUDY_STALE_BINS] >= 0 && stale[STUDY_STALE_BINS] <= 0 &&
                fabs(stale[STUDY_STALE_BINS + 4] - 4.5) < 1e-12);
    assert_true(isnan(stale[STUDY_STALE_BINS + 18]) &&
                !isnan(stale[STUDY_STALE_BINS + 17])); /* 512 and more were not run */
    known_close(&k);
}

/* Noise as seen: a law of 16 texts is found and covered.  1,000 of them by hand: tests/sim_growth_study.c. */
static void noisy(void **state)
{
    (void)state;
    const struct known_study how = { logarithmic, 16, 0.3, -0.5, 0.1, 0.4, 0.3, 0.5, KNOWN_STALENESS };
    struct known k;
    known_open(&k, &how);
    known_laws(&k);
    const struct growth *g = &result_of(&k, GROWTH_PURE, GROWTH_K)->growth;
    assert_int_equal(g->law, LAW_LOGARITHMIC);
    assert_true(g->low[0] < 0.07 && 0.07 < g->high[0] && g->low[1] < 0.015 && 0.015 < g->high[1]);
    assert_true(g->share[LAW_LOGARITHMIC] > 0.5);
    known_close(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups),       cmocka_unit_test(matching), cmocka_unit_test(level),
        cmocka_unit_test(tied_places),  cmocka_unit_test(gaps),     cmocka_unit_test(saw_tooth),
        cmocka_unit_test(past_the_law), cmocka_unit_test(advice),   cmocka_unit_test(interval_curves),
        cmocka_unit_test(where),        cmocka_unit_test(noisy),
    };
    return cmocka_run_group_tests(tests, growth_random_open, growth_random_close);
}
