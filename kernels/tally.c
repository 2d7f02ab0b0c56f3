/* kernels/tally.c: tokens read by each row, over layers and KV heads. */
#include "kernels/cpu.h"

int cpu_tally(struct device *d, const struct tally_args *a)
{
    (void)d;
    for (int row = 0; row < a->n_rows; row++) {
        int64_t n = a->layer == 0 ? 0 : a->total[row];
        for (int h = 0; h < a->n_kv_heads; h++) n += a->lists->tokens[row * a->n_kv_heads + h];
        a->total[row] = n;
    }
    return 0;
}
