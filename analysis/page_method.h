/* analysis/page_method.h: the report's notes on its method: what intervals are, and how often they are right. */
#ifndef ANALYSIS_PAGE_METHOD_H
#define ANALYSIS_PAGE_METHOD_H

#include <stdio.h>

/* The section, with one table.  The numbers are what simulations gave whose programs are in tests/: sim_coverage.c (4,000 samples of
 * each kind), sim_growth.c and sim_growth_study.c (1,000 each). */
void page_method_write(FILE *out);

#endif
