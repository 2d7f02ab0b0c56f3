/* A model of any shape from a seed: the same weights, to the last bit, on every machine and back end.
 *
 * Weight i (row-major) of tensor number t:
 *
 *     c = (float)sqrt(3.0 / fan_in)                      fan_in: the inputs of one output; the hidden size for the
 *                                                        embedding and for biases
 *     w = c * philox_signed_f32(word)                    one float32 multiplication of an exact number in [-1, 1)
 *     word = word i % 4 of philox4x32({i / 4 low, i / 4 high, t, PHILOX_WEIGHTS}, key = seed)
 *
 * so that a weight has variance 1 / fan_in.  Norm weights are 1.  Tensor numbers: model_fill() (core/model_read.h). */
#include "core/digest.h"
#include "core/err.h"
#include "core/model_read.h"
#include "core/philox.h"

#include <math.h>
#include <stdio.h>

struct making {
    struct model *m;
    uint64_t seed;
};

static void make_row(float *row, int n_cols, uint64_t first, float c, uint32_t number, const uint32_t key[2])
{
    uint32_t words[4];
    for (int j = 0; j < n_cols; j++) {
        const uint64_t i = first + (uint64_t)j, block = i / 4;
        if (j == 0 || i % 4 == 0)
            philox4x32((uint32_t[4]){ (uint32_t)block, (uint32_t)(block >> 32), number, PHILOX_WEIGHTS }, key, words);
        row[j] = c * philox_signed_f32(words[i % 4]);
    }
}

static int make_tensor(void *source, const struct model_slot *slot, int layer, uint32_t number, struct tensor *t)
{
    const struct making *making = source;
    const size_t n_cols = (size_t)t->n_cols;
    float *data = NULL;
    (void)layer;
    if (model_store_block(making->m, (void **)&data, (size_t)t->n_rows * n_cols, sizeof *data, slot->gguf) != 0)
        return -1;
    t->type = TENSOR_F32;
    t->data = (const uint8_t *)data;
    if (slot->fan_in == SIZE_ONE) {
        for (size_t i = 0; i < n_cols; i++) data[i] = 1;
        return 0;
    }
    const float c = (float)sqrt(3.0 / model_size(&making->m->shape, slot->fan_in));
    uint32_t key[2];
    philox_key(making->seed, key);
#pragma omp parallel for schedule(static)
    for (int r = 0; r < t->n_rows; r++)
        make_row(data + (size_t)r * n_cols, t->n_cols, (uint64_t)r * n_cols, c, number, key);
    return 0;
}

static int set_shape(struct model_shape *s, const struct synthetic_spec *spec)
{
    s->family = spec->family;
    s->n_layers = spec->layers;
    s->hidden = spec->hidden;
    s->ffn = spec->ffn;
    if (s->ffn == 0 && s->hidden > 0 && s->hidden <= 1 << 20) s->ffn = (4 * s->hidden / 3 + 63) / 64 * 64;
    s->n_heads = spec->heads;
    s->n_kv_heads = spec->kv_heads ? spec->kv_heads : spec->heads;
    s->head_dim = spec->head_dim;
    if (s->head_dim == 0 && s->n_heads > 0) {
        if (s->hidden % s->n_heads != 0)
            return fail("hidden %d is not a multiple of heads %d: give head_dim", s->hidden, s->n_heads);
        s->head_dim = s->hidden / s->n_heads;
    }
    s->vocab = spec->vocab;
    s->context = spec->context;
    s->rms_eps = 1e-5;
    s->rope = (struct rope_config){ .style = ROPE_HALVES, .base = 10000, .factor = 1, .attention_factor = 1 };
    s->qkv_bias = spec->family == FAMILY_QWEN2;
    s->qk_norm = spec->family == FAMILY_QWEN3;
    s->tied = !spec->untied;
    return model_check_shape(s);
}

int model_open_synthetic(struct model *m, const struct synthetic_spec *spec)
{
    struct making making = { m, spec->seed };
    const struct model_shape *s = &m->shape;
    char text[400];
    TRY(set_shape(&m->shape, spec), "synthetic model");
    TRY(model_fill(m, make_tensor, &making), "synthetic model");
    snprintf(m->name, sizeof m->name, "synthetic-%dx%d-v%d-s%llu", s->n_layers, s->hidden, s->vocab,
             (unsigned long long)spec->seed);
    const int n =
        snprintf(text, sizeof text,
                 "synthetic 1: family %d layers %d hidden %d ffn %d heads %d kv_heads %d head_dim %d vocab %d "
                 "context %d tied %d seed %llu",
                 (int)s->family, s->n_layers, s->hidden, s->ffn, s->n_heads, s->n_kv_heads, s->head_dim, s->vocab,
                 s->context, (int)s->tied, (unsigned long long)spec->seed);
    digest_bytes(text, (size_t)n, m->digest);
    return 0;
}
