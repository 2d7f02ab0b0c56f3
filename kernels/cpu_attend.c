#include "kernels/cpu.h"
#include "kernels/cpu_device.h"
#include "kernels/row_block.h"

#include "core/err.h"

#include <string.h>

/* One (row block, KV head) at work. */
struct attending {
    const struct attend_args *args;
    const struct attend_job *job;
    struct scratch *scratch;
    const struct row_block *block;
    const struct context *contexts;
    int kv_head;
    int n_own;                 /* tiles of the last row beyond the common ones, still in the scratch */
};

static void attend_softmax(void *user, int row, int n_own)
{
    struct attending *w = user;
    const struct scratch *s = w->scratch;
    for (int p = row * w->job->group; p < (row + 1) * w->job->group; p++)
        s->sums[p] = w->job->kernels->softmax(s->s + (size_t)p * s->s_stride, w->block->n_common, s->mask, n_own);
    w->n_own = n_own;
}

static void attend_values(const struct attending *w)
{
    const struct scratch *s = w->scratch;
    const struct attend_job *j = w->job;
    const int dim = j->kv->head_dim, n_common = w->block->n_common;
    memset(s->out, 0, (size_t)(w->block->n_rows * j->group) * (size_t)dim * sizeof(float));
    j->kernels->weigh(s->s, s->s_stride, w->block->n_rows * j->group, dim, s->v, NULL, n_common, s->out, (size_t)dim);
    for (int r = 0; r < w->block->n_rows; r++) {
        const struct context *c = &w->contexts[w->block->first + r];
        const int n_own = w->block->n_rows == 1 ? w->n_own : row_tiles(j, s, c, w->kv_head, n_common);
        const float *e = s->s + (size_t)(r * j->group) * s->s_stride + (size_t)n_common * KV_TILE;
        float *out = s->out + (size_t)(r * j->group) * (size_t)dim;
        j->kernels->weigh(e, s->s_stride, j->group, dim, s->v + s->max_tiles, s->mask, n_own, out, (size_t)dim);
    }
}

static void attend_write(const struct attending *w)
{
    const int dim = w->job->kv->head_dim, group = w->job->group;
    for (int r = 0; r < w->block->n_rows; r++)
        for (int g = 0; g < group; g++) {
            const int pair = r * group + g, head = w->kv_head * group + g;
            const float *from = w->scratch->out + (size_t)pair * (size_t)dim;
            float *to = w->args->out +
                        ((size_t)w->args->rows[w->block->first + r].out_row * (size_t)w->args->n_heads + (size_t)head) *
                            (size_t)dim;
            const float sum = w->scratch->sums[pair];
#pragma omp simd
            for (int i = 0; i < dim; i++) to[i] = from[i] / sum;
        }
}

static int attend_contexts(const struct attend_args *a, struct context *c)
{
    for (int r = 0; r < a->n_rows; r++) {
        const struct attend_row *row = &a->rows[r];
        const size_t list = row->list_row < 0 ? 0 : (size_t)row->list_row * (size_t)a->kv->n_kv_heads;
        const bool listed = a->lists && row->list_row >= 0 && a->lists->count[list] >= 0;
        c[r] = (struct context){ row->q_row, row->store, row->tail, row->position, listed ? row->list_row : -1,
                                 row->block_size };
        TRY(kv_check_row(a->kv, "attend", a->layer, row->store, row->tail, row->position), "row %d", r);
    }
    return 0;
}

int cpu_attend(struct device *d, const struct attend_args *a)
{
    int n_tokens = 0;
    for (int r = 0; r < a->n_rows; r++)
        n_tokens = a->rows[r].position >= n_tokens ? a->rows[r].position + 1 : n_tokens;
    struct attend_job job = attend_job_of(d, a->kv, a->qkv, a->qkv_stride, a->layer, a->n_heads);
    job.lists = a->lists;
    struct scratch first;
    const size_t n_bytes = scratch_layout(&first, d->workspace, job.group, a->kv->head_dim, a->n_rows, n_tokens);
    TRY(cpu_workspace_holds(d, n_bytes, "attend"), "attention");
    TRY(attend_contexts(a, first.contexts), "attention");
    const int n_blocks = row_blocks_cut(a->kv, first.contexts, a->n_rows, first.max_pairs / job.group, first.blocks);
    const int n_kv = a->kv->n_kv_heads;
    /* One KV head after the other: its keys and values are then still in a cache near by for the next rows. */
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 1)
    for (int item = 0; item < n_blocks * n_kv; item++) {
        struct scratch s;
        scratch_layout(&s, cpu_workspace(d), job.group, a->kv->head_dim, a->n_rows, n_tokens);
        struct attending w = { a, &job, &s, &first.blocks[item % n_blocks], first.contexts, item / n_blocks, 0 };
        row_block_scores(&job, &s, w.block, first.contexts, w.kv_head, attend_softmax, &w);
        attend_values(&w);
        attend_write(&w);
    }
    return 0;
}
