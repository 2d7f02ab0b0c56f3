/* analysis/quantity.h: what is read from a trace, one number for each step of a lane, and the measures made of it.
 *
 * A quantity by layer is its mean over the layers from first_layer on (K and V of layer 0, and what
 * is attended there over a clean lane's K and V, hold no drift by construction).
 * A measure is one number for a run's lane: a statistic of a quantity over the steps that have it.              */
#ifndef ANALYSIS_QUANTITY_H
#define ANALYSIS_QUANTITY_H

enum quantity {
    QUANTITY_NLL,
    QUANTITY_ABOVE_DENSE,
    QUANTITY_KL,
    QUANTITY_KL_CLEAN,
    QUANTITY_TOP1,
    QUANTITY_TOP3,
    QUANTITY_K_DRIFT,
    QUANTITY_V_DRIFT,
    QUANTITY_K_SHIFT,
    QUANTITY_K_ACCUM,
    QUANTITY_V_ACCUM,
    QUANTITY_ATTN_ACCUM,
    QUANTITY_HIDDEN_ACCUM,
    QUANTITY_K_STALE,
    QUANTITY_K_CACHE,
    QUANTITY_ATTN_ERR,
    QUANTITY_KEPT_MASS,
    QUANTITY_BEST_MASS,
    QUANTITY_STALE_MASS,
    QUANTITY_BLOCKS,
    QUANTITY_STALE_TOKENS,
    QUANTITY_SHARE,
    QUANTITY_BYTES,
    N_QUANTITIES
};

enum { QUANTITY_MAX_VARS = 3, NO_LAYERS = -1 };

struct quantity_def {
    const char *vars[QUANTITY_MAX_VARS]; /* variables of the trace that are summed, then NULL; none: derived */
    int first_layer;                     /* NO_LAYERS: the variable has no layers */
};
extern const struct quantity_def quantity_defs[N_QUANTITIES];

enum statistic { STATISTIC_MEAN, STATISTIC_MEDIAN, STATISTIC_LAST };

enum measure {
    MEASURE_NLL,
    MEASURE_ABOVE_DENSE,
    MEASURE_KL,
    MEASURE_KL_MEDIAN,
    MEASURE_TOP1,
    MEASURE_TOP3,
    MEASURE_K_DRIFT,
    MEASURE_K_SHIFT,
    MEASURE_K_ACCUM,
    MEASURE_V_ACCUM,
    MEASURE_ATTN_ACCUM,
    MEASURE_HIDDEN_ACCUM,
    MEASURE_KL_CLEAN,
    MEASURE_K_CACHE_END,
    MEASURE_ATTN_ERR,
    MEASURE_KEPT_MASS,
    MEASURE_BEST_MASS,
    MEASURE_STALE_MASS,
    MEASURE_BLOCKS,
    MEASURE_SHARE,
    MEASURE_BYTES,
    N_MEASURES
};

struct measure_def {
    const char *key;   /* a column in csv */
    const char *label; /* a column for people, with its unit */
    enum quantity quantity;
    enum statistic statistic;
    int decimals; /* for people */
    double scale; /* for people: they see value * scale */
    int better;   /* -1: less is better, 1: more is, 0: neither */
};
extern const struct measure_def measure_defs[N_MEASURES];

#endif
