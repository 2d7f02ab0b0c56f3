/* What is in a trace: its variables and attributes, one after another. */
#include "core/err.h"
#include "core/mem.h"
#include "core/trace_values.h"
#include "core/trace_vars.h"

#include <stdio.h>
#include <string.h>

static const char *type_name(hid_t type, char *text, size_t n_bytes)
{
    const H5T_class_t class = H5Tget_class(type);
    const size_t bits = 8 * H5Tget_size(type);
    if (class == H5T_STRING) return "string";
    if (class == H5T_FLOAT) snprintf(text, n_bytes, "float%zu", bits);
    else if (class == H5T_INTEGER) snprintf(text, n_bytes, "%s%zu", H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int", bits);
    else snprintf(text, n_bytes, "other");
    return text;
}

static void group_name(const char *name, char *text, size_t n_bytes)
{
    unsigned group = 0;
    for (int v = 0; v < N_RECORD_VARS; v++)
        if (strcmp(record_var_defs[v].name, name) == 0) group = record_var_defs[v].group;
    if (strcmp(name, "k_spread") == 0 || strcmp(name, "v_spread") == 0) group = METRIC_DRIFT;
    text[0] = '\0';
    for (int i = 0; metric_names[i]; i++)
        if (group == 1u << i) snprintf(text, n_bytes, "%s", metric_names[i]);
}

int trace_var_find(const struct trace_file *f, const char *name, struct trace_var *var)
{
    hsize_t n[TRACE_MAX_DIMS] = { 0 };
    char text[16];
    *var = (struct trace_var){ .n_values = 1 };
    const hid_t id = trace_dataset_open(f, name);
    if (id < 0) return -1;
    var->n_dims = trace_dataset_extent(f, id, name, n);
    const hid_t type = H5Dget_type(id);
    if (var->n_dims >= 0 && type >= 0) {
        const struct trace_dim_list list = trace_dims_known(name);
        snprintf(var->name, sizeof var->name, "%s", name);
        snprintf(var->type, sizeof var->type, "%s", type_name(type, text, sizeof text));
        group_name(name, var->group, sizeof var->group);
        var->stored_bytes = H5Dget_storage_size(id);
        for (int i = 0; i < var->n_dims; i++) {
            snprintf(var->dims[i], sizeof var->dims[i], "%s", list.n == var->n_dims ? trace_dim_defs[list.dims[i]].name : "?");
            var->n[i] = (int64_t)n[i];
            if (__builtin_mul_overflow(var->n_values, (uint64_t)n[i], &var->n_values)) var->n_values = UINT64_MAX;
        }
    }
    const int rc = var->n_dims < 0 ? -1 : type < 0 ? hdf5_fail("%s: %s has no type", f->path, name) : 0;
    if (type >= 0) H5Tclose(type);
    H5Dclose(id);
    return rc;
}

int trace_vars_each(const struct trace_file *f, int (*each)(void *data, const struct trace_var *var), void *data)
{
    H5G_info_t info;
    if (H5Gget_info(f->id, &info) < 0) return hdf5_fail("%s: its contents cannot be listed", f->path);
    for (hsize_t i = 0; i < info.nlinks; i++) {
        struct trace_var var;
        char name[sizeof var.name];
        H5O_info_t object;
        const ssize_t n = H5Lget_name_by_idx(f->id, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
        if (n < 0) return hdf5_fail("%s: its contents cannot be listed", f->path);
        /* Another program may have added things: longer names and groups are none of ours. */
        if ((size_t)n >= sizeof name || H5Oget_info_by_name2(f->id, name, &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0 ||
            object.type != H5O_TYPE_DATASET)
            continue;
        if (trace_var_find(f, name, &var) != 0) return -1;
        const int rc = each(data, &var);
        if (rc != 0) return rc;
    }
    return 0;
}

int trace_attr_text(const struct trace_file *f, const char *name, char **text)
{
    TRY(hdf5_attr_read_text(f->id, name, text), "%s", f->path);
    return 0;
}

int trace_attr_int(const struct trace_file *f, const char *name, int64_t *value)
{
    TRY(hdf5_attr_read_int(f->id, name, value), "%s", f->path);
    return 0;
}

int trace_var_attr_text(const struct trace_file *f, const char *var, const char *name, char **text)
{
    const hid_t id = trace_dataset_open(f, var);
    if (id < 0) return -1;
    const int rc = hdf5_attr_read_text(id, name, text);
    H5Dclose(id);
    return rc == 0 ? 0 : fail_in("%s: %s", f->path, var);
}

/* Any attribute of one value as text; NULL and 0 for what is of another kind. */
static int attr_print(hid_t root, const char *name, char **text)
{
    char buffer[32];
    const hid_t attr = H5Aopen(root, name, H5P_DEFAULT);
    const hid_t type = attr >= 0 ? H5Aget_type(attr) : -1, space = attr >= 0 ? H5Aget_space(attr) : -1;
    const H5T_class_t class = type >= 0 ? H5Tget_class(type) : H5T_NO_CLASS;
    const bool one = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    uint64_t number = 0;
    double real = 0;
    int rc = 0;
    *text = NULL;
    if (one && class == H5T_STRING && H5Tis_variable_str(type) > 0) {
        rc = hdf5_attr_read_text(root, name, text);
    } else if (one && class == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE && H5Aread(attr, H5T_NATIVE_UINT64, &number) >= 0) {
        snprintf(buffer, sizeof buffer, "%llu", (unsigned long long)number);
        rc = mem_strdup(text, buffer);
    } else if (one && class == H5T_INTEGER && H5Aread(attr, H5T_NATIVE_INT64, &number) >= 0) {
        snprintf(buffer, sizeof buffer, "%lld", (long long)number);
        rc = mem_strdup(text, buffer);
    } else if (one && class == H5T_FLOAT && H5Aread(attr, H5T_NATIVE_DOUBLE, &real) >= 0) {
        snprintf(buffer, sizeof buffer, "%.9g", real);
        rc = mem_strdup(text, buffer);
    }
    if (space >= 0) H5Sclose(space);
    if (type >= 0) H5Tclose(type);
    if (attr >= 0) H5Aclose(attr);
    return rc;
}

int trace_attrs_each(const struct trace_file *f, int (*each)(void *data, const char *name, const char *value), void *data)
{
    H5O_info_t info;
    if (H5Oget_info2(f->id, &info, H5O_INFO_NUM_ATTRS) < 0) return hdf5_fail("%s: its attributes cannot be listed", f->path);
    for (hsize_t i = 0; i < info.num_attrs; i++) {
        char name[64], *text = NULL;
        const ssize_t n = H5Aget_name_by_idx(f->id, ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
        if (n < 0) return hdf5_fail("%s: its attributes cannot be listed", f->path);
        if ((size_t)n >= sizeof name) continue;
        TRY(attr_print(f->id, name, &text), "%s", f->path);
        const int rc = text ? each(data, name, text) : 0;
        mem_free(text);
        if (rc != 0) return rc;
    }
    return 0;
}
