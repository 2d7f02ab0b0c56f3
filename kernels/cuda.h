/* kernels/cuda.h: the CUDA back end: its device and its operations, for C.
 *
 * Numbers.  Weights are fp16, made from the checkpoint's values by one rounding; cuda_open_bf16()'s, bf16; cuda_matrix_pack_int4()'s, 4 bits
 * and a scale, which make an fp16 weight.  The rows that enter a product and the queries that
 * enter attention are rounded to fp16 (a product's rows after a scaling by a power of two, so that nothing overflows), as is a
 * softmax weight before it meets V; products accumulate in float32 on the tensor cores, everything else is float32 or double as
 * core/ops.h says, its sums in a fixed order that need not be the CPU's.  The KV cache is fp16, [token][head_dim] in the tiles of
 * core/kv_cache.h, so that the tokens of a (layer, store, KV head) follow each other; k and v in qkv are rounded to what the cache holds.
 * So are block keys (cuda_kv.cuh).
 *
 * Exactness: a row's result depends neither on the other rows of the batch nor on how a chunk is cut.  A product adds its terms in an
 * order that the matrix alone decides, whichever kernel computes it (cuda_product.cuh); attention reduces the tokens that a row reads, in
 * the order of their positions, in pieces of a fixed number of them, so all blocks selected and no list give the same bits (cuda_fold.cuh).
 *
 * Everything is enqueued on one stream, but for a layer's measures: they run beside it on another, which it waits for.  Uploads are copied into a ring of pinned memory first, so the host's table may change as
 * soon as upload() returns; what download() fetches is in the host's memory after sync() or after wait() for a later mark.
 * Pointers in args structs are device memory, which the host cannot check: rows, lanes and lists are the engine's word.
 * After a failure *d and *m are NULL; *p and *g are not to be used, only to be released and freed (core/ops.h).              */
#ifndef KERNELS_CUDA_H
#define KERNELS_CUDA_H

#include "core/ops.h"

enum { CUDA_CACHE_BYTES = 2 };  /* of one element of the KV cache */

/* index: the CUDA runtime's.  Fails where there is no such device, or one that the kernels were not built for. */
int  cuda_open(struct device **d, int index);
int  cuda_open_bf16(struct device **d, int index); /* weights and the rows of products in bf16 */
bool cuda_absent(void);                                                 /* no driver, or a driver and no device */
void cuda_close(struct device *d);                                      /* NULL is fine */
int  cuda_describe(const struct device *d, char *text, size_t n_bytes); /* "NVIDIA H200, 132 SMs, 139 GiB" */
void cuda_identify(const struct device *d, struct provenance *p);       /* gpu, driver, isa */
uint64_t cuda_free_bytes(const struct device *d);
int  cuda_reserve(struct device *d, const struct model_shape *shape, const struct work_extent *e);
uint64_t cuda_workspace_bytes(const struct model_shape *shape, const struct work_extent *e);
/* Bytes of the workspace that an operation asks for; cuda_reserve() takes the most of them.  max_tokens: kv_max_tokens(). */
size_t cuda_block_mass_bytes(int n_rows, int n_heads, int max_tokens);
size_t cuda_measure_layer_bytes(int n_lanes, int n_kv_heads, int mass_blocks, int max_blocks);
size_t cuda_measure_logits_bytes(int n_lanes, int vocab);
size_t cuda_sample_bytes(int n_lanes);
int  cuda_alloc(struct device *d, void **p, size_t n_bytes, const char *what);
void cuda_release(struct device *d, void *p);                           /* NULL is fine */
int  cuda_upload(struct device *d, void *to, const void *host, size_t n_bytes);
int  cuda_download(struct device *d, void *host, const void *from, size_t n_bytes);
int  cuda_clear(struct device *d, const struct record_layout *l, void *record);
int  cuda_sync(struct device *d);
void *cuda_stream(struct device *d);                                    /* cudaStream_t: for a library that is timed beside the kernels */
int  cuda_mark(struct device *d, int i);
int  cuda_wait(struct device *d, int i);
int  cuda_elapsed(struct device *d, int from, int to, double *seconds);
int  cuda_read(struct device *d, const void *p, size_t n_bytes);        /* n_bytes: a rest beyond a multiple of 16 is left out */
double cuda_clock_hz(struct device *d);                                 /* what the driver's management library says */
int  cuda_replay(struct device *d, struct graph **g, int (*enqueue)(void *context), void *context);
void cuda_graph_free(struct device *d, struct graph *g);

int  cuda_matrix_pack(struct device *d, struct matrix **m, const struct tensor *const *parts, int n_parts);
void cuda_matrix_free(struct device *d, struct matrix *m);
size_t cuda_matrix_bytes(const struct tensor *const *parts, int n_parts);
size_t cuda_operand_bytes(int n_rows, int n);
/* The same in int4, 128 weights of an output to a scale of their own (cuda_matrix.cuh). */
int  cuda_matrix_pack_int4(struct device *d, struct matrix **m, const struct tensor *const *parts, int n_parts);
size_t cuda_matrix_int4_bytes(const struct tensor *const *parts, int n_parts);
int cuda_embed(struct device *d, const struct embed_args *a);
int cuda_norm(struct device *d, const struct norm_args *a);
int cuda_product(struct device *d, const struct product_args *a);
int cuda_qkv(struct device *d, const struct qkv_args *a);
int cuda_angles(struct device *d, const struct angles_args *a);
int cuda_rope_append(struct device *d, const struct rope_append_args *a);
int cuda_choose(struct device *d, const struct choose_args *a);
int cuda_keys_build(struct device *d, const struct keys_build_args *a);
int cuda_attend(struct device *d, const struct attend_args *a);
int cuda_block_mass(struct device *d, const struct block_mass_args *a);
int cuda_kv_copy(struct device *d, const struct kv_copy_args *a);
int cuda_kv_compare(struct device *d, const struct kv_compare_args *a);
int cuda_spread(struct device *d, const struct spread_args *a);
int cuda_measure_layer(struct device *d, const struct measure_layer_args *a);
int cuda_measure_cache(struct device *d, const struct measure_cache_args *a);
int cuda_measure_logits(struct device *d, const struct measure_logits_args *a);
int cuda_sample(struct device *d, const struct sample_args *a);

#endif
