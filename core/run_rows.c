/* core/run_rows.c: the tables of one step: who has a row, what it reads, what its measures compare. */
#include "core/run.h"

#include "core/err.h"

/* Whether a lane has a row in a step: not before its dense_until, not after its end; a probe goes with its owner. */
static bool lane_has_row(const struct run *r, int lane, int step)
{
    const struct lane_spec *l = &r->plan->lanes[lane];
    const struct lane_spec *owner = lane_is_probe(l) ? &r->plan->lanes[l->cache_of] : l;
    return step >= owner->dense_until && step < r->ended[lane];
}

static int stale_tokens(const struct run *r, int lane, int step)
{
    const struct lane_spec *l = &r->plan->lanes[lane];
    return lane_stale_tokens(lane_is_probe(l) ? &r->plan->lanes[l->cache_of] : l, step);
}

static void stage_row(struct run *r, int row, int lane, int step)
{
    const struct lane_spec *l = &r->plan->lanes[lane];
    const int position = r->plan->prefill_tokens + step;
    int flags = ROW_LOGITS;
    if (l->selector != SELECT_DENSE) flags |= ROW_SPARSE;
    if (l->perturb > 0) flags |= ROW_PERTURB;
    ((struct row *)r->f.rows.host)[row] = (struct row){ .lane = lane, .position = position, .token_at = run_token_at(r, lane, step),
                                                        .store = r->lanes.reads[lane], .tail = r->lanes.tail[lane], .flags = flags };
    ((struct attend_row *)r->f.attend.host)[row] =
        (struct attend_row){ .q_row = row, .store = r->lanes.reads[lane], .tail = r->lanes.tail[lane], .position = position,
                             .list_row = row, .block_size = l->block_size, .out_row = row };
}

/* The mass is measured at the steps that are recorded; an oracle lane needs it to select at every step. */
static void stage_mass(struct run *r, int row, int lane, int step)
{
    const struct lane_spec *l = &r->plan->lanes[lane];
    const bool measured = run_has(r, METRIC_MASS | METRIC_HEADS) && run_step_is_full(r, step);
    if (l->selector == SELECT_DENSE || !(measured || l->selector == SELECT_ORACLE)) return;
    const int position = r->plan->prefill_tokens + step;
    ((struct mass_row *)r->f.mass_rows.host)[r->pass.n_mass_rows++] =
        (struct mass_row){ .q_row = row, .store = r->lanes.reads[lane], .tail = r->lanes.tail[lane], .position = position,
                           .block_size = l->block_size, .stale_from = position - stale_tokens(r, lane, step), .out_row = row };
}

/* Lane 0's q through this lane's blocks, over this lane's cache, and its mass at this lane's block size. */
static void stage_parts(struct run *r, int row, int lane, int step)
{
    const int32_t row0 = ((const int32_t *)r->t.row_of_lane.host)[0];
    if (!run_has(r, METRIC_PARTS) || !run_step_is_full(r, step) || row0 < 0 || lane == 0) return;
    const int position = r->plan->prefill_tokens + step, n = r->pass.n_parts_rows++, block = r->plan->lanes[lane].block_size;
    ((struct attend_row *)r->f.select_rows.host)[n] = (struct attend_row){
        .q_row = row0, .store = 0, .tail = NO_TAIL, .position = position, .list_row = row, .block_size = block, .out_row = lane };
    ((struct attend_row *)r->f.cache_rows.host)[n] =
        (struct attend_row){ .q_row = row0, .store = r->lanes.reads[lane], .tail = r->lanes.tail[lane], .position = position,
                             .list_row = -1, .block_size = block, .out_row = lane };
    ((struct mass_row *)r->f.dense_mass_rows.host)[n] = (struct mass_row){
        .q_row = row0, .store = 0, .tail = NO_TAIL, .position = position, .block_size = block, .stale_from = position, .out_row = lane };
}

static void stage_lane(struct run *r, int lane, int step)
{
    const struct lane_spec *l = &r->plan->lanes[lane];
    const struct run_tables *t = &r->t;
    const int row = ((const int32_t *)t->row_of_lane.host)[lane];
    const bool own = row >= 0 && !lane_is_probe(l);
    const bool rectified = own && lane_rectifies_after(l, step);
    ((int32_t *)t->to.host)[lane] = step + 1;
    ((int32_t *)t->stale_from.host)[lane] = own ? (lane == 0 ? 0 : lane_window_start(l, step)) : step + 1;
    ((int32_t *)t->rect_from.host)[lane] = rectified ? lane_window_start(l, step) : step + 1;
    ((int32_t *)t->cache_from.host)[lane] = own ? 0 : step + 1;
    ((int32_t *)t->target_at.host)[lane] = row >= 0 ? run_token_at(r, lane, step + 1) : -1;
    ((int32_t *)t->next_at.host)[lane] = run_token_at(r, lane, step + 1);
    const int chooser = lane_is_probe(l) ? l->cache_of : lane;
    const bool chooses = r->plan->follow != FOLLOW_TEXT && (row >= 0 || r->plan->follow == FOLLOW_REFERENCE);
    ((int32_t *)t->from_lane.host)[lane] = chooses ? (r->plan->follow == FOLLOW_REFERENCE ? 0 : chooser) : -1;
}

static int upload_tables(struct run *r)
{
    const struct run_tables *t = &r->t;
    const size_t lanes = (size_t)r->plan->n_lanes * sizeof(int32_t), rows = (size_t)r->pass.n_rows;
    const struct table *const all[] = { &t->row_of_lane, &t->target_at, &t->next_at, &t->from_lane,
                                        &t->stale_from, &t->rect_from, &t->cache_from, &t->to, &t->end };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) TRY(table_upload(&r->mem, all[i], lanes), "lane tables");
    TRY(table_upload(&r->mem, &t->step, sizeof(int32_t)), "step");
    TRY(table_upload(&r->mem, &r->f.rows, rows * sizeof(struct row)), "rows");
    TRY(table_upload(&r->mem, &r->f.attend, rows * sizeof(struct attend_row)), "attention rows");
    TRY(table_upload(&r->mem, &r->f.mass_rows, (size_t)r->pass.n_mass_rows * sizeof(struct mass_row)), "mass rows");
    const size_t parts = (size_t)r->pass.n_parts_rows;
    TRY(table_upload(&r->mem, &r->f.select_rows, parts * sizeof(struct attend_row)), "parts rows");
    TRY(table_upload(&r->mem, &r->f.cache_rows, parts * sizeof(struct attend_row)), "parts rows");
    return table_upload(&r->mem, &r->f.dense_mass_rows, parts * sizeof(struct mass_row));
}

static int stage_replay(struct run *r, int step)
{
    const struct table *t = &r->f.replay;
    if (!t->dev) return 0;
    TRY(replay_stage(&r->replay, step, r->f.lists.max_blocks, t->host), "step %d", step);
    return table_upload(&r->mem, t, t->capacity_bytes);
}

int run_stage_step(struct run *r, int step)
{
    int32_t *row_of_lane = r->t.row_of_lane.host;
    r->pass = (struct pass){ .sparse = true, .measure = run_measure_layer, .context = r };
    ((int32_t *)r->t.step.host)[0] = step;
    for (int lane = 0; lane < r->plan->n_lanes; lane++) {
        ((int32_t *)r->t.end.host)[lane] = r->ended[lane];
        row_of_lane[lane] = -1;
        if (!lane_has_row(r, lane, step)) continue;
        row_of_lane[lane] = r->pass.n_rows++;
        stage_row(r, row_of_lane[lane], lane, step);
    }
    for (int lane = 0; lane < r->plan->n_lanes; lane++) {
        stage_lane(r, lane, step);
        if (row_of_lane[lane] < 0) continue;
        stage_mass(r, row_of_lane[lane], lane, step);
        stage_parts(r, row_of_lane[lane], lane, step);
    }
    r->pass.n_logit_rows = r->pass.n_rows;
    TRY(stage_replay(r, step), "replay");
    return upload_tables(r);
}
