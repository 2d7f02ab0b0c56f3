/* What writes, copies and compares K and V: rope_append, perturbation, kv_copy, kv_compare, spread, the device's memory. */
#include "kv_fixture.h"

#include "kernels/perturb.h"
#include "kernels/reference.h"

enum { N_HEADS = 6, N_KV = 2, DIM = 16, PREFIX = 37, N_STEPS = 30, MAX_ROWS = 40, LAYER = 1 };
enum { KV_DIM = N_KV * DIM, STRIDE = (N_HEADS + 2 * N_KV) * DIM };

struct pass {
    struct fixture f;
    struct row rows[MAX_ROWS];
    struct lane_params lanes[3];
    float *qkv, *before, *cosine, *sine, *k_plain, *q_norm, *k_norm;
    struct rope_append_args args;
};

static void pass_open(struct pass *p, enum rope_style style, bool normed)
{
    memset(p, 0, sizeof *p);
    struct fixture *f = &p->f;
    fixture_open(f, 2, N_HEADS, N_KV, DIM, PREFIX, N_STEPS, 2, 1);
    fixture_device(f, f->device->isa, 2, MAX_ROWS);
    const size_t n_qkv = MAX_ROWS * STRIDE, n_angles = MAX_ROWS * DIM / 2;
    p->qkv = device_array(f, n_qkv * sizeof(float));
    p->before = device_array(f, n_qkv * sizeof(float));
    p->cosine = device_array(f, n_angles * sizeof(float));
    p->sine = device_array(f, n_angles * sizeof(float));
    p->k_plain = device_array(f, MAX_ROWS * KV_DIM * sizeof(float));
    p->q_norm = device_array(f, DIM * sizeof(float));
    p->k_norm = device_array(f, DIM * sizeof(float));
    fill(f, p->qkv, n_qkv, 2);
    memcpy(p->before, p->qkv, n_qkv * sizeof(float));
    for (size_t i = 0; i < n_angles; i++) {
        const double angle = (double)draw(f) * 3;
        p->cosine[i] = (float)cos(angle);
        p->sine[i] = (float)sin(angle);
    }
    fill(f, p->q_norm, DIM, 1);
    fill(f, p->k_norm, DIM, 1);
    p->args = (struct rope_append_args){ 0,        LAYER,    N_HEADS,    p->rows, p->lanes, p->qkv,
                                         normed ? p->q_norm : NULL,      normed ? p->k_norm : NULL,
                                         1e-6,     p->cosine, p->sine,   style,   p->k_plain, &f->kv, 99 };
}

static void pass_close(struct pass *p)
{
    void *arrays[] = { p->qkv, p->before, p->cosine, p->sine, p->k_plain, p->q_norm, p->k_norm };
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) cpu_release(p->f.device, arrays[i]);
    fixture_close(&p->f);
}

static void pass_run(struct pass *p, int n_rows)
{
    p->args.n_rows = n_rows;
    if (cpu_rope_append(p->f.device, &p->args) != 0) fail_msg("%s", fail_text());
}

/* One element of a head of row r after norm and rotation, in double. */
static double want_element(const struct pass *p, int r, int head, int i, bool rotated, double *size)
{
    const float *x = p->before + r * STRIDE + head * DIM;
    const float *weight = head < N_HEADS ? p->args.q_norm : p->args.k_norm;
    double squares = 0;
    for (int j = 0; j < DIM; j++) squares += (double)x[j] * (double)x[j];
    const double root = weight ? sqrt(squares / DIM + 1e-6) : 1;
    const bool pairs = p->args.style == ROPE_PAIRS;
    const int pair = pairs ? i / 2 : i % (DIM / 2), partner = pairs ? i ^ 1 : (i + DIM / 2) % DIM;
    const double a = (double)x[i] / root * (weight ? (double)weight[i] : 1);
    const double b = (double)x[partner] / root * (weight ? (double)weight[partner] : 1);
    const double c = (double)p->cosine[r * DIM / 2 + pair], s = (double)p->sine[r * DIM / 2 + pair];
    *size = fabs(a) + fabs(b);
    if (!rotated) return a;
    return (pairs ? i % 2 == 0 : i < DIM / 2) ? a * c - b * s : a * c + b * s;
}

/* Tolerance: the norm's result is rounded to float32 and the rotation's again: u each of |a| + |b|. */
static void check_pass(const struct pass *p, int n_rows)
{
    for (int r = 0; r < n_rows; r++)
        for (int head = 0; head < N_HEADS + 2 * N_KV; head++)
            for (int i = 0; i < DIM; i++) {
                const float got = p->qkv[r * STRIDE + head * DIM + i];
                if (head >= N_HEADS + N_KV) {
                    assert_true(got == p->before[r * STRIDE + head * DIM + i]);
                    continue;
                }
                double size;
                const double want = want_element(p, r, head, i, true, &size);
                assert_true(fabs((double)got - want) <= 2 * 0x1p-24 * size);
                if (head < N_HEADS) continue;
                const float plain = p->k_plain[r * KV_DIM + (head - N_HEADS) * DIM + i];
                assert_true(fabs((double)plain - want_element(p, r, head, i, false, &size)) <= 0x1p-24 * size);
            }
}

static void check_stored(const struct pass *p, int r)
{
    const struct row *row = &p->rows[r];
    const struct reference_context c = { &p->f.kv, LAYER, row->store, row->tail, row->position };
    for (int h = 0; h < N_KV; h++)
        for (int i = 0; i < DIM; i++) {
            const float *k = p->qkv + r * STRIDE + (N_HEADS + h) * DIM;
            assert_true((float)reference_k(&c, h, row->position, i) == k[i]);
            assert_true((float)reference_v(&c, h, row->position, i) == k[KV_DIM + i]);
        }
}

static void rope_and_append(void **state)
{
    (void)state;
    for (int n = 0; n < 4; n++) {
        struct pass p;
        pass_open(&p, n % 2 ? ROPE_PAIRS : ROPE_HALVES, n / 2);
        for (int r = 0; r < PREFIX; r++) p.rows[r] = (struct row){ 0, r, 0, KV_PREFIX, NO_TAIL, 0 };
        p.rows[PREFIX] = (struct row){ 1, PREFIX + 5, 0, 1, NO_TAIL, ROW_PERTURB }; /* its lane has no noise */
        pass_run(&p, PREFIX + 1);
        check_pass(&p, PREFIX + 1);
        for (int r = 0; r <= PREFIX; r++) check_stored(&p, r);
        pass_close(&p);
    }
}

/* A tail: the owner's earlier tokens of the tile, the probe's own, NaN after; the owner's token is not touched. */
static void probe_writes_its_tail(void **state)
{
    (void)state;
    struct pass p;
    pass_open(&p, ROPE_HALVES, false);
    fixture_fill(&p.f, N_STEPS, 1);
    const int position = PREFIX + 6; /* 43: slot 11 of tile 2, which begins with 5 tokens of the prefix */
    p.rows[0] = (struct row){ 1, position, 0, 1, NO_TAIL, ROW_SPARSE };
    p.rows[1] = (struct row){ 2, position, 0, 1, 0, ROW_SPARSE };
    pass_run(&p, 2);
    check_stored(&p, 0);
    check_stored(&p, 1);
    for (int h = 0; h < N_KV; h++)
        for (int i = 0; i < DIM; i++)
            for (int slot = 0; slot < KV_TILE; slot++) {
                const float k = kv_k_tail(&p.f.kv, 0, h)[i * KV_TILE + slot], v = kv_v_tail(&p.f.kv, 0, h)[slot * DIM + i];
                if (slot > 11) assert_true(isnan(k) && isnan(v));
                if (slot >= 11) continue;
                assert_true(k == kv_k_tile(&p.f.kv, LAYER, 1, h, 2)[i * KV_TILE + slot]);
                assert_true(v == kv_v_tile(&p.f.kv, LAYER, 1, h, 2)[slot * DIM + i]);
            }
    p.rows[1].tail = 1;
    assert_int_equal(cpu_rope_append(p.f.device, &p.args), -1);
    p.rows[1] = (struct row){ 2, 31, 0, 1, NO_TAIL, 0 }; /* tile 1 is the prefix's */
    assert_int_equal(cpu_rope_append(p.f.device, &p.args), -1);
    pass_close(&p);
}

/* |x' - x| / |x| is e, each of K and V, but for the rounding of x': u |x'| / |x| < 2^-23.  The noise is the seed's, the step's
 * and the layer's alone. */
static void perturbation_has_its_size(void **state)
{
    (void)state;
    struct pass p;
    pass_open(&p, ROPE_HALVES, false);
    p.lanes[1].perturb = 0.125f;
    p.lanes[2].perturb = 0.001f;
    for (int r = 0; r < 3; r++) p.rows[r] = (struct row){ r, PREFIX + 3, 0, r > 0, r == 2 ? 0 : NO_TAIL, r ? ROW_PERTURB : 0 };
    for (int r = 1; r < 3; r++) memcpy(p.qkv + r * STRIDE, p.qkv, STRIDE * sizeof(float));
    for (int r = 1; r < 3; r++) memcpy(p.cosine + r * DIM / 2, p.cosine, DIM / 2 * sizeof(float));
    for (int r = 1; r < 3; r++) memcpy(p.sine + r * DIM / 2, p.sine, DIM / 2 * sizeof(float));
    pass_run(&p, 3);
    for (int r = 1; r < 3; r++)
        for (int kv = 0; kv < 2; kv++) {
            double diff = 0, size = 0, g[2], dot = 0, gg = 0;
            for (int i = 0; i < KV_DIM; i++) {
                const size_t at = (size_t)((N_HEADS + kv * N_KV) * DIM + i);
                const double x = (double)p.qkv[at], d = (double)p.qkv[(size_t)(r * STRIDE) + at] - x;
                if (i % 2 == 0) perturb_pair(99, 3, LAYER, kv, i / 2, g);
                diff += d * d;
                size += x * x;
                dot += d * g[i % 2];
                gg += g[i % 2] * g[i % 2];
            }
            const double e = (double)p.lanes[r].perturb;
            assert_true(fabs(sqrt(diff / size) - e) <= 0x1p-23);
            assert_true(dot / sqrt(diff * gg) > 1 - 1e-6); /* along g: off by at most u |x| / (e |x|) = 6e-5, squared */
        }
    check_stored(&p, 2); /* what is stored is what the step's attention reads */
    assert_true(memcmp(p.k_plain, p.k_plain + KV_DIM, KV_DIM * sizeof(float)) == 0);
    pass_close(&p);
}

/* Mean, variance and kurtosis of 200,000 Gaussians within 5 of their standard errors (1, sqrt 2, sqrt 24 over sqrt n),
 * from 50,000 steps in two layers. */
static void noise_is_gaussian(void **state)
{
    (void)state;
    enum { N = 200000 };
    double sum[4] = { 0 };
    for (int n = 0; n < N / 2; n++) {
        double g[2];
        perturb_pair(7, n / 4, n / 2 % 2, n % 2, 3, g);
        for (int i = 0; i < 2; i++)
            for (int power = 0; power < 4; power++) sum[power] += pow(g[i], power + 1) / N;
    }
    const double error = 5 / sqrt(N);
    assert_true(fabs(sum[0]) < error);
    assert_true(fabs(sum[1] - 1) < error * sqrt(2));
    assert_true(fabs(sum[2]) < error * sqrt(15));
    assert_true(fabs(sum[3] - 3) < error * sqrt(96));
}

static void copy_and_compare(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, 2, N_HEADS, N_KV, DIM, PREFIX, N_STEPS, 2, 0);
    fixture_fill(&f, N_STEPS, 2);
    double squares[N_STEPS][4];
    const struct kv_compare_args compare = { LAYER, 1, 0, PREFIX, PREFIX + N_STEPS, &f.kv, squares[0] };
    for (int copied = 0; copied < 2; copied++) {
        assert_int_equal(cpu_kv_compare(f.device, &compare), 0);
        for (int s = 0; s < N_STEPS; s++) {
            const struct reference_context x = { &f.kv, LAYER, 1, NO_TAIL, PREFIX + s }, r = { &f.kv, LAYER, 0, NO_TAIL, PREFIX + s };
            double want[4] = { 0 };
            for (int h = 0; h < N_KV; h++)
                for (int i = 0; i < DIM; i++) {
                    const double k = reference_k(&x, h, PREFIX + s, i), kr = reference_k(&r, h, PREFIX + s, i);
                    const double v = reference_v(&x, h, PREFIX + s, i), vr = reference_v(&r, h, PREFIX + s, i);
                    const double terms[4] = { (k - kr) * (k - kr), kr * kr, (v - vr) * (v - vr), vr * vr };
                    for (int n = 0; n < 4; n++) want[n] += terms[n];
                }
            assert_memory_equal(want, squares[s], sizeof want); /* the same sums in the same order */
            assert_true((squares[s][0] == 0) == (copied && s >= 4 && s < 21));
            assert_true((squares[s][2] == 0) == (copied && s >= 4 && s < 21));
        }
        const struct kv_copy_args copy = { LAYER, 0, 1, PREFIX + 4, PREFIX + 21, &f.kv };
        assert_int_equal(cpu_kv_copy(f.device, &copy), 0);
    }
    const struct kv_copy_args low = { LAYER, 0, 1, 31, 40, &f.kv }, far = { LAYER, 0, 1, 40, 81, &f.kv };
    assert_int_equal(cpu_kv_copy(f.device, &low), -1);
    assert_int_equal(cpu_kv_copy(f.device, &far), -1);
    fixture_close(&f);
}

/* Two chunks of rows against two-pass sums in double; position 0 does not count.  Tolerance: Welford's recurrence loses
 * at most a few n eps of the mean and, relative to the sum of squares about it, of the deviations (Chan, Golub, LeVeque 1983). */
static void spread_is_the_variance(void **state)
{
    (void)state;
    enum { N = 30, CUT = 11 };
    struct pass p;
    pass_open(&p, ROPE_HALVES, false);
    fill(&p.f, p.k_plain, N * KV_DIM, 3);
    double *spread = device_array(&p.f, 2 * KV_DIM * 2 * sizeof(double));
    for (int r = 0; r < N; r++) p.rows[r].position = r;
    for (int c = 0; c < 2; c++) {
        const int from = c ? CUT : 0, n = c ? N - CUT : CUT;
        const struct spread_args a = { n, N_HEADS, N_KV, DIM, p.rows + from, p.k_plain + from * KV_DIM, p.qkv + from * STRIDE,
                                       spread };
        assert_int_equal(cpu_spread(p.f.device, &a), 0);
    }
    for (int e = 0; e < 2 * KV_DIM; e++) {
        double mean = 0, m2 = 0;
        const float *x = e < KV_DIM ? p.k_plain + e : p.qkv + (N_HEADS + N_KV) * DIM + e - KV_DIM;
        const int step = e < KV_DIM ? KV_DIM : STRIDE;
        for (int r = 1; r < N; r++) mean += (double)x[r * step] / (N - 1);
        for (int r = 1; r < N; r++) m2 += ((double)x[r * step] - mean) * ((double)x[r * step] - mean);
        assert_true(fabs(spread[2 * e] - mean) <= 8 * N * 0x1p-53 * 6);
        assert_true(fabs(spread[2 * e + 1] - m2) <= 8 * N * 0x1p-53 * m2);
    }
    cpu_release(p.f.device, spread);
    pass_close(&p);
}

static void device_and_memory(void **state)
{
    (void)state;
    struct device *d = NULL;
    assert_int_equal(cpu_open(&d, 1), -1);
    setenv("RESA_ISA", "sse9", 1);
    assert_int_equal(cpu_open(&d, 0), -1);
    assert_non_null(strstr(fail_text(), "RESA_ISA=sse9"));
    setenv("RESA_ISA", "portable", 1);
    omp_set_num_threads(3);
    assert_int_equal(cpu_open(&d, 0), 0);
    unsetenv("RESA_ISA");
    char text[64];
    assert_int_equal(cpu_describe(d, text, sizeof text), 0);
    assert_string_equal(text, "portable, 3 threads");
    assert_true(cpu_free_bytes(d) > 1 << 20);
    float *p = NULL, host[4] = { 1, 2, 3, 4 }, back[4] = { 0 };
    assert_int_equal(cpu_alloc(d, (void **)&p, 100 * sizeof *p, "test"), 0);
    for (int i = 0; i < 100; i++) assert_true(isnan(p[i]));
    assert_int_equal(cpu_upload(d, p, host, sizeof host), 0);
    assert_int_equal(cpu_download(d, back, p, sizeof back), 0);
    assert_memory_equal(host, back, sizeof host);
    assert_int_equal(cpu_sync(d), 0);
    cpu_release(d, p);
    const struct model_shape shape = { .n_heads = 4, .n_kv_heads = 2, .head_dim = 16 };
    const struct work_extent large = { .max_rows = 10, .max_context = 100 }, small = { .max_rows = 5, .max_context = 50 };
    mem_fail_after(0);
    assert_int_equal(cpu_reserve(d, &shape, &large), -1);
    mem_fail_after(-1);
    assert_int_equal(cpu_reserve(d, &shape, &large), 0);
    const size_t before = d->workspace_bytes;
    assert_int_equal(cpu_reserve(d, &shape, &small), 0); /* never shrinks */
    assert_int_equal(d->workspace_bytes, before);
    cpu_close(d);
    mem_fail_after(0);
    assert_int_equal(cpu_open(&d, 0), -1);
    mem_fail_after(-1);
    assert_null(d);
    cpu_close(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rope_and_append),   cmocka_unit_test(probe_writes_its_tail),
        cmocka_unit_test(noise_is_gaussian), cmocka_unit_test(perturbation_has_its_size),
        cmocka_unit_test(copy_and_compare),  cmocka_unit_test(spread_is_the_variance),
        cmocka_unit_test(device_and_memory),
    };
    return cmocka_run_group_tests_name("kv_ops", tests, NULL, NULL);
}
