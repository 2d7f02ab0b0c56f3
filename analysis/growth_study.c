#include "analysis/growth_study.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdio.h>

const char *const growth_source_names[N_GROWTH_SOURCES] = { "never rectified", "all lanes" };

/* All lanes where none is rectified are the same as the never rectified ones: computed once. */
static int result_make(struct growth_result *r, const struct study *s, const struct growth_group *group,
                       enum growth_source source, enum growth_quantity q)
{
    const int n_lanes = source == GROWTH_PURE ? group->n_pure : group->n_lanes;
    if (source == GROWTH_ALL && group->n_pure == group->n_lanes) return 0;
    TRY(growth_gather(&r->how, s, group, group->lanes, n_lanes, q), "%s", group->title);
    if (r->how.curves.n_texts == 0) return 0;
    TRY(growth_open(&r->growth, &r->how.curves), "%s", group->title);
    return 0;
}

const char *growth_law_words(char *text, size_t n_bytes, enum growth_source source, const struct growth_gathered *how,
                             bool without)
{
    const char *matched = !how->matched    ? "not matched: growth unidentified"
                          : how->slots_tied ? "matched by position, not by place in the block: growth unidentified"
                                            : "matched by position and place in the block";
    const char *one = how->n_lanes == 1 ? "" : "s";
    if (source == GROWTH_PURE)
        snprintf(text, n_bytes, "%d never rectified lane%s, %s", how->n_lanes, one, matched);
    else
        snprintf(text, n_bytes, "%s%d %slane%s, rectified ones among them, %s", without ? "" : "all ", how->n_lanes,
                 without ? "other " : "", one, matched);
    return text;
}

enum growth_source growth_source_best(const struct growth_set *set, enum growth_quantity q)
{
    const struct growth_result *pure = &set->results[GROWTH_PURE][q], *all = &set->results[GROWTH_ALL][q];
    return growth_is_there(all) && all->how.matched && !(growth_is_there(pure) && pure->how.matched) ? GROWTH_ALL
                                                                                                     : GROWTH_PURE;
}

static int set_tell(const struct growth_set *set, struct notes *missing)
{
    const struct growth_result *k = &set->results[growth_source_best(set, GROWTH_K)][GROWTH_K];
    if (!growth_is_there(k)) return notes_add(missing, "No growth law of %s: %s.", set->group->title, k->how.why);
    return 0;
}

/* Every law of every group, on all threads.  What a thread says of its failure is lost with it, so that it is kept here. */
static int results_make(struct growth_study *g)
{
    const int n_each = N_GROWTH_SOURCES * N_GROWTH_QUANTITIES, n = g->groups.n * n_each;
    char why[512] = "";
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < n; i++) {
        const struct growth_set *set = &g->sets[i / n_each];
        const int source = i % n_each / N_GROWTH_QUANTITIES, q = i % N_GROWTH_QUANTITIES;
        if (result_make(&set->results[source][q], g->study, set->group, (enum growth_source)source,
                        (enum growth_quantity)q) == 0)
            continue;
#pragma omp critical
        snprintf(why, sizeof why, "%s", fail_text());
    }
    return why[0] ? fail("%s", why) : 0;
}

int growth_study_open(struct growth_study *g, const struct study *s, const struct corners *c, struct notes *missing)
{
    *g = (struct growth_study){ .study = s };
    TRY(growth_groups_open(&g->groups, s, c, missing), "%s", s->key);
    TRY(MEM_NEW(&g->sets, g->groups.n, "growth laws"), "%s", s->key);
    for (int i = 0; i < g->groups.n; i++) {
        g->sets[i].group = &g->groups.groups[i];
        TRY(MEM_NEW(&g->sets[i].results, N_GROWTH_SOURCES, "growth laws"), "%s", s->key);
    }
    TRY(results_make(g), "%s", s->key);
    for (int i = 0; i < g->groups.n; i++)
        if (set_tell(&g->sets[i], missing) != 0) return -1;
    return 0;
}

void growth_study_close(struct growth_study *g)
{
    for (int i = 0; g->sets && i < g->groups.n; i++) {
        for (int k = 0; g->sets[i].results && k < N_GROWTH_SOURCES * N_GROWTH_QUANTITIES; k++) {
            struct growth_result *r = &g->sets[i].results[k / N_GROWTH_QUANTITIES][k % N_GROWTH_QUANTITIES];
            growth_gathered_close(&r->how);
            growth_close(&r->growth);
        }
        mem_free(g->sets[i].results);
    }
    mem_free(g->sets);
    growth_groups_close(&g->groups);
    *g = (struct growth_study){ 0 };
}
