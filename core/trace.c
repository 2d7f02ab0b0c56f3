#include "core/trace.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/trace_seal.h"
#include "core/trace_vars.h"
#include "core/trace_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A chunk is about as large as compresses well; it never exceeds half of a reader's default chunk cache (1 MiB). */
enum { CHUNK_BYTES = 128 << 10, MAX_CHUNK_BYTES = 512 << 10 };

/* A variable of the record that is on, and the rows of it that wait for a whole chunk. */
struct column {
    hid_t id;            /* 0: off */
    size_t row_bytes;
    int chunk_steps;
    char *rows[2];       /* owned [chunk_steps][row_bytes]; the second only with a writer: one is filled, one is written */
    long ticket[2];      /* the writer's job that reads them last */
    int turn;            /* which is filled */
};

struct trace {
    char *path, *part;   /* owned */
    const struct run_plan *run;
    const struct record_layout *layout;
    const struct provenance *prov;
    hid_t file, k_spread, v_spread, first_divergence;
    struct hdf5_dim dims[N_TRACE_DIMS];
    struct column columns[N_RECORD_VARS];
    struct trace_writer *writer; /* owned; NULL: chunks are written as they become full */
    int n_steps;         /* written so far */
    bool made, finished; /* the part file is ours; it has become the trace */
};

static size_t row_bytes(const struct record_layout *l, enum record_var v)
{
    return l->at[v] == RECORD_OFF ? 0 : record_var_count(l, v) * record_type_bytes(record_var_defs[v].type);
}

static int chunk_steps(size_t row, int n_steps)
{
    const size_t fit = row < CHUNK_BYTES ? CHUNK_BYTES / row : 1;
    const int most = n_steps < 1 ? 1 : n_steps < 1024 ? n_steps : 1024;
    return fit < (size_t)most ? (int)fit : most;
}

size_t trace_buffer_bytes(const struct record_layout *layout, int n_steps)
{
    size_t n = 0;
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const size_t row = row_bytes(layout, (enum record_var)v);
        if (row) n += row * (size_t)chunk_steps(row, n_steps);
    }
    return n;
}

static int dims_create(struct trace *t, const struct run_plan *run)
{
    const size_t n[N_TRACE_DIMS] = {
        [DIM_STEP] = (size_t)run->n_steps,           [DIM_LANE] = (size_t)t->layout->n_lanes,
        [DIM_LAYER] = (size_t)t->layout->n_layers,   [DIM_KV_HEAD] = (size_t)t->layout->n_kv_heads,
        [DIM_PROMPT_POSITION] = (size_t)run->prefill_tokens, [DIM_SLOT] = (size_t)t->layout->n_slots,
    };
    for (int i = 0; i < N_TRACE_DIMS; i++) {
        if (i == DIM_SLOT && n[i] == 0) continue;
        TRY(hdf5_dim_create(&t->dims[i], t->file, trace_dim_defs[i].name, trace_dim_defs[i].long_name, n[i], i == DIM_STEP),
            "%s", trace_dim_defs[i].name);
    }
    return 0;
}

/* What only some variables carry: the meaning of flags, whose token a target is. */
static int column_annotate(hid_t id, enum record_var v, enum follow follow)
{
    static const char *const owners[] = { [FOLLOW_TEXT] = "text", [FOLLOW_REFERENCE] = "lane 0", [FOLLOW_SELF] = "own" };
    static const uint8_t flags[] = { 0, 1 };
    if (record_var_defs[v].type == REC_U8) {
        TRY(hdf5_attr_array(id, "flag_values", H5T_NATIVE_UINT8, 2, flags), "%s", record_var_defs[v].name);
        TRY(hdf5_attr_text(id, "flag_meanings", "no yes"), "%s", record_var_defs[v].name);
    }
    if (v != VAR_TARGET && v != VAR_NLL && v != VAR_TOP3_HIT) return 0;
    TRY(hdf5_attr_text(id, "target_of", owners[follow]), "%s", record_var_defs[v].name);
    return hdf5_attr_text(id, "comment",
                          "target_of: text: the text's next token, a language-modelling figure; "
                          "lane 0: the token that lane 0 chose; own: the token that the lane itself chose");
}

static int column_create(struct trace *t, enum record_var v)
{
    const struct record_var_def *def = &record_var_defs[v];
    const struct trace_dim_list *list = trace_dims_of(def->dims);
    struct column *c = &t->columns[v];
    struct hdf5_dataset d = { .name = def->name, .units = def->units, .long_name = def->long_name,
                              .type = trace_type_of(def->type), .n_dims = list->n, .fill = trace_fill_of(def->type) };
    c->row_bytes = row_bytes(t->layout, v);
    if (c->row_bytes == 0) return 0;
    c->chunk_steps = chunk_steps(c->row_bytes, t->run->n_steps);
    d.chunk[0] = (hsize_t)c->chunk_steps;
    hsize_t bytes = c->row_bytes * d.chunk[0];
    for (int i = 0; i < list->n; i++) d.dims[i] = &t->dims[list->dims[i]];
    for (int i = 1; i < list->n; i++) d.chunk[i] = d.dims[i]->n;
    /* A row beyond the limit is cut along its outer dimensions first. */
    for (int i = 1; i < list->n && bytes > MAX_CHUNK_BYTES; i++) {
        const hsize_t piece = bytes / d.chunk[i];
        d.chunk[i] = piece < MAX_CHUNK_BYTES ? MAX_CHUNK_BYTES / piece : 1;
        bytes = piece * d.chunk[i];
    }
    TRY(hdf5_dataset_create(&c->id, t->file, &d), "%s", def->name);
    TRY(column_annotate(c->id, v, t->run->follow), "%s", def->name);
    return mem_alloc((void **)&c->rows[0], (size_t)c->chunk_steps, c->row_bytes, def->name);
}

/* The variables that are written at the end. */
static int late_create(struct trace *t)
{
    const struct hdf5_dim *layer = &t->dims[DIM_LAYER], *head = &t->dims[DIM_KV_HEAD], *lane = &t->dims[DIM_LANE];
    struct hdf5_dataset k = { .name = "k_spread", .units = "1", .type = H5T_NATIVE_FLOAT, .n_dims = 2, .dims = { layer, head },
                              .fill = trace_fill_of(REC_F32) };
    struct hdf5_dataset v = k;
    /* No fill value: -1 says that the streams never part. */
    const struct hdf5_dataset f = { .name = "first_divergence", .units = "1", .type = H5T_NATIVE_INT32, .n_dims = 1,
                                    .dims = { lane },
                                    .long_name = "first step whose fed token differs from lane 0's; -1: none" };
    k.long_name = "sqrt(mean over prompt tokens 1 .. of |k - mean k|^2), k before the rotation";
    v.name = "v_spread";
    v.long_name = "sqrt(mean over prompt tokens 1 .. of |v - mean v|^2)";
    if (t->run->metrics & METRIC_DRIFT) {
        TRY(hdf5_dataset_create(&t->k_spread, t->file, &k), "k_spread");
        TRY(hdf5_dataset_create(&t->v_spread, t->file, &v), "v_spread");
    }
    if (t->run->follow == FOLLOW_SELF) TRY(hdf5_dataset_create(&t->first_divergence, t->file, &f), "first_divergence");
    return 0;
}

static int trace_create(struct trace *t, const char *path, const struct model *model, const char *config_text)
{
    const size_t n = strlen(path);
    TRY(mem_strdup(&t->path, path), "%s", path);
    TRY(mem_alloc((void **)&t->part, n + sizeof ".part", 1, "trace"), "%s", path);
    memcpy(t->part, path, n);
    memcpy(t->part + n, ".part", sizeof ".part");
    /* Made by hand first: where HDF5's own creation fails half-way, the file is known to be there and to be ours. */
    const int fd = open(t->part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) return fail("%s: cannot create: %s", t->part, strerror(errno));
    close(fd);
    t->made = true;
    if (hdf5_create(&t->file, t->part) != 0) return -1;
    TRY(trace_write_head(t->file, t->run, model, t->prov, config_text), "%s", t->part);
    TRY(dims_create(t, t->run), "%s", t->part);
    TRY(trace_write_static(t->file, t->dims, t->run, model), "%s", t->part);
    TRY(late_create(t), "%s", t->part);
    for (int v = 0; v < N_RECORD_VARS; v++) TRY(column_create(t, (enum record_var)v), "%s", t->part);
    return 0;
}

int trace_open(struct trace **out, const char *path, const struct run_plan *run, const struct model *model,
               const struct record_layout *layout, const struct provenance *prov, const char *config_text)
{
    struct trace *t = NULL;
    *out = NULL;
    TRY(MEM_NEW(&t, 1, "trace"), "%s", path);
    t->run = run;
    t->layout = layout;
    t->prov = prov;
    if (trace_create(t, path, model, config_text) != 0) {
        trace_close(t);
        return -1;
    }
    *out = t;
    return 0;
}

/* Rows that are waiting, a whole chunk or, at the end, the rest. */
static int rows_write(void *trace, const struct trace_job *job)
{
    const struct trace *t = trace;
    const struct record_var_def *def = &record_var_defs[job->column];
    TRY(hdf5_rows_write(t->columns[job->column].id, trace_type_of(def->type), (hsize_t)job->first, (hsize_t)job->n, job->rows, def->name), "%s", t->part);
    return 0;
}

static int column_flush(struct trace *t, int column, int first, int n)
{
    struct column *c = &t->columns[column];
    const struct trace_job job = { column, first, n, c->rows[c->turn] };
    if (!t->writer) return rows_write(t, &job);
    if (trace_writer_add(t->writer, &job, &c->ticket[c->turn]) != 0) return -1;
    c->turn = !c->turn;
    return trace_writer_wait(t->writer, c->ticket[c->turn]);
}

int trace_write_behind(struct trace *t)
{
    for (int v = 0; v < N_RECORD_VARS; v++) {
        struct column *c = &t->columns[v];
        if (c->id > 0) TRY(mem_alloc((void **)&c->rows[1], (size_t)c->chunk_steps, c->row_bytes, record_var_defs[v].name), "%s", t->part);
    }
    return trace_writer_open(&t->writer, rows_write, t);
}

int trace_write(struct trace *t, int step, const void *record)
{
    if (step != t->n_steps || step >= t->run->n_steps)
        return fail("%s: step %d comes where step %d of %d is due", t->part, step, t->n_steps, t->run->n_steps);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const struct column *c = &t->columns[v];
        if (c->id <= 0) continue;
        const int held = step % c->chunk_steps;
        memcpy(c->rows[c->turn] + (size_t)held * c->row_bytes, (const char *)record + t->layout->at[v], c->row_bytes);
        if (held + 1 == c->chunk_steps && column_flush(t, v, step - held, held + 1) != 0) return -1;
    }
    t->n_steps = step + 1;
    return 0;
}

/* What was planned beyond the last step is cut off. */
static int steps_trim(hid_t id, hsize_t n_steps, const char *name)
{
    hsize_t n[HDF5_MAX_DIMS];
    const hid_t space = H5Dget_space(id);
    const bool good = space >= 0 && H5Sget_simple_extent_dims(space, n, NULL) > 0;
    if (space >= 0) H5Sclose(space);
    if (!good) return hdf5_fail("%s: no dimensions", name);
    n[0] = n_steps;
    return H5Dset_extent(id, n) < 0 ? hdf5_fail("%s: cannot set the number of steps", name) : 0;
}

static int rest_write(struct trace *t)
{
    const bool early = t->n_steps < t->run->n_steps;
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const struct column *c = &t->columns[v];
        if (c->id <= 0) continue;
        const int held = t->n_steps % c->chunk_steps;
        if (column_flush(t, v, t->n_steps - held, held) != 0) return -1;
        if (early) TRY(steps_trim(c->id, (hsize_t)t->n_steps, record_var_defs[v].name), "%s", t->part);
    }
    if (early) TRY(steps_trim(t->dims[DIM_STEP].id, (hsize_t)t->n_steps, "step"), "%s", t->part);
    return 0;
}

static int late_write(struct trace *t, const float *k_spread, const float *v_spread, const int32_t *first_divergence)
{
    if (!k_spread != (t->k_spread <= 0) || !v_spread != (t->v_spread <= 0))
        return fail("k_spread and v_spread belong to the drift group");
    if (!first_divergence != (t->first_divergence <= 0)) return fail("first_divergence belongs to follow: self");
    if (k_spread) TRY(hdf5_dataset_write(t->k_spread, H5T_NATIVE_FLOAT, k_spread, "k_spread"), "k_spread");
    if (v_spread) TRY(hdf5_dataset_write(t->v_spread, H5T_NATIVE_FLOAT, v_spread, "v_spread"), "v_spread");
    if (!first_divergence) return 0;
    return hdf5_dataset_write(t->first_divergence, H5T_NATIVE_INT32, first_divergence, "first_divergence");
}

static void ids_close(struct trace *t)
{
    for (int v = 0; v < N_RECORD_VARS; v++) hdf5_id_close(&t->columns[v].id);
    for (int i = 0; i < N_TRACE_DIMS; i++) hdf5_id_close(&t->dims[i].id);
    hdf5_id_close(&t->k_spread);
    hdf5_id_close(&t->v_spread);
    hdf5_id_close(&t->first_divergence);
}

static int path_sync(const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) return fail("%s: cannot open: %s", path, strerror(errno));
    const int rc = fsync(fd) != 0 ? fail("%s: cannot sync: %s", path, strerror(errno)) : 0;
    close(fd);
    return rc;
}

/* After this the file is whole under its own name, also after a power failure. */
static int part_publish(struct trace *t)
{
    char folder[4096];
    const char *slash = strrchr(t->path, '/');
    if (snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - t->path + 1) : 1, slash ? t->path : ".") >= (int)sizeof folder)
        return fail("%s: the path is too long", t->path);
    if (path_sync(t->part, O_RDONLY) != 0) return -1;
    if (rename(t->part, t->path) != 0) return fail("%s: cannot rename to %s: %s", t->part, t->path, strerror(errno));
    t->finished = true;
    return path_sync(folder, O_RDONLY | O_DIRECTORY);
}

int trace_finish(struct trace *t, const float *k_spread, const float *v_spread, const int32_t *first_divergence, int n_steps)
{
    if (t->finished) return fail("%s: finished twice", t->path);
    if (n_steps != t->n_steps) return fail("%s: %d steps were run, %d were written", t->part, n_steps, t->n_steps);
    if (t->writer && trace_writer_finish(t->writer) != 0) return -1;
    trace_writer_close(t->writer);
    t->writer = NULL;
    if (rest_write(t) != 0) return -1;
    TRY(late_write(t, k_spread, v_spread, first_divergence), "%s", t->part);
    TRY(trace_write_end(t->file, t->prov, n_steps), "%s", t->part);
    ids_close(t);
    if (hdf5_close(&t->file, t->part) != 0 || trace_seal_write(t->part) != 0) return -1;
    return part_publish(t);
}

void trace_close(struct trace *t)
{
    if (!t) return;
    trace_writer_close(t->writer);
    /* The part goes before the handles: whatever the close does, no half-made file is left. */
    if (t->made && !t->finished) unlink(t->part);
    if (t->file > 0) hdf5_abandon(&t->file);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        mem_free(t->columns[v].rows[0]);
        mem_free(t->columns[v].rows[1]);
    }
    mem_free(t->part);
    mem_free(t->path);
    mem_free(t);
}
