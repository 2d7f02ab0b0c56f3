#include "core/lane_table.h"

#include "core/err.h"
#include "core/mem.h"

static int set_find_or_add(struct lane_table *t, int store, int block_size)
{
    for (int i = 0; i < t->n_sets; i++)
        if (t->sets[i].store == store && t->sets[i].block_size == block_size) return i;
    t->sets[t->n_sets] = (struct key_set){ .store = store, .block_size = block_size };
    return t->n_sets++;
}

/* First blocks and sizes: the prefix's set holds its whole blocks, a store's set all blocks from there on. */
static void sets_size(struct lane_table *t, int prefix_tokens, int n_steps)
{
    for (int i = 0; i < t->n_sets; i++) {
        struct key_set *s = &t->sets[i];
        const int whole = prefix_tokens / s->block_size;
        const int all = (prefix_tokens + n_steps + s->block_size - 1) / s->block_size;
        s->first_block = s->store == KV_PREFIX ? 0 : whole;
        const int n_blocks = s->store == KV_PREFIX ? whole : all - whole;
        s->n_tiles = (n_blocks + KEY_TILE - 1) / KEY_TILE;
    }
}

static void params_fill(struct lane_table *t, const struct lane_spec *l, int i)
{
    t->params[i] = (struct lane_params){
        .selector = l->selector,
        .block_size = l->block_size,
        .local_blocks = l->local_blocks,
        .min_blocks = l->min_blocks,
        .active_millionths = l->active_millionths,
        .dense_layers = l->dense_layers,
        .key_set = -1,
        .prefix_set = -1,
        .perturb = (float)l->perturb,
    };
    if (l->perturb > 0) t->any_perturb = true;
    if (l->selector == SELECT_DENSE) return;
    if (t->min_block_size == 0 || l->block_size < t->min_block_size) t->min_block_size = l->block_size;
    if (l->selector == SELECT_ORACLE) t->any_oracle = true;
    if (l->selector == SELECT_REPLAY) t->any_replay = true;
}

static void lane_fill(struct lane_table *t, const struct lane_spec *lanes, int i)
{
    const struct lane_spec *l = &lanes[i];
    t->store[i] = lane_is_probe(l) ? -1 : t->n_stores++;
    t->tail[i] = lane_is_probe(l) ? t->n_tails++ : NO_TAIL;
    params_fill(t, l, i);
}

static int table_take(struct lane_table *t, int n_lanes)
{
    *t = (struct lane_table){ .n_lanes = n_lanes };
    TRY(MEM_NEW(&t->store, n_lanes, "lane stores"), "lanes");
    TRY(MEM_NEW(&t->reads, n_lanes, "lane reads"), "lanes");
    TRY(MEM_NEW(&t->tail, n_lanes, "lane tails"), "lanes");
    TRY(MEM_NEW(&t->params, n_lanes, "lane params"), "lanes");
    return MEM_NEW(&t->sets, 2 * n_lanes, "key sets");
}

int lane_table_open(struct lane_table *t, const struct lane_spec *lanes, int n_lanes, int prefix_tokens, int n_steps)
{
    TRY(table_take(t, n_lanes), "lanes");
    for (int i = 0; i < n_lanes; i++) lane_fill(t, lanes, i);
    for (int i = 0; i < n_lanes; i++) t->reads[i] = lane_is_probe(&lanes[i]) ? t->store[lanes[i].cache_of] : t->store[i];
    for (int i = 0; i < n_lanes; i++)
        if (lanes[i].selector == SELECT_MINMAX)
            t->params[i].prefix_set = set_find_or_add(t, KV_PREFIX, lanes[i].block_size);
    for (int i = 0; i < n_lanes; i++)
        if (lanes[i].selector == SELECT_MINMAX)
            t->params[i].key_set = set_find_or_add(t, t->reads[i], lanes[i].block_size);
    sets_size(t, prefix_tokens, n_steps);
    return 0;
}

int lane_table_open_batch(struct lane_table *t, const struct lane_spec *policies, int n_policies, int batch, int n_tokens)
{
    TRY(table_take(t, n_policies * batch), "lanes");
    t->n_stores = batch;
    for (int i = 0; i < t->n_lanes; i++) {
        const struct lane_spec *l = &policies[i / batch];
        t->store[i] = t->reads[i] = i % batch;
        t->tail[i] = NO_TAIL;
        params_fill(t, l, i);
        if (l->selector == SELECT_MINMAX) t->params[i].key_set = set_find_or_add(t, t->reads[i], l->block_size);
    }
    sets_size(t, 0, n_tokens);
    return 0;
}

void lane_table_close(struct lane_table *t)
{
    mem_free(t->store);
    mem_free(t->reads);
    mem_free(t->tail);
    mem_free(t->params);
    mem_free(t->sets);
    *t = (struct lane_table){ 0 };
}
