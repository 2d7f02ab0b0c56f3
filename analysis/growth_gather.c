#include "analysis/growth_gather.h"

#include "analysis/growth_bins.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

const struct growth_quantity_def growth_quantity_defs[N_GROWTH_QUANTITIES] = {
    [GROWTH_K] = { "k_accum", "distance of K to clean (1)", QUANTITY_K_ACCUM, false },
    [GROWTH_V] = { "v_accum", "distance of V to clean (1)", QUANTITY_V_ACCUM, false },
    [GROWTH_ATTN] = { "attn_accum", "distance of the attention output to clean (1)", QUANTITY_ATTN_ACCUM, false },
    [GROWTH_HIDDEN] = { "hidden_accum", "distance of the final hidden state to clean (1)", QUANTITY_HIDDEN_ACCUM,
                        false },
    [GROWTH_KL_CLEAN] = { "kl_clean", "KL from clean (nat)", QUANTITY_KL_CLEAN, false },
    [GROWTH_KL] = { "kl_above_clean", "KL from dense above clean (nat)", QUANTITY_KL, true },
    [GROWTH_NLL] = { "nll_above_clean", "NLL above clean (nat)", QUANTITY_ABOVE_DENSE, true },
};

struct growth_series growth_series_of(const struct study *s, int run, int lane, enum growth_quantity q)
{
    const struct growth_quantity_def *def = &growth_quantity_defs[q];
    struct growth_series x = { .y = study_series(s, run, lane, def->quantity),
                               .stale = study_series(s, run, lane, QUANTITY_STALE_TOKENS) };
    if (def->less_clean) x.clean = study_series(s, run, s->lanes[lane].clean, def->quantity);
    if ((def->less_clean && !x.clean) || !x.stale || (q == GROWTH_NLL && !study_is_of_text(s))) x.y = NULL;
    return x;
}

/* ---- what a text's lanes read ---- */

struct observation {
    int row, bin, stale; /* row: a step of a run; ascending */
    double y, weight;    /* weight: what h is fitted to */
};

struct observations {
    struct observation *all; /* owned [n] */
    int n, n_rows;
    double *h;                /* owned [n_rows]; NaN: a step that tells nothing of f */
    bool *links;              /* owned [n_rows]: lanes of different bins are there */
    bool kept[N_GROWTH_BINS]; /* bins that are compared with one another */
    double at_zero;
    unsigned long slots[N_GROWTH_BINS]; /* of small numbers of stale tokens: places in the block, one bit each */
};

static void observations_close(struct observations *o)
{
    mem_free(o->all);
    mem_free(o->h);
    mem_free(o->links);
}

static int observations_alloc(struct observations *o, const struct study *s, int text, int n_lanes)
{
    int n_steps = 0;
    for (int run = 0; run < s->n_runs; run++) n_steps += s->runs[run].text == text ? s->runs[run].n_steps : 0;
    TRY(MEM_NEW(&o->all, (size_t)n_steps * (size_t)n_lanes, "observations"), "growth law");
    TRY(MEM_NEW(&o->h, n_steps, "steps"), "growth law");
    return MEM_NEW(&o->links, n_steps, "steps");
}

static void observation_add(struct observations *o, const struct growth_series *x, const struct growth_series *weight,
                            int step, int slot)
{
    const double y = growth_series_at(x, step), w = weight->y ? growth_series_at(weight, step) : 1;
    if (isnan(x->stale[step]) || isnan(y) || isnan(w)) return;
    const int stale = (int)x->stale[step];
    if (stale == 0) {
        o->at_zero = fmax(o->at_zero, fabs(y));
        return;
    }
    if (stale < N_GROWTH_BINS) o->slots[stale] |= 1UL << slot % 64;
    o->all[o->n++] = (struct observation){ o->n_rows, growth_bin(stale), stale, y, w };
}

static int observations_read(struct observations *o, const struct study *s, int text, const int *lanes, int n_lanes,
                             enum growth_quantity q)
{
    struct growth_series *x = NULL, *w = NULL;
    const enum growth_quantity weight = growth_quantity_defs[q].less_clean ? GROWTH_KL_CLEAN : q;
    int rc = observations_alloc(o, s, text, n_lanes);
    if (rc == 0) rc = MEM_NEW(&x, n_lanes, "lanes");
    if (rc == 0) rc = MEM_NEW(&w, n_lanes, "lanes");
    o->at_zero = NAN;
    for (int run = 0; run < s->n_runs && rc == 0; run++) {
        if (s->runs[run].text != text) continue;
        for (int i = 0; i < n_lanes; i++) {
            x[i] = growth_series_of(s, run, lanes[i], q);
            w[i] = growth_series_of(s, run, lanes[i], weight);
        }
        for (int step = 0; step < s->runs[run].n_steps; step++, o->n_rows++)
            for (int i = 0; i < n_lanes; i++)
                if (x[i].y)
                    observation_add(o, &x[i], &w[i], step, (s->prompt_tokens + step) % s->lanes[lanes[i]].block_size);
    }
    mem_free(x);
    mem_free(w);
    return rc;
}

/* ---- matching ---- */

static int root_of(const int *parent, int bin)
{
    while (parent[bin] != bin) bin = parent[bin];
    return bin;
}

/* Which steps compare bins, and the largest part of the bins that are compared with one another: kept. */
static void links_find(struct observations *o)
{
    int parent[N_GROWTH_BINS], n_seen[N_GROWTH_BINS] = { 0 }, best = 0;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) parent[bin] = bin;
    for (int i = 1; i < o->n; i++) {
        const struct observation *a = &o->all[i - 1], *b = &o->all[i];
        if (a->row != b->row) continue;
        o->links[b->row] = o->links[b->row] || a->bin != b->bin;
        parent[root_of(parent, a->bin)] = root_of(parent, b->bin);
    }
    for (int i = 0; i < o->n; i++) n_seen[root_of(parent, o->all[i].bin)] += o->links[o->all[i].row];
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) best = n_seen[bin] > n_seen[best] ? bin : best;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++)
        o->kept[bin] = n_seen[best] > 0 && root_of(parent, bin) == root_of(parent, best);
}

/* h: what the steps' weights are over what f says; linking: of the steps that compare alone, else of all. */
static void steps_scale(struct observations *o, const double *f, bool linking)
{
    for (int i = 0; i < o->n;) {
        const int row = o->all[i].row;
        double weight = 0, expected = 0;
        for (; i < o->n && o->all[i].row == row; i++) {
            if (!o->kept[o->all[i].bin]) continue;
            weight += o->all[i].weight;
            expected += f[o->all[i].bin];
        }
        o->h[row] = expected > 0 && (o->links[row] || !linking) ? weight / expected : NAN;
    }
}

/* f[bin]: the sum of y, or of the weights, over the sum of h.  Returns the greatest relative change. */
static double bins_scale(const struct observations *o, double *f, bool of_weights)
{
    double sum[N_GROWTH_BINS] = { 0 }, expected[N_GROWTH_BINS] = { 0 }, change = 0;
    for (int i = 0; i < o->n; i++) {
        const struct observation *x = &o->all[i];
        if (!o->kept[x->bin] || isnan(o->h[x->row])) continue;
        sum[x->bin] += of_weights ? x->weight : x->y;
        expected[x->bin] += o->h[x->row];
    }
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) {
        const double was = f[bin];
        f[bin] = expected[bin] > 0 ? sum[bin] / expected[bin] : NAN;
        if (was > 0 && f[bin] > 0) change = fmax(change, fabs(f[bin] / was - 1));
    }
    return change;
}

/* f of each bin, NaN where it is not known; h has mean 1 over all steps.  false: no steps compare bins. */
static bool observations_match(struct observations *o, double *f)
{
    enum { MAX_ROUNDS = 1000 };
    int n = 0;
    double mean = 0;
    links_find(o);
    for (int row = 0; row < o->n_rows; row++) o->h[row] = NAN;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) f[bin] = 1;
    for (int round = 0; round < MAX_ROUNDS; round++) {
        steps_scale(o, f, true);
        if (bins_scale(o, f, true) < 1e-7) break;
    }
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) {
        o->kept[bin] = o->kept[bin] && f[bin] > 0;
        n += o->kept[bin];
        f[bin] = o->kept[bin] ? f[bin] : 0;
    }
    if (n < GROWTH_MIN_BINS) return false;
    steps_scale(o, f, false);
    n = 0;
    for (int row = 0; row < o->n_rows; row++) {
        mean += isnan(o->h[row]) ? 0 : o->h[row];
        n += !isnan(o->h[row]);
    }
    mean /= n;
    for (int row = 0; row < o->n_rows; row++) o->h[row] /= mean;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) f[bin] *= mean;
    return mean > 0;
}

static void observations_mean(struct observations *o, double *f)
{
    for (int row = 0; row < o->n_rows; row++) o->h[row] = 1;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) o->kept[bin] = true;
    bins_scale(o, f, false);
}

/* ---- over texts ---- */

/* Of one text: f [bins], and for the axis how many steps and stale tokens each bin has. */
struct text_curve {
    double f[N_GROWTH_BINS];
    double n[N_GROWTH_BINS], stale[N_GROWTH_BINS];
    int most[N_GROWTH_BINS]; /* stale tokens seen */
    bool matched;
};

static int text_curve_make(struct text_curve *curve, struct growth_gathered *g, const struct study *s, int text,
                           const int *lanes, enum growth_quantity q, bool match, unsigned long *slots)
{
    struct observations o = { 0 };
    const int rc = observations_read(&o, s, text, lanes, g->n_lanes, q);
    *curve = (struct text_curve){ 0 };
    if (rc == 0) {
        curve->matched = match && observations_match(&o, curve->f);
        if (!curve->matched) observations_mean(&o, curve->f);
        if (curve->matched && growth_quantity_defs[q].less_clean) bins_scale(&o, curve->f, false);
        if (!isnan(o.at_zero)) g->at_zero = fmax(g->at_zero, o.at_zero);
        for (int i = 0; i < o.n; i++) {
            const struct observation *x = &o.all[i];
            curve->n[x->bin]++;
            curve->stale[x->bin] += x->stale;
            curve->most[x->bin] = x->stale > curve->most[x->bin] ? x->stale : curve->most[x->bin];
        }
        for (int bin = 0; bin < N_GROWTH_BINS; bin++) {
            if (!o.kept[bin] || !(curve->n[bin] > 0)) curve->f[bin] = NAN;
            slots[bin] |= o.slots[bin];
        }
    }
    observations_close(&o);
    return rc;
}

/* Whether places in the block tell nothing of their own: none of the first numbers of stale tokens stood at two. */
static bool slots_are_tied(const unsigned long *slots, int block_size)
{
    for (int stale = 1; stale < block_size && stale < N_GROWTH_BINS; stale++)
        if (slots[stale] & (slots[stale] - 1)) return false;
    return true;
}

static int n_known(const double *f)
{
    int n = 0;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) n += !isnan(f[bin]);
    return n;
}

/* The texts that have at least half of the bins of the one that has most, and the bins that all of these have. */
static void complete_find(const struct text_curve *curves, int n_texts, bool *text_in, bool *bin_in)
{
    int most = 0;
    for (int text = 0; text < n_texts; text++) most = n_known(curves[text].f) > most ? n_known(curves[text].f) : most;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) bin_in[bin] = most > 0;
    for (int text = 0; text < n_texts; text++) {
        text_in[text] = most > 0 && 2 * n_known(curves[text].f) >= most;
        for (int bin = 0; bin < N_GROWTH_BINS && text_in[text]; bin++)
            bin_in[bin] = bin_in[bin] && !isnan(curves[text].f[bin]);
    }
}

static int axis_make(struct growth_gathered *g, const struct text_curve *curves, const struct study *s,
                     const bool *text_in, const bool *bin_in)
{
    double at[N_GROWTH_BINS], weight[N_GROWTH_BINS];
    int n = 0, s_max = 0;
    for (int bin = 0; bin < N_GROWTH_BINS; bin++) {
        double steps = 0, stale = 0;
        if (!bin_in[bin]) continue;
        for (int text = 0; text < s->n_texts; text++) {
            if (!text_in[text]) continue;
            steps += curves[text].n[bin];
            stale += curves[text].stale[bin];
            s_max = curves[text].most[bin] > s_max ? curves[text].most[bin] : s_max;
        }
        at[n] = stale / steps;
        weight[n++] = growth_weight(steps / g->n_texts);
    }
    if (n < GROWTH_MIN_BINS) {
        snprintf(g->why, sizeof g->why, "%d bins of stale tokens, %d are needed", n, GROWTH_MIN_BINS);
        return 1;
    }
    return growth_axis_open(&g->curves.axis, at, weight, n, s_max);
}

static int curves_make(struct growth_gathered *g, const struct text_curve *curves, const struct study *s)
{
    bool *text_in = NULL, bin_in[N_GROWTH_BINS];
    TRY(MEM_NEW(&text_in, s->n_texts, "texts"), "growth law");
    complete_find(curves, s->n_texts, text_in, bin_in);
    for (int text = 0; text < s->n_texts; text++)
        if (text_in[text]) g->texts[g->n_texts++] = text;
    int rc = axis_make(g, curves, s, text_in, bin_in);
    if (rc == 0) rc = MEM_NEW(&g->curves.y, (size_t)g->n_texts * (size_t)g->curves.axis.n, "curves");
    g->curves.n_texts = rc == 0 ? g->n_texts : 0;
    for (int i = 0, k = 0; i < g->n_texts && rc == 0; i++)
        for (int bin = 0; bin < N_GROWTH_BINS; bin++)
            if (bin_in[bin]) g->curves.y[k++] = curves[g->texts[i]].f[bin];
    mem_free(text_in);
    return rc < 0 ? rc : 0;
}

static int texts_read(struct growth_gathered *g, struct text_curve *curves, const struct study *s, const int *lanes,
                      enum growth_quantity q, bool match, unsigned long *slots)
{
    g->matched = match;
    for (int text = 0; text < s->n_texts; text++) {
        if (text_curve_make(&curves[text], g, s, text, lanes, q, match, slots) != 0) return -1;
        g->matched = g->matched && (curves[text].matched || n_known(curves[text].f) == 0);
    }
    return 0;
}

int growth_gather(struct growth_gathered *g, const struct study *s, const struct growth_group *group, const int *lanes,
                  int n_lanes, enum growth_quantity q)
{
    struct text_curve *curves = NULL;
    unsigned long slots[N_GROWTH_BINS] = { 0 };
    *g = (struct growth_gathered){ .n_lanes = n_lanes, .at_zero = NAN };
    TRY(MEM_NEW(&g->texts, s->n_texts, "texts"), "growth law");
    TRY(MEM_NEW(&curves, s->n_texts, "texts"), "growth law");
    int rc = texts_read(g, curves, s, lanes, q, true, slots);
    if (rc == 0 && !g->matched) rc = texts_read(g, curves, s, lanes, q, false, slots);
    if (rc == 0) rc = curves_make(g, curves, s);
    g->slots_tied = slots_are_tied(slots, group->policy.block_size);
    mem_free(curves);
    return rc;
}

void growth_gathered_close(struct growth_gathered *g)
{
    growth_curves_close(&g->curves);
    mem_free(g->texts);
    *g = (struct growth_gathered){ 0 };
}
