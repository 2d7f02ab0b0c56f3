/* analysis/study_load.h: one trace reduced to a study_run.                                                      */
#ifndef ANALYSIS_STUDY_LOAD_H
#define ANALYSIS_STUDY_LOAD_H

#include "analysis/study.h"

/* run is zeroed; study_run_close() is due after a failure too.  The maps of lanes and texts are the study's to fill. */
int study_run_load(struct study_run *run, const struct trace_file *f);
void study_run_close(struct study_run *run);
/* Adds a layered variable of the run to the study's map: run->map is filled, map_sum has a place for every lane. */
int study_map_add(struct study *s, const struct study_run *run, const struct trace_file *f, enum study_map map);

#endif
