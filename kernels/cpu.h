/* kernels/cpu.h: the CPU back end's device, and its operations by name.
 *
 * Instruction sets: portable C, AVX2+FMA, AVX-512; picked when the device opens (the best the processor has, or
 * RESA_ISA=portable|avx2|avx512 for tests), with the same bits from each.  Threads are OpenMP's.           */
#ifndef KERNELS_CPU_H
#define KERNELS_CPU_H

#include "core/ops.h"

enum cpu_isa { CPU_PORTABLE, CPU_AVX2, CPU_AVX512 };

struct device {
    enum cpu_isa isa;
    int n_threads;
    char *workspace;          /* owned: one slice of workspace_bytes per thread, for attention's scores and the like */
    size_t workspace_bytes;   /* grown by cpu_reserve() when a run opens, never inside a step */
    double marks[DEVICE_MARKS]; /* seconds of the monotonic clock */
};

int  cpu_reserve(struct device *d, const struct model_shape *shape, const struct work_extent *e);
uint64_t cpu_workspace_bytes(const struct model_shape *shape, const struct work_extent *e); /* of as many threads as OpenMP gives */

int  cpu_matrix_pack(struct device *d, struct matrix **m, const struct tensor *const *parts, int n_parts);
void cpu_matrix_free(struct device *d, struct matrix *m);
size_t cpu_matrix_bytes(const struct tensor *const *parts, int n_parts);
int cpu_embed(struct device *d, const struct embed_args *a);
int cpu_norm(struct device *d, const struct norm_args *a);
int cpu_product(struct device *d, const struct product_args *a);
int cpu_swiglu(struct device *d, const struct swiglu_args *a);
int cpu_angles(struct device *d, const struct angles_args *a);
int cpu_rope_append(struct device *d, const struct rope_append_args *a);
int cpu_select(struct device *d, const struct select_args *a);
int cpu_keys_commit(struct device *d, const struct keys_commit_args *a);
int cpu_choose(struct device *d, const struct choose_args *a);
int cpu_keys_build(struct device *d, const struct keys_build_args *a);
int cpu_attend(struct device *d, const struct attend_args *a);
int cpu_block_mass(struct device *d, const struct block_mass_args *a);
int cpu_kv_copy(struct device *d, const struct kv_copy_args *a);
int cpu_kv_compare(struct device *d, const struct kv_compare_args *a);
int cpu_spread(struct device *d, const struct spread_args *a);
int cpu_tally(struct device *d, const struct tally_args *a);
int cpu_measure_layer(struct device *d, const struct measure_layer_args *a);
int cpu_measure_cache(struct device *d, const struct measure_cache_args *a);
int cpu_measure_logits(struct device *d, const struct measure_logits_args *a);
int cpu_sample(struct device *d, const struct sample_args *a);

#endif
