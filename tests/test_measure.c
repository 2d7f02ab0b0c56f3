/* The measures of a layer and of the cache, against the definitions written plainly in long double.
 *
 * Tolerance of a relative difference: a sum of n squares in double is off by at most n 2^-53 of itself (Higham, section 4.2; no
 * term is negative), the quotient, the root and the products add less than 8 2^-53, and the float32 that is stored 2^-24:
 * 2^-24 + (n + 8) 2^-53 of the value.  Block masses here are multiples of 2^-10, so their sums are exact.            */
#include "core/err.h"
#include "core/philox.h"
#include "kernels/cpu.h"
#include "kernels/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    N_LANES = 8, N_LAYERS = 3, LAYER = 1, N_HEADS = 6, N_KV = 2, GROUP = N_HEADS / N_KV, DIM = 8, HIDDEN = 20, N_STEPS = 5, STEP = 2,
    BLOCK = 4, POSITION = 41, N_BLOCKS = 11, MASS_BLOCKS = 13, MAX_BLOCKS = 12, N_SLOTS = 12, QKV = (N_HEADS + 2 * N_KV) * DIM,
    ATTN = N_HEADS * DIM, MAX_RECORD = 1 << 16
};
enum { ALL_METRICS = 255 };

/* Lanes: 0 dense, 1 a clean probe, 2 sparse with twin 1, 3 a control (twin 0, reads all without a list), 4 without a row,
 * 5 without a twin, 6 with the absent lane 4 for a twin, 7 sparse with twin 1. Rows are not in lane order. */
struct fixture {
    struct record_layout layout;
    unsigned char record[MAX_RECORD];
    int32_t row_of_lane[N_LANES], twin[N_LANES], diverged[N_LANES], end[N_LANES], store[N_LANES];
    float qkv[N_LANES][QKV], attn[N_LANES][ATTN], resid[N_LANES][HIDDEN], select[N_LANES][ATTN], cache[N_LANES][ATTN];
    double spread[2][N_KV], mass[N_LANES][N_HEADS][MASS_BLOCKS], stale[N_LANES][N_HEADS], dense[N_LANES][N_HEADS][MASS_BLOCKS];
    double squares[N_LANES][N_LAYERS][N_STEPS][4];
    int32_t blocks[N_LANES][N_KV][MAX_BLOCKS], count[N_LANES][N_KV], tokens[N_LANES][N_KV];
    struct block_lists lists;
    struct lane_params lanes[N_LANES];
    struct row rows[N_LANES];
    struct measure_layer_args args;
    struct device device;
    double workspace[8][2 * MASS_BLOCKS];
};

static uint32_t draw(uint32_t *at)
{
    const uint32_t counter[4] = { (*at)++, 0, 0, 99 }, key[2] = { 7, 0 };
    uint32_t out[4];
    philox4x32(counter, key, out);
    return out[0];
}

static void fill_f32(float *x, size_t n, uint32_t *at)
{
    for (size_t i = 0; i < n; i++) x[i] = philox_signed_f32(draw(at)) * 3;
}

/* Multiples of 2^-10; few values, so that ties are common. */
static void fill_mass(double *mass, uint32_t *at)
{
    for (int b = 0; b < MASS_BLOCKS; b++) mass[b] = b < N_BLOCKS ? (double)(draw(at) % 8) * 0x1p-10 : 0;
}

static void fill_lists(struct fixture *f, uint32_t *at)
{
    for (int row = 0; row < N_LANES; row++)
        for (int g = 0; g < N_KV; g++) {
            int n = 0;
            for (int b = 0; b < N_BLOCKS; b++)
                if (b >= N_BLOCKS - 2 || draw(at) % 3 == 0) f->blocks[row][g][n++] = b;
            f->count[row][g] = n;
        }
}

static const int32_t step = STEP;

static void fixture_open(struct fixture *f)
{
    static const int32_t rows[N_LANES] = { 3, 0, 5, 1, -1, 2, 6, 4 }, twins[N_LANES] = { -1, 1, 1, 0, 1, -1, 4, 1 };
    memset(f, 0, sizeof *f);
    uint32_t at = 0;
    record_layout_init(&f->layout, N_LANES, N_LAYERS, N_KV, N_SLOTS, ALL_METRICS);
    assert_true(f->layout.n_bytes <= sizeof f->record);
    record_clear(&f->layout, f->record);
    memcpy(f->row_of_lane, rows, sizeof rows);
    memcpy(f->twin, twins, sizeof twins);
    fill_f32((float *)f->qkv, N_LANES * QKV, &at);
    fill_f32((float *)f->attn, N_LANES * ATTN, &at);
    fill_f32((float *)f->resid, N_LANES * HIDDEN, &at);
    fill_f32((float *)f->select, N_LANES * ATTN, &at);
    fill_f32((float *)f->cache, N_LANES * ATTN, &at);
    fill_lists(f, &at);
    for (int i = 0; i < N_LANES; i++) {
        f->diverged[i] = -1;
        f->end[i] = INT32_MAX;
        f->store[i] = i == 1 ? -1 : i;
        f->rows[i].position = POSITION;
        f->lanes[i] = (struct lane_params){ .block_size = i == 0 ? 0 : BLOCK, .local_blocks = 2 };
        for (int h = 0; h < N_HEADS; h++) {
            fill_mass(f->mass[i][h], &at);
            fill_mass(f->dense[i][h], &at);
            f->stale[i][h] = (double)(draw(&at) % 64) * 0x1p-10;
        }
    }
    for (int g = 0; g < N_KV; g++) f->count[rows[0]][g] = f->count[rows[3]][g] = -1;
    for (int kv = 0; kv < 2; kv++)
        for (int g = 0; g < N_KV; g++) f->spread[kv][g] = 0.5 + kv + 2 * g;
    memset(f->squares, 0xff, sizeof f->squares);
    f->lists = (struct block_lists){ MAX_BLOCKS, (int32_t *)f->blocks, (int32_t *)f->count, (int32_t *)f->tokens };
    f->device = (struct device){ .isa = CPU_PORTABLE, .n_threads = 2, .workspace = (char *)f->workspace, .workspace_bytes = sizeof f->workspace[0] };
    f->args = (struct measure_layer_args){
        .m = { &f->layout, f->record, N_LANES, f->row_of_lane, f->twin, f->diverged, f->end, &step },
        .layer = LAYER, .n_heads = N_HEADS, .n_kv_heads = N_KV, .head_dim = DIM, .hidden = HIDDEN,
        .qkv = (float *)f->qkv, .attn = (float *)f->attn, .resid = (float *)f->resid, .spread = (double *)f->spread, .lists = &f->lists,
        .lanes = f->lanes, .rows = f->rows, .mass = (double *)f->mass, .stale = (double *)f->stale, .mass_blocks = MASS_BLOCKS,
        .attn_select = (float *)f->select, .attn_cache = (float *)f->cache, .mass_dense = (double *)f->dense,
        .squares = (double *)f->squares, .n_layers = N_LAYERS, .n_steps = N_STEPS, .store_of_lane = f->store,
    };
}

static double got_at(struct fixture *f, enum record_var v, size_t i)
{
    return (double)((float *)record_at(&f->layout, f->record, v))[i];
}

static double got(struct fixture *f, enum record_var v, int lane)
{
    return got_at(f, v, (size_t)(lane * N_LAYERS + LAYER));
}

static double got_head(struct fixture *f, enum record_var v, int lane, int g)
{
    return got_at(f, v, (size_t)((lane * N_LAYERS + LAYER) * N_KV + g));
}

/* sqrt(sum (x-y)^2 / sum r^2), 0/0 = 0. */
static long double dist(const float *x, const float *y, const float *r, int n)
{
    long double diff = 0, ref = 0;
    for (int i = 0; i < n; i++) {
        diff += ((long double)x[i] - y[i]) * ((long double)x[i] - y[i]);
        ref += (long double)r[i] * r[i];
    }
    return diff == 0 && ref == 0 ? 0 : sqrtl(diff / ref);
}

static void check(double value, long double want, int n, const char *what, int lane)
{
    const long double tol = fabsl(want) * (0x1p-24L + (n + 8) * 0x1p-53L);
    const bool same = isnan(want) ? isnan(value) : (long double)value == want || fabsl(value - want) <= tol;
    if (!same) fail_msg("%s of lane %d: %.9g, want %.9Lg", what, lane, value, want);
}

#define CHECK(f, var, lane, want, n) check(got(f, var, lane), want, n, #var, lane)
#define CHECK_HEAD(f, var, lane, g, want, n) check(got_head(f, var, lane, g), want, n, #var, lane)

static bool reads(const struct fixture *f, int lane, int g, int block)
{
    const int row = f->row_of_lane[lane];
    if (f->count[row][g] < 0) return block < N_BLOCKS;
    for (int i = 0; i < f->count[row][g]; i++)
        if (f->blocks[row][g][i] == block) return true;
    return false;
}

static void expect_drift(struct fixture *f, int lane, bool compared)
{
    static const enum record_var vars[2][5] = {
        { VAR_K_DRIFT, VAR_K_ACCUM, VAR_K_SHIFT, VAR_K_HEAD_DRIFT, VAR_K_NORM },
        { VAR_V_DRIFT, VAR_V_ACCUM, VAR_V_SHIFT, VAR_V_HEAD_DRIFT, VAR_V_NORM },
    };
    const int row = f->row_of_lane[lane], twin = f->twin[lane] < 0 ? -1 : f->row_of_lane[f->twin[lane]];
    for (int kv = 0; kv < 2; kv++) {
        const size_t at = (size_t)(N_HEADS + kv * N_KV) * DIM;
        const float *x = f->qkv[row] + at, *r = f->qkv[f->row_of_lane[0]] + at;
        const float *c = twin < 0 ? NULL : f->qkv[twin] + at;
        CHECK(f, vars[kv][0], lane, compared ? dist(x, r, r, N_KV * DIM) : NAN, N_KV * DIM);
        CHECK(f, vars[kv][1], lane, compared && c ? dist(x, c, r, N_KV * DIM) : NAN, N_KV * DIM);
        long double shift = 0;
        for (int g = 0; g < N_KV; g++) {
            const float *xg = x + g * DIM, *rg = r + g * DIM;
            const long double norm = dist(rg, (const float[DIM]){ 0 }, (const float[DIM]){ 1 }, DIM);
            const long double s = dist(xg, rg, (const float[DIM]){ 1 }, DIM) / f->spread[kv][g];
            shift += s * s;
            CHECK_HEAD(f, vars[kv][3], lane, g, compared ? dist(xg, rg, rg, DIM) : NAN, DIM);
            check(got_at(f, vars[kv][4], LAYER * N_KV + (size_t)g), norm, DIM, "norm", lane);
        }
        CHECK(f, vars[kv][2], lane, compared ? sqrtl(shift / N_KV) : NAN, N_KV * DIM);
    }
}

static void expect_attention(struct fixture *f, int lane, bool compared)
{
    const int row = f->row_of_lane[lane], row0 = f->row_of_lane[0], twin = f->twin[lane] < 0 ? -1 : f->row_of_lane[f->twin[lane]];
    const float *x = f->attn[row], *r = f->attn[row0];
    CHECK(f, VAR_ATTN_ERR, lane, compared ? dist(x, r, r, ATTN) : NAN, ATTN);
    CHECK(f, VAR_ATTN_ACCUM, lane, compared && twin >= 0 ? dist(x, f->attn[twin], r, ATTN) : NAN, ATTN);
    CHECK(f, VAR_RESID_ERR, lane, compared ? dist(f->resid[row], f->resid[row0], f->resid[row0], HIDDEN) : NAN, HIDDEN);
    CHECK(f, VAR_ATTN_ERR_SELECT, lane, lane == 0 ? 0 : compared ? dist(f->select[lane], r, r, ATTN) : NAN, ATTN);
    CHECK(f, VAR_ATTN_ERR_CACHE, lane, lane == 0 ? 0 : compared ? dist(f->cache[lane], r, r, ATTN) : NAN, ATTN);
    for (int g = 0; g < N_KV; g++) {
        const int n = GROUP * DIM;
        CHECK_HEAD(f, VAR_ATTN_HEAD_ERR, lane, g, compared ? dist(x + g * n, r + g * n, r + g * n, n) : NAN, n);
    }
}

/* The best blocks of a KV head by repeated search. */
static void choose_best_plainly(const struct fixture *f, int row, int g, int n, bool *chosen)
{
    memset(chosen, 0, N_BLOCKS * sizeof *chosen);
    for (int b = N_BLOCKS - 2; b < N_BLOCKS; b++) chosen[b] = true;
    for (int k = 2; k < n; k++) {
        int best = -1;
        double most = -1;
        for (int b = 0; b < N_BLOCKS; b++) {
            double sum = 0;
            for (int h = g * GROUP; h < (g + 1) * GROUP; h++) sum += f->mass[row][h][b];
            if (chosen[b] || sum <= most) continue;
            best = b;
            most = sum;
        }
        chosen[best] = true;
    }
}

static void expect_mass(struct fixture *f, int lane, bool compared)
{
    const int row = f->row_of_lane[lane];
    long double kept = 0, best = 0, stale = 0, dense = 0, n_read = 0, least = INFINITY;
    for (int g = 0; g < N_KV; g++) {
        long double kept_g = 0, best_g = 0, stale_g = 0;
        bool chosen[N_BLOCKS];
        const int n = f->count[row][g] < 0 ? N_BLOCKS : f->count[row][g];
        choose_best_plainly(f, row, g, n, chosen);
        n_read += n;
        for (int h = g * GROUP; h < (g + 1) * GROUP; h++) {
            long double own = 0;
            for (int b = 0; b < N_BLOCKS; b++) {
                if (reads(f, lane, g, b)) own += f->mass[row][h][b], dense += f->dense[lane][h][b];
                if (chosen[b]) best_g += f->mass[row][h][b];
            }
            kept_g += own;
            stale_g += f->stale[row][h];
            least = fminl(least, own);
        }
        CHECK_HEAD(f, VAR_KEPT_HEAD_MASS, lane, g, kept_g / GROUP, 0);
        CHECK_HEAD(f, VAR_BEST_HEAD_MASS, lane, g, best_g / GROUP, 0);
        CHECK_HEAD(f, VAR_STALE_HEAD_MASS, lane, g, stale_g / GROUP, 0);
        kept += kept_g, best += best_g, stale += stale_g;
    }
    CHECK(f, VAR_KEPT_MASS, lane, kept / N_HEADS, 0);
    CHECK(f, VAR_KEPT_MASS_MIN, lane, least, 0);
    CHECK(f, VAR_BEST_MASS, lane, best / N_HEADS, 0);
    CHECK(f, VAR_STALE_MASS, lane, stale / N_HEADS, 0);
    CHECK(f, VAR_BLOCKS_READ, lane, n_read / N_KV, 0);
    CHECK(f, VAR_KEPT_MASS_DENSE, lane, compared ? dense / N_HEADS : NAN, 0);
}

static void expect_selection(struct fixture *f, int lane, bool compared)
{
    const int32_t *slots = record_at(&f->layout, f->record, VAR_SELECTED_BLOCKS);
    const int twin = f->twin[lane];
    const bool has_twin = compared && twin >= 0 && f->row_of_lane[twin] >= 0;
    long double overlap = 0;
    for (int g = 0; g < N_KV; g++) {
        const int32_t *at = slots + ((lane * N_LAYERS + LAYER) * N_KV + g) * N_SLOTS;
        int n_both = 0, n_any = 0, n = 0;
        for (int b = 0; b < N_BLOCKS; b++) {
            const bool own = reads(f, lane, g, b), other = has_twin && (twin == 0 || reads(f, twin, g, b));
            if (own && f->count[f->row_of_lane[lane]][g] >= 0) assert_int_equal(at[n++], b); /* a list; else all are read */
            n_both += own && other;
            n_any += own || other;
        }
        for (; n < N_SLOTS; n++) assert_int_equal(at[n], -1);
        overlap += (long double)n_both / n_any;
    }
    CHECK(f, VAR_SELECT_OVERLAP, lane, has_twin ? overlap / N_KV : NAN, 0);
}

static void expect_nothing(struct fixture *f, int lane)
{
    const size_t at = (size_t)(lane * N_LAYERS + LAYER);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const struct record_var_def *def = &record_var_defs[v];
        if (def->type != REC_F32 || def->dims == DIMS_STEP_LAYER_HEAD || def->dims == DIMS_STEP_LANE) continue;
        const size_t n = def->dims == DIMS_STEP_LANE_LAYER_HEAD ? N_KV : 1;
        for (size_t i = 0; i < n; i++)
            if (!isnan(got_at(f, (enum record_var)v, at * n + i))) fail_msg("%s of lane %d is there", def->name, lane);
    }
}

static void expect_lane(struct fixture *f, int lane, bool compared)
{
    expect_drift(f, lane, compared);
    expect_attention(f, lane, compared);
    expect_mass(f, lane, compared);
    expect_selection(f, lane, compared);
}

static struct fixture *fresh(void)
{
    static struct fixture f;
    fixture_open(&f);
    return &f;
}

static void test_layer_definitions(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    for (int lane = 1; lane < N_LANES; lane++) {
        if (lane == 4) expect_nothing(f, lane);
        else if (lane != 6) expect_lane(f, lane, true);
    }
    f->twin[6] = -1; /* lane 6's twin has no row: as if there were none */
    expect_lane(f, 6, true);
    assert_true(got(f, VAR_KEPT_MASS, 2) <= got(f, VAR_BEST_MASS, 2));
}

static void test_layer_dense_lane(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    expect_drift(f, 0, true);
    expect_attention(f, 0, true);
    static const enum record_var zeros[] = { VAR_K_DRIFT, VAR_V_DRIFT, VAR_K_SHIFT, VAR_V_SHIFT, VAR_ATTN_ERR, VAR_RESID_ERR,
                                             VAR_STALE_MASS, VAR_ATTN_ERR_SELECT, VAR_ATTN_ERR_CACHE },
                                 ones[] = { VAR_KEPT_MASS, VAR_KEPT_MASS_MIN, VAR_BEST_MASS, VAR_KEPT_MASS_DENSE },
                                 nans[] = { VAR_BLOCKS_READ, VAR_K_ACCUM, VAR_V_ACCUM, VAR_ATTN_ACCUM, VAR_SELECT_OVERLAP };
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) assert_true(got(f, zeros[i], 0) == 0);
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) assert_true(got(f, ones[i], 0) == 1);
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++) assert_true(isnan(got(f, nans[i], 0)));
    for (int g = 0; g < N_KV; g++) {
        assert_true(got_head(f, VAR_KEPT_HEAD_MASS, 0, g) == 1 && got_head(f, VAR_BEST_HEAD_MASS, 0, g) == 1);
        assert_true(got_head(f, VAR_STALE_HEAD_MASS, 0, g) == 0 && got_head(f, VAR_K_HEAD_DRIFT, 0, g) == 0);
    }
    const int32_t *slots = record_at(&f->layout, f->record, VAR_SELECTED_BLOCKS);
    for (int i = 0; i < N_KV * N_SLOTS; i++) assert_int_equal(slots[LAYER * N_KV * N_SLOTS + i], -1);
}

/* From the step of divergence on: comparisons gone, of that lane and of those it is a twin of; the rest goes on. */
static void test_layer_divergence(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    f->diverged[2] = STEP;
    f->diverged[5] = STEP + 1;
    f->diverged[1] = 0;
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    expect_lane(f, 2, false);
    expect_lane(f, 5, true);
    expect_lane(f, 1, false);
    f->twin[7] = -1;
    expect_lane(f, 7, true);
    assert_true(isnan(f->squares[2][LAYER][STEP][0]));
}

static void test_layer_ends(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    f->end[2] = STEP;
    f->end[5] = STEP + 1;
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    expect_nothing(f, 2);
    expect_lane(f, 5, true);

    f = fresh(); /* without lane 0 there is nothing to compare with */
    f->end[0] = STEP;
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    expect_nothing(f, 0);
    assert_true(isnan(got_at(f, VAR_K_NORM, LAYER * N_KV)) && isnan(got(f, VAR_K_DRIFT, 2)) && isnan(got(f, VAR_ATTN_ACCUM, 2)));
    expect_mass(f, 2, false);
}

static void test_layer_squares(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    for (int lane = 0; lane < N_LANES; lane++)
        for (int layer = 0; layer < N_LAYERS; layer++)
            for (int t = 0; t < N_STEPS; t++) {
                const double *s = f->squares[lane][layer][t];
                const bool there = layer == LAYER && t == STEP && lane != 1 && lane != 4;
                for (int i = 0; i < 4; i++) assert_int_equal(!isnan(s[i]), there);
                if (!there) continue;
                check((double)(float)squares_rel(s[0], s[1]), (long double)got(f, VAR_K_DRIFT, lane), 0, "k squares", lane);
                check((double)(float)squares_rel(s[2], s[3]), (long double)got(f, VAR_V_DRIFT, lane), 0, "v squares", lane);
            }
}

/* 0/0 = 0, x/0 = inf, and a NaN in a lane stays in that lane. */
static void test_layer_zeros_and_nan(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    const size_t k = N_HEADS * DIM;
    memset(f->qkv[f->row_of_lane[0]] + k, 0, N_KV * DIM * sizeof(float));
    memset(f->qkv[f->row_of_lane[2]] + k, 0, N_KV * DIM * sizeof(float));
    memset(f->spread, 0, sizeof f->spread);
    f->qkv[f->row_of_lane[7]][k + 3] = NAN;
    f->mass[f->row_of_lane[7]][1][N_BLOCKS - 1] = (double)NAN; /* a local block: read */
    int unread = 0;
    while (reads(f, 5, 0, unread)) unread++;
    f->mass[f->row_of_lane[5]][1][unread] = (double)NAN;
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    assert_true(got(f, VAR_K_DRIFT, 2) == 0 && got(f, VAR_K_SHIFT, 2) == 0 && got_head(f, VAR_K_HEAD_DRIFT, 2, 1) == 0);
    assert_true(isinf(got(f, VAR_K_DRIFT, 5)) && isinf(got(f, VAR_K_SHIFT, 5)));
    assert_true(isnan(got(f, VAR_K_DRIFT, 7)) && isnan(got_head(f, VAR_K_HEAD_DRIFT, 7, 0)));
    assert_true(isinf(got_head(f, VAR_K_HEAD_DRIFT, 7, 1)));
    assert_true(got(f, VAR_V_DRIFT, 7) > 0);
    assert_true(isnan(got(f, VAR_KEPT_MASS, 7)) && isnan(got(f, VAR_KEPT_MASS_MIN, 7)) && isnan(got(f, VAR_BEST_MASS, 7)));
    assert_true(got_head(f, VAR_KEPT_HEAD_MASS, 7, 1) > 0);
    assert_true(got(f, VAR_KEPT_MASS, 5) > 0 && got(f, VAR_BEST_MASS, 5) > 0); /* NaN is the least: never chosen */
}

/* Optional inputs, and groups that are off, leave the rest as it was. */
static void test_layer_groups_off(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    record_layout_init(&f->layout, N_LANES, N_LAYERS, N_KV, 0, 1 | 4);
    record_clear(&f->layout, f->record);
    f->args.mass = f->args.stale = f->args.mass_dense = NULL;
    f->args.attn_select = f->args.attn_cache = NULL;
    f->args.squares = NULL;
    f->device.workspace_bytes = 0;
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
    CHECK(f, VAR_RESID_ERR, 2, dist(f->resid[f->row_of_lane[2]], f->resid[f->row_of_lane[0]], f->resid[f->row_of_lane[0]], HIDDEN), HIDDEN);
    f->args.mass = (double *)f->mass;
    assert_int_equal(cpu_measure_layer(&f->device, &f->args), -1);
    assert_non_null(strstr(fail_text(), "workspace"));
}

/* A step that is not recorded in full: what has no lane, and the squares. */
static void test_layer_thin_step(void **unused)
{
    (void)unused;
    for (int squares = 0; squares < 2; squares++) {
        struct fixture *f = fresh();
        for (int v = 0; v < N_RECORD_VARS; v++)
            if (record_var_defs[v].dims >= DIMS_STEP_LANE_LAYER && record_var_defs[v].dims != DIMS_STEP_LAYER_HEAD)
                f->layout.at[v] = RECORD_OFF;
        if (!squares) f->args.squares = NULL;
        assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
        const float *r = f->qkv[f->row_of_lane[0]] + N_HEADS * DIM;
        const long double norm = dist(r, (const float[DIM]){ 0 }, (const float[DIM]){ 1 }, DIM);
        check(got_at(f, VAR_K_NORM, LAYER * N_KV), norm, DIM, "k_norm", 0);
        assert_int_equal(isnan(f->squares[2][LAYER][STEP][0]), !squares);
    }
}

static void test_layer_threads(void **unused)
{
    (void)unused;
    static unsigned char want[MAX_RECORD];
    for (int n_threads = 1; n_threads <= 8; n_threads++) {
        struct fixture *f = fresh();
        f->device.n_threads = n_threads;
        assert_int_equal(cpu_measure_layer(&f->device, &f->args), 0);
        if (n_threads == 1) memcpy(want, f->record, sizeof want);
        assert_memory_equal(f->record, want, f->layout.n_bytes);
    }
}

/* The cache: windows of the squares, lane 0 exactly 0, an empty window NaN. */
static void test_cache(void **unused)
{
    (void)unused;
    struct fixture *f = fresh();
    uint32_t at = 1 << 20;
    double *all = (double *)f->squares;
    for (size_t i = 0; i < sizeof f->squares / sizeof *all; i++) all[i] = philox_uniform(draw(&at), 0);
    for (int i = 0; i < 4; i++) f->squares[7][LAYER][1][i] = i % 2 ? 1 : 0, f->squares[7][LAYER][2][i] = 0;
    const int32_t from[N_LANES] = { 0, 0, 1, 2, 0, 0, 0, 1 }, to[N_LANES] = { 3, 0, 4, 2, 3, 5, 3, 3 };
    f->diverged[6] = 1;
    const struct measure_cache_args a = { f->args.m, VAR_K_CACHE_DRIFT, VAR_V_CACHE_DRIFT, N_LAYERS, N_STEPS, (double *)f->squares, from, to };
    assert_int_equal(cpu_measure_cache(&f->device, &a), 0);
    for (int lane = 0; lane < N_LANES; lane++)
        for (int layer = 0; layer < N_LAYERS; layer++) {
            long double sum[4] = { 0 };
            for (int t = from[lane]; t < to[lane]; t++)
                for (int i = 0; i < 4; i++) sum[i] += f->squares[lane][layer][t][i];
            const bool there = from[lane] < to[lane] && lane != 4 && lane != 6;
            const long double k = lane == 0 ? 0 : there ? sqrtl(sum[0] / sum[1]) : NAN;
            const long double v = lane == 0 ? 0 : there ? sqrtl(sum[2] / sum[3]) : NAN;
            check(got_at(f, VAR_K_CACHE_DRIFT, (size_t)(lane * N_LAYERS + layer)), k, N_STEPS, "k_cache_drift", lane);
            check(got_at(f, VAR_V_CACHE_DRIFT, (size_t)(lane * N_LAYERS + layer)), v, N_STEPS, "v_cache_drift", lane);
        }
    assert_true(got(f, VAR_K_CACHE_DRIFT, 7) == 0); /* comes back to 0 exactly */
    assert_true(isnan(got(f, VAR_K_RECT_DRIFT, 2)) && isnan(got(f, VAR_K_STALE_DRIFT, 2)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layer_definitions),   cmocka_unit_test(test_layer_dense_lane), cmocka_unit_test(test_layer_divergence),
        cmocka_unit_test(test_layer_ends),          cmocka_unit_test(test_layer_squares),    cmocka_unit_test(test_layer_zeros_and_nan),
        cmocka_unit_test(test_layer_groups_off),    cmocka_unit_test(test_layer_thin_step), cmocka_unit_test(test_layer_threads),
           cmocka_unit_test(test_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
