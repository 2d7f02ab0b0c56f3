/* tests/bench_machine.h: what the benchmarks share: a clock, medians with their spread, and the machine's two bounds, measured
 * in the same run as what is held against them. */
#ifndef TESTS_BENCH_MACHINE_H
#define TESTS_BENCH_MACHINE_H

#include "kernels/cpu_device.h"

struct spread {
    double median, min, max;
};

double bench_seconds(void);                   /* monotonic */
struct spread bench_spread(double *x, int n); /* sorts x; n > 0 */

/* GFLOP/s of independent float32 fused multiply-adds in registers, all threads, in one window of some milliseconds; 0 for portable
 * code, which has no such bound.  Other programs only ever slow a window down: the rate is the best of several. */
double machine_fma_window(enum cpu_isa isa, int n_threads);
double machine_fma_rate(enum cpu_isa isa, int n_threads);

/* GB/s of plain reads of an array that no cache holds, all threads: the best of several passes; 0 without the memory for it. */
double machine_read_rate(int n_threads);

#endif
