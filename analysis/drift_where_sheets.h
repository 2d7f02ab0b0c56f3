/* analysis/drift_where_sheets.h: the tables of where the drift sits, for each group of lanes (analysis/growth_group.h): its lane
 * that is never rectified, and its clean lane.                                                                      */
#ifndef ANALYSIS_DRIFT_WHERE_SHEETS_H
#define ANALYSIS_DRIFT_WHERE_SHEETS_H

#include "analysis/growth_study.h"
#include "analysis/sheet.h"

/* What the tables are called before their suffix; NULL after the last. */
extern const char *const drift_where_sheet_names[];

/* Adds them, of at most WHERE_MAX_GROUPS groups: who is left out is told in missing. */
enum { WHERE_MAX_GROUPS = 8 };
int drift_where_tables(const struct growth_study *g, struct sheet_list *tables, const char *suffix,
                       struct notes *missing);

#endif
