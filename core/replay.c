#include "core/replay.h"

#include "core/err.h"
#include "core/mem.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool replay_is_needed(const struct run_plan *run)
{
    for (int i = 1; i < run->n_lanes; i++)
        if (run->lanes[i].selector == SELECT_REPLAY) return true;
    return false;
}

/* ---- which trace ---- */

/* 1: the same tokens are prefilled and fed; 0: not; -1: the trace cannot be read. */
static int has_prompt(const struct trace_file *f, const struct run_plan *run)
{
    if (f->prompt_tokens != run->prefill_tokens || f->n_prompt != run->prefill_tokens) return 0;
    int64_t *token = NULL;
    TRY(MEM_NEW(&token, f->n_prompt, "prompt"), "%s", f->path);
    int same = trace_read_int(f, "prompt_token", TRACE_ALL, TRACE_ALL, token, (size_t)f->n_prompt) == 0 ? 1 : -1;
    for (int i = 0; same == 1 && i < f->n_prompt; i++) same = token[i] == run->stream[run->start - run->prefill_tokens + i];
    mem_free(token);
    return same;
}

static int find_lane(const struct trace_file *f, const char *name)
{
    for (int i = 1; i < f->n_lanes; i++)
        if (strcmp(f->lanes[i].name, name) == 0) return i;
    return -1;
}

static int check_lane(const struct trace_file *f, const struct lane_spec *l)
{
    const int at = find_lane(f, l->name);
    if (at < 0) return fail("%s: no lane %s to replay", f->path, l->name);
    const struct lane_spec *from = &f->lanes[at];
    if (from->block_size == l->block_size && from->local_blocks == l->local_blocks && from->dense_layers == l->dense_layers) return 0;
    return fail("%s: lane %s has block_size %d, local_blocks %d, dense_layers %d there and %d, %d, %d here", f->path, l->name,
                from->block_size, from->local_blocks, from->dense_layers, l->block_size, l->local_blocks, l->dense_layers);
}

static int check_trace(const struct trace_file *f, const struct run_plan *run, const struct model_shape *shape)
{
    int64_t every = 0;
    if (f->n_layers != shape->n_layers || f->n_kv_heads != shape->n_kv_heads)
        return fail("%s: %d layers of %d KV heads; the model has %d of %d", f->path, f->n_layers, f->n_kv_heads, shape->n_layers,
                    shape->n_kv_heads);
    if (!trace_has(f, "selected_blocks")) return fail("%s: no block lists to replay: its trace.metrics lack `selection`", f->path);
    TRY(trace_attr_int(f, "every", &every), "replay");
    if (every != 1) return fail("%s: block lists of every %lld-th step alone; a replay needs trace.every: 1", f->path, (long long)every);
    if (f->n_steps < run->n_steps) return fail("%s: %d steps; the run to replay it has %d", f->path, f->n_steps, run->n_steps);
    for (int i = 1; i < run->n_lanes; i++)
        if (run->lanes[i].selector == SELECT_REPLAY) TRY(check_lane(f, &run->lanes[i]), "replay");
    return 0;
}

/* Adds the trace at path to what was found, if it is of this prompt. */
static int look_at(const char *path, const struct run_plan *run, char **found, char *run_id)
{
    struct trace_file f = { 0 };
    int rc = trace_file_open(&f, path);
    const int same = rc == 0 ? has_prompt(&f, run) : 0;
    if (same < 0) rc = -1;
    if (same == 1 && *found) rc = fail("replay: %s and %s are both of this prompt; name one of them", *found, path);
    else if (same == 1) {
        rc = mem_strdup(found, path);
        snprintf(run_id, sizeof f.run_id, "%s", f.run_id);
    }
    trace_file_close(&f);
    return rc;
}

static int look_through(const char *folder, const char *pattern, const struct run_plan *run, char **found, char *run_id)
{
    char path[4096];
    glob_t g = { 0 };
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, pattern) >= sizeof path) return fail("replay: %s: the path is too long", folder);
    int rc = 0;
    if (glob(path, 0, NULL, &g) == 0)
        for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++) rc = look_at(g.gl_pathv[i], run, found, run_id);
    globfree(&g);
    return rc;
}

int replay_find(const char *given, const struct run_plan *run, const struct model_shape *shape, char **path, char *run_id)
{
    struct stat st;
    struct trace_file f = { 0 };
    *path = NULL;
    if (stat(given, &st) != 0) return fail("replay: %s: no such file or folder", given);
    int rc = 0;
    if (S_ISDIR(st.st_mode)) {
        rc = look_through(given, "*.h5", run, path, run_id);
        if (rc == 0) rc = look_through(given, "runs/*.h5", run, path, run_id);
    } else {
        rc = look_at(given, run, path, run_id);
    }
    if (rc == 0 && !*path)
        rc = fail("replay: %s: no trace that prefills the %d tokens before token %d of source '%s'", given, run->prefill_tokens, run->start,
                  run->source);
    if (rc == 0) rc = trace_file_open(&f, *path);
    if (rc == 0) rc = check_trace(&f, run, shape);
    trace_file_close(&f);
    if (rc == 0) return 0;
    mem_free(*path);
    *path = NULL;
    return -1;
}

/* ---- its lists ---- */

int replay_open(struct replay *r, const struct run_plan *run, const struct model_shape *shape)
{
    *r = (struct replay){ .plan = run };
    if (!run->replay) return fail("replay: run %s has no trace to replay", run->id);
    TRY(trace_file_open(&r->trace, run->replay), "replay");
    TRY(check_trace(&r->trace, run, shape), "replay");
    TRY(MEM_NEW(&r->lane, run->n_lanes, "replay"), "replay");
    for (int i = 0; i < run->n_lanes; i++)
        r->lane[i] = run->lanes[i].selector == SELECT_REPLAY ? find_lane(&r->trace, run->lanes[i].name) : -1;
    const struct trace_file *f = &r->trace;
    const size_t step = (size_t)f->n_lanes * (size_t)f->n_layers * (size_t)f->n_kv_heads * (size_t)f->n_slots;
    return MEM_NEW(&r->window, REPLAY_STEPS * step, "replay");
}

void replay_close(struct replay *r)
{
    trace_file_close(&r->trace);
    mem_free(r->lane);
    mem_free(r->window);
    *r = (struct replay){ 0 };
}

static int read_window(struct replay *r, int step)
{
    const struct trace_file *f = &r->trace;
    const int n = f->n_steps - step < REPLAY_STEPS ? f->n_steps - step : REPLAY_STEPS;
    const size_t each = (size_t)f->n_lanes * (size_t)f->n_layers * (size_t)f->n_kv_heads * (size_t)f->n_slots;
    r->n = 0;
    TRY(trace_read_steps(f, "selected_blocks", step, n, r->window, (size_t)n * each), "replay");
    r->first = step;
    r->n = n;
    return 0;
}

/* One list: from [n_slots] to [max_blocks]. */
static int stage_list(const struct replay *r, int step, int lane, int layer, int kv_head, const int32_t *from, int max_blocks, int32_t *to)
{
    const struct lane_spec *l = &r->plan->lanes[lane];
    const int n_tokens = r->plan->prefill_tokens + step + 1, n = lane_n_selected(l, n_tokens), n_blocks = lane_n_blocks(l, n_tokens);
    int have = 0;
    while (have < r->trace.n_slots && from[have] >= 0) have++;
    if (have != n || n > max_blocks)
        return fail("%s: step %d, lane %s, layer %d, KV head %d: %d blocks, the lane's budget is %d of %d", r->trace.path, step, l->name,
                    layer, kv_head, have, n, n_blocks);
    for (int i = 0; i < max_blocks; i++) {
        if (i < n && (from[i] >= n_blocks || (i > 0 && from[i] <= from[i - 1])))
            return fail("%s: step %d, lane %s, layer %d, KV head %d: block %d is out of order or not one of %d", r->trace.path, step,
                        l->name, layer, kv_head, from[i], n_blocks);
        to[i] = i < n ? from[i] : -1;
    }
    return 0;
}

int replay_stage(struct replay *r, int step, int max_blocks, int32_t *lists)
{
    const struct trace_file *f = &r->trace;
    if (step < r->first || step >= r->first + r->n) TRY(read_window(r, step), "replay");
    for (int lane = 0; lane < r->plan->n_lanes; lane++) {
        const struct lane_spec *l = &r->plan->lanes[lane];
        const int begins = lane_is_probe(l) ? r->plan->lanes[l->cache_of].dense_until : l->dense_until;
        if (r->lane[lane] < 0 || step < begins) continue;
        for (int layer = l->dense_layers; layer < f->n_layers; layer++)
            for (int head = 0; head < f->n_kv_heads; head++) {
                const size_t from = (((size_t)(step - r->first) * (size_t)f->n_lanes + (size_t)r->lane[lane]) * (size_t)f->n_layers +
                                     (size_t)layer) * (size_t)f->n_kv_heads + (size_t)head;
                const size_t to = ((size_t)layer * (size_t)r->plan->n_lanes + (size_t)lane) * (size_t)f->n_kv_heads + (size_t)head;
                TRY(stage_list(r, step, lane, layer, head, r->window + from * (size_t)f->n_slots, max_blocks,
                               lists + to * (size_t)max_blocks), "replay");
            }
    }
    return 0;
}
