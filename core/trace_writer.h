/* core/trace_writer.h: a thread that writes a trace's chunks while the run goes on: to compress them takes longer than a device's steps.
 *
 * Jobs are done one at a time in the order in which they were given.  After one has failed the rest are dropped, and every later call fails
 * with the text of that failure.  HDF5 is the thread's alone from the first job until trace_writer_finish(). */
#ifndef CORE_TRACE_WRITER_H
#define CORE_TRACE_WRITER_H

struct trace_job {
    int column, first, n;                       /* rows first .. first + n - 1 of a variable */
    const char *rows;                           /* borrowed until the job is done */
};

struct trace_writer;                            /* opaque */

/* write: as the thread calls it; 0, or fail().  *w is NULL after a failure. */
int  trace_writer_open(struct trace_writer **w, int (*write)(void *context, const struct trace_job *job), void *context);
/* *ticket: the job's number, for trace_writer_wait(). */
int  trace_writer_add(struct trace_writer *w, const struct trace_job *job, long *ticket);
int  trace_writer_wait(struct trace_writer *w, long ticket); /* until that job is done; ticket 0: at once */
int  trace_writer_finish(struct trace_writer *w);            /* until all are */
void trace_writer_close(struct trace_writer *w);             /* drops what is not begun.  NULL is fine */

#endif
