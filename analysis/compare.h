/* analysis/compare.h: several results folders side by side: a table of lanes by name, a figure, and the main figures of each. */
#ifndef ANALYSIS_COMPARE_H
#define ANALYSIS_COMPARE_H

#include "analysis/page.h"

/* tables/compare.csv, .md, plots/compare.svg .., and compare.html in the first folder: lanes of the same name of each
 * study of each folder together.  all: [n], n 2 or more; parts: [n][all[i].n_studies], what each one's report shows.  Nothing is
 * tested across folders: texts, models and commits may differ, and the rows say which. */
int compare_write(const struct evidence *all, struct page_part *const *parts, int n);

#endif
