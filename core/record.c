#include "core/record.h"

#include <math.h>
#include <string.h>

#define X(id, name, dims, type, units, group, long_name) [VAR_##id] = { #name, units, long_name, dims, type, group },
const struct record_var_def record_var_defs[N_RECORD_VARS] = { RECORD_VARS(X) };
#undef X

size_t record_type_bytes(enum record_type type)
{
    static const size_t bytes[] = { [REC_F32] = 4, [REC_I32] = 4, [REC_I64] = 8, [REC_U8] = 1 };
    return bytes[type];
}

size_t record_var_count(const struct record_layout *l, enum record_var v)
{
    const size_t lanes = (size_t)l->n_lanes, layers = (size_t)l->n_layers, heads = (size_t)l->n_kv_heads;
    switch (record_var_defs[v].dims) {
    case DIMS_STEP: return 1;
    case DIMS_STEP_LANE: return lanes;
    case DIMS_STEP_LANE_LAYER: return lanes * layers;
    case DIMS_STEP_LAYER_HEAD: return layers * heads;
    case DIMS_STEP_LANE_LAYER_HEAD: return lanes * layers * heads;
    case DIMS_STEP_LANE_LAYER_HEAD_SLOT: return lanes * layers * heads * (size_t)l->n_slots;
    }
    return 0;
}

void record_layout_init(struct record_layout *l, int n_lanes, int n_layers, int n_kv_heads, int n_slots, unsigned metrics)
{
    *l = (struct record_layout){ .n_lanes = n_lanes, .n_layers = n_layers, .n_kv_heads = n_kv_heads, .n_slots = n_slots };
    for (int v = 0; v < N_RECORD_VARS; v++) {
        const unsigned group = record_var_defs[v].group;
        l->at[v] = RECORD_OFF;
        if (group != 0 && !(group & metrics)) continue;
        l->at[v] = l->n_bytes;
        l->n_bytes += (record_var_count(l, (enum record_var)v) * record_type_bytes(record_var_defs[v].type) + 7) / 8 * 8;
    }
}

void record_clear(const struct record_layout *l, void *record)
{
    for (int v = 0; v < N_RECORD_VARS; v++) {
        char *at = record_at(l, record, (enum record_var)v);
        if (!at) continue;
        const size_t n = record_var_count(l, (enum record_var)v);
        switch (record_var_defs[v].type) {
        case REC_F32:
            for (size_t i = 0; i < n; i++) ((float *)at)[i] = NAN;
            break;
        case REC_I32: memset(at, 0xff, n * 4); break;
        case REC_I64: memset(at, 0xff, n * 8); break;
        case REC_U8: memset(at, 0xff, n); break;
        }
    }
}
