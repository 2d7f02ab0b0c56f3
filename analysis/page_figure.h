/* analysis/page_figure.h: a drawn figure in a page: its svg, its caption, links to its files.                       */
#ifndef ANALYSIS_PAGE_FIGURE_H
#define ANALYSIS_PAGE_FIGURE_H

#include "analysis/figure.h"

/* folder: of the plots as the page sees it, "plots"; NULL: no links.  prefix: "" or what makes ids of figures of one name differ. */
int page_figure_write(FILE *out, const struct figure *f, const char *folder, const char *prefix);

#endif
