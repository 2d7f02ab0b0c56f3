/* tests/test_cuda_qkv.c: qkv leaves the bits that product and rope_append leave one after the other, in its rows and in the caches. */
#include "tests/cuda_pair.h"

enum { PREFIX = 37, STEPS = 20, OWN = 9, MAX_ROWS = 65, N_ARRAYS = 4 };

/* What both ways write. */
struct written {
    void *on[1 + N_ARRAYS]; /* device: rows of q, k, v; k and v of the stores, then of the tails */
    size_t n_bytes[1 + N_ARRAYS];
    const void *before[1 + N_ARRAYS];
};

static void written_open(struct pair *p, struct written *w)
{
    const struct kv_cache *c = &p->kv_gpu;
    const size_t qkv = MAX_ROWS * (size_t)pair_stride(p) * 4, own = kv_own_elems(c) * 2, tail = kv_tail_elems(c) * 2;
    *w = (struct written){ .on = { on_gpu(p, NULL, qkv), c->k_own, c->v_own, c->k_tail, c->v_tail }, .n_bytes = { qkv, own, own, tail, tail } };
    for (int i = 0; i < 1 + N_ARRAYS; i++) w->before[i] = from_gpu(p, w->on[i], w->n_bytes[i]);
}

static void written_again(struct pair *p, const struct written *w)
{
    for (int i = 0; i < 1 + N_ARRAYS; i++) must(p->cuda->upload(p->gpu, w->on[i], w->before[i], w->n_bytes[i]));
}

/* Each row appends to a store of its own, the last of several to a probe's tail. */
static const struct row *some_rows(struct pair *p, int n)
{
    struct row rows[MAX_ROWS];
    for (int i = 0; i < n; i++) rows[i] = (struct row){ .lane = i, .position = PREFIX + OWN - i % 3, .store = i, .tail = NO_TAIL };
    if (n > 1) rows[n - 1].store = 0, rows[n - 1].tail = 1;
    return on_gpu(p, rows, (size_t)n * sizeof *rows);
}

static void check_rows(struct pair *p, const struct written *w, struct qkv_args a, int n)
{
    const void *want[1 + N_ARRAYS];
    a.product.n_rows = a.rope.n_rows = n;
    a.rope.rows = some_rows(p, n);
    written_again(p, w);
    must(p->cuda->product(p->gpu, &a.product));
    must(p->cuda->rope_append(p->gpu, &a.rope));
    for (int i = 0; i < 1 + N_ARRAYS; i++) want[i] = from_gpu(p, w->on[i], w->n_bytes[i]);
    assert_memory_not_equal(want[1], w->before[1], w->n_bytes[1]);
    written_again(p, w);
    must(p->cuda->qkv(p->gpu, &a));
    for (int i = 0; i < 1 + N_ARRAYS; i++)
        if (memcmp(from_gpu(p, w->on[i], w->n_bytes[i]), want[i], w->n_bytes[i]) != 0)
            fail_msg("%s: %d rows, heads of %d: array %d is not what product and rope_append leave", p->cuda->name, n, p->shape.head_dim, i);
}

static void check_shape(struct pair *p, int n_in, int n_heads, int n_kv, int dim, enum rope_style style)
{
    static const int n_rows[] = { 1, 3, 8, 16, 31, 64, 65 };
    struct written w;
    pair_cache(p, 2, n_heads, n_kv, dim, PREFIX, STEPS, OWN, MAX_ROWS, 2, 1);
    pair_reserve(p, 256, PREFIX + STEPS);
    written_open(p, &w);
    const int n_out = pair_stride(p), n_pairs = dim / 2;
    float *weights = random_floats(p, (size_t)n_out * (size_t)n_in, 1), *angles = random_floats(p, (size_t)(2 * MAX_ROWS * n_pairs), 1);
    const struct tensor t = { TENSOR_F32, n_out, n_in, (const uint8_t *)weights };
    const struct tensor *const parts[] = { &t };
    struct matrix *m = NULL;
    must(p->cuda->layer_matrix_pack(p->gpu, &m, parts, 1));
    const float *turns = on_gpu(p, angles, (size_t)(2 * MAX_ROWS * n_pairs) * 4);
    const struct qkv_args a = {
        .product = { .w = m, .x = on_gpu(p, random_floats(p, (size_t)(MAX_ROWS * n_in), 1), (size_t)(MAX_ROWS * n_in) * 4),
                     .bias = on_gpu(p, random_floats(p, (size_t)n_out, 1), (size_t)n_out * 4), .y = w.on[0] },
        .rope = { .layer = 1, .n_heads = n_heads, .qkv = w.on[0], .cosine = turns, .sine = turns + MAX_ROWS * n_pairs, .style = style, .kv = &p->kv_gpu },
    };
    for (size_t i = 0; i < sizeof n_rows / sizeof *n_rows; i++) check_rows(p, &w, a, n_rows[i]);
    p->cuda->matrix_free(p->gpu, m);
    pair_clear(p);
}

static void qkv_is_product_then_rope(void **state)
{
    (void)state;
    static const char *const names[] = { "cuda", "cuda-bf16", "cuda-int4" };
    for (int i = 0; i < 3; i++) {
        struct pair p;
        if (!pair_open_as(&p, names[i])) skip();
        check_shape(&p, 200, 7, 1, 128, ROPE_HALVES);
        check_shape(&p, 1000, 6, 2, 64, ROPE_PAIRS);
        check_shape(&p, 96, 3, 3, 16, ROPE_HALVES); /* a last tile with room for other heads */
        check_shape(&p, 128, 4, 2, 96, ROPE_PAIRS); /* heads that reach from one tile into the next */
        check_shape(&p, 64, 240, 15, 128, ROPE_HALVES); /* more tiles than are split */
        pair_close(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(qkv_is_product_then_rope) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
