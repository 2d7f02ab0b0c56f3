/* analysis/latency_compare.h: several folders of experiment latency side by side.                                    */
#ifndef ANALYSIS_LATENCY_COMPARE_H
#define ANALYSIS_LATENCY_COMPARE_H

#include "analysis/latency.h"

/* FOLDER/tables/compare.csv .., FOLDER/plots/compare.svg .. and FOLDER/compare.html: times of lanes of one name at one batch and
 * context together, called by their labels, each beside the first of the results.  all: [n], n 2 or more; folder:
 * labels_folder_make()'s.  Nothing is tested: a median's interval is of the steps of one run, and what differs between two runs (the
 * machine, its clock, the build) is not in it. */
int latency_compare_write(const struct latency_study *all, int n, const char *folder);

#endif
