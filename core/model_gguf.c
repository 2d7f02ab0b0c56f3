/* A model from a GGUF file. */
#include "core/bytes.h"
#include "core/digest.h"
#include "core/err.h"
#include "core/gguf.h"
#include "core/mem.h"
#include "core/model_read.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum model_family family;
    enum rope_style style; /* Llama's converter reorders the rows of Q and K so that pairs are neighbours */
} architectures[] = {
    { "llama", FAMILY_LLAMA, ROPE_PAIRS },
    { "qwen2", FAMILY_QWEN2, ROPE_HALVES },
    { "qwen3", FAMILY_QWEN3, ROPE_HALVES },
};

/* A file being read, and the architecture's name, which begins its keys. */
struct reading {
    struct gguf *g;
    const char *arch;
    char key[128];
};

static const char *arch_key(struct reading *r, const char *name)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, name);
    return r->key;
}

static int arch_int(struct reading *r, const char *name, int *out)
{
    return gguf_int(r->g, arch_key(r, name), 1, INT_MAX, out);
}

/* A value that may be absent: *out keeps its default then. */
static int arch_int_or(struct reading *r, const char *name, int *out)
{
    return gguf_find(r->g, arch_key(r, name)) ? gguf_int(r->g, r->key, 0, INT_MAX, out) : 0;
}

static int arch_double_or(struct reading *r, const char *name, double *out)
{
    return gguf_find(r->g, arch_key(r, name)) ? gguf_double(r->g, r->key, -1e12, 1e12, out) : 0;
}

static bool view_is(struct str_view s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.at, text, s.n) == 0;
}

static int find_architecture(struct reading *r, struct model_shape *s)
{
    struct str_view name;
    if (gguf_string(r->g, "general.architecture", &name) != 0) return -1;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        if (!view_is(name, architectures[i].name)) continue;
        r->arch = architectures[i].name;
        s->family = architectures[i].family;
        s->rope.style = architectures[i].style;
        return 0;
    }
    return fail("key general.architecture: '%.*s' is not supported (llama, qwen2 and qwen3 are)",
                name.n < 40 ? (int)name.n : 40, name.at);
}

/* What would change the computation and is not computed here. */
static int refuse_extras(struct reading *r, const struct model_shape *s)
{
    static const char *const extras[] = { "expert_count",        "rope.scaling.yarn_log_multiplier",
                                          "attention.clamp_kqv", "attention.max_alibi_bias",
                                          "logit_scale",         "embedding_scale" };
    for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
        double x = 0;
        if (arch_double_or(r, extras[i], &x) != 0) return -1;
        if (x != 0) return fail("key %s: %g: not supported", r->key, x);
    }
    int window = 0, n_parts = 1;
    if (arch_int_or(r, "attention.sliding_window", &window) != 0) return -1;
    if (window > 0 && window < s->context)
        return fail("key %s: a sliding window of %d tokens is not supported", r->key, window);
    if (gguf_find(r->g, "split.count") && gguf_int(r->g, "split.count", 0, INT_MAX, &n_parts) != 0) return -1;
    return n_parts > 1 ? fail("key split.count: one of %d parts; a split file is not supported", n_parts) : 0;
}

static int read_scaling(struct reading *r, struct rope_config *rope)
{
    struct str_view type = { "none", 4 };
    if (gguf_find(r->g, arch_key(r, "rope.scaling.type")) && gguf_string(r->g, r->key, &type) != 0) return -1;
    rope->factor = 1;
    if (arch_double_or(r, "rope.scale_linear", &rope->factor) != 0) return -1; /* the key before rope.scaling.* */
    if (rope->factor != 1) rope->scaling = ROPE_LINEAR;
    if (view_is(type, "none")) return 0;
    if (view_is(type, "linear"))
        rope->scaling = ROPE_LINEAR;
    else if (view_is(type, "yarn"))
        rope->scaling = ROPE_YARN;
    else
        return fail("key %s: '%.*s' is not supported (none, linear and yarn are)", arch_key(r, "rope.scaling.type"),
                    type.n < 40 ? (int)type.n : 40, type.at);
    return gguf_double(r->g, arch_key(r, "rope.scaling.factor"), 1, 1e6, &rope->factor);
}

/* As llama.cpp reads these keys: the attention factor is times 1 + 0.1 ln(factor). */
static int read_yarn(struct reading *r, const struct model_shape *s, struct rope_config *rope)
{
    double attention = 1, extrapolation = 1;
    rope->original_context = s->context;
    rope->beta_fast = 32;
    rope->beta_slow = 1;
    if (arch_int_or(r, "rope.scaling.original_context_length", &rope->original_context) != 0 ||
        arch_double_or(r, "rope.scaling.yarn_beta_fast", &rope->beta_fast) != 0 ||
        arch_double_or(r, "rope.scaling.yarn_beta_slow", &rope->beta_slow) != 0 ||
        arch_double_or(r, "rope.scaling.attn_factor", &attention) != 0 ||
        arch_double_or(r, "rope.scaling.yarn_attn_factor", &attention) != 0 ||
        arch_double_or(r, "rope.scaling.yarn_ext_factor", &extrapolation) != 0)
        return -1;
    if (extrapolation != 1 && extrapolation != -1) /* -1: as usual */
        return fail("key %s: %g is not supported", r->key, extrapolation);
    rope->attention_factor = attention * (1 + 0.1 * log(rope->factor));
    return 0;
}

/* rope_freqs.weight, F32 [head_dim/2]: Llama 3's scaling as the converter writes it. */
static int read_divisors(struct model *m, struct gguf *g)
{
    struct gguf_tensor *t = gguf_tensor(g, "rope_freqs.weight");
    struct rope_config *rope = &m->shape.rope;
    const int n_pairs = m->shape.head_dim / 2;
    if (!t) return 0;
    if (t->type != TENSOR_F32 || t->n_dims != 1 || t->dims[0] != (uint64_t)n_pairs)
        return fail("tensor rope_freqs.weight: should be F32 with %d elements", n_pairs);
    if (rope->scaling == ROPE_YARN) return fail("tensor rope_freqs.weight together with yarn is not supported");
    float *divisors = NULL;
    if (model_store_block(m, (void **)&divisors, (size_t)n_pairs, sizeof *divisors, "rope_freqs.weight") != 0)
        return -1;
    for (int i = 0; i < n_pairs; i++) {
        divisors[i] = read_f32(t->data + 4 * i);
        if (!(divisors[i] >= 1e-6f && divisors[i] <= 1e6f))
            return fail("tensor rope_freqs.weight: element %d is %g, allowed are 1e-6 to 1e6", i, (double)divisors[i]);
    }
    rope->freq_divisors = divisors;
    t->used = true;
    return 0;
}

/* head_dim from the keys, or hidden / heads; keys and values alike, and all of it rotated. */
static int read_heads(struct reading *r, struct model_shape *s)
{
    s->n_kv_heads = s->n_heads;
    if (arch_int_or(r, "attention.head_count_kv", &s->n_kv_heads) != 0) return -1;
    s->head_dim = s->hidden / s->n_heads;
    if (arch_int_or(r, "attention.key_length", &s->head_dim) != 0) return -1;
    int value_length = s->head_dim, rotated = s->head_dim;
    if (arch_int_or(r, "attention.value_length", &value_length) != 0) return -1;
    if (value_length != s->head_dim)
        return fail("key %s: %d, not the key length %d: not supported", r->key, value_length, s->head_dim);
    if (arch_int_or(r, "rope.dimension_count", &rotated) != 0) return -1;
    if (rotated != s->head_dim)
        return fail("key %s: %d of a head's %d elements rotated: not supported", r->key, rotated, s->head_dim);
    return 0;
}

static int read_shape(struct reading *r, struct model *m)
{
    struct model_shape *s = &m->shape;
    if (find_architecture(r, s) != 0) return -1;
    if (arch_int(r, "block_count", &s->n_layers) != 0 || arch_int(r, "embedding_length", &s->hidden) != 0 ||
        arch_int(r, "feed_forward_length", &s->ffn) != 0 || arch_int(r, "attention.head_count", &s->n_heads) != 0 ||
        arch_int(r, "context_length", &s->context) != 0 || read_heads(r, s) != 0)
        return -1;
    if (gguf_double(r->g, arch_key(r, "attention.layer_norm_rms_epsilon"), 0, 1, &s->rms_eps) != 0) return -1;
    s->rope.base = 10000;
    s->rope.attention_factor = 1;
    if (arch_double_or(r, "rope.freq_base", &s->rope.base) != 0 || read_scaling(r, &s->rope) != 0) return -1;
    if (s->rope.scaling == ROPE_YARN && read_yarn(r, s, &s->rope) != 0) return -1;
    const struct gguf_tensor *embedding = gguf_tensor(r->g, "token_embd.weight");
    if (!embedding || embedding->n_dims != 2) return fail("tensor token_embd.weight is missing or not a matrix");
    s->vocab = (int)embedding->dims[1];
    s->tied = !gguf_tensor(r->g, "output.weight");
    s->qkv_bias = s->family == FAMILY_QWEN2 || gguf_tensor(r->g, "blk.0.attn_q.bias");
    s->qk_norm = s->family == FAMILY_QWEN3;
    return refuse_extras(r, s) != 0 ? -1 : model_check_shape(s);
}

static int place_tensor(void *source, const struct model_slot *slot, int layer, uint32_t number, struct tensor *t)
{
    struct gguf *g = source;
    char name[64];
    (void)number;
    if (layer < 0)
        snprintf(name, sizeof name, "%s", slot->gguf);
    else
        snprintf(name, sizeof name, "blk.%d.%s", layer, slot->gguf);
    struct gguf_tensor *found = gguf_tensor(g, name);
    if (!found) return fail("tensor %s is missing", name);
    uint64_t n_rows = 1;
    for (int d = 1; d < found->n_dims; d++) n_rows *= found->dims[d]; /* its bytes fit the file: no overflow */
    if (found->dims[0] != (uint64_t)t->n_cols || n_rows != (uint64_t)t->n_rows)
        return fail("tensor %s: %llu x %llu, should be %d x %d by the metadata", name, (unsigned long long)n_rows,
                    (unsigned long long)found->dims[0], t->n_rows, t->n_cols);
    if (t->n_rows == 1 && tensor_format(found->type)->group != 0)
        return fail("tensor %s: a vector of type %s, supported are F32, F16 and BF16", name,
                    tensor_format(found->type)->name);
    t->type = found->type;
    t->data = found->data;
    found->used = true;
    return 0;
}

static int refuse_unused(const struct gguf *g)
{
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!g->tensors[i].used)
            return fail("tensor %.*s is not one of this architecture's: not supported", (int)g->tensors[i].name.n,
                        g->tensors[i].name.at);
    return 0;
}

static int read_model(struct model *m, struct gguf *g, const char *path)
{
    struct reading r = { .g = g };
    if (read_shape(&r, m) != 0 || read_divisors(m, g) != 0) return -1;
    if (model_fill(m, place_tensor, g) != 0 || refuse_unused(g) != 0) return -1;
    return model_gguf_tokenizer(&m->tokenizer, g, m->shape.vocab, path);
}

int model_open_gguf(struct model *m, const char *path)
{
    struct file_map map;
    struct gguf g = { 0 };
    if (model_store_map(m, path, &map) != 0) return -1;
    int rc = gguf_open(&g, map.bytes, map.n_bytes);
    if (rc == 0) rc = read_model(m, &g, path);
    gguf_close(&g);
    TRY(rc, "%s", path);
    m->file_bytes = map.n_bytes;
    digest_file(&map, m->digest);
    return 0;
}
