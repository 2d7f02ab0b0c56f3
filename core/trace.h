/* core/trace.h: the trace of one run, an HDF5 file after netCDF-4's rules (DESIGN.md section 6 lists the datasets).
 *
 * It is written to PATH.part, closed, synced and renamed to PATH by trace_finish(); a trace that is closed
 * without it leaves no file.  Records are gathered into whole chunks before they are written.  Bytes depend on the
 * data and the head alone: no object times; what differs between two equal runs (start and end time, host, peak
 * memory, threads, commit) is kept in root attributes.                                                    */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "core/plan.h"
#include "core/provenance.h"
#include "core/record.h"

struct trace;                                   /* opaque: HDF5 handles and the chunk buffer */

/* path: RESULTS/runs/RUN.h5.  config_text: the config as understood (a root attribute).  All arguments are borrowed
 * until trace_close. */
int  trace_open(struct trace **t, const char *path, const struct run_plan *run, const struct model *model,
                const struct record_layout *layout, const struct provenance *prov, const char *config_text);
/* record: laid out by layout, of step `step`; steps come in order 0 .. */
int  trace_write(struct trace *t, int step, const void *record);
/* k_spread, v_spread f32 [n_layers][n_kv_heads] (NULL without the drift group); first_divergence i32 [n_lanes]
 * (NULL unless follow is self); n_steps: steps recorded (fewer than planned where eos stopped the run). */
int  trace_finish(struct trace *t, const float *k_spread, const float *v_spread, const int32_t *first_divergence, int n_steps);
void trace_close(struct trace *t);              /* after finish: frees; before it: removes the part file as well. NULL is fine */

#endif
