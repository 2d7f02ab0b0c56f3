/* kernels/cuda_product_many.cu: products of many rows with fp16 and bf16 matrices: which tiles there are. */
#include "kernels/cuda_product_many.cuh"

template <int GROUPS, int N, int STAGES> static int launch(struct device *d, const struct product_job *j)
{
    return j->bf16 ? many_launch<many_shape<BF16, GROUPS, N, STAGES, N_SEGMENTS>>(d, j) : many_launch<many_shape<FP16, GROUPS, N, STAGES, N_SEGMENTS>>(d, j);
}

int cuda_product_many(struct device *d, const struct product_job *j, int n_outputs, int n_columns)
{
    if (n_outputs == 192) return launch<3, 128, 5>(d, j);
    if (n_columns == 32) return launch<2, 32, 10>(d, j);
    return n_columns == 64 ? launch<2, 64, 8>(d, j) : n_columns == 96 ? launch<2, 96, 7>(d, j) : launch<2, 128, 6>(d, j);
}
