/* tests/test_cuda_chunk.c: attention of many rows on the device: windows of consecutive positions have the bits that each row has alone, whatever
 * the other rows, and the values of the double-precision reference; block mass of many rows, which share their prefix. */
#include "kernels/reference.h"
#include "tests/cuda_pair.h"

#define WITH_PAIR(p)                                                                                                   \
    struct pair p;                                                                                                     \
    (void)state;                                                                                                       \
    if (!pair_open(&p)) skip()

enum { MOST_WINDOWS = 4 };

struct window {
    int store, tail, first, n_rows;
};

struct chunk_case {
    int n_heads, n_kv, dim, prefix, own, n_stores; /* own: tokens of each store */
    struct window windows[MOST_WINDOWS];
};

/* Consecutive rows; q of row r is row r's. */
static int rows_of(const struct chunk_case *c, struct attend_row *rows)
{
    int n = 0;
    for (int w = 0; w < MOST_WINDOWS; w++)
        for (int i = 0; i < c->windows[w].n_rows; i++, n++)
            rows[n] = (struct attend_row){ .q_row = n,
                                           .store = c->windows[w].store,
                                           .tail = c->windows[w].tail,
                                           .position = c->windows[w].first + i,
                                           .list_row = -1,
                                           .block_size = 16,
                                           .out_row = n };
    return n;
}

/* Of a row that attention is right: the error of every element over what tensor cores and weights in fp16 allow. */
static double row_error(struct pair *p, const struct chunk_case *c, const struct attend_row *row, const float *q,
                        const float *got)
{
    const struct reference_context ctx = { &p->kv, 0, row->store, row->tail, row->position };
    double *probability = hold(p, (size_t)(row->position + 1) * sizeof(double)), *want = hold(p, (size_t)c->dim * 8),
           *bound = hold(p, (size_t)c->dim * 8), worst = 0;
    for (int h = 0; h < c->n_heads; h += c->n_heads - 1 ? c->n_heads - 1 : 1) {
        const int kv_head = h / (c->n_heads / c->n_kv);
        reference_attend(&ctx, q + (size_t)(h * c->dim), kv_head, NULL, probability, want, bound);
        for (int i = 0; i < c->dim; i++) {
            double absolute = 0, size = 0;
            for (int at = 0; at <= row->position; at++)
                absolute += probability[at] * fabs(reference_v(&ctx, kv_head, at, i));
            for (int d = 0; d < c->dim; d++) size += fabs((double)q[h * c->dim + d]); /* keys are in [-1, 1) */
            size /= sqrt(c->dim);
            /* the scores' chains on tensor cores, 17 roundings downwards for 16 terms, twice; a weight rounded to fp16; one 2^-25 of its unit's greatest */
            const double tolerance =
                bound[i] +
                (expm1(4 * reference_gamma(2 * c->dim) * size) + 0x1p-10 + 4 * reference_gamma(row->position + 1)) *
                    absolute +
                2.0 * (row->position + 1) * 0x1p-25;
            worst = fmax(worst, fabs((double)got[h * c->dim + i] - want[i]) / tolerance);
        }
    }
    return worst;
}

static void check_chunk(struct pair *p, const struct chunk_case *c)
{
    enum { MOST = 700 };
    static struct attend_row rows[MOST];
    pair_cache(p, 1, c->n_heads, c->n_kv, c->dim, c->prefix, c->own + 9, c->own, c->n_stores, 1, 1);
    const int n = rows_of(c, rows);
    assert_true(n >= 32 && n <= MOST);
    const size_t stride = (size_t)pair_stride(p), width = (size_t)(c->n_heads * c->dim),
                 n_bytes = (size_t)n * width * 4;
    const float *qkv = random_floats(p, (size_t)n * stride, 3);
    pair_reserve(p, n, c->prefix + c->own + 9);
    struct attend_args a = { .n_rows = n,
                             .layer = 0,
                             .n_heads = c->n_heads,
                             .rows = on_gpu(p, rows, (size_t)n * sizeof *rows),
                             .qkv = on_gpu(p, qkv, (size_t)n * stride * 4),
                             .qkv_stride = (int)stride,
                             .kv = &p->kv_gpu,
                             .out = on_gpu(p, NULL, n_bytes) };
    must(p->cuda->attend(p->gpu, &a));
    const float *many = from_gpu(p, a.out, n_bytes);
    const struct attend_row *const dev = a.rows;
    double worst = 0;
    for (int r = 0; r < n; r += n / 5)
        worst = fmax(worst, row_error(p, c, &rows[r], qkv + (size_t)r * stride, many + (size_t)r * width));
    if (!(worst <= 1)) fail_msg("dim %d, %d/%d heads: %g of the tolerance", c->dim, c->n_heads, c->n_kv, worst);
    a.out = on_gpu(p, NULL, n_bytes);
    attend_few(p, a);
    assert_memory_equal(from_gpu(p, a.out, n_bytes), many, n_bytes);
    a.out = on_gpu(p, NULL, n_bytes);
    for (int at = 0, here; at < n; at += here) { /* other chunks */
        here = n - at < 70 ? n - at : 37;
        a.rows = dev + at, a.n_rows = here;
        must(p->cuda->attend(p->gpu, &a));
    }
    assert_memory_equal(from_gpu(p, a.out, n_bytes), many, n_bytes);
    print_message("%2d/%2d heads of %3d, %d rows over %d tokens: worst error %.3f of the tolerance; alone and in other "
                  "chunks: the same bits\n",
                  c->n_heads, c->n_kv, c->dim, n, rows[n - 1].position + 1, worst);
}

static void windows_have_the_bits_of_their_rows(void **state)
{
    WITH_PAIR(p);
    static const struct chunk_case cases[] = {
        { 28, 4, 128, 1003, 130, 3, { { 0, NO_TAIL, 1060, 32 }, { 1, NO_TAIL, 1060, 32 }, { 2, NO_TAIL, 1003, 20 } } },
        { 7, 1, 128, 5, 620, 1, { { 0, NO_TAIL, 3, 600 } } }, /* a unit begins inside the straddling tile's copy */
        { 4, 2, 64, 300, 40, 1, { { KV_PREFIX, NO_TAIL, 0, 300 } } }, /* a prefill */
        { 16, 1, 64, 500, 90, 2, { { 1, NO_TAIL, 510, 45 }, { 0, NO_TAIL, 550, 33 } } },
        { 6,
          6,
          96,
          130,
          700,
          2,
          { { 0, NO_TAIL, 140, 680 }, { 1, NO_TAIL, 829, 1 } } }, /* more than PACK rows of one query head each */
        { 8, 1, 256, 140, 1200, 2, { { 0, NO_TAIL, 1300, 32 }, { 1, NO_TAIL, 200, 9 } } },
        { 2, 1, 16, 64, 64, 1, { { 0, NO_TAIL, 70, 58 } } },
        { 3,
          1,
          80,
          33000,
          2100,
          2,
          { { 0, NO_TAIL, 35000, 40 }, { 1, NO_TAIL, 33001, 31 } } }, /* more than a segment of tokens */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_chunk(&p, &cases[i]);
        pair_clear(&p);
    }
    pair_close(&p);
}

/* Scores of a hundred and more: all weight on few tokens. */
static void huge_scores_are_weighed(void **state)
{
    WITH_PAIR(p);
    pair_cache(&p, 1, 2, 1, 64, 2000, 80, 64, 1, 1, 60);
    struct attend_row rows[64];
    const struct chunk_case c = { 2, 1, 64, 2000, 64, 1, { { 0, NO_TAIL, 2000, 64 } } };
    const int n = rows_of(&c, rows);
    const size_t stride = (size_t)pair_stride(&p), n_bytes = (size_t)n * 128 * 4;
    const float *qkv = random_floats(&p, (size_t)n * stride, 60);
    pair_reserve(&p, n, 2080);
    struct attend_args a = { .n_rows = n,
                             .layer = 0,
                             .n_heads = 2,
                             .rows = on_gpu(&p, rows, sizeof rows),
                             .qkv = on_gpu(&p, qkv, (size_t)n * stride * 4),
                             .qkv_stride = (int)stride,
                             .kv = &p.kv_gpu,
                             .out = on_gpu(&p, NULL, n_bytes) };
    must(p.cuda->attend(p.gpu, &a));
    const float *got = from_gpu(&p, a.out, n_bytes);
    /* V is in [-1, 1), and weights sum to 1 but for their rounding to fp16, which the divisor does not see: at most 2^-11 of it, and the
     * folds' float32 roundings, some 2^-20. */
    for (size_t i = 0; i < n_bytes / 4; i++) assert_true(fabsf(got[i]) <= 1 + 0x1p-11f + 0x1p-18f);
    pair_close(&p);
}

/* Many rows' mass: the same bits as each row's alone, and the reference's values. */
static void mass_knows_no_batch(void **state)
{
    enum { ROWS = 9, HEADS = 6, DIM = 64, PREFIX = 1003, OWN = 300, STORES = 4 };
    WITH_PAIR(p);
    pair_cache(&p, 1, HEADS, 2, DIM, PREFIX, OWN + 9, OWN, STORES, 1, 1);
    struct mass_row rows[ROWS];
    static const int sizes[] = { 16, 8, 24, 128, 300 };
    const int last = PREFIX + OWN - 1, mass_blocks = last / 8 + 2;
    for (int r = 0; r < ROWS; r++)
        rows[r] = (struct mass_row){ .q_row = r < 6 ? r : 0,
                                     .store = r < 6 ? r % STORES : 0,
                                     .tail = NO_TAIL,
                                     .position = r == 5 ? 1010 : last,
                                     .block_size = sizes[r % 5],
                                     .stale_from = last - 50 * r,
                                     .out_row = ROWS - 1 - r };
    const size_t stride = (size_t)pair_stride(&p), row_bytes = (size_t)(HEADS * mass_blocks) * 8;
    const float *qkv = random_floats(&p, ROWS * stride, 3);
    pair_reserve(&p, ROWS, PREFIX + OWN + 9);
    struct block_mass_args a = { .n_rows = ROWS,
                                 .layer = 0,
                                 .n_heads = HEADS,
                                 .rows = on_gpu(&p, rows, sizeof rows),
                                 .qkv = on_gpu(&p, qkv, ROWS * stride * 4),
                                 .qkv_stride = (int)stride,
                                 .mass_blocks = mass_blocks,
                                 .kv = &p.kv_gpu,
                                 .mass = on_gpu(&p, NULL, ROWS * row_bytes),
                                 .stale = on_gpu(&p, NULL, ROWS * HEADS * 8) };
    must(p.cuda->block_mass(p.gpu, &a));
    const double *all = from_gpu(&p, a.mass, ROWS * row_bytes), *all_stale = from_gpu(&p, a.stale, ROWS * HEADS * 8);
    const struct mass_row *const dev = a.rows;
    double *probability = hold(&p, (size_t)(last + 1) * 8), *want = hold(&p, row_bytes), want_stale;
    a.mass = on_gpu(&p, NULL, ROWS * row_bytes), a.stale = on_gpu(&p, NULL, ROWS * HEADS * 8), a.n_rows = 1;
    for (int r = 0; r < ROWS; r++) {
        a.rows = dev + r;
        must(p.cuda->block_mass(p.gpu, &a));
        const struct reference_context ctx = { &p.kv, 0, rows[r].store, NO_TAIL, rows[r].position };
        for (int h = 0; h < HEADS; h++) {
            const double *got = all + (size_t)((rows[r].out_row * HEADS + h) * mass_blocks);
            const double relative =
                reference_block_mass(&ctx, qkv + (size_t)rows[r].q_row * stride + (size_t)(h * DIM), h / 3,
                                     rows[r].block_size, rows[r].stale_from, probability, want, &want_stale);
            const double tolerance =
                8 * relative + 1e-5; /* 4 gamma where the reference has 1, twice; exponentials of 2 ulp */
            for (int b = 0; b <= rows[r].position / rows[r].block_size; b++)
                assert_true(fabs(got[b] - want[b]) <= tolerance * want[b]);
            assert_true(fabs(all_stale[rows[r].out_row * HEADS + h] - want_stale) <= tolerance * want_stale);
        }
    }
    assert_memory_equal(from_gpu(&p, a.mass, ROWS * row_bytes), all, ROWS * row_bytes);
    assert_memory_equal(from_gpu(&p, a.stale, ROWS * HEADS * 8), all_stale, ROWS * HEADS * 8);
    pair_close(&p);
}

/* test_cuda_chunk [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_have_the_bits_of_their_rows),
        cmocka_unit_test(huge_scores_are_weighed),
        cmocka_unit_test(mass_knows_no_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
