/* analysis/latency_plot.h: what figures of times have in common: a panel for each batch, contexts along it.          */
#ifndef ANALYSIS_LATENCY_PLOT_H
#define ANALYSIS_LATENCY_PLOT_H

#include "analysis/latency.h"
#include "analysis/plot_grid.h"

enum { LATENCY_MAX_BATCHES = 6 };

/* The batches of [n] points, which are in order of batch; how many, LATENCY_MAX_BATCHES at most. */
int latency_plot_batches(const struct latency_point *points, int n, int *batches);
/* Fails where there is no batch. */
int latency_plot_panels(struct figure *f, struct plot_grid *g, int n_batches);
/* One name for the y axes of a row: beside the second panel it would stand in the first. */
void latency_plot_names(const struct plot_grid *g, FILE *out, int panel, const char *y_name);
/* Both axes logarithmic, a tick at every context, a number at every other, as a factor of 2 is a narrow place. */
void latency_plot_contexts(FILE *out, const struct latency_point *points, int n);

#endif
