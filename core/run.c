#include "core/run.h"

#include "core/err.h"
#include "core/mem.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static int prefill_chunk(struct run *r, int from, int to)
{
    struct row *rows = r->f.rows.host;
    struct attend_row *attend = r->f.attend.host;
    for (int i = from; i < to; i++) {
        rows[i - from] = (struct row){ .lane = 0, .position = i, .token_at = i, .store = KV_PREFIX, .tail = NO_TAIL };
        attend[i - from] = (struct attend_row){ .q_row = i - from, .store = KV_PREFIX, .tail = NO_TAIL, .position = i, .list_row = -1,
                                                .block_size = KV_TILE, .out_row = i - from };
    }
    const int n = to - from;
    TRY(table_upload(&r->mem, &r->f.rows, (size_t)n * sizeof *rows), "rows");
    TRY(table_upload(&r->mem, &r->f.attend, (size_t)n * sizeof *attend), "attention rows");
    const bool last = to == r->plan->prefill_tokens;
    const bool logits = last && r->plan->follow != FOLLOW_TEXT;
    const struct pass p = { .n_rows = n, .spread = r->spread_state, .last_kv_only = !logits, .logit_row = n - 1,
                            .n_logit_rows = logits ? 1 : 0 };
    return forward_pass(&r->f, &p);
}

/* The tile that straddles the boundary, for every store; and the block keys that the prefix fills. */
static int fork_prefix(struct run *r)
{
    const struct backend *be = r->w->be;
    const int P = r->plan->prefill_tokens, first = r->kv.first_own_tile * KV_TILE;
    for (int layer = 0; layer < r->kv.n_layers; layer++) {
        for (int store = 0; store < r->kv.n_stores && first < P; store++) {
            const struct kv_copy_args a = { .layer = layer, .from_store = KV_PREFIX, .to_store = store, .from = first, .to = P,
                                            .kv = &r->kv };
            TRY(be->kv_copy(r->w->dev, &a), "copying the boundary tile");
        }
        for (int set = 0; set < r->lanes.n_sets; set++) {
            const struct key_set *k = &r->lanes.sets[set];
            const int whole = P / k->block_size;
            const bool shared = k->store == KV_PREFIX;
            if (shared ? whole == 0 : P % k->block_size == 0) continue;
            const struct keys_build_args a = { .layer = layer, .set = set, .from_block = shared ? 0 : whole,
                                               .to_block = shared ? whole - 1 : whole, .n_tokens = P, .sets = r->lanes.sets,
                                               .kv = &r->kv };
            TRY(be->keys_build(r->w->dev, &a), "block keys of the prefix");
        }
    }
    return 0;
}

/* x[start] from the prefill's logits, the same for every lane. */
static int choose_first(struct run *r)
{
    int32_t *row_of_lane = r->t.row_of_lane.host, *next = r->t.next_at.host, *from = r->t.from_lane.host;
    const size_t n = (size_t)r->plan->n_lanes * sizeof(int32_t);
    for (int i = 0; i < r->plan->n_lanes; i++) {
        row_of_lane[i] = 0;
        next[i] = run_token_at(r, i, 0);
        from[i] = 0;
    }
    ((int32_t *)r->t.step.host)[0] = -1;
    TRY(table_upload(&r->mem, &r->t.row_of_lane, n), "first token");
    TRY(table_upload(&r->mem, &r->t.next_at, n), "first token");
    TRY(table_upload(&r->mem, &r->t.from_lane, n), "first token");
    TRY(table_upload(&r->mem, &r->t.step, sizeof(int32_t)), "first token");
    const struct sample_args a = { .n_lanes = r->plan->n_lanes, .vocab = r->w->model->shape.vocab, .step = r->t.step.dev,
                                   .row_of_lane = r->t.row_of_lane.dev, .from_lane = r->t.from_lane.dev, .logits = r->f.logits,
                                   .temperature = r->plan->temperature, .top_p = r->plan->top_p, .seed = r->plan->seed,
                                   .tokens = r->tokens, .token_at = r->t.next_at.dev };
    TRY(r->w->be->sample(r->w->dev, &a), "first token");
    if (!r->plan->stop_eos || r->plan->eos_id < 0) return 0;
    int32_t first = -1;
    TRY(r->w->be->download(r->w->dev, &first, r->tokens + run_token_at(r, 0, 0), sizeof first), "first token");
    TRY(r->w->be->sync(r->w->dev), "first token");
    if (first == r->plan->eos_id)
        return fail("the model ends at once: the first token it chooses is eos (%d), and decode.stop is eos", first);
    return 0;
}

int run_prefill(struct run *r)
{
    const int P = r->plan->prefill_tokens;
    if (r->spread_state) {
        const struct model_shape *s = &r->w->model->shape;
        const size_t n = 4 * (size_t)s->n_layers * (size_t)(s->n_kv_heads * s->head_dim);
        double *zero = NULL;
        TRY(MEM_NEW(&zero, n, "spread"), "prefill");
        const int rc = r->w->be->upload(r->w->dev, r->spread_state, zero, n * sizeof *zero);
        mem_free(zero);
        if (rc != 0) return -1;
    }
    for (int from = 0; from < P; from += r->chunk_rows)
        TRY(prefill_chunk(r, from, from + r->chunk_rows < P ? from + r->chunk_rows : P), "prefill, token %d", from);
    TRY(run_finish_spread(r), "prefill");
    TRY(fork_prefix(r), "prefill");
    return r->plan->follow == FOLLOW_TEXT ? 0 : choose_first(r);
}

/* What one recorded step consists of: everything but rectification, whose rows differ from step to step. */
static int enqueue_step(void *run)
{
    struct run *r = run;
    const struct backend *be = r->w->be;
    TRY(be->clear(r->w->dev, &r->layout, r->record), "record");
    TRY(forward_pass(&r->f, &r->pass), "forward");
    if (r->plan->follow != FOLLOW_TEXT) {
        const struct sample_args a = { .n_lanes = r->plan->n_lanes, .vocab = r->w->model->shape.vocab, .step = r->t.step.dev,
                                       .row_of_lane = r->t.row_of_lane.dev, .from_lane = r->t.from_lane.dev, .logits = r->f.logits,
                                       .temperature = r->plan->temperature, .top_p = r->plan->top_p, .seed = r->plan->seed,
                                       .tokens = r->tokens, .token_at = r->t.next_at.dev,
                                       .diverged = r->plan->follow == FOLLOW_SELF ? r->diverged : NULL };
        TRY(be->sample(r->w->dev, &a), "sampling");
    }
    TRY(run_measure_logits(r), "logits");
    return run_measure_cache(r, VAR_K_STALE_DRIFT, VAR_V_STALE_DRIFT, &r->t.stale_from);
}

/* Ends of sequences: a lane ends after the step whose choice is eos; the run ends with the last lane (self) or with lane 0. */
static int find_ends(struct run *r, int step)
{
    if (!r->plan->stop_eos || r->plan->eos_id < 0) return 0;
    TRY(r->w->be->sync(r->w->dev), "eos");
    bool all = true;
    for (int lane = 0; lane < r->plan->n_lanes; lane++) {
        int32_t token = -1;
        TRY(r->w->be->download(r->w->dev, &token, r->tokens + run_token_at(r, lane, step + 1), sizeof token), "eos");
        TRY(r->w->be->sync(r->w->dev), "eos");
        if (r->ended[lane] > step + 1 && token == r->plan->eos_id) r->ended[lane] = step + 1;
        all = all && r->ended[lane] <= step + 1;
    }
    if (all) r->end_step = step + 1;
    return 0;
}

static int emit(struct run *r, int step)
{
    struct run_slot *slot = &r->slot[step % RUN_RING];
    slot->step = step;
    memcpy(slot->row_of_lane, r->t.row_of_lane.host, (size_t)r->plan->n_lanes * sizeof(int32_t));
    TRY(r->w->be->download(r->w->dev, slot->record, r->record, r->layout.n_bytes), "record");
    const size_t n_lists = (size_t)r->pass.n_rows * (size_t)r->kv.n_kv_heads;
    TRY(r->w->be->download(r->w->dev, slot->tally, r->f.tally, n_lists * sizeof(int64_t)), "tally");
    return r->w->be->mark(r->w->dev, step % RUN_RING);
}

int run_step(struct run *r)
{
    const int step = r->n_stepped;
    if (step - r->n_taken >= RUN_RING) return fail("step %d: the record of step %d was not taken", step, r->n_taken);
    TRY(run_copy_dense(r, step), "step %d", step);
    TRY(run_stage_step(r, step), "step %d", step);
    if (r->graph_rows != r->pass.n_rows) {
        for (int i = 0; i < 2; i++) {
            r->w->be->graph_free(r->w->dev, r->graph[i]);
            r->graph[i] = NULL;
        }
        r->graph_rows = r->pass.n_rows;
    }
    TRY(r->w->be->replay(r->w->dev, &r->graph[run_step_is_full(r, step)], enqueue_step, r), "step %d", step);
    TRY(run_rectify(r, step), "step %d: rectification", step);
    TRY(run_measure_cache(r, VAR_K_CACHE_DRIFT, VAR_V_CACHE_DRIFT, &r->t.cache_from), "step %d", step);
    TRY(emit(r, step), "step %d", step);
    r->n_stepped++;
    return find_ends(r, step);
}

bool run_done(const struct run *r)
{
    return r->n_stepped >= r->end_step;
}

void run_drain(struct run *r)
{
    r->lag = 0;
}

/* A reference that is no number leaves nothing to measure against: such weights, or activations beyond the back end's range. */
static int check_reference(const struct run *r, const struct run_slot *slot)
{
    const float *entropy = record_at(&r->layout, slot->record, VAR_ENTROPY); /* NULL without the logits group */
    if (!entropy || slot->row_of_lane[0] < 0 || !isnan(entropy[0])) return 0;
    return fail("step %d: the dense lane's logits hold NaN or infinity: the weights of %s do, or a value is too large for device %s", slot->step,
                r->w->model->name, r->w->be->name);
}

const void *run_take(struct run *r, int *step)
{
    *step = r->n_taken;
    if (r->n_stepped - r->n_taken <= r->lag) return NULL;
    const struct run_slot *slot = &r->slot[r->n_taken % RUN_RING];
    if (r->w->be->wait(r->w->dev, r->n_taken % RUN_RING) != 0 || check_reference(r, slot) != 0) {
        *step = -1;
        return NULL;
    }
    run_fill_record(r, slot);
    r->n_taken++;
    return slot->record;
}

int run_first_divergence(struct run *r, int32_t *out)
{
    const size_t n = (size_t)r->plan->n_lanes;
    TRY(r->w->be->download(r->w->dev, out, r->diverged, n * sizeof *out), "divergence");
    TRY(r->w->be->sync(r->w->dev), "divergence");
    for (size_t i = 0; i < n; i++)
        if (out[i] >= r->end_step) out[i] = -1; /* chosen differently, but never fed */
    return 0;
}
