/* kernels/cpu_device.h: opening the CPU back end's device, and its memory: plain host memory, so that uploads are
 * copies and every operation has finished when it returns.                                             */
#ifndef KERNELS_CPU_DEVICE_H
#define KERNELS_CPU_DEVICE_H

#include "kernels/cpu.h"

/* index: 0, the only one.  RESA_ISA=portable|avx2|avx512 asks for an instruction set and fails where the processor lacks
 * it.  As many threads as OpenMP gives (OMP_NUM_THREADS).  *d is owned by the caller; NULL after a failure. */
int  cpu_open(struct device **d, int index);
void cpu_close(struct device *d);                                      /* NULL is fine */
int  cpu_describe(const struct device *d, char *text, size_t n_bytes); /* "AVX2, 2 threads" */
void cpu_identify(const struct device *d, struct provenance *p);      /* isa and n_threads */
uint64_t cpu_free_bytes(const struct device *d);                       /* what the kernel calls available; 0: unknown */
int  cpu_alloc(struct device *d, void **p, size_t n_bytes, const char *what); /* 64-byte aligned, every byte 0xff: NaN */
void cpu_release(struct device *d, void *p);                           /* NULL is fine */
int  cpu_upload(struct device *d, void *to, const void *host, size_t n_bytes);
int  cpu_download(struct device *d, void *host, const void *from, size_t n_bytes);
int  cpu_clear(struct device *d, const struct record_layout *l, void *record);
int  cpu_sync(struct device *d);
int  cpu_mark(struct device *d, int i);                                /* calls return when they are done: the time of day, kept */
int  cpu_wait(struct device *d, int i);
int  cpu_elapsed(struct device *d, int from, int to, double *seconds);
int  cpu_read(struct device *d, const void *p, size_t n_bytes);        /* n_bytes: whole lines of 64 bytes; a rest is left out */
double cpu_clock_hz(struct device *d);                                 /* NaN */

/* The slice of the workspace of the calling OpenMP thread. */
char *cpu_workspace(const struct device *d);
/* 0 where a slice holds n_bytes; -1 with a message that names the operation. */
int  cpu_workspace_holds(const struct device *d, size_t n_bytes, const char *operation);

#endif
