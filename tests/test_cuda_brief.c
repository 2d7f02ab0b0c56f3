/* tests/test_cuda_brief.c: whole runs of a few steps on the CUDA back end, each under two orders of work: short enough for tools that make a kernel
 * a thousand times slower, and with every kernel of prefill, steps, rectification, measures and sampling in them. */
#include "tests/cuda_pair.h"
#include "tests/tiny.h"

/* 41 rows are more than a product of few rows takes, and lie inside a tile and a block; 4 steps have one rectification behind them and one at their end. */
enum { PREFIX = 41, STEPS = 4, INTERVAL = 2, CHUNK = 7 };
enum { CONTROL = 1, CLEAN, SPARSE, RESA, F1, ORACLE, WINDOW, RANDOM, NOISY, UPPER };
static const unsigned ALL = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS |
                            METRIC_PARTS | METRIC_HEADS | METRIC_SELECTION;

static bool open_run(struct tiny *t, enum model_family family, const char *backend)
{
    if (!tiny_open_on(t, family, backend)) return false;
    tiny_add_cast(t, INTERVAL);
    tiny_add(t, "oracle", 0.7, (struct lane_spec){ .selector = SELECT_ORACLE, .block_size = 4 });
    tiny_add(t, "window", 0.5, (struct lane_spec){ .selector = SELECT_WINDOW, .block_size = 16 });
    tiny_add(t, "random", 0.7, (struct lane_spec){ .selector = SELECT_RANDOM });
    tiny_add(t, "noisy", 0, (struct lane_spec){ .perturb = 0.05 });
    tiny_add(t, "upper", 0.7, (struct lane_spec){ .dense_layers = 2, .interval = INTERVAL });
    tiny_plan(t, PREFIX, STEPS, ALL);
    return true;
}

static void check_run(enum model_family family, const char *backend, enum follow follow)
{
    struct tiny t;
    struct tiny_result a, b;
    if (!open_run(&t, family, backend)) {
        tiny_close(&t);
        skip();
    }
    if (follow == FOLLOW_SELF) t.plan.follow = follow, t.plan.temperature = 0.8, t.plan.top_p = 0.9;
    tiny_run(&t, &a, 0, NULL);
    tiny_run(&t, &b, CHUNK, NULL);
    assert_int_equal(a.n_steps, STEPS);
    assert_memory_equal(a.records, b.records, (size_t)STEPS * a.layout.n_bytes);
    assert_memory_equal(a.logits, b.logits, (size_t)(STEPS * t.n_lanes * a.vocab) * sizeof(float));
    for (int s = 0; s < STEPS; s++) {
        assert_true(tiny_same_logits(&a, CONTROL, &a, 0, s));
        if (s % INTERVAL == 0 && follow == FOLLOW_TEXT) assert_true(tiny_same_logits(&a, RESA, &a, CLEAN, s));
        for (int layer = 1; layer < a.layout.n_layers; layer++) {
            assert_true(tiny_f32(&a, s, VAR_K_DRIFT, CONTROL, layer) == 0);
            if (follow == FOLLOW_TEXT && s > 0) assert_true(tiny_f32(&a, s, VAR_K_DRIFT, SPARSE, layer) > 0);
        }
    }
    tiny_result_close(&a);
    tiny_result_close(&b);
    tiny_close(&t);
}

/* Norms of q and k, so that rotating and appending is a kernel of its own. */
static void with_norms(void **state)
{
    (void)state;
    check_run(FAMILY_QWEN3, "cuda", FOLLOW_TEXT);
}

/* Rotated and appended within the product. */
static void fused(void **state)
{
    (void)state;
    check_run(FAMILY_LLAMA, "cuda", FOLLOW_TEXT);
}

static void fused_bf16(void **state)
{
    (void)state;
    check_run(FAMILY_QWEN2, "cuda-bf16", FOLLOW_TEXT);
}

static void fused_int4(void **state)
{
    (void)state;
    check_run(FAMILY_LLAMA, "cuda-int4", FOLLOW_TEXT);
}

static void own_choice(void **state)
{
    (void)state;
    check_run(FAMILY_QWEN2, "cuda", FOLLOW_SELF);
}

/* test_cuda_brief [PATTERN]: only the tests whose names match. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_norms), cmocka_unit_test(fused),      cmocka_unit_test(fused_bf16),
        cmocka_unit_test(fused_int4), cmocka_unit_test(own_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
