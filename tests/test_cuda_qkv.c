/* tests/test_cuda_qkv.c: qkv leaves the bits that product and rope_append leave one after the other, in its rows and in the caches. */
#include "tests/cuda_pair.h"

enum { PREFIX = 69, STEPS = 20, OWN = 9, MAX_ROWS = 65, MAX_TAILS = 33, N_ARRAYS = 6 };

/* What the rows of a launch append to. */
enum kind { STORES, PROBES, WINDOWS, PREFIXES };

/* What both ways write. */
struct written {
    void *on[1 + N_ARRAYS]; /* device: rows of q, k, v; k and v of the stores, of the tails, of the prefix */
    size_t n_bytes[1 + N_ARRAYS];
    const void *before[1 + N_ARRAYS];
};

static void written_open(struct pair *p, struct written *w)
{
    const struct kv_cache *c = &p->kv_gpu;
    const size_t qkv = MAX_ROWS * (size_t)pair_stride(p) * 4, own = kv_own_elems(c) * 2, tail = kv_tail_elems(c) * 2,
                 prefix = kv_prefix_elems(c) * 2;
    *w = (struct written){ .on = { on_gpu(p, NULL, qkv), c->k_own, c->v_own, c->k_tail, c->v_tail, c->k_prefix,
                                   c->v_prefix },
                           .n_bytes = { qkv, own, own, tail, tail, prefix, prefix } };
    for (int i = 0; i < 1 + N_ARRAYS; i++) w->before[i] = from_gpu(p, w->on[i], w->n_bytes[i]);
}

static void written_again(struct pair *p, const struct written *w)
{
    for (int i = 0; i < 1 + N_ARRAYS; i++) must(p->cuda->upload(p->gpu, w->on[i], w->before[i], w->n_bytes[i]));
}

/* STORES: a store of its own each, the last of several a probe's tail; PROBES: of two rows, one a store, the other a tail at the same position, as a
 * probe of that lane; WINDOWS: up to STEPS consecutive positions of a store; PREFIXES: the prefix's last. */
static struct row row_of(enum kind kind, int i, int n)
{
    struct row r = { .lane = i, .position = PREFIX + OWN - i % 3, .store = i, .tail = NO_TAIL };
    if (kind == STORES && n > 1 && i == n - 1) r.store = 0, r.tail = 1;
    if (kind == PROBES) r.position = PREFIX + OWN - i / 2 % 3, r.store = i / 2, r.tail = i % 2 ? i / 2 : NO_TAIL;
    if (kind == WINDOWS) r.position = PREFIX + i % STEPS, r.store = i / STEPS;
    if (kind == PREFIXES) r.position = PREFIX - n + i, r.store = KV_PREFIX;
    return r;
}

static const struct row *some_rows(struct pair *p, enum kind kind, int n)
{
    struct row rows[MAX_ROWS];
    for (int i = 0; i < n; i++) rows[i] = row_of(kind, i, n);
    return on_gpu(p, rows, (size_t)n * sizeof *rows);
}

static void check_rows(struct pair *p, const struct written *w, struct qkv_args a, enum kind kind, int n)
{
    const void *want[1 + N_ARRAYS];
    a.product.n_rows = a.rope.n_rows = n;
    a.rope.rows = some_rows(p, kind, n);
    written_again(p, w);
    must(p->cuda->product(p->gpu, &a.product));
    must(p->cuda->rope_append(p->gpu, &a.rope));
    for (int i = 0; i < 1 + N_ARRAYS; i++) want[i] = from_gpu(p, w->on[i], w->n_bytes[i]);
    const int k_at = kind == PREFIXES ? 5 : kind == PROBES && n > 1 ? 3 : 1;
    for (int i = k_at; i < k_at + 2; i++) assert_memory_not_equal(want[i], w->before[i], w->n_bytes[i]);
    written_again(p, w);
    must(p->cuda->qkv(p->gpu, &a));
    for (int i = 0; i < 1 + N_ARRAYS; i++)
        if (memcmp(from_gpu(p, w->on[i], w->n_bytes[i]), want[i], w->n_bytes[i]) != 0)
            fail_msg("%s: %d rows of kind %d, heads of %d: array %d is not what product and rope_append leave",
                     p->cuda->name, n, (int)kind, p->shape.head_dim, i);
}

/* A model's attention, and how many rows of which kinds from .. to are multiplied at a time. */
struct shape {
    int n_in, n_heads, n_kv, dim;
    enum rope_style style;
};

static void check_shape(struct pair *p, const struct shape *s, enum kind from, enum kind to, const int *n_rows,
                        int n_counts)
{
    struct written w;
    pair_cache(p, 2, s->n_heads, s->n_kv, s->dim, PREFIX, STEPS, OWN, MAX_ROWS, MAX_TAILS, 1);
    pair_reserve(p, 256, PREFIX + STEPS);
    written_open(p, &w);
    const int n_in = s->n_in, n_out = pair_stride(p), n_pairs = s->dim / 2;
    float *weights = random_floats(p, (size_t)n_out * (size_t)n_in, 1),
          *angles = random_floats(p, (size_t)(2 * MAX_ROWS * n_pairs), 1);
    const struct tensor t = { TENSOR_F32, n_out, n_in, (const uint8_t *)weights };
    const struct tensor *const parts[] = { &t };
    struct matrix *m = NULL;
    must(p->cuda->layer_matrix_pack(p->gpu, &m, parts, 1));
    const float *turns = on_gpu(p, angles, (size_t)(2 * MAX_ROWS * n_pairs) * 4);
    const struct qkv_args a = {
        .product = { .w = m,
                     .x = on_gpu(p, random_floats(p, (size_t)(MAX_ROWS * n_in), 1), (size_t)(MAX_ROWS * n_in) * 4),
                     .bias = on_gpu(p, random_floats(p, (size_t)n_out, 1), (size_t)n_out * 4),
                     .y = w.on[0] },
        .rope = { .layer = 1,
                  .n_heads = s->n_heads,
                  .qkv = w.on[0],
                  .cosine = turns,
                  .sine = turns + MAX_ROWS * n_pairs,
                  .style = s->style,
                  .kv = &p->kv_gpu },
    };
    for (enum kind kind = from; kind <= to; kind++)
        for (int i = 0; i < n_counts; i++) check_rows(p, &w, a, kind, n_rows[i]);
    p->cuda->matrix_free(p->gpu, m);
    pair_clear(p);
}

static const char *const names[] = { "cuda", "cuda-bf16", "cuda-int4" };

static void qkv_is_product_then_rope(void **state)
{
    (void)state;
    static const int n_rows[] = { 1, 3, 8, 16, 31, 64, 65 };
    static const struct shape shapes[] = {
        { 200, 7, 1, 128, ROPE_HALVES },   { 1000, 6, 2, 64, ROPE_PAIRS },
        { 96, 3, 3, 16, ROPE_HALVES },     /* a last tile with room for other heads */
        { 128, 4, 2, 96, ROPE_PAIRS },     /* heads that reach from one tile into the next */
        { 150, 5, 1, 256, ROPE_PAIRS },    { 64, 240, 15, 128, ROPE_HALVES }, /* the last: more tiles than are split */
    };
    for (int i = 0; i < 3; i++) {
        struct pair p;
        if (!pair_open_as(&p, names[i])) skip();
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            check_shape(&p, &shapes[k], STORES, STORES, n_rows, sizeof n_rows / sizeof *n_rows);
        pair_close(&p);
    }
}

/* Several probes, rectified windows, the last rows of a prefill. */
static void rows_append_where_they_belong(void **state)
{
    (void)state;
    static const int n_rows[] = { 2, 31, 64 };
    static const struct shape shapes[] = { { 200, 7, 1, 128, ROPE_HALVES }, { 320, 6, 2, 64, ROPE_PAIRS } };
    for (int i = 0; i < 3; i++) {
        struct pair p;
        if (!pair_open_as(&p, names[i])) skip();
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            check_shape(&p, &shapes[k], PROBES, PREFIXES, n_rows, sizeof n_rows / sizeof *n_rows);
        pair_close(&p);
    }
}

/* test_cuda_qkv [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(qkv_is_product_then_rope),
                                        cmocka_unit_test(rows_append_where_they_belong) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
