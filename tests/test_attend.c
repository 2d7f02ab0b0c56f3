/* Attention against the double reference; the same bits on every instruction set, number of threads and batch. */
#include "kv_fixture.h"

#include "kernels/reference.h"

enum { MAX_ROWS = 48, MAX_BLOCKS = 512 };

/* Rows over one cache, with or without lists. */
struct rows {
    struct attend_row rows[MAX_ROWS];
    int n;
    float *qkv, *out;
    struct block_lists lists;
};

static void rows_open(struct fixture *f, struct rows *r, float q_size)
{
    memset(r, 0, sizeof *r);
    r->qkv = device_array(f, MAX_ROWS * qkv_stride(f) * sizeof(float));
    fill(f, r->qkv, MAX_ROWS * qkv_stride(f), q_size);
    r->out = device_array(f, (size_t)(MAX_ROWS * f->shape.n_heads * f->shape.head_dim) * sizeof(float));
    const size_t n = (size_t)(MAX_ROWS * f->shape.n_kv_heads);
    r->lists = (struct block_lists){ MAX_BLOCKS, device_array(f, n * MAX_BLOCKS * sizeof(int32_t)),
                                     device_array(f, n * sizeof(int32_t)), device_array(f, n * sizeof(int32_t)) };
}

static void rows_close(struct fixture *f, struct rows *r)
{
    void *arrays[] = { r->qkv, r->out, r->lists.blocks, r->lists.count, r->lists.tokens };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cpu_release(f->device, arrays[i]);
}

static void add_row(struct rows *r, int store, int tail, int position, int block_size)
{
    r->rows[r->n] = (struct attend_row){ r->n, store, tail, position, block_size ? r->n : -1, block_size, r->n };
    r->n++;
}

/* Each block of the row with probability `share`; always its last one. */
static void draw_lists(struct fixture *f, struct rows *r, float share)
{
    for (int i = 0; i < r->n; i++)
        for (int h = 0; h < f->shape.n_kv_heads; h++) {
            const int list = i * f->shape.n_kv_heads + h;
            r->lists.count[list] = -1;
            if (r->rows[i].list_row < 0) continue;
            const int last = r->rows[i].position / r->rows[i].block_size;
            int n = 0;
            for (int b = 0; b <= last; b++)
                if (b == last || draw(f) * 0.5f + 0.5f < share) r->lists.blocks[list * MAX_BLOCKS + n++] = b;
            r->lists.count[list] = n;
        }
}

static struct attend_args args_of(const struct fixture *f, const struct rows *r, int layer)
{
    return (struct attend_args){ r->n,   layer, f->shape.n_heads, r->rows, r->qkv, (int)qkv_stride(f),
                                 &f->kv, &r->lists, r->out, NULL };
}

static void attend(struct fixture *f, const struct rows *r, int layer)
{
    const struct attend_args a = args_of(f, r, layer);
    memset(r->out, 0xff, (size_t)(MAX_ROWS * f->shape.n_heads * f->shape.head_dim) * sizeof(float));
    if (cpu_attend(f->device, &a) != 0) fail_msg("%s", fail_text());
}

static void read_of(const struct fixture *f, const struct rows *r, int row, int kv_head, bool *read)
{
    const struct attend_row *a = &r->rows[row];
    const int list = row * f->shape.n_kv_heads + kv_head;
    for (int p = 0; p <= a->position; p++) {
        read[p] = a->list_row < 0;
        for (int i = 0; a->list_row >= 0 && i < r->lists.count[list]; i++)
            read[p] = read[p] || r->lists.blocks[list * MAX_BLOCKS + i] == p / a->block_size;
    }
}

/* Every output against the double reference, within the bound derived there. */
static void check_rows(const struct fixture *f, const struct rows *r, int layer)
{
    enum { MAX_TOKENS = 1024, MAX_DIM = 256 };
    static double probability[MAX_TOKENS], want[MAX_DIM], bound[MAX_DIM];
    static bool read[MAX_TOKENS];
    const int dim = f->shape.head_dim, group = f->shape.n_heads / f->shape.n_kv_heads;
    for (int i = 0; i < r->n; i++)
        for (int head = 0; head < f->shape.n_heads; head++) {
            const struct attend_row *a = &r->rows[i];
            const struct reference_context c = { &f->kv, layer, a->store, a->tail, a->position };
            read_of(f, r, i, head / group, read);
            reference_attend(&c, r->qkv + (size_t)a->q_row * qkv_stride(f) + head * dim, head / group, read, probability, want,
                             bound);
            for (int d = 0; d < dim; d++) {
                const double got = (double)r->out[(a->out_row * f->shape.n_heads + head) * dim + d];
                if (!(fabs(got - want[d]) <= bound[d]))
                    fail_msg("row %d (position %d, block size %d) head %d element %d: %.9g, not %.9g +- %.2g", i, a->position,
                             a->block_size, head, d, got, want[d], bound[d]);
            }
        }
}

/* Dense and sparse rows of three stores, a probe's tail, rows of the prefix, positions at the ends of tiles. */
static void mixed_rows(struct fixture *f, struct rows *r)
{
    const int p = f->kv.prefix_tokens;
    static const int block_sizes[] = { 1, 3, 5, 8, 16, 24, 64, 1024 };
    for (int i = 0; i < 8; i++) add_row(r, KV_PREFIX, NO_TAIL, p < 8 ? i % p : i < 2 ? i : p - 8 + i, 0);
    for (int i = 0; i < 9; i++) add_row(r, 0, NO_TAIL, p + 20 + i, 0);
    for (int i = 0; i < 3; i++) add_row(r, i, NO_TAIL, p + 33, 0);
    for (int i = 0; i < 8; i++) add_row(r, i % 3, NO_TAIL, p + 33, block_sizes[i]);
    for (int i = 0; i < 3; i++) /* tails in the last slot of a tile, beside the store that has a token of its own there */
        add_row(r, 1, i - 1, (p + 20) / KV_TILE * KV_TILE + 15, 0);
    add_row(r, 1, 0, p + 33, 16);
    add_row(r, 1, 1, p + 33, 0);
    add_row(r, 2, NO_TAIL, p, 16);
    draw_lists(f, r, 0.3f);
}

struct shape_case {
    int n_heads, n_kv, dim, prefix;
};
static const struct shape_case shapes[] = { { 9, 3, 64, 200 }, { 4, 4, 16, 64 },  { 14, 2, 128, 37 }, { 16, 1, 8, 97 },
                                            { 2, 1, 96, 5 },   { 6, 2, 256, 48 }, { 5, 1, 40, 131 },  { 8, 1, 32, 16 } };
enum { N_SHAPES = sizeof shapes / sizeof *shapes, LAYER = 1, N_OWN = 40 };

static void mixed_open(struct fixture *f, struct rows *r, const struct shape_case *s)
{
    fixture_open(f, 2, s->n_heads, s->n_kv, s->dim, s->prefix, 64, 3, 2);
    fixture_fill(f, N_OWN, 3);
    fill(f, f->kv.k_tail, kv_tail_elems(&f->kv), 3);
    fill(f, f->kv.v_tail, kv_tail_elems(&f->kv), 1);
    rows_open(f, r, 1);
    mixed_rows(f, r);
}

static void attend_agrees_with_reference(void **state)
{
    (void)state;
    enum cpu_isa isas[3];
    const int n_isas = fixture_isas(isas);
    for (int s = 0; s < N_SHAPES; s++) {
        struct fixture f;
        struct rows r;
        mixed_open(&f, &r, &shapes[s]);
        for (int i = 0; i < n_isas; i++) {
            fixture_device(&f, isas[i], 2, MAX_ROWS);
            attend(&f, &r, LAYER);
            check_rows(&f, &r, LAYER);
        }
        rows_close(&f, &r);
        fixture_close(&f);
    }
}

/* Instruction sets, one to three threads, each row alone, and cuts of the batch: one result. */
static void attend_has_one_result(void **state)
{
    (void)state;
    enum cpu_isa isas[3];
    const int n_isas = fixture_isas(isas);
    for (int s = 0; s < N_SHAPES; s++) {
        struct fixture f;
        struct rows r;
        mixed_open(&f, &r, &shapes[s]);
        const size_t n_row = (size_t)(f.shape.n_heads * f.shape.head_dim), n_bytes = n_row * (size_t)r.n * sizeof(float);
        float *want = device_array(&f, n_bytes);
        for (int i = 0; i < 3 * n_isas; i++) {
            fixture_device(&f, isas[i / 3], 1 + i % 3, MAX_ROWS);
            attend(&f, &r, LAYER);
            if (i == 0) memcpy(want, r.out, n_bytes);
            assert_memory_equal(want, r.out, n_bytes);
        }
        const struct rows all = r;
        for (int cut = 1; cut < 12; cut += 3)
            for (int from = 0; from < all.n; from += cut) {
                r.n = all.n - from < cut ? all.n - from : cut;
                memcpy(r.rows, all.rows + from, (size_t)r.n * sizeof *r.rows);
                attend(&f, &r, LAYER);
                assert_memory_equal(want + (size_t)from * n_row, r.out + (size_t)from * n_row,
                                    (size_t)r.n * n_row * sizeof(float));
            }
        cpu_release(f.device, want);
        rows_close(&f, &r);
        fixture_close(&f);
    }
}

/* All blocks selected is the same sequence of operations as dense, for any block size. */
static void all_blocks_are_dense(void **state)
{
    (void)state;
    static const int block_sizes[] = { 1, 2, 7, 16, 20, 48, 256, 1024 };
    struct fixture f;
    struct rows r;
    fixture_open(&f, 1, 9, 3, 64, 200, 64, 2, 0);
    fixture_fill(&f, N_OWN, 3);
    rows_open(&f, &r, 1);
    fixture_device(&f, f.device->isa, 2, MAX_ROWS);
    add_row(&r, 1, NO_TAIL, 233, 0);
    for (int i = 0; i < 8; i++) add_row(&r, 1, NO_TAIL, 233, block_sizes[i]);
    for (int i = 0; i < r.n; i++) r.rows[i].q_row = 0;
    draw_lists(&f, &r, 2);
    attend(&f, &r, 0);
    const size_t n_row = (size_t)(f.shape.n_heads * f.shape.head_dim);
    for (int i = 1; i < r.n; i++) assert_memory_equal(r.out, r.out + (size_t)i * n_row, n_row * sizeof(float));
    rows_close(&f, &r);
    fixture_close(&f);
}

/* NaN in every slot that a row does not read. */
static void nothing_unread_leaks(void **state)
{
    (void)state;
    enum cpu_isa isas[3];
    const int n_isas = fixture_isas(isas);
    struct fixture f;
    struct rows r;
    fixture_open(&f, 1, 4, 2, 32, 70, 64, 1, 0);
    fixture_fill(&f, 20, 3);
    rows_open(&f, &r, 1);
    add_row(&r, 0, NO_TAIL, 85, 5);
    draw_lists(&f, &r, 0.4f);
    memcpy(r.lists.blocks + MAX_BLOCKS, r.lists.blocks, MAX_BLOCKS * sizeof(int32_t));
    r.lists.count[1] = r.lists.count[0];
    bool read[96];
    read_of(&f, &r, 0, 0, read);
    for (int p = 0; p < 90; p++)
        if (p > 85 || !read[p])
            for (int h = 0; h < 2; h++)
                for (int i = 0; i < 32; i++) {
                    kv_k_tile(&f.kv, 0, 0, h, p / KV_TILE)[i * KV_TILE + p % KV_TILE] = NAN;
                    kv_v_tile(&f.kv, 0, 0, h, p / KV_TILE)[p % KV_TILE * 32 + i] = NAN;
                }
    for (int i = 0; i < n_isas; i++) {
        fixture_device(&f, isas[i], 1, MAX_ROWS);
        attend(&f, &r, 0);
        check_rows(&f, &r, 0);
    }
    rows_close(&f, &r);
    fixture_close(&f);
}

/* Logits of 1e30 and -inf: the largest takes all, exactly; one token is its own V at any size. */
static void extreme_logits(void **state)
{
    (void)state;
    enum cpu_isa isas[3];
    const int n_isas = fixture_isas(isas);
    struct fixture f;
    struct rows r;
    fixture_open(&f, 1, 2, 1, 16, 32, 32, 1, 0);
    fixture_fill(&f, 20, 1);
    rows_open(&f, &r, 1);
    for (int i = 0; i < 32; i++) r.qkv[i] = 1;
    float *k = kv_k_tile(&f.kv, 0, 0, 0, 0);
    for (int i = 0; i < 16; i++) {
        k[i * KV_TILE + 3] = 1e29f;
        k[i * KV_TILE + 4] = -INFINITY;
        k[i * KV_TILE + 5] = -1e29f;
    }
    add_row(&r, 0, NO_TAIL, 40, 0);
    add_row(&r, KV_PREFIX, NO_TAIL, 0, 0);
    for (int i = 0; i < n_isas; i++) {
        fixture_device(&f, isas[i], 1, MAX_ROWS);
        attend(&f, &r, 0);
        assert_memory_equal(r.out, kv_v_tile(&f.kv, 0, 0, 0, 0) + 3 * 16, 16 * sizeof(float));
        assert_memory_equal(r.out + 32, kv_v_tile(&f.kv, 0, 0, 0, 0), 16 * sizeof(float));
    }
    rows_close(&f, &r);
    fixture_close(&f);
}

static void refuses_what_is_not_there(void **state)
{
    (void)state;
    struct fixture f;
    struct rows r;
    fixture_open(&f, 1, 2, 1, 16, 32, 32, 1, 1);
    fixture_fill(&f, 20, 1);
    rows_open(&f, &r, 1);
    add_row(&r, 0, NO_TAIL, 40, 0);
    struct attend_args a = args_of(&f, &r, 0);
    assert_int_equal(cpu_attend(f.device, &a), -1); /* nothing was reserved */
    assert_non_null(strstr(fail_text(), "reserved"));
    fixture_device(&f, f.device->isa, 1, MAX_ROWS);
    for (int i = 0; i < 2; i++) {
        r.rows[0].position = i == 0 ? -1 : 64;
        assert_int_equal(cpu_attend(f.device, &a), -1);
    }
    r.rows[0].position = 40;
    r.rows[0].store = 1;
    assert_int_equal(cpu_attend(f.device, &a), -1);
    assert_non_null(strstr(fail_text(), "store 1 of 1"));
    rows_close(&f, &r);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attend_agrees_with_reference), cmocka_unit_test(attend_has_one_result),
        cmocka_unit_test(all_blocks_are_dense),         cmocka_unit_test(nothing_unread_leaks),
        cmocka_unit_test(extreme_logits),               cmocka_unit_test(refuses_what_is_not_there),
    };
    return cmocka_run_group_tests_name("attend", tests, NULL, NULL);
}
