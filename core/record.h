/* core/record.h: every measured variable, defined once, and the record of one step that holds their values.
 *
 * Definitions.  x is the lane's, r lane 0's (the dense reference), c the clean twin's value; rel(x, r) =
 * |x - r|_2 / |r|_2 with the sums in double in a fixed order (on the CPU: by index), 0/0 = 0; dist(x, c; r) = |x - c|_2 / |r|_2.
 * KV heads and head_dim (or query heads and head_dim) are concatenated unless a variable is by head.  K is post-RoPE but for
 * k_spread.  Logits are at temperature 1, sums over the vocabulary in double, ties go to the lowest id.
 * Lane 0 has error 0, kept_mass 1, match 1, blocks_read NaN.  Quantities against a clean twin are NaN where there
 * is none, and a probe has no cache drift (NaN).  A lane without a row (before its dense_until, after its end) has NaN,
 * 255 in flags, -1 in integers; but before its dense_until lane 0's token, target and bytes, and rectified 0.  With follow: self, comparisons are NaN (255) from the first step whose fed
 * token differs from lane 0's.
 *
 * A record is one flat block: record_layout gives the byte offset of each variable that is on; a variable is stored
 * [lane][layer].. in the order of its dimensions without step.  The measuring operations of a back end write it;
 * the trace copies it into files.                                                                        */
#ifndef CORE_RECORD_H
#define CORE_RECORD_H

#include <stddef.h>
#include <stdint.h>

enum record_dims {
    DIMS_STEP,                    /* [1] */
    DIMS_STEP_LANE,               /* [lane] */
    DIMS_STEP_LANE_LAYER,         /* [lane][layer] */
    DIMS_STEP_LAYER_HEAD,         /* [layer][kv_head] */
    DIMS_STEP_LANE_LAYER_HEAD,    /* [lane][layer][kv_head] */
    DIMS_STEP_LANE_LAYER_HEAD_SLOT /* [lane][layer][kv_head][slot] */
};
enum record_type { REC_F32, REC_I32, REC_I64, REC_U8 };

/* Group 0 is always on; the others are enum metric of core/plan.h: 1 drift, 2 cache, 4 attention, 8 mass, 16 logits,
 * 32 parts, 64 heads, 128 selection, 256 time (of experiment latency, which has no other; there a step is one that was timed, of a
 * whole batch, bytes are the batch's, and every step has the rectification that was timed with it).  X(ID, name, dims, type, units, group, long_name) */
#define RECORD_VARS(X)                                                                                                         \
    X(TOKEN, token, DIMS_STEP_LANE, REC_I32, "1", 0, "token fed in this step")                                                 \
    X(TARGET, target, DIMS_STEP_LANE, REC_I32, "1", 0, "next token of the stream")                                             \
    X(ARGMAX, argmax, DIMS_STEP_LANE, REC_I32, "1", 0, "the lane's most likely next token")                                    \
    X(CONTEXT_TOKENS, context_tokens, DIMS_STEP, REC_I32, "1", 0, "tokens in the cache after this step")                       \
    X(RECTIFIED, rectified, DIMS_STEP_LANE, REC_U8, "1", 0, "1 where the lane was rectified after this step")                  \
    X(STALE_TOKENS, stale_tokens, DIMS_STEP_LANE, REC_I32, "1", 0,                                                             \
      "suffix tokens before the current one that sparse steps wrote and no rectification rewrote, before this step's")         \
    X(ACTIVE_SHARE, active_share, DIMS_STEP_LANE, REC_F32, "1", 0, "tokens read / tokens in the cache, mean over layers and KV heads") \
    X(K_DRIFT, k_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 1, "rel(k of this token as first written, lane 0's)")              \
    X(V_DRIFT, v_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 1, "rel(v of this token as first written, lane 0's)")              \
    X(K_ACCUM, k_accum, DIMS_STEP_LANE_LAYER, REC_F32, "1", 1, "distance of k to the clean twin's, over lane 0's norm")        \
    X(V_ACCUM, v_accum, DIMS_STEP_LANE_LAYER, REC_F32, "1", 1, "distance of v to the clean twin's, over lane 0's norm")        \
    X(ATTN_ACCUM, attn_accum, DIMS_STEP_LANE_LAYER, REC_F32, "1", 1,                                                           \
      "distance of the attention output to the clean twin's, over lane 0's norm")                                              \
    X(K_NORM, k_norm, DIMS_STEP_LAYER_HEAD, REC_F32, "1", 1, "norm of this token's k in lane 0")                               \
    X(V_NORM, v_norm, DIMS_STEP_LAYER_HEAD, REC_F32, "1", 1, "norm of this token's v in lane 0")                               \
    X(K_SHIFT, k_shift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 1, "RMS over KV heads of |k - r| / k_spread")                      \
    X(V_SHIFT, v_shift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 1, "RMS over KV heads of |v - r| / v_spread")                      \
    X(K_STALE_DRIFT, k_stale_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 2,                                                     \
      "relative drift of k of the stale tokens and the current one together, before this step's rectification")                \
    X(V_STALE_DRIFT, v_stale_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 2,                                                     \
      "relative drift of v of the stale tokens and the current one together, before this step's rectification")                \
    X(K_RECT_DRIFT, k_rect_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 2, "relative drift of k of the window just rectified")   \
    X(V_RECT_DRIFT, v_rect_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 2, "relative drift of v of the window just rectified")   \
    X(K_CACHE_DRIFT, k_cache_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 2,                                                     \
      "relative drift of k of all suffix tokens together, as the cache stands after this step")                                \
    X(V_CACHE_DRIFT, v_cache_drift, DIMS_STEP_LANE_LAYER, REC_F32, "1", 2,                                                     \
      "relative drift of v of all suffix tokens together, as the cache stands after this step")                                \
    X(ATTN_ERR, attn_err, DIMS_STEP_LANE_LAYER, REC_F32, "1", 4, "rel(attention output before the output projection, lane 0's)") \
    X(RESID_ERR, resid_err, DIMS_STEP_LANE_LAYER, REC_F32, "1", 4, "rel(residual stream after the layer, lane 0's)")           \
    X(BLOCKS_READ, blocks_read, DIMS_STEP_LANE_LAYER, REC_F32, "1", 4, "selected blocks, mean over KV heads")                  \
    X(KEPT_MASS, kept_mass, DIMS_STEP_LANE_LAYER, REC_F32, "1", 8,                                                             \
      "softmax mass, under the lane's q and cache, in the selected blocks: mean over query heads")                             \
    X(KEPT_MASS_MIN, kept_mass_min, DIMS_STEP_LANE_LAYER, REC_F32, "1", 8, "least kept mass of a query head")                  \
    X(BEST_MASS, best_mass, DIMS_STEP_LANE_LAYER, REC_F32, "1", 8,                                                             \
      "mass in the best n_sel blocks by the group's mean mass, the local ones among them: mean over query heads")              \
    X(STALE_MASS, stale_mass, DIMS_STEP_LANE_LAYER, REC_F32, "1", 8, "mass on the stale tokens: mean over query heads")        \
    X(ATTN_ERR_SELECT, attn_err_select, DIMS_STEP_LANE_LAYER, REC_F32, "1", 32,                                                \
      "rel(lane 0's q, k, v through the lane's blocks, lane 0's attention output)")                                            \
    X(ATTN_ERR_CACHE, attn_err_cache, DIMS_STEP_LANE_LAYER, REC_F32, "1", 32,                                                  \
      "rel(lane 0's q over the lane's k, v with all blocks, lane 0's attention output)")                                       \
    X(KEPT_MASS_DENSE, kept_mass_dense, DIMS_STEP_LANE_LAYER, REC_F32, "1", 32,                                                \
      "lane 0's softmax mass in the lane's blocks: mean over query heads")                                                     \
    X(SELECT_OVERLAP, select_overlap, DIMS_STEP_LANE_LAYER, REC_F32, "1", 32,                                                  \
      "Jaccard index with the clean twin's blocks, mean over KV heads")                                                        \
    X(HIDDEN_ERR, hidden_err, DIMS_STEP_LANE, REC_F32, "1", 16, "rel(final hidden state after the final norm, lane 0's)")      \
    X(HIDDEN_ACCUM, hidden_accum, DIMS_STEP_LANE, REC_F32, "1", 16,                                                            \
      "distance of the final hidden state to the clean twin's, over lane 0's norm")                                            \
    X(LOGIT_KL, logit_kl, DIMS_STEP_LANE, REC_F32, "nat", 16, "KL(dense || lane)")                                             \
    X(KL_CLEAN, kl_clean, DIMS_STEP_LANE, REC_F32, "nat", 16, "KL(clean twin || lane)")                                        \
    X(NLL, nll, DIMS_STEP_LANE, REC_F32, "nat", 16, "-log p(target)")                                                          \
    X(ENTROPY, entropy, DIMS_STEP_LANE, REC_F32, "nat", 16, "entropy of the lane's softmax")                                   \
    X(TOP1_MATCH, top1_match, DIMS_STEP_LANE, REC_U8, "1", 16, "1 where the lane's argmax equals lane 0's")                    \
    X(TOP3_HIT, top3_hit, DIMS_STEP_LANE, REC_U8, "1", 16, "1 where target is among the lane's three most likely")             \
    X(KV_READ_BYTES, kv_read_bytes, DIMS_STEP_LANE, REC_I64, "B", 0, "k and v read by this lane alone, and the new ones written") \
    X(KEY_READ_BYTES, key_read_bytes, DIMS_STEP_LANE, REC_I64, "B", 0, "block keys of all blocks read, and the open block's written")                          \
    X(RECTIFY_BYTES, rectify_bytes, DIMS_STEP_LANE, REC_I64, "B", 0, "k and v read and written by the rectification after this step, 0 where none; block keys left out") \
    X(RECTIFY_FLOP, rectify_flop, DIMS_STEP_LANE, REC_I64, "1", 0, "floating-point operations of the rectification after this step") \
    X(K_HEAD_DRIFT, k_head_drift, DIMS_STEP_LANE_LAYER_HEAD, REC_F32, "1", 64, "k_drift of one KV head")                       \
    X(V_HEAD_DRIFT, v_head_drift, DIMS_STEP_LANE_LAYER_HEAD, REC_F32, "1", 64, "v_drift of one KV head")                       \
    X(ATTN_HEAD_ERR, attn_head_err, DIMS_STEP_LANE_LAYER_HEAD, REC_F32, "1", 64, "attn_err of one KV head's query heads")      \
    X(KEPT_HEAD_MASS, kept_head_mass, DIMS_STEP_LANE_LAYER_HEAD, REC_F32, "1", 64, "kept_mass of one KV head's query heads")   \
    X(BEST_HEAD_MASS, best_head_mass, DIMS_STEP_LANE_LAYER_HEAD, REC_F32, "1", 64, "best_mass of one KV head's query heads")   \
    X(STALE_HEAD_MASS, stale_head_mass, DIMS_STEP_LANE_LAYER_HEAD, REC_F32, "1", 64, "stale_mass of one KV head's query heads") \
    X(SELECTED_BLOCKS, selected_blocks, DIMS_STEP_LANE_LAYER_HEAD_SLOT, REC_I32, "1", 128, "selected blocks, ascending; -1 past the last, and throughout where all are read without a selection") \
    X(STEP_TIME, step_time, DIMS_STEP_LANE, REC_F32, "s", 256, "device time of one decode step of the batch, up to its logits")  \
    X(PRODUCT_TIME, product_time, DIMS_STEP_LANE, REC_F32, "s", 256, "device time of the step's matrix products, rotation and append alone") \
    X(SELECT_TIME, select_time, DIMS_STEP_LANE, REC_F32, "s", 256, "device time of scoring the blocks and selecting them alone; NaN where all are read") \
    X(ATTEND_TIME, attend_time, DIMS_STEP_LANE, REC_F32, "s", 256, "device time of the step's attention alone")                 \
    X(OTHER_TIME, other_time, DIMS_STEP_LANE, REC_F32, "s", 256, "device time of all other operations of the step alone")       \
    X(RECTIFY_TIME, rectify_time, DIMS_STEP_LANE, REC_F32, "s", 256,                                                           \
      "device time of one rectification of the batch, of as many tokens as the lane's interval; NaN where there is none")      \
    X(READ_TIME, read_time, DIMS_STEP_LANE, REC_F32, "s", 256, "device time of a plain read of step_bytes")                     \
    X(STEP_BYTES, step_bytes, DIMS_STEP_LANE, REC_I64, "B", 256, "weights, k, v and block keys that the step must move")        \
    X(CLOCK, clock, DIMS_STEP_LANE, REC_F32, "Hz", 256, "clock of the multiprocessors while the steps ran; NaN where it is not known")

#define X(id, name, dims, type, units, group, long_name) VAR_##id,
enum record_var { RECORD_VARS(X) N_RECORD_VARS };
#undef X

struct record_var_def {
    const char *name, *units, *long_name;
    enum record_dims dims;
    enum record_type type;
    unsigned group; /* 0: always recorded */
};
extern const struct record_var_def record_var_defs[N_RECORD_VARS];

#define RECORD_OFF SIZE_MAX /* at[v] of a variable that is not recorded */

struct record_layout {
    int n_lanes, n_layers, n_kv_heads, n_slots; /* n_slots: capacity of a block list (selection group), else 0 */
    size_t at[N_RECORD_VARS];                   /* byte offset in a record, a multiple of 8 */
    size_t n_bytes;                             /* of one record */
};

void   record_layout_init(struct record_layout *l, int n_lanes, int n_layers, int n_kv_heads, int n_slots, unsigned metrics);
size_t record_type_bytes(enum record_type type);
size_t record_var_count(const struct record_layout *l, enum record_var v); /* elements of v in one record */
/* Everything "not there": NaN, 255 in flags, -1 in integers. */
void   record_clear(const struct record_layout *l, void *record);

/* The place of element i of v, or NULL where v is not recorded. */
static inline void *record_at(const struct record_layout *l, void *record, enum record_var v)
{
    return l->at[v] == RECORD_OFF ? NULL : (char *)record + l->at[v];
}

#endif
