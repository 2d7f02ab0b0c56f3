/* What the readers make of a checkpoint, end to end: logits by the plain formulas in double (tests/reference_forward.h)
 * over the weights, shape and rotary frequencies as read, against transformers' in float32 (tests/golden).
 *
 * Tolerance, relative to the largest |logit|: the golden's own rounding.  Each of the 2 (SmolLM2: 30) layers adds to the
 * residual stream sums of up to 96 (1536) float32 products; errors of such sums grow as sqrt(terms) u, u = 2^-24, some
 * 5 such sums a layer, layers' errors adding up as sqrt(layers): 5 * sqrt(96 * 2) u = 4e-6, 5 * sqrt(1536 * 30) u = 6e-5.
 * A wrong rotary style, scaling, bias or norm is off by 1e-2 or more. */
#include "core/err.h"
#include "core/model.h"
#include "core/model_known.h"
#include "tests/golden_logits.h"
#include "tests/reference_forward.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>

#include <cmocka.h>

/* Over the first n positions: what comes later does not change what came before. */
static void check_logits(const char *source, const char *name, int n, double tolerance)
{
    char path[128];
    struct golden_logits g = { 0 };
    struct model m = { 0 };
    snprintf(path, sizeof path, "tests/golden/logits-%s.bin", name);
    if (golden_logits_open(&g, path) != 0 || model_open(&m, source) != 0 || !g.ids) {
        fail_msg("%s", fail_text());
        return;
    }
    assert_int_equal(g.vocab, m.shape.vocab);
    assert_true(n <= (int)g.n_positions);
    double *logits = ref_logits(&m, g.ids, n), worst = 0;
    for (uint32_t p = 0; p < (uint32_t)n; p++) {
        const double *row = logits + (size_t)p * g.vocab;
        double top = 0;
        for (uint32_t i = 0; i < g.vocab; i++) top = fmax(top, fabs(row[i]));
        worst = fmax(worst, fabs(top - (double)g.max_abs[p]) / (double)g.max_abs[p]);
        for (uint32_t i = 0; i < g.n_kept; i++)
            worst = fmax(worst, fabs(row[g.kept[i]] - (double)g.logits[p * g.n_kept + i]) / (double)g.max_abs[p]);
    }
    print_message("%s: max |difference| / max |logit| is %.2g, allowed %.2g\n", name, worst, tolerance);
    assert_true(worst <= tolerance);
    free(logits);
    model_close(&m);
    golden_logits_close(&g);
}

static void test_tiny(void **state)
{
    char folder[64];
    snprintf(folder, sizeof folder, "tests/golden/%s", (const char *)*state);
    check_logits(folder, *state, 64, 5 * sqrt(96 * 2) * 0x1p-24);
}

static void test_smollm2(void **unused)
{
    (void)unused;
    char path[PATH_MAX];
    if (model_known_path("smollm2-135m", path, sizeof path) != 0 || access(path, R_OK) != 0) {
        print_message("skipped: smollm2-135m has not been fetched\n");
        skip();
    }
    check_logits("smollm2-135m", "smollm2-135m", 16, 5 * sqrt(1536 * 30) * 0x1p-24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        { "test_tiny_llama", test_tiny, NULL, NULL, "tiny-llama" },
        { "test_tiny_llama3", test_tiny, NULL, NULL, "tiny-llama3" },
        { "test_tiny_linear", test_tiny, NULL, NULL, "tiny-linear" },
        { "test_tiny_yarn", test_tiny, NULL, NULL, "tiny-yarn" },
        { "test_tiny_qwen2", test_tiny, NULL, NULL, "tiny-qwen2" },
        { "test_tiny_qwen3", test_tiny, NULL, NULL, "tiny-qwen3" },
        cmocka_unit_test(test_smollm2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
