/* The tensors of a model as tables: names in either kind of checkpoint, shape, and when they are there. */
#include "core/err.h"
#include "core/mem.h"
#include "core/model_read.h"

#include <math.h>
#include <string.h>

#define AT(field) offsetof(struct model, field)
const struct model_slot model_slots[N_MODEL_SLOTS] = {
    { "token_embd.weight", "model.embed_tokens.weight", AT(embedding), SIZE_VOCAB, SIZE_HIDDEN, SIZE_HIDDEN,
      NEED_ALWAYS },
    { "output_norm.weight", "model.norm.weight", AT(output_norm), SIZE_ONE, SIZE_HIDDEN, SIZE_ONE, NEED_ALWAYS },
    { "output.weight", "lm_head.weight", AT(output), SIZE_VOCAB, SIZE_HIDDEN, SIZE_HIDDEN, NEED_UNTIED },
};
#undef AT

#define AT(field) offsetof(struct model_layer, field)
const struct model_slot layer_slots[N_LAYER_SLOTS] = {
    { "attn_norm.weight", "input_layernorm.weight", AT(attn_norm), SIZE_ONE, SIZE_HIDDEN, SIZE_ONE, NEED_ALWAYS },
    { "attn_q.weight", "self_attn.q_proj.weight", AT(q), SIZE_QUERY, SIZE_HIDDEN, SIZE_HIDDEN, NEED_ALWAYS },
    { "attn_k.weight", "self_attn.k_proj.weight", AT(k), SIZE_KV, SIZE_HIDDEN, SIZE_HIDDEN, NEED_ALWAYS },
    { "attn_v.weight", "self_attn.v_proj.weight", AT(v), SIZE_KV, SIZE_HIDDEN, SIZE_HIDDEN, NEED_ALWAYS },
    { "attn_output.weight", "self_attn.o_proj.weight", AT(o), SIZE_HIDDEN, SIZE_QUERY, SIZE_QUERY, NEED_ALWAYS },
    { "ffn_norm.weight", "post_attention_layernorm.weight", AT(ffn_norm), SIZE_ONE, SIZE_HIDDEN, SIZE_ONE,
      NEED_ALWAYS },
    { "ffn_gate.weight", "mlp.gate_proj.weight", AT(gate), SIZE_FFN, SIZE_HIDDEN, SIZE_HIDDEN, NEED_ALWAYS },
    { "ffn_up.weight", "mlp.up_proj.weight", AT(up), SIZE_FFN, SIZE_HIDDEN, SIZE_HIDDEN, NEED_ALWAYS },
    { "ffn_down.weight", "mlp.down_proj.weight", AT(down), SIZE_HIDDEN, SIZE_FFN, SIZE_FFN, NEED_ALWAYS },
    { "attn_q.bias", "self_attn.q_proj.bias", AT(q_bias), SIZE_ONE, SIZE_QUERY, SIZE_HIDDEN, NEED_BIAS },
    { "attn_k.bias", "self_attn.k_proj.bias", AT(k_bias), SIZE_ONE, SIZE_KV, SIZE_HIDDEN, NEED_BIAS },
    { "attn_v.bias", "self_attn.v_proj.bias", AT(v_bias), SIZE_ONE, SIZE_KV, SIZE_HIDDEN, NEED_BIAS },
    { "attn_q_norm.weight", "self_attn.q_norm.weight", AT(q_norm), SIZE_ONE, SIZE_HEAD, SIZE_ONE, NEED_QK_NORM },
    { "attn_k_norm.weight", "self_attn.k_norm.weight", AT(k_norm), SIZE_ONE, SIZE_HEAD, SIZE_ONE, NEED_QK_NORM },
};
#undef AT

int model_size(const struct model_shape *s, enum slot_size size)
{
    switch (size) {
    case SIZE_HIDDEN:
        return s->hidden;
    case SIZE_FFN:
        return s->ffn;
    case SIZE_QUERY:
        return s->n_heads * s->head_dim;
    case SIZE_KV:
        return s->n_kv_heads * s->head_dim;
    case SIZE_HEAD:
        return s->head_dim;
    case SIZE_VOCAB:
        return s->vocab;
    case SIZE_ONE:
        break;
    }
    return 1;
}

static bool is_needed(const struct model_shape *s, enum slot_need need)
{
    return need == NEED_ALWAYS || (need == NEED_BIAS && s->qkv_bias) || (need == NEED_QK_NORM && s->qk_norm) ||
           (need == NEED_UNTIED && !s->tied);
}

static int check_rope(const struct rope_config *r)
{
    if (!(r->base > 1 && r->base <= 1e12)) return fail("rope base %g, allowed is above 1 to 1e12", r->base);
    if (r->scaling != ROPE_PLAIN && !(r->factor >= 1 && r->factor <= 1e6))
        return fail("rope scaling factor %g, allowed are 1 to 1e6", r->factor);
    if ((r->scaling == ROPE_LLAMA3 || r->scaling == ROPE_YARN) && r->original_context < 1)
        return fail("rope scaling: the original context is %d, at least 1", r->original_context);
    if (r->scaling == ROPE_LLAMA3 &&
        !(r->low_freq_factor > 0 && r->high_freq_factor > r->low_freq_factor && r->high_freq_factor < 1e6))
        return fail("rope scaling: frequency factors %g and %g, needed is 0 < low < high < 1e6", r->low_freq_factor,
                    r->high_freq_factor);
    if (r->scaling == ROPE_YARN && !(r->beta_slow > 0 && r->beta_fast >= r->beta_slow && r->beta_fast < 1e6))
        return fail("rope scaling: beta_fast %g and beta_slow %g, needed is 0 < slow <= fast < 1e6", r->beta_fast,
                    r->beta_slow);
    if (!(r->attention_factor > 0 && r->attention_factor < 1e3))
        return fail("rope scaling: attention factor %g, allowed is above 0 and below 1000", r->attention_factor);
    return 0;
}

int model_check_shape(const struct model_shape *s)
{
    const struct {
        const char *name;
        int value, max;
    } counts[] = {
        { "layers", s->n_layers, 4096 },          { "hidden size", s->hidden, 1 << 17 },
        { "feed-forward size", s->ffn, 1 << 20 }, { "query heads", s->n_heads, 4096 },
        { "KV heads", s->n_kv_heads, 4096 },      { "head dimension", s->head_dim, 1024 },
        { "vocabulary", s->vocab, 1 << 22 },      { "context", s->context, 1 << 30 },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        if (counts[i].value < 1 || counts[i].value > counts[i].max)
            return fail("%s: %d, allowed are 1 to %d", counts[i].name, counts[i].value, counts[i].max);
    if (s->n_heads % s->n_kv_heads != 0)
        return fail("%d query heads are not a multiple of %d KV heads", s->n_heads, s->n_kv_heads);
    if (s->head_dim % 2 != 0) return fail("the head dimension %d is odd", s->head_dim);
    if (!(s->rms_eps > 0 && s->rms_eps < 1))
        return fail("RMS norm epsilon %g, allowed is above 0 and below 1", s->rms_eps);
    return check_rope(&s->rope);
}

/* Places the slots of one table; base is the model, or one of its layers. */
static int fill_slots(struct model *m, const struct model_slot *slots, int n_slots, uint8_t *base, int layer,
                      model_place *place, void *source)
{
    for (int i = 0; i < n_slots; i++) {
        if (!is_needed(&m->shape, slots[i].need)) continue;
        struct tensor t = { .n_rows = model_size(&m->shape, slots[i].rows),
                            .n_cols = model_size(&m->shape, slots[i].cols) };
        if (place(source, &slots[i], layer, (uint32_t)(16 * (layer + 1) + i), &t) != 0) return -1;
        m->n_params += (uint64_t)t.n_rows * (uint64_t)t.n_cols;
        memcpy(base + slots[i].at, &t, sizeof t);
    }
    return 0;
}

int model_fill(struct model *m, model_place *place, void *source)
{
    if (MEM_NEW(&m->layers, m->shape.n_layers, "layers") != 0) return -1;
    if (fill_slots(m, model_slots, N_MODEL_SLOTS, (uint8_t *)m, -1, place, source) != 0) return -1;
    for (int l = 0; l < m->shape.n_layers; l++)
        if (fill_slots(m, layer_slots, N_LAYER_SLOTS, (uint8_t *)&m->layers[l], l, place, source) != 0) return -1;
    if (m->shape.tied) m->output = m->embedding;
    return 0;
}
