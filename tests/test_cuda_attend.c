/* tests/test_cuda_attend.c: attention and block mass of the CUDA back end against the double-precision reference, and attention's promises: the
 * same bits whatever the batch and the split, and for a list of all blocks as for none; what a row does not read does not matter. */
#include "kernels/reference.h"
#include "tests/cuda_pair.h"

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
    must(p->cuda->attend(p->gpu, &a)); /* many rows */
    assert_memory_equal(from_gpu(p, a.out, ATTEND_ROWS * width * 4), split, 16 * width * 4);
    for (int r = 0; r < ATTEND_ROWS; r++) rows[r].list_row = -1;
    a.rows = on_gpu(p, rows, sizeof rows), a.lists = NULL, a.out = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
    must(p->cuda->attend(p->gpu, &a)); /* rows that follow one another share what they read */
    const float *many = from_gpu(p, a.out, ATTEND_ROWS * width * 4);
    for (int r = 0; r < 16; r++)
        if (r != 3) assert_memory_equal(many + (size_t)r * width, split + (size_t)r * width, width * 4); /* row 4: its list was everything */
    for (int r = 16; r < ATTEND_ROWS; r += 9) {
        float *one = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
        const struct attend_args alone = { .n_rows = 1, .layer = 0, .n_heads = c->n_heads, .rows = a.rows + r, .qkv = a.qkv, .qkv_stride = (int)stride,
                                           .kv = &p->kv_gpu, .out = one };
        must(p->cuda->attend(p->gpu, &alone));
        assert_memory_equal(from_gpu(p, one + (size_t)r * width, width * 4), many + (size_t)r * width, width * 4);
    }
    rows[3].list_row = 3;
    read_of(c, &rows[3], &lists, 0, read);
    poison(p, c, &lists, read);
    a.rows = on_gpu(p, rows, sizeof rows), a.lists = &gpu, a.n_rows = 16, a.out = on_gpu(p, NULL, ATTEND_ROWS * width * 4);
    must(p->cuda->attend(p->gpu, &a));
    const size_t group = width / (size_t)c->n_kv;
    assert_memory_equal(from_gpu(p, a.out + 3 * width, group * 4), split + 3 * width, group * 4); /* what is not read does not matter */
    print_message("attention %2d/%d heads of %3d, %5d + %2d tokens: worst error %.3f of the tolerance; split, many, alone: the same bits\n",
                  c->n_heads, c->n_kv, c->dim, c->prefix, c->own, worst);
}

static const struct attend_case attend_cases[] = {
    { 4, 2, 16, 43, 13, 8 }, { 7, 1, 128, 700, 30, 16 }, { 28, 4, 128, 1030, 3, 64 }, { 9, 3, 64, 600, 21, 16 }, { 16, 1, 64, 255, 1, 8 },
    { 2, 2, 256, 300, 17, 24 }, { 6, 2, 96, 513, 5, 128 }, { 8, 2, 64, 5000, 7, 32 }, { 1, 1, 80, 90, 40, 1 },
    { 16, 1, 128, 300, 17, 16 }, { 12, 1, 256, 200, 9, 16 }, { 22, 2, 96, 260, 21, 64 }, { 9, 1, 128, 129, 2, 16 }, /* more than eight query heads to a KV head */
    { 2, 1, 64, 70000, 9, 16 }, /* more than two segments: a row alone is cut into units, many rows into whole segments */
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

/* ---- scores that are not usual ---- */

enum { ODD_TOKENS = 400 };

/* One KV head, a prefix of ODD_TOKENS whose K is k0 in element 0 and 0 elsewhere; q is q0 in element 0.  Then a score is q0 k0 / 8, without
 * rounding.  out: the attention of the last token over all of them; v: of the prefix. */
static const float *attend_odd(struct pair *p, const float *k0, float q0, const float **v)
{
    enum { DIM = 64 };
    pair_cache(p, 1, 1, 1, DIM, ODD_TOKENS, 1, 0, 1, 1, 0);
    float *k = p->kv.k_prefix;
    for (int at = 0; at < ODD_TOKENS; at++) k[kv_prefix_at(&p->kv, 0, 0, at / KV_TILE) + (size_t)(at % KV_TILE)] = k0[at];
    const size_t n = kv_prefix_elems(&p->kv);
    must(p->cuda->upload(p->gpu, p->kv_gpu.k_prefix, to_f16(p, k, n, true), n * 2));
    *v = p->kv.v_prefix;
    float *qkv = hold(p, (size_t)pair_stride(p) * 4);
    for (int i = 0; i < pair_stride(p); i++) qkv[i] = i == 0 ? q0 : 0;
    const struct attend_row row = { .store = KV_PREFIX, .tail = NO_TAIL, .position = ODD_TOKENS - 1, .list_row = -1, .block_size = 16 };
    pair_reserve(p, 1, ODD_TOKENS + 1);
    float *out = on_gpu(p, NULL, DIM * 4);
    const struct attend_args a = { .n_rows = 1, .n_heads = 1, .rows = on_gpu(p, &row, sizeof row), .qkv = on_gpu(p, qkv, (size_t)pair_stride(p) * 4),
                                   .qkv_stride = pair_stride(p), .kv = &p->kv_gpu, .out = out };
    must(p->cuda->attend(p->gpu, &a));
    return from_gpu(p, out, DIM * 4);
}

/* The mean of V over the tokens that weigh the same, the others nothing; a weight's rounding to fp16 is 2^-11 of it, a sum's less. */
static void assert_mean(const float *out, const float *v, const bool *weighs)
{
    for (int i = 0; i < 64; i++) {
        double sum = 0, absolute = 0;
        int n = 0;
        for (int at = 0; at < ODD_TOKENS; at++) {
            if (!weighs[at]) continue;
            sum += v[at * 64 + i];
            absolute += fabs((double)v[at * 64 + i]);
            n++;
        }
        if (!(fabs(out[i] - sum / n) <= 2 * 0x1p-11 * absolute / n)) fail_msg("element %d: %g, not %g", i, (double)out[i], sum / n);
    }
}

static void odd_scores_are_right(void **state)
{
    WITH_PAIR(p);
    float k0[ODD_TOKENS];
    bool weighs[ODD_TOKENS];
    const float *v;
    for (int at = 0; at < ODD_TOKENS; at++) k0[at] = 1, weighs[at] = true; /* ties */
    const float *out = attend_odd(&p, k0, 3, &v);
    assert_mean(out, v, weighs);
    pair_clear(&p);
    for (int at = 0; at < ODD_TOKENS; at++) k0[at] = (weighs[at] = at < 100 || at == 390) ? 1 : -INFINITY; /* the second and third unit: nothing but -inf */
    out = attend_odd(&p, k0, 2, &v);
    assert_mean(out, v, weighs);
    pair_clear(&p);
    for (int at = 0; at < ODD_TOKENS; at++) k0[at] = (weighs[at] = at == 200 || at == 399) ? 1000 : (float)(at % 7) - 1000; /* scores of +-125000 */
    out = attend_odd(&p, k0, 1000, &v);
    assert_mean(out, v, weighs);
    pair_clear(&p);
    for (int at = 0; at < ODD_TOKENS; at++) k0[at] = -INFINITY;
    out = attend_odd(&p, k0, 1, &v);
    for (int i = 0; i < 64; i++) assert_true(isnan(out[i])); /* as 0 / 0 is */
    pair_close(&p);
}

/* ---- block mass ---- */

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
    static const struct attend_case mass_cases[] = { { 7, 1, 128, 700, 30, 0 }, { 9, 3, 64, 600, 21, 0 }, { 4, 2, 32, 400, 3, 0 }, { 5, 1, 96, 300, 7, 0 },
                                                     { 2, 2, 256, 500, 17, 0 }, { 32, 2, 128, 280, 5, 0 } }; /* their block sizes are not used */
    WITH_PAIR(p);
    static const int sizes[] = { 1, 8, 24, 128, 300, 600 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (size_t k = 0; k < sizeof mass_cases / sizeof *mass_cases; k++) {
            check_mass(&p, &mass_cases[k], sizes[i]);
            pair_clear(&p);
        }
    }
    pair_close(&p);
}

/* test_cuda_attend [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_is_right_and_knows_no_batch),
        cmocka_unit_test(odd_scores_are_right),
        cmocka_unit_test(block_mass_is_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
