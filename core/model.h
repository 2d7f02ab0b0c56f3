/* core/model.h: a decoder-only transformer of the Llama, Qwen2 or Qwen3 family: its shape and its weights,
 * from a GGUF file, a Hugging Face safetensors folder, or a seed.
 *
 * The model borrows nothing: it maps its files read-only and owns the mapping; every tensor points into it.
 * Back ends take the tensors and lay them out for themselves (the mapping's pages are then clean page cache:
 * model_drop_pages() tells the kernel that they are not needed).  A model file is untrusted input: every
 * count, offset and size is checked against the file before it is used.                                 */
#ifndef CORE_MODEL_H
#define CORE_MODEL_H

#include "core/tensor.h"
#include "core/tokenizer.h"

#include <stdbool.h>

enum model_family { FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3 };

/* ROPE_PAIRS rotates elements (2i, 2i+1) of a head (Llama GGUF files, whose Q and K rows are permuted for it);
 * ROPE_HALVES rotates (i, i + head_dim/2) (Hugging Face, Qwen GGUF). */
enum rope_style { ROPE_PAIRS, ROPE_HALVES };
enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3, ROPE_YARN };

struct rope_config {
    enum rope_style style;
    enum rope_scaling scaling;
    double base;                          /* theta */
    double factor;                        /* linear, llama3, yarn */
    double low_freq_factor, high_freq_factor; /* llama3 */
    int original_context;                 /* llama3, yarn */
    double beta_fast, beta_slow;          /* yarn */
    double attention_factor;              /* multiplies cos and sin; 1 but for yarn */
    const float *freq_divisors;           /* f32 [head_dim/2], borrowed from the model: each pair's frequency is divided
                                             by it after the scaling (rope_freqs.weight of a Llama 3 GGUF); NULL: none */
};

struct model_shape {
    enum model_family family;
    int n_layers, hidden, ffn, n_heads, n_kv_heads, head_dim, vocab, context;
    double rms_eps;
    struct rope_config rope;
    bool qkv_bias, qk_norm, tied;         /* tied: the output matrix is the embedding */
};

struct model_layer {
    struct tensor attn_norm, ffn_norm;    /* [1][hidden]; all [1][..] are F32, F16 or BF16 */
    struct tensor q, k, v, o;             /* [n_heads*head_dim][hidden], [n_kv_heads*head_dim][hidden] x2, [hidden][n_heads*head_dim] */
    struct tensor q_bias, k_bias, v_bias; /* [1][rows of q, k, v]; data NULL without qkv_bias */
    struct tensor q_norm, k_norm;         /* [1][head_dim]; data NULL without qk_norm */
    struct tensor gate, up, down;         /* [ffn][hidden] x2, [hidden][ffn] */
};

/* Parameters of `model: synthetic: {..}`; all weights from Philox(seed, tensor, index), see model_synthetic.c. */
struct synthetic_spec {
    int layers, hidden, ffn, heads, kv_heads, head_dim, vocab, context; /* kv_heads 0: heads; head_dim 0: hidden / heads; ffn 0: 4 * hidden / 3 rounded up to 64 */
    enum model_family family;
    bool untied;                          /* an output matrix of its own */
    uint64_t seed;
};

struct model {
    char name[64];                        /* a known name, a file's base name, or "synthetic-<shape>-s<seed>" */
    struct model_shape shape;
    struct tensor embedding, output_norm, output; /* output is the embedding's tensor when tied */
    struct model_layer *layers;           /* owned [n_layers] */
    struct tokenizer tokenizer;           /* n_tokens 0 where the model has none (synthetic) */
    char digest[65];                      /* SHA-256 in hex: of the GGUF file; of all files that were read, in a folder; of the spec */
    uint64_t file_bytes, n_params;
    struct model_store *store;            /* owned: mappings and blocks that the tensors point into */
};

/* source: a known name (MODEL_KNOWN), a .gguf file or a checkpoint folder; never fetches: an absent known
 * model fails with the command that fetches it.  The digest of a known model's file is compared with the
 * known one when it is fetched, and again here unless the cache's stamp says it was (size, mtime, inode). */
int  model_open(struct model *m, const char *source);
int  model_open_synthetic(struct model *m, const struct synthetic_spec *spec);
void model_close(struct model *m);        /* safe on a zeroed or half-opened model */
void model_drop_pages(const struct model *m);

/* One line for people: "llama, 30 layers, hidden 576, ...". */
void model_describe(const struct model *m, char *text, size_t n_bytes);

/* The 1 / wavelength of each rotated pair, scaling applied: out f64 [head_dim/2].  Angle of pair i at position
 * p is p * out[i]; cos and sin are multiplied by rope->attention_factor (1 but for yarn). */
void rope_frequencies(const struct rope_config *rope, int head_dim, double *out);

#endif
