/* core/trace.h: the trace of one run, an HDF5 file after netCDF-4's rules.
 *
 * Datasets: the coordinates (step, lane, layer, kv_head, prompt_position and, with the selection group, slot), the join
 * keys as scalars (run_id, source, start, seed, model, prompt_tokens), the lanes' settings (lane_*), prompt_token, k_spread and
 * v_spread, first_divergence, and every variable of core/record.h whose group is on.  Settings that are fractions
 * (lane_sparsity, lane_perturb) are float64, so that they equal what the config says; what is measured is float32.
 * The root's attributes hold the config, the model's and the run's facts and the provenance.
 *
 * It is written to PATH.part, closed, sealed (core/trace_seal.h), synced and renamed to PATH by trace_finish(); a trace that is closed
 * without it leaves no file.  Records are gathered into whole chunks before they are written.  Bytes depend on the
 * data and the head alone: no object times; what differs between two equal runs (start and end time, host, peak
 * memory, threads, commit) is kept in root attributes.                                                    */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include "core/plan.h"
#include "core/provenance.h"
#include "core/record.h"

struct trace;                                   /* opaque: HDF5 handles and the chunk buffers */

/* path: RESULTS/runs/RUN.h5.  config_text: the config as understood (a root attribute).  All arguments are borrowed
 * until trace_close.  *t is NULL after a failure, and no file is left. */
int  trace_open(struct trace **t, const char *path, const struct run_plan *run, const struct model *model,
                const struct record_layout *layout, const struct provenance *prov, const char *config_text);
/* From here on a thread of the trace's compresses and writes, for a run that leaves the host's cores idle: a failure comes with a later
 * call.  Once, before the first record. */
int  trace_write_behind(struct trace *t);
/* record: laid out by layout, of step `step`; steps come in order 0 .. */
int  trace_write(struct trace *t, int step, const void *record);
/* k_spread, v_spread f32 [n_layers][n_kv_heads] (NULL without the drift group); first_divergence i32 [n_lanes]
 * (NULL unless follow is self); n_steps: steps recorded, all that were written (fewer than planned where eos stopped
 * the run).  The provenance is read here for the end time and peak memory: provenance_stop() comes before. */
int  trace_finish(struct trace *t, const float *k_spread, const float *v_spread, const int32_t *first_divergence, int n_steps);
void trace_close(struct trace *t);              /* after finish: frees; before it: removes the part file as well. NULL is fine */

/* What the chunk buffers of a trace will take, for the plan's account of memory; trace_write_behind() takes as much again on the host. */
size_t trace_buffer_bytes(const struct record_layout *layout, int n_steps);

#endif
