#include "analysis/growth_gather.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct growth_quantity_def growth_quantity_defs[N_GROWTH_QUANTITIES] = {
    [GROWTH_K] = { "k_accum", "distance of K to clean", QUANTITY_K_ACCUM, false },
    [GROWTH_V] = { "v_accum", "distance of V to clean", QUANTITY_V_ACCUM, false },
    [GROWTH_ATTN] = { "attn_accum", "distance of the attention output to clean", QUANTITY_ATTN_ACCUM, false },
    [GROWTH_HIDDEN] = { "hidden_accum", "distance of the final hidden state to clean", QUANTITY_HIDDEN_ACCUM,
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

static int n_steps_of(const struct study *s, int text)
{
    int n = 0;
    for (int run = 0; run < s->n_runs; run++) n += s->runs[run].text == text ? s->runs[run].n_steps : 0;
    return n;
}

/* One lane at one step of a row; without stale tokens it is no observation, and should be 0. */
static void observation_add(struct growth_observations *o, const struct growth_series *x,
                            const struct growth_series *weight, int step, int slot, double *at_zero)
{
    const double y = growth_series_at(x, step), w = o->differences ? growth_series_at(weight, step) : y;
    if (isnan(x->stale[step]) || isnan(y) || isnan(w)) return;
    const int stale = (int)x->stale[step];
    if (stale == 0)
        *at_zero = fmax(*at_zero, fabs(y));
    else
        o->all[o->n++] = (struct growth_observation){ o->n_rows, slot, stale, y, w };
}

static int observations_read(struct growth_observations *o, const struct study *s, int text, const int *lanes,
                             int n_lanes, enum growth_quantity q, double *at_zero)
{
    struct growth_series *x = NULL, *w = NULL;
    *o = (struct growth_observations){ .differences = growth_quantity_defs[q].less_clean };
    int rc = MEM_NEW(&o->all, (size_t)n_steps_of(s, text) * (size_t)n_lanes, "observations");
    if (rc == 0) rc = MEM_NEW(&x, n_lanes, "lanes");
    if (rc == 0) rc = MEM_NEW(&w, n_lanes, "lanes");
    for (int run = 0; run < s->n_runs && rc == 0; run++) {
        if (s->runs[run].text != text) continue;
        for (int i = 0; i < n_lanes; i++) {
            x[i] = growth_series_of(s, run, lanes[i], q);
            w[i] = growth_series_of(s, run, lanes[i], GROWTH_KL_CLEAN);
        }
        for (int step = 0; step < s->runs[run].n_steps; step++, o->n_rows++)
            for (int i = 0; i < n_lanes; i++)
                if (x[i].y && (w[i].y || !o->differences))
                    observation_add(o, &x[i], &w[i], step,
                                    study_slot_bin(study_slot(s, lanes[i], step), s->lanes[lanes[i]].block_size),
                                    at_zero);
    }
    mem_free(x);
    mem_free(w);
    return rc;
}

/* ---- over texts ---- */

/* Whether places in the block tell nothing of their own: no small number of stale tokens stood at two. */
static bool slots_are_tied(const struct growth_match *texts, int n_texts, int block_size)
{
    for (int stale = 1; stale < block_size && stale < STUDY_STALE_BINS; stale++) {
        unsigned seen = 0;
        for (int text = 0; text < n_texts; text++) seen |= texts[text].seen[stale];
        if (seen & (seen - 1)) return false;
    }
    return true;
}

static int n_known(const double *f)
{
    int n = 0;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) n += !isnan(f[bin]);
    return n;
}

/* The texts that have at least half of the bins of the one that has most, and the bins that all of these have. */
static void complete_find(const struct growth_match *curves, int n_texts, bool *text_in, bool *bin_in)
{
    int most = 0;
    for (int text = 0; text < n_texts; text++) most = n_known(curves[text].f) > most ? n_known(curves[text].f) : most;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) bin_in[bin] = most > 0;
    for (int text = 0; text < n_texts; text++) {
        text_in[text] = most > 0 && 2 * n_known(curves[text].f) >= most;
        for (int bin = 0; bin < STUDY_STALE_BINS && text_in[text]; bin++)
            bin_in[bin] = bin_in[bin] && !isnan(curves[text].f[bin]);
    }
}

static int axis_make(struct growth_gathered *g, const struct growth_match *texts, const bool *text_in, int n_texts,
                     const bool *bin_in)
{
    double at[STUDY_STALE_BINS], weight[STUDY_STALE_BINS], s_max = 0, longest = 0;
    int n = 0;
    for (int text = 0; text < n_texts; text++) longest = text_in[text] ? fmax(longest, texts[text].longest) : longest;
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        double steps = 0, stale = 0;
        for (int text = 0; text < n_texts && bin_in[bin]; text++) {
            if (!text_in[text]) continue;
            steps += texts[text].n[bin];
            stale += texts[text].n[bin] * texts[text].stale[bin];
        }
        if (!bin_in[bin]) continue;
        at[n] = stale / steps;
        weight[n++] = growth_weight(steps / g->n_texts);
        s_max = fmin(bin + 1 < STUDY_STALE_BINS ? study_stale_bin_first(bin + 1) - 1 : longest, longest);
    }
    if (n >= GROWTH_MIN_BINS) return growth_axis_open(&g->curves.axis, at, weight, n, s_max);
    if (n == 0)
        snprintf(g->why, sizeof g->why, "no lane has both stale tokens and this quantity");
    else
        snprintf(g->why, sizeof g->why, "%d bin%s of stale tokens, %d are needed", n, n == 1 ? "" : "s",
                 GROWTH_MIN_BINS);
    return 1;
}

static int curves_make(struct growth_gathered *g, const struct growth_match *texts, int n_texts)
{
    bool *text_in = NULL, bin_in[STUDY_STALE_BINS];
    TRY(MEM_NEW(&text_in, n_texts, "texts"), "growth law");
    complete_find(texts, n_texts, text_in, bin_in);
    for (int text = 0; text < n_texts; text++) {
        if (!text_in[text]) continue;
        memcpy(g->slots[g->n_texts], texts[text].slots, sizeof g->slots[0]);
        g->texts[g->n_texts++] = text;
    }
    int rc = axis_make(g, texts, text_in, n_texts, bin_in);
    if (rc == 0) rc = MEM_NEW(&g->curves.y, (size_t)g->n_texts * (size_t)g->curves.axis.n, "curves");
    g->curves.n_texts = rc == 0 ? g->n_texts : 0;
    for (int i = 0, k = 0; i < g->n_texts && rc == 0; i++)
        for (int bin = 0; bin < STUDY_STALE_BINS; bin++)
            if (bin_in[bin]) g->curves.y[k++] = texts[g->texts[i]].f[bin];
    mem_free(text_in);
    return rc < 0 ? rc : 0;
}

static int texts_read(struct growth_gathered *g, struct growth_match *texts, const struct study *s, const int *lanes,
                      enum growth_quantity q, bool match)
{
    g->matched = match;
    for (int text = 0; text < s->n_texts; text++) {
        struct growth_observations o;
        int rc = observations_read(&o, s, text, lanes, g->n_lanes, q, &g->at_zero);
        if (rc == 0) rc = growth_match_make(&texts[text], &o, match);
        g->matched = g->matched && (texts[text].matched || o.n == 0);
        growth_observations_close(&o);
        if (rc != 0) return rc;
    }
    return 0;
}

int growth_gather(struct growth_gathered *g, const struct study *s, const struct growth_group *group, const int *lanes,
                  int n_lanes, enum growth_quantity q)
{
    struct growth_match *texts = NULL;
    *g = (struct growth_gathered){ .n_lanes = n_lanes, .at_zero = NAN };
    TRY(MEM_NEW(&g->texts, s->n_texts, "texts"), "growth law");
    TRY(MEM_NEW(&g->slots, s->n_texts, "texts"), "growth law");
    TRY(MEM_NEW(&texts, s->n_texts, "texts"), "growth law");
    int rc = texts_read(g, texts, s, lanes, q, true);
    if (rc == 0 && !g->matched) rc = texts_read(g, texts, s, lanes, q, false);
    if (rc == 0) rc = curves_make(g, texts, s->n_texts);
    if (rc == 0) g->slots_tied = slots_are_tied(texts, s->n_texts, group->policy.block_size);
    mem_free(texts);
    return rc;
}

const char *growth_unidentified_words(const struct growth_gathered *how)
{
    if (!how->matched)
        return "no two lanes of different stale tokens were compared at the same steps (interval, phase, dense_until)";
    return how->slots_tied ? "each number of stale tokens stood at one place in the block alone (no phase or dense_until "
                             "lane parts them)"
                           : "";
}

void growth_gathered_close(struct growth_gathered *g)
{
    growth_curves_close(&g->curves);
    mem_free(g->texts);
    mem_free(g->slots);
    *g = (struct growth_gathered){ 0 };
}
