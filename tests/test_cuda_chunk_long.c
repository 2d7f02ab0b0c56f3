/* tests/test_cuda_chunk_long.c: attention of many rows over some hundred thousand tokens, on the device: whichever way the work is dealt out
 * (kernels/cuda_chunk.cuh), a row has the bits that it has alone. */
#include "tests/cuda_pair.h"

enum { PREFIX = 98405, STEPS = 200, DIM = 128, STORES = 8, MOST_ROWS = 1152 }; /* four segments; the prefix ends inside a tile */
static int prefix;

/* What the token at a position holds, seen from a store: a row of `kinds`, K and then V; in a store, the prefix's tokens are the prefix's. */
static const uint16_t *token_of(const uint16_t *kinds, int store, int at)
{
    const uint32_t number = (uint32_t)(at < prefix ? at : at + (store + 1) * 2 * STEPS);
    return kinds + (size_t)(number * 2654435761u >> 20) * DIM * 2;
}

/* Tokens from .. to-1 of a store, -1: of the prefix, into tiles of fp16, K as [KV_TILE][DIM] as well. */
static void fill_tokens(const struct kv_cache *c, const uint16_t *kinds, int store, int from, int to, uint16_t *k,
                        uint16_t *v)
{
    for (int at = from; at < to; at++) {
        const size_t tile = store < 0 ? kv_prefix_at(c, 0, 0, at / KV_TILE) : kv_own_at(c, 0, store, 0, at / KV_TILE);
        const uint16_t *token = token_of(kinds, store, at);
        memcpy(k + tile + (size_t)(at % KV_TILE * DIM), token, DIM * 2);
        memcpy(v + tile + (size_t)(at % KV_TILE * DIM), token + DIM, DIM * 2);
    }
}

/* One layer, one KV head, on the device alone, from a table of random tokens; what was never written is NaN. */
static void make_cache(struct pair *p)
{
    enum { KINDS = 4096 };
    struct kv_cache *c = &p->kv_gpu;
    *c = (struct kv_cache){ .n_layers = 1,
                            .n_kv_heads = 1,
                            .head_dim = DIM,
                            .prefix_tokens = prefix,
                            .prefix_tiles = (prefix + KV_TILE - 1) / KV_TILE,
                            .first_own_tile = prefix / KV_TILE,
                            .n_stores = STORES,
                            .own_tiles = STEPS / KV_TILE + 2,
                            .n_tails = 1 };
    const float *table = random_floats(p, (size_t)KINDS * DIM * 2, 1);
    const size_t n = kv_prefix_elems(c), n_own = kv_own_elems(c);
    uint16_t *kinds = hold(p, (size_t)KINDS * DIM * 4), *k = hold(p, n * 2), *v = hold(p, n * 2),
             *k_own = hold(p, n_own * 2), *v_own = hold(p, n_own * 2);
    for (size_t i = 0; i < (size_t)KINDS * DIM * 2; i++) kinds[i] = f32_to_f16(table[i]);
    fill_tokens(c, kinds, -1, 0, prefix, k, v);
    for (int s = 0; s < STORES; s++)
        fill_tokens(c, kinds, s, c->first_own_tile * KV_TILE, prefix + STEPS, k_own, v_own);
    c->k_prefix = on_gpu(p, k, n * 2), c->v_prefix = on_gpu(p, v, n * 2);
    c->k_own = on_gpu(p, k_own, n_own * 2), c->v_own = on_gpu(p, v_own, n_own * 2);
    c->k_tail = on_gpu(p, NULL, kv_tail_elems(c) * 2), c->v_tail = on_gpu(p, NULL, kv_tail_elems(c) * 2);
}

struct long_case {
    const char *what;
    int n_heads, window, n_windows; /* rows of each window; one of a store each, then one of the prefix */
    int heads_reserved, context_reserved;
};

static void reserve(struct pair *p, int n_heads, int context)
{
    p->shape = (struct model_shape){
        .n_layers = 1, .n_heads = n_heads, .n_kv_heads = 1, .head_dim = DIM, .hidden = DIM, .ffn = DIM
    };
    must(p->cuda->reserve(p->gpu, &p->shape, &(struct work_extent){ .max_rows = MOST_ROWS, .max_context = context }));
}

static void check_case(struct pair *p, const struct long_case *c)
{
    static struct attend_row rows[MOST_ROWS];
    const int n = c->window * c->n_windows, before = p->n_taken;
    reserve(p, c->heads_reserved, c->context_reserved);
    for (int r = 0; r < n; r++) {
        const int w = r / c->window, first = w < STORES ? prefix + w : prefix - c->window;
        rows[r] = (struct attend_row){ .q_row = r,
                                       .store = w < STORES ? w : KV_PREFIX,
                                       .tail = NO_TAIL,
                                       .position = first + r % c->window,
                                       .list_row = -1,
                                       .block_size = 16,
                                       .out_row = r };
    }
    const size_t stride = (size_t)(c->n_heads + 2) * DIM, n_bytes = (size_t)(n * c->n_heads * DIM) * 4;
    struct attend_args a = { .n_rows = n,
                             .n_heads = c->n_heads,
                             .rows = on_gpu(p, rows, (size_t)n * sizeof *rows),
                             .qkv = on_gpu(p, random_floats(p, (size_t)n * stride, 3), (size_t)n * stride * 4),
                             .qkv_stride = (int)stride,
                             .kv = &p->kv_gpu,
                             .out = on_gpu(p, NULL, n_bytes) };
    must(p->cuda->attend(p->gpu, &a));
    const float *many = from_gpu(p, a.out, n_bytes);
    reserve(p, c->n_heads, prefix + STEPS);
    a.out = on_gpu(p, NULL, n_bytes);
    attend_few(p, a);
    const float *alone = from_gpu(p, a.out, n_bytes);
    for (int r = 0; r < n; r++) {
        const size_t at = (size_t)(r * c->n_heads * DIM);
        for (size_t i = at; i < at + (size_t)(c->n_heads * DIM); i++)
            if (!(fabsf(alone[i]) <= 1.01f))
                fail_msg("%s: row %d, element %zu is %g: no mean of V", c->what, r, i - at, (double)alone[i]);
        if (memcmp(alone + at, many + at, (size_t)(c->n_heads * DIM) * 4) != 0)
            fail_msg("%s: row %d is not what it is alone", c->what, r);
    }
    print_message("%s: %d rows of %d heads: the same bits as alone\n", c->what, n, c->n_heads);
    while (p->n_taken > before) p->cuda->release(p->gpu, p->taken[--p->n_taken]);
}

/* What each does holds for a device of 132 multiprocessors, 66 pairs of blocks of threads, and for the workspace that its reservation gives; that only
 * grows, so the order counts.  The results of all hold anywhere. */
static void windows_have_the_bits_of_their_rows(void **state)
{
    WITH_PAIR(p);
    static const struct long_case cases[] = {
        /* 72 items of 4 segments; 32 MiB of workspace have room for 252 nodes */
        { "items whole, as there is no room for nodes", 16, 128, 9, 1, 64 },
        /* 40 items of 4 segments, 3880 groups for 3088 nodes, to pairs of 3: segments from an item's first on become one node, others one each */
        { "parts of items to a pair, cut by segments", 9, 128, 8, 16, PREFIX + STEPS },
        /* 64 items of 4 segments to pairs of 4: into the result one after the other */
        { "an item to a pair, cut by segments", 16, 128, 8, 16, PREFIX + STEPS },
        /* 48 items of 97 groups to pairs of 71: some have two segments of an item from its first on, and groups after them */
        { "parts of items to a pair, cut by groups", 16, 90, 8, 16, 2 * PREFIX },
    };
    prefix = PREFIX;
    make_cache(&p);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_case(&p, &cases[i]);
    pair_close(&p);
}

/* A warp merges a segment: of more than four a block has one row, of more than eight its warps have several each. */
static void merges_have_the_bits_of_their_rows(void **state)
{
    WITH_PAIR(p);
    static const int prefixes[] = { 199000, 300003, 1048500 }; /* 7, 10 and 43 segments */
    static const struct long_case windows = { "one window", 7, 32, 1, 16, 1048700 };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        prefix = prefixes[i];
        make_cache(&p);
        check_case(&p, &windows);
        pair_clear(&p);
    }
    pair_close(&p);
}

/* test_cuda_chunk_long [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(windows_have_the_bits_of_their_rows),
                                        cmocka_unit_test(merges_have_the_bits_of_their_rows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
