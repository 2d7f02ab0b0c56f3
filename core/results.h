/* core/results.h: the folder that an experiment leaves, results/NAME:
 *
 *     plan.yaml    the config as understood (the caller writes it: results_path)
 *     runs/RUN.h5  a trace for each complete run; RUN.h5.part while one is written
 *     tables/, plots/, report.html   analysis
 *     index.csv    a tidy row for each run and lane: settings and a few means, rebuilt from the traces after every run
 *     log.txt      what happened, with the time, appended
 *     lock         held by the one process that writes here; names it
 *
 * results_open() is for a writer; what only reads (report, info) needs no open folder.                        */
#ifndef CORE_RESULTS_H
#define CORE_RESULTS_H

#include "core/plan.h"
#include "core/trace_read.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct results_rows;

struct results {
    char *folder;                  /* owned, as given */
    int lock_fd;                   /* -1: not held */
    int n_removed;                 /* parts of dead writers that results_open() removed */
    struct results_rows *rows;     /* owned [n_rows]: rows of the index by run, so that a trace is read once */
    int n_rows;
};

/* Creates the folder and what is in it, takes the lock (refused with the holder's name where another process has it) and
 * removes the parts of writers that died.  The struct needs no initialisation; results_close() is due after a failure too. */
int  results_open(struct results *r, const char *folder);
void results_close(struct results *r);                        /* safe on a half-opened or closed struct */

int  results_path(const struct results *r, const char *name, char *path, size_t n_bytes);   /* FOLDER/name */
int  results_run_path(const char *folder, const char *run_id, char *path, size_t n_bytes); /* FOLDER/runs/RUN_ID.h5 */

enum run_state { RUN_ABSENT, RUN_COMPLETE, RUN_BROKEN };
struct run_status {
    enum run_state state;
    int n_steps, n_lanes;          /* complete: that it holds */
    char commit[64];               /* complete: that made it, with -dirty where it was */
    char device[32];               /* the back end that made it, "cpu" or "cuda"; "" unless complete */
    char why[512];                 /* broken: what is wrong */
};
/* Whether an open trace is of this run, with its planned steps (-1: any), and holds all of them or all up to a stop. */
int  results_run_check(const struct trace_file *f, const char *run_id, int n_steps);
/* Opens the trace at path, if it is there, and checks that it is whole and of this run: its id, its planned steps (n_steps;
 * -1: any), and that all of them, or all up to the stop that was asked for, were recorded.  A broken run is an answer, not
 * a failure. */
void run_status_read(struct run_status *status, const char *path, const char *run_id, int n_steps);
void results_run_status(const struct results *r, const struct run_plan *run, struct run_status *status); /* of a plan's run */

/* One line, with the time, at the end of log.txt; nothing else comes of a failure but the -1. */
int  results_log(const struct results *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* index.csv from the traces that are there, replaced in one go.  Traces that cannot be read are left out and logged. */
int  results_write_index(struct results *r);

/* Calls each(data, run id, path) for every FOLDER/runs/RUN.h5 in the order of their names; stops where it returns other
 * than 0.  A folder without runs/ has none. */
int  results_runs_each(const char *folder, int (*each)(void *data, const char *run_id, const char *path), void *data);
/* The same for every run that FOLDER/plan.yaml lists, made or not, in its order; path: where its trace belongs. */
int  results_planned_each(const char *folder, int (*each)(void *data, const char *run_id, const char *path), void *data);

/* Whether a process writes in the folder now; then holder is its name, as in "process 7 on host since ..". */
bool results_is_held(const char *folder, char *holder, size_t n_bytes);

#endif
