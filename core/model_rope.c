/* Rotary frequencies: plain (Su et al., RoFormer), linear (Chen et al., position interpolation), Llama 3's (its model
 * card and code) and YaRN (Peng et al., arXiv 2309.00071, section 3), with the conventions of transformers'
 * modeling_rope_utils.py, computed in double. */
#include "core/model.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

/* Long waves are slowed by `factor`, short ones kept, those between blended by how often they fit the context. */
static double llama3_frequency(const struct rope_config *r, double f)
{
    const double turns = (double)r->original_context * f / (2 * PI); /* over the original context */
    if (turns < r->low_freq_factor) return f / r->factor;
    if (turns > r->high_freq_factor) return f;
    const double smooth = (turns - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - smooth) * f / r->factor + smooth * f;
}

/* The pair, as a real number, that turns n_turns times over the original context. */
static double yarn_pair(const struct rope_config *r, int head_dim, double n_turns)
{
    return head_dim * log(r->original_context / (n_turns * 2 * PI)) / (2 * log(r->base));
}

static double yarn_frequency(const struct rope_config *r, int head_dim, int pair, double f)
{
    const double low = fmax(floor(yarn_pair(r, head_dim, r->beta_fast)), 0);
    double high = fmin(ceil(yarn_pair(r, head_dim, r->beta_slow)), head_dim - 1);
    if (high == low) high += 0.001; /* no division by zero */
    const double ramp = fmin(fmax((pair - low) / (high - low), 0), 1);
    return f / r->factor * ramp + f * (1 - ramp);
}

void rope_frequencies(const struct rope_config *rope, int head_dim, double *out)
{
    for (int i = 0; i < head_dim / 2; i++) {
        double f = pow(rope->base, -2.0 * i / head_dim);
        if (rope->scaling == ROPE_LINEAR) f /= rope->factor;
        if (rope->scaling == ROPE_LLAMA3) f = llama3_frequency(rope, f);
        if (rope->scaling == ROPE_YARN) f = yarn_frequency(rope, head_dim, i, f);
        out[i] = rope->freq_divisors ? f / (double)rope->freq_divisors[i] : f;
    }
}
