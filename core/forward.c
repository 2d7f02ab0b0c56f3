#include "core/forward.h"

#include "core/err.h"
#include "core/mem.h"

static int take_floats(struct forward *f, float **p, size_t rows, size_t n, const char *what)
{
    return memory_take(f->mem, MEMORY_BUFFERS, (void **)p, rows * n * sizeof(float), what);
}

/* The CPU's products read float32 rows. */
static bool has_operands(const struct forward *f)
{
    return f->mem->be->operand_bytes != NULL;
}

/* Rows that only a product reads: an operand, or float32 rows where the back end has no operands. */
static int take_operand(struct forward *f, float **x, void **operand, size_t rows, size_t n, const char *what)
{
    if (!has_operands(f)) return take_floats(f, x, rows, n, what);
    return memory_take(f->mem, MEMORY_BUFFERS, operand, f->mem->be->operand_bytes((int)rows, (int)n), what);
}

static int open_rows(struct forward *f, const struct model_shape *s, bool k_plain)
{
    const size_t rows = (size_t)f->max_rows, lanes = (size_t)f->max_lanes;
    const size_t pairs = (size_t)s->head_dim / 2, attn = (size_t)(s->n_heads * s->head_dim);
    TRY(take_floats(f, &f->hidden, rows, (size_t)s->hidden, "hidden"), "buffers");
    TRY(take_operand(f, &f->normed, &f->normed_operand, rows, (size_t)s->hidden, "normed"), "buffers");
    TRY(take_floats(f, &f->qkv, rows, (size_t)shape_qkv(s), "qkv"), "buffers");
    TRY(take_floats(f, &f->attn, rows, attn, "attention output"), "buffers");
    if (!has_operands(f)) TRY(take_floats(f, &f->gate_up, rows, 2 * (size_t)s->ffn, "gate, up"), "buffers");
    TRY(take_operand(f, &f->act, &f->act_operand, rows, (size_t)s->ffn, "activation"), "buffers");
    TRY(take_floats(f, &f->cosine, rows, pairs, "cosine"), "buffers");
    TRY(take_floats(f, &f->sine, rows, pairs, "sine"), "buffers");
    if (k_plain) TRY(take_floats(f, &f->k_plain, rows, (size_t)(s->n_kv_heads * s->head_dim), "plain k"), "buffers");
    TRY(take_floats(f, &f->final, lanes, (size_t)s->hidden, "final hidden"), "buffers");
    if (has_operands(f)) {
        const struct backend *be = f->mem->be;
        TRY(memory_take(f->mem, MEMORY_BUFFERS, &f->attn_operand, be->operand_bytes(f->max_rows, (int)attn), "attention output"), "buffers");
        TRY(memory_take(f->mem, MEMORY_BUFFERS, &f->final_operand, be->operand_bytes(f->max_lanes, s->hidden), "final hidden"), "buffers");
    }
    TRY(take_floats(f, &f->logits, lanes, (size_t)s->vocab, "logits"), "buffers");
    TRY(memory_take(f->mem, MEMORY_BUFFERS, (void **)&f->tally, lanes * (size_t)s->n_kv_heads * sizeof(int64_t), "tally"), "buffers");
    TRY(table_open(f->mem, MEMORY_BUFFERS, &f->rows, rows * sizeof(struct row), "rows"), "buffers");
    return table_open(f->mem, MEMORY_BUFFERS, &f->attend, rows * sizeof(struct attend_row), "attention rows");
}

static size_t replay_layer(const struct forward *f)
{
    return (size_t)f->lanes->n_lanes * (size_t)f->w->model->shape.n_kv_heads * (size_t)f->lists.max_blocks;
}

static size_t replay_bytes(const struct forward *f)
{
    return (size_t)f->w->model->shape.n_layers * replay_layer(f) * sizeof(int32_t);
}

static int open_lists(struct forward *f, const struct model_shape *s, const struct forward_options *o)
{
    const size_t lists = (size_t)f->max_lanes * (size_t)s->n_kv_heads;
    const int block = f->lanes->min_block_size ? f->lanes->min_block_size : KV_TILE;
    f->max_score_blocks = (o->max_context + block - 1) / block;
    f->mass_blocks = f->max_score_blocks;
    f->lists.max_blocks = o->max_blocks;
    TRY(memory_take(f->mem, MEMORY_BUFFERS, (void **)&f->lists.blocks, lists * (size_t)o->max_blocks * sizeof(int32_t), "block lists"),
        "buffers");
    TRY(memory_take(f->mem, MEMORY_BUFFERS, (void **)&f->lists.count, lists * sizeof(int32_t), "block counts"), "buffers");
    TRY(memory_take(f->mem, MEMORY_BUFFERS, (void **)&f->lists.tokens, lists * sizeof(int32_t), "token counts"), "buffers");
    if (f->lanes->any_replay)
        TRY(table_open(f->mem, MEMORY_BUFFERS, &f->replay, replay_bytes(f), "replayed lists"), "buffers");
    return take_floats(f, &f->scores, lists, (size_t)f->max_score_blocks, "block scores");
}

static int open_mass(struct forward *f, const struct model_shape *s, const struct forward_options *o)
{
    const size_t lanes = (size_t)f->max_lanes, heads = lanes * (size_t)s->n_heads;
    const size_t mass_bytes = heads * (size_t)f->mass_blocks * sizeof(double), attn = (size_t)(s->n_heads * s->head_dim);
    if (o->mass || f->lanes->any_oracle) {
        TRY(memory_take(f->mem, MEMORY_MEASURES, (void **)&f->mass, mass_bytes, "block mass"), "measures");
        TRY(memory_take(f->mem, MEMORY_MEASURES, (void **)&f->stale, heads * sizeof(double), "stale mass"), "measures");
        TRY(table_open(f->mem, MEMORY_MEASURES, &f->mass_rows, lanes * sizeof(struct mass_row), "mass rows"), "measures");
    }
    if (!o->parts) return 0;
    TRY(memory_take(f->mem, MEMORY_MEASURES, (void **)&f->mass_dense, mass_bytes + heads * sizeof(double), "dense mass"), "measures");
    TRY(memory_take(f->mem, MEMORY_MEASURES, (void **)&f->attn_select, lanes * attn * sizeof(float), "parts"), "measures");
    TRY(memory_take(f->mem, MEMORY_MEASURES, (void **)&f->attn_cache, lanes * attn * sizeof(float), "parts"), "measures");
    TRY(table_open(f->mem, MEMORY_MEASURES, &f->select_rows, lanes * sizeof(struct attend_row), "parts rows"), "measures");
    TRY(table_open(f->mem, MEMORY_MEASURES, &f->cache_rows, lanes * sizeof(struct attend_row), "parts rows"), "measures");
    return table_open(f->mem, MEMORY_MEASURES, &f->dense_mass_rows, lanes * sizeof(struct mass_row), "parts rows");
}

int forward_open(struct forward *f, const struct weights *w, struct memory *mem, struct lane_table *lanes, struct kv_cache *kv,
                 const struct forward_options *o)
{
    *f = (struct forward){ .w = w, .mem = mem, .lanes = lanes, .kv = kv, .max_rows = o->max_rows, .max_lanes = o->max_lanes };
    const struct model_shape *s = &w->model->shape;
    TRY(open_rows(f, s, o->k_plain), "forward");
    TRY(open_lists(f, s, o), "forward");
    TRY(open_mass(f, s, o), "forward");
    const size_t n = (size_t)lanes->n_lanes * sizeof(struct lane_params);
    TRY(memory_take(mem, MEMORY_BUFFERS, (void **)&f->params, n, "lane params"), "forward");
    const bool takes_mass = o->mass || o->parts || lanes->any_oracle;
    const struct work_extent e = { .max_rows = o->max_rows, .max_context = o->max_context, .n_lanes = o->max_lanes,
                                   .mass_blocks = takes_mass ? f->mass_blocks : 0, .max_blocks = o->max_blocks };
    mem->bytes[MEMORY_BUFFERS] += mem->be->workspace_bytes(s, &e);
    if (mem->dry) return 0;
    TRY(mem->be->upload(mem->dev, f->params, lanes->params, n), "forward");
    return mem->be->reserve(mem->dev, s, &e);
}

void forward_close(struct forward *f)
{
    if (!f->mem || f->mem->dry) {
        *f = (struct forward){ 0 };
        return;
    }
    void *const owned[] = { f->hidden, f->normed, f->qkv, f->attn, f->gate_up, f->act, f->cosine, f->sine, f->k_plain, f->final,
                            f->normed_operand, f->attn_operand, f->act_operand, f->final_operand, f->logits, f->tally, f->lists.blocks, f->lists.count, f->lists.tokens, f->scores, f->mass, f->stale,
                            f->mass_dense, f->attn_select, f->attn_cache, f->params };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) f->mem->be->release(f->mem->dev, owned[i]);
    struct table *const tables[] = { &f->rows, &f->attend, &f->mass_rows, &f->select_rows, &f->cache_rows, &f->dense_mass_rows,
                                     &f->replay };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) table_close(f->mem, tables[i]);
    *f = (struct forward){ 0 };
}

static int norm(struct forward *f, int n_rows, const float *x, const float *weight, float *out, void *operand)
{
    const struct model_shape *s = &f->w->model->shape;
    const struct norm_args a = { .n_rows = n_rows, .n = s->hidden, .x = x, .weight = weight, .eps = s->rms_eps, .out = out,
                                 .operand = operand };
    return f->w->be->norm(f->w->dev, &a);
}

/* q, k, v of all rows, rotated; k and v in their caches. */
static int layer_qkv(struct forward *f, const struct pass *p, int layer)
{
    const struct model_shape *s = &f->w->model->shape;
    const struct backend *be = f->w->be;
    const struct layer_weights *l = &f->w->layers[layer];
    const struct qkv_args a = {
        .product = { .n_rows = p->n_rows, .w = l->qkv, .x = f->normed, .operand = f->normed_operand, .bias = l->qkv_bias, .y = f->qkv },
        .rope = { .n_rows = p->n_rows, .layer = layer, .n_heads = s->n_heads, .rows = f->rows.dev,
                  .lanes = f->lanes->any_perturb ? f->params : NULL, .qkv = f->qkv, .q_norm = l->q_norm, .k_norm = l->k_norm, .eps = s->rms_eps,
                  .cosine = f->cosine, .sine = f->sine, .style = s->rope.style, .k_plain = p->spread ? f->k_plain : NULL, .kv = f->kv,
                  .seed = f->seed },
    };
    TRY(norm(f, p->n_rows, f->hidden, l->attn_norm, f->normed, f->normed_operand), "norm");
    if (be->qkv) {
        TRY(be->qkv(f->w->dev, &a), "qkv");
    } else {
        TRY(be->product(f->w->dev, &a.product), "qkv");
        TRY(be->rope_append(f->w->dev, &a.rope), "rope and append");
    }
    if (!p->spread) return 0;
    const struct spread_args spread = { .n_rows = p->n_rows, .n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .head_dim = s->head_dim,
                                        .rows = f->rows.dev, .k_plain = f->k_plain, .qkv = f->qkv,
                                        .state = p->spread + (size_t)layer * 4 * (size_t)(s->n_kv_heads * s->head_dim) };
    return f->w->be->spread(f->w->dev, &spread);
}

static int block_mass(struct forward *f, int layer, int n_rows, const struct table *rows, double *mass, double *stale)
{
    const struct model_shape *s = &f->w->model->shape;
    const struct block_mass_args a = { .n_rows = n_rows, .layer = layer, .n_heads = s->n_heads, .rows = rows->dev, .qkv = f->qkv,
                                       .qkv_stride = shape_qkv(s), .mass_blocks = f->mass_blocks, .kv = f->kv, .mass = mass,
                                       .stale = stale };
    return n_rows ? f->w->be->block_mass(f->w->dev, &a) : 0;
}

static int attend(struct forward *f, int layer, int n_rows, const struct table *rows, const struct block_lists *lists, float *out,
                  void *operand)
{
    const struct model_shape *s = &f->w->model->shape;
    const struct attend_args a = { .n_rows = n_rows, .layer = layer, .n_heads = s->n_heads, .rows = rows->dev, .qkv = f->qkv,
                                   .qkv_stride = shape_qkv(s), .kv = f->kv, .lists = lists, .out = out, .operand = operand };
    return n_rows ? f->w->be->attend(f->w->dev, &a) : 0;
}

static int layer_select(struct forward *f, const struct pass *p, int layer)
{
    const struct model_shape *s = &f->w->model->shape;
    TRY(block_mass(f, layer, p->n_mass_rows, &f->mass_rows, f->mass, f->stale), "block mass");
    const struct choose_args a = {
        .select = { .n_rows = p->n_rows, .layer = layer, .n_heads = s->n_heads, .rows = f->rows.dev, .lanes = f->params, .sets = f->lanes->sets,
                    .qkv = f->qkv, .kv = f->kv, .mass = f->mass, .mass_blocks = f->mass_blocks, .seed = f->seed, .lists = &f->lists,
                    .scores = f->scores, .max_score_blocks = f->max_score_blocks, .n_sets = f->lanes->n_sets,
                    .replay = f->replay.dev ? (const int32_t *)f->replay.dev + (size_t)layer * replay_layer(f) : NULL },
        .total = f->tally,
    };
    return f->w->be->choose(f->w->dev, &a);
}

static int layer_parts(struct forward *f, const struct pass *p, int layer)
{
    const struct model_shape *s = &f->w->model->shape;
    double *stale = f->mass_dense + (size_t)f->max_lanes * (size_t)s->n_heads * (size_t)f->mass_blocks;
    TRY(attend(f, layer, p->n_parts_rows, &f->select_rows, &f->lists, f->attn_select, NULL), "attention through the lane's blocks");
    TRY(attend(f, layer, p->n_parts_rows, &f->cache_rows, NULL, f->attn_cache, NULL), "attention over the lane's cache");
    return block_mass(f, layer, p->n_parts_rows, &f->dense_mass_rows, f->mass_dense, stale);
}

static int gate_up(struct forward *f, int n_rows, const struct matrix *w)
{
    const struct product_args p = { .n_rows = n_rows, .w = w, .x = f->normed, .operand = f->normed_operand, .y = f->gate_up,
                                    .act = f->act_operand };
    const struct swiglu_args a = { .n_rows = n_rows, .n = f->w->model->shape.ffn, .gate_up = f->gate_up, .out = f->act };
    TRY(f->w->be->product(f->w->dev, &p), "gate, up");
    return f->act_operand ? 0 : f->w->be->swiglu(f->w->dev, &a);
}

static int layer_mlp(struct forward *f, const struct pass *p, int layer)
{
    const struct layer_weights *l = &f->w->layers[layer];
    const struct product_args o = { .n_rows = p->n_rows, .w = l->o, .x = f->attn, .operand = f->attn_operand, .residual = f->hidden, .y = f->hidden };
    const struct product_args down = { .n_rows = p->n_rows, .w = l->down, .x = f->act, .operand = f->act_operand, .residual = f->hidden,
                                       .y = f->hidden };
    TRY(f->w->be->product(f->w->dev, &o), "o");
    TRY(norm(f, p->n_rows, f->hidden, l->ffn_norm, f->normed, f->normed_operand), "norm");
    TRY(gate_up(f, p->n_rows, l->gate_up), "feed-forward");
    return f->w->be->product(f->w->dev, &down);
}

static int layer_pass(struct forward *f, const struct pass *p, int layer)
{
    TRY(layer_qkv(f, p, layer), "qkv");
    if (p->last_kv_only && layer == f->w->model->shape.n_layers - 1) return 0;
    if (p->sparse) TRY(layer_select(f, p, layer), "select");
    TRY(attend(f, layer, p->n_rows, &f->attend, p->sparse ? &f->lists : NULL, f->attn, f->attn_operand), "attend");
    if (p->n_parts_rows) TRY(layer_parts(f, p, layer), "parts");
    TRY(layer_mlp(f, p, layer), "mlp");
    return p->measure ? p->measure(p->context, layer) : 0;
}

int forward_pass(struct forward *f, const struct pass *p)
{
    const struct model_shape *s = &f->w->model->shape;
    const struct backend *be = f->w->be;
    const struct embed_args embed = { .n_rows = p->n_rows, .hidden = s->hidden, .rows = f->rows.dev, .tokens = f->tokens,
                                      .embedding = f->w->embedding, .out = f->hidden };
    TRY(be->embed(f->w->dev, &embed), "embedding");
    const struct angles_args angles = { .n_rows = p->n_rows, .n_pairs = s->head_dim / 2, .rows = f->rows.dev,
                                        .frequency = f->w->rope_frequency, .attention_factor = s->rope.attention_factor,
                                        .cosine = f->cosine, .sine = f->sine };
    TRY(be->angles(f->w->dev, &angles), "angles");
    for (int layer = 0; layer < s->n_layers; layer++) TRY(layer_pass(f, p, layer), "layer %d", layer);
    if (p->n_logit_rows == 0) return 0;
    TRY(norm(f, p->n_logit_rows, f->hidden + (size_t)p->logit_row * (size_t)s->hidden, f->w->output_norm, f->final, f->final_operand),
        "final norm");
    const struct product_args logits = { .n_rows = p->n_logit_rows, .w = f->w->output, .x = f->final, .operand = f->final_operand,
                                         .y = f->logits };
    return be->product(f->w->dev, &logits);
}
