/* A model of any shape from a seed: the same weights, to the last bit, on every machine and back end.
 *
 * Tensors are of type TENSOR_SEED (core/tensor.h): nothing is made before a back end packs it.  Their size is
 * (float)sqrt(3.0 / fan_in), so that a weight has variance 1 / fan_in; fan_in: the inputs of one output; the hidden size for the
 * embedding and for biases.  Norm weights are 1.  Tensor numbers: model_fill() (core/model_read.h). */
#include "core/digest.h"
#include "core/err.h"
#include "core/model_read.h"

#include <math.h>
#include <stdio.h>

struct making {
    struct model *m;
    uint64_t seed;
};

static int make_tensor(void *source, const struct model_slot *slot, int layer, uint32_t number, struct tensor *t)
{
    const struct making *making = source;
    (void)layer;
    if (slot->fan_in == SIZE_ONE) {
        float *ones = NULL;
        if (model_store_block(making->m, (void **)&ones, (size_t)t->n_cols, sizeof *ones, slot->gguf) != 0) return -1;
        for (int i = 0; i < t->n_cols; i++) ones[i] = 1;
        t->type = TENSOR_F32;
        t->data = (const uint8_t *)ones;
        return 0;
    }
    struct tensor_seed *seed = NULL;
    if (model_store_block(making->m, (void **)&seed, 1, sizeof *seed, slot->gguf) != 0) return -1;
    *seed = (struct tensor_seed){ making->seed, number, (float)sqrt(3.0 / model_size(&making->m->shape, slot->fan_in)) };
    t->type = TENSOR_SEED;
    t->data = (const uint8_t *)seed;
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
