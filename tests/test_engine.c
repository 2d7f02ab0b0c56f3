/* tests/test_engine.c: what the engine promises of a whole run, to the last bit: both floors are 0 because rectification is
 * computed, and nothing that is in the batch beside a lane changes it. */
#include "core/err.h" /* before cmocka.h, which has a macro called fail */

#include "tests/tiny.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { PREFIX = 43, STEPS = 40 }; /* the boundary lies inside a tile and inside a block */
static const unsigned ALL = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS | METRIC_PARTS | METRIC_HEADS |
                            METRIC_SELECTION;
static const unsigned DEFAULT = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS;

static const enum record_var sll[] = { VAR_K_DRIFT, VAR_V_DRIFT, VAR_ATTN_ERR, VAR_RESID_ERR, VAR_K_CACHE_DRIFT, VAR_V_CACHE_DRIFT,
                                       VAR_K_STALE_DRIFT, VAR_V_STALE_DRIFT, VAR_K_SHIFT, VAR_V_SHIFT };

static void control_is_exactly_dense(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result r;
    tiny_open(&t, FAMILY_QWEN2, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, ALL);
    tiny_run(&t, &r, 0, NULL);
    assert_int_equal(r.n_steps, STEPS);
    for (int s = 0; s < STEPS; s++) {
        assert_true(tiny_same_logits(&r, c.control, &r, 0, s));
        for (size_t v = 0; v < sizeof sll / sizeof *sll; v++)
            for (int layer = 0; layer < r.layout.n_layers; layer++) assert_true(tiny_f32(&r, s, sll[v], c.control, layer) == 0);
        assert_true(tiny_f32(&r, s, VAR_LOGIT_KL, c.control, 0) == 0);
        assert_true(tiny_f32(&r, s, VAR_HIDDEN_ERR, c.control, 0) == 0);
    }
    tiny_result_close(&r);
    tiny_close(&t);
}

/* Sparse lanes do differ: a floor of 0 would be worth nothing if everything were 0. */
static void sparse_lanes_drift(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result r;
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, ALL);
    tiny_run(&t, &r, 0, NULL);
    for (int s = 1; s < STEPS; s++) {
        for (int layer = 1; layer < r.layout.n_layers; layer++) {
            assert_true(tiny_f32(&r, s, VAR_K_DRIFT, c.sparse, layer) > 0);
            assert_true(tiny_f32(&r, s, VAR_K_CACHE_DRIFT, c.sparse, layer) > 0);
            assert_true(tiny_f32(&r, s, VAR_ATTN_ERR, c.sparse, layer) > 0);
        }
        assert_true(tiny_f32(&r, s, VAR_K_DRIFT, c.sparse, 0) == 0); /* layer 0 sees the same tokens */
        assert_true(tiny_f32(&r, s, VAR_LOGIT_KL, c.sparse, 0) > 0);
        assert_true(isnan(tiny_f32(&r, s, VAR_K_CACHE_DRIFT, c.clean, 1)));
    }
    tiny_result_close(&r);
    tiny_close(&t);
}

static void interval_1_is_the_clean_probe(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result r;
    tiny_open(&t, FAMILY_QWEN3, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, ALL);
    tiny_run(&t, &r, 0, NULL);
    for (int s = 0; s < STEPS; s++) {
        assert_true(tiny_same_logits(&r, c.f1, &r, c.clean, s));
        for (int layer = 0; layer < r.layout.n_layers; layer++) {
            assert_true(tiny_f32(&r, s, VAR_K_ACCUM, c.f1, layer) == 0);
            assert_true(tiny_f32(&r, s, VAR_V_ACCUM, c.f1, layer) == 0);
            assert_true(tiny_f32(&r, s, VAR_ATTN_ACCUM, c.f1, layer) == 0);
            assert_true(tiny_f32(&r, s, VAR_K_CACHE_DRIFT, c.f1, layer) == 0);
        }
        /* A ReSA lane at the step after all of its suffix was rectified.  At s % 8 = 7 two of its stale tokens are in the
         * current block, which is always read (at others the selection may pass every stale token by). */
        if (s % 8 == 0) assert_true(tiny_same_logits(&r, c.resa, &r, c.clean, s));
        if (s % 8 == 7) assert_false(tiny_same_logits(&r, c.resa, &r, c.clean, s));
    }
    tiny_result_close(&r);
    tiny_close(&t);
}

static void rectification_brings_the_cache_back(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result r;
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, DEFAULT);
    tiny_run(&t, &r, 0, NULL);
    for (int s = 1; s < STEPS; s++) {
        const bool rectified = (s + 1) % 8 == 0;
        assert_int_equal(tiny_i32(&r, s, VAR_RECTIFIED, c.resa), rectified);
        assert_int_equal(tiny_i32(&r, s, VAR_STALE_TOKENS, c.resa), s % 8);
        for (int layer = 1; layer < r.layout.n_layers; layer++) {
            const float cache = tiny_f32(&r, s, VAR_K_CACHE_DRIFT, c.resa, layer), rect = tiny_f32(&r, s, VAR_K_RECT_DRIFT, c.resa, layer);
            assert_true(rectified ? cache == 0 && rect == 0 : cache > 0 && isnan(rect));
            assert_true(tiny_f32(&r, s, VAR_K_STALE_DRIFT, c.resa, layer) > 0);
        }
    }
    tiny_result_close(&r);
    tiny_close(&t);
}

/* One value of an old suffix token (step 2) of the ReSA lane's cache, layer 0, changed at step 12, when its own window is over. */
static int poked_store;
static void poke_old_token(struct run *r, int step)
{
    if (step != 12) return;
    const int position = r->plan->prefill_tokens + 2, tile = position / KV_TILE;
    float *v = (float *)r->kv.v_own + kv_own_at(&r->kv, 0, poked_store, 0, tile);
    v[(position % KV_TILE) * r->kv.head_dim] += 0.5f;
}

/* Decodes with a value of a store's last prompt token made NaN; what run_take() says at last. */
static int decode_with_nan(struct tiny *t, int store)
{
    struct run r = { 0 };
    int step = 0;
    assert_int_equal(run_open(&r, &t->plan, &t->weights), 0);
    assert_int_equal(run_prefill(&r), 0);
    const int position = t->plan.prefill_tokens - 1;
    float *v = (float *)r.kv.v_own + kv_own_at(&r.kv, 0, store, 0, position / KV_TILE);
    v[(position % KV_TILE) * r.kv.head_dim] = NAN;
    while (step >= 0 && !(run_done(&r) && r.lag == 0)) {
        if (run_done(&r))
            run_drain(&r);
        else
            assert_int_equal(run_step(&r), 0);
        while (run_take(&r, &step)) continue;
    }
    run_close(&r);
    return step;
}

/* A sparse lane may leave its range, which its measures show; without the dense lane there is nothing to measure. */
static void a_reference_that_is_no_number_ends_the_run(void **state)
{
    (void)state;
    struct tiny t;
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, DEFAULT);
    assert_int_equal(decode_with_nan(&t, 2), STEPS);
    assert_int_equal(decode_with_nan(&t, 0), -1);
    assert_non_null(strstr(fail_text(), "step 0: the dense lane's logits hold NaN or infinity: the weights of synthetic-"));
    t.plan.metrics &= ~(unsigned)METRIC_LOGITS; /* then nobody asks */
    assert_int_equal(decode_with_nan(&t, 0), STEPS);
    tiny_close(&t);
}

static void rectification_is_computed(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result plain, poked;
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, DEFAULT);
    tiny_run(&t, &plain, 0, NULL);
    poked_store = 3; /* lanes with a store, in order: dense, control, sparse, resa */
    tiny_run(&t, &poked, 0, poke_old_token);
    for (int layer = 1; layer < plain.layout.n_layers; layer++) /* window 8 .. 15 is rectified after step 15 */
        assert_true(tiny_f32(&poked, 15, VAR_K_RECT_DRIFT, c.resa, layer) > 0);
    for (int s = 0; s < STEPS; s++)
        for (int lane = 0; lane < t.n_lanes; lane++)
            if (lane != c.resa) assert_true(tiny_same_logits(&plain, lane, &poked, lane, s));
    assert_false(tiny_same_logits(&plain, c.resa, &poked, c.resa, 20));
    tiny_result_close(&plain);
    tiny_result_close(&poked);
    tiny_close(&t);
}

/* All records of two runs are the same bytes. */
static void assert_same_records(const struct tiny_result *a, const struct tiny_result *b)
{
    assert_int_equal(a->n_steps, b->n_steps);
    assert_memory_equal(a->records, b->records, (size_t)a->n_steps * a->layout.n_bytes);
}

static void run_variant(const char *isa, int n_threads, int chunk_rows, enum model_family family, struct tiny_result *out)
{
    struct tiny t;
    tiny_open(&t, family, isa, n_threads);
    tiny_add_cast(&t, 8);
    tiny_add(&t, "random", 0.7, (struct lane_spec){ .selector = SELECT_RANDOM, .interval = 16, .phase = 5 });
    tiny_add(&t, "oracle", 0.7, (struct lane_spec){ .selector = SELECT_ORACLE, .block_size = 4 });
    tiny_add(&t, "noisy", 0, (struct lane_spec){ .perturb = 0.05 });
    tiny_add(&t, "late", 0.8, (struct lane_spec){ .dense_until = 9, .interval = 12 });
    tiny_plan(&t, PREFIX, STEPS, ALL);
    tiny_run(&t, out, chunk_rows, NULL);
    tiny_close(&t);
}

static void threads_chunks_and_instruction_sets_change_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *isa;
        int n_threads, chunk_rows;
    } variants[] = { { NULL, 1, 0 }, { NULL, 3, 7 }, { "portable", 2, 0 }, { "avx2", 2, 13 } };
    for (enum model_family family = FAMILY_LLAMA; family <= FAMILY_QWEN3; family++) {
        struct tiny_result want, got;
        run_variant(NULL, 2, 0, family, &want);
        for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
            if (variants[i].isa && strcmp(variants[i].isa, "avx2") == 0 && !__builtin_cpu_supports("avx2")) continue;
            run_variant(variants[i].isa, variants[i].n_threads, variants[i].chunk_rows, family, &got);
            assert_same_records(&want, &got);
            tiny_result_close(&got);
        }
        tiny_result_close(&want);
    }
}

static void other_lanes_change_nothing(void **state)
{
    (void)state;
    struct tiny alone, many;
    struct tiny_result a, b;
    tiny_open(&alone, FAMILY_QWEN2, NULL, 0);
    const int lane = tiny_add(&alone, "resa", 0.7, (struct lane_spec){ .interval = 8 });
    tiny_plan(&alone, PREFIX, STEPS, DEFAULT);
    tiny_run(&alone, &a, 0, NULL);
    tiny_open(&many, FAMILY_QWEN2, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&many, 8);
    tiny_plan(&many, PREFIX, STEPS, DEFAULT);
    tiny_run(&many, &b, 0, NULL);
    for (int s = 0; s < STEPS; s++) {
        assert_true(tiny_same_logits(&a, lane, &b, c.resa, s));
        for (size_t v = 0; v < sizeof sll / sizeof *sll; v++)
            for (int layer = 0; layer < a.layout.n_layers; layer++)
                assert_true(tiny_f32(&a, s, sll[v], lane, layer) == tiny_f32(&b, s, sll[v], c.resa, layer));
    }
    tiny_result_close(&a);
    tiny_result_close(&b);
    tiny_close(&alone);
    tiny_close(&many);
}

/* K and V of layer 0 come from the embedding alone, so what is measured there is what was injected.  Their error: x + e |x| g/|g|
 * is rounded once to float32 (2^-24 of each element, so 2^-24 |x| over a vector of norm e |x|): 2^-24 / e relative to e, absolute
 * 2^-24; the measured quotient is stored as float32.  2^-22 is the promise of the positive control. */
static void perturbation_reads_as_injected(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result r;
    static const double sizes[] = { 0.001, 0.05, 0.5 };
    tiny_open(&t, FAMILY_QWEN2, NULL, 0);
    for (size_t i = 0; i < 3; i++) tiny_add(&t, "noisy", 0, (struct lane_spec){ .perturb = sizes[i] });
    tiny_plan(&t, PREFIX, STEPS, DEFAULT);
    tiny_run(&t, &r, 0, NULL);
    for (int s = 0; s < STEPS; s++)
        for (int lane = 1; lane <= 3; lane++) {
            assert_true(fabs(tiny_f32(&r, s, VAR_K_DRIFT, lane, 0) - sizes[lane - 1]) <= 0x1p-22);
            assert_true(fabs(tiny_f32(&r, s, VAR_V_DRIFT, lane, 0) - sizes[lane - 1]) <= 0x1p-22);
            assert_true(tiny_f32(&r, s, VAR_K_DRIFT, lane, 2) > sizes[lane - 1] * 0.5);
        }
    tiny_result_close(&r);
    tiny_close(&t);
}

/* A probe of the sparse lane that reads everything (`stale`) reads its owner's earlier tokens and its own current one. */
static void stale_probe_reads_its_owner(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result r;
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    const int stale = tiny_add(&t, "stale", 0, (struct lane_spec){ .cache_of = c.sparse });
    const int twin_of_resa = tiny_add(&t, "same", 0.7, (struct lane_spec){ .cache_of = c.resa });
    tiny_plan(&t, PREFIX, STEPS, DEFAULT);
    tiny_run(&t, &r, 0, NULL);
    assert_true(tiny_same_logits(&r, stale, &r, 0, 0)); /* nothing is stale yet */
    for (int s = 1; s < STEPS; s++) {
        assert_false(tiny_same_logits(&r, stale, &r, 0, s));
        assert_true(tiny_f32(&r, s, VAR_K_DRIFT, stale, 0) == 0);
        /* Its owner's policy over its owner's cache is its owner. */
        assert_true(tiny_same_logits(&r, twin_of_resa, &r, c.resa, s));
        assert_int_equal(tiny_i32(&r, s, VAR_STALE_TOKENS, stale), s);
    }
    tiny_result_close(&r);
    tiny_close(&t);
}

static void dense_until_starts_on_a_dense_cache(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result r;
    enum { D = 11 };
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    const int late = tiny_add(&t, "late", 0.7, (struct lane_spec){ .dense_until = D });
    tiny_plan(&t, PREFIX, STEPS, DEFAULT);
    tiny_run(&t, &r, 0, NULL);
    for (int s = 0; s < STEPS; s++) {
        if (s < D) {
            assert_true(isnan(tiny_f32(&r, s, VAR_K_DRIFT, late, 1)));
            assert_true(isnan(tiny_f32(&r, s, VAR_NLL, late, 0)));
            assert_int_equal(tiny_i32(&r, s, VAR_TOP1_MATCH, late), 255);
            assert_int_equal(tiny_i32(&r, s, VAR_RECTIFIED, late), 0);
            assert_int_equal(tiny_i32(&r, s, VAR_TOKEN, late), tiny_i32(&r, s, VAR_TOKEN, 0));
        } else {
            assert_int_equal(tiny_i32(&r, s, VAR_STALE_TOKENS, late), s - D);
            assert_int_equal(tiny_same_logits(&r, late, &r, c.clean, s), s == D); /* the first step reads an undisturbed cache */
        }
    }
    assert_true(tiny_f32(&r, D, VAR_K_CACHE_DRIFT, late, 1) > 0);
    assert_true(tiny_f32(&r, D, VAR_K_CACHE_DRIFT, late, 1) < tiny_f32(&r, D, VAR_K_DRIFT, late, 1)); /* the copied tokens count */
    tiny_result_close(&r);
    tiny_close(&t);
}

static void every_leaves_out_steps_and_changes_nothing(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result all, some, none;
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, ALL);
    tiny_run(&t, &all, 0, NULL);
    t.plan.every = 8;
    tiny_run(&t, &some, 0, NULL);
    tiny_plan(&t, PREFIX, STEPS, 0);
    tiny_run(&t, &none, 0, NULL);
    for (int s = 0; s < STEPS; s++) {
        const float got = tiny_f32(&some, s, VAR_K_CACHE_DRIFT, c.sparse, 1), want = tiny_f32(&all, s, VAR_K_CACHE_DRIFT, c.sparse, 1);
        assert_true((s + 1) % 8 == 0 ? got == want : isnan(got));
        assert_true(tiny_f32(&some, s, VAR_NLL, c.sparse, 0) == tiny_f32(&all, s, VAR_NLL, c.sparse, 0));
        for (int lane = 0; lane < t.n_lanes; lane++) assert_true(tiny_same_logits(&none, lane, &all, lane, s));
    }
    tiny_result_close(&all);
    tiny_result_close(&some);
    tiny_result_close(&none);
    tiny_close(&t);
}

static void following_its_own_choice(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result self, again, ref;
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    const struct tiny_cast c = tiny_add_cast(&t, 8);
    const int stale = tiny_add(&t, "stale", 0, (struct lane_spec){ .cache_of = c.sparse });
    tiny_plan(&t, PREFIX, STEPS, DEFAULT);
    t.plan.follow = FOLLOW_SELF;
    t.plan.temperature = 0.8;
    t.plan.top_p = 0.9;
    tiny_run(&t, &self, 0, NULL);
    tiny_run(&t, &again, 5, NULL);
    assert_same_records(&self, &again);
    assert_int_equal(self.first_divergence[c.control], -1);
    const int d = self.first_divergence[c.sparse];
    for (int s = 0; s < STEPS; s++) {
        assert_int_equal(tiny_i32(&self, s, VAR_TOKEN, stale), tiny_i32(&self, s, VAR_TOKEN, c.sparse)); /* a probe feeds its owner's */
        assert_int_equal(tiny_i32(&self, s, VAR_TOKEN, c.clean), tiny_i32(&self, s, VAR_TOKEN, 0));
        if (s + 1 < STEPS) assert_int_equal(tiny_i32(&self, s, VAR_TARGET, c.sparse), tiny_i32(&self, s + 1, VAR_TOKEN, c.sparse));
        const bool apart = d >= 0 && s >= d;
        assert_int_equal(isnan(tiny_f32(&self, s, VAR_K_DRIFT, c.sparse, 1)), apart);
        assert_true(!isnan(tiny_f32(&self, s, VAR_NLL, c.sparse, 0)));
        if (d < 0 || s < d) assert_int_equal(tiny_i32(&self, s, VAR_TOKEN, c.sparse), tiny_i32(&self, s, VAR_TOKEN, 0));
    }
    if (d >= 0) assert_int_not_equal(tiny_i32(&self, d, VAR_TOKEN, c.sparse), tiny_i32(&self, d, VAR_TOKEN, 0));
    t.plan.follow = FOLLOW_REFERENCE;
    tiny_run(&t, &ref, 0, NULL);
    for (int s = 0; s < STEPS; s++)
        for (int lane = 1; lane < t.n_lanes; lane++)
            assert_int_equal(tiny_i32(&ref, s, VAR_TOKEN, lane), tiny_i32(&self, s, VAR_TOKEN, 0)); /* lane 0 chooses alike in both */
    tiny_result_close(&self);
    tiny_result_close(&again);
    tiny_result_close(&ref);
    tiny_close(&t);
}

static void a_run_takes_what_was_counted(void **state)
{
    (void)state;
    struct tiny t;
    struct run r = { 0 };
    uint64_t bytes[N_MEMORY_PARTS];
    tiny_open(&t, FAMILY_LLAMA, NULL, 0);
    tiny_add_cast(&t, 8);
    tiny_plan(&t, PREFIX, STEPS, ALL);
    assert_int_equal(run_memory(&t.plan, &t.model, t.be, bytes), 0);
    assert_int_equal(run_open(&r, &t.plan, &t.weights), 0);
    for (int i = 0; i < N_MEMORY_PARTS; i++)
        assert_int_equal(bytes[i], r.mem.bytes[i]);
    run_close(&r);
    tiny_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_is_exactly_dense),
        cmocka_unit_test(sparse_lanes_drift),
        cmocka_unit_test(interval_1_is_the_clean_probe),
        cmocka_unit_test(rectification_brings_the_cache_back),
        cmocka_unit_test(a_reference_that_is_no_number_ends_the_run),
        cmocka_unit_test(rectification_is_computed),
        cmocka_unit_test(threads_chunks_and_instruction_sets_change_nothing),
        cmocka_unit_test(other_lanes_change_nothing),
        cmocka_unit_test(perturbation_reads_as_injected),
        cmocka_unit_test(stale_probe_reads_its_owner),
        cmocka_unit_test(dense_until_starts_on_a_dense_cache),
        cmocka_unit_test(every_leaves_out_steps_and_changes_nothing),
        cmocka_unit_test(following_its_own_choice),
        cmocka_unit_test(a_run_takes_what_was_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
