/* analysis/study_load.h: one trace reduced to a study_run, in one pass over each of its variables.              */
#ifndef ANALYSIS_STUDY_LOAD_H
#define ANALYSIS_STUDY_LOAD_H

#include "analysis/study.h"

/* run is zeroed; study_run_close() is due after a failure too.  s: for its number of steps and bins; map and text are the study's
 * to fill. */
int study_run_load(struct study_run *run, const struct study *s, const struct trace_file *f);
void study_run_close(struct study_run *run);

/* The layered variables: series, grids, greatest values. */
int study_layers_load(struct study_run *run, const struct study *s, const struct trace_file *f);

/* Bins of an axis. */
int study_axis_bins(const struct study *s, enum study_axis axis);
void study_grid_close(struct study_grid *g);

#endif
