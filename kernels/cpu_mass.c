#include "kernels/cpu.h"
#include "kernels/cpu_device.h"
#include "kernels/row_block.h"

#include "core/err.h"

/* One (row block, KV head) at work. */
struct massing {
    const struct block_mass_args *args;
    const struct attend_job *job;
    struct scratch *scratch;
    const struct row_block *block;
    int kv_head;
};

/* e: exponentials of positions 0 .. position. */
static void mass_write(const struct massing *w, const struct mass_row *row, int head, const float *e)
{
    const struct block_mass_args *a = w->args;
    const size_t at = (size_t)row->out_row * (size_t)a->n_heads + (size_t)head;
    double *mass = a->mass + at * (size_t)a->mass_blocks;
    const int n_tokens = row->position + 1, n_blocks = (n_tokens + row->block_size - 1) / row->block_size;
    const double total = w->job->kernels->block_sums(e, n_tokens, row->block_size, mass);
    const double inverse = 1 / total;
    for (int b = 0; b < n_blocks; b++) mass[b] *= inverse;
    for (int b = n_blocks; b < a->mass_blocks; b++) mass[b] = 0;
    a->stale[at] = w->job->kernels->sum(e, row->stale_from, row->position) / total;
}

static void mass_row_done(void *user, int row, int n_own)
{
    const struct massing *w = user;
    const struct scratch *s = w->scratch;
    const int group = w->job->group;
    for (int g = 0; g < group; g++) {
        float *e = s->s + (size_t)(row * group + g) * s->s_stride;
        w->job->kernels->exponentials(e, w->block->n_common, s->mask, n_own);
        mass_write(w, &w->args->rows[w->block->first + row], w->kv_head * group + g, e);
    }
}

static int mass_contexts(const struct block_mass_args *a, struct context *c)
{
    for (int r = 0; r < a->n_rows; r++) {
        const struct mass_row *row = &a->rows[r];
        c[r] = (struct context){ row->q_row, row->store, row->tail, row->position, -1, row->block_size };
        TRY(kv_check_row(a->kv, "block_mass", a->layer, row->store, row->tail, row->position), "row %d", r);
        if (row->position / row->block_size >= a->mass_blocks)
            return fail("block_mass: row %d has %d blocks, there is room for %d", r, row->position / row->block_size + 1,
                        a->mass_blocks);
    }
    return 0;
}

int cpu_block_mass(struct device *d, const struct block_mass_args *a)
{
    int n_tokens = 0;
    for (int r = 0; r < a->n_rows; r++)
        n_tokens = a->rows[r].position >= n_tokens ? a->rows[r].position + 1 : n_tokens;
    const struct attend_job job = attend_job_of(d, a->kv, a->qkv, a->qkv_stride, a->layer, a->n_heads);
    struct scratch first;
    const size_t n_bytes = scratch_layout(&first, d->workspace, job.group, a->kv->head_dim, a->n_rows, n_tokens);
    TRY(cpu_workspace_holds(d, n_bytes, "block_mass"), "block mass");
    TRY(mass_contexts(a, first.contexts), "block mass");
    const int n_blocks = row_blocks_cut(a->kv, first.contexts, a->n_rows, first.max_pairs / job.group, first.blocks);
    const int n_kv = a->kv->n_kv_heads;
    /* One KV head after the other: its keys and values are then still in a cache near by for the next rows. */
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 1)
    for (int item = 0; item < n_blocks * n_kv; item++) {
        struct scratch s;
        scratch_layout(&s, cpu_workspace(d), job.group, a->kv->head_dim, a->n_rows, n_tokens);
        struct massing w = { a, &job, &s, &first.blocks[item % n_blocks], item / n_blocks };
        row_block_scores(&job, &s, w.block, first.contexts, w.kv_head, mass_row_done, &w);
    }
    return 0;
}
