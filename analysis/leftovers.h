/* analysis/leftovers.h: files of an earlier report that the new one no longer has, such as the figure of a set that is gone. */
#ifndef ANALYSIS_LEFTOVERS_H
#define ANALYSIS_LEFTOVERS_H

#include <stdbool.h>

/* Files that a report may have written are KIND, KIND-pP-tT, KIND-pP-tT-N (a study's key) or one of these and -N, and an
 * extension; P, T, N: numbers.  Whatever is called otherwise is not the report's. */
struct leftovers {
    const char *folder, *part;     /* FOLDER/part is looked at */
    const char *const *kinds;      /* NULL after the last */
    const char *const *extensions; /* ".svg", .., NULL after the last */
    const char *const *kept;       /* [n_kept] names without extension, of the new report */
    int n_kept;
};

/* Removes the report's files that are not kept.  Fails where one cannot be removed; a folder that is not there is empty. */
int leftovers_remove(const struct leftovers *l);

#endif
