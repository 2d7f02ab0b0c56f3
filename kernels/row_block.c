#include "kernels/row_block.h"

#include "core/ints.h"

#include <math.h>
#include <string.h>

/* Rows times heads of a block: four chunks of the widest register blocking. */
enum { BLOCK_PAIRS = 24, PAD_FLOATS = 16 };

static int block_rows(int group)
{
    return group < BLOCK_PAIRS ? BLOCK_PAIRS / group : 1;
}

static void *take(char *base, size_t *at, size_t n_bytes)
{
    char *p = base ? base + *at : NULL;
    *at += (n_bytes + 63) / 64 * 64;
    return p;
}

size_t scratch_layout(struct scratch *s, char *base, int group, int head_dim, int n_rows, int n_tokens)
{
    size_t at = 0;
    s->max_pairs = block_rows(group) * group;
    s->max_tiles = (n_tokens + KV_TILE - 1) / KV_TILE;
    s->s_stride = (size_t)s->max_tiles * KV_TILE + PAD_FLOATS; /* keeps rows off one another's cache sets */
    const size_t pairs = (size_t)s->max_pairs, tiles = (size_t)s->max_tiles;
    s->contexts = take(base, &at, (size_t)n_rows * sizeof *s->contexts);
    s->blocks = take(base, &at, (size_t)n_rows * sizeof *s->blocks);
    s->q = take(base, &at, pairs * (size_t)head_dim * sizeof(float));
    s->out = take(base, &at, pairs * (size_t)head_dim * sizeof(float));
    s->sums = take(base, &at, pairs * sizeof(float));
    s->s = take(base, &at, pairs * s->s_stride * sizeof(float));
    s->k = take(base, &at, 2 * tiles * sizeof *s->k);
    s->v = take(base, &at, 2 * tiles * sizeof *s->v);
    s->mask = take(base, &at, tiles * sizeof *s->mask);
    return at;
}

size_t row_block_workspace_bytes(int group, int head_dim, int max_rows, int max_context)
{
    struct scratch s;
    return scratch_layout(&s, NULL, group, head_dim, max_rows, max_context);
}

float attend_scale(int head_dim)
{
    return (float)(1.0 / sqrt((double)head_dim));
}

struct attend_job attend_job_of(const struct device *d, const struct kv_cache *kv, const float *qkv, int qkv_stride, int layer,
                                int n_heads)
{
    return (struct attend_job){ .kernels = attend_kernels_for(d->isa, kv->head_dim), .kv = kv, .qkv = qkv,
                                .qkv_stride = qkv_stride, .layer = layer, .group = n_heads / kv->n_kv_heads,
                                .scale = attend_scale(kv->head_dim) };
}

/* Tiles at the start of c's context that are read whole and lie in its store or prefix; of the prefix alone, if only that
 * is asked for. */
static int whole_tiles(const struct kv_cache *kv, const struct context *c, bool prefix_only)
{
    const int whole = c->tail == NO_TAIL ? (c->position + 1) / KV_TILE : c->position / KV_TILE;
    return prefix_only ? min_int(whole, kv->first_own_tile) : whole;
}

/* The end of the rows from `first` on that belong together: rows without a list, either of one store or of a different store
 * each.  A row with a list stands alone. */
static int run_end(const struct context *c, int first, int n)
{
    int end = first + 1;
    if (c[first].list_row >= 0) return end;
    const bool one_store = end < n && c[end].store == c[first].store;
    while (end < n && c[end].list_row < 0 && (c[end].store == c[end - 1].store) == one_store) end++;
    return end;
}

int row_blocks_cut(const struct kv_cache *kv, const struct context *contexts, int n, int max_rows, struct row_block *blocks)
{
    int n_blocks = 0;
    for (int first = 0, end; first < n; first = end) {
        end = run_end(contexts, first, n);
        /* Blocks of a run are of nearly equal size: a short last one would use a tile for few rows. */
        for (int left = (end - first + max_rows - 1) / max_rows, at = first; left > 0; left--) {
            const int next = at + (end - at + left - 1) / left;
            int n_common = next - at > 1 ? whole_tiles(kv, &contexts[at], false) : 0;
            for (int i = at + 1; i < next; i++)
                n_common = min_int(n_common, whole_tiles(kv, &contexts[i], contexts[i].store != contexts[at].store));
            blocks[n_blocks++] = (struct row_block){ at, next - at, n_common };
            at = next;
        }
    }
    return n_blocks;
}

static void tile_set(const struct attend_job *j, const struct scratch *s, const struct context *c, int kv_head, int tile, int at)
{
    const bool in_tail = c->tail != NO_TAIL && tile == c->position / KV_TILE;
    s->k[at] = in_tail ? kv_k_tail(j->kv, c->tail, kv_head) : kv_k_tile(j->kv, j->layer, c->store, kv_head, tile);
    s->v[at] = in_tail ? kv_v_tail(j->kv, c->tail, kv_head) : kv_v_tile(j->kv, j->layer, c->store, kv_head, tile);
}

/* Tokens from .. to-1 onto the end of the row's list, whose last tile is *last. */
static int tiles_add(const struct attend_job *j, const struct scratch *s, const struct context *c, int kv_head, int from, int to,
                     int n, int *last)
{
    while (from < to) {
        const int tile = from / KV_TILE, end = min_int(to, (tile + 1) * KV_TILE);
        const unsigned bits = ((1u << (end - from)) - 1) << (from % KV_TILE);
        if (tile != *last) {
            s->mask[n] = 0;
            tile_set(j, s, c, kv_head, tile, s->max_tiles + n++);
            *last = tile;
        }
        s->mask[n - 1] |= (uint16_t)bits;
        from = end;
    }
    return n;
}

int row_tiles(const struct attend_job *j, const struct scratch *s, const struct context *c, int kv_head, int n_common)
{
    int last = -1;
    const int n_tokens = c->position + 1;
    if (c->list_row < 0) return tiles_add(j, s, c, kv_head, n_common * KV_TILE, n_tokens, 0, &last);
    const size_t list = (size_t)c->list_row * (size_t)j->kv->n_kv_heads + (size_t)kv_head;
    const int32_t *blocks = j->lists->blocks + list * (size_t)j->lists->max_blocks;
    int n = 0;
    for (int i = 0; i < j->lists->count[list]; i++) {
        const int from = blocks[i] * c->block_size;
        n = tiles_add(j, s, c, kv_head, from, min_int(from + c->block_size, n_tokens), n, &last);
    }
    return n;
}

static void pack_queries(const struct attend_job *j, const struct scratch *s, const struct row_block *b,
                         const struct context *contexts, int kv_head)
{
    const size_t dim = (size_t)j->kv->head_dim, group = (size_t)j->group;
    for (size_t r = 0; r < (size_t)b->n_rows; r++) {
        const float *q = j->qkv + (size_t)contexts[(size_t)b->first + r].q_row * (size_t)j->qkv_stride +
                         (size_t)kv_head * group * dim;
        float *to = s->q + r * group;
        for (size_t i = 0; i < dim; i++)
            for (size_t g = 0; g < group; g++) to[i * (size_t)s->max_pairs + g] = q[g * dim + i];
    }
}

void row_block_scores(const struct attend_job *j, struct scratch *s, const struct row_block *b, const struct context *contexts,
                      int kv_head, void (*done)(void *user, int row, int n_own), void *user)
{
    const int dim = j->kv->head_dim;
    pack_queries(j, s, b, contexts, kv_head);
    for (int t = 0; t < b->n_common; t++) tile_set(j, s, &contexts[b->first], kv_head, t, t);
    j->kernels->scores(s->q, s->max_pairs, b->n_rows * j->group, dim, s->k, b->n_common, j->scale, s->s, s->s_stride);
    for (int r = 0; r < b->n_rows; r++) {
        const int n_own = row_tiles(j, s, &contexts[b->first + r], kv_head, b->n_common);
        float *own = s->s + (size_t)(r * j->group) * s->s_stride + (size_t)b->n_common * KV_TILE;
        j->kernels->scores(s->q + r * j->group, s->max_pairs, j->group, dim, s->k + s->max_tiles, n_own, j->scale, own,
                           s->s_stride);
        done(user, r, n_own);
    }
}
