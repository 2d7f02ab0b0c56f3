#include "core/trace_values.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/trace_vars.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

bool trace_file_is_hdf5(const char *path)
{
    static const char magic[8] = { '\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n' };
    char head[8] = { 0 };
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return false;
    FILE *f = fopen(path, "rbe");
    if (!f) return false;
    const bool yes = fread(head, 1, sizeof head, f) == sizeof head && memcmp(head, magic, sizeof magic) == 0;
    fclose(f);
    return yes;
}

bool trace_has(const struct trace_file *f, const char *name)
{
    return H5Lexists(f->id, name, H5P_DEFAULT) > 0;
}

hid_t trace_dataset_open(const struct trace_file *f, const char *name)
{
    if (!trace_has(f, name)) return fail("%s: no variable %s in this trace", f->path, name);
    const hid_t id = H5Dopen2(f->id, name, H5P_DEFAULT);
    return id < 0 ? hdf5_fail("%s: %s cannot be read", f->path, name) : id;
}

int trace_dataset_extent(const struct trace_file *f, hid_t id, const char *name, hsize_t *n)
{
    const hid_t space = H5Dget_space(id);
    if (space < 0) return hdf5_fail("%s: %s has no extent", f->path, name);
    const int n_dims = H5Sget_simple_extent_ndims(space);
    const bool fits = n_dims >= 0 && n_dims <= TRACE_MAX_DIMS;
    if (fits) H5Sget_simple_extent_dims(space, n, NULL);
    H5Sclose(space);
    if (!fits) return fail("%s: %s has %d dimensions, at most %d are known", f->path, name, n_dims, TRACE_MAX_DIMS);
    for (int i = 0; i < n_dims; i++)
        if (n[i] > TRACE_MAX_LENGTH)
            return fail("%s: %s: dimension %d is %llu long, at most %d is possible", f->path, name, i, (unsigned long long)n[i],
                        TRACE_MAX_LENGTH);
    return n_dims;
}

H5T_class_t trace_dataset_class(hid_t id)
{
    const hid_t type = H5Dget_type(id);
    if (type < 0) return H5T_NO_CLASS;
    const H5T_class_t class = H5Tget_class(type);
    H5Tclose(type);
    return class;
}

static const struct record_var_def *def_find(const char *name)
{
    for (int v = 0; v < N_RECORD_VARS; v++)
        if (strcmp(record_var_defs[v].name, name) == 0) return &record_var_defs[v];
    return NULL;
}

struct trace_dim_list trace_dims_known(const char *name)
{
    const struct record_var_def *def = def_find(name);
    if (def) return *trace_dims_of(def->dims);
    if (strcmp(name, "k_spread") == 0 || strcmp(name, "v_spread") == 0) return (struct trace_dim_list){ 2, { DIM_LAYER, DIM_KV_HEAD } };
    if (strcmp(name, "prompt_token") == 0) return (struct trace_dim_list){ 1, { DIM_PROMPT_POSITION } };
    if (strcmp(name, "first_divergence") == 0 || strncmp(name, "lane_", 5) == 0) return (struct trace_dim_list){ 1, { DIM_LANE } };
    for (int i = 0; i < N_TRACE_DIMS; i++)
        if (strcmp(name, trace_dim_defs[i].name) == 0) return (struct trace_dim_list){ 1, { (enum trace_dim)i } };
    return (struct trace_dim_list){ 0 };
}

/* Narrows a dimension to one index. */
static int slab_pick(const struct trace_file *f, const char *name, enum trace_dim dim, int index, hsize_t *at, hsize_t *n, int n_dims)
{
    const struct trace_dim_list list = trace_dims_known(name);
    if (index == TRACE_ALL) return 0;
    for (int i = 0; i < list.n && i < n_dims; i++) {
        if (list.dims[i] != dim) continue;
        if (index < 0 || (hsize_t)index >= n[i])
            return fail("%s: %s: %s %d is asked for, there are %llu", f->path, name, trace_dim_defs[dim].name, index,
                        (unsigned long long)n[i]);
        at[i] = (hsize_t)index;
        n[i] = 1;
        return 0;
    }
    return fail("%s: %s has no dimension %s", f->path, name, trace_dim_defs[dim].name);
}

/* The part of a dataset that is asked for, as a selection. */
static int slab_select(const struct trace_file *f, const char *name, hid_t id, int lane, int layer, size_t n_out, hid_t *space)
{
    hsize_t n[TRACE_MAX_DIMS] = { 0 }, at[TRACE_MAX_DIMS] = { 0 };
    uint64_t total = 1;
    const int n_dims = trace_dataset_extent(f, id, name, n);
    if (n_dims < 0 || slab_pick(f, name, DIM_LANE, lane, at, n, n_dims) != 0 || slab_pick(f, name, DIM_LAYER, layer, at, n, n_dims) != 0)
        return -1;
    for (int i = 0; i < n_dims; i++)
        if (__builtin_mul_overflow(total, (uint64_t)n[i], &total)) return fail("%s: %s is larger than memory can address", f->path, name);
    if (total != n_out) return fail("%s: %s has %llu values, %zu were asked for", f->path, name, (unsigned long long)total, n_out);
    *space = H5Dget_space(id);
    if (*space < 0 || (n_dims > 0 && total > 0 && H5Sselect_hyperslab(*space, H5S_SELECT_SET, at, NULL, n, NULL) < 0))
        return hdf5_fail("%s: %s cannot be read", f->path, name);
    return 0;
}

/* The n_out selected values; closes space and id. */
static int selection_read(const struct trace_file *f, const char *name, hid_t id, hid_t space, hid_t type, void *out, size_t n_out)
{
    int rc = 0;
    if (n_out > 0) {
        const hsize_t n = n_out;
        const hid_t memory = H5Screate_simple(1, &n, NULL);
        if (H5Dread(id, type, memory, space, H5P_DEFAULT, out) < 0) rc = hdf5_fail("%s: %s cannot be read", f->path, name);
        H5Sclose(memory);
    }
    H5Sclose(space);
    H5Dclose(id);
    return rc;
}

/* Closes both after a failure. */
static int selection_close(hid_t id, hid_t space)
{
    if (space >= 0) H5Sclose(space);
    H5Dclose(id);
    return -1;
}

static int slab_read(const struct trace_file *f, const char *name, int lane, int layer, hid_t type, void *out, size_t n_out)
{
    hid_t space = -1;
    const hid_t id = trace_dataset_open(f, name);
    if (id < 0) return -1;
    const H5T_class_t class = trace_dataset_class(id);
    int rc = class == H5T_INTEGER || class == H5T_FLOAT ? 0 : fail("%s: %s holds no numbers", f->path, name);
    if (rc == 0) rc = slab_select(f, name, id, lane, layer, n_out, &space);
    return rc == 0 ? selection_read(f, name, id, space, type, out, n_out) : selection_close(id, space);
}

/* The value that stands for "not there" in an integer variable of this program, or NaN: nothing does. */
static double missing_value(const char *name)
{
    const struct record_var_def *def = def_find(name);
    if (def && def->type == REC_I32) return *(const int32_t *)trace_fill_of(REC_I32);
    if (def && def->type == REC_I64) return (double)*(const int64_t *)trace_fill_of(REC_I64);
    if (def && def->type == REC_U8) return *(const uint8_t *)trace_fill_of(REC_U8);
    return NAN;
}

int trace_read_float(const struct trace_file *f, const char *name, int lane, int layer, float *out, size_t n_out)
{
    const float missing = (float)missing_value(name);
    if (slab_read(f, name, lane, layer, H5T_NATIVE_FLOAT, out, n_out) != 0) return -1;
    for (size_t i = 0; i < n_out; i++)
        if (out[i] == missing) out[i] = NAN;
    return 0;
}

int trace_read_double(const struct trace_file *f, const char *name, int lane, int layer, double *out, size_t n_out)
{
    const double missing = missing_value(name);
    if (slab_read(f, name, lane, layer, H5T_NATIVE_DOUBLE, out, n_out) != 0) return -1;
    for (size_t i = 0; i < n_out; i++)
        if (out[i] == missing) out[i] = NAN;
    return 0;
}

int trace_read_int(const struct trace_file *f, const char *name, int lane, int layer, int64_t *out, size_t n_out)
{
    const hid_t id = trace_dataset_open(f, name);
    if (id < 0) return -1;
    const H5T_class_t class = trace_dataset_class(id);
    H5Dclose(id);
    if (class != H5T_INTEGER) return fail("%s: %s holds no integers", f->path, name);
    return slab_read(f, name, lane, layer, H5T_NATIVE_INT64, out, n_out);
}

static int steps_select(const struct trace_file *f, const char *name, hid_t id, int first, int n, size_t n_out, hid_t *space)
{
    hsize_t extent[TRACE_MAX_DIMS] = { 0 }, at[TRACE_MAX_DIMS] = { 0 };
    uint64_t total = 1;
    const int n_dims = trace_dataset_extent(f, id, name, extent);
    if (n_dims < 0) return -1;
    if (n_dims < 1 || first < 0 || n < 1 || (hsize_t)first + (hsize_t)n > extent[0])
        return fail("%s: %s: steps %d .. %d are asked for, there are %llu", f->path, name, first, first + n - 1,
                    n_dims < 1 ? 0ull : (unsigned long long)extent[0]);
    at[0] = (hsize_t)first;
    extent[0] = (hsize_t)n;
    for (int i = 0; i < n_dims; i++)
        if (__builtin_mul_overflow(total, (uint64_t)extent[i], &total)) return fail("%s: %s is larger than memory can address", f->path, name);
    if (total != n_out) return fail("%s: %s has %llu values in these steps, %zu were asked for", f->path, name, (unsigned long long)total, n_out);
    *space = H5Dget_space(id);
    if (*space < 0 || (total > 0 && H5Sselect_hyperslab(*space, H5S_SELECT_SET, at, NULL, extent, NULL) < 0))
        return hdf5_fail("%s: %s cannot be read", f->path, name);
    return 0;
}

int trace_read_steps(const struct trace_file *f, const char *name, int first, int n, int32_t *out, size_t n_out)
{
    hid_t space = -1;
    const hid_t id = trace_dataset_open(f, name);
    if (id < 0) return -1;
    int rc = trace_dataset_class(id) == H5T_INTEGER ? 0 : fail("%s: %s holds no integers", f->path, name);
    if (rc == 0) rc = steps_select(f, name, id, first, n, n_out, &space);
    return rc == 0 ? selection_read(f, name, id, space, H5T_NATIVE_INT32, out, n_out) : selection_close(id, space);
}
