#include "core/trace_vars.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/version.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const struct trace_dim_def trace_dim_defs[N_TRACE_DIMS] = {
    [DIM_STEP] = { "step", "decode step; 0 is the first decoded token" },
    [DIM_LANE] = { "lane", "decoding policy; 0 is the dense reference" },
    [DIM_LAYER] = { "layer", "transformer layer" },
    [DIM_KV_HEAD] = { "kv_head", "key-value head" },
    [DIM_PROMPT_POSITION] = { "prompt_position", "position of a prefilled token" },
    [DIM_SLOT] = { "slot", "place in a list of selected blocks" },
};

const struct trace_dim_list *trace_dims_of(enum record_dims dims)
{
    static const struct trace_dim_list lists[] = {
        [DIMS_STEP] = { 1, { DIM_STEP } },
        [DIMS_STEP_LANE] = { 2, { DIM_STEP, DIM_LANE } },
        [DIMS_STEP_LANE_LAYER] = { 3, { DIM_STEP, DIM_LANE, DIM_LAYER } },
        [DIMS_STEP_LAYER_HEAD] = { 3, { DIM_STEP, DIM_LAYER, DIM_KV_HEAD } },
        [DIMS_STEP_LANE_LAYER_HEAD] = { 4, { DIM_STEP, DIM_LANE, DIM_LAYER, DIM_KV_HEAD } },
        [DIMS_STEP_LANE_LAYER_HEAD_SLOT] = { 5, { DIM_STEP, DIM_LANE, DIM_LAYER, DIM_KV_HEAD, DIM_SLOT } },
    };
    return &lists[dims];
}

hid_t trace_type_of(enum record_type type)
{
    switch (type) {
    case REC_F32: return H5T_NATIVE_FLOAT;
    case REC_I32: return H5T_NATIVE_INT32;
    case REC_I64: return H5T_NATIVE_INT64;
    case REC_U8: return H5T_NATIVE_UINT8;
    }
    return -1;
}

const void *trace_fill_of(enum record_type type)
{
    static const float f32 = NAN;
    static const int32_t i32 = -1;
    static const int64_t i64 = -1;
    static const uint8_t u8 = 255;
    switch (type) {
    case REC_F32: return &f32;
    case REC_I32: return &i32;
    case REC_U8: return &u8;
    case REC_I64: return &i64;
    }
    return NULL;
}

#define LANE(member) offsetof(struct lane_spec, member), sizeof((struct lane_spec *)0)->member
const struct trace_lane_def trace_lane_defs[N_TRACE_LANE_DEFS] = {
    { "lane_name", NULL, "name of the lane", LANE_TEXT, LANE(name) },
    { "lane_family", NULL, "family that the lane was configured in", LANE_TEXT, LANE(family) },
    { "lane_selector", NULL, "how blocks are selected", LANE_SELECTOR, LANE(selector) },
    { "lane_sparsity", "1", "share of blocks that are not read", LANE_DOUBLE, LANE(sparsity) },
    { "lane_block_size", "1", "tokens in a block", LANE_INT, LANE(block_size) },
    { "lane_interval", "1", "steps between rectifications; 0: never", LANE_INT, LANE(interval) },
    { "lane_local_blocks", "1", "last blocks, always read", LANE_INT, LANE(local_blocks) },
    { "lane_min_blocks", "1", "fewest blocks read", LANE_INT, LANE(min_blocks) },
    { "lane_dense_layers", "1", "first layers, read densely", LANE_INT, LANE(dense_layers) },
    { "lane_phase", "1", "rectified after step s where (s + 1 + phase) mod interval = 0", LANE_INT, LANE(phase) },
    { "lane_dense_until", "1", "first step of the policy; dense before", LANE_INT, LANE(dense_until) },
    { "lane_equal_bytes", "1", "interval whose bytes are matched by a raised active ratio; 0: none", LANE_INT, LANE(equal_bytes) },
    { "lane_perturb", "1", "relative noise added to K and V as they are written", LANE_DOUBLE, LANE(perturb) },
    { "lane_cache_of", "1", "lane whose cache is read; -1: its own", LANE_INT, LANE(cache_of) },
    { "lane_clean", "1", "clean twin, the probe of the dense cache with the same policy; -1: none", LANE_INT, LANE(clean) },
};

static const char *const family_names[] = {
    [FAMILY_LLAMA] = "llama", [FAMILY_QWEN2] = "qwen2", [FAMILY_QWEN3] = "qwen3"
};

/* One attribute: a text, or else an integer. */
struct attr {
    const char *name, *text;
    int64_t number;
};

static int attrs_write(hid_t id, const struct attr *attrs, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct attr *a = &attrs[i];
        TRY(a->text ? hdf5_attr_text(id, a->name, a->text) : hdf5_attr_int(id, a->name, a->number), "attribute %s", a->name);
    }
    return 0;
}

/* xarray takes the names listed here as coordinates: to select by them, and to tell runs apart when they are joined. */
static int coordinates_write(hid_t file, const struct run_plan *run)
{
    char names[512];
    int n = snprintf(names, sizeof names, "run_id source start seed model prompt_tokens%s", run->batch ? " batch" : "");
    for (int i = 0; i < N_TRACE_LANE_DEFS; i++)
        n += snprintf(names + n, sizeof names - (size_t)n, " %s", trace_lane_defs[i].name);
    return hdf5_attr_text(file, "coordinates", names);
}

static int run_write(hid_t file, const struct run_plan *run)
{
    char metrics[128] = "";
    for (int i = 0, n = 0; metric_names[i]; i++)
        if (run->metrics & 1u << i)
            n += snprintf(metrics + n, sizeof metrics - (size_t)n, "%s%s", n ? " " : "", metric_names[i]);
    const struct attr attrs[] = {
        { "title", run->batch ? "time of decode steps, one run" : "KV cache drift and error under sparse decoding, one run", 0 },
        { "experiment", experiment_names[run->batch ? EXPERIMENT_LATENCY : EXPERIMENT_DRIFT], 0 },
        { "run_id", run->id, 0 },
        { "source", run->source, 0 },
        { "start", NULL, run->start },
        { "prompt_tokens", NULL, run->prefill_tokens },
        { "prompt_digest", run->prompt_digest, 0 },
        { "prompt_origin", run->origin, 0 },
        { "steps_planned", NULL, run->n_steps },
        { "follow", follow_names[run->follow], 0 },
        { "stop", run->stop_eos ? "eos" : "never", 0 },
        { "metrics", metrics, 0 },
        { "every", NULL, run->every },
    };
    TRY(attrs_write(file, attrs, sizeof attrs / sizeof attrs[0]), "run");
    TRY(hdf5_attr_array(file, "seed", H5T_NATIVE_UINT64, 1, &run->seed), "run");
    TRY(hdf5_attr_float(file, "temperature", run->temperature), "run");
    return hdf5_attr_float(file, "top_p", run->top_p);
}

static int model_write(hid_t file, const struct model *model)
{
    const struct model_shape *s = &model->shape;
    const struct attr attrs[] = {
        { "model", model->name, 0 },
        { "model_digest", model->digest, 0 },
        { "model_family", family_names[s->family], 0 },
        { "model_layers", NULL, s->n_layers },
        { "model_hidden", NULL, s->hidden },
        { "model_ffn", NULL, s->ffn },
        { "model_heads", NULL, s->n_heads },
        { "model_kv_heads", NULL, s->n_kv_heads },
        { "model_head_dim", NULL, s->head_dim },
        { "model_vocab", NULL, s->vocab },
        { "model_context", NULL, s->context },
        { "model_parameters", NULL, (int64_t)model->n_params },
    };
    return attrs_write(file, attrs, sizeof attrs / sizeof attrs[0]);
}

static int provenance_write(hid_t file, const struct provenance *p)
{
    const struct attr attrs[] = {
        { "program", PROGRAM, 0 },
        { "version", p->version, 0 },
        { "commit", p->commit, 0 },
        { "commit_dirty", NULL, p->dirty },
        { "trace_schema", NULL, TRACE_SCHEMA },
        { "engine_numerics", NULL, ENGINE_NUMERICS },
        { "compiler", p->compiler, 0 },
        { "compiler_flags", p->flags, 0 },
        { "libraries", p->libraries, 0 },
        { "command", p->command ? p->command : "", 0 },
        { "host", p->host, 0 },
        { "cpu", p->cpu, 0 },
        { "device", p->device, 0 },
        { "numbers", p->numbers, 0 },
        { "instruction_set", p->isa, 0 },
        { "gpu", p->gpu, 0 },
        { "gpu_driver", p->driver, 0 },
        { "threads", NULL, p->n_threads },
        { "start_time", p->start_time, 0 },
    };
    return attrs_write(file, attrs, sizeof attrs / sizeof attrs[0]);
}

int trace_write_head(hid_t file, const struct run_plan *run, const struct model *model, const struct provenance *prov,
                     const char *config_text)
{
    TRY(run_write(file, run), "head");
    TRY(model_write(file, model), "head");
    TRY(coordinates_write(file, run), "head");
    TRY(hdf5_attr_text(file, "config", config_text), "head");
    return provenance_write(file, prov);
}

int trace_write_end(hid_t file, const struct provenance *prov, int n_steps)
{
    struct provenance now = { 0 };
    if (!prov->end_time[0]) { /* the caller did not stop the clock */
        provenance_stop(&now);
        prov = &now;
    }
    const struct attr attrs[] = {
        { "steps", NULL, n_steps },
        { "end_time", prov->end_time, 0 },
        { "peak_memory_bytes", NULL, (int64_t)prov->peak_bytes },
    };
    return attrs_write(file, attrs, sizeof attrs / sizeof attrs[0]);
}

static int static_write(hid_t file, const struct hdf5_dataset *d, const void *data)
{
    hid_t id = 0;
    int rc = hdf5_dataset_create(&id, file, d);
    if (rc == 0) rc = hdf5_dataset_write(id, d->type, data, d->name);
    hdf5_id_close(&id);
    return rc;
}

static int lane_write(hid_t file, const struct hdf5_dim *lane_dim, const struct run_plan *run, const struct trace_lane_def *def)
{
    const size_t n = (size_t)run->n_lanes;
    struct hdf5_dataset d = { .name = def->name, .units = def->units, .long_name = def->long_name, .n_dims = 1,
                              .dims = { lane_dim } };
    const char **texts = NULL;
    int32_t *ints = NULL;
    double *doubles = NULL;
    int rc = MEM_NEW(&texts, n, def->name);
    if (rc == 0) rc = MEM_NEW(&ints, n, def->name);
    if (rc == 0) rc = MEM_NEW(&doubles, n, def->name);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const void *at = (const char *)&run->lanes[i] + def->at;
        if (def->kind == LANE_TEXT) texts[i] = at;
        if (def->kind == LANE_INT) ints[i] = *(const int *)at;
        if (def->kind == LANE_DOUBLE) doubles[i] = *(const double *)at;
        if (def->kind == LANE_SELECTOR) texts[i] = selector_names[*(const enum selector_id *)at];
    }
    d.type = def->kind == LANE_INT ? H5T_NATIVE_INT32 : def->kind == LANE_DOUBLE ? H5T_NATIVE_DOUBLE : 0;
    const void *data = def->kind == LANE_INT ? (void *)ints : def->kind == LANE_DOUBLE ? (void *)doubles : (void *)texts;
    if (rc == 0) rc = static_write(file, &d, data);
    mem_free(texts);
    mem_free(ints);
    mem_free(doubles);
    return rc;
}

int trace_write_static(hid_t file, const struct hdf5_dim *dims, const struct run_plan *run, const struct model *model)
{
    const char *run_id = run->id, *source = run->source, *name = model->name;
    const int32_t start = run->start, prompt_tokens = run->prefill_tokens, batch = run->batch;
    const struct {
        struct hdf5_dataset dataset;
        const void *data;
    } keys[] = {
        { { .name = "run_id", .long_name = "name of the run" }, &run_id },
        { { .name = "source", .long_name = "where the prompt comes from" }, &source },
        { { .name = "start", .units = "1", .long_name = "index of the first decoded token in the source", .type = H5T_NATIVE_INT32 }, &start },
        { { .name = "seed", .units = "1", .long_name = "seed of every random choice", .type = H5T_NATIVE_UINT64 }, &run->seed },
        { { .name = "model", .long_name = "name of the model" }, &name },
        { { .name = "prompt_tokens", .units = "1", .long_name = "tokens prefilled", .type = H5T_NATIVE_INT32 }, &prompt_tokens },
        { { .name = "prompt_token", .units = "1", .long_name = "token prefilled at this position", .type = H5T_NATIVE_INT32,
            .n_dims = 1, .dims = { &dims[DIM_PROMPT_POSITION] } },
          run->stream + (run->start - run->prefill_tokens) },
        { { .name = "batch", .units = "1", .long_name = "independent sequences that are decoded together", .type = H5T_NATIVE_INT32 }, &batch },
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] - (run->batch == 0); i++)
        TRY(static_write(file, &keys[i].dataset, keys[i].data), "%s", keys[i].dataset.name);
    for (int i = 0; i < N_TRACE_LANE_DEFS; i++) TRY(lane_write(file, &dims[DIM_LANE], run, &trace_lane_defs[i]), "lanes");
    return 0;
}
