#include "kernels/perturb.h"

#include "core/philox.h"
#include "kernels/exact_math.h"

#include <math.h>

void perturb_pair(uint64_t seed, int step, int layer, int is_v, int pair, double g[2])
{
    static const double two_pi = 0x1.921fb54442d18p+2;
    const uint32_t counter[4] = { (uint32_t)pair, 2 * (uint32_t)layer + (uint32_t)is_v, (uint32_t)step, PHILOX_PERTURB };
    uint32_t key[2], word[4];
    philox_key(seed, key);
    philox4x32(counter, key, word);
    const double u = 1 - philox_uniform(word[0], word[1]); /* in (0, 1] */
    const double radius = sqrt(-2 * exact_log(u)), angle = two_pi * philox_uniform(word[2], word[3]);
    double sine, cosine;
    exact_sincos(angle, &sine, &cosine);
    g[0] = radius * cosine;
    g[1] = radius * sine;
}

void perturb(float *x, int n, double e, uint64_t seed, int step, int layer, int is_v)
{
    double xx = 0, gg = 0, g[2];
    for (int i = 0; i < n; i++) xx += (double)x[i] * (double)x[i];
    for (int i = 0; i < n; i += 2) {
        perturb_pair(seed, step, layer, is_v, i / 2, g);
        gg += g[0] * g[0];
        gg += g[1] * g[1];
    }
    const double size = e * sqrt(xx) / sqrt(gg);
    /* The Gaussians are drawn a second time rather than kept: a row needs no memory of its own for them. */
    for (int i = 0; i < n; i += 2) {
        perturb_pair(seed, step, layer, is_v, i / 2, g);
        x[i] = (float)((double)x[i] + size * g[0]);
        x[i + 1] = (float)((double)x[i + 1] + size * g[1]);
    }
}
