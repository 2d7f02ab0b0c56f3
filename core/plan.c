#include "core/plan.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/plan_store.h"
#include "core/replay.h"

#include <string.h>

/* What all points of the config say together. */
struct extent {
    int most_tokens;   /* the largest of prompt.tokens; CONFIG_ALL where one of them is all */
    int window_tokens; /* of one excerpt */
    bool any_all, several_seeds;
};

/* Keys whose values make an error together. */
static const char *const length_keys[] = { "prompt.start", "prompt.tokens", "decode.tokens", NULL };
static const char *const window_keys[] = { "prompt.windows", "prompt.tokens", "decode.tokens", NULL };
static const char *const context_keys[] = { "decode.tokens", "prompt.tokens", "prompt.start", NULL };
static const char *const stop_keys[] = { "decode.stop", "decode", NULL };
static const char *const every_keys[] = { "trace.every", NULL };

/* ---- lengths ---- */

/* Tokens of the source that are needed from start on. */
static int tokens_followed(const struct config_point *t)
{
    return t->follow == FOLLOW_TEXT ? t->decode_tokens + 1 : 0;
}

static struct extent find_extent(const struct config *c)
{
    struct extent e = { 0 };
    int most_followed = 0;
    for (int i = 0; i < c->n_points; i++) {
        const struct config_point *t = &c->points[i];
        if (t->prompt_tokens == CONFIG_ALL) e.any_all = true;
        if (t->prompt_tokens > e.most_tokens) e.most_tokens = t->prompt_tokens;
        if (tokens_followed(t) > most_followed) most_followed = tokens_followed(t);
        if (t->seed != c->points[0].seed) e.several_seeds = true;
    }
    e.window_tokens = e.most_tokens + most_followed;
    return e;
}

/* The length that random streams need. */
static int random_length(struct config *c, const struct extent *e)
{
    int most = 0;
    for (int i = 0; i < c->n_points; i++) {
        const struct config_point *t = &c->points[i];
        const int start = t->start != CONFIG_DEFAULT_START ? t->start : e->most_tokens;
        if (start + tokens_followed(t) > most) most = start + tokens_followed(t);
    }
    const int64_t windows = (int64_t)c->prompt.windows * e->window_tokens;
    return windows > most ? (int)(windows < PROMPT_MAX_TOKENS ? windows : PROMPT_MAX_TOKENS) : most;
}

static int check_prompt(struct config *c, const struct extent *e)
{
    if (c->prompt.windows > 0 && e->any_all)
        return diag_add(&c->diag, config_at(c, window_keys, c->prompt.at), "prompt: windows needs tokens: how many each excerpt prefills");
    for (int i = 0; i < c->n_points && c->prompt.kind == PROMPT_RANDOM && e->any_all; i++)
        if (c->points[i].start == CONFIG_DEFAULT_START)
            return diag_add(&c->diag, c->prompt.source_at, "prompt: random has no end of its own: give tokens");
    return 0;
}

/* ---- runs ---- */

static int find_start(const struct config *c, const struct extent *e, const struct config_point *t, int n_stream,
                      int window)
{
    if (c->prompt.windows > 0) {
        const int64_t room = n_stream - e->window_tokens;
        const int64_t at = c->prompt.windows > 1 ? room * window / (c->prompt.windows - 1) : 0;
        return (int)at + e->most_tokens;
    }
    if (t->start != CONFIG_DEFAULT_START) return t->start;
    return e->any_all ? n_stream - tokens_followed(t) : e->most_tokens;
}

/* Whether the source holds what the run needs; an error in the config's diagnostics if not. */
static int check_lengths(struct config *c, const struct run_plan *run, const struct config_point *t,
                         const struct model *m)
{
    const int need = run->start + tokens_followed(t);
    struct diag *d = &c->diag;
    const struct diag_mark at = config_at(c, c->prompt.windows > 0 ? window_keys : length_keys, c->prompt.at);
    if (need > run->n_stream)
        return diag_add(d, at, "prompt: source '%s' has %d tokens, %d are needed: %d before the start%s",
                        run->source, run->n_stream, need, run->start,
                        t->follow == FOLLOW_TEXT ? ", decode.tokens and one more" : "");
    if (run->start < 1)
        return diag_add(d, at, "prompt: source '%s' has %d tokens, at least %d are needed", run->source, run->n_stream, need - run->start + 1);
    if (run->prefill_tokens > run->start)
        return diag_add(d, at, "prompt: source '%s' (%d tokens): %d tokens cannot be prefilled before start %d", run->source,
                        run->n_stream, run->prefill_tokens, run->start);
    if (run->prefill_tokens + run->n_steps > m->shape.context)
        return diag_add(d, config_at(c, context_keys, c->prompt.at),
                        "decode: %d prefilled and %d decoded tokens are more than the model's context of %d",
                        run->prefill_tokens, run->n_steps, m->shape.context);
    return 0;
}

static struct run_plan make_run(const struct plan *p, const struct model *m, const struct prompt_source *source,
                                const struct config_point *t, int start)
{
    struct run_plan run = {
        .stream = source->ids,
        .n_stream = source->n,
        .start = start,
        .prefill_tokens = t->prompt_tokens == CONFIG_ALL ? start : t->prompt_tokens,
        .n_steps = t->decode_tokens,
        .batch = t->batch,
        .seed = t->seed,
        .follow = (enum follow)t->follow,
        .temperature = t->temperature,
        .top_p = t->top_p,
        .stop_eos = t->stop_eos != 0,
        .eos_id = m->tokenizer.n_tokens > 0 ? m->tokenizer.eos_id : -1,
        .metrics = p->config.metrics,
        .every = p->config.every,
        .n_lanes = p->store->lanes.n,
    };
    memcpy(run.source, source->name, sizeof run.source);
    memcpy(run.origin, source->origin, sizeof run.origin);
    return run;
}

/* The set of lanes for these lengths, made and checked if it is new. */
static int find_set(struct plan *p, const struct plan_lengths *n, int *set)
{
    struct plan_store *s = p->store;
    for (*set = 0; *set < s->n_sets; ++*set) {
        const struct plan_lengths *have = &s->sets[*set].lengths;
        if (have->prefill_tokens == n->prefill_tokens && have->n_steps == n->n_steps && have->batch == n->batch) return 0;
    }
    if (s->n_sets % 16 == 0 &&
        mem_grow((void **)&s->sets, (size_t)s->n_sets, (size_t)s->n_sets + 16, sizeof *s->sets, "plan") != 0)
        return -1;
    struct plan_set *new_set = &s->sets[s->n_sets++];
    *new_set = (struct plan_set){ .lengths = *n };
    if (MEM_NEW(&new_set->lanes, s->lanes.n, "lanes") != 0) return -1;
    memcpy(new_set->lanes, s->lanes.lanes, (size_t)s->lanes.n * sizeof *new_set->lanes);
    plan_lanes_twins(new_set->lanes, s->lanes.n, n);
    return plan_lanes_check(&s->lanes, &p->config, n, &s->warnings);
}

static int add_run(struct plan *p, const struct model *m, const struct prompt_source *source,
                   const struct config_point *t, const struct extent *e, int window)
{
    struct config *c = &p->config;
    struct run_plan run = make_run(p, m, source, t, find_start(c, e, t, source->n, window));
    if (check_lengths(c, &run, t, m) != 0) return 0; /* reported; the other runs are looked at too */
    if (run.stop_eos && run.eos_id < 0) {
        diag_add(&c->diag, config_at(c, stop_keys, c->decode_at), "decode.stop: eos: the model has no end-of-text token");
        return 0;
    }
    const struct plan_lengths lengths = { run.prefill_tokens, run.n_steps, m->shape.n_layers, run.batch };
    if (find_set(p, &lengths, &p->store->set_of_run[p->n_runs]) != 0) return -1;
    p->store->sets[p->store->set_of_run[p->n_runs]].n_runs++;
    p->runs[p->n_runs++] = run;
    return 0;
}

static int check_windows(struct config *c, const struct prompt_source *source, const struct extent *e)
{
    if ((int64_t)c->prompt.windows * e->window_tokens <= source->n) return 0;
    return diag_add(&c->diag, config_at(c, window_keys, c->prompt.at),
                    "prompt: source '%s' has %d tokens; %d disjoint windows of %d need %lld",
                    source->name, source->n, c->prompt.windows, e->window_tokens,
                    (long long)c->prompt.windows * e->window_tokens);
}

static int add_runs(struct plan *p, const struct model *m, const struct extent *e)
{
    struct config *c = &p->config;
    const struct prompt_set *prompts = &p->store->prompts;
    const int n_windows = c->prompt.windows > 0 ? c->prompt.windows : 1;
    const double n = (double)prompts->n * c->n_points * n_windows;
    if (n > MAX_RUNS)
        return diag_add(&c->diag, c->prompt.at, "the plan has %.0f runs, at most %d are possible", n, MAX_RUNS);
    for (int k = 0; k < c->n_points; k++)
        if (c->every > c->points[k].decode_tokens)
            return diag_add(&c->diag, config_at(c, every_keys, c->decode_at), "trace.every: %d: of a run of %d steps nothing would be recorded by layer",
                            c->every, c->points[k].decode_tokens);
    if (MEM_NEW(&p->runs, n, "runs") != 0 || MEM_NEW(&p->store->set_of_run, n, "runs") != 0) return -1;
    for (int i = 0; i < prompts->n; i++) {
        if (check_windows(c, &prompts->sources[i], e) != 0) continue;
        for (int k = 0; k < c->n_points; k++)
            for (int w = 0; w < n_windows; w++)
                if (add_run(p, m, &prompts->sources[i], &c->points[k], e, w) != 0) return -1;
    }
    return 0;
}

/* The same tokens under two names are one text: as two they would make every interval narrower than it is. */
static bool is_same_run(const struct run_plan *a, const struct run_plan *b)
{
    return strcmp(a->hash8, b->hash8) == 0 && strcmp(a->prompt_digest, b->prompt_digest) == 0;
}

static int refuse_same_run(struct plan *p, const struct run_plan *a, const struct run_plan *b)
{
    struct config *c = &p->config;
    if (strcmp(a->source, b->source) == 0)
        return diag_add(&c->diag, config_at(c, length_keys, c->prompt.at), "two runs of source '%s' are the same: %d tokens before %d",
                        b->source, b->prefill_tokens, b->start);
    if (c->allow_equal)
        return notes_add(&p->store->warnings, "sources '%s' and '%s' are the same tokens: statistics count them as two texts", a->source,
                         b->source);
    return diag_add(&c->diag, c->prompt.source_at,
                    "prompt: sources '%s' and '%s' are the same %d tokens: as two texts they would count twice (allow_equal: true lets it through)",
                    a->source, b->source, b->prefill_tokens + (b->follow == FOLLOW_TEXT ? b->n_steps + 1 : 0));
}

/* Lanes' addresses are final only when all sets are there. */
static int name_runs(struct plan *p, const struct model *m, bool several_seeds)
{
    for (int i = 0; i < p->n_runs; i++) {
        struct run_plan *run = &p->runs[i];
        run->lanes = p->store->sets[p->store->set_of_run[i]].lanes;
        if (replay_is_needed(run) && replay_find(p->config.replay, run, &m->shape, &run->replay, run->replay_id) != 0)
            return diag_add(&p->config.diag, p->config.replay_at, "%s", fail_text());
        if (plan_name_run(p, m, run, several_seeds) != 0) return -1;
        int k = 0;
        while (k < i && !is_same_run(&p->runs[k], run)) k++;
        if (k < i && refuse_same_run(p, &p->runs[k], run) != 0) return -1;
    }
    return 0;
}

int plan_price(struct plan *p, const struct model *model, const struct cost_inputs *inputs)
{
    struct plan_store *s = p->store;
    s->inputs = *inputs;
    for (int i = 0; i < s->n_sets; i++) {
        const struct plan_lengths *n = &s->sets[i].lengths;
        const struct run_plan r = { .id = "plan", .lanes = s->sets[i].lanes, .n_lanes = s->lanes.n, .prefill_tokens = n->prefill_tokens,
                                    .n_steps = n->n_steps, .batch = n->batch, .metrics = p->config.metrics, .every = p->config.every };
        if (run_cost(&s->sets[i].cost, model, inputs, &r) != 0) return -1;
    }
    for (int i = 0; i < p->n_runs; i++) {
        const struct run_cost *cost = &s->sets[s->set_of_run[i]].cost;
        p->runs[i].flop = cost->prefill_flop + cost->step_flop + cost->rectify_flop;
        p->runs[i].peak_bytes = cost->peak_bytes;
        p->runs[i].trace_bytes = cost->trace_bytes;
    }
    return 0;
}

int plan_open(struct plan *p, struct config *config, const struct model *model)
{
    p->config = *config;
    *config = (struct config){ 0 };
    struct config *c = &p->config;
    struct cost_inputs inputs;
    if (MEM_NEW(&p->store, 1, "plan") != 0) return -1;
    const struct extent e = find_extent(c);
    if (check_prompt(c, &e) != 0 || plan_lanes_open(&p->store->lanes, c) != 0) return -1;
    if (prompt_open(&p->store->prompts, c, model, random_length(c, &e)) != 0) return -1;
    if (add_runs(p, model, &e) != 0 || c->diag.n_errors > 0 || name_runs(p, model, e.several_seeds) != 0) return -1;
    p->warnings = p->store->warnings.text;
    p->n_warnings = p->store->warnings.n;
    cost_inputs_default(&inputs, model);
    return plan_price(p, model, &inputs);
}

void plan_close(struct plan *p)
{
    struct plan_store *s = p->store;
    if (s) {
        for (int i = 0; i < s->n_sets; i++) mem_free(s->sets[i].lanes);
        mem_free(s->sets);
        mem_free(s->set_of_run);
        prompt_close(&s->prompts);
        plan_lanes_close(&s->lanes);
        notes_close(&s->warnings);
        mem_free(s);
    }
    for (int i = 0; i < p->n_runs; i++) mem_free(p->runs[i].replay);
    mem_free(p->runs);
    config_close(&p->config);
    *p = (struct plan){ 0 };
}
