#include "analysis/evidence_budget.h"

#include "analysis/words.h"

#include "core/lane.h"

#include <math.h>

enum { MAX_PAIRS_TOLD = 8 };

static bool is_shown(const struct lane_spec *l)
{
    return l->selector != SELECT_DENSE && l->selector != SELECT_REPLAY && !lane_is_probe(l) &&
           l->active_millionths < 1000000;
}

/* All but what the budget is made of. */
static bool differ_in_budget(const struct lane_spec *a, const struct lane_spec *b)
{
    return a->selector == b->selector && a->block_size == b->block_size && a->local_blocks == b->local_blocks &&
           a->dense_layers == b->dense_layers && a->interval == b->interval && a->phase == b->phase &&
           a->dense_until == b->dense_until && !(a->perturb < b->perturb) && !(a->perturb > b->perturb);
}

double budget_same_share(const struct study *s, int a, int b)
{
    const struct lane_spec *l = &s->lanes[a], *m = &s->lanes[b];
    const int first = s->prompt_tokens + l->dense_until + 1, last = s->prompt_tokens + s->n_steps;
    int n_same = 0;
    if (!is_shown(l) || !is_shown(m) || !differ_in_budget(l, m) || first > last) return NAN;
    for (int from = first; from <= last;) { /* a budget is one for all tokens of a block */
        const int end = lane_n_blocks(l, from) * l->block_size, to = end < last ? end : last;
        if (lane_n_selected(l, from) == lane_n_selected(m, from)) n_same += to - from + 1;
        from = to + 1;
    }
    return (double)n_same / (last - first + 1);
}

int evidence_budget_check(struct evidence *e, const struct study *s)
{
    int n = 0;
    for (int a = 1; a < s->n_lanes; a++)
        for (int b = a + 1; b < s->n_lanes; b++) {
            const double share = budget_same_share(s, a, b);
            if (!(share >= BUDGET_SAME_SHARE) || share >= 1) continue; /* lanes that are one are told as such */
            if (n++ >= MAX_PAIRS_TOLD) continue;
            if (notes_add(
                    &e->warnings,
                    "lanes %s and %s read as many blocks as one another at %.0f %% of the steps: their comparison says "
                    "little of these",
                    s->lanes[a].name, s->lanes[b].name, 100 * share) != 0)
                return -1;
        }
    if (n <= MAX_PAIRS_TOLD) return 0;
    return notes_add(&e->warnings,
                     "%d more pair%s of lanes read as many blocks as one another at %.0f %% of the steps or more",
                     n - MAX_PAIRS_TOLD, words_s(n - MAX_PAIRS_TOLD), 100 * BUDGET_SAME_SHARE);
}
