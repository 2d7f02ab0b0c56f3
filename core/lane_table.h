/* core/lane_table.h: the lanes of a run as the engine needs them: which store each reads and writes, which scratch tail a
 * probe has, which sets of block keys exist and who scores with which.
 *
 * Store 0 is lane 0's.  Key sets: first one over the prefix for each block size that some minmax lane has, then one for
 * each (store, block size) that a lane or a probe of its owner scores with.                                 */
#ifndef CORE_LANE_TABLE_H
#define CORE_LANE_TABLE_H

#include "core/kv_cache.h"
#include "core/lane.h"
#include "core/ops.h"

struct lane_table {
    int n_lanes, n_stores, n_tails;
    int32_t *store;                /* [n_lanes] the store that the lane owns, -1: a probe */
    int32_t *reads;                /* [n_lanes] the store it reads */
    int32_t *tail;                 /* [n_lanes] a probe's tail, or NO_TAIL */
    struct lane_params *params;    /* [n_lanes] */
    struct key_set *sets;          /* [n_sets], keys NULL until the engine allocates them */
    int n_sets;
    int min_block_size;            /* of all sparse lanes; 0: there is none */
    bool any_oracle, any_replay, any_perturb;
};

int  lane_table_open(struct lane_table *t, const struct lane_spec *lanes, int n_lanes, int prefix_tokens, int n_steps);
/* For batches of independent sequences of up to n_tokens tokens, which share nothing: policy i's lane of sequence s is lane
 * i * batch + s of the table, and reads store s, the same for every policy.  The policies have caches of their own (no probes). */
int  lane_table_open_batch(struct lane_table *t, const struct lane_spec *policies, int n_policies, int batch, int n_tokens);
void lane_table_close(struct lane_table *t);

#endif
