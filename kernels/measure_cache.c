#include "kernels/measure.h"

/* One lane and layer: the squares of tokens from .. to - 1, summed in token order. */
static void measure_window(const struct measure_cache_args *a, int lane, int layer)
{
    const size_t at = (size_t)lane * (size_t)a->n_layers + (size_t)layer;
    const double *squares = a->squares + at * (size_t)a->n_steps * 4;
    double sum[4] = { 0, 0, 0, 0 };
    for (int t = a->from[lane]; t < a->to[lane]; t++)
        for (int i = 0; i < 4; i++) sum[i] += squares[(size_t)t * 4 + (size_t)i];
    measure_put(&a->m, a->k_var, at, squares_rel(sum[0], sum[1]));
    measure_put(&a->m, a->v_var, at, squares_rel(sum[2], sum[3]));
}

int cpu_measure_cache(struct device *d, const struct measure_cache_args *a)
{
    if (!measure_has(&a->m, a->k_var)) return 0;
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 1)
    for (int lane = 0; lane < a->m.n_lanes; lane++) {
        if (a->from[lane] >= a->to[lane] || measure_rows_of(&a->m, lane).ref < 0) continue;
        for (int layer = 0; layer < a->n_layers; layer++) {
            if (lane != 0) {
                measure_window(a, lane, layer);
                continue;
            }
            measure_put(&a->m, a->k_var, (size_t)layer, 0);
            measure_put(&a->m, a->v_var, (size_t)layer, 0);
        }
    }
    return 0;
}
