#include "analysis/quantity.h"

#include <stddef.h>

const struct quantity_def quantity_defs[N_QUANTITIES] = {
    [QUANTITY_NLL] = { { "nll" }, NO_LAYERS },
    [QUANTITY_ABOVE_DENSE] = { { NULL }, NO_LAYERS },
    [QUANTITY_KL] = { { "logit_kl" }, NO_LAYERS },
    [QUANTITY_TOP1] = { { "top1_match" }, NO_LAYERS },
    [QUANTITY_K_DRIFT] = { { "k_drift" }, 1 },
    [QUANTITY_K_SHIFT] = { { "k_shift" }, 1 },
    [QUANTITY_K_ACCUM] = { { "k_accum" }, 1 },
    [QUANTITY_K_STALE] = { { "k_stale_drift" }, 1 },
    [QUANTITY_K_CACHE] = { { "k_cache_drift" }, 1 },
    [QUANTITY_ATTN_ERR] = { { "attn_err" }, 0 },
    [QUANTITY_KEPT_MASS] = { { "kept_mass" }, 0 },
    [QUANTITY_BLOCKS] = { { "blocks_read" }, 0 },
    [QUANTITY_SHARE] = { { "active_share" }, NO_LAYERS },
    [QUANTITY_BYTES] = { { "kv_read_bytes", "key_read_bytes", "rectify_bytes" }, NO_LAYERS },
};

const struct measure_def measure_defs[N_MEASURES] = {
    [MEASURE_NLL] = { "nll", "NLL (nat)", QUANTITY_NLL, STATISTIC_MEAN, 3, 1 },
    [MEASURE_ABOVE_DENSE] = { "nll_above_dense", "NLL above dense (nat)", QUANTITY_ABOVE_DENSE, STATISTIC_MEAN, 3, 1 },
    [MEASURE_KL] = { "kl_mean", "KL, mean (nat)", QUANTITY_KL, STATISTIC_MEAN, 3, 1 },
    [MEASURE_KL_MEDIAN] = { "kl_median", "KL, median (nat)", QUANTITY_KL, STATISTIC_MEDIAN, 3, 1 },
    [MEASURE_TOP1] = { "top1_agreement", "top-1 agreement", QUANTITY_TOP1, STATISTIC_MEAN, 3, 1 },
    [MEASURE_K_DRIFT] = { "k_drift", "K drift", QUANTITY_K_DRIFT, STATISTIC_MEAN, 3, 1 },
    [MEASURE_K_SHIFT] = { "k_shift", "K shift", QUANTITY_K_SHIFT, STATISTIC_MEAN, 3, 1 },
    [MEASURE_K_ACCUM] = { "k_accum", "distance to clean", QUANTITY_K_ACCUM, STATISTIC_MEAN, 3, 1 },
    [MEASURE_K_CACHE_END] = { "k_cache_drift_end", "cache drift at the end", QUANTITY_K_CACHE, STATISTIC_LAST, 3, 1 },
    [MEASURE_ATTN_ERR] = { "attn_err", "attention error", QUANTITY_ATTN_ERR, STATISTIC_MEAN, 3, 1 },
    [MEASURE_KEPT_MASS] = { "kept_mass", "kept mass", QUANTITY_KEPT_MASS, STATISTIC_MEAN, 3, 1 },
    [MEASURE_BLOCKS] = { "blocks_read", "blocks read", QUANTITY_BLOCKS, STATISTIC_MEAN, 1, 1 },
    [MEASURE_SHARE] = { "active_share", "share of tokens read", QUANTITY_SHARE, STATISTIC_MEAN, 3, 1 },
    [MEASURE_BYTES] = { "bytes_per_step", "KV bytes per step (KiB)", QUANTITY_BYTES, STATISTIC_MEAN, 0, 1.0 / 1024 },
};
