/* kernels/row_block.h: what attention and block mass share: rows whose contexts begin alike are scored together, so
 * that a tile of K or V is read once for all of them.
 *
 * A block's rows have their first n_common tiles in common, all of them read whole; after these each row goes on by itself.
 * How rows are cut into blocks decides the speed alone: a row goes through the same operations in any block.     */
#ifndef KERNELS_ROW_BLOCK_H
#define KERNELS_ROW_BLOCK_H

#include "kernels/attend_kernels.h"
#include "kernels/kv_tile.h"

/* One query row and what it reads: tokens 0 .. position, or those of its n_blocks blocks where it has a list. */
struct context {
    int32_t q_row, store, tail, position;
    int32_t list_row, block_size; /* list_row -1: all tokens */
};

struct row_block {
    int first, n_rows, n_common;
};

/* One thread's part of the workspace. */
struct scratch {
    struct context *contexts;     /* [n_rows]: only the first thread's are used */
    struct row_block *blocks;     /* [n_rows] */
    int max_pairs;
    size_t s_stride;
    float *q;                     /* [head_dim][max_pairs] */
    float *out;                   /* [max_pairs][head_dim] */
    float *sums;                  /* [max_pairs] */
    float *s;                     /* [max_pairs][s_stride] */
    const float **k, **v;         /* [2][max_tiles]: of the common tiles, of one row's others */
    uint16_t *mask;               /* [max_tiles]: of one row's others */
    int max_tiles;
};

/* Everything that stays the same for the rows of one call. */
struct attend_job {
    const struct attend_kernels *kernels;
    const struct kv_cache *kv;
    const struct block_lists *lists; /* or NULL */
    const float *qkv;
    int qkv_stride, layer, group;
    float scale;                     /* the f32 nearest to head_dim^-0.5 */
};

/* Lays the arrays out from base; returns their bytes.  base NULL: only the bytes. */
size_t scratch_layout(struct scratch *s, char *base, int group, int head_dim, int n_rows, int n_tokens);
size_t row_block_workspace_bytes(int group, int head_dim, int max_rows, int max_context);

float attend_scale(int head_dim);
struct attend_job attend_job_of(const struct device *d, const struct kv_cache *kv, const float *qkv, int qkv_stride, int layer,
                                int n_heads);

/* Cuts contexts into blocks of at most max_rows rows; returns how many. */
int row_blocks_cut(const struct kv_cache *kv, const struct context *contexts, int n, int max_rows, struct row_block *blocks);

/* The tiles of one row from tile n_common on, into the second halves of k, v and mask; returns how many. */
int row_tiles(const struct attend_job *j, const struct scratch *s, const struct context *c, int kv_head, int n_common);

/* Scores of a block's rows: s[row * group + head], its n_common tiles and then the row's own.  n_own [n_rows] receives the count of
 * those.  After each row, done(row) is called with the row's tiles still in the scratch. */
void row_block_scores(const struct attend_job *j, struct scratch *s, const struct row_block *b, const struct context *contexts,
                      int kv_head, void (*done)(void *user, int row, int n_own), void *user);

#endif
