/* analysis/compare.h: several folders of drift runs side by side: a table of lanes by name, a figure, and the main figures of each. */
#ifndef ANALYSIS_COMPARE_H
#define ANALYSIS_COMPARE_H

#include "analysis/page.h"

/* FOLDER/tables/compare.csv .., FOLDER/plots/compare.svg .. and FOLDER/compare.html.  Lanes of the same name of each study of each of
 * the results stand together, called by their labels.  all: [n], n 2 or more; parts: [n][all[i].n_studies], what each one's report
 * shows; folder: labels_folder_make()'s.  Nothing is tested across results: texts, models and commits may differ; the table says
 * which runs it is of: commit, command and when the last of them ended. */
int compare_write(const struct evidence *all, struct page_part *const *parts, int n, const char *folder);

#endif
