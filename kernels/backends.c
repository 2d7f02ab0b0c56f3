/* kernels/backends.c: the back ends that this program was built with. */
#include "kernels/cpu.h"
#include "kernels/cpu_device.h"

/* Host memory and calls that return when they are done: nothing to wait for, nothing to record. */
static int cpu_mark(struct device *d, int i)
{
    (void)d, (void)i;
    return 0;
}

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
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .identify = cpu_identify,
    .free_bytes = cpu_free_bytes,
    .reserve = cpu_reserve,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .clear = cpu_clear,
    .sync = cpu_sync,
    .mark = cpu_mark,
    .wait = cpu_mark,
    .replay = cpu_replay,
    .graph_free = cpu_graph_free,
    .matrix_pack = cpu_matrix_pack,
    .matrix_free = cpu_matrix_free,
    .matrix_bytes = cpu_matrix_bytes,
    .embed = cpu_embed,
    .norm = cpu_norm,
    .product = cpu_product,
    .swiglu = cpu_swiglu,
    .angles = cpu_angles,
    .rope_append = cpu_rope_append,
    .select = cpu_select,
    .keys_commit = cpu_keys_commit,
    .keys_build = cpu_keys_build,
    .attend = cpu_attend,
    .block_mass = cpu_block_mass,
    .kv_copy = cpu_kv_copy,
    .kv_compare = cpu_kv_compare,
    .spread = cpu_spread,
    .tally = cpu_tally,
    .measure_layer = cpu_measure_layer,
    .measure_cache = cpu_measure_cache,
    .measure_logits = cpu_measure_logits,
    .sample = cpu_sample,
    .selects = { [SELECT_DENSE] = true, [SELECT_MINMAX] = true, [SELECT_RANDOM] = true, [SELECT_WINDOW] = true, [SELECT_ORACLE] = true },
};

const struct backend *const backends[] = { &backend_cpu, NULL };
