/* tests/test_cuda_product_large.c: products of the CUDA back ends in shapes of large models, which take kernels that small ones do not: against the
 * double-precision reference in some outputs, and the same bits for a row in every batch. */
#include "tests/cuda_product_case.h"

enum { MOST = 257 };

/* As the back end rounds a weight. */
static float rounded(const struct pair *p, float x)
{
    if (roundoff(p) < 0x1p-8) return f16_to_f32(f32_to_f16(x));
    uint32_t bits;
    memcpy(&bits, &x, 4);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u; /* to nearest, ties to even */
    memcpy(&x, &bits, 4);
    return x;
}

/* Weights from a seed: the host makes those of some outputs alone. */
static void check_product(struct pair *p, int n_in, int n_out, const int *rows, int n_counts)
{
    const size_t out = (size_t)n_out, in = (size_t)n_in;
    const struct tensor_seed seed = { 77, (uint32_t)n_out, 0.5f };
    const struct tensor t = { TENSOR_SEED, n_out, n_in, (const uint8_t *)&seed };
    float *x = random_elements(p, MOST * in, 2), *bias = random_floats(p, out, 1),
          *residual = random_floats(p, MOST * out, 1), *w = hold(p, in * 4);
    p->shape = (struct model_shape){ .n_heads = 1, .n_kv_heads = 1, .head_dim = 16, .hidden = 64, .ffn = n_in };
    must(p->cuda->reserve(p->gpu, &p->shape, &(struct work_extent){ .max_rows = MOST, .max_context = 64 }));
    struct matrix *m = NULL;
    must(p->cuda->layer_matrix_pack(p->gpu, &m, (const struct tensor *[]){ &t }, 1));
    const struct product_args args = { .w = m,
                                       .x = on_gpu(p, x, MOST * in * 4),
                                       .bias = on_gpu(p, bias, out * 4),
                                       .residual = on_gpu(p, residual, MOST * out * 4) };
    const float *first = product_in_batches(p, args, rows, n_counts, n_out, MOST);
    double worst = 0;
    for (int o = 0; o < n_out; o += o + 211 < n_out || o == n_out - 1 ? 211 : n_out - 1 - o) { /* the last one too */
        tensor_row(&t, o, w);
        if (is_int4(p)) int4_round_row(w, n_in);
        for (int k = 0; k < n_in && !is_int4(p); k++) w[k] = rounded(p, w[k]);
        for (int r = 0; r < rows[n_counts - 1]; r += 17) {
            const size_t at = (size_t)r * out + (size_t)o;
            const double rest = (double)bias[o] + (double)residual[at],
                         error = product_error(p, &t, w, x + (size_t)r * in, rest, fabs((double)bias[o]) + fabs((double)residual[at]), first[at]);
            worst = fmax(worst, error);
            if (!(error <= 1))
                fail_msg("product %d x %d, row %d, output %d: off by %g of what is allowed", n_out, n_in, r, o, error);
        }
    }
    print_message("%s: product %5d x %5d: worst error %.3f of the tolerance, the same bits at 1 .. %d rows\n",
                  p->cuda->name, n_out, n_in, worst, rows[n_counts - 1]);
    p->cuda->matrix_free(p->gpu, m);
}

/* What a device of 132 multiprocessors takes for it (kernels/cuda_product.cu). */
static void products_of_large_models(void **state)
{
    (void)state;
    static const char *const names[] = { "cuda", "cuda-bf16" };
    /* a long ring for 8 rows at most; clusters of 4 to 128 rows, of 2 to 256; tiles of 96 rows */
    static const int rows[] = { 1, 8, 9, 64, 65, 128, 129, 256, 257 };
    for (int i = 0; i < 2; i++) {
        struct pair p;
        if (!pair_open_as(&p, names[i])) skip();
        check_product(&p, 18944, 3584, rows, sizeof rows / sizeof *rows);
        pair_close(&p);
    }
}

static void int4_products_of_large_models(void **state)
{
    (void)state;
    /* three blocks of threads to a multiprocessor for 8 rows at most; 20 groups, the last of 40 */
    static const int rows[] = { 1, 3, 8, 9, 64, 65, 97 };
    struct pair p;
    if (!pair_open_as(&p, "cuda-int4")) skip();
    check_product(&p, 2472, 4700, rows, sizeof rows / sizeof *rows);
    pair_close(&p);
}

/* test_cuda_product_large [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(products_of_large_models),
                                        cmocka_unit_test(int4_products_of_large_models) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
