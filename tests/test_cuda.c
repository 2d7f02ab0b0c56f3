/* tests/test_cuda.c: the CUDA back end against the CPU's operations and against the double-precision reference, and its own promises:
 * a row's result does not depend on the batch or the chunking, to the last bit; what a row does not read does not matter. */
#include "kernels/reference.h"
#include "tests/cuda_pair.h"
#include "tests/tiny.h"

/* Within ulps of float32. */
static void assert_close(const float *got, const float *want, size_t n, double ulps, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= ulps * 0x1p-23 * fabs((double)want[i]) + 1e-37))
            fail_msg("%s: element %zu is %.9g, not %.9g", what, i, (double)got[i], (double)want[i]);
}

/* ---- the cache ---- */

/* Two rows of stores, a probe's, and one with noise; K in the cache is what qkv then holds, q within an ulp or two of the CPU's. */
static void check_append(struct pair *p, int dim, enum rope_style style, bool qk_norm)
{
    enum { HEADS = 6, KV = 2, PREFIX = 37, STEPS = 20, OWN = 9, ROWS = 4 };
    const size_t n_dim = (size_t)dim;
    pair_cache(p, 2, HEADS, KV, dim, PREFIX, STEPS, OWN, 3, 2, 1);
    const struct row rows[ROWS] = { { 0, PREFIX + OWN, 0, 0, NO_TAIL, 0 }, { 1, PREFIX + OWN, 0, 1, NO_TAIL, ROW_PERTURB },
                                    { 2, PREFIX + OWN - 3, 0, 0, 1, 0 }, { 3, PREFIX + 2, 0, 2, NO_TAIL, 0 } };
    struct lane_params lanes[ROWS] = { { 0 } };
    lanes[1].perturb = 0.125f;
    const size_t stride = (size_t)pair_stride(p), n = ROWS * stride;
    float *qkv = random_floats(p, n, 1), *cosine = random_floats(p, ROWS * n_dim / 2, 1), *sine = random_floats(p, ROWS * n_dim / 2, 1);
    float *norm = random_floats(p, n_dim, 1), *plain = hold(p, ROWS * KV * n_dim * 4);
    float *d_qkv = on_gpu(p, qkv, n * 4), *d_plain = on_gpu(p, NULL, ROWS * KV * n_dim * 4), *d_norm = on_gpu(p, norm, n_dim * 4);
    struct rope_append_args a = { .n_rows = ROWS, .layer = 1, .n_heads = HEADS, .rows = rows, .lanes = lanes, .qkv = qkv,
                                  .q_norm = qk_norm ? norm : NULL, .k_norm = qk_norm ? norm : NULL, .eps = 1e-5, .cosine = cosine,
                                  .sine = sine, .style = style, .k_plain = plain, .kv = &p->kv, .seed = 5 };
    must(p->cpu->rope_append(p->host, &a));
    a.rows = on_gpu(p, rows, sizeof rows), a.lanes = on_gpu(p, lanes, sizeof lanes), a.qkv = d_qkv, a.k_plain = d_plain, a.kv = &p->kv_gpu;
    a.q_norm = a.k_norm = qk_norm ? d_norm : NULL;
    a.cosine = on_gpu(p, cosine, ROWS * n_dim / 2 * 4), a.sine = on_gpu(p, sine, ROWS * n_dim / 2 * 4);
    must(p->cuda->rope_append(p->gpu, &a));
    const float *got = from_gpu(p, d_qkv, n * 4);
    assert_close(from_gpu(p, d_plain, ROWS * KV * n_dim * 4), plain, ROWS * KV * n_dim, 1, "k before RoPE");
    for (int r = 0; r < ROWS; r++)
        for (size_t i = 0; i < stride; i++) {
            const double want = (double)qkv[(size_t)r * stride + i], g = (double)got[(size_t)r * stride + i];
            /* q: one rounding, of a value that may differ in its last bits where the rotation cancels; k and v: to fp16 */
            const double tolerance = i < HEADS * n_dim ? 0x1p-22 : fabs(want) * 0x1p-11 + 0x1p-22;
            if (!(fabs(g - want) <= tolerance)) fail_msg("rope: row %d, element %zu: %.9g, not %.9g", r, i, g, want);
            if (i >= HEADS * n_dim) assert_true(g == (double)f16_to_f32(f32_to_f16((float)g)));
        }
    /* The CPU's cache, its appended tokens replaced by what the device's qkv holds, is the device's cache to the last bit. */
    const struct kv_cache *c = &p->kv;
    for (int r = 0; r < ROWS; r++)
        for (int h = 0; h < KV; h++)
            for (int i = 0; i < dim; i++) {
                const int at = rows[r].position;
                const size_t tile = rows[r].tail >= 0 ? kv_tail_at(c, rows[r].tail, h) : kv_own_at(c, 1, rows[r].store, h, at / KV_TILE);
                float *k = (float *)(rows[r].tail >= 0 ? c->k_tail : c->k_own) + tile, *v = (float *)(rows[r].tail >= 0 ? c->v_tail : c->v_own) + tile;
                k[i * KV_TILE + at % KV_TILE] = got[(size_t)r * stride + (size_t)((HEADS + h) * dim + i)];
                v[at % KV_TILE * dim + i] = got[(size_t)r * stride + (size_t)((HEADS + KV + h) * dim + i)];
            }
    const size_t own = kv_own_elems(c), tail = kv_tail_elems(c);
    const float *pairs[][2] = { { c->k_own, cache_from_gpu(p, p->kv_gpu.k_own, own, true) }, { c->v_own, cache_from_gpu(p, p->kv_gpu.v_own, own, false) },
                                { c->k_tail, cache_from_gpu(p, p->kv_gpu.k_tail, tail, true) }, { c->v_tail, cache_from_gpu(p, p->kv_gpu.v_tail, tail, false) } };
    for (int i = 0; i < 4; i++)
        for (size_t e = 0; e < (i < 2 ? own : tail); e++)
            assert_true(pairs[i][0][e] == pairs[i][1][e] || (isnan(pairs[i][0][e]) && isnan(pairs[i][1][e])));
}

static void appending_matches(void **state)
{
    WITH_PAIR(p);
    static const int dims[] = { 32, 64, 96, 128, 256 };
    for (size_t d = 0; d < sizeof dims / sizeof *dims; d++)
        for (int i = 0; i < 4; i++) {
            check_append(&p, dims[d], i % 2 ? ROPE_PAIRS : ROPE_HALVES, i / 2 == 1);
            pair_clear(&p);
        }
    pair_close(&p);
}

static void check_copy(struct pair *p, int n_kv, int dim)
{
    enum { PREFIX = 41, STEPS = 30, OWN = 21 };
    pair_cache(p, 2, 2 * n_kv, n_kv, dim, PREFIX, STEPS, OWN, 3, 0, 2);
    double *want = hold(p, STEPS * 4 * sizeof *want), *squares = on_gpu(p, NULL, STEPS * 4 * sizeof *want);
    for (int after = 0; after < 2; after++) {
        struct kv_compare_args a = { .layer = 1, .store = 2, .ref_store = 0, .from = PREFIX + 3, .to = PREFIX + OWN, .kv = &p->kv, .squares = want };
        must(p->cpu->kv_compare(p->host, &a));
        a.kv = &p->kv_gpu, a.squares = squares;
        must(p->cuda->kv_compare(p->gpu, &a));
        const double *got = from_gpu(p, squares, STEPS * 4 * sizeof *want);
        for (int t = 0; t < STEPS * 4; t++) { /* n_kv dim additions in double in another order */
            if (t < 12 || t >= 4 * OWN) assert_true(isnan(got[t]));
            else if (after && t % 2 == 0 && t < 4 * 15) assert_true(got[t] == 0); /* copied from the reference */
            else assert_true(fabs(got[t] - want[t]) <= (2 * n_kv * dim + 8) * 0x1p-53 * want[t] && want[t] > 0);
        }
        struct kv_copy_args copy = { .layer = 1, .from_store = 0, .to_store = 2, .from = PREFIX, .to = PREFIX + 15, .kv = &p->kv };
        must(p->cpu->kv_copy(p->host, &copy));
        copy.kv = &p->kv_gpu;
        must(p->cuda->kv_copy(p->gpu, &copy));
    }
    pair_clear(p);
}

static void copies_and_comparisons_match(void **state)
{
    WITH_PAIR(p);
    check_copy(&p, 2, 48);
    check_copy(&p, 5, 64);
    check_copy(&p, 1, 96);
    check_copy(&p, 4, 128);
    check_copy(&p, 2, 256);
    pair_close(&p);
}

/* ---- whole runs ---- */

enum { PREFIX = 107, STEPS = 40 }; /* inside a tile and a block; more rows than the product for few of them takes */
static const unsigned ALL = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS | METRIC_PARTS | METRIC_HEADS | METRIC_SELECTION;

/* The lanes of test_engine.c, and one of every selector. */
enum { CONTROL = 1, CLEAN, SPARSE, RESA, F1, RANDOM, ORACLE, WINDOW, NOISY, LATE, STALE, UPPER };
enum { DENSE_LAYERS = 2 }; /* of UPPER */

static void add_cast(struct tiny *t)
{
    tiny_add_cast(t, 8);
    tiny_add(t, "random", 0.7, (struct lane_spec){ .selector = SELECT_RANDOM, .interval = 16, .phase = 5 });
    tiny_add(t, "oracle", 0.7, (struct lane_spec){ .selector = SELECT_ORACLE, .block_size = 4 });
    tiny_add(t, "window", 0.5, (struct lane_spec){ .selector = SELECT_WINDOW, .block_size = 16 });
    tiny_add(t, "noisy", 0, (struct lane_spec){ .perturb = 0.05 });
    tiny_add(t, "late", 0.8, (struct lane_spec){ .dense_until = 9, .interval = 12 });
    tiny_add(t, "stale", 0, (struct lane_spec){ .cache_of = SPARSE });
    tiny_add(t, "upper", 0.7, (struct lane_spec){ .dense_layers = DENSE_LAYERS, .interval = 8 });
}

static bool open_run(struct tiny *t, enum model_family family, const char *backend)
{
    if (!tiny_open_on(t, family, backend)) return false;
    add_cast(t);
    tiny_plan(t, PREFIX, STEPS, ALL);
    return true;
}

static double largest(const struct tiny_result *r, enum record_var v, int lane, bool only_rectified)
{
    double most = 0;
    for (int s = 0; s < STEPS; s++)
        for (int layer = 0; layer < r->layout.n_layers; layer++)
            if (!only_rectified || tiny_i32(r, s, VAR_RECTIFIED, lane) == 1) most = fmax(most, (double)tiny_f32(r, s, v, lane, layer));
    return most;
}

/* Both floors are 0, because a product and attention know no batch; nothing else is 0. */
static void floors_are_zero(void **state)
{
    (void)state;
    static const char *const devices[] = { "cuda", "cuda-bf16", "cuda-int4" };
    for (int i = 0; i < 9; i++) {
        const enum model_family family = (enum model_family)(FAMILY_LLAMA + i / 3);
        struct tiny t;
        struct tiny_result r;
        if (!open_run(&t, family, devices[i % 3])) {
            tiny_close(&t);
            skip();
        }
        tiny_run(&t, &r, 0, NULL);
        assert_int_equal(r.n_steps, STEPS);
        print_message("%s, family %d: control: k_drift %g, attn_err %g, k_cache_drift %g; rectified: k_rect_drift %g; interval 1: k_accum %g; sparse: k_drift %g\n",
                      devices[i % 3], family, largest(&r, VAR_K_DRIFT, CONTROL, false), largest(&r, VAR_ATTN_ERR, CONTROL, false), largest(&r, VAR_K_CACHE_DRIFT, CONTROL, false),
                      largest(&r, VAR_K_RECT_DRIFT, RESA, true), largest(&r, VAR_K_ACCUM, F1, false), largest(&r, VAR_K_DRIFT, SPARSE, false));
        for (int s = 0; s < STEPS; s++) {
            assert_true(tiny_same_logits(&r, CONTROL, &r, 0, s));
            assert_true(tiny_same_logits(&r, F1, &r, CLEAN, s));
            if (s % 8 == 0) assert_true(tiny_same_logits(&r, RESA, &r, CLEAN, s));
            for (int layer = 0; layer < r.layout.n_layers; layer++) {
                assert_true(tiny_f32(&r, s, VAR_K_DRIFT, CONTROL, layer) == 0 && tiny_f32(&r, s, VAR_V_CACHE_DRIFT, CONTROL, layer) == 0);
                assert_true(tiny_f32(&r, s, VAR_ATTN_ERR, CONTROL, layer) == 0 && tiny_f32(&r, s, VAR_K_ACCUM, F1, layer) == 0);
                if (layer == 0 || s == 0) continue;
                assert_true(tiny_f32(&r, s, VAR_K_DRIFT, SPARSE, layer) > 0 && tiny_f32(&r, s, VAR_K_STALE_DRIFT, RESA, layer) > 0);
                const float cache = tiny_f32(&r, s, VAR_K_CACHE_DRIFT, RESA, layer);
                assert_true((s + 1) % 8 == 0 ? cache == 0 : cache > 0);
            }
            assert_true(tiny_f32(&r, s, VAR_LOGIT_KL, CONTROL, 0) == 0 && tiny_f32(&r, s, VAR_HIDDEN_ERR, CONTROL, 0) == 0);
            assert_true(fabs((double)tiny_f32(&r, s, VAR_K_DRIFT, NOISY, 0) - 0.05) <= 0.05 * 0x1p-8); /* K is rounded to fp16 after it */
        }
        tiny_result_close(&r);
        tiny_close(&t);
    }
}

/* Another chunking of prefill and rectification, other steps recorded, and graphs of the step: the same bytes. */
static void chunks_change_nothing(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result a, b;
    if (!open_run(&t, FAMILY_QWEN3, "cuda")) {
        tiny_close(&t);
        skip();
    }
    tiny_run(&t, &a, 0, NULL);
    static const int chunks[] = { 0, 1, 7, 20, 70 };
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        tiny_run(&t, &b, chunks[i], NULL);
        assert_memory_equal(a.records, b.records, (size_t)a.n_steps * a.layout.n_bytes);
        tiny_result_close(&b);
    }
    t.plan.every = 8;
    tiny_run(&t, &b, 0, NULL);
    for (int s = 0; s < STEPS; s++)
        for (int lane = 0; lane < t.n_lanes; lane++) {
            const float x = tiny_f32(&a, s, VAR_NLL, lane, 0), y = tiny_f32(&b, s, VAR_NLL, lane, 0);
            assert_true(x == y || (isnan(x) && isnan(y)));
        }
    tiny_result_close(&a);
    tiny_result_close(&b);
    tiny_close(&t);
}

/* |a - b| / |b| of lane 0's logits over all steps. */
static double logits_apart(const struct tiny_result *a, const struct tiny_result *b)
{
    double diff = 0, size = 0;
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < b->vocab; i++) {
            const double y = (double)tiny_logits(b, s, 0)[i], d = (double)tiny_logits(a, s, 0)[i] - y;
            diff += d * d;
            size += y * y;
        }
    return sqrt(diff / size);
}

/* The weights of the model's layers as int4 makes them; the values are p's. */
static void round_layers(struct pair *p, struct model *m)
{
    for (int l = 0; l < m->shape.n_layers; l++) {
        struct model_layer *layer = &m->layers[l];
        struct tensor *const all[] = { &layer->q, &layer->k, &layer->v, &layer->o, &layer->gate, &layer->up, &layer->down };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            struct tensor *t = all[i];
            float *w = hold(p, (size_t)t->n_rows * (size_t)t->n_cols * sizeof *w);
            for (int r = 0; r < t->n_rows; r++) {
                float *row = w + (size_t)r * (size_t)t->n_cols;
                tensor_row(t, r, row);
                int4_round_row(row, t->n_cols);
            }
            *t = (struct tensor){ TENSOR_F32, t->n_rows, t->n_cols, (const uint8_t *)w };
        }
    }
}

/* Where all is read without a selection there are no selected blocks; elsewhere there are.  How many places were looked at. */
static int check_selected(const struct tiny_result *r)
{
    const struct record_layout *l = &r->layout;
    const size_t per_layer = (size_t)l->n_kv_heads * (size_t)l->n_slots;
    int n = 0;
    for (int s = 0; s < STEPS; s++)
        for (int lane = 0; lane <= UPPER; lane += UPPER)
            for (int layer = 0; layer < l->n_layers; layer++) {
                const char *record = r->records + (size_t)s * l->n_bytes + l->at[VAR_SELECTED_BLOCKS];
                const int32_t *at = (const int32_t *)(const void *)record + ((size_t)(lane * l->n_layers + layer)) * per_layer;
                const bool selects = lane == UPPER && layer >= DENSE_LAYERS;
                assert_true(!selects || at[0] >= 0);
                for (size_t i = 0; i < per_layer && !selects; i++, n++) assert_int_equal(at[i], -1);
            }
    return n;
}

/* Every variable exists on one back end where it exists on the other.  Values: both compute the same model up to the rounding to
 * fp16 of weights, rows and cache; a lane whose selection does not depend on scores, and lane 0, stay within a few 2^-11.  int4 is
 * compared with the model of the weights that it makes. */
static void check_resemblance(const char *device)
{
    struct pair p = { 0 }; /* of memory alone */
    struct tiny t;
    struct tiny_result cuda, cpu;
    if (!open_run(&t, FAMILY_QWEN2, device)) {
        tiny_close(&t);
        skip();
    }
    tiny_run(&t, &cuda, 0, NULL);
    must(tiny_move(&t, "cpu"));
    tiny_run(&t, &cpu, 0, NULL);
    if (strcmp(device, "cuda-int4") == 0) {
        print_message("quantisation to int4 changes lane 0's logits by %.2e\n", logits_apart(&cuda, &cpu));
        assert_true(logits_apart(&cuda, &cpu) > 0.01); /* a step is a seventh of the greatest weight: an error of 7 % RMS in each product */
        tiny_result_close(&cpu);
        round_layers(&p, &t.model);
        must(tiny_move(&t, "cpu"));
        tiny_run(&t, &cpu, 0, NULL);
    }
    const struct record_layout *l = &cpu.layout;
    assert_true(check_selected(&cuda) > 0);
    assert_int_equal(check_selected(&cuda), check_selected(&cpu));
    int n_apart = 0, n_values = 0;
    for (int s = 0; s < STEPS; s++)
        for (int v = 0; v < N_RECORD_VARS; v++) {
            const size_t n = record_var_count(l, (enum record_var)v), at = (size_t)s * l->n_bytes + l->at[v];
            if (record_var_defs[v].type == REC_F32) {
                const float *x = (const float *)(const void *)(cuda.records + at), *y = (const float *)(const void *)(cpu.records + at);
                for (size_t i = 0; i < n; i++)
                    if (isnan(x[i]) != isnan(y[i])) fail_msg("%s, step %d, element %zu: %g on cuda, %g on cpu", record_var_defs[v].name, s, i, (double)x[i], (double)y[i]);
            }
            const enum record_var exact[] = { VAR_TOKEN, VAR_TARGET, VAR_CONTEXT_TOKENS, VAR_RECTIFIED, VAR_STALE_TOKENS, VAR_RECTIFY_FLOP };
            for (size_t e = 0; e < sizeof exact / sizeof *exact; e++)
                if (exact[e] == (enum record_var)v) assert_memory_equal(cuda.records + at, cpu.records + at, n * record_type_bytes(record_var_defs[v].type));
            if (v == VAR_KEY_READ_BYTES) { /* block keys of 2 bytes, not 4 */
                const int64_t *x = (const int64_t *)(const void *)(cuda.records + at), *y = (const int64_t *)(const void *)(cpu.records + at);
                for (size_t i = 0; i < n; i++) assert_int_equal(y[i] > 0 ? 2 * x[i] : x[i], y[i]);
            }
            if (v != VAR_SELECTED_BLOCKS) continue;
            const int32_t *x = (const int32_t *)(const void *)(cuda.records + at), *y = (const int32_t *)(const void *)(cpu.records + at);
            for (size_t i = 0; i < n; i++) n_apart += x[i] != y[i], n_values += y[i] >= 0;
        }
    print_message("%s and cpu: lane 0's logits differ by %.2e; %d of %d selected blocks differ\n", device, logits_apart(&cuda, &cpu), n_apart, n_values);
    assert_true(logits_apart(&cuda, &cpu) < 8 * 0x1p-11); /* 3 layers of 6 roundings to fp16 (2^-12 RMS each) that add up as noise */
    assert_true(n_apart < n_values / 10);
    /* That the measures have the right inputs; what they make of them test_cuda_measure.c checks.  Where a vector is within 8 2^-11 of the CPU's, as the
     * logits are, a relative difference x of two moves by at most 2 (1 + x) 8 2^-11: by less than 0.02 where x < 1.5, as here, by less than 0.05 where
     * x < 5 (a shift is in units of a spread).  A mass or an NLL moves by as much as the scores or logits that it is made of: the same 0.02. */
    for (int s = 0; s < STEPS; s++)
        for (int layer = 0; layer < l->n_layers; layer++) {
            assert_true(fabs((double)tiny_f32(&cuda, s, VAR_KEPT_MASS, CONTROL, layer) - 1) < 1e-6);
            assert_true(fabs((double)tiny_f32(&cuda, s, VAR_KEPT_MASS, WINDOW, layer) - (double)tiny_f32(&cpu, s, VAR_KEPT_MASS, WINDOW, layer)) < 0.02);
            assert_true(fabs((double)tiny_f32(&cuda, s, VAR_ATTN_ERR, WINDOW, layer) - (double)tiny_f32(&cpu, s, VAR_ATTN_ERR, WINDOW, layer)) < 0.02);
            assert_true(fabs((double)tiny_f32(&cuda, s, VAR_BEST_MASS, RANDOM, layer) - (double)tiny_f32(&cpu, s, VAR_BEST_MASS, RANDOM, layer)) < 0.02);
            assert_true(fabs((double)tiny_f32(&cuda, s, VAR_K_SHIFT, WINDOW, layer) - (double)tiny_f32(&cpu, s, VAR_K_SHIFT, WINDOW, layer)) < 0.05);
        }
    for (int s = 0; s < STEPS; s++)
        for (int lane = 0; lane <= CONTROL; lane++) {
            assert_true(fabs((double)tiny_f32(&cuda, s, VAR_NLL, lane, 0) - (double)tiny_f32(&cpu, s, VAR_NLL, lane, 0)) < 0.02);
            assert_true(fabs((double)tiny_f32(&cuda, s, VAR_ENTROPY, lane, 0) - (double)tiny_f32(&cpu, s, VAR_ENTROPY, lane, 0)) < 0.02);
        }
    tiny_result_close(&cuda);
    tiny_result_close(&cpu);
    tiny_close(&t);
    for (int i = 0; i < p.n_held; i++) mem_free(p.held[i]);
}

static void runs_resemble_the_cpus(void **state)
{
    (void)state;
    check_resemblance("cuda");
    check_resemblance("cuda-int4");
}

/* The same logits give the same choice on both: greedily, by temperature, inside a nucleus, with ties and without numbers. */
static void check_choices(struct pair *p, int vocab, float size, int n_steps)
{
    enum { LANES = 6 };
    const size_t n = (size_t)vocab;
    p->shape = (struct model_shape){ .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .hidden = 16, .ffn = 16, .vocab = vocab };
    pair_reserve(p, LANES, 64);
    float *logits = random_floats(p, LANES * n, size);
    for (size_t i = 0; i < n; i++) logits[n + i] = 1; /* row 1: all equal */
    logits[2 * n + 77] = NAN;
    for (size_t i = 0; i < n; i++) logits[3 * n + i] = (float)(i % 3);
    static const int32_t row_of_lane[LANES] = { 0, 1, 2, 3, 4, -1 }, from[LANES] = { 0, 1, 2, 3, 0, 5 };
    int32_t at[LANES], step = 0, want[LANES], diverged[LANES];
    for (int i = 0; i < LANES; i++) at[i] = i;
    static const double settings[][2] = { { 0, 1 }, { 1, 1 }, { 0.7, 0.9 }, { 2, 0.5 }, { 0.3, 0.01 }, { 1, 0.9999 } };
    float *d_logits = on_gpu(p, logits, LANES * n * 4);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        for (step = 0; step < n_steps; step++) {
            for (int l = 0; l < LANES; l++) want[l] = diverged[l] = -1;
            int32_t *tokens = on_gpu(p, want, sizeof want), *d_diverged = on_gpu(p, diverged, sizeof diverged);
            struct sample_args a = { .n_lanes = LANES, .vocab = vocab, .step = &step, .row_of_lane = row_of_lane, .from_lane = from, .logits = logits,
                                     .temperature = settings[i][0], .top_p = settings[i][1], .seed = 3, .tokens = want, .token_at = at, .diverged = diverged };
            must(p->cpu->sample(p->host, &a));
            a.step = on_gpu(p, &step, 4), a.row_of_lane = on_gpu(p, row_of_lane, sizeof row_of_lane), a.from_lane = on_gpu(p, from, sizeof from);
            a.logits = d_logits, a.tokens = tokens, a.token_at = on_gpu(p, at, sizeof at), a.diverged = d_diverged;
            must(p->cuda->sample(p->gpu, &a));
            const int32_t *got = from_gpu(p, tokens, sizeof want), *got_diverged = from_gpu(p, d_diverged, sizeof diverged);
            for (int l = 0; l < LANES; l++)
                if (got[l] != want[l] || got_diverged[l] != diverged[l])
                    fail_msg("temperature %g, top_p %g, step %d, lane %d: token %d, not %d", settings[i][0], settings[i][1], step, l, got[l], want[l]);
            for (int k = 0; k < 6; k++) p->cuda->release(p->gpu, p->taken[--p->n_taken]);
            for (int k = 0; k < 2; k++) mem_free(p->held[--p->n_held]);
        }
    pair_clear(p);
}

static void choices_are_the_same(void **state)
{
    WITH_PAIR(p);
    check_choices(&p, 5000, 8, 20);
    check_choices(&p, 152064, 2, 3); /* the weights of all sum to more than a double's 2^53 units */
    pair_close(&p);
}

static void follows_its_own_choice(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result a, b;
    if (!open_run(&t, FAMILY_LLAMA, "cuda")) {
        tiny_close(&t);
        skip();
    }
    t.plan.follow = FOLLOW_SELF;
    t.plan.temperature = 0.8;
    t.plan.top_p = 0.9;
    tiny_run(&t, &a, 0, NULL);
    tiny_run(&t, &b, 5, NULL);
    assert_memory_equal(a.records, b.records, (size_t)a.n_steps * a.layout.n_bytes);
    assert_int_equal(a.first_divergence[CONTROL], -1);
    for (int s = 0; s < STEPS; s++) {
        assert_int_equal(tiny_i32(&a, s, VAR_TOKEN, CONTROL), tiny_i32(&a, s, VAR_TOKEN, 0));
        if (s + 1 < STEPS) assert_int_equal(tiny_i32(&a, s, VAR_TARGET, SPARSE), tiny_i32(&a, s + 1, VAR_TOKEN, SPARSE));
    }
    tiny_result_close(&a);
    tiny_result_close(&b);
    tiny_close(&t);
}

/* Host tables change as soon as upload() returns; downloads are there after wait() for a later mark. */
static void transfers_are_in_order(void **state)
{
    WITH_PAIR(p);
    enum { N = 3000000, ROUNDS = 20 };
    int32_t *host = hold(&p, N * 4), *back = hold(&p, ROUNDS * 4), *big = hold(&p, N * 4), *device = on_gpu(&p, NULL, N * 4);
    for (int round = 0; round < ROUNDS; round++) {
        const int n = round % 2 ? N : 17;
        for (int i = 0; i < n; i++) host[i] = round + i;
        must(p.cuda->upload(p.gpu, device, host, (size_t)n * 4));
        memset(host, 0, (size_t)n * 4);
        must(p.cuda->download(p.gpu, &back[round], device + n - 1, 4));
        must(p.cuda->mark(p.gpu, round % DEVICE_MARKS));
        if (round == 5) {
            must(p.cuda->wait(p.gpu, 3));
            assert_int_equal(back[3], 3 + N - 1);
        }
    }
    must(p.cuda->download(p.gpu, big, device, N * 4));
    must(p.cuda->sync(p.gpu));
    for (int round = 0; round < ROUNDS; round++) assert_int_equal(back[round], round + (round % 2 ? N : 17) - 1);
    for (int i = 0; i < N; i++) assert_int_equal(big[i], ROUNDS - 1 + i);
    struct device *none = NULL;
    assert_int_equal(p.cuda->open(&none, 1000), -1);
    assert_non_null(strstr(fail_text(), "number 1000: this machine's CUDA devices are 0 to "));
    void *huge = NULL;
    assert_int_equal(p.cuda->alloc(p.gpu, &huge, (size_t)1 << 50, "everything"), -1);
    assert_non_null(strstr(fail_text(), "everything"));
    assert_non_null(strstr(fail_text(), "are free"));
    assert_true(p.cuda->free_bytes(p.gpu) > 0);
    pair_close(&p);
}

/* As many lanes as a run is promised to have, with mass and selection: what one lane has is what it has among few. */
static void sixty_four_lanes(void **state)
{
    (void)state;
    enum { LANES = 64, EVERY = 7 };
    struct tiny many, few;
    struct tiny_result a, b;
    if (!tiny_open_on(&many, FAMILY_QWEN2, "cuda")) {
        tiny_close(&many);
        skip();
    }
    assert_true(tiny_open_on(&few, FAMILY_QWEN2, "cuda"));
    for (int i = 1; i < LANES; i++) {
        const struct lane_spec spec = { .block_size = i % 3 == 0 ? 4 : i % 3 == 1 ? 8 : 16, .interval = i % 4 * 8 };
        tiny_add(&many, "lane", 0.3 + 0.01 * i, spec);
        if (i % EVERY == 0) tiny_add(&few, "lane", 0.3 + 0.01 * i, spec);
    }
    tiny_plan(&many, PREFIX, STEPS, METRIC_ATTENTION | METRIC_MASS | METRIC_SELECTION);
    tiny_plan(&few, PREFIX, STEPS, METRIC_ATTENTION | METRIC_MASS | METRIC_SELECTION);
    tiny_run(&many, &a, 0, NULL);
    tiny_run(&few, &b, 0, NULL);
    assert_int_equal(a.n_steps, STEPS);
    static const enum record_var vars[] = { VAR_BLOCKS_READ, VAR_KEPT_MASS, VAR_KEPT_MASS_MIN, VAR_BEST_MASS, VAR_STALE_MASS };
    for (int s = 0; s < STEPS; s++)
        for (int lane = 1; lane < few.n_lanes; lane++)
            for (int layer = 0; layer < a.layout.n_layers; layer++)
                for (size_t v = 0; v < sizeof vars / sizeof *vars; v++) {
                    const float x = tiny_f32(&a, s, vars[v], lane * EVERY, layer), y = tiny_f32(&b, s, vars[v], lane, layer);
                    if (!(x == y)) fail_msg("%s, step %d, lane %d of 64, layer %d: %g, %g among few", record_var_defs[vars[v]].name, s, lane * EVERY, layer, (double)x, (double)y);
                }
    tiny_result_close(&a);
    tiny_result_close(&b);
    tiny_close(&many);
    tiny_close(&few);
}

/* test_cuda [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_are_in_order),
        cmocka_unit_test(appending_matches),
        cmocka_unit_test(copies_and_comparisons_match),
        cmocka_unit_test(choices_are_the_same),
        cmocka_unit_test(floors_are_zero),
        cmocka_unit_test(chunks_change_nothing),
        cmocka_unit_test(runs_resemble_the_cpus),
        cmocka_unit_test(follows_its_own_choice),
        cmocka_unit_test(sixty_four_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
