/* analysis/compare.h: several results folders side by side: a table of lanes by name, a figure, and the main figures of each. */
#ifndef ANALYSIS_COMPARE_H
#define ANALYSIS_COMPARE_H

#include "analysis/page.h"

/* tables/compare.csv .., plots/compare.svg .. and compare.html, in a folder of their own beside the first of the results, named
 * compare-FIRST-SECOND ..: a comparison belongs to none of them, and one with others does not overwrite it.  Lanes of the same
 * name of each study of each folder stand together.  all: [n], n 2 or more; parts: [n][all[i].n_studies], what each one's report
 * shows; folder: [PATH_MAX], filled.  Nothing is tested across folders: texts, models and commits may differ; the table says
 * which runs it is of: commit, command and when the last of them ended. */
int compare_write(const struct evidence *all, struct page_part *const *parts, int n, char *folder);

#endif
