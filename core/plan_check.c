/* Lanes at the lengths of a run: budgets, lanes that do the same, clean twins. */
#include "core/plan_lanes.h"

#include <math.h>
#include <stdio.h>

/* n_sel depends on the number of blocks alone, so each number that the run has is looked at once. */
bool plan_lanes_same_budget(const struct lane_spec *a, const struct lane_spec *b, const struct plan_lengths *n)
{
    const int last = lane_n_blocks(a, n->prefill_tokens + n->n_steps);
    for (int blocks = lane_n_blocks(a, n->prefill_tokens + 1); blocks <= last; blocks++)
        if (lane_n_selected(a, blocks * a->block_size) != lane_n_selected(b, blocks * a->block_size)) return false;
    return true;
}

bool plan_lane_reads_all(const struct lane_spec *l, const struct plan_lengths *n)
{
    struct lane_spec all = *l;
    all.active_millionths = 1000000;
    return l->selector == SELECT_DENSE || l->dense_layers >= n->n_layers || plan_lanes_same_budget(l, &all, n);
}

/* The first step at `from` or later after which the schedule rectifies; INT64_MAX for never. */
static int64_t next_rectification(const struct lane_spec *l, int64_t from)
{
    if (l->interval == 0) return INT64_MAX;
    const int64_t late = (from + 1 + l->phase) % l->interval;
    return late ? from + l->interval - late : from;
}

/* A schedule is an arithmetic progression: two steps of it say all. */
bool plan_lanes_same_schedule(const struct lane_spec *a, const struct lane_spec *b, int n_steps)
{
    int64_t at_a = a->dense_until - 1, at_b = b->dense_until - 1;
    for (int i = 0; i < 2; i++) {
        at_a = next_rectification(a, at_a + 1);
        at_b = next_rectification(b, at_b + 1);
        if (at_a >= n_steps - 1 && at_b >= n_steps - 1) return true;
        if (at_a != at_b) return false;
    }
    return true;
}

static bool same_policy(const struct lane_spec *a, const struct lane_spec *b)
{
    return a->selector == b->selector && a->block_size == b->block_size && a->local_blocks == b->local_blocks &&
           a->dense_layers == b->dense_layers;
}

/* In everything but the schedule. */
static bool is_alike(const struct lane_spec *a, const struct lane_spec *b, const struct plan_lengths *n)
{
    return same_policy(a, b) && a->dense_until == b->dense_until && a->cache_of == b->cache_of &&
           a->perturb == b->perturb && plan_lanes_same_budget(a, b, n);
}

static bool is_equal(const struct lane_spec *a, const struct lane_spec *b, const struct plan_lengths *n)
{
    return a->interval == b->interval && a->phase == b->phase && is_alike(a, b, n);
}

/* An error, or with allow_equal a warning. */
static int object(struct config *c, struct diag_mark at, const char *text, struct notes *warnings)
{
    if (c->allow_equal) return notes_add(warnings, "%s", text);
    diag_add(&c->diag, at, "%s (allow_equal: true lets it through)", text);
    return 0;
}

static int check_equal(const struct plan_lanes *p, struct config *c, const struct plan_lengths *n, int i,
                       struct notes *warnings)
{
    const struct lane_spec *l = &p->lanes[i];
    char text[500];
    const int first = n->prefill_tokens + 1, last = n->prefill_tokens + n->n_steps;
    for (int k = 1; k < i; k++) {
        if (!is_equal(&p->lanes[k], l, n)) continue;
        snprintf(text, sizeof text,
                 "lanes %s and %s do the same in a run of %d + %d tokens: both read %d of %d blocks at its "
                 "first step and %d of %d at its last",
                 p->lanes[k].name, l->name, n->prefill_tokens, n->n_steps, lane_n_selected(l, first),
                 lane_n_blocks(l, first), lane_n_selected(l, last), lane_n_blocks(l, last));
        return object(c, config_lane_changed_at(p->from[i], "name"), text, warnings);
    }
    return 0;
}

/* Equal but for interval or phase, which make no difference before the run is over: worth a warning, not a refusal. */
static int check_schedule(const struct plan_lanes *p, const struct plan_lengths *n, int i, struct notes *warnings)
{
    const struct lane_spec *l = &p->lanes[i];
    for (int k = 1; k < i && n->batch == 0; k++) { /* a timed lane is rectified whatever its schedule */
        const struct lane_spec *other = &p->lanes[k];
        if (l->interval == other->interval && l->phase == other->phase) continue;
        if (!plan_lanes_same_schedule(l, other, n->n_steps) || !is_alike(l, other, n)) continue;
        return notes_add(warnings,
                         "lanes %s and %s never differ in a run of %d + %d tokens: their intervals and phases mean the "
                         "same rectifications before its last step",
                         other->name, l->name, n->prefill_tokens, n->n_steps);
    }
    return 0;
}

static int check_control(const struct plan_lanes *p, struct config *c, const struct plan_lengths *n, int i,
                         struct notes *warnings)
{
    const struct lane_spec *l = &p->lanes[i];
    char text[500];
    if (l->sparsity <= 0 || !plan_lane_reads_all(l, n)) return 0;
    const int last = n->prefill_tokens + n->n_steps;
    snprintf(text, sizeof text,
             "lane %s reads everything in a run of %d + %d tokens, it is the control: %s (at the last step "
             "%d blocks are there; sparsity %g keeps %d, min_blocks is %d)",
             l->name, n->prefill_tokens, n->n_steps,
             l->dense_layers >= n->n_layers ? "no layer is sparse" : "sparsity changes nothing", lane_n_blocks(l, last),
             l->sparsity, (int)ceil(lane_n_blocks(l, last) * (l->active_millionths / 1e6)), l->min_blocks);
    return object(c, config_lane_changed_at(p->from[i], "min_blocks"), text, warnings);
}

static void check_limits(const struct plan_lanes *p, struct config *c, const struct plan_lengths *n, int i)
{
    const struct lane_spec *l = &p->lanes[i];
    if (l->dense_until >= n->n_steps)
        diag_add(&c->diag, config_lane_at(p->from[i], "dense_until"),
                 "lanes.%s.dense_until: %d: a run of %d steps leaves the lane "
                 "no step",
                 l->family, l->dense_until, n->n_steps);
    if (l->dense_layers > n->n_layers)
        diag_add(&c->diag, config_lane_at(p->from[i], "dense_layers"),
                 "lanes.%s.dense_layers: %d: the model has %d layers", l->family, l->dense_layers, n->n_layers);
}

int plan_lanes_check(const struct plan_lanes *p, struct config *c, const struct plan_lengths *n, struct notes *warnings)
{
    for (int i = 1; i < p->n; i++) {
        check_limits(p, c, n, i);
        if (check_equal(p, c, n, i, warnings) != 0 || check_control(p, c, n, i, warnings) != 0 ||
            check_schedule(p, n, i, warnings) != 0)
            return -1;
    }
    return 0;
}

static int find_twin(const struct lane_spec *lanes, int n_lanes, int i, const struct plan_lengths *n)
{
    const struct lane_spec *l = &lanes[i];
    if (plan_lane_reads_all(l, n)) return 0;
    if (l->cache_of == 0) return i;
    for (int k = 1; k < n_lanes; k++)
        if (lanes[k].cache_of == 0 && same_policy(&lanes[k], l) && plan_lanes_same_budget(&lanes[k], l, n)) return k;
    return LANE_NONE;
}

void plan_lanes_twins(struct lane_spec *lanes, int n_lanes, const struct plan_lengths *n)
{
    for (int i = 0; i < n_lanes; i++) lanes[i].clean = find_twin(lanes, n_lanes, i, n);
}
