/* analysis/paper.h: what is published of Rectified Sparse Attention, as data.
 *
 * Sources: arXiv 2506.04108 v2 (called v2), and Findings of ACL 2026, pp. 7023-7034 (called ACL).  Curves whose values cannot be
 * read off are left out.                                                                                        */
#ifndef ANALYSIS_PAPER_H
#define ANALYSIS_PAPER_H

enum { PAPER_MAX_COLUMNS = 9, PAPER_MAX_ROWS = 10 };

/* One table or figure of numbers. */
struct paper_table {
    const char *source;                     /* "v2 Table 1" */
    const char *what;                       /* model, hardware, unit */
    const char *columns[PAPER_MAX_COLUMNS]; /* NULL after the last */
    struct paper_numbers {
        const char *setting;                /* NULL after the last row */
        double values[PAPER_MAX_COLUMNS];   /* by column */
    } rows[PAPER_MAX_ROWS + 1];
    const char *needs;                      /* what it would take to run it here */
};

extern const struct paper_table paper_tables[]; /* until one without source */

#endif
