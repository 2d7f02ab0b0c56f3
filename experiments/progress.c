#include "experiments/progress.h"

#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const double BAR_EVERY_SECONDS = 0.1, LINE_EVERY_SECONDS = 15;
enum { BAR_CELLS = 24 };

double progress_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_open(struct progress *p, double total, int n_runs)
{
    *p = (struct progress){ .terminal = isatty(STDERR_FILENO), .started = progress_seconds(), .total = total, .n_runs = n_runs };
    p->shown = p->started;
}

void progress_run(struct progress *p, int run, const char *label)
{
    p->run = run;
    snprintf(p->label, sizeof p->label, "%s", label);
    if (!p->terminal) fprintf(stderr, "run %d of %d: %s\n", run + 1, p->n_runs, label);
}

static void print_left(const struct progress *p, double now)
{
    const double spent = now - p->started;
    const double left = p->done > 0 ? spent * (p->total - p->done) / p->done : 0;
    const int minutes = (int)(left / 60);
    if (minutes >= 60)
        fprintf(stderr, "%d h %02d min left", minutes / 60, minutes % 60);
    else if (left >= 90)
        fprintf(stderr, "%.0f min left", left / 60);
    else
        fprintf(stderr, "%.0f s left", fmax(left, 0));
}

static void show_bar(const struct progress *p, double now, int step, int n_steps, double rate)
{
    char bar[BAR_CELLS + 1];
    const int filled = p->total > 0 ? (int)(BAR_CELLS * p->done / p->total) : 0;
    for (int i = 0; i < BAR_CELLS; i++) bar[i] = i < filled ? '#' : '.';
    bar[BAR_CELLS] = 0;
    fprintf(stderr, "\r\033[K[%s] run %d/%d %.40s step %d/%d, %.1f steps/s, ", bar, p->run + 1, p->n_runs, p->label, step, n_steps, rate);
    print_left(p, now);
    fflush(stderr);
}

void progress_add(struct progress *p, double work, int step, int n_steps)
{
    const double now = progress_seconds();
    p->done += work;
    if (now - p->shown < (p->terminal ? BAR_EVERY_SECONDS : LINE_EVERY_SECONDS)) return;
    const double rate = p->done > 0 && work > 0 ? p->done / work / (now - p->started) : 0;
    p->shown = now;
    if (p->terminal) {
        show_bar(p, now, step, n_steps, rate);
        return;
    }
    fprintf(stderr, "  step %d of %d, %.1f steps/s, %.0f %% of all, ", step, n_steps, rate, p->total > 0 ? 100 * p->done / p->total : 0);
    print_left(p, now);
    fputc('\n', stderr);
}

void progress_clear(struct progress *p)
{
    if (p->terminal) fprintf(stderr, "\r\033[K");
}
