/* analysis/report.h: a results folder's tables, plots and report.html; several folders side by side.                 */
#ifndef ANALYSIS_REPORT_H
#define ANALYSIS_REPORT_H

#include "core/notes.h"

/* What is left to say when a report ends. */
struct report_told {
    struct notes pages;    /* paths of what was written for reading */
    struct notes warnings; /* "FOLDER: WARNING", as the pages list them */
};
void report_told_close(struct report_told *told);

/* For each folder: FOLDER/tables/NAME.csv, .md and .tex, FOLDER/plots/NAME.gp, .svg, .pdf and .png, FOLDER/report.html.  With more
 * than one folder also what analysis/compare.h leaves beside the first.  Everything follows from the traces alone: the same
 * traces give the same bytes.  Figures and tables of an earlier report of the folder that this one does
 * not have are removed (analysis/leftovers.h).
 * A broken run is a warning in the report, and so is a missing gnuplot: then the figures are scripts alone.  -1: a folder has no
 * run that can be read, something cannot be written, or gnuplot fails.                                           */
int report_write(int n_folders, char *const *folders);
/* The same; bound: an error in nats for which the longest rectification interval that keeps it is told, beside those of a few
 * bounds in the table; NaN: none.  told: zeroed, filled as far as the report gets; NULL: nobody asks. */
int report_write_bound(int n_folders, char *const *folders, double bound, struct report_told *told);

#endif
