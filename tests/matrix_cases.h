/* tests/matrix_cases.h: tensors of random bytes whose scales are tame, and devices, for the tests of matrices and products. */
#ifndef TESTS_MATRIX_CASES_H
#define TESTS_MATRIX_CASES_H

#include "core/mem.h"
#include "core/tensor.h"
#include "kernels/cpu.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t case_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* In [-1, 1). */
static inline float case_uniform(uint64_t *state)
{
    return (float)case_random(state) * 0x1p-30f - 1;
}

static inline void case_put_half(uint8_t *at, float x)
{
    const uint16_t half = f32_to_f16(x);
    memcpy(at, &half, 2);
}

/* Random bits with every f16 scale of a block replaced by a value of ordinary size. */
static inline void case_fill(const struct tensor *t, uint8_t *data, uint64_t *state)
{
    const size_t n_bytes = (size_t)t->n_rows * tensor_row_bytes(t);
    const size_t block_bytes = (size_t)tensor_format(t->type)->block_bytes;
    for (size_t i = 0; i < n_bytes; i++) data[i] = (uint8_t)case_random(state);
    for (size_t i = 0; i < n_bytes; i += block_bytes) {
        uint8_t *b = data + i;
        const float x = case_uniform(state), y = case_uniform(state);
        const uint32_t bits = case_random(state);
        switch (t->type) {
        case TENSOR_F32:
            memcpy(b, &x, 4);
            break;
        case TENSOR_F16:
            case_put_half(b, x);
            break;
        case TENSOR_BF16:
            memcpy(b, (const uint8_t *)&x + 2, 2);
            break;
        case TENSOR_Q6_K:
            case_put_half(b + 208, x * 0.01f);
            break;
        case TENSOR_Q4_1:
        case TENSOR_Q5_1:
        case TENSOR_Q4_K:
        case TENSOR_Q5_K:
            case_put_half(b + 2, y); /* fall through */
        default:
            case_put_half(b, bits % 16 == 0 ? 0x1p-24f : x * 0.1f); /* now and then a subnormal scale */
        }
    }
}

static inline struct tensor case_tensor(enum tensor_type type, int n_rows, int n_cols, uint64_t *state)
{
    struct tensor t = { .type = type, .n_rows = n_rows, .n_cols = n_cols };
    uint8_t *data = NULL;
    if (mem_alloc((void **)&data, (size_t)n_rows * tensor_row_bytes(&t) + 1, 1, "tensor") != 0) return t;
    case_fill(&t, data + 1, state); /* files do not align their tensors' rows */
    t.data = data + 1;
    return t;
}

static inline void case_free(struct tensor *t)
{
    if (t->data) mem_free((void *)(uintptr_t)(t->data - 1));
    t->data = NULL;
}

/* The instruction sets that this processor has; *n of them. */
static inline const enum cpu_isa *case_isas(int *n)
{
    static enum cpu_isa isas[3];
    *n = 0;
    isas[(*n)++] = CPU_PORTABLE;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
        isas[(*n)++] = CPU_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        isas[(*n)++] = CPU_AVX512;
#endif
    return isas;
}

static const char *const case_isa_name[] = { "portable", "AVX2", "AVX-512" };

#endif
