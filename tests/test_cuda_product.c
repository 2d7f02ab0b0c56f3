/* tests/test_cuda_product.c: products, and operations on rows, of the CUDA back end: against the double-precision reference and the CPU;
 * whichever kernel computes it and whatever the batch, a row has the same bits. */
#include "tests/cuda_product_case.h"

/* ---- products ---- */

/* Packs the two parts, w: [n_a + n_b][n_in], as a matrix of a layer; w becomes the weights as they enter a product. */
static struct matrix *pack_layer(struct pair *p, float *w, int n_a, int n_b, int n_in)
{
    struct matrix *m = NULL;
    const struct tensor a = { TENSOR_F32, n_a, n_in, (const uint8_t *)w }, b = { TENSOR_F32, n_b, n_in, (const uint8_t *)(w + (size_t)n_a * (size_t)n_in) };
    const struct tensor *const parts[] = { &a, &b };
    must(p->cuda->layer_matrix_pack(p->gpu, &m, parts, 2));
    if (is_int4(p))
        for (int o = 0; o < n_a + n_b; o++) int4_round_row(w + (size_t)o * (size_t)n_in, n_in);
    return m;
}

static void check_product(struct pair *p, int n_in, int n_a, int n_b)
{
    enum { MOST = 1000 };
    static const int rows[] = { 1, 3, 8, 13, 17, 32, 33, 64, 65, 100, 129, 257, 600, MOST };
    const int n_out = n_a + n_b;
    float *w = random_elements(p, (size_t)n_out * (size_t)n_in, 0.5f);
    for (size_t i = 0; is_int4(p) && i < (size_t)n_out * (size_t)n_in; i++) w[i] *= i / 64 % 5 == 0 ? 0x1p-6f : i / 128 % 7 == 0 ? 0 : 1; /* groups of other sizes */
    float *x = random_elements(p, (size_t)MOST * (size_t)n_in, 2), *bias = random_floats(p, (size_t)n_out, 1);
    float *residual = random_floats(p, (size_t)MOST * (size_t)n_out, 1);
    p->shape = (struct model_shape){ .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .hidden = n_in, .ffn = n_in };
    must(p->cuda->reserve(p->gpu, &p->shape, &(struct work_extent){ .max_rows = MOST, .max_context = 64 }));
    struct matrix *m = pack_layer(p, w, n_a, n_b, n_in);
    const struct product_args args = { .w = m,
                                       .x = on_gpu(p, x, (size_t)MOST * (size_t)n_in * 4),
                                       .bias = on_gpu(p, bias, (size_t)n_out * 4),
                                       .residual = on_gpu(p, residual, (size_t)MOST * (size_t)n_out * 4) };
    const float *first = product_in_batches(p, args, rows, sizeof rows / sizeof *rows, n_out, MOST);
    const struct tensor t = { TENSOR_F32, n_out, n_in, (const uint8_t *)w };
    double worst = 0;
    for (int r = 0; r < MOST; r += 37)
        for (int o = 0; o < n_out; o++) {
            const size_t at = (size_t)r * (size_t)n_out + (size_t)o;
            const double b = (double)bias[o], y = (double)residual[at];
            const double error = product_error(p, &t, w + (size_t)o * (size_t)n_in, x + (size_t)r * (size_t)n_in, b + y, fabs(b) + fabs(y), first[at]);
            worst = fmax(worst, error);
            if (!(error <= 1)) fail_msg("product %d x %d, row %d, output %d: off by %g of what is allowed", n_out, n_in, r, o, error);
        }
    print_message("%s: product %5d x %5d: worst error %.3f of the tolerance, the same bits at 1 .. %d rows\n", p->cuda->name, n_out, n_in, worst, MOST);
    p->cuda->matrix_free(p->gpu, m);
}

static void products_are_right_and_know_no_batch(void **state)
{
    WITH_PAIR(p);
    static const int shapes[][3] = { { 64, 80, 48 }, { 96, 5, 2 }, { 1000, 130, 126 }, { 576, 1000, 1 }, { 192, 100, 100 }, { 3584, 512, 7 }, { 64, 20000, 20000 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_product(&p, shapes[i][0], shapes[i][1], shapes[i][2]);
        pair_clear(&p);
    }
    pair_close(&p);
    must(pair_open_as(&p, "cuda-bf16") ? 0 : -1);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i += 2) {
        check_product(&p, shapes[i][0], shapes[i][1], shapes[i][2]);
        pair_clear(&p);
    }
    pair_close(&p);
}

static void int4_products_are_right_and_know_no_batch(void **state)
{
    struct pair p;
    (void)state;
    if (!pair_open_as(&p, "cuda-int4")) skip();
    /* one group, and less; a last group of 64, of 104, of 1; all segments; more tiles than are split */
    static const int shapes[][3] = { { 128, 80, 48 }, { 64, 80, 48 }, { 96, 5, 2 }, { 576, 1000, 1 }, { 1000, 130, 126 }, { 257, 100, 100 }, { 1152, 200, 3 },
                                     { 3584, 512, 7 }, { 192, 20000, 20000 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_product(&p, shapes[i][0], shapes[i][1], shapes[i][2]);
        pair_clear(&p);
    }
    float bad[2][64] = { { 70000 }, { NAN } };
    struct matrix *m = NULL;
    const struct tensor large = { TENSOR_F32, 1, 64, (const uint8_t *)bad[0] }, none = { TENSOR_F32, 1, 64, (const uint8_t *)bad[1] };
    assert_int_equal(p.cuda->layer_matrix_pack(p.gpu, &m, (const struct tensor *[]){ &large }, 1), -1);
    assert_non_null(strstr(fail_text(), "too large for fp16"));
    must(p.cuda->layer_matrix_pack(p.gpu, &m, (const struct tensor *[]){ &none }, 1));
    float *ones = hold(&p, 64 * 4), *y = on_gpu(&p, NULL, 4);
    for (int i = 0; i < 64; i++) ones[i] = 1;
    p.shape = (struct model_shape){ .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .hidden = 64, .ffn = 64 };
    must(p.cuda->reserve(p.gpu, &p.shape, &(struct work_extent){ .max_rows = 1, .max_context = 64 }));
    must(p.cuda->upload(p.gpu, y, ones, 4));
    const struct product_args args = { .n_rows = 1, .w = m, .x = on_gpu(&p, ones, 64 * 4), .y = y };
    must(p.cuda->product(p.gpu, &args));
    assert_true(isnan(*(const float *)from_gpu(&p, y, 4))); /* a weight that is no number stays visible */
    p.cuda->matrix_free(p.gpu, m);
    pair_close(&p);
}

/* Whole numbers up to 7 are what int4 holds: small sums of them are exact, in any order. */
static void int4_weights_are_where_they_belong(void **state)
{
    struct pair p;
    (void)state;
    if (!pair_open_as(&p, "cuda-int4")) skip();
    enum { N_IN = 1056, N_OUT = 300, ROWS = 40 }; /* a last group of 32 */
    float *w = hold(&p, N_OUT * N_IN * 4), *x = hold(&p, ROWS * N_IN * 4), *dy = on_gpu(&p, NULL, ROWS * N_OUT * 4);
    for (int i = 0; i < N_OUT * N_IN; i++) w[i] = i % N_IN % 128 == 5 ? 7 : (float)(draw_int(&p, 15) - 7);
    for (int i = 0; i < ROWS * N_IN; i++) x[i] = (float)(draw_int(&p, 65) - 32);
    p.shape = (struct model_shape){ .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .hidden = N_IN, .ffn = N_IN };
    must(p.cuda->reserve(p.gpu, &p.shape, &(struct work_extent){ .max_rows = ROWS, .max_context = 64 }));
    struct matrix *m = pack_layer(&p, w, N_OUT - 1, 1, N_IN);
    const struct product_args args = { .n_rows = ROWS, .w = m, .x = on_gpu(&p, x, ROWS * N_IN * 4), .y = dy };
    must(p.cuda->product(p.gpu, &args));
    const float *y = from_gpu(&p, dy, ROWS * N_OUT * 4);
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < N_OUT; o++) {
            double want = 0;
            for (int k = 0; k < N_IN; k++) want += (double)w[o * N_IN + k] * (double)x[r * N_IN + k];
            assert_true((double)y[r * N_OUT + o] == want);
        }
    p.cuda->matrix_free(p.gpu, m);
    pair_close(&p);
}

/* Rows of any size: a power of two takes them into fp16's range. */
static void products_take_huge_and_tiny_rows(void **state)
{
    WITH_PAIR(p);
    enum { N_IN = 256, N_OUT = 32 };
    static const float sizes[] = { 1e30f, 1e7f, 1, 1e-7f, 1e-20f };
    float *w = random_floats(&p, N_IN * N_OUT, 1), *x = hold(&p, 5 * N_IN * 4);
    for (int i = 0; i < 5 * N_IN; i++) x[i] = draw(&p) * sizes[i / N_IN];
    const struct tensor t = { TENSOR_F32, N_OUT, N_IN, (const uint8_t *)w };
    const struct tensor *const parts[] = { &t };
    struct matrix *m = NULL;
    p.shape = (struct model_shape){ .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .hidden = N_IN, .ffn = N_IN };
    must(p.cuda->reserve(p.gpu, &p.shape, &(struct work_extent){ .max_rows = 8, .max_context = 64 }));
    must(p.cuda->matrix_pack(p.gpu, &m, parts, 1));
    float *dy = on_gpu(&p, NULL, 5 * N_OUT * 4);
    const struct product_args args = { .n_rows = 5, .w = m, .x = on_gpu(&p, x, 5 * N_IN * 4), .y = dy };
    must(p.cuda->product(p.gpu, &args));
    const float *y = from_gpu(&p, dy, 5 * N_OUT * 4);
    for (int r = 0; r < 5; r++)
        for (int o = 0; o < N_OUT; o++) {
            double want = 0, absolute = 0;
            for (int k = 0; k < N_IN; k++) {
                want += (double)x[r * N_IN + k] * (double)w[o * N_IN + k];
                absolute += fabs((double)x[r * N_IN + k] * (double)w[o * N_IN + k]);
            }
            assert_true(fabs((double)y[r * N_OUT + o] - want) <= 0x1p-10 * absolute); /* x is rounded to fp16: 2^-11 of each term */
        }
    w[5] = 1e6f;
    struct matrix *bad = NULL;
    assert_int_equal(p.cuda->matrix_pack(p.gpu, &bad, parts, 1), -1);
    assert_non_null(strstr(fail_text(), "too large for fp16"));
    p.cuda->matrix_free(p.gpu, m);
    pair_close(&p);
    if (!pair_open_as(&p, "cuda-bf16")) skip();
    float big[16 * 64];
    for (int i = 0; i < 16 * 64; i++) big[i] = i % 65 == 0 ? 0x1p100f : 0;
    const struct tensor t_big = { TENSOR_F32, 16, 64, (const uint8_t *)big };
    must(p.cuda->matrix_pack(p.gpu, &bad, (const struct tensor *[]){ &t_big }, 1));
    p.cuda->matrix_free(p.gpu, bad);
    pair_close(&p);
}

/* ---- operands ---- */

/* A row's rounding: half an ulp of each value, or, in fp16, of the smallest normal number of a row whose greatest is above 2^13. */
static double operand_error(const struct pair *p, double x, double most)
{
    return roundoff(p) * fabs(x) + 0x1p-38 * most;
}

/* y of a square identity matrix: the rows of an operand themselves. */
static const float *operand_rows(struct pair *p, const void *operand, int n_rows, int n)
{
    float *w = hold(p, (size_t)n * (size_t)n * 4), *y = on_gpu(p, NULL, (size_t)n_rows * (size_t)n * 4);
    for (int i = 0; i < n * n; i++) w[i] = i % n == i / n;
    const struct tensor t = { TENSOR_F32, n, n, (const uint8_t *)w };
    struct matrix *m = NULL;
    must(p->cuda->matrix_pack(p->gpu, &m, (const struct tensor *[]){ &t }, 1));
    const struct product_args a = { .n_rows = n_rows, .w = m, .operand = operand, .y = y };
    must(p->cuda->product(p->gpu, &a));
    const float *rows = from_gpu(p, y, (size_t)n_rows * (size_t)n * 4);
    p->cuda->matrix_free(p->gpu, m);
    return rows;
}

/* Norm, gate and up, SwiGLU as the engine has them: rows of any size, operands from end to end. */
static void check_feed_forward(struct pair *p, int n_in, int n, float size)
{
    enum { MOST = 300 };
    static const int counts[] = { 1, 5, 8, 16, 31, 64, 128, 200, MOST };
    const size_t in = (size_t)n_in, rows_n = MOST * in;
    float *x = random_floats(p, rows_n, 2), *weight = random_floats(p, in, 1), *w = random_elements(p, 2 * (size_t)n * in, size), *normed = hold(p, rows_n * 4);
    for (size_t i = 0; i < rows_n; i++) x[i] *= i / in % 3 == 0 ? 1e-6f : i / in % 3 == 1 ? 1 : 1e6f;
    struct matrix *m = pack_layer(p, w, n, n, n_in);
    struct norm_args norm = { .n_rows = MOST, .n = n_in, .x = x, .weight = weight, .eps = 1e-20, .out = normed };
    must(p->cpu->norm(p->host, &norm));
    norm.x = on_gpu(p, x, rows_n * 4), norm.weight = on_gpu(p, weight, in * 4), norm.out = NULL;
    const float *first_x = NULL, *first = NULL;
    for (size_t i = sizeof counts / sizeof *counts; i-- > 0;) {
        void *operand = on_gpu(p, NULL, p->cuda->operand_bytes(counts[i], n_in)), *act = on_gpu(p, NULL, p->cuda->operand_bytes(counts[i], n));
        norm.n_rows = counts[i], norm.operand = operand;
        must(p->cuda->norm(p->gpu, &norm));
        const struct product_args a = { .n_rows = counts[i], .w = m, .operand = operand, .act = act };
        must(p->cuda->product(p->gpu, &a));
        const float *got_x = operand_rows(p, operand, counts[i], n_in), *got = operand_rows(p, act, counts[i], n);
        if (!first) first_x = got_x, first = got;
        assert_memory_equal(got_x, first_x, (size_t)counts[i] * in * 4);
        assert_memory_equal(got, first, (size_t)counts[i] * (size_t)n * 4);
    }
    double greatest[2] = { 0, 0 };
    for (int o = 0; o < 2 * n; o++) {
        double sum = 0;
        for (size_t k = 0; k < in; k++) sum += (double)w[(size_t)o * in + k] * (double)w[(size_t)o * in + k];
        greatest[o / n] = fmax(greatest[o / n], sqrt(sum));
    }
    double worst = 0;
    for (int r = 0; r < MOST; r += 11) {
        const float *row = first_x + (size_t)r * in;
        double most = 0, squares = 0;
        for (size_t k = 0; k < in; k++) most = fmax(most, fabs((double)normed[(size_t)r * in + k]));
        for (size_t k = 0; k < in; k++) { /* three ulps of the norm itself, as below */
            const double want = (double)normed[(size_t)r * in + k];
            assert_true(fabs((double)row[k] - want) <= operand_error(p, want, most) + 3 * 0x1p-23 * fabs(want));
            squares += (double)row[k] * (double)row[k];
        }
        for (int i = 0; i < n; i++) {
            double sum[2] = { 0, 0 }, error[2] = { 0, 0 };
            for (size_t k = 0; k < in; k++)
                for (int u = 0; u < 2; u++) {
                    const double term = (double)row[k] * (double)w[(size_t)(i + u * n) * in + k];
                    sum[u] += term;
                    error[u] += fabs(term);
                }
            for (int u = 0; u < 2; u++) error[u] = product_tolerance(p, n_in, 2 * n, error[u], 0, 0);
            const double silu = sum[0] / (1 + exp(-sum[0])), want = silu * sum[1];
            /* the slope of silu is below 1.1; ten roundings of float32; fp16 below the bound's scale */
            const double bound = squares * 1.05 * greatest[0] * greatest[1] * 1.05;
            const double tolerance = 1.1 * error[0] * (fabs(sum[1]) + error[1]) + error[1] * fabs(silu) + 0x1p-20 * fabs(want) + roundoff(p) * fabs(want) + 0x1p-38 * bound;
            const double err = fabs((double)first[(size_t)r * (size_t)n + (size_t)i] - want);
            worst = fmax(worst, err / tolerance);
            if (!(err <= tolerance)) fail_msg("swiglu, row %d, output %d: off by %g, %g allowed", r, i, err, tolerance);
        }
    }
    print_message("%s: feed-forward %d -> %d: worst error %.3f of the tolerance, the same bits at 1 .. %d rows\n", p->cuda->name, n_in, n, worst, MOST);
    p->cuda->matrix_free(p->gpu, m);
}

static void operands_are_right_and_know_no_batch(void **state)
{
    struct pair p;
    (void)state;
    static const struct {
        int n_in, n;
        float size;
    } cases[] = { { 64, 128, 0.5f }, { 200, 130, 0.1f }, { 1000, 333, 1 }, { 72, 96, 30 } };
    static const char *const devices[] = { "cuda-bf16", "cuda-int4", "cuda" };
    for (int k = 0; k < 3; k++) {
        if (k > 0) pair_close(&p);
        if (!pair_open_as(&p, devices[k])) skip();
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            check_feed_forward(&p, cases[i].n_in, cases[i].n, cases[i].size);
            pair_clear(&p);
        }
    }
    float *w = random_floats(&p, 32 * 64, 1);
    const struct tensor t = { TENSOR_F32, 32, 64, (const uint8_t *)w };
    struct matrix *m = NULL;
    must(p.cuda->matrix_pack(p.gpu, &m, (const struct tensor *[]){ &t }, 1));
    void *operand = on_gpu(&p, NULL, p.cuda->operand_bytes(1, 64));
    const struct product_args one_part = { .n_rows = 1, .w = m, .operand = operand, .act = operand };
    assert_int_equal(p.cuda->product(p.gpu, &one_part), -1);
    assert_non_null(strstr(fail_text(), "two parts"));
    p.cuda->matrix_free(p.gpu, m);
    pair_close(&p);
}

/* What a product writes of row r of an operand of rows of n (cuda_matrix.cuh): its values, the zeros behind them, its scale. */
static size_t operand_row_bytes(int n)
{
    return (size_t)(n + 63) / 64 * 64 * 2 + sizeof(float);
}

static void operand_row(const uint8_t *operand, int n, int r, uint8_t *row)
{
    const size_t n_chunks = (size_t)(n + 63) / 64, tile_bytes = 128 * 64 * 2;
    const uint8_t *block = operand + (size_t)(r / 128) * (n_chunks * tile_bytes + 2 * 128 * sizeof(float));
    for (size_t core = 0; core < n_chunks * 8; core++)
        memcpy(row + core * 16, block + core / 8 * tile_bytes + core % 8 * 128 + (size_t)(r % 128 / 8 * 1024 + r % 8 * 16), 16);
    memcpy(row + n_chunks * 128, block + n_chunks * tile_bytes + (size_t)(r % 128) * sizeof(float), sizeof(float));
}

/* A layer's gate and up, and the rows that they are multiplied with. */
struct activation_case {
    const struct matrix *m;
    const float *x, *weight; /* of the norm; device */
    int n_in, n;
};

/* rows: [n_rows][operand_row_bytes], of x's rows from `first` on, computed by themselves. */
static void activation_rows(struct pair *p, const struct activation_case *c, int first, int n_rows, uint8_t *rows)
{
    const size_t x_bytes = p->cuda->operand_bytes(n_rows, c->n_in), act_bytes = p->cuda->operand_bytes(n_rows, c->n);
    void *operand = NULL, *act = NULL, *host = NULL;
    must(p->cuda->alloc(p->gpu, &operand, x_bytes, "operand"));
    must(p->cuda->alloc(p->gpu, &act, act_bytes, "activations")); /* NaN */
    must(mem_alloc(&host, act_bytes, 1, "activations"));
    const struct norm_args norm = { .n_rows = n_rows, .n = c->n_in, .x = c->x + (size_t)first * (size_t)c->n_in, .weight = c->weight, .eps = 1e-6, .operand = operand };
    must(p->cuda->norm(p->gpu, &norm));
    const struct product_args a = { .n_rows = n_rows, .w = c->m, .operand = operand, .act = act };
    must(p->cuda->product(p->gpu, &a));
    must(p->cuda->download(p->gpu, host, act, act_bytes));
    must(p->cuda->sync(p->gpu));
    for (int r = 0; r < n_rows; r++) operand_row(host, c->n, r, rows + (size_t)r * operand_row_bytes(c->n));
    mem_free(host);
    p->cuda->release(p->gpu, act);
    p->cuda->release(p->gpu, operand);
}

/* SwiGLU's rows are the same bytes alone and among any number of others, in whichever kernel and tile. */
static void check_activation_bytes(struct pair *p, int n_in, int n)
{
    enum { MOST = 600 };
    static const int counts[] = { 9, 17, 33, 64, 65, 97, 129, 200, 257, 300, 400 }, alone[] = { 0, 63, 64, 95, 96, 127, 128, 191, 192, 199, 255, 256, 299, 399, 599 };
    const size_t in = (size_t)n_in, row_bytes = operand_row_bytes(n);
    float *w = random_elements(p, 2 * (size_t)n * in, 0.5f), *ones = hold(p, in * 4);
    uint8_t *want = hold(p, MOST * row_bytes), *got = hold(p, MOST * row_bytes);
    for (size_t i = 0; i < in; i++) ones[i] = 1;
    struct matrix *m = pack_layer(p, w, n, n, n_in);
    const struct activation_case c = { m, on_gpu(p, random_floats(p, MOST * in, 2), MOST * in * 4), on_gpu(p, ones, in * 4), n_in, n };
    activation_rows(p, &c, 0, MOST, want);
    for (size_t i = 0; i < MOST * row_bytes / 2; i++) assert_true(want[2 * i] != 0xff || want[2 * i + 1] != 0xff); /* all of it was written */
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        activation_rows(p, &c, 0, counts[i], got);
        assert_memory_equal(got, want, (size_t)counts[i] * row_bytes);
    }
    for (size_t i = 0; i < sizeof alone / sizeof *alone; i++) {
        activation_rows(p, &c, alone[i], 1, got);
        assert_memory_equal(got, want + (size_t)alone[i] * row_bytes, row_bytes);
    }
    p->cuda->matrix_free(p->gpu, m);
}

static void activations_are_the_same_bytes_in_every_batch(void **state)
{
    struct pair p;
    (void)state;
    static const char *const devices[] = { "cuda", "cuda-bf16", "cuda-int4" };
    for (int k = 0; k < 3; k++) {
        if (!pair_open_as(&p, devices[k])) skip();
        check_activation_bytes(&p, 200, 2810); /* 44 tiles of outputs, the last with padding; of rows, tiles of every size */
        pair_clear(&p);
        check_activation_bytes(&p, 64, 16400); /* more tiles than an int4 product splits */
        pair_close(&p);
    }
}

/* Weights that the device makes from a seed are the host's. */
static void seeded_weights_are_the_hosts(void **state)
{
    WITH_PAIR(p);
    static const int shapes[][2] = { { 40, 64 }, { 7, 99 }, { 300, 130 }, { 5, 4099 } };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const int n_out = shapes[i][0], n_in = shapes[i][1];
        const size_t n = (size_t)n_out * (size_t)n_in;
        const struct tensor_seed seed = { 0x123456789abcdefull, 77, 0.03f };
        const struct tensor seeded = { TENSOR_SEED, n_out, n_in, (const uint8_t *)&seed };
        float *w = hold(&p, n * 4), *out[2];
        struct row *rows = hold(&p, (size_t)n_out * sizeof *rows);
        int32_t *tokens = hold(&p, (size_t)n_out * 4);
        for (int r = 0; r < n_out; r++) tensor_row(&seeded, r, w + (size_t)r * (size_t)n_in), rows[r] = (struct row){ .token_at = r }, tokens[r] = r;
        const struct tensor plain = { TENSOR_F32, n_out, n_in, (const uint8_t *)w };
        const struct tensor *const both[] = { &seeded, &plain };
        const struct row *d_rows = on_gpu(&p, rows, (size_t)n_out * sizeof *rows);
        const int32_t *d_tokens = on_gpu(&p, tokens, (size_t)n_out * 4);
        for (int k = 0; k < 2; k++) {
            struct matrix *m = NULL;
            must(p.cuda->matrix_pack(p.gpu, &m, &both[k], 1));
            out[k] = on_gpu(&p, NULL, n * 4);
            const struct embed_args a = { n_out, n_in, d_rows, d_tokens, m, out[k] };
            must(p.cuda->embed(p.gpu, &a));
            out[k] = from_gpu(&p, out[k], n * 4);
            p.cuda->matrix_free(p.gpu, m);
        }
        assert_memory_equal(out[0], out[1], n * 4);
        for (size_t e = 0; e < n; e++) assert_true(out[0][e] == f16_to_f32(f32_to_f16(w[e])));
        pair_clear(&p);
    }
    pair_close(&p);
}

/* ---- rows ---- */

static void assert_close(const float *got, const float *want, size_t n, double ulps, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= ulps * 0x1p-23 * fabs((double)want[i]) + 1e-37))
            fail_msg("%s: element %zu is %.9g, not %.9g", what, i, (double)got[i], (double)want[i]);
}

static void row_operations_match(void **state)
{
    WITH_PAIR(p);
    enum { ROWS = 5, N = 1000, PAIRS = 64 };
    float *x = random_floats(&p, ROWS * N, 3), *w = random_floats(&p, N, 1), *want = hold(&p, ROWS * N * 4);
    float *dx = on_gpu(&p, x, ROWS * N * 4), *out = on_gpu(&p, NULL, ROWS * N * 4);
    struct norm_args norm = { .n_rows = ROWS, .n = N, .x = x, .weight = w, .eps = 1e-6, .out = want };
    must(p.cpu->norm(p.host, &norm));
    norm.x = dx, norm.weight = on_gpu(&p, w, N * 4), norm.out = out;
    must(p.cuda->norm(p.gpu, &norm));
    assert_close(from_gpu(&p, out, ROWS * N * 4), want, ROWS * N, 3, "norm"); /* the scale may round the other way, two products */
    static const struct row rows[ROWS] = { { .position = 0 }, { .position = 7 }, { .position = 4095 }, { .position = 131071 }, { .position = 1000003 } };
    double frequency[PAIRS];
    for (int i = 0; i < PAIRS; i++) frequency[i] = pow(10000, -i / (double)PAIRS);
    struct angles_args angles = { .n_rows = ROWS, .n_pairs = PAIRS, .rows = rows, .frequency = frequency, .attention_factor = 1.25,
                                  .cosine = want, .sine = want + ROWS * PAIRS };
    must(p.cpu->angles(p.host, &angles));
    angles.rows = on_gpu(&p, rows, sizeof rows), angles.frequency = on_gpu(&p, frequency, sizeof frequency);
    angles.cosine = out, angles.sine = out + ROWS * PAIRS;
    must(p.cuda->angles(p.gpu, &angles));
    assert_close(from_gpu(&p, out, 2 * ROWS * PAIRS * 4), want, 2 * ROWS * PAIRS, 1, "angles"); /* double, rounded once */
    pair_close(&p);
}

static void embedding_matches(void **state)
{
    WITH_PAIR(p);
    enum { HIDDEN = 72, VOCAB = 30, ROWS = 6 };
    float *w = random_floats(&p, VOCAB * HIDDEN, 1);
    const struct tensor t = { TENSOR_F32, VOCAB, HIDDEN, (const uint8_t *)w };
    const struct tensor *const parts[] = { &t };
    struct matrix *m = NULL;
    must(p.cuda->matrix_pack(p.gpu, &m, parts, 1));
    struct row rows[ROWS];
    int32_t tokens[2 * ROWS];
    for (int i = 0; i < ROWS; i++) rows[i] = (struct row){ .position = i, .token_at = 2 * ROWS - 1 - i };
    for (int i = 0; i < 2 * ROWS; i++) tokens[i] = (i * 11 + 3) % VOCAB;
    float *out = on_gpu(&p, NULL, ROWS * HIDDEN * 4);
    const struct embed_args embed = { ROWS, HIDDEN, on_gpu(&p, rows, sizeof rows), on_gpu(&p, tokens, sizeof tokens), m, out };
    must(p.cuda->embed(p.gpu, &embed));
    const float *rows_out = from_gpu(&p, out, ROWS * HIDDEN * 4);
    for (int i = 0; i < ROWS; i++) assert_memory_equal(rows_out + i * HIDDEN, w + tokens[rows[i].token_at] * HIDDEN, HIDDEN * 4);
    p.cuda->matrix_free(p.gpu, m);
    pair_close(&p);
}

static void check_spread(struct pair *p, int n_heads, int n_kv, int dim)
{
    enum { ROWS = 6 };
    const size_t n = (size_t)(n_kv * dim), stride = (size_t)((n_heads + 2 * n_kv) * dim);
    struct row rows[ROWS];
    for (int i = 0; i < ROWS; i++) rows[i] = (struct row){ .position = i };
    float *k = random_floats(p, ROWS * n, 1), *qkv = random_floats(p, ROWS * stride, 1);
    double *want = hold(p, 4 * n * sizeof *want), *on = on_gpu(p, NULL, 4 * n * sizeof *want);
    struct spread_args a = { ROWS, n_heads, n_kv, dim, rows, k, qkv, want };
    must(p->cpu->spread(p->host, &a));
    a.rows = on_gpu(p, rows, sizeof rows), a.k_plain = on_gpu(p, k, ROWS * n * 4), a.qkv = on_gpu(p, qkv, ROWS * stride * 4), a.state = on;
    must(p->cuda->spread(p->gpu, &a));
    const double *got = from_gpu(p, on, 4 * n * sizeof *want);
    for (size_t i = 0; i < 4 * n; i++) assert_true(fabs(got[i] - want[i]) <= 64 * 0x1p-53 * (1 + fabs(want[i]))); /* six updates in double */
    pair_clear(p);
}

static void spread_matches(void **state)
{
    WITH_PAIR(p);
    check_spread(&p, 3, 2, 16);
    check_spread(&p, 4, 4, 64);
    check_spread(&p, 6, 2, 96);
    check_spread(&p, 28, 4, 128);
    check_spread(&p, 10, 5, 256);
    pair_close(&p);
}

/* test_cuda_product [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_are_right_and_know_no_batch),
        cmocka_unit_test(int4_products_are_right_and_know_no_batch),
        cmocka_unit_test(int4_weights_are_where_they_belong),
        cmocka_unit_test(products_take_huge_and_tiny_rows),
        cmocka_unit_test(operands_are_right_and_know_no_batch),
        cmocka_unit_test(activations_are_the_same_bytes_in_every_batch),
        cmocka_unit_test(seeded_weights_are_the_hosts),
        cmocka_unit_test(row_operations_match),
        cmocka_unit_test(embedding_matches),
        cmocka_unit_test(spread_matches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
