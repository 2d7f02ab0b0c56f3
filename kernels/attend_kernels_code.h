/* kernels/attend_kernels_code.h: the code of attend_kernels.h, written over a vector type and included by the file of each
 * instruction set, which defines before it:
 *
 *   vf, VF_WIDTH    a vector of floats; vf_zero, vf_set1, vf_load, vf_store, vf_add, vf_sub, vf_mul, vf_fma(a, b, c) = a b + c,
 *                   vf_max(a, b) = a > b ? a : b, vf_exp, vf_fold(v): the KV_TILE floats of v[] added in the fixed tree
 *   vd, VD_WIDTH    a vector of doubles; vd_zero, vd_add, vd_from(float *), vd_fold
 *   MAX_PAIRS, MAX_TILES   register blocking: MAX_PAIRS x MAX_TILES tiles of scores, or x WEIGH_VECTORS, live in registers
 *   KERNELS         the name of the table                                                                */

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
enum { TILE_VF = KV_TILE / VF_WIDTH, TILE_VD = KV_TILE / VD_WIDTH, WEIGH_VECTORS = 4 };

/* What a thread walks over again and again has to stay in its first-level cache. */
enum { CACHE_FLOATS = 4096, CACHE_LINE = 64 / sizeof(float) };

static inline int least(int a, int b)
{
    return a < b ? a : b;
}

/* Pairs are cut into chunks of nearly equal size, so that none is left with too few chains to hide the latency. */
static inline int chunk_pairs(int n_left)
{
    const int n_chunks = (n_left + MAX_PAIRS - 1) / MAX_PAIRS;
    return (n_left + n_chunks - 1) / n_chunks;
}

/* Tiles are a memory page each or thereabouts, at which a processor's own prefetching stops: the loops over one tile
 * fetch the next. */
static inline void fetch(const float *p)
{
    __builtin_prefetch(p, 0, 3);
}

struct scores_step {
    const float *q, *const *k, *const *next;
    size_t q_stride;
    int head_dim;
    float scale;
    float *s;
    size_t s_stride;
};

INLINE void scores_block(const struct scores_step *a, const int n_pairs, const int n_tiles)
{
    vf acc[MAX_PAIRS][MAX_TILES][TILE_VF];
    UNROLL for (int p = 0; p < n_pairs; p++)
        UNROLL for (int t = 0; t < n_tiles; t++)
            UNROLL for (int i = 0; i < TILE_VF; i++) acc[p][t][i] = vf_zero();
    for (int d = 0; d < a->head_dim; d++) {
        const float *q = a->q + (size_t)d * a->q_stride;
        vf b[MAX_PAIRS];
        UNROLL for (int p = 0; p < n_pairs; p++) b[p] = vf_set1(q[p]);
        UNROLL for (int t = 0; t < n_tiles; t++)
            UNROLL for (int i = 0; i < TILE_VF; i++) {
                if (i == 0) fetch(a->next[t] + (size_t)d * KV_TILE);
                const vf k = vf_load(a->k[t] + (size_t)d * KV_TILE + i * VF_WIDTH);
                UNROLL for (int p = 0; p < n_pairs; p++) acc[p][t][i] = vf_fma(b[p], k, acc[p][t][i]);
            }
    }
    const vf scale = vf_set1(a->scale);
    UNROLL for (int p = 0; p < n_pairs; p++)
        UNROLL for (int t = 0; t < n_tiles; t++)
            UNROLL for (int i = 0; i < TILE_VF; i++)
                vf_store(a->s + (size_t)p * a->s_stride + t * KV_TILE + i * VF_WIDTH, vf_mul(acc[p][t][i], scale));
}

#define BLOCK_CASE(call, P, N)                                                                                         \
    case (P) * 8 + (N):                                                                                                \
        if ((P) <= MAX_PAIRS) call(a, (P), (N));                                                                       \
        break;
#define BLOCK_CASES(call, N)                                                                                           \
    BLOCK_CASE(call, 1, N) BLOCK_CASE(call, 2, N) BLOCK_CASE(call, 3, N)                                               \
    BLOCK_CASE(call, 4, N) BLOCK_CASE(call, 5, N) BLOCK_CASE(call, 6, N)

static void scores_step(const struct scores_step *a, int n_pairs, int n_tiles)
{
    switch (n_pairs * 8 + n_tiles) {
        BLOCK_CASES(scores_block, 1)
#if MAX_TILES >= 2
        BLOCK_CASES(scores_block, 2)
#endif
#if MAX_TILES >= 4
        BLOCK_CASES(scores_block, 4)
#endif
    }
}

static void scores(const float *q, int q_stride, int n_pairs, int head_dim, const float *const *k, int n_tiles, float scale,
                   float *s, size_t s_stride)
{
    for (int t = 0, nt; t < n_tiles; t += nt) {
        nt = MAX_TILES;
        while (nt > n_tiles - t) nt /= 2;
        const float *const *next = t + 2 * nt <= n_tiles ? k + t + nt : k + n_tiles - nt;
        for (int p = 0, np; p < n_pairs; p += np) {
            np = chunk_pairs(n_pairs - p);
            const struct scores_step a = { q + p, k + t, next, (size_t)q_stride, head_dim, scale,
                                           s + (size_t)p * s_stride + (size_t)t * KV_TILE, s_stride };
            scores_step(&a, np, nt);
        }
    }
}

/* Returns the maximum of what is read; what is not becomes -inf. */
static float softmax_max(float *s, int n_full, const uint16_t *mask, int n_rest)
{
    for (int t = 0; t < n_rest; t++)
        for (unsigned m = ~(unsigned)mask[t] & FULL_TILE; m; m &= m - 1)
            s[(size_t)(n_full + t) * KV_TILE + (size_t)__builtin_ctz(m)] = -INFINITY;
    vf top[TILE_VF];
    UNROLL for (int i = 0; i < TILE_VF; i++) top[i] = vf_set1(-INFINITY);
    for (int t = 0; t < n_full + n_rest; t++)
        UNROLL for (int i = 0; i < TILE_VF; i++)
            top[i] = vf_max(vf_load(s + (size_t)t * KV_TILE + i * VF_WIDTH), top[i]);
    float lanes[KV_TILE], m = -INFINITY;
    UNROLL for (int i = 0; i < TILE_VF; i++) vf_store(lanes + i * VF_WIDTH, top[i]);
    for (int i = 0; i < KV_TILE; i++) m = lanes[i] > m ? lanes[i] : m;
    return m;
}

static float softmax(float *s, int n_full, const uint16_t *mask, int n_rest)
{
    const vf m = vf_set1(softmax_max(s, n_full, mask, n_rest));
    vf sum[TILE_VF];
    UNROLL for (int i = 0; i < TILE_VF; i++) sum[i] = vf_zero();
    for (int t = 0; t < n_full + n_rest; t++)
        UNROLL for (int i = 0; i < TILE_VF; i++) {
            float *at = s + (size_t)t * KV_TILE + i * VF_WIDTH;
            const vf e = vf_exp(vf_sub(vf_load(at), m));
            vf_store(at, e);
            sum[i] = vf_add(sum[i], e);
        }
    return vf_fold(sum);
}

static void exponentials(float *s, int n_full, const uint16_t *mask, int n_rest)
{
    const vf m = vf_set1(softmax_max(s, n_full, mask, n_rest));
    for (int i = 0; i < (n_full + n_rest) * KV_TILE; i += VF_WIDTH) vf_store(s + i, vf_exp(vf_sub(vf_load(s + i), m)));
}

struct weigh_step {
    const float *e;
    size_t e_stride;
    int head_dim, from; /* from: first of the elements of v */
    const float *const *v;
    const uint16_t *mask;
    int n_tiles, n_ahead; /* n_ahead: tiles in v, from 0 */
    float *out;
    size_t out_stride;
};

INLINE void weigh_block(const struct weigh_step *a, const int n_pairs, const int n_vectors)
{
    vf acc[MAX_PAIRS][WEIGH_VECTORS];
    UNROLL for (int p = 0; p < n_pairs; p++)
        UNROLL for (int n = 0; n < n_vectors; n++)
            acc[p][n] = vf_load(a->out + (size_t)p * a->out_stride + n * VF_WIDTH);
    for (int t = 0; t < a->n_tiles; t++) {
        const float *e = a->e + (size_t)t * KV_TILE, *v = a->v[t] + a->from;
        const float *next = a->v[t + (t + 1 < a->n_ahead)] + a->from;
        /* Tokens that are not read are skipped, not weighed by 0: their memory may hold NaN. */
        for (unsigned m = a->mask ? a->mask[t] : FULL_TILE; m; m &= m - 1) {
            const size_t i = (size_t)__builtin_ctz(m);
            vf b[MAX_PAIRS];
            UNROLL for (int p = 0; p < n_pairs; p++) b[p] = vf_set1(e[(size_t)p * a->e_stride + i]);
            UNROLL for (int n = 0; n < n_vectors; n++) {
                if (n * VF_WIDTH % CACHE_LINE == 0) fetch(next + i * (size_t)a->head_dim + n * VF_WIDTH);
                const vf y = vf_load(v + i * (size_t)a->head_dim + n * VF_WIDTH);
                UNROLL for (int p = 0; p < n_pairs; p++) acc[p][n] = vf_fma(b[p], y, acc[p][n]);
            }
        }
    }
    UNROLL for (int p = 0; p < n_pairs; p++)
        UNROLL for (int n = 0; n < n_vectors; n++)
            vf_store(a->out + (size_t)p * a->out_stride + n * VF_WIDTH, acc[p][n]);
}

static void weigh_step(const struct weigh_step *a, int n_pairs, int n_vectors)
{
    switch (n_pairs * 8 + n_vectors) {
        BLOCK_CASES(weigh_block, 1)
        BLOCK_CASES(weigh_block, 2)
        BLOCK_CASES(weigh_block, 4)
    }
}

static void weigh(const float *e, size_t e_stride, int n_pairs, int head_dim, const float *const *v, const uint16_t *mask,
                  int n_tiles, float *out, size_t out_stride)
{
    const int n_vectors = head_dim / VF_WIDTH, some = least(n_tiles, CACHE_FLOATS / (head_dim * KV_TILE) + 1);
    for (int t = 0; t < n_tiles; t += some)
        for (int p = 0, np; p < n_pairs; p += np) {
            np = chunk_pairs(n_pairs - p);
            for (int n = 0, nn; n < n_vectors; n += nn) {
                nn = WEIGH_VECTORS;
                while (nn > n_vectors - n) nn /= 2;
                const struct weigh_step a = {
                    e + (size_t)p * e_stride + (size_t)t * KV_TILE, e_stride, head_dim, n * VF_WIDTH, v + t,
                    mask ? mask + t : NULL, least(some, n_tiles - t), n_tiles - t,
                    out + (size_t)p * out_stride + n * VF_WIDTH, out_stride
                };
                weigh_step(&a, np, nn);
            }
        }
}

INLINE void sum_tile(vd *acc, const float *e)
{
    UNROLL for (int i = 0; i < TILE_VD; i++) acc[i] = vd_add(acc[i], vd_from(e + i * VD_WIDTH));
}

INLINE void sum_part(vd *acc, const float *tile, int from, int to)
{
    float part[KV_TILE] = { 0 };
    for (int i = from; i < to; i++) part[i] = tile[i];
    sum_tile(acc, part);
}

INLINE double sum_range(const float *e, int from, int to)
{
    vd acc[TILE_VD];
    UNROLL for (int i = 0; i < TILE_VD; i++) acc[i] = vd_zero();
    for (int tile = from / KV_TILE * KV_TILE; tile < to; tile += KV_TILE) {
        if (tile >= from && tile + KV_TILE <= to) sum_tile(acc, e + tile);
        else sum_part(acc, e + tile, tile < from ? from - tile : 0, least(to - tile, KV_TILE));
    }
    return vd_fold(acc);
}

static double sum(const float *e, int from, int to)
{
    return sum_range(e, from, to);
}

static double block_sums(const float *e, int n_tokens, int block_size, double *sums)
{
    double total = 0;
    for (int b = 0, from = 0; from < n_tokens; b++, from += block_size) {
        sums[b] = sum_range(e, from, least(n_tokens, from + block_size));
        total += sums[b];
    }
    return total;
}

INLINE void key_scores_block(const float *q, int head_dim, const float *keys, float *score, const int n_tiles)
{
    const size_t half = (size_t)head_dim * KEY_TILE;
    vf acc[MAX_TILES][TILE_VF];
    UNROLL for (int t = 0; t < n_tiles; t++)
        UNROLL for (int i = 0; i < TILE_VF; i++) acc[t][i] = vf_zero();
    for (int d = 0; d < head_dim; d++) {
        /* Rounding is monotonic and min <= max, so the sign of q says which product is the larger: one load less. */
        const float *x = keys + (size_t)d * KEY_TILE + (q[d] < 0 ? 0 : half);
        const vf b = vf_set1(q[d]);
        UNROLL for (int t = 0; t < n_tiles; t++)
            UNROLL for (int i = 0; i < TILE_VF; i++)
                acc[t][i] = vf_add(acc[t][i], vf_mul(b, vf_load(x + (size_t)t * 2 * half + i * VF_WIDTH)));
    }
    UNROLL for (int t = 0; t < n_tiles; t++)
        UNROLL for (int i = 0; i < TILE_VF; i++) vf_store(score + t * KEY_TILE + i * VF_WIDTH, acc[t][i]);
}

static void key_scores(const float *q, int head_dim, const float *keys, int n_tiles, float *score)
{
    const size_t tile = (size_t)head_dim * 2 * KEY_TILE;
    int t = 0;
    for (; t + MAX_TILES <= n_tiles; t += MAX_TILES)
        key_scores_block(q, head_dim, keys + (size_t)t * tile, score + (size_t)t * KEY_TILE, MAX_TILES);
    for (; t < n_tiles; t++) key_scores_block(q, head_dim, keys + (size_t)t * tile, score + (size_t)t * KEY_TILE, 1);
}

static int count_at_least(const int32_t *x, int n, int32_t t)
{
    int count = 0;
#pragma omp simd reduction(+ : count)
    for (int i = 0; i < n; i++) count += x[i] >= t;
    return count;
}

const struct attend_kernels KERNELS = { scores, softmax, exponentials, weigh, sum, block_sums, key_scores, count_at_least };
