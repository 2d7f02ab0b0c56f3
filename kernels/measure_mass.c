#include "kernels/measure.h"

/* The blocks that a lane reads of one KV head: list[n], or all of 0 .. n-1 where list is NULL; n_blocks of the context. */
struct blocks {
    const int32_t *list;
    int n, n_blocks;
};

static int n_context_blocks(const struct measure_layer_args *a, int lane, int row)
{
    const int size = a->lanes[lane].block_size;
    return (a->rows[row].position + size) / size; /* ceil((position + 1) / size) */
}

static struct blocks blocks_of(const struct measure_layer_args *a, int row, int kv_head, int n_blocks)
{
    struct blocks b = { NULL, n_blocks, n_blocks };
    if (!a->lists) return b;
    const size_t at = (size_t)row * (size_t)a->n_kv_heads + (size_t)kv_head;
    if (a->lists->count[at] < 0) return b;
    b.list = a->lists->blocks + at * (size_t)a->lists->max_blocks;
    b.n = a->lists->count[at];
    return b;
}

/* Sum of a query head's block masses over the blocks, ascending. */
static double mass_in(const double *mass, const struct blocks *b)
{
    double sum = 0;
    for (int i = 0; i < b->n; i++) sum += mass[b->list ? b->list[i] : i];
    return sum;
}

static void swap_doubles(double *a, double *b)
{
    const double t = *a;
    *a = *b;
    *b = t;
}

/* The k-th largest of x[n] (k from 1), which is reordered: Hoare's selection.  x holds no NaN. */
static double kth_largest(double *x, int n, int k)
{
    int from = 0, to = n - 1;
    while (from < to) {
        const double pivot = x[from + (to - from) / 2];
        int i = from, j = to;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i <= j) swap_doubles(&x[i++], &x[j--]);
        }
        if (k - 1 <= j) to = j;
        else if (k - 1 >= i) from = i;
        else break; /* between them all equal the pivot */
    }
    return x[k - 1];
}

/* The n best blocks of a KV head, ascending, into list[n]: the local ones, and the others by the mean of the group's masses,
 * summed in head order; ties go to the lower index, NaN counts as the least. */
static void choose_best(const double *mass, size_t stride, int n_group, int n_blocks, int n_local, int n, double *mean, int32_t *list)
{
    double *order = (double *)(void *)list; /* the list replaces it: there is never more of it than was read */
    for (int b = 0; b < n_blocks; b++) {
        double sum = 0;
        for (int h = 0; h < n_group; h++) sum += mass[(size_t)h * stride + (size_t)b];
        sum /= n_group;
        mean[b] = b >= n_blocks - n_local ? INFINITY : isnan(sum) ? -INFINITY : sum;
        order[b] = mean[b];
    }
    const double least = kth_largest(order, n_blocks, n);
    int n_ties = n;
    for (int b = 0; b < n_blocks; b++) n_ties -= mean[b] > least;
    for (int b = 0, i = 0; b < n_blocks && i < n; b++) {
        if (mean[b] < least || (mean[b] == least && n_ties-- <= 0)) continue;
        list[i++] = b;
    }
}

/* The lesser; NaN where one of them is. */
static double least_of(double a, double b)
{
    return a <= b || isnan(a) ? a : b;
}

/* Sums over the query heads so far. */
struct mass_sums {
    double kept, best, stale, least_kept;
};

/* One KV head's query heads; scratch [2 * n_blocks]. */
static struct mass_sums measure_group(const struct measure_layer_args *a, int lane, int row, const struct blocks *read, int kv_head,
                                      double *scratch)
{
    const int n_group = a->n_heads / a->n_kv_heads;
    const size_t first = (size_t)row * (size_t)a->n_heads + (size_t)(kv_head * n_group), stride = (size_t)a->mass_blocks;
    const double *mass = a->mass + first * stride;
    struct blocks best = *read;
    if (read->n > 0 && read->n < read->n_blocks) {
        int32_t *list = (int32_t *)(void *)(scratch + read->n_blocks);
        choose_best(mass, stride, n_group, read->n_blocks, a->lanes[lane].local_blocks, read->n, scratch, list);
        best.list = list;
    }
    struct mass_sums s = { .least_kept = INFINITY };
    for (int h = 0; h < n_group; h++) {
        const double kept = mass_in(mass + (size_t)h * stride, read);
        s.kept += kept;
        s.best += mass_in(mass + (size_t)h * stride, &best);
        s.stale += a->stale[first + (size_t)h];
        s.least_kept = least_of(s.least_kept, kept);
    }
    return s;
}

void measure_mass(const struct measure_layer_args *a, int lane, const struct measure_rows *rows, double *scratch)
{
    if (!a->mass || !(measure_has(&a->m, VAR_KEPT_MASS) || measure_has(&a->m, VAR_KEPT_HEAD_MASS))) return;
    const int n_group = a->n_heads / a->n_kv_heads, n_blocks = n_context_blocks(a, lane, rows->row);
    const size_t at = (size_t)lane * (size_t)a->m.layout->n_layers + (size_t)a->layer, n_kv = (size_t)a->n_kv_heads;
    struct mass_sums all = { .least_kept = INFINITY };
    for (int g = 0; g < a->n_kv_heads; g++) {
        const struct blocks read = blocks_of(a, rows->row, g, n_blocks);
        const struct mass_sums s = measure_group(a, lane, rows->row, &read, g, scratch);
        const size_t at_head = at * n_kv + (size_t)g;
        measure_put(&a->m, VAR_KEPT_HEAD_MASS, at_head, s.kept / n_group);
        measure_put(&a->m, VAR_BEST_HEAD_MASS, at_head, s.best / n_group);
        measure_put(&a->m, VAR_STALE_HEAD_MASS, at_head, s.stale / n_group);
        all.kept += s.kept;
        all.best += s.best;
        all.stale += s.stale;
        all.least_kept = least_of(all.least_kept, s.least_kept);
    }
    measure_put(&a->m, VAR_KEPT_MASS, at, all.kept / a->n_heads);
    measure_put(&a->m, VAR_KEPT_MASS_MIN, at, all.least_kept);
    measure_put(&a->m, VAR_BEST_MASS, at, all.best / a->n_heads);
    measure_put(&a->m, VAR_STALE_MASS, at, all.stale / a->n_heads);
}

/* |a and b| / |a or b| of two ascending lists. */
static double jaccard(const struct blocks *a, const struct blocks *b)
{
    int n_both = 0;
    for (int i = 0, j = 0; i < a->n && j < b->n;) {
        const int32_t x = a->list ? a->list[i] : i, y = b->list ? b->list[j] : j;
        n_both += x == y;
        i += x <= y;
        j += y <= x;
    }
    return (double)n_both / (double)(a->n + b->n - n_both);
}

static void put_blocks(const struct measure *m, size_t at_head, const struct blocks *b)
{
    const int n_slots = m->layout->n_slots;
    int32_t *to = record_at(m->layout, m->record, VAR_SELECTED_BLOCKS);
    if (!to) return;
    const int n = b->list ? b->n : 0; /* a lane's dense layers read all without a selection */
    for (int i = 0; i < n_slots; i++) to[at_head * (size_t)n_slots + (size_t)i] = i < n ? b->list[i] : -1;
}

void measure_selection(const struct measure_layer_args *a, int lane, const struct measure_rows *rows)
{
    const int n_group = a->n_heads / a->n_kv_heads, n_blocks = n_context_blocks(a, lane, rows->row);
    const size_t at = (size_t)lane * (size_t)a->m.layout->n_layers + (size_t)a->layer, n_kv = (size_t)a->n_kv_heads;
    const bool parts = rows->ref >= 0 && a->mass_dense && measure_has(&a->m, VAR_KEPT_MASS_DENSE);
    double n_read = 0, dense = 0, overlap = 0;
    for (int g = 0; g < a->n_kv_heads; g++) {
        const struct blocks read = blocks_of(a, rows->row, g, n_blocks);
        n_read += read.n;
        put_blocks(&a->m, at * n_kv + (size_t)g, &read);
        for (int h = g * n_group; parts && h < (g + 1) * n_group; h++)
            dense += mass_in(a->mass_dense + ((size_t)lane * (size_t)a->n_heads + (size_t)h) * (size_t)a->mass_blocks, &read);
        if (rows->twin < 0) continue;
        const struct blocks twin = blocks_of(a, rows->twin, g, n_blocks);
        overlap += jaccard(&read, &twin);
    }
    measure_put(&a->m, VAR_BLOCKS_READ, at, n_read / (double)n_kv);
    if (parts) measure_put(&a->m, VAR_KEPT_MASS_DENSE, at, dense / a->n_heads);
    if (rows->twin >= 0) measure_put(&a->m, VAR_SELECT_OVERLAP, at, overlap / (double)n_kv);
}
