/* core/bytes.h: little-endian numbers at any alignment, as every checkpoint format stores them. */
#ifndef CORE_BYTES_H
#define CORE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t read_u32(const uint8_t *p)
{
    return (uint32_t)read_u16(p) | (uint32_t)read_u16(p + 2) << 16;
}

static inline uint64_t read_u64(const uint8_t *p)
{
    return (uint64_t)read_u32(p) | (uint64_t)read_u32(p + 4) << 32;
}

static inline float read_f32(const uint8_t *p)
{
    const uint32_t bits = read_u32(p);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline double read_f64(const uint8_t *p)
{
    const uint64_t bits = read_u64(p);
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
