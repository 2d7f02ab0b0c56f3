/* tests/test_cuda_long.c: a million tokens on the CUDA back end. */
#include "kernels/reference.h"
#include "tests/cuda_pair.h"

enum { TOKENS = 1000000, DIM = 64, BLOCK = 16, HEADS = 4, ROWS = 2, LONG_STEPS = 16 };

/* One layer, one KV head, all tokens of the prefix, straight in fp16: K and V from a table of random tokens, drawn by the token's number, so
 * that the host need not draw 128 million numbers.  In float32 too, for the reference. */
static void long_cache(struct pair *p)
{
    p->shape = (struct model_shape){ .n_layers = 1, .n_heads = HEADS, .n_kv_heads = 1, .head_dim = DIM, .hidden = HEADS * DIM, .ffn = 4 * DIM, .vocab = 5000 };
    p->kv = (struct kv_cache){ .n_layers = 1, .n_kv_heads = 1, .head_dim = DIM, .prefix_tokens = TOKENS, .prefix_tiles = (TOKENS + KV_TILE - 1) / KV_TILE,
                               .first_own_tile = TOKENS / KV_TILE, .n_stores = 1, .own_tiles = 1, .n_tails = 1 };
    enum { KINDS = 4096 };
    const float *table = random_floats(p, (size_t)KINDS * DIM * 2, 1);
    const size_t n = kv_prefix_elems(&p->kv), n_own = kv_own_elems(&p->kv), n_tail = kv_tail_elems(&p->kv);
    float *k = hold(p, n * sizeof *k), *v = hold(p, n * sizeof *v);
    uint16_t *hk = hold(p, n * sizeof *hk), *hv = hold(p, n * sizeof *hv), *kinds = hold(p, (size_t)KINDS * DIM * 4);
    for (size_t i = 0; i < (size_t)KINDS * DIM * 2; i++) kinds[i] = f32_to_f16(table[i]);
    for (int at = 0; at < TOKENS; at++) {
        const size_t kind = (size_t)((uint32_t)at * 2654435761u >> 20), tile = kv_prefix_at(&p->kv, 0, 0, at / KV_TILE), slot = (size_t)(at % KV_TILE);
        for (size_t i = 0; i < DIM; i++) {
            k[tile + i * KV_TILE + slot] = table[kind * DIM * 2 + i];
            v[tile + slot * DIM + i] = table[kind * DIM * 2 + DIM + i];
            hk[tile + slot * DIM + i] = kinds[kind * DIM * 2 + i];
            hv[tile + slot * DIM + i] = kinds[kind * DIM * 2 + DIM + i];
        }
    }
    p->kv.k_prefix = k, p->kv.v_prefix = v;
    p->kv_gpu = p->kv;
    p->kv_gpu.k_prefix = on_gpu(p, hk, n * 2), p->kv_gpu.v_prefix = on_gpu(p, hv, n * 2);
    p->kv_gpu.k_own = on_gpu(p, NULL, n_own * 2), p->kv_gpu.v_own = on_gpu(p, NULL, n_own * 2);
    p->kv_gpu.k_tail = on_gpu(p, NULL, n_tail * 2), p->kv_gpu.v_tail = on_gpu(p, NULL, n_tail * 2);
}

/* Every tenth block and the last. */
static int every_tenth(int32_t *list, int n_blocks)
{
    int n = 0;
    for (int b = 0; b < n_blocks; b++)
        if (b % 10 == 3 || b == n_blocks - 1) list[n++] = b;
    return n;
}

/* Row 0 reads everything, row 1 the blocks of a list: out [ROWS][HEADS DIM]. */
static const float *attend_long(struct pair *p, const float *qkv, const struct block_lists *lists, const struct attend_row *rows)
{
    const struct block_lists gpu = { lists->max_blocks, on_gpu(p, lists->blocks, (size_t)(ROWS * lists->max_blocks) * 4), on_gpu(p, lists->count, ROWS * 4),
                                     on_gpu(p, lists->tokens, ROWS * 4) };
    float *out = on_gpu(p, NULL, ROWS * HEADS * DIM * 4);
    const struct attend_args a = { .n_rows = ROWS, .n_heads = HEADS, .rows = on_gpu(p, rows, ROWS * sizeof *rows), .lists = &gpu,
                                   .qkv = on_gpu(p, qkv, (size_t)(ROWS * pair_stride(p)) * 4), .qkv_stride = pair_stride(p), .kv = &p->kv_gpu, .out = out };
    must(p->cuda->attend(p->gpu, &a));
    return from_gpu(p, out, ROWS * HEADS * DIM * 4);
}

/* V's mean under weights that are rounded to fp16 (2^-11 each, in numerator and sum alike) of scores from fp16 queries that are exact here: |V| < 1,
 * so 2 * 2^-11 and as much again for scores and exponentials in float32. */
static void attention_over_a_million_tokens(void **state)
{
    WITH_PAIR(p);
    long_cache(&p);
    const int n_blocks = (TOKENS + BLOCK - 1) / BLOCK;
    struct block_lists lists = { n_blocks, hold(&p, (size_t)(ROWS * n_blocks) * 4), hold(&p, ROWS * 4), hold(&p, ROWS * 4) };
    lists.count[0] = -1, lists.tokens[0] = TOKENS;
    lists.count[1] = every_tenth(lists.blocks + n_blocks, n_blocks);
    lists.tokens[1] = lists.count[1] * BLOCK - (n_blocks * BLOCK - TOKENS);
    struct attend_row rows[ROWS];
    for (int r = 0; r < ROWS; r++)
        rows[r] = (struct attend_row){ .q_row = r, .store = KV_PREFIX, .tail = NO_TAIL, .position = TOKENS - 1, .list_row = r, .block_size = BLOCK, .out_row = r };
    const float *qkv = random_floats(&p, (size_t)(ROWS * pair_stride(&p)), 2);
    pair_reserve(&p, ROWS, TOKENS + LONG_STEPS);
    const float *out = attend_long(&p, qkv, &lists, rows);
    bool *read = hold(&p, TOKENS);
    double *probability = hold(&p, (size_t)TOKENS * 8), want[DIM], bound[DIM];
    for (int r = 0; r < ROWS; r++) {
        for (int at = 0; at < TOKENS; at++) read[at] = r == 0 || at / BLOCK % 10 == 3 || at / BLOCK == n_blocks - 1;
        for (int h = 0; h < HEADS; h += HEADS - 1) {
            const struct reference_context c = { &p.kv, 0, KV_PREFIX, NO_TAIL, TOKENS - 1 };
            reference_attend(&c, qkv + (size_t)(r * pair_stride(&p) + h * DIM), 0, read, probability, want, bound);
            for (int i = 0; i < DIM; i++) {
                const double err = fabs((double)out[(r * HEADS + h) * DIM + i] - want[i]);
                if (!(err <= 4 * 0x1p-11)) fail_msg("row %d, head %d, element %d: off by %g", r, h, i, err);
            }
        }
    }
    for (int b = 0; b < n_blocks; b++) lists.blocks[n_blocks + b] = b;
    lists.count[1] = n_blocks, lists.tokens[1] = TOKENS, rows[1].q_row = 0;
    const float *same = attend_long(&p, qkv, &lists, rows); /* a list of all blocks is as good as none, to the bit */
    assert_memory_equal(same, out, HEADS * DIM * 4);
    assert_memory_equal(same + HEADS * DIM, out, HEADS * DIM * 4);
    pair_close(&p);
}

static void mass_of_a_million_tokens(void **state)
{
    WITH_PAIR(p);
    long_cache(&p);
    const int n_blocks = (TOKENS + BLOCK - 1) / BLOCK;
    const size_t n_mass = (size_t)(ROWS * HEADS) * (size_t)n_blocks;
    const struct mass_row rows[ROWS] = { { 0, KV_PREFIX, NO_TAIL, TOKENS - 1, BLOCK, TOKENS - 500, 0 }, { 1, KV_PREFIX, NO_TAIL, TOKENS - 1, BLOCK, TOKENS - 1, 1 } };
    const float *qkv = random_floats(&p, (size_t)(ROWS * pair_stride(&p)), 2);
    pair_reserve(&p, ROWS, TOKENS + LONG_STEPS);
    double *mass = on_gpu(&p, NULL, n_mass * 8), *stale = on_gpu(&p, NULL, ROWS * HEADS * 8);
    const struct block_mass_args a = { .n_rows = ROWS, .n_heads = HEADS, .rows = on_gpu(&p, rows, sizeof rows), .qkv = on_gpu(&p, qkv, (size_t)(ROWS * pair_stride(&p)) * 4),
                                       .qkv_stride = pair_stride(&p), .mass_blocks = n_blocks, .kv = &p.kv_gpu, .mass = mass, .stale = stale };
    must(p.cuda->block_mass(p.gpu, &a));
    const double *got = from_gpu(&p, mass, n_mass * 8), *got_stale = from_gpu(&p, stale, ROWS * HEADS * 8);
    double *probability = hold(&p, (size_t)TOKENS * 8), *want = hold(&p, (size_t)n_blocks * 8), want_stale;
    for (int r = 0; r < ROWS; r++) {
        const struct reference_context c = { &p.kv, 0, KV_PREFIX, NO_TAIL, TOKENS - 1 };
        const double tolerance = 8 * reference_block_mass(&c, qkv + (size_t)(r * pair_stride(&p)), 0, BLOCK, rows[r].stale_from, probability, want, &want_stale) + 1e-5;
        double sum = 0; /* the bound is test_cuda_attend's */
        for (int b = 0; b < n_blocks; b++) {
            const double x = got[(size_t)(r * HEADS) * (size_t)n_blocks + (size_t)b];
            sum += x;
            if (!(fabs(x - want[b]) <= tolerance * want[b])) fail_msg("row %d, block %d: %g, not %g", r, b, x, want[b]);
        }
        assert_true(fabs(got_stale[r * HEADS] - want_stale) <= tolerance * want_stale);
        assert_true(fabs(sum - 1) <= 1e-11); /* 62,500 roundings of 2^-53 */
    }
    pair_close(&p);
}

int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(attention_over_a_million_tokens), cmocka_unit_test(mass_of_a_million_tokens) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
