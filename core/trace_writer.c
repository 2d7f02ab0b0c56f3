#include "core/trace_writer.h"

#include "core/err.h"
#include "core/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { N_JOBS = 128, WHY_BYTES = 4096 };

struct trace_writer {
    pthread_t thread;
    pthread_mutex_t lock;                       /* of all that follows */
    pthread_cond_t changed;
    int (*write)(void *context, const struct trace_job *job);
    void *context;
    struct trace_job jobs[N_JOBS];
    long n_added, n_done;
    bool closing, failed;
    char why[WHY_BYTES];
};

/* The next job; false: there will be none. */
static bool take(struct trace_writer *w, struct trace_job *job)
{
    pthread_mutex_lock(&w->lock);
    while (w->n_added == w->n_done && !w->closing) pthread_cond_wait(&w->changed, &w->lock);
    const bool more = !w->closing;
    if (more) *job = w->jobs[w->n_done % N_JOBS];
    pthread_mutex_unlock(&w->lock);
    return more;
}

static void *work(void *writer)
{
    struct trace_writer *w = writer;
    struct trace_job job;
    while (take(w, &job)) {
        const bool failed = !w->failed && w->write(w->context, &job) != 0; /* failed: this thread alone sets it */
        pthread_mutex_lock(&w->lock);
        if (failed) {
            w->failed = true;
            snprintf(w->why, sizeof w->why, "%s", fail_text());
        }
        w->n_done++;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

/* Signals are the main thread's. */
static int start(struct trace_writer *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int e = pthread_create(&w->thread, NULL, work, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return e == 0 ? 0 : fail("cannot start a thread: %s", strerror(e));
}

int trace_writer_open(struct trace_writer **out, int (*write)(void *context, const struct trace_job *job), void *context)
{
    struct trace_writer *w = NULL;
    *out = NULL;
    TRY(MEM_NEW(&w, 1, "trace writer"), "trace");
    w->write = write;
    w->context = context;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (start(w) != 0) {
        pthread_cond_destroy(&w->changed);
        pthread_mutex_destroy(&w->lock);
        mem_free(w);
        return -1;
    }
    *out = w;
    return 0;
}

/* The lock is held. */
static int wait_for(struct trace_writer *w, long ticket)
{
    while (w->n_done < ticket) pthread_cond_wait(&w->changed, &w->lock);
    return w->failed ? fail("%s", w->why) : 0;
}

int trace_writer_add(struct trace_writer *w, const struct trace_job *job, long *ticket)
{
    pthread_mutex_lock(&w->lock);
    const int rc = wait_for(w, w->n_added + 1 - N_JOBS);
    if (rc == 0) {
        w->jobs[w->n_added % N_JOBS] = *job;
        *ticket = ++w->n_added;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

int trace_writer_wait(struct trace_writer *w, long ticket)
{
    pthread_mutex_lock(&w->lock);
    const int rc = wait_for(w, ticket);
    pthread_mutex_unlock(&w->lock);
    return rc;
}

int trace_writer_finish(struct trace_writer *w)
{
    return trace_writer_wait(w, w->n_added); /* this thread alone adds */
}

void trace_writer_close(struct trace_writer *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}
