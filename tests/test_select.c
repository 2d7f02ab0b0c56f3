/* Selection against the words of core/ops.h done naively from the cached keys, and against hand-made cases. */
#include "kv_fixture.h"

#include "kernels/reference.h"

enum { MAX_ROWS = 4, N_LAYERS = 2, LAYER = 1, N_STEPS = 70 };

/* One cache with key sets of one block size: set 0 the prefix's, set 1 store 0's, and rows of store 0. */
struct selection {
    struct fixture f;
    struct key_set sets[2];
    struct lane_params lanes[MAX_ROWS];
    struct row rows[MAX_ROWS];
    struct block_lists lists;
    float *qkv;
    double *mass;
    struct select_args args;
};

static struct key_set set_open(struct selection *s, int store, int block_size, int first_block, int end_block)
{
    struct key_set set = { store, block_size, first_block, (end_block - first_block + KEY_TILE - 1) / KEY_TILE, NULL };
    if (set.n_tiles < 1) set.n_tiles = 1;
    set.keys = device_array(&s->f, key_set_elems(&s->f.kv, &set) * sizeof(float));
    return set;
}

static void keys_build(struct selection *s, int set, int from, int to, int n_tokens)
{
    for (int l = 0; l < N_LAYERS; l++) {
        const struct keys_build_args a = { l, set, from, to, n_tokens, s->sets, &s->f.kv };
        if (cpu_keys_build(s->f.device, &a) != 0) fail_msg("%s", fail_text());
    }
}

/* coarse: keys and queries of few values, so that scores tie. */
static void selection_open(struct selection *s, int group, int n_kv, int dim, int prefix, int block_size, bool coarse)
{
    memset(s, 0, sizeof *s);
    struct fixture *f = &s->f;
    fixture_open(f, N_LAYERS, group * n_kv, n_kv, dim, prefix, N_STEPS, 2, 1);
    fixture_fill(f, N_STEPS, 2);
    const int first = prefix / block_size, end = (prefix + N_STEPS + block_size - 1) / block_size;
    s->qkv = device_array(f, MAX_ROWS * qkv_stride(f) * sizeof(float));
    fill(f, s->qkv, MAX_ROWS * qkv_stride(f), 1);
    if (coarse) {
        float *arrays[] = { f->kv.k_prefix, f->kv.k_own, s->qkv };
        const size_t n[] = { kv_prefix_elems(&f->kv), kv_own_elems(&f->kv), MAX_ROWS * qkv_stride(f) };
        for (int i = 0; i < 3; i++)
            for (size_t j = 0; j < n[i]; j++) arrays[i][j] = rintf(arrays[i][j] * 0.6f);
    }
    s->sets[0] = set_open(s, KV_PREFIX, block_size, 0, first);
    s->sets[1] = set_open(s, 0, block_size, first, end);
    s->mass = device_array(f, (size_t)(MAX_ROWS * group * n_kv * (end + 1)) * sizeof(double));
    for (int i = 0; i < MAX_ROWS * group * n_kv * (end + 1); i++)
        s->mass[i] = coarse ? rint((double)draw(f) * 2) + 2 : (double)draw(f) + 1;
    const size_t n = (size_t)(MAX_ROWS * n_kv);
    s->lists = (struct block_lists){ end, device_array(f, n * (size_t)end * sizeof(int32_t)),
                                     device_array(f, n * sizeof(int32_t)), device_array(f, n * sizeof(int32_t)) };
    s->args = (struct select_args){ 1, LAYER, group * n_kv, s->rows, s->lanes, s->sets, s->qkv, &f->kv, s->mass, end + 1,
                                    12345, &s->lists, NULL, 0, 0, NULL };
    fixture_device(f, f->device->isa, 2, MAX_ROWS);
    if (first > 0) keys_build(s, 0, 0, first - 1, prefix);
}

static void selection_close(struct selection *s)
{
    void *arrays[] = { s->qkv, s->mass, s->lists.blocks, s->lists.count, s->lists.tokens, s->sets[0].keys, s->sets[1].keys };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cpu_release(s->f.device, arrays[i]);
    fixture_close(&s->f);
}

static void select_row(struct selection *s, int position, int tail, struct lane_params lane)
{
    const struct kv_cache *kv = &s->f.kv;
    for (int h = 0; h < kv->n_kv_heads && tail == 0; h++) /* a tail holds its owner's earlier tokens */
        memcpy(kv_k_tail(kv, 0, h), kv_k_tile(kv, LAYER, 0, h, position / KV_TILE), kv_tile_elems(kv) * sizeof(float));
    s->rows[0] = (struct row){ 0, position, 0, 0, tail, ROW_SPARSE };
    s->lanes[0] = lane;
    s->lanes[0].key_set = 1;
    s->lanes[0].prefix_set = 0;
    if (cpu_select(s->f.device, &s->args) != 0) fail_msg("%s", fail_text());
}

static void check_row(const struct selection *s, const char *what)
{
    enum { MAX_BLOCKS = 1024 };
    static double score[MAX_BLOCKS];
    static int32_t want[MAX_BLOCKS];
    const int n_tokens = s->rows[0].position + 1, size = s->lanes[0].block_size;
    for (int h = 0; h < s->f.shape.n_kv_heads; h++) {
        const int n = reference_select(&s->args, 0, h, score, want);
        int tokens = 0;
        if (s->lists.count[h] != n) fail_msg("%s: position %d: %d blocks, not %d", what, n_tokens - 1, s->lists.count[h], n);
        for (int i = 0; i < n; i++) {
            const int got = s->lists.blocks[h * s->lists.max_blocks + i];
            if (got != want[i]) fail_msg("%s: position %d: place %d: block %d, not %d", what, n_tokens - 1, i, got, want[i]);
            for (int p = got * size; p < (got + 1) * size; p++) tokens += p < n_tokens;
        }
        assert_int_equal(s->lists.tokens[h], tokens);
    }
}

static struct lane_params draw_lane(struct fixture *f, int selector, int block_size)
{
    static const int shares[] = { 1000000, 0, 100000, 50000, 200000, 333333, 1, 999999 };
    static const int locals[] = { 1, 1, 0, 2, 3, 40 }, minima[] = { 0, 1, 2, 4, 16, 1000 };
    return (struct lane_params){ .selector = selector, .block_size = block_size, .local_blocks = locals[draw_int(f, 6)],
                                 .min_blocks = minima[draw_int(f, 6)], .active_millionths = shares[draw_int(f, 8)] };
}

/* Random caches, budgets, block sizes and positions; every selector; coarse values, so that many scores are equal. */
static void select_agrees_with_reference(void **state)
{
    (void)state;
    static const int block_sizes[] = { 1, 2, 5, 16, 16, 24, 64, 300 }, prefixes[] = { 3, 48, 100, 193, 320, 33, 200, 256 };
    for (int c = 0; c < 16; c++) {
        struct selection s;
        const int size = block_sizes[c % 8], prefix = prefixes[c % 8];
        selection_open(&s, 1 + c % 4, 1 + c % 3, 16 * (1 + c % 4), prefix, size, c % 2 == 0);
        for (int n = 0; n < 32; n++) {
            const int position = prefix + draw_int(&s.f, N_STEPS), tail = n % 5 == 0 ? 0 : NO_TAIL;
            /* The set covers the tokens before the row's own. */
            keys_build(&s, 1, s.sets[1].first_block, s.sets[1].first_block + s.sets[1].n_tiles * KEY_TILE - 1, position);
            select_row(&s, position, tail, draw_lane(&s.f, SELECT_MINMAX + n % 4, size));
            check_row(&s, "random case");
        }
        selection_close(&s);
    }
}

/* Commits token by token give the keys that a rebuild gives. */
static void commits_equal_a_rebuild(void **state)
{
    (void)state;
    static const int block_sizes[] = { 1, 7, 16, 40 };
    for (int c = 0; c < 4; c++) {
        struct selection s;
        const int prefix = 50, size = block_sizes[c];
        selection_open(&s, 2, 2, 16, prefix, size, false);
        const int first = s.sets[1].first_block, last = (prefix + 39) / size;
        keys_build(&s, 1, first, last, prefix);
        for (int p = prefix; p < prefix + 40; p++) {
            const struct kv_cache *kv = &s.f.kv;
            for (int h = 0; h < 2; h++)
                for (int i = 0; i < 16; i++)
                    s.qkv[(4 + h) * 16 + i] = kv_k_tile(kv, LAYER, 0, h, p / KV_TILE)[i * KV_TILE + p % KV_TILE];
            s.rows[0] = (struct row){ 0, p, 0, 0, NO_TAIL, ROW_SPARSE };
            s.rows[1] = (struct row){ 0, p, 0, 0, 0, ROW_SPARSE };       /* a probe: commits nothing */
            s.rows[2] = (struct row){ 0, p, 0, 1, NO_TAIL, ROW_SPARSE }; /* another store */
            const struct keys_commit_args a = { 3, LAYER, 4, 2, s.rows, s.sets, s.qkv, kv };
            assert_int_equal(cpu_keys_commit(s.f.device, &a), 0);
        }
        for (int h = 0; h < 2; h++)
            for (int b = first; b <= last; b++)
                for (int half = 0; half < 2; half++)
                    for (int i = 0; i < 16; i++) {
                        const size_t at = key_tile_at(&s.f.kv, &s.sets[1], LAYER, h, b) + (size_t)((half * 16 + i) * KEY_TILE) +
                                          (size_t)((b - first) % KEY_TILE);
                        float want = half ? -INFINITY : INFINITY;
                        const struct reference_context x = { &s.f.kv, LAYER, 0, NO_TAIL, prefix + 39 };
                        for (int p = b * size; p < (b + 1) * size && p < prefix + 40; p++) {
                            const float k = (float)reference_k(&x, h, p, i);
                            want = half ? fmaxf(want, k) : fminf(want, k);
                        }
                        assert_true(s.sets[1].keys[at] == want);
                    }
        keys_build(&s, 1, last, last, last * size); /* an empty block */
        const size_t at = key_tile_at(&s.f.kv, &s.sets[1], LAYER, 0, last) + (size_t)((last - first) % KEY_TILE);
        assert_true(s.sets[1].keys[at] == INFINITY && s.sets[1].keys[at + 16 * KEY_TILE] == -INFINITY);
        selection_close(&s);
    }
}

/* Without local blocks the best block is the current one, by the current token's key alone: in a block of its own, and in
 * one that earlier tokens opened. */
static void the_current_key_counts(void **state)
{
    (void)state;
    struct selection s;
    selection_open(&s, 2, 1, 16, 64, 16, false);
    for (int i = 0; i < 3 * 16; i++) s.qkv[i] = i < 32 ? 1 : 50;
    for (int position = 64; position < 100; position += 7) {
        keys_build(&s, 1, 4, 7, position);
        select_row(&s, position, NO_TAIL, (struct lane_params){ .selector = SELECT_MINMAX, .block_size = 16 });
        assert_int_equal(s.lists.count[0], 1);
        assert_int_equal(s.lists.blocks[0], position / 16);
        assert_int_equal(s.lists.tokens[0], position % 16 + 1);
    }
    selection_close(&s);
}

/* The same lists from each instruction set and number of threads, of a row alone and in a batch. */
static void select_has_one_result(void **state)
{
    (void)state;
    enum cpu_isa isas[3];
    const int n_isas = fixture_isas(isas), position = 320 + 40;
    struct selection s;
    selection_open(&s, 3, 3, 64, 320, 4, false);
    keys_build(&s, 1, s.sets[1].first_block, 92, position);
    for (int r = 0; r < MAX_ROWS; r++) {
        s.rows[r] = (struct row){ r, position, 0, 0, NO_TAIL, r == 3 ? 0 : ROW_SPARSE };
        s.lanes[r] = (struct lane_params){ SELECT_MINMAX, 4, 1, 2, 100000 * (r + 1), r == 2 ? 2 : 0, 1, 0, 0 };
    }
    s.args.n_rows = MAX_ROWS;
    const size_t n_bytes = (size_t)(MAX_ROWS * 3 * s.lists.max_blocks) * sizeof(int32_t);
    int32_t *want = device_array(&s.f, n_bytes);
    for (int i = 0; i < 3 * n_isas; i++) {
        fixture_device(&s.f, isas[i / 3], 1 + i % 3, MAX_ROWS);
        memset(s.lists.blocks, 0xff, n_bytes);
        assert_int_equal(cpu_select(s.f.device, &s.args), 0);
        if (i == 0) memcpy(want, s.lists.blocks, n_bytes);
        assert_memory_equal(want, s.lists.blocks, n_bytes);
        for (int h = 0; h < 3; h++) { /* below dense_layers, and a dense row */
            assert_int_equal(s.lists.count[2 * 3 + h], -1);
            assert_int_equal(s.lists.count[3 * 3 + h], -1);
            assert_int_equal(s.lists.tokens[3 * 3 + h], position + 1);
            assert_int_equal(s.lists.count[h], 10);
        }
    }
    cpu_release(s.f.device, want);
    selection_close(&s);
}

/* Over 4,000 draws of 5 from 20, each block comes 1,000 times +- 5 binomial standard deviations (27.4 each). */
static void random_is_uniform(void **state)
{
    (void)state;
    struct selection s;
    int n_of[21] = { 0 };
    selection_open(&s, 1, 1, 16, 20, 1, false);
    for (int n = 0; n < 4000; n++) {
        s.args.seed = (uint64_t)n << 30;
        select_row(&s, 20, NO_TAIL, (struct lane_params){ .selector = SELECT_RANDOM, .block_size = 1, .local_blocks = 1,
                                                          .min_blocks = 6 });
        assert_int_equal(s.lists.count[0], 6);
        for (int i = 0; i < 6; i++) n_of[s.lists.blocks[i]]++;
    }
    for (int b = 0; b < 20; b++) assert_in_range(n_of[b], 1000 - 137, 1000 + 137);
    assert_int_equal(n_of[20], 4000);
    selection_close(&s);
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct selection s;
    selection_open(&s, 1, 1, 16, 64, 16, false);
    select_row(&s, 64, NO_TAIL, (struct lane_params){ .selector = SELECT_MINMAX, .block_size = 16, .local_blocks = 1 });
    s.lanes[0].block_size = 8;
    assert_int_equal(cpu_select(s.f.device, &s.args), -1);
    assert_non_null(strstr(fail_text(), "key set 1"));
    s.lanes[0].block_size = 16;
    s.lanes[0].key_set = -1;
    assert_int_equal(cpu_select(s.f.device, &s.args), -1);
    s.lanes[0].key_set = 1;
    s.lanes[0].min_blocks = 100;
    s.lists.max_blocks = 4;
    assert_int_equal(cpu_select(s.f.device, &s.args), -1);
    assert_non_null(strstr(fail_text(), "5 blocks in a list for 4"));
    s.lanes[0].selector = SELECT_ORACLE;
    s.lists.max_blocks = 100;
    s.args.mass = NULL;
    assert_int_equal(cpu_select(s.f.device, &s.args), -1);
    selection_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(select_agrees_with_reference),  cmocka_unit_test(commits_equal_a_rebuild),
        cmocka_unit_test(select_has_one_result),         cmocka_unit_test(random_is_uniform),
        cmocka_unit_test(the_current_key_counts),        cmocka_unit_test(refuses_what_does_not_fit),
    };
    return cmocka_run_group_tests_name("select", tests, NULL, NULL);
}
