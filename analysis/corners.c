#include "analysis/corners.h"

#include "core/config.h"
#include "core/err.h"
#include "core/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A lane with its own cache that a set is made of. */
static bool is_member(const struct lane_spec *l)
{
    return l->selector != SELECT_DENSE && !lane_is_probe(l) && l->sparsity > 0 && !(l->perturb > 0);
}

static int sparsity_millionths(const struct lane_spec *l)
{
    return (int)(1e6 * l->sparsity + 0.5);
}

static bool policy_same(const struct lane_spec *a, const struct lane_spec *b)
{
    return a->selector == b->selector && sparsity_millionths(a) == sparsity_millionths(b) &&
           a->block_size == b->block_size && a->local_blocks == b->local_blocks && a->min_blocks == b->min_blocks &&
           a->dense_layers == b->dense_layers && a->dense_until == b->dense_until;
}

static bool set_has(const struct corner_set *set, int lane)
{
    for (int i = 0; i < set->n_corners; i++)
        if (set->corners[i].lane == lane) return true;
    return false;
}

static int corner_add(struct corner_set *set, enum corner_role role, int lane, const char *label)
{
    if (set_has(set, lane)) return 0;
    TRY(mem_grow((void **)&set->corners, (size_t)set->n_corners, (size_t)set->n_corners + 1, sizeof *set->corners,
                 "corners"),
        "%s", set->key);
    struct corner *c = &set->corners[set->n_corners++];
    *c = (struct corner){ .role = role, .lane = lane };
    snprintf(c->label, sizeof c->label, "%s", label);
    return 0;
}

static int member_add(struct corner_set *set, const struct study *s, int lane)
{
    const struct lane_spec *l = &s->lanes[lane];
    char label[48];
    if (l->interval > 0 && l->phase > 0)
        snprintf(label, sizeof label, "f%d, phase %d", l->interval, l->phase);
    else if (l->interval > 0)
        snprintf(label, sizeof label, "f%d", l->interval);
    else if (l->equal_bytes > 0)
        snprintf(label, sizeof label, "equal %d", l->equal_bytes);
    else
        snprintf(label, sizeof label, "never");
    return corner_add(set,
                      l->interval > 0      ? CORNER_RECTIFIED
                      : l->equal_bytes > 0 ? CORNER_EQUAL
                                           : CORNER_NEVER,
                      lane, label);
}

/* Clean twins of the members, and the probes that read a member's cache with all blocks. */
static int probes_add(struct corner_set *set, const struct study *s)
{
    const int n_members = set->n_corners;
    char label[80];
    for (int i = 0; i < n_members; i++) {
        const struct corner member = set->corners[i];
        const int clean = s->lanes[member.lane].clean;
        snprintf(label, sizeof label, "clean of %s", member.label);
        if (clean > 0 && lane_is_probe(&s->lanes[clean]) &&
            corner_add(set, member.role == CORNER_EQUAL ? CORNER_CLEAN_OF : CORNER_CLEAN, clean,
                       member.role == CORNER_EQUAL ? label : "clean") != 0)
            return -1;
        for (int lane = 1; lane < s->n_lanes; lane++) {
            const struct lane_spec *l = &s->lanes[lane];
            if (l->cache_of != member.lane || l->active_millionths < 1000000) continue;
            snprintf(label, sizeof label, "stale of %s", member.label);
            const bool never = member.role == CORNER_NEVER;
            if (corner_add(set, never ? CORNER_STALE : CORNER_STALE_OF, lane, never ? "stale" : label) != 0) return -1;
        }
    }
    return 0;
}

int corner_compare(const void *a, const void *b, void *study)
{
    const struct study *s = study;
    const struct corner *x = a, *y = b;
    const struct lane_spec *l = &s->lanes[x->lane], *m = &s->lanes[y->lane];
    if (x->role != y->role) return (x->role > y->role) - (x->role < y->role);
    if (l->interval != m->interval) return l->interval - m->interval;
    if (l->phase != m->phase) return l->phase - m->phase;
    if (l->equal_bytes != m->equal_bytes) return l->equal_bytes - m->equal_bytes;
    return x->lane - y->lane;
}

static int set_compare(const void *a, const void *b)
{
    const struct corner_set *x = a, *y = b;
    const int s = sparsity_millionths(&x->policy), t = sparsity_millionths(&y->policy);
    return s != t ? s - t : x->corners[0].lane - y->corners[0].lane;
}

/* What differs between the sets is in every title. */
static void titles_make(struct corners *c)
{
    const struct lane_spec *first = &c->sets[0].policy;
    bool selector = false, block = false, local = false, least = false, layers = false, until = false;
    for (int i = 1; i < c->n_sets; i++) {
        const struct lane_spec *l = &c->sets[i].policy;
        selector = selector || l->selector != first->selector;
        block = block || l->block_size != first->block_size;
        local = local || l->local_blocks != first->local_blocks;
        least = least || l->min_blocks != first->min_blocks;
        layers = layers || l->dense_layers != first->dense_layers;
        until = until || l->dense_until != first->dense_until;
    }
    for (int i = 0; i < c->n_sets; i++) {
        struct corner_set *set = &c->sets[i];
        const struct lane_spec *l = &set->policy;
        size_t n = (size_t)snprintf(set->title, sizeof set->title, "sparsity %g", l->sparsity);
        if (selector) n += (size_t)snprintf(set->title + n, sizeof set->title - n, ", %s", selector_names[l->selector]);
        if (block) n += (size_t)snprintf(set->title + n, sizeof set->title - n, ", block %d", l->block_size);
        if (local) n += (size_t)snprintf(set->title + n, sizeof set->title - n, ", local %d", l->local_blocks);
        if (least) n += (size_t)snprintf(set->title + n, sizeof set->title - n, ", least %d", l->min_blocks);
        if (layers) n += (size_t)snprintf(set->title + n, sizeof set->title - n, ", dense layers %d", l->dense_layers);
        if (until && l->dense_until > 0)
            snprintf(set->title + n, sizeof set->title - n, ", dense until %d", l->dense_until);
        snprintf(set->key, sizeof set->key, "%s-s%g-b%d-l%d-m%d-d%d-u%d", selector_names[l->selector], l->sparsity,
                 l->block_size, l->local_blocks, l->min_blocks, l->dense_layers, l->dense_until);
    }
}

static int lane_place(struct corners *c, const struct study *s, int lane)
{
    for (int i = 0; i < c->n_sets; i++)
        if (policy_same(&c->sets[i].policy, &s->lanes[lane])) return member_add(&c->sets[i], s, lane);
    TRY(mem_grow((void **)&c->sets, (size_t)c->n_sets, (size_t)c->n_sets + 1, sizeof *c->sets, "corners"), "%s",
        s->key);
    c->sets[c->n_sets++] = (struct corner_set){ .policy = s->lanes[lane] };
    return member_add(&c->sets[c->n_sets - 1], s, lane);
}

int corners_open(struct corners *c, const struct study *s)
{
    *c = (struct corners){ 0 };
    for (int lane = 1; lane < s->n_lanes; lane++)
        if (is_member(&s->lanes[lane]) && lane_place(c, s, lane) != 0) return -1;
    if (c->n_sets == 0) return 0;
    qsort(c->sets, (size_t)c->n_sets, sizeof *c->sets, set_compare);
    titles_make(c);
    for (int i = 0; i < c->n_sets; i++) {
        if (probes_add(&c->sets[i], s) != 0) return -1;
        qsort_r(c->sets[i].corners, (size_t)c->sets[i].n_corners, sizeof *c->sets[i].corners, corner_compare,
                (void *)(uintptr_t)s);
    }
    return 0;
}

void corners_close(struct corners *c)
{
    for (int i = 0; i < c->n_sets; i++) mem_free(c->sets[i].corners);
    mem_free(c->sets);
    *c = (struct corners){ 0 };
}

int corners_plain(struct corners *plain, const struct corners *c)
{
    *plain = (struct corners){ 0 };
    TRY(MEM_NEW(&plain->sets, c->n_sets, "sets"), "corners");
    for (int i = 0; i < c->n_sets; i++)
        if (c->sets[i].policy.dense_until == 0) plain->sets[plain->n_sets++] = c->sets[i];
    const bool none = plain->n_sets == 0;
    for (int i = 0; i < c->n_sets && none; i++) plain->sets[plain->n_sets++] = c->sets[i];
    return 0;
}

int corner_lane(const struct corner_set *set, enum corner_role role, int interval, const struct study *s)
{
    for (int i = 0; i < set->n_corners; i++) {
        const struct lane_spec *l = &s->lanes[set->corners[i].lane];
        const int at = role == CORNER_EQUAL ? l->equal_bytes : l->interval;
        if (set->corners[i].role == role && (interval == 0 || interval == at)) return set->corners[i].lane;
    }
    return STUDY_ABSENT;
}
