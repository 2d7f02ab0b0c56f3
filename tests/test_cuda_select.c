/* tests/test_cuda_select.c: block keys and selection of the CUDA back end against the CPU's: the same bits. */
#include "tests/cuda_pair.h"

static struct key_set *add_keys(struct pair *p, struct key_set *sets, struct key_set *gpu_sets, int n, int store, int block_size)
{
    const int whole = p->kv.prefix_tokens / block_size, all = (p->kv.first_own_tile + p->kv.own_tiles) * KV_TILE / block_size + 1;
    struct key_set *s = &sets[n];
    *s = (struct key_set){ .store = store, .block_size = block_size, .first_block = store == KV_PREFIX ? 0 : whole };
    s->n_tiles = ((store == KV_PREFIX ? whole : all - whole) + KEY_TILE - 1) / KEY_TILE;
    const size_t bytes = key_set_elems(&p->kv, s) * sizeof(float);
    s->keys = hold(p, bytes);
    gpu_sets[n] = *s;
    gpu_sets[n].keys = on_gpu(p, NULL, bytes / 2);
    return s;
}

/* Keys built from the cache on both, the same bits. */
static void build_keys(struct pair *p, struct key_set *sets, struct key_set *gpu_sets, int n_sets, int n_tokens)
{
    for (int item = 0; item < n_sets * p->kv.n_layers; item++) {
        const int i = item / p->kv.n_layers, layer = item % p->kv.n_layers;
        const int whole = p->kv.prefix_tokens / sets[i].block_size, last = (n_tokens - 1) / sets[i].block_size;
        const bool shared = sets[i].store == KV_PREFIX;
        struct keys_build_args a = { .layer = layer, .set = i, .from_block = sets[i].first_block, .to_block = shared ? whole - 1 : last,
                                     .n_tokens = shared ? p->kv.prefix_tokens : n_tokens, .sets = sets, .kv = &p->kv };
        if (a.to_block < a.from_block) continue;
        must(p->cpu->keys_build(p->host, &a));
        a.sets = gpu_sets, a.kv = &p->kv_gpu;
        must(p->cuda->keys_build(p->gpu, &a));
    }
}

/* An empty block is NaN there, +inf and -inf here. */
static bool same_key(uint16_t got, float want, bool high)
{
    return f16_to_f32(got) == want || (isnan(f16_to_f32(got)) && (isnan(want) || want == (high ? -INFINITY : INFINITY)));
}

/* There: fp16, in tiles of 64 blocks (the set's last one may be narrower), [head_dim][2: min, max][blocks]. */
static void assert_same_keys(struct pair *p, const struct key_set *sets, const struct key_set *gpu_sets, int n_sets)
{
    enum { WIDE = 64 };
    const int dim = p->kv.head_dim;
    for (int i = 0; i < n_sets; i++) {
        const struct key_set *s = &sets[i];
        const int n_blocks = s->n_tiles * KEY_TILE;
        const uint16_t *got = from_gpu(p, gpu_sets[i].keys, key_set_elems(&p->kv, s) * 2);
        for (int h = 0; h < p->kv.n_layers * p->kv.n_kv_heads; h++)
            for (int b = 0; b < n_blocks; b++)
                for (int e = 0; e < 2 * dim; e++) {
                    const int first = b / WIDE * WIDE, width = n_blocks - first < WIDE ? n_blocks - first : WIDE;
                    const uint16_t *tile = got + (size_t)(h * n_blocks + first) * (size_t)(2 * dim);
                    const float *want = s->keys + (size_t)(h * s->n_tiles + b / KEY_TILE) * key_tile_elems(&p->kv);
                    const float x = want[e * KEY_TILE + b % KEY_TILE];
                    assert_true(same_key(tile[(e % dim * 2 + e / dim) * width + b % WIDE], x, e >= dim));
                }
    }
}

enum { SELECT_LANES = 9, MANY_SETS = 17 };

/* Equal keys and queries give equal scores, so the lists are the same, ties included, and so are the tallies.  gpu: the arguments there. */
static void assert_same_choice(struct pair *p, const struct choose_args *cpu, const struct choose_args *gpu)
{
    const struct block_lists *want = cpu->select.lists, *got = gpu->select.lists;
    const size_t n_lists = (size_t)cpu->select.n_rows * (size_t)p->kv.n_kv_heads, max_blocks = (size_t)want->max_blocks;
    must(p->cpu->choose(p->host, cpu));
    must(p->cuda->choose(p->gpu, gpu));
    assert_memory_equal(from_gpu(p, gpu->total, n_lists * 8), cpu->total, n_lists * 8);
    assert_memory_equal(from_gpu(p, got->count, n_lists * 4), want->count, n_lists * 4);
    assert_memory_equal(from_gpu(p, got->tokens, n_lists * 4), want->tokens, n_lists * 4);
    const int32_t *blocks = from_gpu(p, got->blocks, n_lists * max_blocks * 4);
    for (size_t l = 0; l < n_lists; l++)
        if (want->count[l] > 0) assert_memory_equal(blocks + l * max_blocks, want->blocks + l * max_blocks, (size_t)want->count[l] * 4);
}

/* Of few values, so that many are equal, and some that are no mass at all. */
static double odd_mass(struct pair *p, int i)
{
    static const double odd[] = { NAN, -0.0, 0.0, INFINITY, -INFINITY };
    return i % 61 < 5 ? odd[i % 61] : i % 3 ? fabs((double)draw(p)) * 0.01 : (double)draw_int(p, 20) / 2048;
}

static void check_select(struct pair *p, int n_heads, int n_kv, int dim, int prefix, int block_a, int block_b, float q_size, float k_size)
{
    enum { STEPS = 24, OWN = 13 };
    pair_cache(p, 2, n_heads, n_kv, dim, prefix, STEPS, OWN, 2, 1, k_size);
    struct key_set sets[MANY_SETS], gpu_sets[MANY_SETS];
    for (int i = 6; i < MANY_SETS; i++) sets[i] = gpu_sets[i] = (struct key_set){ .store = 1, .block_size = 1, .first_block = prefix + STEPS }; /* empty */
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
        { .selector = SELECT_RANDOM, .block_size = block_a, .local_blocks = 0, .min_blocks = 1, .active_millionths = 1, .key_set = -1, .prefix_set = -1 },
        { .selector = SELECT_MINMAX, .block_size = block_a, .local_blocks = 1, .min_blocks = 1, .active_millionths = 1000000, .dense_layers = 2, .key_set = 1, .prefix_set = 0 },
    };
    struct row rows[SELECT_LANES];
    for (int i = 0; i < SELECT_LANES; i++)
        rows[i] = (struct row){ .lane = i, .position = position, .store = i == 2 ? 1 : 0, .tail = i == 3 ? 0 : NO_TAIL, .flags = i > 0 ? ROW_SPARSE : 0 };
    const size_t stride = (size_t)pair_stride(p), lists_n = (size_t)SELECT_LANES * (size_t)n_kv;
    float *qkv = random_floats(p, SELECT_LANES * stride, q_size);
    double *mass = hold(p, (size_t)SELECT_LANES * (size_t)n_heads * (size_t)mass_blocks * sizeof *mass);
    for (int i = 0; i < SELECT_LANES * n_heads * mass_blocks; i++) mass[i] = odd_mass(p, i);
    struct block_lists want = { max_blocks, hold(p, lists_n * (size_t)max_blocks * 4), hold(p, lists_n * 4), hold(p, lists_n * 4) };
    struct block_lists got = { max_blocks, on_gpu(p, NULL, lists_n * (size_t)max_blocks * 4), on_gpu(p, NULL, lists_n * 4), on_gpu(p, NULL, lists_n * 4) };
    pair_reserve(p, SELECT_LANES, prefix + STEPS);
    struct choose_args want_all = { .total = hold(p, lists_n * 8) }, got_all = { .total = on_gpu(p, NULL, lists_n * 8) };
    struct select_args a = { .n_rows = SELECT_LANES, .layer = 0, .n_heads = n_heads, .rows = rows, .lanes = lanes, .sets = sets, .qkv = qkv,
                             .kv = &p->kv, .mass = mass, .mass_blocks = mass_blocks, .seed = 9, .lists = &want,
                             .scores = hold(p, lists_n * (size_t)max_blocks * 4), .max_score_blocks = max_blocks, .n_sets = 6 };
    struct select_args on = a;
    on.rows = on_gpu(p, rows, sizeof rows), on.lanes = on_gpu(p, lanes, sizeof lanes), on.sets = gpu_sets, on.kv = &p->kv_gpu, on.lists = &got;
    on.qkv = on_gpu(p, qkv, SELECT_LANES * stride * 4), on.scores = on_gpu(p, NULL, lists_n * (size_t)max_blocks * 4);
    on.mass = on_gpu(p, mass, (size_t)SELECT_LANES * (size_t)n_heads * (size_t)mass_blocks * sizeof *mass);
    want_all.select = a, got_all.select = on;
    assert_same_choice(p, &want_all, &got_all);
    assert_same_keys(p, sets, gpu_sets, 6);
    /* In the next layer: the list that the window has chosen is read back, no row needs mass, and there are many sets of keys. */
    int32_t *given = hold(p, lists_n * (size_t)max_blocks * 4);
    memcpy(given, want.blocks, lists_n * (size_t)max_blocks * 4);
    lanes[5].selector = SELECT_REPLAY, lanes[6].selector = SELECT_WINDOW;
    a.layer = 1, a.replay = given, a.mass = NULL, a.n_sets = MANY_SETS;
    on.layer = 1, on.replay = on_gpu(p, given, lists_n * (size_t)max_blocks * 4), on.mass = NULL, on.n_sets = MANY_SETS, on.lanes = on_gpu(p, lanes, sizeof lanes);
    want_all.select = a, got_all.select = on;
    assert_same_choice(p, &want_all, &got_all);
    assert_same_keys(p, sets, gpu_sets, 6);
}

#define TINY_SIZE 0x1p-22f /* fp16 holds four numbers up to it */

static void selections_are_the_same(void **state)
{
    WITH_PAIR(p);
    static const struct {
        int heads, kv, dim, prefix, a, b;
        float q, k;
    } cases[] = { { 4, 2, 16, 100, 4, 8, 1, 1 }, { 7, 1, 128, 555, 16, 8, 1, 1 }, { 16, 1, 64, 2000, 16, 64, 1, 1 }, { 2, 2, 96, 40, 1, 128, 1, 1 },
                  { 4, 2, 32, 300, 8, 24, 0, 1 } /* all scores equal: only ties */, { 3, 3, 256, 3000, 2, 16, 1, 1 },
                  { 2, 1, 16, 40000, 1, 2, 1, 1 } /* more keys than a cluster's registers hold */, { 2, 1, 16, 9000, 1, 1, 0.0001f, 1 },
                  /* About where a block of threads, or a cluster, has no room for more, and scores of few values: multiples of 2^-48 */
                  { 1, 1, 16, 2034, 1, 1, 1, TINY_SIZE }, { 1, 1, 16, 2035, 1, 2, TINY_SIZE, TINY_SIZE }, { 1, 1, 16, 4081, 1, 1, TINY_SIZE, TINY_SIZE },
                  { 2, 2, 16, 4090, 1, 1, 1, 1 }, { 1, 1, 16, 16371, 1, 1, TINY_SIZE, TINY_SIZE }, { 2, 1, 16, 16384, 1, 1, 1, 1 },
                  { 1, 1, 16, 17001, 1, 1, 0, 1 }, { 1, 1, 16, 32757, 1, 2, TINY_SIZE, TINY_SIZE }, { 1, 1, 16, 140003, 1, 8, 1, 1 },
                  { 1, 1, 16, 140003, 1, 8, TINY_SIZE, TINY_SIZE }, { 1, 1, 16, 9001, 2, 4, 1e6f, 1 } /* infinite q */ };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_select(&p, cases[i].heads, cases[i].kv, cases[i].dim, cases[i].prefix, cases[i].a, cases[i].b, cases[i].q, cases[i].k);
        pair_clear(&p);
    }
    pair_close(&p);
}

static void selections_of_a_million_tokens(void **state)
{
    WITH_PAIR(p);
    check_select(&p, 1, 1, 16, 1000000, 16, 64, 1, 1);
    pair_close(&p);
}

/* test_cuda_select [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selections_are_the_same),
        cmocka_unit_test(selections_of_a_million_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
