#include "analysis/growth_group.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdio.h>
#include <string.h>

static bool policy_same(const struct lane_spec *a, const struct lane_spec *b)
{
    return a->selector == b->selector && a->active_millionths == b->active_millionths &&
           a->block_size == b->block_size && a->local_blocks == b->local_blocks && a->min_blocks == b->min_blocks &&
           a->dense_layers == b->dense_layers;
}

static struct growth_group *group_find(struct growth_groups *g, const struct lane_spec *policy, int clean)
{
    for (int i = 0; i < g->n; i++)
        if (g->groups[i].clean == clean && policy_same(&g->groups[i].policy, policy)) return &g->groups[i];
    return NULL;
}

/* The title of a set without what parts it from others of the group. */
static int group_add(struct growth_groups *g, const struct corner_set *set, const struct lane_spec *policy, int clean)
{
    TRY(mem_grow((void **)&g->groups, (size_t)g->n, (size_t)g->n + 1, sizeof *g->groups, "groups of lanes"),
        "growth law");
    struct growth_group *group = &g->groups[g->n++];
    *group = (struct growth_group){ .policy = *policy, .clean = clean };
    snprintf(group->title, sizeof group->title, "%s", set->title);
    snprintf(group->key, sizeof group->key, "%s", set->key);
    char *until = strstr(group->title, ", dense until");
    if (until) *until = '\0';
    until = strrchr(group->key, '-');
    if (until) *until = '\0';
    return 0;
}

/* A lane that is never rectified goes before those that are. */
static int lane_add(struct growth_group *group, int lane, bool pure)
{
    const size_t n = (size_t)group->n_lanes, at = pure ? (size_t)group->n_pure : n;
    TRY(mem_grow((void **)&group->lanes, n, n + 1, sizeof *group->lanes, "lanes"), "growth law");
    memmove(group->lanes + at + 1, group->lanes + at, (n - at) * sizeof *group->lanes);
    group->lanes[at] = lane;
    group->n_lanes++;
    group->n_pure += pure;
    return 0;
}

static int set_add(struct growth_groups *g, const struct study *s, const struct corner_set *set)
{
    for (int i = 0; i < set->n_corners; i++) {
        const struct corner *c = &set->corners[i];
        const struct lane_spec *l = &s->lanes[c->lane];
        if ((c->role != CORNER_NEVER && c->role != CORNER_RECTIFIED) || l->clean <= 0) continue;
        struct growth_group *group = group_find(g, l, l->clean);
        if (!group && group_add(g, set, l, l->clean) != 0) return -1;
        if (!group) group = &g->groups[g->n - 1];
        if (lane_add(group, c->lane, c->role == CORNER_NEVER) != 0) return -1;
    }
    return 0;
}

static void group_close(struct growth_group *group)
{
    mem_free(group->lanes);
    *group = (struct growth_group){ 0 };
}

int growth_groups_open(struct growth_groups *g, const struct study *s, const struct corners *c, struct notes *notes)
{
    *g = (struct growth_groups){ 0 };
    for (int i = 0; i < c->n_sets; i++)
        if (set_add(g, s, &c->sets[i]) != 0) return -1;
    int n = 0;
    for (int i = 0; i < g->n; i++) {
        struct growth_group *group = &g->groups[i];
        if (group->n_pure > 0) {
            g->groups[n++] = *group;
            continue;
        }
        const int rc = notes_add(notes, "No growth law of %s: no lane that is never rectified was run.", group->title);
        group_close(group);
        if (rc != 0) {
            for (i++; i < g->n; i++) group_close(&g->groups[i]);
            g->n = n;
            return rc;
        }
    }
    g->n = n;
    return n > 0 || c->n_sets == 0 ? 0 : notes_add(notes, "No growth law: no sparse lane has a clean twin.");
}

void growth_groups_close(struct growth_groups *g)
{
    for (int i = 0; i < g->n; i++) group_close(&g->groups[i]);
    mem_free(g->groups);
    *g = (struct growth_groups){ 0 };
}
