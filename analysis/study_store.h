/* analysis/study_store.h: where what is kept of a run lives once its trace has been read: in a file, mapped into memory.
 *
 * A sweep of 500 lanes and 4096 steps keeps 235 MB of each text.  In a file without a name they take no memory that the system
 * cannot have back, and what is looked at is given back by the program itself after every STUDY_RESIDENT_BYTES, so that a
 * report's memory hardly grows with the number of texts.  Pointers stay what they are; pages that were given back are read again.   */
#ifndef ANALYSIS_STUDY_STORE_H
#define ANALYSIS_STUDY_STORE_H

#include <stddef.h>

struct study;
struct study_run;

enum { STUDY_RESIDENT_BYTES = 256 << 20 };

/* What the program has looked at since it last gave pages back. */
struct study_touch {
    size_t n_bytes;
};

/* Moves series and grids of the run, which is the study's and whose steps have been taken, into a file in the folder that is gone
 * with the program.  -1: the file cannot be made, and the run is as it was. */
int study_store_run(struct study *s, struct study_run *run, const char *folder);
/* Ends the run's part in it: its series and grids are NULL; nothing happens to a run that was not moved. */
void study_store_close(struct study_run *run);

/* So many bytes of a run are going to be read; from any thread. */
void study_store_touch(const struct study *s, size_t n_bytes);

#endif
