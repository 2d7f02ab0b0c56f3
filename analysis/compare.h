/* analysis/compare.h: several results folders side by side.                                                      */
#ifndef ANALYSIS_COMPARE_H
#define ANALYSIS_COMPARE_H

#include "analysis/evidence.h"

/* tables/compare.csv, .md and compare.html in the first folder: a row for each lane of each study of each folder, lanes of the same
 * name together.  n: 2 or more.  Nothing is tested across folders: texts, models and commits may differ, and the rows say which. */
int compare_write(const struct evidence *all, int n);

#endif
