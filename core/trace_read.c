#include "core/trace_read.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/trace_seal.h"
#include "core/trace_values.h"
#include "core/trace_vars.h"
#include "core/version.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static int length_read(const struct trace_file *f, const char *name, int *length)
{
    hsize_t n[TRACE_MAX_DIMS] = { 0 };
    const hid_t id = trace_dataset_open(f, name);
    if (id < 0) return -1;
    int n_dims = trace_dataset_extent(f, id, name, n);
    if (n_dims >= 0 && n_dims != 1) n_dims = fail("%s: %s has %d dimensions instead of 1", f->path, name, n_dims);
    H5Dclose(id);
    *length = (int)n[0];
    return n_dims == 1 ? 0 : -1;
}

static int attr_copy(const struct trace_file *f, const char *name, char *out, size_t n_bytes)
{
    char *text = NULL;
    if (trace_attr_text(f, name, &text) != 0) return -1;
    const int n = snprintf(out, n_bytes, "%s", text);
    mem_free(text);
    return n < (int)n_bytes ? 0 : fail("%s: attribute %s is longer than %zu bytes", f->path, name, n_bytes - 1);
}

static int attr_int_read(const struct trace_file *f, const char *name, int64_t min, int64_t max, int *out)
{
    int64_t value = 0;
    if (trace_attr_int(f, name, &value) != 0) return -1;
    if (value < min || value > max)
        return fail("%s: attribute %s is %lld, allowed are %lld to %lld", f->path, name, (long long)value, (long long)min, (long long)max);
    *out = (int)value;
    return 0;
}

static int seed_read(struct trace_file *f)
{
    const hid_t id = trace_dataset_open(f, "seed");
    hsize_t n[TRACE_MAX_DIMS] = { 0 };
    if (id < 0) return -1;
    int rc = trace_dataset_extent(f, id, "seed", n);
    if (rc != 0 || trace_dataset_class(id) != H5T_INTEGER) rc = fail("%s: seed is no single integer", f->path);
    else if (H5Dread(id, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &f->seed) < 0) rc = hdf5_fail("%s: seed", f->path);
    H5Dclose(id);
    return rc;
}

static int batch_read(struct trace_file *f)
{
    int64_t batch = 0;
    if (trace_read_int(f, "batch", TRACE_ALL, TRACE_ALL, &batch, 1) != 0) return -1;
    if (batch < 1 || batch > TRACE_MAX_LENGTH) return fail("%s: batch is %lld", f->path, (long long)batch);
    f->batch = (int)batch;
    return 0;
}

static int head_read(struct trace_file *f)
{
    int schema = 0;
    if (!hdf5_attr_exists(f->id, "trace_schema")) return fail("%s: not a trace (no attribute trace_schema)", f->path);
    if (attr_int_read(f, "trace_schema", 0, INT_MAX, &schema) != 0) return -1;
    if (schema != TRACE_SCHEMA) return fail("%s: its trace schema is %d, this program reads %d", f->path, schema, TRACE_SCHEMA);
    if (attr_copy(f, "run_id", f->run_id, sizeof f->run_id) != 0 || attr_copy(f, "source", f->source, sizeof f->source) != 0 ||
        attr_copy(f, "model", f->model, sizeof f->model) != 0 || attr_int_read(f, "start", 0, INT_MAX, &f->start) != 0 ||
        attr_int_read(f, "prompt_tokens", 0, TRACE_MAX_LENGTH, &f->prompt_tokens) != 0 ||
        attr_int_read(f, "steps_planned", 0, TRACE_MAX_LENGTH, &f->steps_planned) != 0 || seed_read(f) != 0)
        return -1;
    if (length_read(f, "step", &f->n_steps) != 0 || length_read(f, "lane", &f->n_lanes) != 0 ||
        length_read(f, "layer", &f->n_layers) != 0 || length_read(f, "kv_head", &f->n_kv_heads) != 0 ||
        length_read(f, "prompt_position", &f->n_prompt) != 0)
        return -1;
    if (trace_has(f, "slot") && length_read(f, "slot", &f->n_slots) != 0) return -1;
    if (trace_has(f, "batch") && batch_read(f) != 0) return -1;
    if (f->n_lanes < 1 || f->n_lanes > MAX_LANES)
        return fail("%s: it has %d lanes, possible are 1 to %d", f->path, f->n_lanes, MAX_LANES);
    if (f->n_layers < 1 || f->n_kv_heads < 1) return fail("%s: it has no layers or no KV heads", f->path);
    return 0;
}

/* The length that a dimension of this file has. */
static int64_t dim_length(const struct trace_file *f, enum trace_dim dim)
{
    const int n[N_TRACE_DIMS] = { f->n_steps, f->n_lanes, f->n_layers, f->n_kv_heads, f->n_prompt, f->n_slots };
    return n[dim];
}

static int record_var_check(const struct trace_file *f, enum record_var v)
{
    const struct record_var_def *def = &record_var_defs[v];
    const struct trace_dim_list *list = trace_dims_of(def->dims);
    const H5T_class_t wanted = def->type == REC_F32 ? H5T_FLOAT : H5T_INTEGER;
    hsize_t n[TRACE_MAX_DIMS] = { 0 };
    if (!trace_has(f, def->name)) return 0;
    const hid_t id = trace_dataset_open(f, def->name);
    if (id < 0) return -1;
    int rc = trace_dataset_extent(f, id, def->name, n);
    if (rc >= 0 && rc != list->n) rc = fail("%s: %s has %d dimensions instead of %d", f->path, def->name, rc, list->n);
    for (int i = 0; i < list->n && rc >= 0; i++)
        if ((int64_t)n[i] != dim_length(f, list->dims[i]))
            rc = fail("%s: %s has %llu %ss, the file has %lld", f->path, def->name, (unsigned long long)n[i],
                      trace_dim_defs[list->dims[i]].name, (long long)dim_length(f, list->dims[i]));
    if (rc >= 0 && trace_dataset_class(id) != wanted) rc = fail("%s: %s is of the wrong type", f->path, def->name);
    H5Dclose(id);
    return rc < 0 ? -1 : 0;
}

/* texts: [n_lanes], to be freed with H5free_memory. */
static int lane_texts_read(const struct trace_file *f, const char *name, char **texts)
{
    hsize_t n[TRACE_MAX_DIMS] = { 0 };
    const hid_t id = trace_dataset_open(f, name);
    if (id < 0) return -1;
    const hid_t type = H5Dget_type(id);
    int rc = trace_dataset_extent(f, id, name, n);
    if (rc != 1 || n[0] != (hsize_t)f->n_lanes || type < 0 || H5Tis_variable_str(type) <= 0)
        rc = fail("%s: %s is not one text for each lane", f->path, name);
    else if (H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, texts) < 0)
        rc = hdf5_fail("%s: %s cannot be read", f->path, name);
    if (type >= 0) H5Tclose(type);
    H5Dclose(id);
    return rc < 0 ? -1 : 0;
}

static int selector_find(const struct trace_file *f, const char *name, enum selector_id *id)
{
    for (int i = 0; i < N_SELECTORS; i++) {
        if (strcmp(selector_names[i], name) != 0) continue;
        *id = (enum selector_id)i;
        return 0;
    }
    return fail("%s: lane_selector: '%s' is no selector", f->path, name);
}

static int lane_text_take(struct trace_file *f, const struct trace_lane_def *def, int lane, const char *text)
{
    void *at = (char *)&f->lanes[lane] + def->at;
    if (!text) text = "";
    if (def->kind == LANE_SELECTOR) return selector_find(f, text, at);
    if (snprintf(at, def->n_bytes, "%s", text) < (int)def->n_bytes) return 0;
    return fail("%s: %s of lane %d is longer than %zu bytes", f->path, def->name, lane, def->n_bytes - 1);
}

static int lane_column_read(struct trace_file *f, const struct trace_lane_def *def)
{
    const size_t n = (size_t)f->n_lanes;
    char **texts = NULL;
    double *numbers = NULL;
    int64_t *ints = NULL;
    int rc = MEM_NEW(&texts, n, def->name);
    if (rc == 0) rc = MEM_NEW(&numbers, n, def->name);
    if (rc == 0) rc = MEM_NEW(&ints, n, def->name);
    if (rc == 0 && def->kind == LANE_DOUBLE) rc = trace_read_double(f, def->name, TRACE_ALL, TRACE_ALL, numbers, n);
    if (rc == 0 && def->kind == LANE_INT) rc = trace_read_int(f, def->name, TRACE_ALL, TRACE_ALL, ints, n);
    if (rc == 0 && (def->kind == LANE_TEXT || def->kind == LANE_SELECTOR)) rc = lane_texts_read(f, def->name, texts);
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *at = (char *)&f->lanes[i] + def->at;
        if (def->kind == LANE_DOUBLE) memcpy(at, &numbers[i], sizeof numbers[i]);
        else if (def->kind != LANE_INT) rc = lane_text_take(f, def, (int)i, texts[i]);
        else if (ints[i] < -1 || ints[i] > TRACE_MAX_LENGTH) rc = fail("%s: %s of lane %zu is %lld", f->path, def->name, i, (long long)ints[i]);
        else memcpy(at, &(int){ (int)ints[i] }, sizeof(int));
    }
    for (size_t i = 0; i < n && texts; i++)
        if (texts[i]) H5free_memory(texts[i]);
    mem_free(texts);
    mem_free(numbers);
    mem_free(ints);
    return rc;
}

static int lanes_check(struct trace_file *f)
{
    for (int i = 0; i < f->n_lanes; i++) {
        struct lane_spec *l = &f->lanes[i];
        if (!(l->sparsity >= 0 && l->sparsity <= 1)) return fail("%s: lane_sparsity of lane %d is %g", f->path, i, l->sparsity);
        if (l->block_size < 1 || l->interval < 0 || l->equal_bytes < 0)
            return fail("%s: lane %d has a block size, interval or equal_bytes that cannot be", f->path, i);
        if (l->cache_of >= f->n_lanes || l->clean >= f->n_lanes)
            return fail("%s: lane %d refers to a lane that is not there", f->path, i);
        l->active_millionths = lane_active_millionths(l->sparsity, l->equal_bytes);
    }
    return 0;
}

int trace_file_open(struct trace_file *f, const char *path)
{
    hid_t id = 0;
    *f = (struct trace_file){ 0 };
    TRY(mem_strdup(&f->path, path), "%s", path);
    if (trace_seal_check(path) != 0 || hdf5_open(&id, path) != 0) return -1;
    f->id = id;
    if (head_read(f) != 0) return -1;
    TRY(MEM_NEW(&f->lanes, f->n_lanes, "lanes"), "%s", path);
    for (int i = 0; i < N_TRACE_LANE_DEFS; i++)
        if (lane_column_read(f, &trace_lane_defs[i]) != 0) return -1;
    for (int v = 0; v < N_RECORD_VARS; v++)
        if (record_var_check(f, (enum record_var)v) != 0) return -1;
    return lanes_check(f);
}

void trace_file_close(struct trace_file *f)
{
    if (f->id > 0) H5Fclose(f->id);
    mem_free(f->lanes);
    mem_free(f->path);
    *f = (struct trace_file){ 0 };
}
