/* A Hugging Face config.json as a model's shape.  Absent keys have the defaults of transformers' Llama, Qwen2 and Qwen3
 * configurations; what would change the computation and is not computed here is refused by name. */
#include "core/err.h"
#include "core/model_read.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static const json_t *find_key(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

static int int_or(const json_t *object, const char *key, int *out)
{
    const json_t *value = find_key(object, key);
    if (!value) return 0;
    if (!json_is_integer(value)) return fail("key %s: not an integer", key);
    const json_int_t x = json_integer_value(value);
    if (x < 1 || x > INT_MAX) return fail("key %s: %lld, allowed are 1 to %d", key, (long long)x, INT_MAX);
    *out = (int)x;
    return 0;
}

static int required_int(const json_t *object, const char *key, int *out)
{
    return find_key(object, key) ? int_or(object, key, out) : fail("key %s is missing", key);
}

static int double_or(const json_t *object, const char *key, double *out)
{
    const json_t *value = find_key(object, key);
    if (!value) return 0;
    if (!json_is_number(value)) return fail("key %s: not a number", key);
    *out = json_number_value(value);
    return 0;
}

static int bool_or(const json_t *object, const char *key, bool *out)
{
    const json_t *value = find_key(object, key);
    if (!value) return 0;
    if (!json_is_boolean(value)) return fail("key %s: neither true nor false", key);
    *out = json_is_true(value);
    return 0;
}

static int refuse_true(const json_t *config, const char *key)
{
    bool set = false;
    if (bool_or(config, key, &set) != 0) return -1;
    return set ? fail("key %s: true is not supported", key) : 0;
}

static int read_family(const json_t *config, struct model_shape *s)
{
    static const char *const names[] = { [FAMILY_LLAMA] = "llama", [FAMILY_QWEN2] = "qwen2", [FAMILY_QWEN3] = "qwen3" };
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (!type) return fail("key model_type is missing or not a text");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(type, names[i]) != 0) continue;
        s->family = (enum model_family)i;
        return 0;
    }
    return fail("key model_type: '%.40s' is not supported (llama, qwen2 and qwen3 are)", type);
}

/* The factor on cos and sin: given, or from the scaling factor as YaRN (section 3.4) and DeepSeek define it. */
static int read_attention_factor(const json_t *scaling, struct rope_config *r)
{
    double scale = 0, scale_all = 0;
    if (find_key(scaling, "attention_factor")) return double_or(scaling, "attention_factor", &r->attention_factor);
    if (double_or(scaling, "mscale", &scale) != 0 || double_or(scaling, "mscale_all_dim", &scale_all) != 0) return -1;
    const double log_factor = r->factor > 1 ? 0.1 * log(r->factor) : 0;
    r->attention_factor =
        scale != 0 && scale_all != 0 ? (scale * log_factor + 1) / (scale_all * log_factor + 1) : log_factor + 1;
    return 0;
}

static int read_yarn(const json_t *scaling, const struct model_shape *s, struct rope_config *r)
{
    bool truncate = true;
    r->scaling = ROPE_YARN;
    r->beta_fast = 32;
    r->beta_slow = 1;
    r->original_context = s->context;
    if (double_or(scaling, "beta_fast", &r->beta_fast) != 0 || double_or(scaling, "beta_slow", &r->beta_slow) != 0 ||
        int_or(scaling, "original_max_position_embeddings", &r->original_context) != 0 ||
        bool_or(scaling, "truncate", &truncate) != 0)
        return -1;
    if (!truncate) return fail("key truncate: false is not supported");
    return read_attention_factor(scaling, r);
}

static int read_llama3(const json_t *scaling, struct rope_config *r)
{
    r->scaling = ROPE_LLAMA3;
    if (double_or(scaling, "low_freq_factor", &r->low_freq_factor) != 0 ||
        double_or(scaling, "high_freq_factor", &r->high_freq_factor) != 0)
        return -1;
    return required_int(scaling, "original_max_position_embeddings", &r->original_context);
}

/* Two forms: rope_theta and rope_scaling, or one object rope_parameters with all of it. */
static int read_rope(const json_t *config, struct model_shape *s)
{
    struct rope_config *r = &s->rope;
    const json_t *scaling = find_key(config, "rope_parameters");
    const char *type = NULL;
    if (!scaling) scaling = find_key(config, "rope_scaling");
    *r = (struct rope_config){ .style = ROPE_HALVES, .base = 10000, .factor = 1, .attention_factor = 1 };
    if (double_or(config, "rope_theta", &r->base) != 0) return -1;
    if (!scaling) return 0;
    if (!json_is_object(scaling)) return fail("key rope_scaling: not an object");
    if (double_or(scaling, "rope_theta", &r->base) != 0 || double_or(scaling, "factor", &r->factor) != 0) return -1;
    type = json_string_value(json_object_get(scaling, "rope_type"));
    if (!type) type = json_string_value(json_object_get(scaling, "type"));
    if (!type) return fail("key rope_scaling: it has no rope_type");
    if (strcmp(type, "default") == 0) {
        r->factor = 1;
        return 0;
    }
    if (!find_key(scaling, "factor")) return fail("key rope_scaling: it has no factor");
    if (strcmp(type, "linear") == 0) {
        r->scaling = ROPE_LINEAR;
        return 0;
    }
    if (strcmp(type, "llama3") == 0) return read_llama3(scaling, r);
    if (strcmp(type, "yarn") == 0) return read_yarn(scaling, s, r);
    return fail("key rope_type: '%.40s' is not supported (default, linear, llama3 and yarn are)", type);
}

static int refuse_extras(const json_t *config)
{
    const char *act = json_string_value(json_object_get(config, "hidden_act"));
    double rotated = 1;
    const json_t *type;
    size_t i;
    if (act && strcmp(act, "silu") != 0) return fail("key hidden_act: '%.40s' is not supported (silu is)", act);
    if (refuse_true(config, "attention_bias") != 0 || refuse_true(config, "mlp_bias") != 0 ||
        refuse_true(config, "use_sliding_window") != 0 || double_or(config, "partial_rotary_factor", &rotated) != 0)
        return -1;
    if (rotated != 1) return fail("key partial_rotary_factor: %g is not supported", rotated);
    if (find_key(config, "quantization_config"))
        return fail("key quantization_config: quantised weights are not supported");
    json_array_foreach(json_object_get(config, "layer_types"), i, type)
    {
        const char *name = json_string_value(type);
        if (!name || strcmp(name, "full_attention") != 0)
            return fail("key layer_types: layer %zu is not full_attention: not supported", i);
    }
    return 0;
}

int model_hf_shape(const json_t *config, struct model_shape *s)
{
    if (!json_is_object(config)) return fail("not a JSON object");
    if (read_family(config, s) != 0 || refuse_extras(config) != 0) return -1;
    if (required_int(config, "num_hidden_layers", &s->n_layers) != 0 ||
        required_int(config, "hidden_size", &s->hidden) != 0 ||
        required_int(config, "intermediate_size", &s->ffn) != 0 ||
        required_int(config, "num_attention_heads", &s->n_heads) != 0 ||
        required_int(config, "vocab_size", &s->vocab) != 0 ||
        required_int(config, "max_position_embeddings", &s->context) != 0)
        return -1;
    s->n_kv_heads = s->n_heads;
    s->head_dim = s->family == FAMILY_QWEN3 ? 128 : s->hidden / s->n_heads;
    s->rms_eps = 1e-6;
    s->qkv_bias = s->family == FAMILY_QWEN2;
    s->qk_norm = s->family == FAMILY_QWEN3;
    if (int_or(config, "num_key_value_heads", &s->n_kv_heads) != 0 || int_or(config, "head_dim", &s->head_dim) != 0 ||
        double_or(config, "rms_norm_eps", &s->rms_eps) != 0 || bool_or(config, "tie_word_embeddings", &s->tied) != 0)
        return -1;
    return read_rope(config, s) != 0 ? -1 : model_check_shape(s);
}
