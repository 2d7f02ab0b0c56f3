/* Times on the device: marks, plain reads, the workspace that a plan counts; timed steps compute what the CPU's do.  Skipped, visibly, where
 * there is no device. */
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

enum { CONTEXT = 300, STEPS = 6, BATCH = 3, VOCAB = 80, DENSE = 0, RESA = 1 };

static struct tiny tiny;
static bool there;

static int open_all(void **state)
{
    (void)state;
    tiny_open(&tiny, FAMILY_QWEN2, NULL, 0);
    tiny_add(&tiny, "resa", 0.5, (struct lane_spec){ .interval = 16 });
    tiny_plan(&tiny, CONTEXT, STEPS, METRIC_TIME);
    tiny.plan.batch = BATCH;
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    tiny_close(&tiny);
    return 0;
}

/* Steps, a rectification, the last step again; its logits. */
static void decode(int lane, float *logits)
{
    struct latency l = { 0 };
    float seconds[STEPS], clock_hz[STEPS];
    assert_int_equal(latency_open(&l, &tiny.plan, &tiny.weights), 0);
    latency_start(&l, lane);
    assert_int_equal(latency_time_step(&l, seconds, clock_hz), 0);
    for (int i = 0; i < STEPS; i++) assert_true(seconds[i] > 0 && seconds[i] < 60);
    if (lane == RESA) assert_int_equal(latency_time_rectify(&l, seconds), 0);
    assert_int_equal(latency_time_read(&l, 1 << 20, seconds), 0);
    for (int i = 0; i < STEPS; i++) assert_true(seconds[i] > 0 && seconds[i] < 60);
    assert_int_equal(latency_check(&l), 0);
    assert_int_equal(tiny.be->download(tiny.dev, logits, l.f.logits, BATCH * VOCAB * sizeof *logits), 0);
    assert_int_equal(tiny.be->sync(tiny.dev), 0);
    latency_close(&l);
}

static float cpu[2][BATCH * VOCAB];
static char why[512]; /* there is no device */

static void on_the_cpu(void **state)
{
    (void)state;
    for (int lane = 0; lane < 2; lane++) decode(lane, cpu[lane]);
    there = tiny_move(&tiny, "cuda") == 0;
    if (!there) snprintf(why, sizeof why, "%s", fail_text());
}

static void need_device(void)
{
    if (there) return;
    print_message("# skip: %s\n", why);
    skip();
}

/* fp16 in the products' rows and weights, the cache and the weights of attention: each about 2^-11 of a value, some ten roundings one
 * after another, and logits of size 1 that add 64 of them: below 2^-5. */
static void on_the_device(void **state)
{
    (void)state;
    static float got[BATCH * VOCAB];
    need_device();
    decode(DENSE, got);
    double square = 0, size = 0;
    for (int i = 0; i < BATCH * VOCAB; i++) {
        square += pow((double)got[i] - (double)cpu[DENSE][i], 2);
        size += pow((double)cpu[DENSE][i], 2);
    }
    assert_true(size > 0 && sqrt(square / size) < 0x1p-5);
    decode(RESA, got);
}

/* The plan's figure is what reserve() takes, to the allocator's pages (2 MiB for each of a few blocks). */
static void workspace_is_what_was_counted(void **state)
{
    (void)state;
    need_device();
    struct device *d = NULL;
    const struct model_shape s = { .n_layers = 28, .hidden = 3584, .ffn = 18944, .n_heads = 28, .n_kv_heads = 4, .head_dim = 128, .vocab = 1000 };
    const struct work_extent e = { .max_rows = 256, .max_context = 65536, .n_lanes = 64, .mass_blocks = 8192, .max_blocks = 8192 };
    assert_int_equal(tiny.be->open(&d, 0), 0);
    const double before = (double)tiny.be->free_bytes(d), want = (double)tiny.be->workspace_bytes(&s, &e);
    assert_int_equal(tiny.be->reserve(d, &s, &e), 0);
    assert_int_equal(tiny.be->sync(d), 0);
    const double taken = before - (double)tiny.be->free_bytes(d);
    assert_true(fabs(taken - want) <= 8 * 0x1p21);
    tiny.be->close(d);
}

static int nothing(void *context)
{
    (void)context;
    return 0;
}

static void marks_and_clock(void **state)
{
    (void)state;
    need_device();
    double seconds = -1;
    struct graph *g = NULL;
    assert_int_equal(tiny.be->mark(tiny.dev, 0), 0);
    assert_int_equal(tiny.be->replay(tiny.dev, &g, nothing, NULL), 0);
    assert_int_equal(tiny.be->mark(tiny.dev, 1), 0);
    assert_int_equal(tiny.be->wait(tiny.dev, 1), 0);
    assert_int_equal(tiny.be->elapsed(tiny.dev, 0, 1, &seconds), 0);
    assert_true(seconds >= 0 && seconds < 1);
    tiny.be->graph_free(tiny.dev, g);
    const double hz = tiny.be->clock_hz(tiny.dev);
    assert_true(isnan(hz) || (hz > 1e8 && hz < 1e10));
}

/* test_cuda_time [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_the_cpu),
        cmocka_unit_test(on_the_device),
        cmocka_unit_test(workspace_is_what_was_counted),
        cmocka_unit_test(marks_and_clock),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
