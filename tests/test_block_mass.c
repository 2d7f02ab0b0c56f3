/* Block mass against the double reference; one result on every instruction set, number of threads and batch. */
#include "kv_fixture.h"

#include "kernels/reference.h"

enum { MAX_ROWS = 24, MASS_BLOCKS = 300, LAYER = 1, N_OWN = 45 };

struct masses {
    struct mass_row rows[MAX_ROWS];
    int n;
    float *qkv;
    double *mass, *stale;
};

static void masses_open(struct fixture *f, struct masses *m)
{
    memset(m, 0, sizeof *m);
    m->qkv = device_array(f, MAX_ROWS * qkv_stride(f) * sizeof(float));
    fill(f, m->qkv, MAX_ROWS * qkv_stride(f), 1);
    m->mass = device_array(f, (size_t)(MAX_ROWS * f->shape.n_heads * MASS_BLOCKS) * sizeof(double));
    m->stale = device_array(f, (size_t)(MAX_ROWS * f->shape.n_heads) * sizeof(double));
}

static void masses_close(struct fixture *f, struct masses *m)
{
    void *arrays[] = { m->qkv, m->mass, m->stale };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cpu_release(f->device, arrays[i]);
}

/* Lanes of three stores at one position, block sizes of all kinds, a tail, a row that begins the suffix. */
static void masses_rows(const struct fixture *f, struct masses *m)
{
    static const int block_sizes[] = { 16, 16, 16, 1, 5, 24, 64, 8, 1024, 16, 16, 2 };
    const int p = f->kv.prefix_tokens;
    for (int i = 0; i < 12; i++) {
        const int position = i == 11 ? p : p + 40, tail = i == 9 || i == 10 ? i - 9 : NO_TAIL;
        m->rows[m->n] = (struct mass_row){ m->n, i % 3, tail, position, block_sizes[i], p + i - 3, m->n };
        m->n++;
    }
    for (int i = 0; i < 3; i++, m->n++) /* tails in the last slot of a tile, beside the store's own token there */
        m->rows[m->n] = (struct mass_row){ m->n, 1, i - 1, (p + 20) / KV_TILE * KV_TILE + 15, 16, p, m->n };
}

static void run(struct fixture *f, const struct masses *m)
{
    const struct block_mass_args a = { m->n, LAYER, f->shape.n_heads, m->rows, m->qkv, (int)qkv_stride(f), MASS_BLOCKS, &f->kv,
                                       m->mass, m->stale };
    memset(m->mass, 0xff, (size_t)(MAX_ROWS * f->shape.n_heads * MASS_BLOCKS) * sizeof(double));
    if (cpu_block_mass(f->device, &a) != 0) fail_msg("%s", fail_text());
}

/* Tolerance: the reference's relative bound on each float32 weight, in numerator and sum; the sums are double. */
static void check_rows(const struct fixture *f, const struct masses *m)
{
    static double probability[1024], want[1024];
    const int dim = f->shape.head_dim, group = f->shape.n_heads / f->shape.n_kv_heads;
    for (int r = 0; r < m->n; r++)
        for (int head = 0; head < f->shape.n_heads; head++) {
            const struct mass_row *row = &m->rows[r];
            const struct reference_context c = { &f->kv, LAYER, row->store, row->tail, row->position };
            double want_stale, total = 0;
            const double relative = reference_block_mass(&c, m->qkv + (size_t)row->q_row * qkv_stride(f) + head * dim,
                                                         head / group, row->block_size, row->stale_from, probability, want,
                                                         &want_stale);
            const double *got = m->mass + (row->out_row * f->shape.n_heads + head) * MASS_BLOCKS;
            for (int b = 0; b < MASS_BLOCKS; b++) {
                const double w = b <= row->position / row->block_size ? want[b] : 0;
                if (!(fabs(got[b] - w) <= relative * w + 0x1p-126))
                    fail_msg("row %d head %d block %d: %.12g, not %.12g", r, head, b, got[b], w);
                total += got[b];
            }
            const double stale = m->stale[row->out_row * f->shape.n_heads + head];
            assert_true(fabs(stale - want_stale) <= relative * want_stale);
            assert_true(fabs(total - 1) <= MASS_BLOCKS * 0x1p-52); /* each quotient and sum rounded once, in double */
        }
}

static const int shapes[][4] = { { 9, 3, 64, 200 }, { 14, 2, 128, 37 }, { 5, 1, 40, 131 }, { 16, 1, 16, 5 }, { 2, 2, 96, 64 } };
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void masses_fixture(struct fixture *f, struct masses *m, const int *s)
{
    fixture_open(f, 2, s[0], s[1], s[2], s[3], 64, 3, 2);
    fixture_fill(f, N_OWN, 3);
    fill(f, f->kv.k_tail, kv_tail_elems(&f->kv), 3);
    masses_open(f, m);
    masses_rows(f, m);
}

static void mass_agrees_with_reference(void **state)
{
    (void)state;
    for (int s = 0; s < N_SHAPES; s++) {
        struct fixture f;
        struct masses m;
        masses_fixture(&f, &m, shapes[s]);
        fixture_device(&f, f.device->isa, 2, MAX_ROWS);
        run(&f, &m);
        check_rows(&f, &m);
        masses_close(&f, &m);
        fixture_close(&f);
    }
}

static void mass_has_one_result(void **state)
{
    (void)state;
    enum cpu_isa isas[3];
    const int n_isas = fixture_isas(isas);
    for (int s = 0; s < N_SHAPES; s++) {
        struct fixture f;
        struct masses m;
        masses_fixture(&f, &m, shapes[s]);
        const size_t n_row = (size_t)(f.shape.n_heads * MASS_BLOCKS), n_bytes = (size_t)m.n * n_row * sizeof(double);
        double *want = device_array(&f, n_bytes);
        for (int i = 0; i < 3 * n_isas; i++) {
            fixture_device(&f, isas[i / 3], 1 + i % 3, MAX_ROWS);
            run(&f, &m);
            if (i == 0) memcpy(want, m.mass, n_bytes);
            assert_memory_equal(want, m.mass, n_bytes);
        }
        const struct masses all = m;
        m.n = 1;
        for (int r = 0; r < all.n; r++) {
            m.rows[0] = all.rows[r];
            run(&f, &m);
            assert_memory_equal(want + (size_t)r * n_row, m.mass + (size_t)r * n_row, n_row * sizeof(double));
        }
        cpu_release(f.device, want);
        masses_close(&f, &m);
        fixture_close(&f);
    }
}

static void refuses_too_many_blocks(void **state)
{
    (void)state;
    struct fixture f;
    struct masses m;
    masses_fixture(&f, &m, shapes[0]);
    fixture_device(&f, f.device->isa, 1, MAX_ROWS);
    const struct block_mass_args a = { 1, LAYER, 9, m.rows, m.qkv, (int)qkv_stride(&f), 15, &f.kv, m.mass, m.stale };
    assert_int_equal(cpu_block_mass(f.device, &a), -1);
    assert_non_null(strstr(fail_text(), "16 blocks"));
    masses_close(&f, &m);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mass_agrees_with_reference),
        cmocka_unit_test(mass_has_one_result),
        cmocka_unit_test(refuses_too_many_blocks),
    };
    return cmocka_run_group_tests_name("block_mass", tests, NULL, NULL);
}
