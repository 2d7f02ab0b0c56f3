#include "analysis/study.h"

#include "analysis/study_load.h"
#include "analysis/study_store.h"

#include "core/err.h"
#include "core/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- which runs belong together ---- */

struct sampling {
    char follow[16], temperature[32], top_p[32];
};

static int sampling_take(void *data, const char *name, const char *value)
{
    struct sampling *sampling = data;
    if (strcmp(name, "follow") == 0) snprintf(sampling->follow, sizeof sampling->follow, "%s", value);
    if (strcmp(name, "temperature") == 0) snprintf(sampling->temperature, sizeof sampling->temperature, "%s", value);
    if (strcmp(name, "top_p") == 0) snprintf(sampling->top_p, sizeof sampling->top_p, "%s", value);
    return 0;
}

int study_begin(struct study *s, const struct trace_file *f)
{
    struct sampling sampling = { 0 };
    char *text = NULL;
    *s = (struct study){ .prompt_tokens = f->prompt_tokens, .n_steps = f->steps_planned, .n_layers = f->n_layers };
    snprintf(s->model, sizeof s->model, "%s", f->model);
    if (trace_attrs_each(f, sampling_take, &sampling) != 0) return -1;
    snprintf(s->follow, sizeof s->follow, "%s", sampling.follow);
    snprintf(s->temperature, sizeof s->temperature, "%s", sampling.temperature);
    snprintf(s->top_p, sizeof s->top_p, "%s", sampling.top_p);
    if (trace_has(f, "nll") && trace_var_attr_text(f, "nll", "target_of", &text) == 0)
        snprintf(s->target_of, sizeof s->target_of, "%s", text);
    mem_free(text);
    s->n_bins = s->n_steps < STUDY_MAP_BINS ? s->n_steps : STUDY_MAP_BINS;
    snprintf(s->key, sizeof s->key, "p%d-t%d", s->prompt_tokens, s->n_steps);
    snprintf(s->title, sizeof s->title, "%s, %d tokens prefilled, %d decoded, follow: %s", s->model, s->prompt_tokens,
             s->n_steps, s->follow);
    return 0;
}

bool study_takes(const struct study *s, const struct trace_file *f)
{
    struct sampling sampling = { 0 };
    if (trace_attrs_each(f, sampling_take, &sampling) != 0) return false;
    return s->prompt_tokens == f->prompt_tokens && s->n_steps == f->steps_planned && s->n_layers == f->n_layers &&
           strcmp(s->model, f->model) == 0 && strcmp(s->follow, sampling.follow) == 0 &&
           strcmp(s->temperature, sampling.temperature) == 0 && strcmp(s->top_p, sampling.top_p) == 0;
}

/* ---- lanes ---- */

static bool lane_same(const struct lane_spec *a, const struct lane_spec *b)
{
    return a->selector == b->selector && a->active_millionths == b->active_millionths &&
           a->block_size == b->block_size && a->local_blocks == b->local_blocks && a->min_blocks == b->min_blocks &&
           a->dense_layers == b->dense_layers && a->interval == b->interval && a->phase == b->phase &&
           a->dense_until == b->dense_until && a->equal_bytes == b->equal_bytes && !(a->perturb < b->perturb) &&
           !(a->perturb > b->perturb) && lane_is_probe(a) == lane_is_probe(b);
}

static int lane_find(const struct study *s, const char *name)
{
    for (int i = 0; i < s->n_lanes; i++)
        if (strcmp(s->lanes[i].name, name) == 0) return i;
    return STUDY_ABSENT;
}

static int lane_add(struct study *s, const struct lane_spec *spec)
{
    TRY(mem_grow((void **)&s->lanes, (size_t)s->n_lanes, (size_t)s->n_lanes + 1, sizeof *s->lanes, "lanes"), "%s",
        s->key);
    s->lanes[s->n_lanes] = *spec;
    s->lanes[s->n_lanes].cache_of = LANE_OWN;
    s->lanes[s->n_lanes].clean = LANE_NONE;
    return s->n_lanes++;
}

/* The place of each of the trace's lanes among the study's, at [n_lanes]; new ones are appended. */
static int lanes_place(struct study *s, const struct trace_file *f, int *at, struct notes *notes)
{
    for (int i = 0; i < f->n_lanes; i++) {
        const struct lane_spec *l = &f->lanes[i];
        at[i] = lane_find(s, l->name);
        if (at[i] == STUDY_ABSENT) {
            at[i] = lane_add(s, l);
            if (at[i] < 0) return -1;
        } else if (!lane_same(&s->lanes[at[i]], l)) {
            notes_add(notes, "run %s: its lane %s has other settings than in the runs before; it is left out",
                      f->run_id, l->name);
            at[i] = STUDY_ABSENT;
        }
    }
    return 0;
}

/* Which of the trace's lanes is which of the study's; what new lanes refer to becomes the study's lanes. */
static int lanes_map(struct study *s, struct study_run *run, const struct trace_file *f, struct notes *notes)
{
    const int n_before = s->n_lanes;
    int *at = NULL;
    TRY(MEM_NEW(&at, f->n_lanes, "lanes"), "%s", f->path);
    int rc = lanes_place(s, f, at, notes);
    if (rc == 0) rc = MEM_NEW(&run->map, s->n_lanes, "lanes");
    run->n_map = rc == 0 ? s->n_lanes : 0;
    for (int i = 0; i < run->n_map; i++) run->map[i] = STUDY_ABSENT;
    for (int i = 0; i < f->n_lanes && rc == 0; i++) {
        const struct lane_spec *l = &f->lanes[i];
        if (at[i] < 0) continue;
        run->map[at[i]] = i;
        if (at[i] < n_before) continue;
        s->lanes[at[i]].cache_of = l->cache_of >= 0 ? at[l->cache_of] : LANE_OWN;
        s->lanes[at[i]].clean = l->clean >= 0 ? at[l->clean] : LANE_NONE;
    }
    mem_free(at);
    return rc;
}

/* ---- runs ---- */

static int text_find(struct study *s, const char *source)
{
    for (int i = 0; i < s->n_texts; i++)
        if (strcmp(s->texts[i], source) == 0) return i;
    TRY(mem_grow((void **)&s->texts, (size_t)s->n_texts, (size_t)s->n_texts + 1, sizeof *s->texts, "texts"), "%s",
        s->key);
    snprintf(s->texts[s->n_texts], sizeof s->texts[0], "%s", source);
    return s->n_texts++;
}

/* ---- grids ---- */

/* Room for the study's lanes. */
static int grids_grow(struct study *s)
{
    const size_t one = (size_t)s->n_layers * (size_t)s->n_bins, n_old = one * (size_t)s->n_grid_lanes,
                 n = one * (size_t)s->n_lanes;
    for (int m = 0; m < N_STUDY_MAPS && n > n_old; m++) {
        TRY(mem_grow((void **)&s->steps[m].sum, n_old, n, sizeof(float), "heat map"), "%s", s->key);
        TRY(mem_grow((void **)&s->steps[m].n, n_old, n, sizeof(uint32_t), "heat map"), "%s", s->key);
    }
    s->n_grid_lanes = s->n_lanes;
    return 0;
}

/* The run's sums by step become the study's. */
static void grids_take(struct study *s, struct study_run *run)
{
    const size_t one = (size_t)s->n_layers * (size_t)s->n_bins;
    for (int m = 0; m < N_STUDY_MAPS; m++) {
        struct study_grid *from = &run->grids[AXIS_STEP][m], *to = &s->steps[m];
        for (int lane = 0; lane < run->n_map && from->sum; lane++) {
            const size_t at = one * (size_t)lane, other = one * (size_t)run->map[lane];
            for (size_t i = 0; run->map[lane] >= 0 && i < one; i++) {
                to->sum[at + i] += from->sum[other + i];
                to->n[at + i] += from->n[other + i];
            }
        }
        study_grid_close(from);
    }
}

int study_add(struct study *s, const struct trace_file *f, struct notes *notes)
{
    struct study_run run = { 0 };
    int rc = study_run_load(&run, s, f);
    if (rc == 0) rc = lanes_map(s, &run, f, notes);
    if (rc == 0) rc = grids_grow(s);
    if (rc == 0) rc = mem_grow((void **)&s->runs, (size_t)s->n_runs, (size_t)s->n_runs + 1, sizeof *s->runs, "runs");
    run.text = rc == 0 ? text_find(s, f->source) : 0;
    if (rc != 0 || run.text < 0) {
        study_run_close(&run);
        return -1;
    }
    grids_take(s, &run);
    s->runs[s->n_runs++] = run;
    return 0;
}

int study_put_away(struct study *s, const char *folder)
{
    for (int i = 0; i < s->n_runs; i++)
        if (study_store_run(s, &s->runs[i], folder) != 0) return -1;
    return 0;
}

void study_close(struct study *s)
{
    for (int i = 0; i < s->n_runs; i++) study_run_close(&s->runs[i]);
    mem_free(s->runs);
    mem_free(s->lanes);
    mem_free(s->texts);
    for (int m = 0; m < N_STUDY_MAPS; m++) study_grid_close(&s->steps[m]);
    mem_free(s->touch);
    *s = (struct study){ 0 };
}

bool study_is_of_text(const struct study *s)
{
    return strcmp(s->target_of, "text") == 0;
}

const float *study_series(const struct study *s, int run, int lane, enum quantity q)
{
    const struct study_run *r = &s->runs[run];
    if (lane < 0 || lane >= r->n_map || r->map[lane] < 0 || !r->series[q]) return NULL;
    study_store_touch(s, (size_t)r->n_steps * sizeof(float));
    return r->series[q] + (size_t)r->map[lane] * (size_t)r->n_steps;
}
