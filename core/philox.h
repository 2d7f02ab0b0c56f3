/* core/philox.h: Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (SC 2011): out = f(counter, key), no state, the same on every device.
 *
 * Conventions of this project: the key is a seed's low and high word; counter[3] says what the numbers are for,
 * so that two uses of one seed never share a number; counter[0..2] are the use's own (step, layer, index ..). */
#ifndef CORE_PHILOX_H
#define CORE_PHILOX_H

#include <stdint.h>

enum philox_use {
    PHILOX_WEIGHTS = 1, /* synthetic weights: counter = {index / 4 low, index / 4 high, tensor, use}, word index % 4 */
    PHILOX_PROMPT = 2,
    PHILOX_SAMPLE = 3,
    PHILOX_SELECT = 4,
    PHILOX_PERTURB = 5,
    PHILOX_BOOTSTRAP = 6, /* texts drawn: counter = {replicate, index / 4, texts, use}, word index % 4 */
    PHILOX_NOISE = 7    /* contexts of experiment latency: counter = {index / 4, 0, 0, use}, word index % 4 */
};

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* A seed as a key. */
static inline void philox_key(uint64_t seed, uint32_t key[2])
{
    key[0] = (uint32_t)seed;
    key[1] = (uint32_t)(seed >> 32);
}

/* Uniform in [0, 1): 53 bits (the high 27 of a and the high 26 of b), exact. */
static inline double philox_uniform(uint32_t a, uint32_t b)
{
    return ((double)(a >> 5) * 0x1p26 + (double)(b >> 6)) * 0x1p-53;
}

/* Uniform in [0, 1): the high 24 bits of a, exact in float32. */
static inline float philox_uniform_f32(uint32_t a)
{
    return (float)(a >> 8) * 0x1p-24f;
}

/* Uniform in [-1, 1): 2u - 1 of the same u, exact in float32. */
static inline float philox_signed_f32(uint32_t a)
{
    return (float)((int32_t)(a >> 8) * 2 - (1 << 24)) * 0x1p-24f;
}

#endif
