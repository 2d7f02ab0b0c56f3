#include "analysis/growth_match.h"

#include "analysis/growth_law.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>

void growth_observations_close(struct growth_observations *o)
{
    mem_free(o->all);
    *o = (struct growth_observations){ 0 };
}

struct matching {
    const struct growth_observations *o;
    double *h;                      /* owned [n_rows]; NaN: a step that tells nothing of f */
    int *slots;                     /* owned [n_rows]: of a step */
    bool *links;                    /* owned [n_rows]: lanes of different bins are there */
    int *bins;                      /* owned [n]: of an observation */
    double *shapes;                 /* owned [n]: f at its stale tokens over f at its bin's */
    double stale[STUDY_STALE_BINS]; /* of a bin: mean weighted by h */
    bool kept[STUDY_STALE_BINS];    /* bins that are compared with one another */
};

static int matching_open(struct matching *g, const struct growth_observations *o)
{
    *g = (struct matching){ .o = o };
    TRY(MEM_NEW(&g->h, o->n_rows, "steps"), "growth law");
    TRY(MEM_NEW(&g->slots, o->n_rows, "steps"), "growth law");
    TRY(MEM_NEW(&g->links, o->n_rows, "steps"), "growth law");
    TRY(MEM_NEW(&g->bins, o->n, "observations"), "growth law");
    TRY(MEM_NEW(&g->shapes, o->n, "observations"), "growth law");
    for (int i = 0; i < o->n; i++) {
        g->shapes[i] = 1;
        g->bins[i] = study_stale_bin(o->all[i].stale);
        g->slots[o->all[i].row] = o->all[i].slot;
    }
    return 0;
}

static void matching_close(struct matching *g)
{
    mem_free(g->h);
    mem_free(g->slots);
    mem_free(g->links);
    mem_free(g->bins);
    mem_free(g->shapes);
}

static int root_of(const int *parent, int bin)
{
    while (parent[bin] != bin) bin = parent[bin];
    return bin;
}

/* Which steps compare bins, and the largest part of the bins that are compared with one another: kept. */
static void links_find(struct matching *g)
{
    const struct growth_observation *all = g->o->all;
    int parent[STUDY_STALE_BINS], n_seen[STUDY_STALE_BINS] = { 0 }, best = 0;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) parent[bin] = bin;
    for (int i = 1; i < g->o->n; i++) {
        if (all[i - 1].row != all[i].row) continue;
        g->links[all[i].row] = g->links[all[i].row] || g->bins[i - 1] != g->bins[i];
        parent[root_of(parent, g->bins[i - 1])] = root_of(parent, g->bins[i]);
    }
    for (int i = 0; i < g->o->n; i++) n_seen[root_of(parent, g->bins[i])] += g->links[all[i].row];
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) best = n_seen[bin] > n_seen[best] ? bin : best;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++)
        g->kept[bin] = n_seen[best] > 0 && root_of(parent, bin) == root_of(parent, best);
}

/* h: a step's weights over what f says; linking: of the steps that compare alone, else of all. */
static void steps_scale(struct matching *g, const double *f, bool linking)
{
    const struct growth_observation *all = g->o->all;
    for (int row = 0; row < g->o->n_rows; row++) g->h[row] = NAN;
    for (int i = 0; i < g->o->n;) {
        const int row = all[i].row;
        double weight = 0, expected = 0;
        for (; i < g->o->n && all[i].row == row; i++) {
            if (!g->kept[g->bins[i]]) continue;
            weight += all[i].weight;
            expected += f[g->bins[i]] * g->shapes[i];
        }
        if (expected > 0 && (g->links[row] || !linking)) g->h[row] = weight / expected;
    }
}

/* f of each bin: the sum of y, or of the weights, over the sum of h.  Returns the greatest relative change. */
static double bins_scale(const struct matching *g, double *f, bool of_weights)
{
    double sum[STUDY_STALE_BINS] = { 0 }, expected[STUDY_STALE_BINS] = { 0 }, change = 0;
    for (int i = 0; i < g->o->n; i++) {
        const struct growth_observation *x = &g->o->all[i];
        if (!g->kept[g->bins[i]] || isnan(g->h[x->row])) continue;
        sum[g->bins[i]] += of_weights ? x->weight : x->y;
        expected[g->bins[i]] += g->h[x->row] * g->shapes[i];
    }
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        const double was = f[bin];
        f[bin] = expected[bin] > 0 ? sum[bin] / expected[bin] : NAN;
        if (was > 0 && f[bin] > 0) change = fmax(change, fabs(f[bin] / was - 1));
    }
    return change;
}

static double steps_mean(const struct matching *g)
{
    double sum = 0, n = 0;
    for (int row = 0; row < g->o->n_rows; row++) {
        if (isnan(g->h[row])) continue;
        sum += g->h[row];
        n++;
    }
    return sum / n;
}

static void stale_average(struct matching *g)
{
    double weights[STUDY_STALE_BINS] = { 0 };
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) g->stale[bin] = 0;
    for (int i = 0; i < g->o->n; i++) {
        const double h = g->h[g->o->all[i].row];
        if (isnan(h)) continue;
        g->stale[g->bins[i]] += h * g->o->all[i].stale;
        weights[g->bins[i]] += h;
    }
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) g->stale[bin] /= weights[bin] > 0 ? weights[bin] : 1;
}

/* f within the bins: on lines in ln s between the bins' means, and on the same lines beyond the first and the last. */
static void shapes_make(struct matching *g, const double *f)
{
    int bins[STUDY_STALE_BINS], n = 0;
    stale_average(g);
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++)
        if (g->kept[bin] && f[bin] > 0 && g->stale[bin] > 0) bins[n++] = bin;
    for (int i = 0; i < g->o->n && n > 1; i++) {
        const double s = g->o->all[i].stale;
        int k = 1;
        if (!g->kept[g->bins[i]]) continue;
        while (k < n - 1 && g->stale[bins[k]] < s) k++;
        const int a = bins[k - 1], b = bins[k];
        const double part = log(s / g->stale[a]) / log(g->stale[b] / g->stale[a]);
        const double shape = (f[a] + part * (f[b] - f[a])) / f[g->bins[i]];
        g->shapes[i] = shape > 0 ? shape : 1;
    }
}

/* false: no steps compare bins enough, and f and h are not set. */
static bool match_try(struct matching *g, double *f)
{
    enum { MAX_ROUNDS = 1000, PASSES = 3 };
    int n = 0;
    links_find(g);
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) f[bin] = 1;
    for (int pass = 0; pass < PASSES; pass++) {
        for (int round = 0; round < MAX_ROUNDS; round++) {
            steps_scale(g, f, true);
            if (bins_scale(g, f, true) < 1e-6) break;
        }
        if (pass < PASSES - 1) shapes_make(g, f);
    }
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        g->kept[bin] = g->kept[bin] && f[bin] > 0;
        n += g->kept[bin];
    }
    if (n < GROWTH_MIN_BINS) return false;
    steps_scale(g, f, false);
    const double mean = steps_mean(g);
    if (!(mean > 0)) return false;
    for (int row = 0; row < g->o->n_rows; row++) g->h[row] /= mean;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) f[bin] *= mean;
    if (g->o->differences) bins_scale(g, f, false);
    return true;
}

static void match_plain(struct matching *g, double *f)
{
    for (int row = 0; row < g->o->n_rows; row++) g->h[row] = 1;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) g->kept[bin] = true;
    bins_scale(g, f, false);
}

static void match_describe(struct growth_match *m, struct matching *g)
{
    double n[STUDY_SLOTS] = { 0 };
    stale_average(g);
    for (int i = 0; i < g->o->n; i++) {
        const struct growth_observation *x = &g->o->all[i];
        m->n[g->bins[i]]++;
        if (x->stale < STUDY_STALE_BINS) m->seen[x->stale] |= 1U << x->slot;
        if (g->kept[g->bins[i]] && x->stale > m->longest) m->longest = x->stale;
    }
    for (int row = 0; row < g->o->n_rows; row++) {
        if (isnan(g->h[row])) continue;
        m->slots[g->slots[row]] += g->h[row];
        n[g->slots[row]]++;
    }
    for (int slot = 0; slot < STUDY_SLOTS; slot++) m->slots[slot] = n[slot] > 0 ? m->slots[slot] / n[slot] : NAN;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        m->stale[bin] = g->stale[bin];
        if (!g->kept[bin]) m->f[bin] = NAN;
    }
}

int growth_match_make(struct growth_match *m, const struct growth_observations *o, bool match)
{
    struct matching g;
    *m = (struct growth_match){ 0 };
    const int rc = matching_open(&g, o);
    if (rc == 0) {
        m->matched = match && match_try(&g, m->f);
        if (!m->matched) match_plain(&g, m->f);
        match_describe(m, &g);
    }
    matching_close(&g);
    return rc;
}
