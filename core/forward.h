/* core/forward.h: the forward pass, one for prefill, step and rectification, which differ in their row table only.
 *
 * The caller fills rows (and for a measured step what core/run_measure.c needs), calls forward_upload() and then
 * forward_pass(), which only enqueues.  Buffers hold max_rows rows; logits are for at most max_lanes rows.       */
#ifndef CORE_FORWARD_H
#define CORE_FORWARD_H

#include "core/lane_table.h"
#include "core/weights.h"

/* A host table and its copy on the device, of a fixed capacity. */
struct table {
    void *host, *dev; /* owned */
    size_t capacity_bytes;
};

/* What the engine allocates, by what it is for (`plan` prints these). */
enum memory_part { MEMORY_WEIGHTS, MEMORY_PREFIX, MEMORY_SUFFIX, MEMORY_KEYS, MEMORY_BUFFERS, MEMORY_MEASURES, N_MEMORY_PARTS };

struct memory {
    const struct backend *be;
    struct device *dev;
    bool dry;                          /* count only, allocate nothing */
    uint64_t bytes[N_MEMORY_PARTS];
};
int  memory_take(struct memory *m, enum memory_part part, void **p, size_t n_bytes, const char *what);
int  table_open(struct memory *m, enum memory_part part, struct table *t, size_t n_bytes, const char *what);
void table_close(struct memory *m, struct table *t);
int  table_upload(struct memory *m, const struct table *t, size_t n_bytes);

struct forward {
    const struct weights *w;           /* borrowed */
    struct memory *mem;                /* borrowed */
    struct lane_table *lanes;          /* borrowed */
    struct kv_cache *kv;               /* borrowed */
    uint64_t seed;
    int max_rows, max_lanes;
    int32_t *tokens;                   /* device, borrowed: the token buffer */
    struct lane_params *params;        /* device, owned copy of lanes->params */

    struct table rows, attend, mass_rows;         /* struct row, attend_row, mass_row */
    struct table select_rows, cache_rows, dense_mass_rows; /* parts group: attend_row x2, mass_row, by lane */
    float *hidden, *normed, *qkv, *attn, *gate_up, *act, *cosine, *sine, *k_plain, *final, *logits; /* owned */
    void *normed_operand, *attn_operand, *act_operand, *final_operand; /* owned, where the back end has operands: then normed, gate_up and act are NULL */
    struct block_lists lists;
    float *scores;
    struct table replay;               /* int32 [n_layers][n_lanes][n_kv_heads][lists.max_blocks]: what lanes of selector replay choose */
    int max_score_blocks, mass_blocks;
    double *mass, *stale, *mass_dense;
    float *attn_select, *attn_cache;
    int64_t *tally;                    /* [max_lanes][n_kv_heads] tokens read by each row over layers */
};

/* One pass.  Rows were uploaded. */
struct pass {
    int n_rows;
    bool sparse;                       /* rows may have ROW_SPARSE: blocks are chosen, block keys follow */
    bool last_kv_only;                 /* the last layer stops after K, V; no logits */
    int logit_row, n_logit_rows;       /* rows whose logits are wanted, 0: none */
    double *spread;                    /* state of struct spread_args for layer 0, or NULL; layers follow one another */
    int n_mass_rows, n_parts_rows;
    int (*measure)(void *context, int layer); /* called after each layer where not NULL: enqueues measures */
    void *context;
};

struct forward_options {
    int max_rows, max_lanes, max_blocks, max_context;
    bool k_plain, mass, parts;
};

int  forward_open(struct forward *f, const struct weights *w, struct memory *mem, struct lane_table *lanes, struct kv_cache *kv,
                  const struct forward_options *o);
void forward_close(struct forward *f);
int  forward_pass(struct forward *f, const struct pass *p);

static inline int shape_qkv(const struct model_shape *s)
{
    return (s->n_heads + 2 * s->n_kv_heads) * s->head_dim;
}

#endif
