#include "analysis/sawtooth.h"

#include "analysis/estimate.h"
#include "analysis/study.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

enum { MAX_OTHER_LANES = 32 };

const enum growth_quantity sawtooth_quantities[N_SAWTOOTH_QUANTITIES] = { GROWTH_K, GROWTH_KL_CLEAN, GROWTH_KL,
                                                                          GROWTH_NLL };

/* ---- what the lane did ---- */

/* Bins of stale tokens, 0 among them, of one text or of all. */
struct visits {
    double sum[STUDY_STALE_BINS], n[STUDY_STALE_BINS], stale[STUDY_STALE_BINS];
    double slots[STUDY_STALE_BINS][STUDY_SLOTS]; /* steps at a place in the block */
};

static void visits_add(struct visits *v, const struct study *s, int text, int lane, enum growth_quantity q)
{
    for (int run = 0; run < s->n_runs; run++) {
        const struct growth_series x = growth_series_of(s, run, lane, q);
        if (s->runs[run].text != text || !x.y) continue;
        for (int step = 0; step < s->runs[run].n_steps; step++) {
            const double y = growth_series_at(&x, step);
            if (isnan(y) || isnan(x.stale[step])) continue;
            const int bin = study_stale_bin((int)x.stale[step]);
            v->sum[bin] += y;
            v->stale[bin] += (double)x.stale[step];
            v->n[bin]++;
            v->slots[bin][study_slot_bin(study_slot(s, lane, step), s->lanes[lane].block_size)]++;
        }
    }
}

/* Point i < n_points is a bin, n_points the mean over all steps. */
struct measured {
    int n_texts, n_points;
    int bins[STUDY_STALE_BINS];
    struct visits all; /* of all texts */
    double *y;         /* owned [n_texts][n_points + 1] */
};

static double visits_mean(const struct visits *v)
{
    double sum = 0, n = 0;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        sum += v->sum[bin];
        n += v->n[bin];
    }
    return sum / n;
}

static void texts_measure(struct measured *m, const struct visits *texts)
{
    for (int bin = 1; bin < STUDY_STALE_BINS; bin++) {
        bool all = true;
        for (int i = 0; i < m->n_texts; i++) all = all && texts[i].n[bin] > 0;
        if (all) m->bins[m->n_points++] = bin;
    }
    for (int i = 0; i < m->n_texts; i++)
        for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
            m->all.sum[bin] += texts[i].sum[bin];
            m->all.n[bin] += texts[i].n[bin];
            m->all.stale[bin] += texts[i].stale[bin];
            for (int slot = 0; slot < STUDY_SLOTS; slot++) m->all.slots[bin][slot] += texts[i].slots[bin][slot];
        }
}

static int measured_open(struct measured *m, const struct study *s, const struct growth_gathered *how, int lane,
                         enum growth_quantity q)
{
    struct visits *texts = NULL;
    m->n_texts = how->n_texts;
    TRY(MEM_NEW(&texts, m->n_texts, "texts"), "prediction");
    for (int i = 0; i < m->n_texts; i++) visits_add(&texts[i], s, how->texts[i], lane, q);
    texts_measure(m, texts);
    const int n = m->n_points + 1;
    const int rc = MEM_NEW(&m->y, m->n_texts * n, "texts");
    for (int i = 0; i < m->n_texts && rc == 0; i++) {
        for (int k = 0; k < m->n_points; k++) m->y[i * n + k] = texts[i].sum[m->bins[k]] / texts[i].n[m->bins[k]];
        m->y[i * n + m->n_points] = visits_mean(&texts[i]);
    }
    mem_free(texts);
    return rc;
}

static double measured_mean(const struct measured *m, const int *pick, int point)
{
    double sum = 0;
    for (int i = 0; i < m->n_texts; i++) sum += m->y[(pick ? pick[i] : i) * (m->n_points + 1) + point];
    return sum / m->n_texts;
}

/* ---- what the law says ---- */

/* How much steps at a place in the block disturb, mean over the texts picked; 1 where that is not known. */
static void profile_make(const struct growth_gathered *how, const int *pick, double *profile)
{
    for (int slot = 0; slot < STUDY_SLOTS; slot++) {
        double sum = 0;
        for (int i = 0; i < how->n_texts; i++) sum += how->slots[pick ? pick[i] : i][slot];
        profile[slot] = isnan(sum) ? 1 : sum / how->n_texts;
    }
}

/* predicted: [n_points + 1] */
static void points_predict(const struct measured *m, const struct growth_fit *fit, const double *profile,
                           double *predicted)
{
    double bins[STUDY_STALE_BINS] = { 0 }, sum = 0, n = 0;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        if (!(m->all.n[bin] > 0)) continue;
        for (int slot = 0; slot < STUDY_SLOTS; slot++) bins[bin] += m->all.slots[bin][slot] * profile[slot];
        bins[bin] *= growth_at(fit, m->all.stale[bin] / m->all.n[bin]);
        sum += bins[bin];
        n += m->all.n[bin];
    }
    for (int i = 0; i < m->n_points; i++) predicted[i] = bins[m->bins[i]] / m->all.n[m->bins[i]];
    predicted[m->n_points] = sum / n;
}

/* off: [n_points + 1][n_replicates], measured less predicted. */
static int replicates_make(const struct measured *m, const struct growth_result *r, double *off)
{
    const struct growth *g = &r->growth;
    double predicted[STUDY_STALE_BINS + 1], profile[STUDY_SLOTS];
    int *pick = NULL;
    TRY(MEM_NEW(&pick, m->n_texts, "texts"), "prediction");
    for (int b = 0; b < g->n_replicates; b++) {
        estimate_resample(GROWTH_SEED, b, m->n_texts, pick);
        profile_make(&r->how, pick, profile);
        points_predict(m, &g->replicates[b], profile, predicted);
        for (int i = 0; i <= m->n_points; i++) off[i * g->n_replicates + b] = measured_mean(m, pick, i) - predicted[i];
    }
    mem_free(pick);
    return 0;
}

static int intervals_make(struct sawtooth *w, const struct measured *m, const struct growth_result *r)
{
    const int n = r->growth.n_replicates;
    double *off = NULL;
    int rc = MEM_NEW(&off, (size_t)(m->n_points + 1) * (size_t)n, "replicates");
    if (rc == 0) rc = replicates_make(m, r, off);
    for (int i = 0; i <= m->n_points && rc == 0; i++) {
        struct sawtooth_point *p = i < m->n_points ? &w->points[i] : &w->mean;
        growth_interval(off + i * n, n, m->n_texts, &p->low, &p->high);
        p->low += 2 * p->predicted - p->measured;
        p->high += 2 * p->predicted - p->measured;
        w->n_inside += i < m->n_points && p->low <= p->measured && p->measured <= p->high;
    }
    mem_free(off);
    return rc;
}

static int points_make(struct sawtooth *w, const struct measured *m, const struct growth_result *r)
{
    double steps = 0, stale = 0, predicted[STUDY_STALE_BINS + 1], profile[STUDY_SLOTS];
    TRY(MEM_NEW(&w->points, m->n_points, "prediction"), "prediction");
    w->n_points = m->n_points;
    w->at_zero = m->all.n[0] > 0 ? m->all.sum[0] / m->all.n[0] : NAN;
    profile_make(&r->how, NULL, profile);
    points_predict(m, &r->growth.fits[r->growth.law], profile, predicted);
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        steps += m->all.n[bin];
        stale += m->all.stale[bin];
    }
    for (int i = 0; i <= m->n_points; i++) {
        const int bin = i < m->n_points ? m->bins[i] : 0;
        *(i < m->n_points ? &w->points[i] : &w->mean) = (struct sawtooth_point){
            .s = i < m->n_points ? m->all.stale[bin] / m->all.n[bin] : stale / steps,
            .share = i < m->n_points ? m->all.n[bin] / steps : 1,
            .measured = measured_mean(m, NULL, i),
            .predicted = predicted[i],
            .low = NAN,
            .high = NAN,
        };
    }
    return 0;
}

static int sawtooth_predict(struct sawtooth *w, const struct study *s, const struct growth_result *r)
{
    const struct growth *g = &r->growth;
    struct measured m = { 0 };
    w->identified = growth_is_identified(&r->how);
    growth_law_words(w->from, sizeof w->from, w->source, &r->how, true);
    w->law = g->law;
    int rc = measured_open(&m, s, &r->how, w->lane, w->quantity);
    int longest = 0;
    for (int bin = 1; bin < STUDY_STALE_BINS; bin++) longest = m.all.n[bin] > 0 ? study_stale_bin_first(bin) : longest;
    if (rc == 0 && longest > g->curves.axis.s_max)
        snprintf(w->why, sizeof w->why, "the lane has up to %d stale tokens or more, the law ends at %g", longest,
                 g->curves.axis.s_max);
    else if (rc == 0 && isnan(measured_mean(&m, NULL, m.n_points)))
        snprintf(w->why, sizeof w->why, "a text of the law lacks the lane");
    else {
        if (rc == 0) rc = points_make(w, &m, r);
        if (rc == 0 && g->n_replicates > 0) rc = intervals_make(w, &m, r);
        w->n_texts = rc == 0 ? m.n_texts : 0;
    }
    mem_free(m.y);
    return rc;
}

/* The law of the group's lanes but one; of very many lanes evenly chosen ones say as much. */
static int others_open(struct growth_result *r, const struct study *s, const struct growth_group *group, int lane,
                       enum growth_quantity q)
{
    int *lanes = NULL, n = 0;
    TRY(MEM_NEW(&lanes, group->n_lanes, "lanes"), "%s", group->title);
    const int stride = (group->n_lanes + MAX_OTHER_LANES - 1) / MAX_OTHER_LANES;
    for (int i = 0; i < group->n_lanes; i += stride)
        if (group->lanes[i] != lane) lanes[n++] = group->lanes[i];
    int rc = growth_gather(&r->how, s, group, lanes, n, q);
    if (rc == 0 && r->how.curves.n_texts > 0 && r->how.matched) rc = growth_open(&r->growth, &r->how.curves);
    mem_free(lanes);
    return rc;
}

int sawtooth_open(struct sawtooth *w, const struct study *s, const struct growth_set *set, int lane,
                  enum growth_quantity q, bool others)
{
    const struct growth_result *pure = &set->results[GROWTH_PURE][q];
    *w = (struct sawtooth){ .lane = lane, .quantity = q, .source = GROWTH_PURE, .at_zero = NAN };
    if (!growth_is_there(pure)) {
        snprintf(w->why, sizeof w->why, "%s", pure->how.why);
        return 0;
    }
    if (pure->how.matched || !others) return sawtooth_predict(w, s, pure);
    struct growth_result rest = { 0 };
    int rc = others_open(&rest, s, set->group, lane, q);
    const bool there = growth_is_there(&rest);
    w->source = there ? GROWTH_ALL : GROWTH_PURE;
    if (rc == 0) rc = sawtooth_predict(w, s, there ? &rest : pure);
    growth_gathered_close(&rest.how);
    growth_close(&rest.growth);
    return rc;
}

void sawtooth_close(struct sawtooth *w)
{
    mem_free(w->points);
    *w = (struct sawtooth){ 0 };
}

/* One rectified lane of the study. */
struct job {
    const struct growth_set *set;
    int lane;
};

static int jobs_open(struct job **jobs, const struct growth_study *g)
{
    int n = 0, n_made = 0;
    for (int i = 0; i < g->groups.n; i++) n += g->groups.groups[i].n_lanes - g->groups.groups[i].n_pure;
    TRY(MEM_NEW(jobs, n, "predictions"), "%s", g->study->key);
    for (int i = 0; i < g->groups.n; i++)
        for (int k = g->groups.groups[i].n_pure; k < g->groups.groups[i].n_lanes; k++)
            (*jobs)[n_made++] = (struct job){ &g->sets[i], g->groups.groups[i].lanes[k] };
    return n;
}

int sawteeth_open(struct sawteeth *w, const struct growth_study *g)
{
    struct job *jobs = NULL;
    char why[512] = "";
    *w = (struct sawteeth){ 0 };
    const int n = jobs_open(&jobs, g);
    if (n >= 0 && MEM_NEW(&w->all, n * N_SAWTOOTH_QUANTITIES, "predictions") == 0) w->n = n * N_SAWTOOTH_QUANTITIES;
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < w->n; i++) {
        const struct job *job = &jobs[i / N_SAWTOOTH_QUANTITIES];
        if (sawtooth_open(&w->all[i], g->study, job->set, job->lane, sawtooth_quantities[i % N_SAWTOOTH_QUANTITIES],
                          i / N_SAWTOOTH_QUANTITIES < SAWTOOTH_MAX_OTHERS) == 0)
            continue;
#pragma omp critical
        snprintf(why, sizeof why, "%s", fail_text());
    }
    mem_free(jobs);
    if (n < 0 || !w->all) return -1;
    return why[0] ? fail("%s", why) : 0;
}

void sawteeth_close(struct sawteeth *w)
{
    for (int i = 0; i < w->n; i++) sawtooth_close(&w->all[i]);
    mem_free(w->all);
    *w = (struct sawteeth){ 0 };
}
