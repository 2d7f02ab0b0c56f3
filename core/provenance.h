/* core/provenance.h: who made a result, with what, where and when.  It is stored beside a result and never
 * enters the identity of a run: a run made by another commit or host is the same run.
 *
 * provenance_open() fills what the program knows by itself; the caller sets device, numbers, isa, gpu, driver and n_threads
 * once the back end is open.  provenance_start() and provenance_stop() stand around each run.
 * All texts are UTF-8, "" where there is nothing to say (gpu, driver on the CPU).                              */
#ifndef CORE_PROVENANCE_H
#define CORE_PROVENANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROVENANCE_TIME_BYTES = 24 };

struct provenance {
    const char *version;           /* of the program, static */
    const char *commit;            /* of the sources it was built from, "unknown" outside a checkout, static */
    bool dirty;                    /* built from sources that differ from the commit */
    const char *compiler, *flags;  /* static */
    char libraries[256];           /* "HDF5 1.10.8, libyaml 0.2.5, .." as linked */
    char cpu[128];                 /* the model's name */
    char host[128];
    char device[32];               /* caller: the back end, "cpu" or "cuda:0" */
    char isa[32];                  /* caller: the instruction set in use, "avx2" */
    char numbers[192];             /* caller: the back end's, core/ops.h */
    char gpu[128], driver[128];    /* caller */
    int n_threads;                 /* caller */
    char *command;                 /* owned: the command line, quoted for a shell */
    char start_time[PROVENANCE_TIME_BYTES], end_time[PROVENANCE_TIME_BYTES]; /* UTC, ISO 8601; end "" until stopped */
    uint64_t peak_bytes;           /* most resident memory of the process so far */
};

int  provenance_open(struct provenance *p, int argc, char *const *argv);
void provenance_close(struct provenance *p);    /* safe on a zeroed or closed struct */
void provenance_start(struct provenance *p);    /* start_time now, end_time "" */
void provenance_stop(struct provenance *p);     /* end_time now, peak_bytes as it is now */

/* The time now, UTC: 2026-01-31T12:34:56Z */
void provenance_now(char *text, size_t n_bytes);

#endif
