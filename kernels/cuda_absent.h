/* kernels/cuda_absent.h: whether this machine just has no CUDA, which is nothing to wonder at. */
#ifndef KERNELS_CUDA_ABSENT_H
#define KERNELS_CUDA_ABSENT_H

#include <stdbool.h>

/* No driver, or a driver and no device.  Of any other reason why cuda_open() fails a person wants to know. */
bool cuda_absent(void);

#endif
