/* What no single row of a table can check: keys of a lane together, and of lanes and runs. */
#include "core/config_read.h"
#include "core/plan.h"

#include <string.h>

static bool is_probe(const struct config_lane *l)
{
    return strcmp(l->cache_of, "own") != 0;
}

/* other: the key that this one does not go with; shown is the one that the command line gives. */
static int refuse(struct config *c, const struct config_lane *l, const char *key, const char *other, const char *why)
{
    const struct diag_mark at = yaml_at(l->node, (const char *const[]){ key, other, NULL }, l->node->at);
    return diag_add(&c->diag, at, "lanes.%s.%s: %s", c->family_names[l->family], key, why);
}

/* The first thing that is wrong with a lane; 0 if nothing is. */
static int check_lane(struct config *c, const struct config_lane *l)
{
    if (is_probe(l)) {
        if (l->interval > 0) return refuse(c, l, "interval", "cache_of", "a probe (cache_of) has no cache of its own to rectify");
        if (l->phase > 0) return refuse(c, l, "phase", "cache_of", "a probe (cache_of) is never rectified");
        if (l->dense_until > 0)
            return refuse(c, l, "dense_until", "cache_of", "a probe (cache_of) has no cache of its own to copy to");
        if (l->perturb > 0) return refuse(c, l, "perturb", "cache_of", "a probe (cache_of) keeps no K and V to put noise on");
    }
    if (l->equal_bytes > 0 && l->interval > 0)
        return refuse(c, l, "equal_bytes", "interval", "stands for an interval and cannot be given with one");
    if (l->phase > 0 && l->phase >= l->interval)
        return refuse(c, l, "phase", "interval",
                      l->interval > 0 ? "must be less than interval" : "means nothing without an interval");
    return 0;
}

static bool any_replays(const struct config *c)
{
    for (int i = 0; i < c->n_lanes; i++)
        if (c->lanes[i].selector + SELECT_MINMAX == SELECT_REPLAY) return true;
    return false;
}

/* One is nothing without the other. */
static void check_replay(struct config *c)
{
    if (any_replays(c) && !c->replay) diag_add(&c->diag, c->replay_at, "replay: a lane has selector: replay; name the trace that it replays");
    if (c->replay && !any_replays(c)) diag_add(&c->diag, c->replay_at, "replay: no lane has selector: replay");
}

void config_check_lanes(struct config *c)
{
    check_replay(c);
    int refused = -1; /* one error a family: its other lanes would say the same */
    for (int i = 0; i < c->n_lanes; i++)
        if (c->lanes[i].family != refused && check_lane(c, &c->lanes[i]) != 0) refused = c->lanes[i].family;
}

static bool seeds_matter(const struct config *c, const struct config_point *p)
{
    if (p->follow != FOLLOW_TEXT && p->temperature > 0) return true;
    for (int i = 0; i < c->n_lanes; i++)
        if (c->lanes[i].selector + SELECT_MINMAX == SELECT_RANDOM || c->lanes[i].perturb > 0) return true;
    return false;
}

/* ---- latency ---- */

/* A lane whose time would not be that of its policy. */
static int check_timed_lane(struct config *c, const struct config_lane *l)
{
    if (is_probe(l)) return refuse(c, l, "cache_of", NULL, "experiment: latency times a policy over its own cache, not a probe");
    if (l->selector + SELECT_MINMAX == SELECT_ORACLE)
        return refuse(c, l, "selector", NULL, "oracle reads everything to choose: its time says nothing (experiment: latency)");
    if (l->selector + SELECT_MINMAX == SELECT_REPLAY)
        return refuse(c, l, "selector", NULL, "replay chooses nothing: its time says nothing (experiment: latency)");
    if (l->perturb > 0) return refuse(c, l, "perturb", NULL, "means nothing with experiment: latency");
    if (l->dense_until > 0) return refuse(c, l, "dense_until", NULL, "means nothing with experiment: latency");
    if (l->phase > 0) return refuse(c, l, "phase", NULL, "means nothing with experiment: latency");
    return 0;
}

static const char *const batch_keys[] = { "batch", "experiment", NULL };
static const char *const metrics_keys[] = { "trace.metrics", "trace", NULL };
static const char *const follow_keys[] = { "decode.follow", "decode.stop", "decode", NULL };
static const char *const interval_keys[] = { "prompt.tokens", NULL };

static void check_timed_point(struct config *c, const struct config_point *p)
{
    if (p->batch == 0) diag_add(&c->diag, config_at(c, batch_keys, c->experiment_at), "batch: experiment: latency needs it: [1, 8]");
    if (p->follow != FOLLOW_TEXT || p->stop_eos)
        diag_add(&c->diag, config_at(c, follow_keys, c->decode_at), "decode: experiment: latency chooses no token: follow: text, stop: never");
    if (p->prompt_tokens == CONFIG_ALL)
        diag_add(&c->diag, config_at(c, interval_keys, c->prompt.at), "prompt: experiment: latency needs tokens: the contexts that are timed");
    for (int i = 0; i < c->n_lanes; i++)
        if (c->lanes[i].interval > p->prompt_tokens) {
            refuse(c, &c->lanes[i], "interval", NULL, "is more than prompt.tokens: there is no such window to rectify");
            return;
        }
}

void config_check_experiment(struct config *c, bool metrics_given)
{
    const bool timed = c->experiment == EXPERIMENT_LATENCY;
    if (timed && !metrics_given) c->metrics = METRIC_TIME;
    if (timed ? c->metrics != METRIC_TIME : (c->metrics & METRIC_TIME) != 0)
        diag_add(&c->diag, config_at(c, metrics_keys, c->experiment_at),
                 timed ? "trace.metrics: experiment: latency records [time] alone" : "trace.metrics: time is for experiment: latency");
    for (int i = 0; i < c->n_points; i++) {
        const int n_before = c->diag.n_errors;
        if (timed) check_timed_point(c, &c->points[i]);
        if (!timed && c->points[i].batch > 0)
            diag_add(&c->diag, config_at(c, batch_keys, c->experiment_at), "batch: is for experiment: latency");
        if (c->diag.n_errors > n_before) break;
    }
    for (int i = 0; timed && i < c->n_lanes; i++)
        if (check_timed_lane(c, &c->lanes[i]) != 0) return;
}

/* ---- seeds ---- */

static bool same_but_seed(const struct config_point *a, const struct config_point *b)
{
    return a->seed != b->seed && a->prompt_tokens == b->prompt_tokens && a->start == b->start &&
           a->decode_tokens == b->decode_tokens && a->batch == b->batch && a->follow == b->follow && a->temperature == b->temperature &&
           a->top_p == b->top_p;
}

static void check_seeds(struct config *c, struct diag_mark at)
{
    for (int i = 0; i < c->n_points; i++)
        for (int k = 0; k < i && !seeds_matter(c, &c->points[i]); k++) {
            if (!same_but_seed(&c->points[i], &c->points[k])) continue;
            diag_add(&c->diag, at,
                     "seeds: with follow: %s%s nothing is random, so more than one seed repeats the same run "
                     "(unless a lane has selector: random or perturb)",
                     follow_names[c->points[i].follow],
                     c->points[i].follow == FOLLOW_TEXT ? "" : " and temperature: 0");
            return;
        }
}

static const char *const stop_keys[] = { "decode.stop", "decode.follow", "decode", NULL };

void config_check_runs(struct config *c, const struct schema_setting *seeds)
{
    for (int i = 0; i < c->n_points; i++) {
        if (c->points[i].follow == FOLLOW_TEXT && c->points[i].stop_eos) {
            diag_add(&c->diag, config_at(c, stop_keys, c->decode_at),
                     "decode.stop: eos has no meaning with follow: text, which ends with the text");
            break;
        }
    }
    for (int i = 0; i < c->n_lanes; i++) {
        if (c->lanes[i].dense_until == 0) continue;
        for (int k = 0; k < c->n_points; k++)
            if (c->points[k].follow == FOLLOW_SELF) {
                refuse(c, &c->lanes[i], "dense_until", NULL, "needs follow: text or reference, not self");
                return;
            }
    }
    check_seeds(c, seeds->node ? seeds->node->at : (struct diag_mark){ 0 });
}
