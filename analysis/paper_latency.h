/* analysis/paper_latency.h: the published times of a step beside those that a folder of experiment latency holds. */
#ifndef ANALYSIS_PAPER_LATENCY_H
#define ANALYSIS_PAPER_LATENCY_H

#include "analysis/latency.h"
#include "analysis/sheet.h"

/* "paper-latency": v2 Figure 6 and the end-to-end speedups, a row for each number; what was not timed says so. */
int paper_latency_sheet(struct sheet *t, const struct latency_study *s);

#endif
