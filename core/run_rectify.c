/* core/run_rectify.c: what changes caches between steps: dense rectification, and lane 0's tokens for dense_until lanes. */
#include "core/run.h"

#include "core/err.h"

/* Block keys of one store over suffix steps from .. to-1, in every layer, from the keys stored for positions < n_tokens. */
static int rebuild_keys(struct run *r, int store, int from, int to)
{
    const int first = r->plan->prefill_tokens + from, last = r->plan->prefill_tokens + to - 1;
    for (int set = 0; set < r->lanes.n_sets; set++) {
        const struct key_set *k = &r->lanes.sets[set];
        if (k->store != store) continue;
        for (int layer = 0; layer < r->kv.n_layers; layer++) {
            const struct keys_build_args a = { .layer = layer, .set = set, .from_block = first / k->block_size,
                                               .to_block = last / k->block_size, .n_tokens = last + 1, .sets = r->lanes.sets,
                                               .kv = &r->kv };
            TRY(r->w->be->keys_build(r->w->dev, &a), "block keys");
        }
    }
    return 0;
}

/* The squares of suffix steps from .. to-1 of a lane against lane 0, in every layer. */
static int compare(struct run *r, int lane, int from, int to)
{
    if (!r->squares) return 0;
    const int P = r->plan->prefill_tokens;
    for (int layer = 0; layer < r->kv.n_layers; layer++) {
        const size_t at = ((size_t)lane * (size_t)r->kv.n_layers + (size_t)layer) * (size_t)r->plan->n_steps * 4;
        const struct kv_compare_args a = { .layer = layer, .store = r->lanes.store[lane], .ref_store = 0, .from = P + from,
                                           .to = P + to, .kv = &r->kv, .squares = r->squares + at };
        TRY(r->w->be->kv_compare(r->w->dev, &a), "comparison with lane 0");
    }
    return 0;
}

int run_copy_dense(struct run *r, int step)
{
    const int P = r->plan->prefill_tokens;
    for (int lane = 1; lane < r->plan->n_lanes && step > 0; lane++) {
        const struct lane_spec *l = &r->plan->lanes[lane];
        if (lane_is_probe(l) || l->dense_until != step) continue;
        for (int layer = 0; layer < r->kv.n_layers; layer++) {
            const struct kv_copy_args a = { .layer = layer, .from_store = 0, .to_store = r->lanes.store[lane], .from = P,
                                            .to = P + step, .kv = &r->kv };
            TRY(r->w->be->kv_copy(r->w->dev, &a), "dense_until");
        }
        TRY(rebuild_keys(r, r->lanes.store[lane], 0, step), "dense_until");
        TRY(compare(r, lane, 0, step), "dense_until");
    }
    return 0;
}

/* One dense causal pass over the rows staged so far.  Rows of a lane are in the order of their positions, so a window that
 * is cut between two passes gives the same result: a token never depends on a later one. */
static int flush_rows(struct run *r, int *n_rows)
{
    const struct pass p = { .n_rows = *n_rows, .last_kv_only = true };
    if (*n_rows == 0) return 0;
    TRY(table_upload(&r->mem, &r->f.rows, (size_t)*n_rows * sizeof(struct row)), "rows");
    TRY(table_upload(&r->mem, &r->f.attend, (size_t)*n_rows * sizeof(struct attend_row)), "attention rows");
    *n_rows = 0;
    return forward_pass(&r->f, &p);
}

static int rectify_windows(struct run *r, int step)
{
    struct row *rows = r->f.rows.host;
    struct attend_row *attend = r->f.attend.host;
    const int32_t *from = r->t.rect_from.host;
    int n = 0;
    for (int lane = 1; lane < r->plan->n_lanes; lane++)
        for (int s = from[lane]; s <= step; s++) {
            const int position = r->plan->prefill_tokens + s, store = r->lanes.store[lane];
            rows[n] = (struct row){ .lane = lane, .position = position, .token_at = run_token_at(r, lane, s), .store = store,
                                    .tail = NO_TAIL };
            attend[n] = (struct attend_row){ .q_row = n, .store = store, .tail = NO_TAIL, .position = position, .list_row = -1,
                                             .block_size = r->plan->lanes[lane].block_size, .out_row = n };
            if (++n == r->chunk_rows) TRY(flush_rows(r, &n), "rectification");
        }
    return flush_rows(r, &n);
}

int run_rectify(struct run *r, int step)
{
    const int32_t *from = r->t.rect_from.host;
    bool any = false;
    for (int lane = 1; lane < r->plan->n_lanes; lane++) any = any || from[lane] <= step;
    if (!any) return 0;
    TRY(rectify_windows(r, step), "step %d", step);
    for (int lane = 1; lane < r->plan->n_lanes; lane++) {
        if (from[lane] > step) continue;
        TRY(rebuild_keys(r, r->lanes.store[lane], from[lane], step + 1), "rectification");
        TRY(compare(r, lane, from[lane], step + 1), "rectification");
    }
    return run_measure_cache(r, VAR_K_RECT_DRIFT, VAR_V_RECT_DRIFT, &r->t.rect_from);
}
