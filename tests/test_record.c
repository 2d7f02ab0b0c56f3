/* The table of measured variables, and the layout of a step's record. */
#include "core/record.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ALL_METRICS = 511, N_GROUPS = 9 };

/* What a trace promises its readers: names by group and dimensions. */
static const struct {
    unsigned group;
    enum record_dims dims;
    enum record_type type;
    const char *names;
} promised[] = {
    { 0, DIMS_STEP_LANE, REC_I32, "token target argmax stale_tokens" },
    { 0, DIMS_STEP, REC_I32, "context_tokens" },
    { 0, DIMS_STEP_LANE, REC_U8, "rectified" },
    { 0, DIMS_STEP_LANE, REC_F32, "active_share" },
    { 0, DIMS_STEP_LANE, REC_I64, "kv_read_bytes key_read_bytes rectify_bytes rectify_flop" },
    { 1, DIMS_STEP_LANE_LAYER, REC_F32, "k_drift v_drift k_accum v_accum attn_accum k_shift v_shift" },
    { 1, DIMS_STEP_LAYER_HEAD, REC_F32, "k_norm v_norm" },
    { 2, DIMS_STEP_LANE_LAYER, REC_F32,
      "k_stale_drift v_stale_drift k_rect_drift v_rect_drift k_cache_drift v_cache_drift" },
    { 4, DIMS_STEP_LANE_LAYER, REC_F32, "attn_err resid_err blocks_read" },
    { 8, DIMS_STEP_LANE_LAYER, REC_F32, "kept_mass kept_mass_min best_mass stale_mass" },
    { 16, DIMS_STEP_LANE, REC_F32, "hidden_err hidden_accum logit_kl kl_clean nll entropy" },
    { 16, DIMS_STEP_LANE, REC_U8, "top1_match top3_hit" },
    { 32, DIMS_STEP_LANE_LAYER, REC_F32, "attn_err_select attn_err_cache kept_mass_dense select_overlap" },
    { 64, DIMS_STEP_LANE_LAYER_HEAD, REC_F32,
      "k_head_drift v_head_drift attn_head_err kept_head_mass best_head_mass stale_head_mass" },
    { 128, DIMS_STEP_LANE_LAYER_HEAD_SLOT, REC_I32, "selected_blocks" },
    { 256, DIMS_STEP_LANE, REC_F32, "step_time product_time select_time attend_time other_time rectify_time read_time clock" },
    { 256, DIMS_STEP_LANE, REC_I64, "step_bytes" },
};

static void table_holds_what_is_promised(void **state)
{
    (void)state;
    int n_found = 0;
    for (size_t p = 0; p < sizeof promised / sizeof promised[0]; p++) {
        char names[256];
        strcpy(names, promised[p].names);
        for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
            int v = 0;
            while (v < N_RECORD_VARS && strcmp(record_var_defs[v].name, name) != 0) v++;
            if (v == N_RECORD_VARS) fail_msg("%s is missing", name);
            if (record_var_defs[v].group != promised[p].group || record_var_defs[v].dims != promised[p].dims ||
                record_var_defs[v].type != promised[p].type)
                fail_msg("%s has another group, dimensions or type", name);
            assert_true(record_var_defs[v].units[0] && record_var_defs[v].long_name[0]);
            n_found++;
        }
    }
    assert_int_equal(n_found, N_RECORD_VARS); /* names are unique, nothing else is there */
}

/* Counts by hand for 5 lanes, 3 layers, 2 KV heads, 7 slots. */
static void counts(void **state)
{
    (void)state;
    struct record_layout l;
    record_layout_init(&l, 5, 3, 2, 7, ALL_METRICS);
    assert_int_equal(record_var_count(&l, VAR_CONTEXT_TOKENS), 1);
    assert_int_equal(record_var_count(&l, VAR_TOKEN), 5);
    assert_int_equal(record_var_count(&l, VAR_K_DRIFT), 15);
    assert_int_equal(record_var_count(&l, VAR_K_NORM), 6);
    assert_int_equal(record_var_count(&l, VAR_K_HEAD_DRIFT), 30);
    assert_int_equal(record_var_count(&l, VAR_SELECTED_BLOCKS), 210);
    assert_int_equal(record_type_bytes(REC_F32), 4);
    assert_int_equal(record_type_bytes(REC_I32), 4);
    assert_int_equal(record_type_bytes(REC_I64), 8);
    assert_int_equal(record_type_bytes(REC_U8), 1);
}

/* Under every choice of groups: what is on lies inside, aligned and apart; what is off has no place. */
static void layouts(void **state)
{
    (void)state;
    for (unsigned metrics = 0; metrics < 1u << N_GROUPS; metrics++) {
        struct record_layout l;
        size_t end = 0;
        record_layout_init(&l, 5, 3, 2, 7, metrics);
        char *record = malloc(l.n_bytes);
        assert_non_null(record);
        for (int v = 0; v < N_RECORD_VARS; v++) {
            const unsigned group = record_var_defs[v].group;
            const bool on = group == 0 || (group & metrics);
            if (!on) {
                assert_true(l.at[v] == RECORD_OFF);
                assert_null(record_at(&l, record, (enum record_var)v));
                continue;
            }
            assert_true(l.at[v] % 8 == 0 && l.at[v] >= end);
            end = l.at[v] + record_var_count(&l, (enum record_var)v) * record_type_bytes(record_var_defs[v].type);
            assert_true(end <= l.n_bytes);
            assert_ptr_equal(record_at(&l, record, (enum record_var)v), record + l.at[v]);
        }
        assert_true(l.n_bytes % 8 == 0 && l.n_bytes - end < 8);
        free(record);
    }
}

static void cleared_record(void **state)
{
    (void)state;
    struct record_layout l;
    record_layout_init(&l, 5, 3, 2, 7, ALL_METRICS);
    char *record = malloc(l.n_bytes);
    assert_non_null(record);
    memset(record, 0x5a, l.n_bytes);
    record_clear(&l, record);
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const void *at = record_at(&l, record, (enum record_var)v);
        for (size_t i = 0; i < record_var_count(&l, (enum record_var)v); i++) {
            switch (record_var_defs[v].type) {
            case REC_F32: assert_true(isnan(((const float *)at)[i])); break;
            case REC_I32: assert_true(((const int32_t *)at)[i] == -1); break;
            case REC_I64: assert_true(((const int64_t *)at)[i] == -1); break;
            case REC_U8: assert_true(((const uint8_t *)at)[i] == 255); break;
            }
        }
    }
    free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_holds_what_is_promised),
        cmocka_unit_test(counts),
        cmocka_unit_test(layouts),
        cmocka_unit_test(cleared_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
