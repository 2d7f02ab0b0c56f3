/* tests/test_cuda_work.c: the workspace that the CUDA back end reserves holds what each operation of a run asks for.  Needs no device. */
#include "core/err.h"
#include "core/run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#ifdef HAVE_CUDA
#include "kernels/cuda.h"

static const struct backend *cuda(void)
{
    for (int i = 0; backends[i]; i++)
        if (strcmp(backends[i]->name, "cuda") == 0) return backends[i];
    return NULL;
}

enum { LANES = 64, N_STEPS = 512 };
static const int tokens[] = { 4096, 131072, 1000000 }, sizes[] = { 8, 16, 64 };
static const struct model_shape shapes[] = {
    { .n_layers = 2, .hidden = 8192, .n_heads = 64, .n_kv_heads = 8, .head_dim = 128, .ffn = 28672, .vocab = 152064, .rms_eps = 1e-6f },
    { .n_layers = 2, .hidden = 4096, .n_heads = 32, .n_kv_heads = 32, .head_dim = 128, .ffn = 11008, .vocab = 32000, .rms_eps = 1e-6f },
    { .n_layers = 2, .hidden = 576, .n_heads = 9, .n_kv_heads = 3, .head_dim = 64, .ffn = 1536, .vocab = 49152, .rms_eps = 1e-6f },
    { .n_layers = 2, .hidden = 2048, .n_heads = 8, .n_kv_heads = 1, .head_dim = 256, .ffn = 16384, .vocab = 256000, .rms_eps = 1e-6f },
};

/* What the engine counts for a run of LANES lanes, by part. */
static void memory_of(const struct model_shape *s, int n_tokens, int block_size, unsigned metrics, uint64_t bytes[N_MEMORY_PARTS])
{
    struct model m = { .shape = *s };
    struct model_layer layers[2] = { 0 };
    struct lane_spec lanes[LANES] = { { .name = "dense", .selector = SELECT_DENSE, .block_size = 16, .local_blocks = 1, .cache_of = LANE_OWN, .clean = LANE_NONE } };
    m.layers = layers;
    for (int i = 1; i < LANES; i++)
        lanes[i] = (struct lane_spec){ .selector = SELECT_MINMAX, .active_millionths = 500000, .block_size = block_size, .local_blocks = 1, .min_blocks = 1,
                                       .cache_of = 0, .clean = LANE_NONE };
    const struct run_plan p = { .id = "work", .start = n_tokens - N_STEPS, .prefill_tokens = n_tokens - N_STEPS, .n_steps = N_STEPS, .n_stream = n_tokens,
                                .metrics = metrics, .every = 1, .lanes = lanes, .n_lanes = LANES };
    if (run_memory(&p, &m, cuda(), bytes) != 0) fail_msg("%s", fail_text());
}

/* The workspace of a run that traces mass and parts, as the engine counts it, less that of one which traces nothing; and what the operations
 * ask for, computed from the run's numbers here and by the operations' own functions.  A run without measures has a workspace for attention
 * alone, so the operations' needs are compared with the whole of it. */
static void engine_counts_what_is_asked_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (size_t t = 0; t < sizeof tokens / sizeof *tokens; t++)
            for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++) {
                const struct model_shape *s = &shapes[i];
                uint64_t with[N_MEMORY_PARTS], without[N_MEMORY_PARTS];
                memory_of(s, tokens[t], sizes[b], METRIC_MASS, with);
                memory_of(s, tokens[t], sizes[b], METRIC_LOGITS, without);
                const int n_blocks = (tokens[t] + sizes[b] - 1) / sizes[b], max_tokens = tokens[t] + KV_TILE;
                const struct work_extent none = { .max_rows = RUN_CHUNK_ROWS, .max_context = tokens[t], .n_lanes = LANES, .max_blocks = n_blocks / 2 };
                struct work_extent all = none;
                all.mass_blocks = n_blocks;
                const uint64_t operand = cuda_operand_bytes(RUN_CHUNK_ROWS, s->ffn), held = cuda_workspace_bytes(s, &all) - operand;
                const uint64_t mass = cuda_block_mass_bytes(LANES, s->n_heads, max_tokens);
                const uint64_t layer = cuda_measure_layer_bytes(LANES, s->n_kv_heads, n_blocks, n_blocks / 2);
                if (held < mass || held < layer || held < cuda_measure_logits_bytes(LANES, s->vocab) || held < cuda_sample_bytes(LANES))
                    fail_msg("shape %zu, %d tokens, blocks of %d: %llu bytes are held; block_mass %llu, measure_layer %llu", i, tokens[t], sizes[b],
                             (unsigned long long)held, (unsigned long long)mass, (unsigned long long)layer);
                /* The lists' room differs by rounding, which is the same in both; the rest of the buffers is the same too. */
                const uint64_t more = cuda_workspace_bytes(s, &all) - cuda_workspace_bytes(s, &none), counted = with[MEMORY_BUFFERS] - without[MEMORY_BUFFERS];
                const uint64_t slack = (uint64_t)LANES * (uint64_t)s->n_kv_heads * sizeof(double) * 64;
                if (counted + slack < more || more + slack < counted)
                    fail_msg("shape %zu, %d tokens, blocks of %d: the engine counts %llu bytes for measures, %llu are more", i, tokens[t], sizes[b],
                             (unsigned long long)counted, (unsigned long long)more);
            }
}

/* 64 lanes of a million tokens: 20 bytes for each unit of 64 tokens, head and lane; 8 for each block, KV head and lane of their means, and 4 for
 * each that may be selected. */
static void known_cases(void **state)
{
    (void)state;
    assert_int_equal(cuda_block_mass_bytes(64, 64, 1 << 20), 20ull * 64 * 64 * 16384);
    assert_int_equal(cuda_measure_layer_bytes(64, 32, 131072, 13107), 64ull * 32 * (7 * 8 + 8 * 131072 + 4 * 13107));
    const struct work_extent e = { .max_rows = 512, .max_context = 1 << 20, .n_lanes = 64, .mass_blocks = 131072, .max_blocks = 13107 };
    assert_true(cuda_workspace_bytes(&shapes[1], &e) >= 64ull * 32 * (7 * 8 + 8 * 131072 + 4 * 13107));
}
#else
static void engine_counts_what_is_asked_for(void **state)
{
    (void)state;
    print_message("skipped: this program was built without CUDA\n");
    skip();
}

static void known_cases(void **state)
{
    engine_counts_what_is_asked_for(state);
}
#endif

/* test_cuda_work [PATTERN]: only the tests whose names match. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(engine_counts_what_is_asked_for), cmocka_unit_test(known_cases) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
