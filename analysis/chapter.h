/* analysis/chapter.h: one study of a results folder on its way into the page: what is drawn from it, its tables and figures. */
#ifndef ANALYSIS_CHAPTER_H
#define ANALYSIS_CHAPTER_H

#include "analysis/contest.h"
#include "analysis/page.h"
#include "analysis/plots.h"

/* One study on its way into the page. */
struct chapter {
    struct corners corners, plain; /* plain: corners_plain(), its sets the chapter's */
    struct contests contests;
    struct pareto pareto;
    struct growth_report growth;
    struct plots plots;
    struct sheet_list tables;
    struct page_part part;
};

/* Writes the study's tables and figures into e's folder; c: zeroed, chapter_close() is due either way.  c->part borrows from the
 * rest of it and from s.  bound: report_write_bound()'s. */
int chapter_write(struct chapter *c, const struct evidence *e, const struct study *s, double bound);
void chapter_close(struct chapter *c);

/* What the tables of every study are called before their suffix; NULL after the last. */
extern const char *const chapter_sheet_names[];

#endif
