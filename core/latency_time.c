/* What is timed, and how. */
#include "core/latency.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>

enum { WARM_REPLAYS = 2, IN_FLIGHT = DEVICE_MARKS / 2 }; /* a replay has two marks */

void latency_start(struct latency *l, int lane)
{
    l->lane = lane;
    l->first = 0;
    l->end = l->plan->n_steps;
}

void latency_steps(struct latency *l, int first, int end)
{
    l->first = first;
    l->end = end;
}

/* ---- rows ---- */

static void stage_row(struct latency *l, int row, int sequence, int position, int flags)
{
    const bool sparse = flags & ROW_SPARSE;
    ((struct row *)l->f.rows.host)[row] = (struct row){ .lane = l->lane * l->plan->batch + sequence, .position = position,
                                                        .token_at = position, .store = sequence, .tail = NO_TAIL, .flags = flags };
    ((struct attend_row *)l->f.attend.host)[row] =
        (struct attend_row){ .q_row = row, .store = sequence, .tail = NO_TAIL, .position = position, .list_row = sparse ? row : -1,
                             .block_size = l->plan->lanes[l->lane].block_size, .out_row = row };
}

static int upload_rows(struct latency *l)
{
    TRY(table_upload(&l->mem, &l->f.rows, (size_t)l->pass.n_rows * sizeof(struct row)), "rows");
    return table_upload(&l->mem, &l->f.attend, (size_t)l->pass.n_rows * sizeof(struct attend_row));
}

static int stage_step(struct latency *l, int step)
{
    const bool sparse = l->plan->lanes[l->lane].selector != SELECT_DENSE;
    for (int i = 0; i < l->plan->batch; i++)
        stage_row(l, i, i, l->plan->prefill_tokens + step, ROW_LOGITS | (sparse ? ROW_SPARSE : 0));
    l->pass = (struct pass){ .n_rows = l->plan->batch, .sparse = sparse, .n_logit_rows = l->plan->batch };
    return upload_rows(l);
}

/* The window that would be rectified after the last step. */
static int stage_window(struct latency *l)
{
    const int window = l->plan->lanes[l->lane].interval, end = l->plan->prefill_tokens + l->plan->n_steps;
    l->pass = (struct pass){ .n_rows = l->plan->batch * window, .last_kv_only = true };
    for (int row = 0; row < l->pass.n_rows; row++) stage_row(l, row, row / window, end - window + row % window, 0);
    return upload_rows(l);
}

/* ---- replays ---- */

static int collect(struct latency *l, int i, float *seconds, float *clock_hz)
{
    const int at = 2 * ((i - l->first) % IN_FLIGHT);
    double s = NAN;
    TRY(l->mem.be->wait(l->mem.dev, at + 1), "replay %d", i);
    TRY(l->mem.be->elapsed(l->mem.dev, at, at + 1, &s), "replay %d", i);
    seconds[i] = (float)s;
    if (i == (l->first + l->end) / 2) l->clock_hz = l->mem.be->clock_hz(l->mem.dev);
    if (clock_hz) clock_hz[i] = (float)l->mem.be->clock_hz(l->mem.dev);
    return 0;
}

/* A replay of enqueue for each of the steps, each between two marks and a few of them in flight, so that the device never waits for the host.
 * stage, where not NULL, is called before each replay with its number. */
static int time_replays(struct latency *l, int (*enqueue)(void *), void *context, int (*stage)(struct latency *, int), float *seconds,
                        float *clock_hz)
{
    const struct backend *be = l->mem.be;
    be->graph_free(l->mem.dev, l->graph);
    l->graph = NULL;
    for (int i = 0; i < WARM_REPLAYS; i++) TRY(be->replay(l->mem.dev, &l->graph, enqueue, context), "warming up");
    for (int i = l->first; i < l->end; i++) {
        const int at = 2 * ((i - l->first) % IN_FLIGHT);
        if (i - l->first >= IN_FLIGHT && collect(l, i - IN_FLIGHT, seconds, clock_hz) != 0) return -1;
        if (stage) TRY(stage(l, i), "step %d", i);
        TRY(be->mark(l->mem.dev, at), "mark");
        TRY(be->replay(l->mem.dev, &l->graph, enqueue, context), "replay %d", i);
        TRY(be->mark(l->mem.dev, at + 1), "mark");
    }
    for (int i = l->end - l->first > IN_FLIGHT ? l->end - IN_FLIGHT : l->first; i < l->end; i++)
        if (collect(l, i, seconds, clock_hz) != 0) return -1;
    return 0;
}

static int enqueue_pass(void *latency)
{
    struct latency *l = latency;
    return forward_pass(&l->f, &l->pass);
}

int latency_time_step(struct latency *l, float *seconds, float *clock_hz)
{
    TRY(stage_step(l, 0), "step");
    return time_replays(l, enqueue_pass, l, stage_step, seconds, clock_hz);
}

/* ---- parts ---- */

/* Operations that are left out. */
#define SKIP(op)                                                                                                                \
    static int skip_##op(struct device *d, const struct op##_args *a)                                                           \
    {                                                                                                                           \
        (void)d, (void)a;                                                                                                       \
        return 0;                                                                                                               \
    }
SKIP(embed)
SKIP(norm)
SKIP(product)
SKIP(qkv)
SKIP(swiglu)
SKIP(angles)
SKIP(rope_append)
SKIP(choose)
SKIP(attend)
#undef SKIP

static void filter(struct backend *be, unsigned parts)
{
    if (!(parts & 1u << LATENCY_PRODUCT)) be->product = skip_product, be->rope_append = skip_rope_append, be->qkv = be->qkv ? skip_qkv : NULL;
    if (!(parts & 1u << LATENCY_SELECT)) be->choose = skip_choose;
    if (!(parts & 1u << LATENCY_ATTEND)) be->attend = skip_attend;
    if (parts & 1u << LATENCY_OTHER) return;
    be->embed = skip_embed;
    be->norm = skip_norm;
    be->swiglu = skip_swiglu;
    be->angles = skip_angles;
}

/* The pass that is staged, without the other operations.  It goes once as a whole before, so that lists, queries and activations are
 * its own. */
static int time_parts(struct latency *l, unsigned parts, float *seconds)
{
    l->part_backend = *l->w->be;
    filter(&l->part_backend, parts);
    l->filtered = *l->w;
    l->filtered.be = &l->part_backend;
    TRY(enqueue_pass(l), "part");
    l->f.w = &l->filtered;
    const int rc = time_replays(l, enqueue_pass, l, NULL, seconds, NULL);
    l->f.w = l->w;
    return rc;
}

int latency_time_parts(struct latency *l, unsigned parts, float *seconds)
{
    TRY(stage_step(l, l->plan->n_steps - 1), "part");
    return time_parts(l, parts, seconds);
}

int latency_time_rectify_parts(struct latency *l, unsigned parts, float *seconds)
{
    TRY(stage_window(l), "part");
    return time_parts(l, parts, seconds);
}

int latency_time(struct latency *l, int (*enqueue)(void *context), void *context, float *seconds)
{
    return time_replays(l, enqueue, context, NULL, seconds, NULL);
}

int latency_step(struct latency *l)
{
    TRY(stage_step(l, l->plan->n_steps - 1), "step");
    return enqueue_pass(l);
}

/* ---- rectification ---- */

static int enqueue_rectify(void *latency)
{
    struct latency *l = latency;
    const int end = l->plan->prefill_tokens + l->plan->n_steps, from = end - l->plan->lanes[l->lane].interval;
    const int block = l->plan->lanes[l->lane].block_size;
    TRY(forward_pass(&l->f, &l->pass), "rectification");
    for (int set = 0; set < l->lanes.n_sets; set++) {
        if (l->lanes.sets[set].block_size != block) continue; /* another policy's */
        for (int layer = 0; layer < l->kv.n_layers; layer++) {
            const struct keys_build_args a = { .layer = layer, .set = set, .from_block = from / block, .to_block = (end - 1) / block,
                                               .n_tokens = end, .sets = l->lanes.sets, .kv = &l->kv };
            TRY(l->mem.be->keys_build(l->mem.dev, &a), "block keys");
        }
    }
    return 0;
}

int latency_time_rectify(struct latency *l, float *seconds)
{
    TRY(stage_window(l), "rectification");
    return time_replays(l, enqueue_rectify, l, NULL, seconds, NULL);
}

/* ---- the machine ---- */

/* The stores over and over, K and V by turns, until as many bytes are read. */
static int enqueue_read(void *latency)
{
    struct latency *l = latency;
    const size_t store = kv_own_elems(&l->kv) * (size_t)l->mem.be->cache_element_bytes;
    size_t left = l->read_bytes;
    for (int i = 0; left > 0; i++) {
        const size_t n = left < store ? left : store;
        TRY(l->mem.be->read(l->mem.dev, i % 2 ? l->kv.v_own : l->kv.k_own, n), "read");
        left -= n;
    }
    return 0;
}

int latency_time_read(struct latency *l, uint64_t n_bytes, float *seconds)
{
    l->read_bytes = n_bytes;
    return time_replays(l, enqueue_read, l, NULL, seconds, NULL);
}

int latency_check(struct latency *l)
{
    const size_t n = (size_t)l->plan->batch * (size_t)l->w->model->shape.vocab;
    float *logits = NULL;
    TRY(MEM_NEW(&logits, n, "logits"), "latency");
    int rc = latency_step(l);
    if (rc == 0) rc = l->mem.be->download(l->mem.dev, logits, l->f.logits, n * sizeof *logits);
    if (rc == 0) rc = l->mem.be->sync(l->mem.dev);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (!isfinite(logits[i]))
            rc = fail("logit %zu is %g: the weights of %s hold NaN or infinity, or a value is too large for device %s", i, (double)logits[i], l->w->model->name, l->mem.be->name);
    mem_free(logits);
    return rc;
}
