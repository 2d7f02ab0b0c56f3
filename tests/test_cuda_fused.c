/* tests/test_cuda_fused.c: whole runs on the CUDA back end without noise, of models without a norm of q and k: there a pass of few rows rotates and
 * appends within its product (backend.qkv), one of many rows apart.  Neither floor nor chunking sees which of them it was. */
#include "tests/cuda_pair.h"
#include "tests/tiny.h"

/* 107 and 80 rows in one pass are more than a product of few rows takes; 107 lies inside a tile and a block. */
enum { PREFIX = 107, STEPS = 88, INTERVAL = 8, WIDE_INTERVAL = 80 };
enum { CONTROL = 1, CLEAN, SPARSE, RESA, F1, WIDE, RANDOM, STALE };
static const unsigned METRICS = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_LOGITS | METRIC_SELECTION;

static bool open_run(struct tiny *t, enum model_family family, const char *backend)
{
    if (!tiny_open_on(t, family, backend)) return false;
    tiny_add_cast(t, INTERVAL);
    tiny_add(t, "wide", 0.7, (struct lane_spec){ .interval = WIDE_INTERVAL });
    tiny_add(t, "random", 0.7, (struct lane_spec){ .selector = SELECT_RANDOM, .interval = 16, .phase = 5 });
    tiny_add(t, "stale", 0, (struct lane_spec){ .cache_of = SPARSE });
    tiny_twin(t, WIDE, CLEAN);
    tiny_plan(t, PREFIX, STEPS, METRICS);
    return true;
}

static void assert_floors(const struct tiny_result *r)
{
    assert_int_equal(r->n_steps, STEPS);
    for (int s = 0; s < STEPS; s++) {
        assert_true(tiny_same_logits(r, CONTROL, r, 0, s));
        assert_true(tiny_same_logits(r, F1, r, CLEAN, s));
        if (s % INTERVAL == 0) assert_true(tiny_same_logits(r, RESA, r, CLEAN, s));
        if (s % WIDE_INTERVAL == 0)
            assert_true(tiny_same_logits(r, WIDE, r, CLEAN, s)); /* its window has gone through a pass of many rows */
        for (int layer = 0; layer < r->layout.n_layers; layer++) {
            assert_true(tiny_f32(r, s, VAR_K_DRIFT, CONTROL, layer) == 0 &&
                        tiny_f32(r, s, VAR_V_CACHE_DRIFT, CONTROL, layer) == 0);
            assert_true(tiny_f32(r, s, VAR_K_ACCUM, F1, layer) == 0);
            if (layer == 0 || s == 0) continue;
            const float resa = tiny_f32(r, s, VAR_K_CACHE_DRIFT, RESA, layer),
                        wide = tiny_f32(r, s, VAR_K_CACHE_DRIFT, WIDE, layer);
            assert_true(tiny_f32(r, s, VAR_K_DRIFT, SPARSE, layer) > 0);
            assert_true((s + 1) % INTERVAL == 0 ? resa == 0 : resa > 0);
            assert_true((s + 1) % WIDE_INTERVAL == 0 ? wide == 0 : wide > 0);
        }
    }
}

/* Steps, rectification and prefill, whatever their chunks, leave the same bytes. */
static void floors_and_chunks(void **state)
{
    (void)state;
    static const char *const devices[] = { "cuda", "cuda-bf16", "cuda-int4" };
    static const int chunks[] = { 70, 20, 7, 1 }; /* 70: of many rows, then of few */
    for (int i = 0; i < 6; i++) {
        struct tiny t;
        struct tiny_result a, b;
        if (!open_run(&t, i / 3 ? FAMILY_QWEN2 : FAMILY_LLAMA, devices[i % 3])) {
            tiny_close(&t);
            skip();
        }
        tiny_run(&t, &a, 0, NULL);
        assert_floors(&a);
        for (int k = 0; k < (i % 3 ? 1 : 4); k++) {
            tiny_run(&t, &b, chunks[k], NULL);
            for (int s = 0; s < STEPS; s++)
                if (memcmp(a.records + (size_t)s * a.layout.n_bytes, b.records + (size_t)s * a.layout.n_bytes,
                           a.layout.n_bytes) != 0)
                    fail_msg("%s, family %d: step %d is another in chunks of %d rows", devices[i % 3], i / 3, s,
                             chunks[k]);
            assert_memory_equal(a.logits, b.logits, (size_t)(STEPS * t.n_lanes * a.vocab) * sizeof(float));
            tiny_result_close(&b);
        }
        tiny_result_close(&a);
        tiny_close(&t);
    }
}

/* test_cuda_fused [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(floors_and_chunks) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
