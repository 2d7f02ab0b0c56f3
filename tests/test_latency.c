/* Times of decode steps: what is timed is the step that the engine computes; a run takes the memory that was counted. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */
#include "core/latency.h"
#include "core/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/tiny.h"

enum { CONTEXT = 300, STEPS = 6, INTERVAL = 20, VOCAB = 80, DENSE = 0, CONTROL = 1, SPARSE = 2, RESA = 3 };

static struct tiny tiny;
static struct latency latency;
static float seconds[STEPS], clock_hz[STEPS];

static int open_all(void **state)
{
    (void)state;
    tiny_open(&tiny, FAMILY_QWEN2, NULL, 0);
    tiny_add(&tiny, "control", 0, (struct lane_spec){ 0 });
    tiny_add(&tiny, "sparse", 0.9, (struct lane_spec){ .block_size = 16, .dense_layers = 1 });
    tiny_add(&tiny, "resa", 0.5, (struct lane_spec){ .interval = INTERVAL });
    tiny_plan(&tiny, CONTEXT, STEPS, METRIC_TIME);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    tiny_close(&tiny);
    return 0;
}

static void start(int batch, int lane)
{
    tiny.plan.batch = batch;
    latency_close(&latency);
    assert_int_equal(latency_open(&latency, &tiny.plan, &tiny.weights), 0);
    latency_start(&latency, lane);
    assert_int_equal(latency_time_step(&latency, seconds, clock_hz), 0);
}

/* The logits of sequence i, as the last pass left them. */
static const float *logits_of(int i)
{
    return latency.f.logits + (size_t)i * VOCAB; /* on the CPU device memory is host memory */
}

static void assert_times(void)
{
    for (int i = 0; i < STEPS; i++) {
        assert_true(seconds[i] > 0 && seconds[i] < 60);
        seconds[i] = NAN;
    }
}

static void everything_is_timed(void **state)
{
    (void)state;
    for (int lane = 0; lane < tiny.n_lanes; lane++) {
        start(3, lane);
        assert_true(isnan(clock_hz[0]) && isnan(clock_hz[STEPS - 1]));
        assert_times();
        for (int part = 0; part < N_LATENCY_PARTS; part++) {
            if (part == LATENCY_SELECT && lane == DENSE) continue;
            assert_int_equal(latency_time_parts(&latency, 1u << part, seconds), 0);
            assert_times();
        }
        assert_int_equal(latency_time_read(&latency, 1 << 20, seconds), 0);
        assert_times();
        if (lane == RESA) {
            assert_int_equal(latency_time_rectify(&latency, seconds), 0);
            assert_times();
        }
        assert_int_equal(latency_check(&latency), 0);
    }
    latency_close(&latency);
}

/* Of a few steps the others' times stay as they are; more of them than are in flight at once, and all. */
static void steps_are_timed_by_turns(void **state)
{
    (void)state;
    static const int turns[][2] = { { 2, 4 }, { 0, 1 }, { 5, 6 }, { 1, 6 }, { 0, 6 } };
    start(2, RESA);
    for (size_t k = 0; k < sizeof turns / sizeof *turns; k++) {
        latency_steps(&latency, turns[k][0], turns[k][1]);
        for (int what = 0; what < 4; what++) {
            for (int i = 0; i < STEPS; i++) seconds[i] = -1;
            if (what == 0) assert_int_equal(latency_time_step(&latency, seconds, clock_hz), 0);
            if (what == 1) assert_int_equal(latency_time_parts(&latency, 1u << LATENCY_ATTEND, seconds), 0);
            if (what == 2) assert_int_equal(latency_time_rectify(&latency, seconds), 0);
            if (what == 3) assert_int_equal(latency_time_read(&latency, 1 << 20, seconds), 0);
            for (int i = 0; i < STEPS; i++) assert_int_equal(seconds[i] > 0, turns[k][0] <= i && i < turns[k][1]);
        }
        assert_int_equal(latency_check(&latency), 0);
    }
    latency_close(&latency);
}

/* A sequence neither sees the others nor the number of them: the same context, token and position give the same bits. */
static void sequences_are_independent(void **state)
{
    (void)state;
    static float alone[VOCAB], first[VOCAB];
    for (int lane = 0; lane < tiny.n_lanes; lane++) {
        start(1, lane);
        assert_int_equal(latency_check(&latency), 0);
        memcpy(alone, logits_of(0), sizeof alone);
        start(3, lane);
        assert_int_equal(latency_check(&latency), 0);
        assert_memory_equal(logits_of(0), alone, sizeof alone);
        memcpy(first, logits_of(1), sizeof first);
        assert_memory_not_equal(first, alone, sizeof alone); /* another context */
        assert_memory_not_equal(logits_of(2), first, sizeof first);
    }
    latency_close(&latency);
}

/* The control reads all blocks: the same bits as dense.  The others read less. */
static void policies_are_what_they_say(void **state)
{
    (void)state;
    static float dense[2 * VOCAB];
    start(2, DENSE);
    assert_int_equal(latency_check(&latency), 0);
    memcpy(dense, logits_of(0), sizeof dense);
    for (int lane = CONTROL; lane < tiny.n_lanes; lane++) {
        start(2, lane);
        assert_int_equal(latency_check(&latency), 0);
        assert_int_equal(memcmp(logits_of(0), dense, sizeof dense) == 0, lane == CONTROL);
    }
    latency_close(&latency);
}

/* Timing writes the new tokens' K, V and keys, and timing again writes the same: the last step's result stays what it was. */
static void timing_leaves_the_step_as_it_is(void **state)
{
    (void)state;
    static float before[2 * VOCAB];
    start(2, SPARSE);
    memcpy(before, logits_of(0), sizeof before);
    for (int part = 0; part < N_LATENCY_PARTS; part++) assert_int_equal(latency_time_parts(&latency, 1u << part, seconds), 0);
    assert_int_equal(latency_check(&latency), 0);
    assert_memory_equal(logits_of(0), before, sizeof before);
    latency_close(&latency);
}

static const float *k_tile(int layer, int sequence, int head, int tile)
{
    return (const float *)latency.kv.k_own + kv_own_at(&latency.kv, layer, sequence, head, tile);
}

/* A rectification rewrites its window in every layer of every sequence, and nothing else.  In layer 0 the steps' own tokens come out as
 * they were: there K depends on the token alone. */
static void rectification_rewrites_its_window(void **state)
{
    (void)state;
    const int from = (CONTEXT + STEPS - INTERVAL) / KV_TILE;
    start(2, RESA);
    assert_int_equal(latency_check(&latency), 0);
    const size_t n = kv_own_elems(&latency.kv);
    float *before = NULL;
    assert_int_equal(MEM_NEW(&before, n, "k"), 0);
    memcpy(before, latency.kv.k_own, n * sizeof *before);
    assert_int_equal(latency_time_rectify(&latency, seconds), 0);
    const int tiles = latency.kv.own_tiles;
    const size_t tile_bytes = kv_tile_elems(&latency.kv) * sizeof(float);
    for (int layer = 0; layer < latency.kv.n_layers; layer++)
        for (int sequence = 0; sequence < 2; sequence++)
            for (int head = 0; head < latency.kv.n_kv_heads; head++)
                for (int tile = 0; tile < tiles; tile++) {
                    const size_t at = kv_own_at(&latency.kv, layer, sequence, head, tile);
                    const bool same = memcmp(before + at, k_tile(layer, sequence, head, tile), tile_bytes) == 0;
                    assert_int_equal(same, tile < from || (layer == 0 && tile * KV_TILE >= CONTEXT));
                }
    mem_free(before);
    latency_close(&latency);
}

static void a_run_takes_what_was_counted(void **state)
{
    (void)state;
    uint64_t bytes[N_MEMORY_PARTS];
    start(3, DENSE);
    assert_int_equal(latency_memory(&tiny.plan, &tiny.model, tiny.be, bytes), 0);
    for (int i = 0; i < N_MEMORY_PARTS; i++) assert_int_equal(bytes[i], latency.mem.bytes[i]);
    /* 3 sequences of 20 tiles, 2 heads of 16, 3 layers, K and V in float32 */
    assert_int_equal(bytes[MEMORY_SUFFIX], 3 * 20 * 16 * 2 * 16 * 3 * 2 * 4);
    assert_int_equal(bytes[MEMORY_PREFIX], 0);
    latency_close(&latency);
}

/* Memory that nothing wrote holds NaN, and shows. */
static void steps_that_were_not_run_are_seen(void **state)
{
    (void)state;
    tiny.plan.batch = 1;
    assert_int_equal(latency_open(&latency, &tiny.plan, &tiny.weights), 0);
    latency_start(&latency, DENSE);
    assert_int_equal(latency_check(&latency), -1); /* it reads positions that no step has written */
    assert_non_null(strstr(fail_text(), "logit 0 is "));
    latency_close(&latency);
}

/* By hand at the second step, 302 tokens: dense reads them in 3 layers; sparse, 19 blocks of 16 of which 2 are read (ceil of 1.9), one
 * layer dense: 302 + 2 * (32 - 2). */
static void bytes_are_counted(void **state)
{
    (void)state;
    tiny.plan.batch = 3;
    const int64_t token = 2 * 2 * 16 * 4, key = 2 * 2 * 16 * 4;
    struct latency_bytes b = latency_step_bytes(&tiny.plan, tiny.be, &tiny.model, DENSE, 1);
    assert_int_equal(b.kv, 3 * token * (3 * 302 + 3));
    assert_true(b.keys == 0 && b.rectify == 0 && b.rectify_flop == 0);
    assert_true(b.weights > 4 * 80 * 64 && b.weights <= (int64_t)weights_bytes(tiny.be, &tiny.model));
    b = latency_step_bytes(&tiny.plan, tiny.be, &tiny.model, SPARSE, 1);
    assert_int_equal(b.kv, 3 * token * (302 + 2 * 30 + 3));
    assert_int_equal(b.keys, 3 * key * (2 * 19 + 3));
    b = latency_step_bytes(&tiny.plan, tiny.be, &tiny.model, RESA, 1);
    assert_int_equal(b.rectify, 3 * token * (2 * 302 + 3 * INTERVAL));
}

/* Every allocation on the way fails once: -1 with a word about memory, and all is given back. */
static void no_memory(void **state)
{
    (void)state;
    long n = 0;
    tiny.plan.batch = 2;
    for (;; n++) {
        mem_fail_after(n);
        const int rc = latency_open(&latency, &tiny.plan, &tiny.weights);
        mem_fail_after(-1);
        if (rc == 0) break;
        assert_non_null(strstr(fail_text(), "out of memory"));
        latency_close(&latency);
    }
    assert_true(n > 20);
    latency_close(&latency);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_timed),
        cmocka_unit_test(steps_are_timed_by_turns),
        cmocka_unit_test(sequences_are_independent),
        cmocka_unit_test(policies_are_what_they_say),
        cmocka_unit_test(timing_leaves_the_step_as_it_is),
        cmocka_unit_test(rectification_rewrites_its_window),
        cmocka_unit_test(a_run_takes_what_was_counted),
        cmocka_unit_test(steps_that_were_not_run_are_seen),
        cmocka_unit_test(bytes_are_counted),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
