/* Attention, selection and the rectification's chunk, a layer at a time; whole steps. */
#include "tests/bench_gpu.h"

#include "core/run.h"

#include <math.h>
#include <string.h>

static void with_bytes(struct bench_case *c, struct bench_row *r, double bytes)
{
    r->bytes = bytes;
    r->read_us = bench_read_us(c, (size_t)bytes);
}

/* Per layer. */
static double kv_bytes(const struct bench_case *c, int lane)
{
    const struct latency_bytes b = latency_step_bytes(&c->plan, c->l.w->be, &c->model, lane, c->plan.n_steps - 1);
    return (double)b.kv / c->model.shape.n_layers;
}

/* Of a block's min and max the kernel reads one for each element (kernels/cuda_kv.cuh): half of what is counted as keys. */
static double keys_read(const struct latency_bytes *b)
{
    return (double)b->keys / 2;
}

/* Per layer. */
static double key_bytes(const struct bench_case *c)
{
    const struct latency_bytes b = latency_step_bytes(&c->plan, c->l.w->be, &c->model, BENCH_RESA, c->plan.n_steps - 1);
    return keys_read(&b) / c->model.shape.n_layers;
}

static void bench_dense(struct bench *b, struct bench_case *c)
{
    float seconds[N_REPLAYS];
    latency_start(&c->l, BENCH_DENSE);
    must(latency_time_step(&c->l, seconds, NULL)); /* the new tokens' K and V are written */
    must(latency_time_parts(&c->l, 1u << LATENCY_ATTEND, seconds));
    struct bench_row *r = bench_add(b, c, "dense attention", seconds, c->model.shape.n_layers);
    r->worst = check_attend(c, c->model.shape.n_layers - 1, c->plan.batch, false);
    with_bytes(c, r, kv_bytes(c, BENCH_DENSE));
}

/* The last layer of a rectification does not attend. */
static void bench_chunk(struct bench *b, struct bench_case *c)
{
    const struct model_shape *s = &c->model.shape;
    const int n = c->plan.prefill_tokens + c->plan.n_steps;
    float seconds[N_REPLAYS];
    latency_start(&c->l, BENCH_RESA);
    must(latency_time_rectify_parts(&c->l, 1u << LATENCY_ATTEND, seconds));
    struct bench_row *r = bench_add(b, c, "rectify chunk, 32 queries", seconds, s->n_layers - 1);
    r->worst = check_attend(c, s->n_layers - 2, c->plan.batch * REPORT_INTERVAL, true);
    r->flop = 4.0 * s->n_heads * s->head_dim * c->plan.batch * REPORT_INTERVAL * (n - (REPORT_INTERVAL - 1) / 2.0);
    with_bytes(c, r, kv_bytes(c, BENCH_DENSE));
}

static void bench_sparse(struct bench *b, struct bench_case *c)
{
    const int layers = c->model.shape.n_layers;
    float seconds[N_REPLAYS];
    latency_start(&c->l, BENCH_RESA);
    must(latency_time_step(&c->l, seconds, NULL));
    must(latency_time_parts(&c->l, 1u << LATENCY_SELECT, seconds));
    struct bench_row *r = bench_add(b, c, "score and select", seconds, layers);
    r->worst = check_select(c, layers - 1);
    with_bytes(c, r, key_bytes(c));
    /* From here on what was not selected in the last layer is NaN: the same step selects the same again. */
    must(latency_step(&c->l));
    poison_unselected(c, layers - 1);
    must(latency_time_parts(&c->l, 1u << LATENCY_SELECT | 1u << LATENCY_ATTEND, seconds));
    r = bench_add(b, c, "score, select, attend", seconds, layers);
    r->worst = check_attend(c, layers - 1, c->plan.batch, false);
    with_bytes(c, r, key_bytes(c) + kv_bytes(c, BENCH_RESA));
    must(latency_time_parts(&c->l, 1u << LATENCY_ATTEND, seconds));
    r = bench_add(b, c, "sparse attention", seconds, layers);
    r->worst = check_attend(c, layers - 1, c->plan.batch, false);
    with_bytes(c, r, kv_bytes(c, BENCH_RESA));
}

void bench_attention(struct bench *b, struct bench_case *c)
{
    if (strstr("dense attention", b->only)) bench_dense(b, c);
    if (strstr("score and select, score, select, attend, sparse attention", b->only)) bench_sparse(b, c);
    if (strstr("rectify chunk, 32 queries", b->only)) bench_chunk(b, c);
}

/* ---- steps ---- */

/* Whether every logit is a number: latency_check() says which is not. */
static void bench_step(struct bench *b, struct bench_case *c, int lane, const char *name, float *seconds, float *read)
{
    const struct latency_bytes bytes = latency_step_bytes(&c->plan, c->l.w->be, &c->model, lane, c->plan.n_steps - 1);
    latency_start(&c->l, lane);
    must(latency_time_step(&c->l, seconds, NULL));
    struct bench_row *r = bench_add(b, c, name, seconds, 1);
    r->bytes = (double)(bytes.kv + bytes.weights) + keys_read(&bytes);
    must(latency_check(&c->l));
    r->finite = true;
    snprintf(r->note, sizeof r->note, "every logit is finite");
    must(latency_time_read(&c->l, (uint64_t)r->bytes, read));
    r->read_us = bench_add(b, c, "", read, 1)->us;
    b->n_rows--;
}

void bench_steps(struct bench *b, struct bench_case *c)
{
    float dense[N_REPLAYS], sparse[N_REPLAYS], rectify[N_REPLAYS], read[N_REPLAYS], resa[N_REPLAYS];
    bench_step(b, c, BENCH_DENSE, "step, dense", dense, read);
    const double dense_us = b->rows[b->n_rows - 1].us;
    bench_step(b, c, BENCH_RESA, "step, sparse", sparse, read);
    const struct bench_row step = b->rows[b->n_rows - 1];
    const struct latency_bytes bytes = latency_step_bytes(&c->plan, c->l.w->be, &c->model, BENCH_RESA, c->plan.n_steps - 1);
    must(latency_time_rectify(&c->l, rectify));
    must(latency_check(&c->l));
    struct bench_row *r = bench_add(b, c, "rectification, 32 tokens", rectify, 1);
    r->flop = (double)bytes.rectify_flop;
    r->finite = true;
    const double rectify_us = r->us;
    for (int i = 0; i < N_REPLAYS; i++) resa[i] = sparse[i] + rectify[i] / REPORT_INTERVAL;
    r = bench_add(b, c, "step, ReSA per token", resa, 1);
    r->us = step.us + rectify_us / REPORT_INTERVAL;
    snprintf(r->note, sizeof r->note, "%.2fx dense", dense_us / r->us);
}
