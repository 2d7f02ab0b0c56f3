/* core/trace_vars.h: what a trace holds beside the record's variables: attributes, dimensions, settings.
 *
 * Shared by the writer and the reader of traces, and by nothing else.                                       */
#ifndef CORE_TRACE_VARS_H
#define CORE_TRACE_VARS_H

#include "core/hdf5_file.h"
#include "core/plan.h"
#include "core/provenance.h"
#include "core/record.h"

enum trace_dim { DIM_STEP, DIM_LANE, DIM_LAYER, DIM_KV_HEAD, DIM_PROMPT_POSITION, DIM_SLOT, N_TRACE_DIMS };

struct trace_dim_def {
    const char *name, *long_name;
};
extern const struct trace_dim_def trace_dim_defs[N_TRACE_DIMS];

/* The dimensions of a record's variable with its step dimension: 1 .. 5 of enum trace_dim. */
struct trace_dim_list {
    int n;
    enum trace_dim dims[HDF5_MAX_DIMS];
};
const struct trace_dim_list *trace_dims_of(enum record_dims dims);

hid_t trace_type_of(enum record_type type);          /* the native HDF5 type */
/* One element that means "not there", or NULL where the type has none (int64). */
const void *trace_fill_of(enum record_type type);

/* The lanes' settings: name, long name, units, and where the value stands in struct lane_spec. */
enum lane_kind { LANE_TEXT, LANE_INT, LANE_DOUBLE, LANE_SELECTOR };
struct trace_lane_def {
    const char *name, *units, *long_name;
    enum lane_kind kind;
    size_t at, n_bytes;                              /* n_bytes: capacity of a text */
};
enum { N_TRACE_LANE_DEFS = 15 };
extern const struct trace_lane_def trace_lane_defs[N_TRACE_LANE_DEFS];

/* Root attributes that are known when the trace is opened, and those only known at its end. */
int trace_write_head(hid_t file, const struct run_plan *run, const struct model *model, const struct provenance *prov,
                     const char *config_text);
int trace_write_end(hid_t file, const struct provenance *prov, int n_steps);
/* Scalars, prompt_token and lane_*; dims: [N_TRACE_DIMS], created. */
int trace_write_static(hid_t file, const struct hdf5_dim *dims, const struct run_plan *run, const struct model *model);

#endif
