/* kernels/cuda_product_many_int4.cu: products of many rows with int4 matrices: which tiles there are. */
#include "kernels/cuda_product_many.cuh"

template <int GROUPS, int N, int STAGES, int SEGMENTS = INT4_SEGMENTS> static int launch(struct device *d, const struct product_job *j)
{
    return many_launch<many_shape<INT4, GROUPS, N, STAGES, SEGMENTS>>(d, j);
}

int cuda_product_many_int4(struct device *d, const struct product_job *j, int n_columns)
{
    if (j->n_tiles >= INT4_WIDE) return launch<3, 128, 4, 1>(d, j);
    return n_columns == 32 ? launch<2, 32, 9>(d, j) : n_columns == 64 ? launch<2, 64, 8>(d, j) : n_columns == 96 ? launch<2, 96, 6>(d, j) : launch<2, 128, 5>(d, j);
}
