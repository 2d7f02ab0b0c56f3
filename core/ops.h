/* core/ops.h: the contract of every operation, and of a back end, which is a const table of them.
 *
 * An operation takes its device (stream, workspace, instruction set, threads) and only enqueues: it reads no result on the
 * host.  Every pointer in an args struct is device memory, unless it says host or is to a kv_cache, block_lists, record_layout or matrix, which
 * are the host's and point to device memory; capacities are fixed when a run opens and nothing is allocated after that.  Row tables,
 * lane tables and lists are device buffers, so that one recorded step can be replayed with other positions.  Arrays are float32 and
 * row-major unless said otherwise.
 *
 * Exactness on the CPU: a row's result never depends on the other rows of the batch, on how a chunk is cut, on the
 * number of threads or on the instruction set.  Each operation states the order of its sums there; a fused multiply-add is spelled
 * out, transcendental functions are our own (kernels/exact_math.h).  Another back end sums in a fixed order of its own.
 *
 * An args struct owns nothing of what it points to.                                                          */
#ifndef CORE_OPS_H
#define CORE_OPS_H

#include "core/kv_cache.h"
#include "core/lane.h"
#include "core/model.h"
#include "core/provenance.h"
#include "core/record.h"

struct device;  /* a back end's own */
struct matrix;  /* weights as a back end packs them */
struct graph;   /* a recorded step */

enum { ROW_SPARSE = 1, ROW_LOGITS = 2, ROW_PERTURB = 4 };
enum { NO_TAIL = -1, DEVICE_MARKS = 8 };

/* One row of a forward pass.  Prefill, step and rectification differ only in their row table. */
struct row {
    int32_t lane;      /* whose policy */
    int32_t position;  /* absolute; RoPE angle, and the last position it attends to */
    int32_t token_at;  /* index of the token to feed in the token buffer */
    int32_t store;     /* the suffix it reads, KV_PREFIX in a prefill; written there too unless tail >= 0 */
    int32_t tail;      /* a probe's scratch tile, or NO_TAIL */
    int32_t flags;     /* ROW_* */
};

/* A lane's policy on the device. */
struct lane_params {
    int32_t selector;  /* enum selector_id */
    int32_t block_size, local_blocks, min_blocks, active_millionths, dense_layers;
    int32_t key_set;   /* index of the key_set that scores it: its block size over the store it reads; -1: none */
    int32_t prefix_set;/* index of the prefix's key_set of that block size; -1: none */
    float   perturb;
};


struct embed_args {      /* out[r] = embedding row tokens[rows[r].token_at] */
    int n_rows, hidden;
    const struct row *rows;
    const int32_t *tokens;
    const struct matrix *embedding; /* [vocab][hidden], of one part, by matrix_pack() */
    float *out;          /* [n_rows][hidden] */
};

/* An operand: the rows of a product in a form of the back end's own, backend.operand_bytes() of memory, written by norm, attend and
 * product and read by product.  On a back end without operand_bytes there is none, all of them are NULL: its products read float32 rows. */

/* out[r] = x[r] * s * weight, s = 1 / sqrt(mean(x[r]^2) + eps) rounded to f32; the sum of squares in double in a fixed order (on the CPU:
 * by index). */
struct norm_args {
    int n_rows, n;
    const float *x;      /* [n_rows][n] */
    const float *weight; /* [n] */
    double eps;
    float *out;          /* [n_rows][n], may be x; NULL where there is an operand and no more is wanted */
    void *operand;       /* the same rows, or NULL */
};

struct product_args {    /* y[r][o] = chain over k = 0 .. n_in-1 of fma(x[r][k], w[o][k], acc), from bias[o] or 0; then + residual[r][o] */
    int n_rows;
    const struct matrix *w;
    const float *x;      /* [n_rows][n_in] */
    const void *operand; /* read instead of x where it is not NULL */
    const float *bias;   /* [n_out] or NULL */
    const float *residual; /* [n_rows][n_out] or NULL; may be y */
    float *y;            /* [n_rows][n_out] */
    void *act;           /* where not NULL, an operand that is written instead of y: swiglu's rows of y as its gate_up, w two parts of n_out / 2 */
};

struct swiglu_args {     /* out[r][i] = silu(gate_up[r][i]) * gate_up[r][n + i], silu(x) = x / (1 + exp(-x)) */
    int n_rows, n;
    const float *gate_up;/* [n_rows][2 n] */
    float *out;          /* [n_rows][n] */
};

struct angles_args {     /* cosine and sine of position * frequency, in double, times attention_factor, rounded to f32 */
    int n_rows, n_pairs;
    const struct row *rows;
    const double *frequency; /* [n_pairs] */
    double attention_factor;
    float *cosine, *sine;/* [n_rows][n_pairs] */
};

/* QK norm where the model has it, then (before RoPE) k is copied to k_plain, RoPE of q and k, perturbation of rows with
 * ROW_PERTURB whose lane has perturb > 0 (kernels/perturb.h), all in place in qkv; then k and v are written to the row's
 * store, prefix or tail.  A tail is first filled with its store's tile of that position (earlier tokens; NaN beyond). */
struct rope_append_args {
    int n_rows, layer, n_heads;
    const struct row *rows;
    const struct lane_params *lanes; /* NULL: no lane perturbs */
    float *qkv;          /* [n_rows][(n_heads + 2 n_kv_heads) head_dim]: q, k, v */
    const float *q_norm, *k_norm; /* [head_dim] or NULL */
    double eps;
    const float *cosine, *sine;   /* [n_rows][head_dim / 2] */
    enum rope_style style;
    float *k_plain;      /* [n_rows][n_kv_heads head_dim] or NULL */
    struct kv_cache *kv;
    uint64_t seed;       /* of the perturbation; its step is position - prefix_tokens */
};

/* product, whose y is rope_append's qkv, and then rope_append, whose rows are the same. */
struct qkv_args {
    struct product_args product;
    struct rope_append_args rope;
};

/* Block lists.  A row without a list (dense, or below its lane's dense_layers) has count -1: it reads all. */
struct block_lists {
    int max_blocks;      /* capacity of a list */
    int32_t *blocks;     /* [max_rows][n_kv_heads][max_blocks], ascending */
    int32_t *count;      /* [max_rows][n_kv_heads] */
    int32_t *tokens;     /* [max_rows][n_kv_heads] tokens that the blocks hold; position + 1 for a row without a list */
};

/* Selection for the rows with ROW_SPARSE (the others get count -1): lane_n_selected() blocks of one KV head, the last local_blocks
 * among them.  minmax (Rectified Sparse Attention, arXiv 2506.04108): the rest by an upper bound of q.k over the block, from its
 * block keys.  Pooled query: the mean of the group's query heads, summed in head order, divided by the group size, times the f32
 * rounding of head_dim^-0.5.  Score of a block: chain over j of acc += max(q_j max_ij, q_j min_ij), in float32.  Ties go to the lower index, NaN scores count as -inf.
 * random: the rest drawn uniformly without replacement by Philox(seed, step, layer, kv_head), the same for all lanes; window: block
 * 0 and the last ones; oracle: the rest by the most group-mean mass under the lane's own q and cache; replay copies the list that
 * the host has staged.  The current token's k is folded into its block's key on the fly. */
struct select_args {
    int n_rows, layer, n_heads;
    const struct row *rows;
    const struct lane_params *lanes;
    const struct key_set *sets;   /* host table, its keys device memory */
    const float *qkv;             /* as rope_append left it */
    const struct kv_cache *kv;
    const double *mass;           /* block_mass's, needed by oracle rows: [n_rows][n_heads][mass_blocks] */
    int mass_blocks;
    uint64_t seed;                /* random; its step is position - prefix_tokens */
    struct block_lists *lists;
    float *scores;                /* workspace [max_rows][n_kv_heads][max_score_blocks] */
    int max_score_blocks;
    int n_sets;
    const int32_t *replay;        /* needed by replay rows: this layer's lists [n_lanes][n_kv_heads][lists->max_blocks] */
};

/* Folds the current k of each row that writes into a store into every key_set of that store. */
struct keys_commit_args {
    int n_rows, layer, n_heads, n_sets;
    const struct row *rows;
    const struct key_set *sets;
    const float *qkv;
    const struct kv_cache *kv;
};

/* total[r][kv_head] += the tokens that row r's list holds in this layer; from 0 in the first layer. */
struct tally_args {
    int n_rows, n_kv_heads, layer;
    const struct block_lists *lists;
    int64_t *total;               /* [n_rows][n_kv_heads] */
};

/* Selection, then its tally, then the keys' commit of the same rows: all scores come before it. */
struct choose_args {
    struct select_args select;
    int64_t *total;               /* tally_args' */
};

/* Rebuilds blocks from_block .. to_block of one set from the stored keys of positions below n_tokens. */
struct keys_build_args {
    int layer, set, from_block, to_block, n_tokens;
    const struct key_set *sets;
    const struct kv_cache *kv;
};

/* One query row of attention: q[q_row] over the tokens 0 .. position of a store (tail for the last tile), in the blocks
 * of list_row, or all where that row's count is -1 or list_row is -1. */
struct attend_row {
    int32_t q_row, store, tail, position, list_row, block_size, out_row;
};

/* Per query head: s_p = (chain over d of fma(q_d, k_pd, acc)) * scale; m = max s; e_p = exp(s_p - m); sums of e over
 * positions equal mod KV_TILE in position order, those KV_TILE sums added in a fixed tree; out_d = (chain over p in position order of
 * fma(e_p, v_pd, acc)) / sum.  Tokens that are not read take no part, so the result depends on the set of tokens alone. */
struct attend_args {
    int n_rows, layer, n_heads;
    const struct attend_row *rows; /* written from the host alone: no operation changes them */
    const float *qkv;
    int qkv_stride;               /* floats from one q row to the next */
    const struct kv_cache *kv;
    const struct block_lists *lists; /* NULL: all rows are dense */
    float *out;                   /* [..][n_heads head_dim] by out_row */
    void *operand;                /* the same rows as an operand of n_rows rows, out_row = 0 .. n_rows - 1; or NULL */
};

/* Full softmax mass by block, under q[q_row] and a store's whole context: mass[out_row][head][block], sums to 1; and
 * the share of positions stale_from .. position - 1.  The scores and exponentials are attention's, the sums double. */
struct mass_row {
    int32_t q_row, store, tail, position, block_size, stale_from, out_row;
};
struct block_mass_args {
    int n_rows, layer, n_heads;
    const struct mass_row *rows;
    const float *qkv;
    int qkv_stride, mass_blocks;
    const struct kv_cache *kv;
    double *mass;                 /* [..][n_heads][mass_blocks] by out_row; blocks past the context are 0 */
    double *stale;                /* [..][n_heads] by out_row */
};

/* K, V of positions from .. to-1 of one store to another, in one layer (the straddling tile after a prefill: from KV_PREFIX;
 * dense_until: from store 0). */
struct kv_copy_args {
    int layer, from_store, to_store, from, to;
    struct kv_cache *kv;
};

/* Per-token squares of K and V against a reference store: squares[4 * (token)] = |k-r|^2, |r|^2, |v-r|^2, |r|^2 of V, double, sums
 * over KV heads and head_dim in a fixed order (on the CPU: by index).  token = position - prefix_tokens. */
struct kv_compare_args {
    int layer, store, ref_store, from, to; /* positions */
    const struct kv_cache *kv;
    double *squares;              /* this lane's and layer's [n_steps][4] */
};

/* Running mean and sum of squared deviations (Welford, double) of each element of k_plain and v over positions 1 .. of the
 * prefix, rows in order; the rows of one call are consecutive positions.  state [2: k, v][n_kv_heads head_dim][2: mean, m2]. */
struct spread_args {
    int n_rows, n_heads, n_kv_heads, head_dim;
    const struct row *rows;
    const float *k_plain;         /* [n_rows][n_kv_heads head_dim] */
    const float *qkv;             /* [n_rows][(n_heads + 2 n_kv_heads) head_dim] as rope_append left it; v is read */
    double *state;
};

/* Where the measures of a step are written, and what they compare. */
struct measure {
    const struct record_layout *layout;
    void *record;                 /* one record of layout */
    int n_lanes;
    const int32_t *row_of_lane;   /* [n_lanes] row in this pass, -1: the lane has none */
    const int32_t *twin;          /* [n_lanes] lane index of the clean twin, -1 none */
    const int32_t *diverged;      /* [n_lanes] first step whose fed token differs from lane 0's, -1 none; compared with step */
    const int32_t *end;           /* [n_lanes] first step without the lane (after its eos), INT32_MAX none */
    const int32_t *step;          /* [1] */
};

struct measure_layer_args {      /* groups drift, attention, mass, parts, heads, selection of one layer; cache squares of this token */
    struct measure m;
    int layer, n_heads, n_kv_heads, head_dim, hidden;
    const float *qkv;             /* [rows] as rope_append left it */
    const float *attn;            /* [rows][n_heads head_dim] */
    const float *resid;           /* [rows][hidden] after the layer */
    const double *spread;         /* [2: k, v][n_kv_heads]: this layer's, or NULL */
    const struct block_lists *lists; /* by row */
    const struct lane_params *lanes;
    const struct row *rows;
    const double *mass, *stale;   /* by row, NULL without the mass group */
    int mass_blocks;
    const float *attn_select, *attn_cache; /* [n_lanes][n_heads head_dim], parts group or NULL */
    const double *mass_dense;     /* [n_lanes][n_heads][mass_blocks]: lane 0's q and cache at the lane's block size */
    double *squares;              /* [n_lanes][n_layers][n_steps][4] or NULL: this token's, of lanes with a store of their own */
    int n_layers, n_steps;
    const int32_t *store_of_lane; /* [n_lanes] own store, -1: a probe */
};

struct measure_cache_args {      /* sqrt(sum squares / sum ref) over suffix tokens from[lane] .. to[lane] - 1, all layers, into k_var, v_var */
    struct measure m;
    enum record_var k_var, v_var;
    int n_layers, n_steps;
    const double *squares;        /* [n_lanes][n_layers][n_steps][4] */
    const int32_t *from, *to;     /* [n_lanes] steps; from >= to: the lane keeps its NaN; lane 0: 0 where from < to */
};

struct measure_logits_args {     /* group logits, argmax; token and target of the record */
    struct measure m;
    int vocab, hidden;
    const float *logits;          /* [rows][vocab] */
    const float *hidden_state;    /* [rows][hidden] after the final norm */
    const int32_t *tokens;        /* the token buffer */
    const int32_t *target_at;     /* [n_lanes] index of the target in it, -1 unknown */
    const struct row *rows;
};

/* Next tokens: Gumbel-max inside the nucleus of logits[rows of from_lane[l]] for each lane l with
 * from_lane[l] >= 0; greedy at temperature 0. Noise: Philox(seed, step, token id).  Updates diverged (follow: self). */
struct sample_args {
    int n_lanes, vocab;
    const int32_t *step;          /* [1] */
    const int32_t *row_of_lane;   /* [n_lanes] row of logits, -1: the lane has none */
    const int32_t *from_lane;     /* [n_lanes] lane whose logits it chooses from, -1: it chooses nothing */
    const float *logits;          /* [rows][vocab] */
    double temperature, top_p;
    uint64_t seed;
    int32_t *tokens;              /* the token buffer */
    const int32_t *token_at;      /* [n_lanes] index that receives the choice */
    int32_t *diverged;            /* [n_lanes] or NULL: set to step + 1 where the choice first differs from lane 0's */
};

/* The most that a run asks of a back end's workspace. */
struct work_extent {
    int max_rows, max_context;    /* rows of a forward pass; tokens of a context */
    int n_lanes;                  /* whose block mass is taken, that are measured, that choose a token */
    int mass_blocks, max_blocks;  /* as in block_mass_args, 0: no block mass is taken; as in block_lists */
};

/* Every int function, and what replay() is given to call, returns 0, or -1 with fail_text() set.  What was enqueued may fail afterwards: a later
 * call tells, sync() at the latest.  After a failure *d of open() and *m of both packs are NULL; *p of alloc() and *g of replay() are not to
 * be used, only to be released and freed.
 *
 * Memory of alloc(), matrices and graphs are the caller's, who releases or frees them before the device is closed; NULL is fine, for close() too.
 *
 * The host's memory may change as soon as upload() returns.  What download() fetches is in the host's memory after sync() or after wait() for a
 * later mark, and that memory must last until then. */
struct backend {
    const char *name;                                            /* as in configs */
    const char *numbers;                                         /* for people: what it makes of weights, rows and sums */
    int  cache_element_bytes;                                    /* of K, V in the cache */
    int  (*open)(struct device **d, int index);
    /* Whether open() fails just because this machine has no such device, or no driver for one; of any other reason a person wants to know.
     * NULL: there always is one. */
    bool (*absent)(void);
    void (*close)(struct device *d);
    int  (*describe)(const struct device *d, char *text, size_t n_bytes); /* for people: "AVX2, 2 threads" */
    void (*identify)(const struct device *d, struct provenance *p);       /* sets isa and n_threads, or gpu and driver */
    uint64_t (*free_bytes)(const struct device *d); /* 0: not known */
    /* Workspace for every operation of such a run; called when it opens. */
    int  (*reserve)(struct device *d, const struct model_shape *shape, const struct work_extent *e);
    /* What reserve() will hold for such a run; needs no device, so that a plan can count it. */
    uint64_t (*workspace_bytes)(const struct model_shape *shape, const struct work_extent *e);
    int  (*alloc)(struct device *d, void **p, size_t n_bytes, const char *what); /* filled with NaN (bytes 0xff) */
    void (*release)(struct device *d, void *p);
    int  (*upload)(struct device *d, void *to, const void *host, size_t n_bytes);
    int  (*download)(struct device *d, void *host, const void *from, size_t n_bytes);
    int  (*clear)(struct device *d, const struct record_layout *l, void *record); /* record_clear on the device */
    int  (*sync)(struct device *d);
    /* mark(i) enqueues a mark; wait(i) waits for the last one (DEVICE_MARKS of them): how the trace follows with a lag. */
    int  (*mark)(struct device *d, int i);
    int  (*wait)(struct device *d, int i);
    /* Seconds of the device's time from one mark to a later one; both have been waited for. */
    int  (*elapsed)(struct device *d, int from, int to, double *seconds);
    /* Enqueues a plain read of n_bytes at p, the fastest that the device has: what an operation's time is measured against. */
    int  (*read)(struct device *d, const void *p, size_t n_bytes);
    double (*clock_hz)(struct device *d);                        /* of the multiprocessors, now; NaN where it is not known */
    /* Enqueues what enqueue(context) enqueues: recorded into *g at the first call (g NULL: freshly), replayed after it.
     * What may differ between calls lies in device buffers.  The CPU calls enqueue each time and keeps no graph. */
    int  (*replay)(struct device *d, struct graph **g, int (*enqueue)(void *context), void *context);
    void (*graph_free)(struct device *d, struct graph *g);
    /* parts: matrices of the same n_cols whose outputs are concatenated (q, k, v; gate, up). */
    int  (*matrix_pack)(struct device *d, struct matrix **m, const struct tensor *const *parts, int n_parts);
    void (*matrix_free)(struct device *d, struct matrix *m);
    size_t (*matrix_bytes)(const struct tensor *const *parts, int n_parts); /* what matrix_pack will hold */
    /* The same for the matrices of layers, which a back end may pack more coarsely than the embedding and the output matrix. */
    int  (*layer_matrix_pack)(struct device *d, struct matrix **m, const struct tensor *const *parts, int n_parts);
    size_t (*layer_matrix_bytes)(const struct tensor *const *parts, int n_parts);
    size_t (*operand_bytes)(int n_rows, int n);                  /* of an operand; NULL: products read float32 rows */
    int  (*embed)(struct device *d, const struct embed_args *a);
    int  (*norm)(struct device *d, const struct norm_args *a);
    int  (*product)(struct device *d, const struct product_args *a);
    int  (*swiglu)(struct device *d, const struct swiglu_args *a); /* NULL: product's act, where products have operands */
    int  (*angles)(struct device *d, const struct angles_args *a);
    int  (*rope_append)(struct device *d, const struct rope_append_args *a);
    int  (*choose)(struct device *d, const struct choose_args *a);
    int  (*keys_build)(struct device *d, const struct keys_build_args *a);
    int  (*attend)(struct device *d, const struct attend_args *a);
    int  (*block_mass)(struct device *d, const struct block_mass_args *a);
    int  (*kv_copy)(struct device *d, const struct kv_copy_args *a);
    int  (*kv_compare)(struct device *d, const struct kv_compare_args *a);
    int  (*spread)(struct device *d, const struct spread_args *a);
    int  (*measure_layer)(struct device *d, const struct measure_layer_args *a);
    int  (*measure_cache)(struct device *d, const struct measure_cache_args *a);
    int  (*measure_logits)(struct device *d, const struct measure_logits_args *a);
    int  (*sample)(struct device *d, const struct sample_args *a);
    int  (*qkv)(struct device *d, const struct qkv_args *a);     /* NULL: product, then rope_append */
    bool selects[N_SELECTORS];                                   /* selectors that it has an operation for */
};

/* NULL-terminated; the CPU is always the first. */
extern const struct backend *const backends[];

#endif
