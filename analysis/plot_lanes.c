#include "analysis/plot_lanes.h"

#include "analysis/figure.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

static bool is_own(const struct corner *c)
{
    return c->role == CORNER_RECTIFIED || c->role == CORNER_NEVER || c->role == CORNER_EQUAL;
}

static bool label_is_there(const struct plot_lanes *p, const char *label)
{
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->corners[i]->label, label) == 0) return true;
    return false;
}

static int lane_compare(const void *a, const void *b, void *study)
{
    return corner_compare(*(const struct corner *const *)a, *(const struct corner *const *)b, study);
}

/* The two kinds take the styles from two ends, so that few lanes keep theirs from figure to figure. */
static void styles_make(struct plot_lanes *p)
{
    static const int rectified[] = { 2, 3, 4, 6, 7, 8 }, equal[] = { 5, 8, 7, 6, 4, 3 };
    enum { N = sizeof equal / sizeof equal[0] };
    int n_rectified = 0, n_equal = 0;
    for (int i = 0; i < p->n; i++) {
        const enum corner_role role = p->corners[i]->role;
        p->styles[i] = role == CORNER_NEVER   ? 1
                       : role == CORNER_EQUAL ? equal[n_equal++ % N]
                                              : rectified[n_rectified++ % N];
    }
}

int plot_lanes_open(struct plot_lanes *p, const struct study *s, const struct corners *c)
{
    int n = 0;
    *p = (struct plot_lanes){ 0 };
    for (int i = 0; i < c->n_sets; i++) n += c->sets[i].n_corners;
    TRY(MEM_NEW(&p->corners, n, "lanes"), "%s", s->key);
    TRY(MEM_NEW(&p->styles, n, "lanes"), "%s", s->key);
    for (int i = 0; i < c->n_sets; i++)
        for (int k = 0; k < c->sets[i].n_corners; k++) {
            const struct corner *corner = &c->sets[i].corners[k];
            if (is_own(corner) && !label_is_there(p, corner->label)) p->corners[p->n++] = corner;
        }
    qsort_r(p->corners, (size_t)p->n, sizeof(struct corner *), lane_compare, (void *)(uintptr_t)s);
    styles_make(p);
    return 0;
}

void plot_lanes_close(struct plot_lanes *p)
{
    mem_free(p->corners);
    mem_free(p->styles);
    *p = (struct plot_lanes){ 0 };
}

const struct corner *plot_lanes_in(const struct corner_set *set, const char *label)
{
    for (int i = 0; i < set->n_corners; i++)
        if (strcmp(set->corners[i].label, label) == 0) return &set->corners[i];
    return NULL;
}

bool plot_part(int n, int max, int part, int *first, int *count)
{
    const int n_parts = (n + max - 1) / max;
    if (part >= n_parts) return false;
    *first = (int)((long long)part * n / n_parts);
    *count = (int)((long long)(part + 1) * n / n_parts) - *first;
    return true;
}

/* Of two lanes of one style in a part the second takes a style that none has. */
static void styles_part(struct plot_view *v)
{
    unsigned used = 0;
    for (int i = 0; i < v->n; i++) {
        for (int style = 2; used & 1U << v->styles[i] && style <= FIGURE_STYLES; style++)
            if (!(used & 1U << style)) v->styles[i] = style;
        used |= 1U << v->styles[i];
    }
}

bool plot_view_open(struct plot_view *v, const struct plot_lanes *p, int n_sets, int part, int max_sets, int max_lanes,
                    bool with_never)
{
    int n_counted = 0, first = 0, n = 0, place = 0;
    *v = (struct plot_view){ 0 };
    for (int i = 0; i < p->n; i++) n_counted += !with_never || p->corners[i]->role != CORNER_NEVER;
    if (n_counted == 0) n_counted = 1; /* never alone */
    const int n_lane_parts = (n_counted + max_lanes - 1) / max_lanes;
    if (!plot_part(n_sets, max_sets, part / n_lane_parts, &v->first_set, &v->n_sets)) return false;
    plot_part(n_counted, max_lanes, part % n_lane_parts, &first, &n);
    for (int i = 0; i < p->n && v->n < PLOT_MAX_SHOWN; i++) {
        const bool always = with_never && p->corners[i]->role == CORNER_NEVER,
                   here = place >= first && place < first + n;
        place += !always;
        if (!always && !here) continue;
        v->shown[v->n] = p->corners[i];
        v->styles[v->n++] = p->styles[i];
    }
    styles_part(v);
    return true;
}
