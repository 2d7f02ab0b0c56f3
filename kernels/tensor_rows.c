#include "kernels/tensor_rows.h"

void tensor_rows(const struct tensor *t, int from, int n, float *out)
{
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) tensor_row(t, from + i, out + (size_t)i * (size_t)t->n_cols);
}
