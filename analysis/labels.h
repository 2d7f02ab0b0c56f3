/* analysis/labels.h: what results are called beside one another, and the folder of their comparison.                 */
#ifndef ANALYSIS_LABELS_H
#define ANALYSIS_LABELS_H

enum { LABEL_MAX = 256 };

/* Labels that tell [n] folders apart: its own name alone for one that lies beside the first, for any other the name of the folder
 * around it too ("old/quickstart"), and those of as many more as it takes. */
int labels_make(char (*labels)[LABEL_MAX], const char *const *folders, int n);

/* Makes compare-LABEL-LABEL .. beside the first folder, where it is not there yet: a comparison belongs to none of its results, and
 * one with others does not overwrite it.  A slash is a _ there, and labels that a name has no room for are counted.
 * path: [PATH_MAX], filled.  */
int labels_folder_make(char *path, const char *first, char (*labels)[LABEL_MAX], int n);

#endif
