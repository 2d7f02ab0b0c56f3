/* kernels/tensor_rows.h: rows of a checkpoint's tensor for a device, decoded by all threads. */
#ifndef KERNELS_TENSOR_ROWS_H
#define KERNELS_TENSOR_ROWS_H

#include "core/tensor.h"

/* Rows from .. from + n - 1 of t as float32 into out [n][n_cols]; each as tensor_row() gives it, whatever the number of threads. */
void tensor_rows(const struct tensor *t, int from, int n, float *out);

#endif
