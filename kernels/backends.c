/* kernels/backends.c: the back ends that this program was built with. */
#include "kernels/cpu.h"
#include "kernels/cpu_device.h"

/* Host memory and calls that return when they are done: nothing to record. */
static int cpu_replay(struct device *d, struct graph **g, int (*enqueue)(void *context), void *context)
{
    (void)d, (void)g;
    return enqueue(context);
}

static void cpu_graph_free(struct device *d, struct graph *g)
{
    (void)d, (void)g;
}

static const struct backend backend_cpu = {
    .name = "cpu",
    .numbers = "weights as the file has them, everything else float32",
    .cache_element_bytes = sizeof(float),
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .identify = cpu_identify,
    .free_bytes = cpu_free_bytes,
    .reserve = cpu_reserve,
    .workspace_bytes = cpu_workspace_bytes,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .clear = cpu_clear,
    .sync = cpu_sync,
    .mark = cpu_mark,
    .wait = cpu_wait,
    .elapsed = cpu_elapsed,
    .read = cpu_read,
    .clock_hz = cpu_clock_hz,
    .replay = cpu_replay,
    .graph_free = cpu_graph_free,
    .matrix_pack = cpu_matrix_pack,
    .matrix_free = cpu_matrix_free,
    .matrix_bytes = cpu_matrix_bytes,
    .layer_matrix_pack = cpu_matrix_pack,
    .layer_matrix_bytes = cpu_matrix_bytes,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .product = cpu_product,
    .swiglu = cpu_swiglu,
    .angles = cpu_angles,
    .rope_append = cpu_rope_append,
    .choose = cpu_choose,
    .keys_build = cpu_keys_build,
    .attend = cpu_attend,
    .block_mass = cpu_block_mass,
    .kv_copy = cpu_kv_copy,
    .kv_compare = cpu_kv_compare,
    .spread = cpu_spread,
    .measure_layer = cpu_measure_layer,
    .measure_cache = cpu_measure_cache,
    .measure_logits = cpu_measure_logits,
    .sample = cpu_sample,
    .selects = { [SELECT_DENSE] = true, [SELECT_MINMAX] = true, [SELECT_RANDOM] = true, [SELECT_WINDOW] = true, [SELECT_ORACLE] = true,
                 [SELECT_REPLAY] = true },
};

#ifdef HAVE_CUDA
#include "kernels/cuda.h"

#define CUDA_OPERATIONS \
    .cache_element_bytes = CUDA_CACHE_BYTES, \
    .absent = cuda_absent, \
    .close = cuda_close, \
    .describe = cuda_describe, \
    .identify = cuda_identify, \
    .free_bytes = cuda_free_bytes, \
    .reserve = cuda_reserve, \
    .workspace_bytes = cuda_workspace_bytes, \
    .alloc = cuda_alloc, \
    .release = cuda_release, \
    .upload = cuda_upload, \
    .download = cuda_download, \
    .clear = cuda_clear, \
    .sync = cuda_sync, \
    .mark = cuda_mark, \
    .wait = cuda_wait, \
    .elapsed = cuda_elapsed, \
    .read = cuda_read, \
    .clock_hz = cuda_clock_hz, \
    .replay = cuda_replay, \
    .graph_free = cuda_graph_free, \
    .matrix_pack = cuda_matrix_pack, \
    .matrix_free = cuda_matrix_free, \
    .matrix_bytes = cuda_matrix_bytes, \
    .operand_bytes = cuda_operand_bytes, \
    .embed = cuda_embed, \
    .norm = cuda_norm, \
    .product = cuda_product, \
    .qkv = cuda_qkv, \
    .angles = cuda_angles, \
    .rope_append = cuda_rope_append, \
    .choose = cuda_choose, \
    .keys_build = cuda_keys_build, \
    .attend = cuda_attend, \
    .block_mass = cuda_block_mass, \
    .kv_copy = cuda_kv_copy, \
    .kv_compare = cuda_kv_compare, \
    .spread = cuda_spread, \
    .measure_layer = cuda_measure_layer, \
    .measure_cache = cuda_measure_cache, \
    .measure_logits = cuda_measure_logits, \
    .sample = cuda_sample, \
    .selects = { [SELECT_DENSE] = true, [SELECT_MINMAX] = true, [SELECT_RANDOM] = true, [SELECT_WINDOW] = true, [SELECT_ORACLE] = true, \
                 [SELECT_REPLAY] = true },

static const struct backend backend_cuda = { .name = "cuda", .numbers = "weights, rows of products and cache fp16, sums float32", .open = cuda_open,
                                             .layer_matrix_pack = cuda_matrix_pack, .layer_matrix_bytes = cuda_matrix_bytes, CUDA_OPERATIONS };
static const struct backend backend_cuda_bf16 = { .name = "cuda-bf16", .numbers = "weights and rows of products bf16, cache fp16, sums float32",
                                                  .open = cuda_open_bf16, .layer_matrix_pack = cuda_matrix_pack,
                                                  .layer_matrix_bytes = cuda_matrix_bytes, CUDA_OPERATIONS };
static const struct backend backend_cuda_int4 = { .name = "cuda-int4",
                                                  .numbers = "weights of layers int4, rounded to nearest, 128 to an fp16 scale; embedding, output matrix, "
                                                             "rows of products and cache fp16, sums float32",
                                                  .open = cuda_open, .layer_matrix_pack = cuda_matrix_pack_int4,
                                                  .layer_matrix_bytes = cuda_matrix_int4_bytes, CUDA_OPERATIONS };
#define BACKENDS_CUDA &backend_cuda, &backend_cuda_bf16, &backend_cuda_int4,
#else
#define BACKENDS_CUDA
#endif

const struct backend *const backends[] = { &backend_cpu, BACKENDS_CUDA NULL };
