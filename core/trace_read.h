/* core/trace_read.h: traces, read back for analysis, the index and `resa info`.
 *
 * A trace is untrusted input: it may be truncated, of another program, or edited.  trace_file_open() checks that it is what
 * was written (core/trace_seal.h) and a trace of this schema, that its dimensions are sane and that every variable of core/record.h has the dimensions and the
 * kind of type it should have; reading checks sizes again.  The message of a failure says which it was.
 *
 * Values that mean "not there" (the variable's _FillValue: NaN, -1, 255) are NaN where a variable is read as floating
 * point, and stay as they are where it is read as integers.                                                    */
#ifndef CORE_TRACE_READ_H
#define CORE_TRACE_READ_H

#include "core/lane.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRACE_ALL = -1, TRACE_MAX_DIMS = 5 };

struct trace_file {
    char *path;                    /* owned */
    int64_t id;                    /* HDF5's; 0: not open */
    int n_steps, n_lanes, n_layers, n_kv_heads, n_prompt; /* n_steps: recorded, fewer than steps_planned where eos stopped it */
    int n_slots;                   /* 0 without the selection group */
    int steps_planned;
    char run_id[160], source[64], model[64];
    int start, prompt_tokens, batch; /* batch: 0 but for experiment latency */
    uint64_t seed;
    struct lane_spec *lanes;       /* owned [n_lanes], as they were run */
};

struct trace_var {
    char name[64];
    char group[16];                /* "" for what is always there, or the metric group */
    char type[16];                 /* "float32", "int32", "uint8", "string", .. */
    int n_dims;
    char dims[TRACE_MAX_DIMS][32]; /* names of the dimensions */
    int64_t n[TRACE_MAX_DIMS];
    uint64_t n_values, stored_bytes; /* stored_bytes: compressed */
};

int  trace_file_open(struct trace_file *f, const char *path);
void trace_file_close(struct trace_file *f);   /* safe on a zeroed, half-opened or closed struct */

/* Whether the path is a regular file that begins like an HDF5 file. */
bool trace_file_is_hdf5(const char *path);

bool trace_has(const struct trace_file *f, const char *name);
int  trace_var_find(const struct trace_file *f, const char *name, struct trace_var *var);
/* Calls each(data, var) for every dataset, in the order they were created; stops where it returns other than 0. */
int  trace_vars_each(const struct trace_file *f, int (*each)(void *data, const struct trace_var *var), void *data);

/* A variable, whole or one lane's, one layer's part of it, in the order of its dimensions; lane, layer: TRACE_ALL or an
 * index (of a dimension that the variable has).  n_out: elements that out holds, which must be what the slab has:
 * for k_drift with lane 2 and TRACE_ALL it is n_steps * n_layers. */
int  trace_read_float(const struct trace_file *f, const char *name, int lane, int layer, float *out, size_t n_out);
int  trace_read_double(const struct trace_file *f, const char *name, int lane, int layer, double *out, size_t n_out);
int  trace_read_int(const struct trace_file *f, const char *name, int lane, int layer, int64_t *out, size_t n_out);

/* Steps first .. first + n - 1 of an int32 variable whose first dimension is step; n_out: elements of out. */
int  trace_read_steps(const struct trace_file *f, const char *name, int first, int n, int32_t *out, size_t n_out);

/* Attributes of the root.  *text: the caller's, mem_free(). */
int  trace_attr_text(const struct trace_file *f, const char *name, char **text);
int  trace_attr_int(const struct trace_file *f, const char *name, int64_t *value);
/* One of a variable's texts, such as nll's target_of. */
int  trace_var_attr_text(const struct trace_file *f, const char *var, const char *name, char **text);
/* Calls each(data, name, value as text) for every root attribute, in order. */
int  trace_attrs_each(const struct trace_file *f, int (*each)(void *data, const char *name, const char *value), void *data);

#endif
