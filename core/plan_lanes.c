#include "core/plan_lanes.h"

#include "core/config_schema.h"
#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <string.h>

enum { NAME_PARTS_MAX = 256 };

/* ---- names ---- */

static void append_int(char *text, size_t n, const char *letter, int value, int usual)
{
    const size_t at = strlen(text);
    if (value != usual) snprintf(text + at, n - at, "-%s%d", letter, value);
}

/* The shortest decimal, without the ".0" of a float. */
static void short_real(double x, char *text, size_t n)
{
    schema_format_real(x, text, n);
    const size_t length = strlen(text);
    if (length > 2 && strcmp(text + length - 2, ".0") == 0) text[length - 2] = 0;
}

/* family/s0.9-b16-f32, then every other key that is not at its default. */
static void own_name(const struct config *c, const struct config_lane *l, char *text, size_t n)
{
    char sparsity[32], noise[32], interval[16] = "never";
    short_real(l->sparsity, sparsity, sizeof sparsity);
    short_real(l->perturb, noise, sizeof noise);
    if (l->interval > 0) snprintf(interval, sizeof interval, "%d", l->interval);
    snprintf(text, n, "%s/s%s-b%d-f%s", c->family_names[l->family], sparsity, l->block_size, interval);
    append_int(text, n, "l", l->local_blocks, 1);
    append_int(text, n, "m", l->min_blocks, 16);
    append_int(text, n, "d", l->dense_layers, 0);
    append_int(text, n, "p", l->phase, 0);
    append_int(text, n, "u", l->dense_until, 0);
    append_int(text, n, "e", l->equal_bytes, 0);
    const size_t at = strlen(text);
    const char *selector = selector_names[l->selector + SELECT_MINMAX];
    const bool named = l->selector != 0 && l->selector + SELECT_MINMAX != SELECT_REPLAY; /* a replay has the name of what it replays */
    snprintf(text + at, n - at, "%s%s%s%s", l->perturb > 0 ? "-n" : "", l->perturb > 0 ? noise : "",
             named ? "-" : "", named ? selector : "");
}

static int name_lane(struct config *c, struct lane_spec *lane, const struct config_lane *l, const char *owner)
{
    char text[NAME_PARTS_MAX + LANE_NAME_MAX];
    own_name(c, l, text, sizeof text);
    const size_t at = strlen(text);
    snprintf(text + at, sizeof text - at, "%s%s", owner ? "@" : "", owner ? owner : "");
    if (strlen(text) >= sizeof lane->name)
        return diag_add(&c->diag, config_lane_at(l, "name"),
                        "the lane's name %s is longer than %d bytes: use shorter names of "
                        "families",
                        text, LANE_NAME_MAX - 1);
    memcpy(lane->name, text, strlen(text) + 1);
    return 0;
}

/* ---- lanes ---- */

static struct lane_spec make_lane(const struct config *c, const struct config_lane *l, int cache_of)
{
    struct lane_spec lane = {
        .selector = (enum selector_id)(l->selector + SELECT_MINMAX),
        .sparsity = l->sparsity,
        .active_millionths = lane_active_millionths(l->sparsity, l->equal_bytes),
        .block_size = l->block_size,
        .local_blocks = l->local_blocks,
        .min_blocks = l->min_blocks,
        .dense_layers = l->dense_layers,
        .interval = l->interval,
        .phase = l->phase,
        .dense_until = l->dense_until,
        .equal_bytes = l->equal_bytes,
        .perturb = l->perturb,
        .cache_of = cache_of,
        .clean = LANE_NONE,
    };
    snprintf(lane.family, sizeof lane.family, "%s", c->family_names[l->family]);
    return lane;
}

static bool is_own(const struct config_lane *l)
{
    return strcmp(l->cache_of, "own") == 0;
}

/* Whether config lane i is one whose cache the text cache_of names: of that family, or of that full name. */
static bool is_owner(const struct config *c, int i, const char *cache_of)
{
    char name[NAME_PARTS_MAX];
    if (!is_own(&c->lanes[i])) return false;
    if (strcmp(c->family_names[c->lanes[i].family], cache_of) == 0) return true;
    own_name(c, &c->lanes[i], name, sizeof name);
    return strcmp(name, cache_of) == 0;
}

static int count_owners(const struct config *c, const char *cache_of)
{
    int n = 0;
    for (int i = 0; i < c->n_lanes; i++) n += is_owner(c, i, cache_of);
    return n;
}

/* Lanes that config lane i stands for. */
static int count_lanes(const struct config *c, int i)
{
    const char *cache_of = c->lanes[i].cache_of;
    return is_own(&c->lanes[i]) || strcmp(cache_of, "dense") == 0 ? 1 : count_owners(c, cache_of);
}

static int refuse_owner(struct config *c, const struct config_lane *l)
{
    const char *candidates[MAX_LANES + 2] = { "dense", "own" };
    int n = 2;
    for (int i = 0; i < c->n_families && n < MAX_LANES; i++) {
        if (strcmp(c->family_names[i], l->cache_of) == 0)
            return diag_add(&c->diag, config_lane_at(l, "cache_of"),
                            "lanes.%s.cache_of: the lanes of '%s' are probes and have no "
                            "cache of their own",
                            c->family_names[l->family], l->cache_of);
        candidates[n++] = c->family_names[i];
    }
    const char *near = diag_nearest(l->cache_of, candidates, n);
    return diag_add(&c->diag, config_lane_at(l, "cache_of"),
                    "lanes.%s.cache_of: '%s' is neither dense nor a family nor the full "
                    "name of a lane%s%s%s",
                    c->family_names[l->family], l->cache_of, near ? "; did you mean '" : "", near ? near : "",
                    near ? "'?" : "");
}

/* first [n_lanes]: the index of the first lane that each config lane stands for. */
static int place_lanes(struct config *c, int *first, int *n_all)
{
    int n = 1, refused = -1;
    for (int i = 0; i < c->n_lanes; i++) {
        const int count = count_lanes(c, i);
        first[i] = n;
        if (count == 0 && c->lanes[i].family != refused) refuse_owner(c, &c->lanes[i]), refused = c->lanes[i].family;
        n += count;
        if (n > MAX_LANES)
            return diag_add(&c->diag, config_lane_at(&c->lanes[i], "name"), "more than %d lanes", MAX_LANES);
    }
    *n_all = n;
    return c->diag.n_errors > 0 ? -1 : 0;
}

static int add_lane(struct plan_lanes *p, struct config *c, const struct config_lane *l, int cache_of,
                    const char *owner)
{
    struct lane_spec *lane = &p->lanes[p->n];
    *lane = make_lane(c, l, cache_of);
    p->from[p->n++] = l;
    return name_lane(c, lane, l, owner);
}

static int add_lanes(struct plan_lanes *p, struct config *c, const int *first, int i)
{
    const struct config_lane *l = &c->lanes[i];
    if (is_own(l)) return add_lane(p, c, l, LANE_OWN, NULL);
    if (strcmp(l->cache_of, "dense") == 0) return add_lane(p, c, l, 0, "dense");
    for (int k = 0; k < c->n_lanes; k++) {
        char owner[NAME_PARTS_MAX];
        if (!is_owner(c, k, l->cache_of)) continue;
        own_name(c, &c->lanes[k], owner, sizeof owner);
        if (add_lane(p, c, l, first[k], owner) != 0) return -1;
    }
    return 0;
}

int plan_lanes_open(struct plan_lanes *p, struct config *c)
{
    int *first = NULL, n = 0;
    if (MEM_NEW(&first, c->n_lanes, "lanes") != 0) return -1;
    int rc = place_lanes(c, first, &n);
    if (rc == 0) rc = MEM_NEW(&p->lanes, n, "lanes");
    if (rc == 0) rc = mem_alloc((void **)&p->from, (size_t)n, sizeof *p->from, "lanes");
    if (rc == 0) {
        p->lanes[0] = (struct lane_spec){ .name = "dense",
                                          .family = "dense",
                                          .selector = SELECT_DENSE,
                                          .active_millionths = 1000000,
                                          .block_size = 16,
                                          .local_blocks = 1,
                                          .min_blocks = 16,
                                          .cache_of = LANE_OWN,
                                          .clean = 0 };
        p->n = 1;
    }
    for (int i = 0; rc == 0 && i < c->n_lanes; i++) rc = add_lanes(p, c, first, i);
    mem_free(first);
    return rc;
}

void plan_lanes_close(struct plan_lanes *p)
{
    mem_free(p->lanes);
    mem_free((void *)p->from);
    *p = (struct plan_lanes){ 0 };
}
