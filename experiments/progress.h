/* experiments/progress.h: how far the work is: a bar with rate and time left on a terminal, plain lines elsewhere (stderr). */
#ifndef EXPERIMENTS_PROGRESS_H
#define EXPERIMENTS_PROGRESS_H

#include <stdbool.h>

struct progress {
    bool terminal;
    double started, shown;   /* seconds, monotonic */
    double done, total;      /* work in any unit that is proportional to time */
    int run, n_runs;
    char label[192];
};

void progress_open(struct progress *p, double total, int n_runs);
void progress_run(struct progress *p, int run, const char *label);      /* a run starts */
void progress_add(struct progress *p, double work, int step, int n_steps);
void progress_clear(struct progress *p);                                /* the bar's line is wiped, for a message */

double progress_seconds(void);                                          /* monotonic clock */

#endif
