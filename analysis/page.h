/* analysis/page.h: report.html: one file that needs no network, for a screen, a phone and paper.                  */
#ifndef ANALYSIS_PAGE_H
#define ANALYSIS_PAGE_H

#include "analysis/evidence.h"
#include "analysis/figure.h"
#include "analysis/findings.h"
#include "analysis/sheet.h"

/* Of one study. */
struct page_part {
    const struct study *study;
    struct notes headline, findings[N_FINDINGS_KINDS], missing;
    struct figure *figures; /* borrowed [n_figures] */
    int n_figures;
    struct sheet *tables; /* borrowed [n_tables] */
    int n_tables;
};

/* Replaces FOLDER/report.html. */
int page_write(const struct evidence *e, const struct page_part *parts, int n_parts);

#endif
