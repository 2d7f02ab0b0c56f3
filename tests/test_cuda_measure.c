/* tests/test_cuda_measure.c: the measures of the CUDA back end against the CPU's, on the same inputs; what the CPU's are worth say tests/test_measure.c and
 * tests/test_measure_logits.c, which check them against their definitions.
 *
 * Tolerance.  Relative differences, norms and masses are sums of at most 2^18 doubles, none negative, each back end's in an order of its own: each is
 * off by at most 2^18 2^-53 of itself (Higham, section 4.2), the quotient and the root by less than that, and each rounds to float32 once, 2^-24: together
 * 2^-23 + 2^-33 of the value.  What is made of logits: see logits_tolerance.  Integers and flags are equal. */
#include "core/plan.h"
#include "core/record.h"
#include "tests/cuda_pair.h"

enum { STEP = 5, N_STEPS = 9, LAYERS = 3, LAYER = 1, MAX_MEASURED = 64, ALL_METRICS = 255 };

/* Lanes, their record on the host and on the device, and how often each variable had a value in all records so far. */
struct fixture {
    struct record_layout layout;
    int n_lanes;
    int32_t row_of_lane[MAX_MEASURED], twin[MAX_MEASURED], diverged[MAX_MEASURED], end[MAX_MEASURED], store[MAX_MEASURED], step;
    struct row rows[MAX_MEASURED];
    struct lane_params lanes[MAX_MEASURED];
    void *record, *record_gpu;
    long n_there[N_RECORD_VARS];
};

/* Of the lanes other than 0 some have no row, have ended, have diverged in this step or will in the next, and have no twin, an absent one, lane 0,
 * or one of their own block size.  Rows are not in lane order. */
static void lanes_open(struct pair *p, struct fixture *f, int n_lanes, int n_kv, int n_slots, int position, unsigned metrics)
{
    static const int sizes[] = { 8, 16, 32, 64, 128 };
    record_layout_init(&f->layout, n_lanes, LAYERS, n_kv, n_slots, metrics);
    f->record = hold(p, f->layout.n_bytes);
    f->record_gpu = on_gpu(p, NULL, f->layout.n_bytes);
    record_clear(&f->layout, f->record);
    must(p->cuda->clear(p->gpu, &f->layout, f->record_gpu));
    f->n_lanes = n_lanes;
    f->step = STEP;
    for (int i = 0; i < n_lanes; i++) {
        const int row = n_lanes - 1 - i;
        f->row_of_lane[i] = i % 9 == 4 ? -1 : row;
        f->twin[i] = i == 0 || i % 7 == 2 ? -1 : i > 5 ? i - 5 : 0;
        f->diverged[i] = i % 11 == 6 ? STEP : i % 11 == 7 ? STEP + 1 : -1;
        f->end[i] = i % 13 == 10 ? STEP : INT32_MAX;
        f->store[i] = i % 8 == 7 ? -1 : i;
        f->rows[row] = (struct row){ .lane = i, .position = position - i % 3, .token_at = row };
        f->lanes[i] = (struct lane_params){ .block_size = i == 0 ? 0 : sizes[i % 5], .local_blocks = 1 + i % 3 };
    }
}

static struct measure on_host(const struct fixture *f)
{
    return (struct measure){ &f->layout, f->record, f->n_lanes, f->row_of_lane, f->twin, f->diverged, f->end, &f->step };
}

static struct measure on_device(struct pair *p, const struct fixture *f)
{
    const size_t n = (size_t)f->n_lanes * sizeof(int32_t);
    return (struct measure){ &f->layout, f->record_gpu, f->n_lanes, on_gpu(p, f->row_of_lane, n), on_gpu(p, f->twin, n), on_gpu(p, f->diverged, n),
                             on_gpu(p, f->end, n), on_gpu(p, &f->step, sizeof f->step) };
}

static bool close_enough(double got, double want, double absolute)
{
    return got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= fabs(want) * (0x1p-23 + 0x1p-33) + absolute;
}

/* absolute: what a variable made of logits may be off by. */
static void compare_records(struct pair *p, struct fixture *f, double absolute, const char *what)
{
    const unsigned char *got = from_gpu(p, f->record_gpu, f->layout.n_bytes), *want = f->record;
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const struct record_var_def *def = &record_var_defs[v];
        if (f->layout.at[v] == RECORD_OFF) continue;
        const size_t n = record_var_count(&f->layout, (enum record_var)v), n_bytes = record_type_bytes(def->type), at = f->layout.at[v];
        const double slack = def->group == METRIC_LOGITS && v != VAR_HIDDEN_ERR && v != VAR_HIDDEN_ACCUM ? absolute : 0;
        for (size_t i = 0; i < n; i++) {
            if (def->type != REC_F32) {
                if (memcmp(got + at + i * n_bytes, want + at + i * n_bytes, n_bytes) != 0) fail_msg("%s: %s, element %zu, differs", what, def->name, i);
                f->n_there[v] += want[at + i * n_bytes] != 0xff;
                continue;
            }
            const double x = (double)((const float *)(const void *)(got + at))[i], y = (double)((const float *)(const void *)(want + at))[i];
            if (!close_enough(x, y, slack)) fail_msg("%s: %s, element %zu: %.9g, not %.9g", what, def->name, i, x, y);
            f->n_there[v] += !isnan(y);
        }
    }
}

/* Each variable of the groups had values to compare. */
static void all_were_there(const struct fixture *f, unsigned groups)
{
    for (int v = 0; v < N_RECORD_VARS; v++)
        if ((record_var_defs[v].group & groups) && f->n_there[v] == 0) fail_msg("%s was nowhere", record_var_defs[v].name);
}

/* ---- a layer ---- */

struct layer_case {
    const char *what;
    int n_lanes, n_heads, n_kv, dim, hidden, position;
    unsigned metrics;
};

/* Masses of a query head's blocks: of every other row few values, so that ties are common. */
static double *masses(struct pair *p, int n_rows, int n_heads, int mass_blocks)
{
    const size_t n = (size_t)n_heads * (size_t)mass_blocks;
    double *mass = hold(p, (size_t)n_rows * n * sizeof *mass);
    for (int r = 0; r < n_rows; r++)
        for (size_t i = 0; i < n; i++) mass[(size_t)r * n + i] = r % 2 ? draw_int(p, 9) * 0x1p-10 : (1 + (double)draw(p)) * (1 + 0x1p-12 * (double)draw(p));
    return mass;
}

/* Of a lane of block size 0 and of every sixth no list: all is read. */
static struct block_lists lists_of(struct pair *p, const struct fixture *f, int n_kv, int max_blocks)
{
    const size_t n = (size_t)(f->n_lanes * n_kv);
    struct block_lists lists = { max_blocks, hold(p, n * (size_t)max_blocks * 4), hold(p, n * 4), hold(p, n * 4) };
    for (int row = 0; row < f->n_lanes; row++) {
        const int lane = f->rows[row].lane, size = f->lanes[lane].block_size, n_blocks = size ? f->rows[row].position / size + 1 : 0;
        for (int g = 0; g < n_kv; g++) {
            const size_t at = (size_t)(row * n_kv + g);
            int count = 0;
            for (int b = 0; b < n_blocks; b++)
                if (b >= n_blocks - f->lanes[lane].local_blocks || draw(p) > 0.5f) lists.blocks[at * (size_t)max_blocks + (size_t)count++] = b;
            lists.count[at] = n_blocks == 0 || lane % 6 == 3 ? -1 : count;
        }
    }
    return lists;
}

/* Lane 2 has all that lane 0 has; of lane 3 an attention output is no number, of lane 5 one is infinite. */
static void odd_lanes(const struct fixture *f, float *qkv, size_t n_qkv, float *attn, size_t n_attn, float *resid, size_t n_resid)
{
    if (f->n_lanes < 6) return;
    const size_t row0 = (size_t)f->row_of_lane[0], row2 = (size_t)f->row_of_lane[2];
    memcpy(qkv + row2 * n_qkv, qkv + row0 * n_qkv, n_qkv * sizeof *qkv);
    memcpy(attn + row2 * n_attn, attn + row0 * n_attn, n_attn * sizeof *attn);
    memcpy(resid + row2 * n_resid, resid + row0 * n_resid, n_resid * sizeof *resid);
    attn[(size_t)f->row_of_lane[3] * n_attn + n_attn / 2] = NAN;
    attn[(size_t)f->row_of_lane[5] * n_attn + 1] = INFINITY;
}

static void check_layer(struct pair *p, struct fixture *f, const struct layer_case *c)
{
    const int max_blocks = c->position / 8 + 1, mass_blocks = max_blocks + 3;
    const size_t lanes = (size_t)c->n_lanes, heads = (size_t)c->n_heads, blocks = (size_t)mass_blocks;
    lanes_open(p, f, c->n_lanes, c->n_kv, max_blocks, c->position, c->metrics);
    p->shape = (struct model_shape){ .n_layers = LAYERS, .n_heads = c->n_heads, .n_kv_heads = c->n_kv, .head_dim = c->dim, .hidden = c->hidden,
                                     .ffn = c->hidden, .vocab = 100 };
    const struct work_extent extent = { .max_rows = c->n_lanes, .max_context = c->position + 1, .n_lanes = c->n_lanes, .mass_blocks = mass_blocks,
                                        .max_blocks = max_blocks };
    must(p->cpu->reserve(p->host, &p->shape, &extent));
    must(p->cuda->reserve(p->gpu, &p->shape, &extent));
    const size_t n_qkv = (size_t)pair_stride(p), n_attn = heads * (size_t)c->dim, n_resid = (size_t)c->hidden;
    float *qkv = random_floats(p, lanes * n_qkv, 2), *attn = random_floats(p, lanes * n_attn, 1), *resid = random_floats(p, lanes * n_resid, 30);
    odd_lanes(f, qkv, n_qkv, attn, n_attn, resid, n_resid);
    const float *select = random_floats(p, lanes * n_attn, 1), *cache = random_floats(p, lanes * n_attn, 1);
    double *mass = masses(p, c->n_lanes, c->n_heads, mass_blocks), *stale = masses(p, c->n_lanes, c->n_heads, 1), *dense = masses(p, c->n_lanes, c->n_heads, mass_blocks);
    if (c->n_lanes > 8) mass[(size_t)f->row_of_lane[8] * heads * blocks + 2] = NAN;
    double *spread = masses(p, 1, 2 * c->n_kv, 1), *squares = hold(p, lanes * LAYERS * N_STEPS * 4 * sizeof *squares);
    const struct block_lists lists = lists_of(p, f, c->n_kv, max_blocks);
    const size_t n_lists = lanes * (size_t)c->n_kv, n_mass = lanes * heads * blocks * sizeof *mass, n_squares = lanes * LAYERS * N_STEPS * 4 * sizeof *squares;
    struct measure_layer_args a = { .m = on_host(f), .layer = LAYER, .n_heads = c->n_heads, .n_kv_heads = c->n_kv, .head_dim = c->dim, .hidden = c->hidden,
                                    .qkv = qkv, .attn = attn, .resid = resid, .spread = spread, .lists = &lists, .lanes = f->lanes, .rows = f->rows,
                                    .mass = mass, .stale = stale, .mass_blocks = mass_blocks, .attn_select = select, .attn_cache = cache,
                                    .mass_dense = dense, .squares = squares, .n_layers = LAYERS, .n_steps = N_STEPS, .store_of_lane = f->store };
    must(p->cpu->measure_layer(p->host, &a));
    const struct block_lists lists_gpu = { max_blocks, on_gpu(p, lists.blocks, n_lists * (size_t)max_blocks * 4), on_gpu(p, lists.count, n_lists * 4), NULL };
    double *squares_gpu = on_gpu(p, NULL, n_squares);
    a.m = on_device(p, f), a.lists = &lists_gpu, a.squares = squares_gpu;
    a.qkv = on_gpu(p, qkv, lanes * n_qkv * 4), a.attn = on_gpu(p, attn, lanes * n_attn * 4), a.resid = on_gpu(p, resid, lanes * n_resid * 4);
    a.attn_select = on_gpu(p, select, lanes * n_attn * 4), a.attn_cache = on_gpu(p, cache, lanes * n_attn * 4);
    a.spread = on_gpu(p, spread, 2 * (size_t)c->n_kv * sizeof *spread), a.lanes = on_gpu(p, f->lanes, lanes * sizeof *f->lanes);
    a.rows = on_gpu(p, f->rows, lanes * sizeof *f->rows), a.store_of_lane = on_gpu(p, f->store, lanes * sizeof *f->store);
    a.mass = on_gpu(p, mass, n_mass), a.mass_dense = on_gpu(p, dense, n_mass), a.stale = on_gpu(p, stale, lanes * heads * sizeof *stale);
    must(p->cuda->sync(p->gpu)); /* a layer is measured beside the stream of copies */
    must(p->cuda->measure_layer(p->gpu, &a));
    compare_records(p, f, 0, c->what);
    const double *got = from_gpu(p, squares_gpu, n_squares);
    for (size_t i = 0; i < n_squares / sizeof *squares; i++) /* as they are: double, without a last rounding */
        if (!(fabs(got[i] - squares[i]) <= squares[i] * 0x1p-33) && !(isnan(got[i]) && isnan(squares[i])))
            fail_msg("%s: squares, element %zu: %g, not %g", c->what, i, got[i], squares[i]);
    pair_clear(p);
}

static void layers_are_measured_alike(void **state)
{
    WITH_PAIR(p);
    struct fixture f = { .n_lanes = 0 };
    static const struct layer_case cases[] = {
        { "all groups", 14, 6, 2, 64, 100, 700, ALL_METRICS },
        { "64 lanes, 16 query heads to a KV head", 64, 16, 1, 128, 576, 1023, ALL_METRICS },
        { "as many KV heads, few blocks", 17, 4, 4, 96, 64, 41, ALL_METRICS },
        { "a quarter of a million tokens", 9, 28, 4, 128, 3584, 262143, ALL_METRICS },
        { "no mass by head", 11, 10, 2, 256, 1536, 5000, METRIC_DRIFT | METRIC_ATTENTION | METRIC_MASS | METRIC_CACHE },
        { "heads and blocks alone", 7, 9, 3, 32, 48, 300, METRIC_HEADS | METRIC_SELECTION },
        { "the dense lane alone", 1, 8, 2, 64, 64, 90, ALL_METRICS },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_layer(&p, &f, &cases[i]);
    all_were_there(&f, METRIC_DRIFT | METRIC_ATTENTION | METRIC_MASS | METRIC_PARTS | METRIC_HEADS | METRIC_SELECTION);
    pair_close(&p);
}

/* ---- the cache ---- */

static void caches_are_measured_alike(void **state)
{
    WITH_PAIR(p);
    struct fixture f = { .n_lanes = 0 };
    enum { STEPS = 700, LANES = 64 };
    static const enum record_var vars[][2] = { { VAR_K_STALE_DRIFT, VAR_V_STALE_DRIFT }, { VAR_K_RECT_DRIFT, VAR_V_RECT_DRIFT }, { VAR_K_CACHE_DRIFT, VAR_V_CACHE_DRIFT } };
    lanes_open(&p, &f, LANES, 2, 0, 1000, METRIC_CACHE);
    const size_t per_lane = LAYERS * STEPS * 4, n = LANES * per_lane;
    double *squares = hold(&p, n * sizeof *squares);
    for (size_t i = per_lane; i < n; i++) squares[i] = 1 + (double)draw(&p); /* none of lane 0 */
    for (size_t i = 0; i < per_lane; i += 2) squares[2 * per_lane + i] = 0;  /* lane 2: no difference */
    const double *squares_gpu = on_gpu(&p, squares, n * sizeof *squares);
    const struct measure host = on_host(&f), device = on_device(&p, &f);
    for (int k = 0; k < 3; k++) {
        int32_t from[LANES], to[LANES];
        for (int i = 0; i < LANES; i++) {
            from[i] = i == 0 ? 0 : i * 9 * k % STEPS;
            to[i] = i == 0 || i % 5 == 0 ? STEPS : (from[i] + i * 3) % (STEPS + 1); /* of some nothing */
        }
        struct measure_cache_args a = { host, vars[k][0], vars[k][1], LAYERS, STEPS, squares, from, to };
        must(p.cpu->measure_cache(p.host, &a));
        a.m = device, a.squares = squares_gpu, a.from = on_gpu(&p, from, sizeof from), a.to = on_gpu(&p, to, sizeof to);
        must(p.cuda->measure_cache(p.gpu, &a));
    }
    compare_records(&p, &f, 0, "cache");
    all_were_there(&f, METRIC_CACHE);
    assert_true(((float *)record_at(&f.layout, f.record, VAR_K_CACHE_DRIFT))[2 * LAYERS] == 0);
    pair_close(&p);
}

/* ---- logits ---- */

enum logit_kind { RANDOM_LOGITS, TIES, ODD, DENSE_IS_NAN };

struct logit_case {
    int n_lanes, vocab;
    float size;
    enum logit_kind kind;
};

/* As tests/test_measure_logits.c derives it: a sum of m partial sums of k terms is off by (k + m) 2^-53 of itself, an exponential or a logarithm by
 * 2^-52, and every quantity inherits that times 1 + sum p (|log p| + |log q|), which is at most twice the greatest |log p|: range + log n.  The
 * CPU's k + m is n/8 + 16, the device's 16 + 8 + n/4096 + 16. */
static double logits_tolerance(const float *logits, size_t n, int vocab)
{
    float least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (isfinite(logits[i])) least = fminf(least, logits[i]), most = fmaxf(most, logits[i]);
    const double range = (double)most - (double)least;
    return (vocab / 8 + vocab / 4096 + 56) * 0x1p-52 * (1 + 2 * (range + log(vocab)));
}

static void fill_logits(const struct fixture *f, const struct logit_case *c, float *logits)
{
    const size_t n = (size_t)c->vocab;
    if (c->kind == TIES)
        for (size_t r = 0; r < (size_t)c->n_lanes; r++)
            for (size_t i = 0; i < n; i++) logits[r * n + i] = (float)((i * 7 + i / 5 + r) % 4);
    float *lane0 = logits + (size_t)f->row_of_lane[0] * n;
    if (c->n_lanes > 5) memcpy(logits + (size_t)f->row_of_lane[2] * n, lane0, n * sizeof *logits);
    if (c->kind == ODD) {
        logits[(size_t)f->row_of_lane[1] * n + n - 1] = NAN;
        logits[(size_t)f->row_of_lane[3] * n] = INFINITY;
        logits[(size_t)f->row_of_lane[5] * n + n / 2] = -INFINITY;
        for (size_t i = 0; i < n; i++) logits[(size_t)f->row_of_lane[7] * n + i] = NAN;
    }
    for (size_t i = 0; i < n && c->kind == DENSE_IS_NAN; i++) lane0[i] = NAN;
}

static void check_logits(struct pair *p, struct fixture *f, const struct logit_case *c)
{
    enum { HIDDEN = 1000 };
    const int n_lanes = c->n_lanes;
    const size_t lanes = (size_t)n_lanes, n = lanes * (size_t)c->vocab;
    char what[64];
    snprintf(what, sizeof what, "%d lanes, %d logits, kind %d", n_lanes, c->vocab, (int)c->kind);
    lanes_open(p, f, n_lanes, 1, 0, 100, METRIC_LOGITS);
    p->shape = (struct model_shape){ .n_layers = 1, .n_heads = 1, .n_kv_heads = 1, .head_dim = 64, .hidden = HIDDEN, .ffn = HIDDEN, .vocab = c->vocab };
    pair_reserve(p, n_lanes, 128);
    float *logits = random_floats(p, n, c->size), *hidden = random_floats(p, lanes * HIDDEN, 3);
    fill_logits(f, c, logits);
    int32_t tokens[2 * MAX_MEASURED], target_at[MAX_MEASURED];
    for (int i = 0; i < n_lanes; i++) {
        tokens[i] = 1000 + i;
        tokens[n_lanes + i] = i == 8 ? c->vocab : i % 3 == 0 ? c->vocab - 1 : draw_int(p, c->vocab);
        target_at[i] = i == 6 ? -1 : n_lanes + i;
    }
    struct measure_logits_args a = { .m = on_host(f), .vocab = c->vocab, .hidden = HIDDEN, .logits = logits, .hidden_state = hidden, .tokens = tokens,
                                     .target_at = target_at, .rows = f->rows };
    must(p->cpu->measure_logits(p->host, &a));
    a.m = on_device(p, f), a.logits = on_gpu(p, logits, n * 4), a.hidden_state = on_gpu(p, hidden, lanes * HIDDEN * 4);
    a.tokens = on_gpu(p, tokens, 2 * lanes * 4), a.target_at = on_gpu(p, target_at, lanes * 4), a.rows = on_gpu(p, f->rows, lanes * sizeof *f->rows);
    must(p->cuda->measure_logits(p->gpu, &a));
    compare_records(p, f, logits_tolerance(logits, n, c->vocab), what);
    const unsigned char *got = from_gpu(p, f->record_gpu, f->layout.n_bytes);
    const float *kl = (const float *)(const void *)(got + f->layout.at[VAR_LOGIT_KL]);
    if (c->n_lanes > 5 && c->kind != DENSE_IS_NAN) assert_true(kl[0] == 0 && kl[2] == 0); /* equal logits: exactly, not nearly */
    pair_clear(p);
}

static void logits_are_measured_alike(void **state)
{
    WITH_PAIR(p);
    struct fixture f = { .n_lanes = 0 };
    static const struct logit_case cases[] = {
        { 2, 1, 2, RANDOM_LOGITS },      { 9, 5, 3, RANDOM_LOGITS },          { 9, 4095, 10, RANDOM_LOGITS },  { 9, 4096, 900, RANDOM_LOGITS },
        { 64, 4097, 20, RANDOM_LOGITS }, { 17, 152064, 20, RANDOM_LOGITS },   { 9, 151936, 0.1f, RANDOM_LOGITS }, { 12, 29, 1, TIES },
        { 12, 12289, 1, TIES },          { 12, 19, 3, ODD },                  { 12, 9000, 3, ODD },            { 12, 9000, 3, DENSE_IS_NAN },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_logits(&p, &f, &cases[i]);
    all_were_there(&f, METRIC_LOGITS);
    pair_close(&p);
}

/* test_cuda_measure [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_measured_alike),
        cmocka_unit_test(caches_are_measured_alike),
        cmocka_unit_test(logits_are_measured_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
