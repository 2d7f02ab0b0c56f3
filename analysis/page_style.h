/* analysis/page_style.h: the head, the looks and the end of a page that needs no network: for a screen, a phone and paper. */
#ifndef ANALYSIS_PAGE_STYLE_H
#define ANALYSIS_PAGE_STYLE_H

#include <stdio.h>

/* Up to the title. */
void page_begin(FILE *out, const char *title);
void page_end(FILE *out);

#endif
