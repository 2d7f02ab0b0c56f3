/* analysis/paper_sheets.h: what was published beside what a study has measured: whether the same is seen, and what differs.
 *
 *   paper          the findings that a study can speak to, each with the number here, whether it agrees, and what differs; those that it
 *                  cannot are there too, as not run
 *   paper-lengths  top-3 accuracy on the last steps by how many tokens were decoded sparsely (v2 Figures 1, 4 and 5); only where lanes
 *                  that are dense until some step were run
 *   paper-numbers  every published number, and what it would take to run it
 *
 * Nothing is added where the study has none of the lanes.                                                        */
#ifndef ANALYSIS_PAPER_SHEETS_H
#define ANALYSIS_PAPER_SHEETS_H

#include "analysis/sheet.h"
#include "analysis/study.h"

enum { PAPER_LAST_STEPS = 32 }; /* that the paper counts its accuracy on */

extern const char *const paper_sheet_names[]; /* NULL-terminated, without a study's suffix */

int paper_sheets(struct sheet_list *l, const struct study *s, const char *suffix);

#endif
