#include "kernels/product.h"

#include "kernels/cpu.h"

#include <string.h>

/* Rows that share one decoding of the weights: as many as keep their x in the second-level cache, but no fewer than make
 * the decoding small beside the products. */
enum { MAX_ROW_BLOCK = 240, MIN_ROW_BLOCK = 96, ROW_BLOCK_FLOATS = 1 << 17, MAX_WIDTH = PRODUCT_MAX_PANELS * PANEL };

const struct product_kernels *product_kernels(enum cpu_isa isa)
{
#ifdef __x86_64__
    if (isa == CPU_AVX512) return &product_avx512;
    if (isa == CPU_AVX2) return &product_avx2;
#endif
    (void)isa;
    return &product_portable;
}

/* Some panels of one part, all k, a block of rows. */
struct unit {
    const struct product_args *a;
    const struct product_kernels *kernels;
    const struct matrix_part *part;
    int panel, n_panels, first_row, n_rows;
};

/* acc [n_rows][n_panels * PANEL]: the bias or 0. */
static void unit_begin(const struct unit *u, float *acc)
{
    const int width = u->n_panels * PANEL, first = u->panel * PANEL;
    for (int o = 0; o < width; o++) {
        const bool biased = u->a->bias && first + o < u->part->n_out;
        acc[o] = biased ? u->a->bias[u->part->first_out + first + o] : 0;
    }
    for (int r = 1; r < u->n_rows; r++) memcpy(acc + (size_t)r * (size_t)width, acc, (size_t)width * sizeof *acc);
}

static void unit_end(const struct unit *u, const float *acc)
{
    const int width = u->n_panels * PANEL, first = u->panel * PANEL, left = u->part->n_out - first;
    const int n = left < width ? left : width;
    for (int r = 0; r < u->n_rows; r++, acc += width) {
        const size_t at = (size_t)(u->first_row + r) * (size_t)u->a->w->n_out + (size_t)(u->part->first_out + first);
        float *y = u->a->y + at;
        if (u->a->residual) {
            /* unit_begin filled acc.  NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
            for (int o = 0; o < n; o++) y[o] = acc[o] + u->a->residual[at + (size_t)o];
        } else {
            memcpy(y, acc, (size_t)n * sizeof *y);
        }
    }
}

static void unit_multiply(const struct unit *u)
{
    _Alignas(64) float acc[MAX_ROW_BLOCK * MAX_WIDTH], w[PRODUCT_CHUNK * MAX_WIDTH];
    const int n_in = u->a->w->n_in, chunk = product_chunk(n_in);
    const float *x = u->a->x + (size_t)u->first_row * (size_t)n_in;
    unit_begin(u, acc);
    for (int k = 0; k < n_in; k += chunk) {
        const int n_k = n_in - k < chunk ? n_in - k : chunk;
        u->kernels->multiply(u->part, u->panel, u->n_panels, k, n_k, u->n_rows, x + k, (size_t)n_in, w, acc,
                             (size_t)u->n_panels * PANEL);
    }
    unit_end(u, acc);
}

static int units_of(const struct matrix *m, int panels)
{
    int n = 0;
    for (int i = 0; i < m->n_parts; i++) n += (m->parts[i].n_panels + panels - 1) / panels;
    return n;
}

/* Unit `index` of the matrix's panels taken `panels` at a time, part by part. */
static void unit_find(struct unit *u, int index, int panels)
{
    const struct matrix_part *p = u->a->w->parts;
    while (index * panels >= p->n_panels) index -= (p++->n_panels + panels - 1) / panels;
    u->part = p;
    u->panel = index * panels;
    u->n_panels = p->n_panels - u->panel < panels ? p->n_panels - u->panel : panels;
}

static int row_block(int n_in)
{
    const int fit = ROW_BLOCK_FLOATS / n_in;
    return fit > MAX_ROW_BLOCK ? MAX_ROW_BLOCK : fit < MIN_ROW_BLOCK ? MIN_ROW_BLOCK : fit;
}

int cpu_product(struct device *d, const struct product_args *a)
{
    const struct product_kernels *kernels = product_kernels(d->isa);
    const int panels = kernels->panels(a->n_rows), n_units = units_of(a->w, panels), block = row_block(a->w->n_in);
#pragma omp parallel num_threads(d->n_threads)
    for (int r = 0; r < a->n_rows; r += block) {
        struct unit u = { .a = a, .kernels = kernels, .first_row = r };
        u.n_rows = a->n_rows - r < block ? a->n_rows - r : block;
#pragma omp for schedule(static) nowait
        for (int i = 0; i < n_units; i++) {
            unit_find(&u, i, panels);
            unit_multiply(&u);
        }
    }
    return 0;
}
