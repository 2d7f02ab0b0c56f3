/* analysis/evidence.h: what a results folder gives to reason from: its studies, and what speaks against trusting them.
 *
 * The runs are those that plan.yaml lists, or all of runs/ where there is no plan.  A run that is missing, broken or unfinished
 * is a warning and never a number.                                                                         */
#ifndef ANALYSIS_EVIDENCE_H
#define ANALYSIS_EVIDENCE_H

#include "analysis/labels.h"
#include "analysis/study.h"

struct evidence {
    char *folder;          /* owned, as given */
    char *name;            /* owned: of the experiment, the folder's last part */
    char label[LABEL_MAX]; /* what it is called beside others; "" until then */
    struct study *studies; /* owned [n_studies], in the order of their first run */
    int n_studies;
    int n_runs, n_missing, n_broken, n_unplanned;
    struct notes warnings; /* in the order of their weight: runs first */
    struct notes floors;   /* what the control lanes and the rectified tokens read */
};

/* Fails where the folder cannot be read or holds no trace at all; evidence_close() is due either way. */
int evidence_open(struct evidence *e, const char *folder);
void evidence_close(struct evidence *e);

/* Adds to warnings and floors what the numbers say about themselves. */
int evidence_check(struct evidence *e);

#endif
