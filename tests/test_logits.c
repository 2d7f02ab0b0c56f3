/* tests/test_logits.c: the engine's logits, prefilled and decoded, against transformers' in float32 (tests/golden).
 *
 * Tolerance, relative to the largest |logit|: both sides round.  Each layer adds to the residual stream sums of up to 96
 * (SmolLM2: 1536) float32 products; errors of such sums grow as sqrt(terms) u, u = 2^-24, some 5 such sums a layer, layers'
 * errors adding up as sqrt(layers): 5 sqrt(96 * 2) u = 4e-6 a side, 5 sqrt(1536 * 30) u = 6e-5 a side; 1e-4 is promised. */
#include "core/model_known.h"
#include "tests/golden_logits.h"
#include "tests/tiny.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static const double SMALL = 2 * 5 * 13.9 * 0x1p-24, PROMISED = 1e-4;

/* The worst |difference| / max |logit| of one position's row. */
static double row_error(const struct golden_logits *g, uint32_t position, const float *row)
{
    double top = 0, worst = 0;
    for (uint32_t i = 0; i < g->vocab; i++) top = fmax(top, fabs((double)row[i]));
    worst = fabs(top - (double)g->max_abs[position]) / (double)g->max_abs[position];
    for (uint32_t i = 0; i < g->n_kept; i++) {
        const double error = fabs((double)row[g->kept[i]] - (double)g->logits[position * g->n_kept + i]);
        worst = fmax(worst, error / (double)g->max_abs[position]);
        if (!(error <= INFINITY)) worst = INFINITY; /* NaN: never written */
    }
    return worst;
}

/* The last row of a prefill of each length. */
static double prefill_error(struct tiny *t, const struct golden_logits *g)
{
    double worst = 0;
    for (uint32_t n = 1; n <= g->n_positions; n++) {
        struct run r = { 0 };
        t->plan.prefill_tokens = t->plan.start = (int)n;
        t->plan.n_steps = 1;
        t->plan.follow = FOLLOW_REFERENCE; /* wants the prefill's logits */
        assert_int_equal(run_open(&r, &t->plan, &t->weights), 0);
        assert_int_equal(run_prefill(&r), 0);
        worst = fmax(worst, row_error(g, n - 1, r.f.logits));
        run_close(&r);
    }
    return worst;
}

/* Steps after a prefill of 5 tokens, by the dense lane and by one that selects all blocks. */
static double decode_error(struct tiny *t, const struct golden_logits *g)
{
    struct tiny_result r;
    double worst = 0;
    const int control = tiny_add(t, "control", 0, (struct lane_spec){ 0 });
    tiny_plan(t, 5, (int)g->n_positions - 5, 0);
    for (uint32_t i = 0; i < g->n_positions; i++) t->stream[i] = g->ids[i];
    tiny_run(t, &r, 0, NULL);
    for (uint32_t p = 5; p < g->n_positions; p++)
        worst = fmax(worst, fmax(row_error(g, p, tiny_logits(&r, (int)p - 5, 0)), row_error(g, p, tiny_logits(&r, (int)p - 5, control))));
    tiny_result_close(&r);
    return worst;
}

static void check(const char *source, const char *name, double tolerance)
{
    char path[128];
    static struct tiny t;
    struct golden_logits g = { 0 };
    snprintf(path, sizeof path, "tests/golden/logits-%s.bin", name);
    assert_int_equal(golden_logits_open(&g, path), 0);
    tiny_open_model(&t, source, NULL, 0);
    assert_int_equal(g.vocab, t.model.shape.vocab);
    const double decoded = decode_error(&t, &g);
    t.n_lanes = t.plan.n_lanes = 1;
    const double prefilled = prefill_error(&t, &g);
    print_message("# %s: max |difference| / max |logit|: prefill %.2g, decode %.2g, allowed %.2g\n", name, prefilled, decoded, tolerance);
    assert_true(prefilled <= tolerance);
    assert_true(decoded <= tolerance);
    tiny_close(&t);
    golden_logits_close(&g);
}

static void test_tiny(void **state)
{
    char folder[64];
    snprintf(folder, sizeof folder, "tests/golden/%s", (const char *)*state);
    check(folder, *state, SMALL);
}

static void test_smollm2(void **unused)
{
    (void)unused;
    char path[PATH_MAX];
    if (model_known_path("smollm2-135m", path, sizeof path) != 0 || access(path, R_OK) != 0) {
        print_message("# skip: smollm2-135m has not been fetched\n");
        skip();
    }
    check("smollm2-135m", "smollm2-135m", PROMISED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { "logits_of_tiny_llama", test_tiny, NULL, NULL, "tiny-llama" },
        { "logits_of_tiny_llama3", test_tiny, NULL, NULL, "tiny-llama3" },
        { "logits_of_tiny_linear", test_tiny, NULL, NULL, "tiny-linear" },
        { "logits_of_tiny_yarn", test_tiny, NULL, NULL, "tiny-yarn" },
        { "logits_of_tiny_qwen2", test_tiny, NULL, NULL, "tiny-qwen2" },
        { "logits_of_tiny_qwen3", test_tiny, NULL, NULL, "tiny-qwen3" },
        { "logits_of_smollm2", test_smollm2, NULL, NULL, NULL },
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
