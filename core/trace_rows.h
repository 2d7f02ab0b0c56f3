/* core/trace_rows.h: a variable [step, lane, layer] of an open trace, some steps at a time.
 *
 * Whole chunks are read as they are stored and unpacked on all threads, as unpacking is what reading costs: HDF5 itself unpacks
 * on one.  A variable that is stored in another way than this program's (not chunked, another filter or type) is read by HDF5.
 * Memory: TRACE_ROWS_BYTES of values, or one chunk's steps where they are more, and what is stored of them.        */
#ifndef CORE_TRACE_ROWS_H
#define CORE_TRACE_ROWS_H

#include "core/trace_read.h"

enum { TRACE_ROWS_BYTES = 8 << 20 };

struct trace_rows {
    int first, n;            /* steps first .. first + n - 1 are at hand; n 0: there are no more */
    float *values;           /* owned [n][n_lanes][n_layers], NaN where there is none */
    const struct trace_file *f;       /* borrowed */
    const char *name;                 /* borrowed */
    int64_t id;                       /* HDF5's; 0: not open */
    int max_steps;                    /* of values */
    int chunk_steps, chunk_lanes;     /* 0: read by HDF5 */
    struct trace_chunk *chunks;       /* owned [n_chunks]: of max_steps steps */
    int n_chunks;
    unsigned char *plain;             /* owned [n_threads][chunk bytes] */
    int n_threads;
};

/* The variable must be one of core/record.h's with these dimensions.  trace_rows_close() is due after a failure too. */
int  trace_rows_open(struct trace_rows *r, const struct trace_file *f, const char *name);
/* The next steps, from 0 on. */
int  trace_rows_next(struct trace_rows *r);
void trace_rows_close(struct trace_rows *r);

#endif
