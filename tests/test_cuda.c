/* tests/test_cuda.c: the CUDA back end against the CPU's operations and against the double-precision reference, and its own promises:
 * a row's result does not depend on the batch or the chunking, to the last bit; what a row does not read does not matter. */
#include "kernels/reference.h"
#include "tests/cuda_pair.h"
#include "tests/tiny.h"

#define WITH_PAIR(p)                                                                                                           \
    struct pair p;                                                                                                             \
    (void)state;                                                                                                               \
    if (!pair_open(&p)) skip()

/* Within ulps of float32. */
static void assert_close(const float *got, const float *want, size_t n, double ulps, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= ulps * 0x1p-23 * fabs((double)want[i]) + 1e-37))
            fail_msg("%s: element %zu is %.9g, not %.9g", what, i, (double)got[i], (double)want[i]);
}

/* ---- the cache ---- */

/* Two rows of stores, a probe's, and one with noise; K in the cache is what qkv then holds, q within an ulp or two of the CPU's. */
static void check_append(struct pair *p, enum rope_style style, bool qk_norm)
{
    enum { HEADS = 6, KV = 2, DIM = 32, PREFIX = 37, STEPS = 20, OWN = 9, ROWS = 4 };
    pair_cache(p, 2, HEADS, KV, DIM, PREFIX, STEPS, OWN, 3, 2, 1);
    const struct row rows[ROWS] = { { 0, PREFIX + OWN, 0, 0, NO_TAIL, 0 }, { 1, PREFIX + OWN, 0, 1, NO_TAIL, ROW_PERTURB },
                                    { 2, PREFIX + OWN - 3, 0, 0, 1, 0 }, { 3, PREFIX + 2, 0, 2, NO_TAIL, 0 } };
    struct lane_params lanes[ROWS] = { { 0 } };
    lanes[1].perturb = 0.125f;
    const size_t stride = (size_t)pair_stride(p), n = ROWS * stride;
    float *qkv = random_floats(p, n, 1), *cosine = random_floats(p, ROWS * DIM / 2, 1), *sine = random_floats(p, ROWS * DIM / 2, 1);
    float *norm = random_floats(p, DIM, 1), *plain = hold(p, ROWS * KV * DIM * 4);
    float *d_qkv = on_gpu(p, qkv, n * 4), *d_plain = on_gpu(p, NULL, ROWS * KV * DIM * 4), *d_norm = on_gpu(p, norm, DIM * 4);
    struct rope_append_args a = { .n_rows = ROWS, .layer = 1, .n_heads = HEADS, .rows = rows, .lanes = lanes, .qkv = qkv,
                                  .q_norm = qk_norm ? norm : NULL, .k_norm = qk_norm ? norm : NULL, .eps = 1e-5, .cosine = cosine,
                                  .sine = sine, .style = style, .k_plain = plain, .kv = &p->kv, .seed = 5 };
    must(p->cpu->rope_append(p->host, &a));
    a.rows = on_gpu(p, rows, sizeof rows), a.lanes = on_gpu(p, lanes, sizeof lanes), a.qkv = d_qkv, a.k_plain = d_plain, a.kv = &p->kv_gpu;
    a.q_norm = a.k_norm = qk_norm ? d_norm : NULL;
    a.cosine = on_gpu(p, cosine, ROWS * DIM / 2 * 4), a.sine = on_gpu(p, sine, ROWS * DIM / 2 * 4);
    must(p->cuda->rope_append(p->gpu, &a));
    const float *got = from_gpu(p, d_qkv, n * 4);
    assert_close(from_gpu(p, d_plain, ROWS * KV * DIM * 4), plain, ROWS * KV * DIM, 1, "k before RoPE");
    for (int r = 0; r < ROWS; r++)
        for (size_t i = 0; i < stride; i++) {
            const double want = (double)qkv[(size_t)r * stride + i], g = (double)got[(size_t)r * stride + i];
            /* q: one rounding, of a value that may differ in its last bits where the rotation cancels; k and v: to fp16 */
            const double tolerance = i < HEADS * DIM ? 0x1p-22 : fabs(want) * 0x1p-11 + 0x1p-22;
            if (!(fabs(g - want) <= tolerance)) fail_msg("rope: row %d, element %zu: %.9g, not %.9g", r, i, g, want);
            if (i >= HEADS * DIM) assert_true(g == (double)f16_to_f32(f32_to_f16((float)g)));
        }
    /* The CPU's cache, its appended tokens replaced by what the device's qkv holds, is the device's cache to the last bit. */
    const struct kv_cache *c = &p->kv;
    for (int r = 0; r < ROWS; r++)
        for (int h = 0; h < KV; h++)
            for (int i = 0; i < DIM; i++) {
                const int at = rows[r].position;
                const size_t tile = rows[r].tail >= 0 ? kv_tail_at(c, rows[r].tail, h) : kv_own_at(c, 1, rows[r].store, h, at / KV_TILE);
                float *k = (float *)(rows[r].tail >= 0 ? c->k_tail : c->k_own) + tile, *v = (float *)(rows[r].tail >= 0 ? c->v_tail : c->v_own) + tile;
                k[i * KV_TILE + at % KV_TILE] = got[(size_t)r * stride + (size_t)((HEADS + h) * DIM + i)];
                v[at % KV_TILE * DIM + i] = got[(size_t)r * stride + (size_t)((HEADS + KV + h) * DIM + i)];
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
    for (int i = 0; i < 4; i++) {
        check_append(&p, i % 2 ? ROPE_PAIRS : ROPE_HALVES, i / 2 == 1);
        pair_clear(&p);
    }
    pair_close(&p);
}

static void copies_and_comparisons_match(void **state)
{
    WITH_PAIR(p);
    enum { PREFIX = 41, STEPS = 30, OWN = 21 };
    pair_cache(&p, 2, 4, 2, 48, PREFIX, STEPS, OWN, 3, 0, 2);
    double *want = hold(&p, STEPS * 4 * sizeof *want), *squares = on_gpu(&p, NULL, STEPS * 4 * sizeof *want);
    for (int after = 0; after < 2; after++) {
        struct kv_compare_args a = { .layer = 1, .store = 2, .ref_store = 0, .from = PREFIX + 3, .to = PREFIX + OWN, .kv = &p.kv, .squares = want };
        must(p.cpu->kv_compare(p.host, &a));
        a.kv = &p.kv_gpu, a.squares = squares;
        must(p.cuda->kv_compare(p.gpu, &a));
        const double *got = from_gpu(&p, squares, STEPS * 4 * sizeof *want);
        for (int t = 0; t < STEPS * 4; t++) { /* 96 additions in double in another order */
            if (t < 12 || t >= 4 * OWN) assert_true(isnan(got[t]));
            else if (after && t % 2 == 0 && t < 4 * 15) assert_true(got[t] == 0); /* copied from the reference */
            else assert_true(fabs(got[t] - want[t]) <= 200 * 0x1p-53 * want[t] && want[t] > 0);
        }
        struct kv_copy_args copy = { .layer = 1, .from_store = 0, .to_store = 2, .from = PREFIX, .to = PREFIX + 15, .kv = &p.kv };
        must(p.cpu->kv_copy(p.host, &copy));
        copy.kv = &p.kv_gpu;
        must(p.cuda->kv_copy(p.gpu, &copy));
    }
    pair_close(&p);
}

/* ---- selection ---- */

static struct key_set *add_keys(struct pair *p, struct key_set *sets, struct key_set *gpu_sets, int n, int store, int block_size)
{
    const int whole = p->kv.prefix_tokens / block_size, all = (p->kv.first_own_tile + p->kv.own_tiles) * KV_TILE / block_size + 1;
    struct key_set *s = &sets[n];
    *s = (struct key_set){ .store = store, .block_size = block_size, .first_block = store == KV_PREFIX ? 0 : whole };
    s->n_tiles = ((store == KV_PREFIX ? whole : all - whole) + KEY_TILE - 1) / KEY_TILE;
    const size_t bytes = key_set_elems(&p->kv, s) * sizeof(float);
    s->keys = hold(p, bytes);
    gpu_sets[n] = *s;
    gpu_sets[n].keys = on_gpu(p, NULL, bytes);
    return s;
}

/* Keys built from the cache on both, the same bits; then one token committed. */
static void build_keys(struct pair *p, struct key_set *sets, struct key_set *gpu_sets, int n_sets, int n_tokens)
{
    for (int i = 0; i < n_sets; i++) {
        const int whole = p->kv.prefix_tokens / sets[i].block_size, last = (n_tokens - 1) / sets[i].block_size;
        const bool shared = sets[i].store == KV_PREFIX;
        struct keys_build_args a = { .layer = 0, .set = i, .from_block = sets[i].first_block, .to_block = shared ? whole - 1 : last,
                                     .n_tokens = shared ? p->kv.prefix_tokens : n_tokens, .sets = sets, .kv = &p->kv };
        if (a.to_block < a.from_block) continue;
        must(p->cpu->keys_build(p->host, &a));
        a.sets = gpu_sets, a.kv = &p->kv_gpu;
        must(p->cuda->keys_build(p->gpu, &a));
    }
}

static void assert_same_keys(struct pair *p, const struct key_set *sets, const struct key_set *gpu_sets, int n_sets)
{
    for (int i = 0; i < n_sets; i++) {
        const size_t n = key_set_elems(&p->kv, &sets[i]);
        const float *got = from_gpu(p, gpu_sets[i].keys, n * 4), *want = sets[i].keys;
        for (size_t e = 0; e < n; e++) assert_true(got[e] == want[e] || (isnan(got[e]) && isnan(want[e])));
    }
}

enum { SELECT_LANES = 8 };

static void check_select(struct pair *p, int n_heads, int n_kv, int dim, int prefix, int block_a, int block_b, float q_size)
{
    enum { STEPS = 24, OWN = 13 };
    pair_cache(p, 1, n_heads, n_kv, dim, prefix, STEPS, OWN, 2, 1, 1);
    struct key_set sets[6], gpu_sets[6];
    for (int i = 0; i < 6; i++) add_keys(p, sets, gpu_sets, i, i % 3 - 1, i < 3 ? block_a : block_b);
    build_keys(p, sets, gpu_sets, 6, prefix + OWN);
    assert_same_keys(p, sets, gpu_sets, 6);
    const int position = prefix + OWN, max_blocks = position + 1, mass_blocks = position + 1;
    struct lane_params lanes[SELECT_LANES] = {
        { .selector = SELECT_DENSE, .block_size = block_a, .active_millionths = 1000000, .key_set = -1, .prefix_set = -1 },
        { .selector = SELECT_MINMAX, .block_size = block_a, .local_blocks = 1, .min_blocks = 2, .active_millionths = 300000, .key_set = 1, .prefix_set = 0 },
        { .selector = SELECT_MINMAX, .block_size = block_b, .local_blocks = 2, .min_blocks = 1, .active_millionths = 500000, .key_set = 5, .prefix_set = 3 },
        { .selector = SELECT_MINMAX, .block_size = block_a, .local_blocks = 0, .min_blocks = 3, .active_millionths = 100000, .key_set = 1, .prefix_set = 0 },
        { .selector = SELECT_RANDOM, .block_size = block_b, .local_blocks = 1, .min_blocks = 1, .active_millionths = 400000, .key_set = -1, .prefix_set = -1 },
        { .selector = SELECT_WINDOW, .block_size = block_a, .local_blocks = 1, .min_blocks = 3, .active_millionths = 200000, .key_set = -1, .prefix_set = -1 },
        { .selector = SELECT_ORACLE, .block_size = block_b, .local_blocks = 1, .min_blocks = 1, .active_millionths = 300000, .key_set = -1, .prefix_set = -1 },
        { .selector = SELECT_MINMAX, .block_size = block_a, .local_blocks = 1, .min_blocks = 1, .active_millionths = 1000000, .dense_layers = 1, .key_set = 1, .prefix_set = 0 },
    };
    struct row rows[SELECT_LANES];
    for (int i = 0; i < SELECT_LANES; i++)
        rows[i] = (struct row){ .lane = i, .position = position, .store = i == 2 ? 1 : 0, .tail = i == 3 ? 0 : NO_TAIL, .flags = i > 0 ? ROW_SPARSE : 0 };
    const size_t stride = (size_t)pair_stride(p), lists_n = (size_t)SELECT_LANES * (size_t)n_kv;
    float *qkv = random_floats(p, SELECT_LANES * stride, q_size);
    double *mass = hold(p, (size_t)SELECT_LANES * (size_t)n_heads * (size_t)mass_blocks * sizeof *mass);
    for (int i = 0; i < SELECT_LANES * n_heads * mass_blocks; i++) mass[i] = fabs((double)draw(p)) * 0.01;
    struct block_lists want = { max_blocks, hold(p, lists_n * (size_t)max_blocks * 4), hold(p, lists_n * 4), hold(p, lists_n * 4) };
    struct block_lists got = { max_blocks, on_gpu(p, NULL, lists_n * (size_t)max_blocks * 4), on_gpu(p, NULL, lists_n * 4), on_gpu(p, NULL, lists_n * 4) };
    pair_reserve(p, SELECT_LANES, prefix + STEPS);
    struct select_args a = { .n_rows = SELECT_LANES, .layer = 0, .n_heads = n_heads, .rows = rows, .lanes = lanes, .sets = sets, .qkv = qkv,
                             .kv = &p->kv, .mass = mass, .mass_blocks = mass_blocks, .seed = 9, .lists = &want,
                             .scores = hold(p, lists_n * (size_t)max_blocks * 4), .max_score_blocks = max_blocks, .n_sets = 6 };
    must(p->cpu->select(p->host, &a));
    a.rows = on_gpu(p, rows, sizeof rows), a.lanes = on_gpu(p, lanes, sizeof lanes), a.sets = gpu_sets, a.kv = &p->kv_gpu, a.lists = &got;
    a.qkv = on_gpu(p, qkv, SELECT_LANES * stride * 4), a.scores = on_gpu(p, NULL, lists_n * (size_t)max_blocks * 4);
    a.mass = on_gpu(p, mass, (size_t)SELECT_LANES * (size_t)n_heads * (size_t)mass_blocks * sizeof *mass);
    must(p->cuda->select(p->gpu, &a));
    /* Equal keys and queries give equal scores, so the lists are the same, ties included. */
    assert_memory_equal(from_gpu(p, got.count, lists_n * 4), want.count, lists_n * 4);
    assert_memory_equal(from_gpu(p, got.tokens, lists_n * 4), want.tokens, lists_n * 4);
    const int32_t *blocks = from_gpu(p, got.blocks, lists_n * (size_t)max_blocks * 4);
    for (size_t l = 0; l < lists_n; l++)
        if (want.count[l] > 0)
            assert_memory_equal(blocks + l * (size_t)max_blocks, want.blocks + l * (size_t)max_blocks, (size_t)want.count[l] * 4);
    struct keys_commit_args commit = { .n_rows = SELECT_LANES, .layer = 0, .n_heads = n_heads, .n_sets = 6, .rows = rows, .sets = sets, .qkv = qkv, .kv = &p->kv };
    must(p->cpu->keys_commit(p->host, &commit));
    commit.rows = a.rows, commit.sets = gpu_sets, commit.qkv = a.qkv, commit.kv = &p->kv_gpu;
    must(p->cuda->keys_commit(p->gpu, &commit));
    assert_same_keys(p, sets, gpu_sets, 6);
}

static void selections_are_the_same(void **state)
{
    WITH_PAIR(p);
    static const struct {
        int heads, kv, dim, prefix, a, b;
        float q;
    } cases[] = { { 4, 2, 16, 100, 4, 8, 1 }, { 7, 1, 128, 555, 16, 8, 1 }, { 16, 1, 64, 2000, 16, 64, 1 }, { 2, 2, 96, 40, 1, 128, 1 },
                  { 4, 2, 32, 300, 8, 24, 0 } /* all scores equal: only ties */, { 3, 3, 256, 3000, 2, 16, 1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_select(&p, cases[i].heads, cases[i].kv, cases[i].dim, cases[i].prefix, cases[i].a, cases[i].b, cases[i].q);
        pair_clear(&p);
    }
    pair_close(&p);
}

/* ---- attention ---- */

/* reference_attend's bound for float32, and: the scores' chains on tensor cores (4 gamma, as for products; twice, a weight's and the
 * maximum's), a weight rounded to fp16 in numerator and in the sum alike, 2^-11 each, or 2^-25 of its chunk's greatest where it is small. */
static double attend_tolerance(double bound, double absolute_v, double most_v, double size, int dim, int n_tokens)
{
    return bound + (expm1(8 * reference_gamma(dim + 12) * size) + 2 * 0x1p-11 + 4 * reference_gamma(n_tokens)) * absolute_v + 2 * n_tokens * 0x1p-25 * most_v;
}

struct attend_case {
    int n_heads, n_kv, dim, prefix, own, block_size;
};

enum { ATTEND_ROWS = 80, SHOWN = 6 };

/* Rows 0 .. 5: dense over a store, the prefix alone, a probe, a list, a list of everything, the first token; then the prefix's
 * tokens in order, as a prefill has them. */
static void attend_rows_of(struct pair *p, const struct attend_case *c, struct attend_row *rows, struct block_lists *lists)
{
    const int last = c->prefix + c->own - 1, n_blocks = last / c->block_size + 1;
    *lists = (struct block_lists){ n_blocks, hold(p, (size_t)(ATTEND_ROWS * c->n_kv * n_blocks) * 4), hold(p, (size_t)(ATTEND_ROWS * c->n_kv) * 4),
                                   hold(p, (size_t)(ATTEND_ROWS * c->n_kv) * 4) };
    for (int r = 0; r < ATTEND_ROWS; r++) {
        rows[r] = (struct attend_row){ .q_row = r, .store = KV_PREFIX, .tail = NO_TAIL, .position = (r * 7 + 1) % c->prefix, .list_row = -1,
                                       .block_size = c->block_size, .out_row = r };
        if (r < 5 && r != 1) rows[r].store = 1, rows[r].position = last, rows[r].list_row = r;
        if (r == 2) rows[r].tail = 0;
        if (r == 5) rows[r].position = 0;
        if (r >= 16) rows[r].position = c->prefix - ATTEND_ROWS + r < 0 ? 0 : c->prefix - ATTEND_ROWS + r;
        for (int h = 0; h < c->n_kv; h++) {
            const int at = r * c->n_kv + h;
            int n = 0;
            for (int b = 0; b < n_blocks; b++)
                if (r == 4 || b == n_blocks - 1 || draw(p) > 0.4f) lists->blocks[at * n_blocks + n++] = b;
            lists->count[at] = r == 3 || r == 4 ? n : -1;
            lists->tokens[at] = lists->count[at] < 0 ? rows[r].position + 1 : n * c->block_size - (n_blocks * c->block_size - (last + 1));
        }
    }
}

/* A probe's tail: its store's earlier tokens of the last tile, and one of its own. */
static void fill_tail(struct pair *p, const struct attend_case *c)
{
    const int last = c->prefix + c->own - 1, dim = c->dim;
    float *kt = p->kv.k_tail, *vt = p->kv.v_tail;
    for (int h = 0; h < c->n_kv; h++)
        for (int s = 0; s <= last % KV_TILE; s++)
            for (int i = 0; i < dim; i++) {
                const size_t from = kv_own_at(&p->kv, 0, 1, h, last / KV_TILE), to = kv_tail_at(&p->kv, 0, h);
                const size_t k = (size_t)(i * KV_TILE + s), v = (size_t)(s * dim + i);
                kt[to + k] = s == last % KV_TILE ? draw(p) : ((float *)p->kv.k_own)[from + k];
                vt[to + v] = s == last % KV_TILE ? draw(p) : ((float *)p->kv.v_own)[from + v];
            }
    const size_t n = kv_tail_elems(&p->kv);
    must(p->cuda->upload(p->gpu, p->kv_gpu.k_tail, to_f16(p, kt, n, true), n * 2));
    must(p->cuda->upload(p->gpu, p->kv_gpu.v_tail, to_f16(p, vt, n, false), n * 2));
}

/* NaN in every token of a store that list row 3 of KV head 0 does not read; other heads keep theirs. */
static void poison(struct pair *p, const struct attend_case *c, const struct block_lists *lists, const bool *read)
{
    const int last = c->prefix + c->own - 1;
    (void)lists;
    for (int at = 0; at <= last; at++)
        for (int i = 0; i < c->dim && !read[at]; i++) {
            const bool own = at / KV_TILE >= p->kv.first_own_tile;
            const size_t tile = own ? kv_own_at(&p->kv, 0, 1, 0, at / KV_TILE) : kv_prefix_at(&p->kv, 0, 0, at / KV_TILE);
            ((float *)(own ? p->kv.k_own : p->kv.k_prefix))[tile + (size_t)(i * KV_TILE + at % KV_TILE)] = NAN;
            ((float *)(own ? p->kv.v_own : p->kv.v_prefix))[tile + (size_t)(at % KV_TILE * c->dim + i)] = NAN;
        }
    const struct kv_cache *k = &p->kv, *g = &p->kv_gpu;
    must(p->cuda->upload(p->gpu, g->k_own, to_f16(p, k->k_own, kv_own_elems(k), true), kv_own_elems(k) * 2));
    must(p->cuda->upload(p->gpu, g->v_own, to_f16(p, k->v_own, kv_own_elems(k), false), kv_own_elems(k) * 2));
    must(p->cuda->upload(p->gpu, g->k_prefix, to_f16(p, k->k_prefix, kv_prefix_elems(k), true), kv_prefix_elems(k) * 2));
    must(p->cuda->upload(p->gpu, g->v_prefix, to_f16(p, k->v_prefix, kv_prefix_elems(k), false), kv_prefix_elems(k) * 2));
}

static void read_of(const struct attend_case *c, const struct attend_row *row, const struct block_lists *lists, int kv_head, bool *read)
{
    const int at = row->list_row * c->n_kv + kv_head;
    for (int i = 0; i <= row->position; i++) read[i] = row->list_row < 0 || lists->count[at] < 0;
    for (int b = 0; row->list_row >= 0 && b < lists->count[at]; b++)
        for (int i = 0; i < c->block_size; i++) {
            const int token = lists->blocks[at * lists->max_blocks + b] * c->block_size + i;
            if (token <= row->position) read[token] = true;
        }
}

static void check_attend(struct pair *p, const struct attend_case *c)
{
    pair_cache(p, 1, c->n_heads, c->n_kv, c->dim, c->prefix, c->own + 5, c->own, 2, 1, 2);
    fill_tail(p, c);
    struct attend_row rows[ATTEND_ROWS];
    struct block_lists lists;
    attend_rows_of(p, c, rows, &lists);
    const size_t stride = (size_t)pair_stride(p), width = (size_t)(c->n_heads * c->dim), n_lists = (size_t)(ATTEND_ROWS * c->n_kv);
    float *qkv = random_floats(p, ATTEND_ROWS * stride, 2);
    struct block_lists gpu = { lists.max_blocks, on_gpu(p, lists.blocks, n_lists * (size_t)lists.max_blocks * 4), on_gpu(p, lists.count, n_lists * 4),
                               on_gpu(p, lists.tokens, n_lists * 4) };
    pair_reserve(p, ATTEND_ROWS, c->prefix + c->own + 5);
    float *out = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
    struct attend_args a = { .n_rows = 16, .layer = 0, .n_heads = c->n_heads, .rows = on_gpu(p, rows, sizeof rows), .qkv = on_gpu(p, qkv, ATTEND_ROWS * stride * 4),
                             .qkv_stride = (int)stride, .kv = &p->kv_gpu, .lists = &gpu, .out = out };
    must(p->cuda->attend(p->gpu, &a)); /* a few rows: split */
    const float *split = from_gpu(p, out, ATTEND_ROWS * width * 4);
    double worst = 0;
    double *probability = hold(p, (size_t)(c->prefix + c->own) * sizeof(double)), *want = hold(p, (size_t)c->dim * sizeof(double)), *bound = hold(p, (size_t)c->dim * sizeof(double));
    bool *read = hold(p, (size_t)(c->prefix + c->own));
    for (int r = 0; r < SHOWN; r++)
        for (int h = 0; h < c->n_heads; h++) {
            const int kv_head = h / (c->n_heads / c->n_kv);
            const struct reference_context ctx = { &p->kv, 0, rows[r].store, rows[r].tail, rows[r].position };
            const float *q = qkv + (size_t)r * stride + (size_t)(h * c->dim);
            read_of(c, &rows[r], &lists, kv_head, read);
            reference_attend(&ctx, q, kv_head, read, probability, want, bound);
            double size = 0;
            for (int at = 0; at <= rows[r].position; at++) {
                double s = 0;
                for (int i = 0; i < c->dim && read[at]; i++) s += fabs((double)q[i] * reference_k(&ctx, kv_head, at, i));
                size = fmax(size, s / sqrt(c->dim));
            }
            for (int i = 0; i < c->dim; i++) {
                double absolute = 0;
                for (int at = 0; at <= rows[r].position; at++)
                    if (read[at]) absolute += probability[at] * fabs(reference_v(&ctx, kv_head, at, i));
                const double err = fabs((double)split[(size_t)r * width + (size_t)(h * c->dim + i)] - want[i]);
                const double tolerance = attend_tolerance(bound[i], absolute, 1, size, c->dim, rows[r].position + 1);
                worst = fmax(worst, err / tolerance);
                if (!(err <= tolerance))
                    fail_msg("attention, dim %d, row %d, head %d, element %d: off by %g, %g allowed", c->dim, r, h, i, err, tolerance);
            }
        }
    a.n_rows = ATTEND_ROWS, a.out = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
    must(p->cuda->attend(p->gpu, &a)); /* many rows: each through all chunks */
    assert_memory_equal(from_gpu(p, a.out, ATTEND_ROWS * width * 4), split, 16 * width * 4);
    for (int r = 0; r < ATTEND_ROWS; r++) rows[r].list_row = -1;
    a.rows = on_gpu(p, rows, sizeof rows), a.lists = NULL, a.out = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
    must(p->cuda->attend(p->gpu, &a)); /* bundles of rows */
    const float *bundled = from_gpu(p, a.out, ATTEND_ROWS * width * 4);
    for (int r = 0; r < 16; r++)
        if (r != 3) assert_memory_equal(bundled + (size_t)r * width, split + (size_t)r * width, width * 4); /* row 4: its list was everything */
    for (int r = 16; r < ATTEND_ROWS; r += 9) {
        float *one = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
        const struct attend_args alone = { .n_rows = 1, .layer = 0, .n_heads = c->n_heads, .rows = a.rows + r, .qkv = a.qkv, .qkv_stride = (int)stride,
                                           .kv = &p->kv_gpu, .out = one };
        must(p->cuda->attend(p->gpu, &alone));
        assert_memory_equal(from_gpu(p, one + (size_t)r * width, width * 4), bundled + (size_t)r * width, width * 4);
    }
    rows[3].list_row = 3;
    read_of(c, &rows[3], &lists, 0, read);
    poison(p, c, &lists, read);
    a.rows = on_gpu(p, rows, sizeof rows), a.lists = &gpu, a.n_rows = 16, a.out = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
    must(p->cuda->attend(p->gpu, &a));
    const size_t group = width / (size_t)c->n_kv;
    assert_memory_equal(from_gpu(p, a.out + 3 * width, group * 4), split + 3 * width, group * 4); /* what is not read does not matter */
    print_message("attention %2d/%d heads of %3d, %5d + %2d tokens: worst error %.3f of the tolerance; split, bundled, alone: the same bits\n",
                  c->n_heads, c->n_kv, c->dim, c->prefix, c->own, worst);
}

static const struct attend_case attend_cases[] = {
    { 4, 2, 16, 43, 13, 8 }, { 7, 1, 128, 700, 30, 16 }, { 28, 4, 128, 1030, 3, 64 }, { 9, 3, 64, 600, 21, 16 }, { 16, 1, 64, 255, 1, 8 },
    { 2, 2, 256, 300, 17, 24 }, { 6, 2, 96, 513, 5, 128 }, { 8, 2, 64, 5000, 7, 32 }, { 1, 1, 80, 90, 40, 1 },
};

static void attention_is_right_and_knows_no_batch(void **state)
{
    WITH_PAIR(p);
    for (size_t i = 0; i < sizeof attend_cases / sizeof *attend_cases; i++) {
        check_attend(&p, &attend_cases[i]);
        pair_clear(&p);
    }
    pair_close(&p);
}

/* The reference's bound for float32 and the tensor cores' chains. */
static void check_mass(struct pair *p, const struct attend_case *c, int block_size)
{
    pair_cache(p, 1, c->n_heads, c->n_kv, c->dim, c->prefix, c->own + 5, c->own, 2, 1, 2);
    fill_tail(p, c);
    const int last = c->prefix + c->own - 1, mass_blocks = last / block_size + 3;
    const size_t stride = (size_t)pair_stride(p), heads = (size_t)c->n_heads;
    const struct mass_row rows[2] = { { 0, 1, NO_TAIL, last, block_size, last - 5, 1 }, { 1, 1, 0, last, block_size, last, 0 } };
    float *qkv = random_floats(p, 2 * stride, 2);
    pair_reserve(p, 2, c->prefix + c->own + 5);
    double *mass = on_gpu(p, NULL, 2 * heads * (size_t)mass_blocks * 8), *stale = on_gpu(p, NULL, 2 * heads * 8);
    const struct block_mass_args a = { .n_rows = 2, .layer = 0, .n_heads = c->n_heads, .rows = on_gpu(p, rows, sizeof rows), .qkv = on_gpu(p, qkv, 2 * stride * 4),
                                       .qkv_stride = (int)stride, .mass_blocks = mass_blocks, .kv = &p->kv_gpu, .mass = mass, .stale = stale };
    must(p->cuda->block_mass(p->gpu, &a));
    const double *got = from_gpu(p, mass, 2 * heads * (size_t)mass_blocks * 8), *got_stale = from_gpu(p, stale, 2 * heads * 8);
    double *probability = hold(p, (size_t)(last + 1) * 8), *want = hold(p, (size_t)mass_blocks * 8), want_stale;
    for (int r = 0; r < 2; r++)
        for (int h = 0; h < c->n_heads; h++) {
            const struct reference_context ctx = { &p->kv, 0, 1, rows[r].tail, last };
            const double relative = reference_block_mass(&ctx, qkv + (size_t)r * stride + (size_t)(h * c->dim), h / (c->n_heads / c->n_kv), block_size,
                                                         rows[r].stale_from, probability, want, &want_stale);
            const double tolerance = 8 * relative + 1e-5; /* 4 gamma where the reference has 1, twice; exponentials of 2 ulp */
            const double *x = got + ((size_t)rows[r].out_row * heads + (size_t)h) * (size_t)mass_blocks;
            double sum = 0;
            for (int b = 0; b < mass_blocks; b++) {
                sum += x[b];
                if (b > last / block_size) assert_true(x[b] == 0);
                else if (!(fabs(x[b] - want[b]) <= tolerance * want[b])) fail_msg("mass: head %d, block %d of %d: %g, not %g", h, b, block_size, x[b], want[b]);
            }
            assert_true(fabs(sum - 1) <= 1e-12);
            assert_true(fabs(got_stale[(size_t)rows[r].out_row * heads + (size_t)h] - want_stale) <= tolerance * want_stale);
        }
}

static void block_mass_is_right(void **state)
{
    WITH_PAIR(p);
    static const int sizes[] = { 1, 8, 24, 128, 300, 600 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_mass(&p, &attend_cases[1], sizes[i]);
        pair_clear(&p);
        check_mass(&p, &attend_cases[3], sizes[i]);
        pair_clear(&p);
    }
    pair_close(&p);
}

/* ---- whole runs ---- */

enum { PREFIX = 107, STEPS = 40 }; /* inside a tile and a block; more rows than the product for few of them takes */
static const unsigned ALL = METRIC_DRIFT | METRIC_CACHE | METRIC_ATTENTION | METRIC_MASS | METRIC_LOGITS | METRIC_PARTS | METRIC_HEADS | METRIC_SELECTION;

/* The lanes of test_engine.c, and one of every selector. */
enum { CONTROL = 1, CLEAN, SPARSE, RESA, F1, RANDOM, ORACLE, WINDOW, NOISY, LATE, STALE };

static void add_cast(struct tiny *t)
{
    tiny_add(t, "control", 0, (struct lane_spec){ 0 });
    tiny_add(t, "clean", 0.7, (struct lane_spec){ .cache_of = TINY_DENSE });
    tiny_add(t, "sparse", 0.7, (struct lane_spec){ 0 });
    tiny_add(t, "resa", 0.7, (struct lane_spec){ .interval = 8 });
    tiny_add(t, "f1", 0.7, (struct lane_spec){ .interval = 1 });
    tiny_add(t, "random", 0.7, (struct lane_spec){ .selector = SELECT_RANDOM, .interval = 16, .phase = 5 });
    tiny_add(t, "oracle", 0.7, (struct lane_spec){ .selector = SELECT_ORACLE, .block_size = 4 });
    tiny_add(t, "window", 0.5, (struct lane_spec){ .selector = SELECT_WINDOW, .block_size = 16 });
    tiny_add(t, "noisy", 0, (struct lane_spec){ .perturb = 0.05 });
    tiny_add(t, "late", 0.8, (struct lane_spec){ .dense_until = 9, .interval = 12 });
    tiny_add(t, "stale", 0, (struct lane_spec){ .cache_of = SPARSE });
    for (int i = CLEAN; i <= F1; i++) tiny_twin(t, i, CLEAN);
    tiny_twin(t, CONTROL, 0);
}

static bool open_run(struct tiny *t, enum model_family family, const char *backend)
{
    tiny_open(t, family, NULL, 0);
    if (tiny_move(t, backend) != 0) {
        print_message("skipped: %s\n", fail_text());
        return false;
    }
    add_cast(t);
    tiny_plan(t, PREFIX, STEPS, ALL);
    return true;
}

static bool same_logits(const struct tiny_result *r, int a, int b, int step)
{
    return memcmp(tiny_logits(r, step, a), tiny_logits(r, step, b), (size_t)r->vocab * sizeof(float)) == 0;
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
    for (int i = 0; i < 6; i++) {
        const enum model_family family = (enum model_family)(FAMILY_LLAMA + i / 2);
        struct tiny t;
        struct tiny_result r;
        if (!open_run(&t, family, i % 2 ? "cuda-bf16" : "cuda")) {
            tiny_close(&t);
            skip();
        }
        tiny_run(&t, &r, 0, NULL);
        assert_int_equal(r.n_steps, STEPS);
        print_message("family %d: control: k_drift %g, attn_err %g, k_cache_drift %g; rectified: k_rect_drift %g; interval 1: k_accum %g; sparse: k_drift %g\n",
                      family, largest(&r, VAR_K_DRIFT, CONTROL, false), largest(&r, VAR_ATTN_ERR, CONTROL, false), largest(&r, VAR_K_CACHE_DRIFT, CONTROL, false),
                      largest(&r, VAR_K_RECT_DRIFT, RESA, true), largest(&r, VAR_K_ACCUM, F1, false), largest(&r, VAR_K_DRIFT, SPARSE, false));
        for (int s = 0; s < STEPS; s++) {
            assert_true(same_logits(&r, CONTROL, 0, s));
            assert_true(same_logits(&r, F1, CLEAN, s));
            if (s % 8 == 0) assert_true(same_logits(&r, RESA, CLEAN, s));
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

/* Every variable exists on one back end where it exists on the other.  Values: both compute the same model up to the rounding to
 * fp16 of weights, rows and cache; a lane whose selection does not depend on scores, and lane 0, stay within a few 2^-11. */
static void runs_resemble_the_cpus(void **state)
{
    (void)state;
    struct tiny t;
    struct tiny_result cuda, cpu;
    if (!open_run(&t, FAMILY_QWEN2, "cuda")) {
        tiny_close(&t);
        skip();
    }
    tiny_run(&t, &cuda, 0, NULL);
    must(tiny_move(&t, "cpu"));
    tiny_run(&t, &cpu, 0, NULL);
    const struct record_layout *l = &cpu.layout;
    int n_apart = 0, n_values = 0;
    for (int s = 0; s < STEPS; s++)
        for (int v = 0; v < N_RECORD_VARS; v++) {
            const size_t n = record_var_count(l, (enum record_var)v), at = (size_t)s * l->n_bytes + l->at[v];
            if (record_var_defs[v].type == REC_F32) {
                const float *x = (const float *)(const void *)(cuda.records + at), *y = (const float *)(const void *)(cpu.records + at);
                for (size_t i = 0; i < n; i++)
                    if (isnan(x[i]) != isnan(y[i])) fail_msg("%s, step %d, element %zu: %g on cuda, %g on cpu", record_var_defs[v].name, s, i, (double)x[i], (double)y[i]);
            }
            const enum record_var exact[] = { VAR_TOKEN, VAR_TARGET, VAR_CONTEXT_TOKENS, VAR_RECTIFIED, VAR_STALE_TOKENS, VAR_KEY_READ_BYTES, VAR_RECTIFY_FLOP };
            for (size_t e = 0; e < sizeof exact / sizeof *exact; e++)
                if (exact[e] == (enum record_var)v) assert_memory_equal(cuda.records + at, cpu.records + at, n * record_type_bytes(record_var_defs[v].type));
            if (v != VAR_SELECTED_BLOCKS) continue;
            const int32_t *x = (const int32_t *)(const void *)(cuda.records + at), *y = (const int32_t *)(const void *)(cpu.records + at);
            for (size_t i = 0; i < n; i++) n_apart += x[i] != y[i], n_values += y[i] >= 0;
        }
    double diff = 0, size = 0;
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < cpu.vocab; i++) {
            const double y = (double)tiny_logits(&cpu, s, 0)[i], d = (double)tiny_logits(&cuda, s, 0)[i] - y;
            diff += d * d;
            size += y * y;
        }
    print_message("cuda and cpu: lane 0's logits differ by %.2e; %d of %d selected blocks differ\n", sqrt(diff / size), n_apart, n_values);
    assert_true(sqrt(diff / size) < 8 * 0x1p-11); /* 3 layers of 6 roundings to fp16 (2^-12 RMS each) that add up as noise */
    assert_true(n_apart < n_values / 10);
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
}

/* The same logits give the same choice on both: greedily, by temperature, inside a nucleus, with ties and without numbers. */
static void choices_are_the_same(void **state)
{
    WITH_PAIR(p);
    enum { LANES = 6, VOCAB = 5000 };
    p.shape = (struct model_shape){ .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .hidden = 16, .ffn = 16, .vocab = VOCAB };
    pair_reserve(&p, LANES, 64);
    float *logits = random_floats(&p, LANES * VOCAB, 8);
    for (int i = 0; i < VOCAB; i++) logits[VOCAB + i] = 1; /* row 1: all equal */
    logits[2 * VOCAB + 77] = NAN;
    for (int i = 0; i < VOCAB; i++) logits[3 * VOCAB + i] = (float)(i % 3);
    static const int32_t row_of_lane[LANES] = { 0, 1, 2, 3, 4, -1 }, from[LANES] = { 0, 1, 2, 3, 0, 5 };
    int32_t at[LANES], step = 0, want[LANES], diverged[LANES];
    for (int i = 0; i < LANES; i++) at[i] = i;
    static const double settings[][2] = { { 0, 1 }, { 1, 1 }, { 0.7, 0.9 }, { 2, 0.5 }, { 0.3, 0.01 }, { 1, 0.9999 } };
    float *d_logits = on_gpu(&p, logits, LANES * VOCAB * 4);
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        for (step = 0; step < 20; step++) {
            for (int l = 0; l < LANES; l++) want[l] = diverged[l] = -1;
            int32_t *tokens = on_gpu(&p, want, sizeof want), *d_diverged = on_gpu(&p, diverged, sizeof diverged);
            struct sample_args a = { .n_lanes = LANES, .vocab = VOCAB, .step = &step, .row_of_lane = row_of_lane, .from_lane = from, .logits = logits,
                                     .temperature = settings[i][0], .top_p = settings[i][1], .seed = 3, .tokens = want, .token_at = at, .diverged = diverged };
            must(p.cpu->sample(p.host, &a));
            a.step = on_gpu(&p, &step, 4), a.row_of_lane = on_gpu(&p, row_of_lane, sizeof row_of_lane), a.from_lane = on_gpu(&p, from, sizeof from);
            a.logits = d_logits, a.tokens = tokens, a.token_at = on_gpu(&p, at, sizeof at), a.diverged = d_diverged;
            must(p.cuda->sample(p.gpu, &a));
            const int32_t *got = from_gpu(&p, tokens, sizeof want), *got_diverged = from_gpu(&p, d_diverged, sizeof diverged);
            for (int l = 0; l < LANES; l++)
                if (got[l] != want[l] || got_diverged[l] != diverged[l])
                    fail_msg("temperature %g, top_p %g, step %d, lane %d: token %d, not %d", settings[i][0], settings[i][1], step, l, got[l], want[l]);
            for (int n = 0; n < 6; n++) p.cuda->release(p.gpu, p.taken[--p.n_taken]);
            for (int n = 0; n < 2; n++) mem_free(p.held[--p.n_held]);
        }
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
    assert_non_null(strstr(fail_text(), "cuda:1000"));
    void *huge = NULL;
    assert_int_equal(p.cuda->alloc(p.gpu, &huge, (size_t)1 << 50, "everything"), -1);
    assert_non_null(strstr(fail_text(), "everything"));
    assert_non_null(strstr(fail_text(), "are free"));
    assert_true(p.cuda->free_bytes(p.gpu) > 0);
    pair_close(&p);
}

/* test_cuda [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transfers_are_in_order),
        cmocka_unit_test(appending_matches),
        cmocka_unit_test(copies_and_comparisons_match),
        cmocka_unit_test(selections_are_the_same),
        cmocka_unit_test(attention_is_right_and_knows_no_batch),
        cmocka_unit_test(block_mass_is_right),
        cmocka_unit_test(choices_are_the_same),
        cmocka_unit_test(floors_are_zero),
        cmocka_unit_test(chunks_change_nothing),
        cmocka_unit_test(runs_resemble_the_cpus),
        cmocka_unit_test(follows_its_own_choice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
