/* kernels/cuda_decode_copy.cuh: where a unit's tokens lie, and their way into shared memory. */
#ifndef KERNELS_CUDA_DECODE_COPY_CUH
#define KERNELS_CUDA_DECODE_COPY_CUH

#include "kernels/cuda_decode.cuh"
#include "kernels/cuda_tma.cuh"

static constexpr int THREADS = (WARPS + 1) * 32;
static constexpr int RING_BYTES = 192 << 10;
static_assert(WARPS * 16 == UNIT, "a warp has 16 tokens of a unit");

/* What is copied at a time: a few consecutive tokens of one array. */
enum { BOX_8, BOX_16, BOX_UNIT, N_BOXES };
enum { IN_PREFIX, IN_OWN, IN_TAIL, N_ARRAYS };

__host__ __device__ static constexpr int box_rows(int box)
{
    return box == BOX_8 ? 8 : box == BOX_16 ? 16 : UNIT;
}

struct decode_maps {
    CUtensorMap k[N_ARRAYS][N_BOXES], v[N_ARRAYS][N_BOXES];
};

template <int DIM, int NT> struct decode_shared {
    static constexpr int TILE_BYTES = UNIT * DIM * (int)sizeof(__half), TILES = RING_BYTES / TILE_BYTES, N = NT * 8;
    char ring[TILES][TILE_BYTES];
    __half p[N][UNIT + 8];
    float e[N][UNIT + 4];
    float most[N][WARPS], sum[N];
    uint64_t full[TILES], empty[TILES];
    int base[MAX_PAIRS + 1];
};

/* False where nothing is copied by boxes: no such array, or rows that are less than a region. */
__host__ __device__ static bool has_maps(const struct kv_cache &c, int array)
{
    const int n = array == IN_PREFIX ? c.prefix_tiles : array == IN_OWN ? c.n_stores * c.own_tiles : c.n_tails;
    return n > 0 && c.head_dim >= REGION_ELEMS;
}

/* The next tile of the ring, and how often it was filled before. */
struct ring_place {
    int tile, round;
};

/* A warp has read it. */
template <class S> __device__ static void ring_release(S &sh, struct ring_place &at)
{
    __syncwarp();
    if (threadIdx.x % 32 == 0) barrier_arrive(&sh.empty[at.tile]);
    if (++at.tile == S::TILES) at = { 0, at.round + 1 };
}

/* The place in the line of units. */
struct place {
    int unit, pair, x; /* unit x of the pair */
    int n_tokens;      /* of the pair */
    int kv_head, list;
    struct attend_row row;
};

template <class S> __device__ static void place_set(struct place &p, const S &sh, const struct decode_job &j)
{
    const int r = p.pair / j.kv.n_kv_heads;
    p.kv_head = p.pair % j.kv.n_kv_heads;
    p.row = j.rows[r];
    p.list = list_of(j, p.row, p.kv_head);
    p.n_tokens = p.list < 0 ? p.row.position + 1 : j.lists.tokens[p.list];
    p.x = p.unit - sh.base[p.pair];
}

template <class S> __device__ static struct place place_of(const S &sh, const struct decode_job &j, int unit)
{
    struct place p;
    int low = 0, high = j.n_rows * j.kv.n_kv_heads;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (sh.base[middle] <= unit) low = middle;
        else high = middle;
    }
    p.unit = unit;
    p.pair = low;
    place_set(p, sh, j);
    return p;
}

/* True where another pair begins. */
template <class S> __device__ static bool place_next(struct place &p, const S &sh, const struct decode_job &j, int end)
{
    p.unit++;
    p.x++;
    if (p.unit >= end || p.unit < sh.base[p.pair + 1]) return false;
    do p.pair++;
    while (p.unit >= sh.base[p.pair + 1]);
    place_set(p, sh, j);
    return true;
}

/* How a unit is cut into boxes. */
struct boxes {
    int box, n;
    bool by_hand; /* the block size or head_dim suits no box */
};

__device__ static struct boxes boxes_of(const struct decode_job &j, const struct place &p)
{
    const int first = p.x * UNIT, n = min(UNIT, p.n_tokens - first), border = j.kv.first_own_tile * KV_TILE;
    struct boxes b;
    b.by_hand = j.kv.head_dim < REGION_ELEMS || (p.list >= 0 && p.row.block_size % 8 != 0);
    if (p.list >= 0) b.box = p.row.block_size % 16 == 0 ? BOX_16 : BOX_8;
    else b.box = n == UNIT && (p.row.store == KV_PREFIX || first >= border || first + UNIT <= border) &&
                         (p.row.tail == NO_TAIL || p.row.position / KV_TILE * KV_TILE >= first + UNIT) ? BOX_UNIT : BOX_16;
    b.n = (n + box_rows(b.box) - 1) / box_rows(b.box);
    return b;
}

/* Entry of the list that holds this lane's box, for a lane that has one. */
__device__ static int list_entry(const struct decode_job &j, const struct place &p)
{
    if (p.list < 0) return 0;
    const struct boxes b = boxes_of(j, p);
    const int lane = threadIdx.x % 32;
    if (b.by_hand || lane >= b.n) return 0;
    return j.lists.blocks[(size_t)p.list * j.lists.max_blocks + (p.x * UNIT + lane * box_rows(b.box)) / p.row.block_size];
}

/* The i-th token that the pair reads. */
__device__ static int position_of(const struct decode_job &j, const struct place &p, int i)
{
    const int size = p.row.block_size;
    return p.list < 0 ? i : j.lists.blocks[(size_t)p.list * j.lists.max_blocks + i / size] * size + i % size;
}

/* The tile of a unit that suits no box, by ordinary copies of the warp; zeros past its tokens and past head_dim. */
template <int DIM> __device__ static void copy_by_hand(const struct decode_job &j, const struct place &p, bool values, char *tile)
{
    const int first = p.x * UNIT, n = min(UNIT, p.n_tokens - first);
    for (int i = threadIdx.x % 32; i < UNIT * DIM / 8; i += 32) {
        const int r = i / (DIM / 8), piece = i % (DIM / 8);
        uint4 x = make_uint4(0, 0, 0, 0);
        if (r < n && piece * 8 < j.kv.head_dim) {
            const struct token t = token_of(j.kv, j.layer, p.row.store, p.row.tail, p.row.position, p.kv_head, position_of(j, p, first + r));
            x = ((const uint4 *)(values ? t.v : t.k))[piece];
        }
        *(uint4 *)(tile + tile_at(UNIT, r, piece)) = x;
    }
    copies_follow();
}

/* Where this lane's box begins: the array, and its row in it. */
__device__ static int2 box_at(const struct decode_job &j, const struct place &p, const struct boxes &b, int entry)
{
    const int i = p.x * UNIT + threadIdx.x % 32 * box_rows(b.box), at = p.list < 0 ? i : entry * p.row.block_size + i % p.row.block_size;
    if (p.row.tail != NO_TAIL && at / KV_TILE == p.row.position / KV_TILE)
        return make_int2(IN_TAIL, (p.row.tail * j.kv.n_kv_heads + p.kv_head) * KV_TILE + at % KV_TILE);
    bool own;
    const int row = (int)token_row(j.kv, j.layer, p.row.store, p.kv_head, at, &own);
    return make_int2(own ? IN_OWN : IN_PREFIX, row);
}

template <int DIM, int NT>
__device__ static void copy_units(decode_shared<DIM, NT> &sh, const struct decode_job &j, const struct decode_maps &maps, int first, int end)
{
    typedef decode_shared<DIM, NT> S;
    const int lane = threadIdx.x % 32;
    struct place p = place_of(sh, j, first);
    int entry = list_entry(j, p), tile = 0, round = 0;
    while (p.unit < end) {
        const struct boxes b = boxes_of(j, p);
        const int2 at = box_at(j, p, b, entry);
        struct place next = p;
        place_next(next, sh, j, end);
        if (next.unit < end) entry = list_entry(j, next); /* on its way while this unit waits for room */
        for (int values = 0; values < 2; values++) {
            if (round > 0) barrier_wait(&sh.empty[tile], (round - 1) % 2);
            if (b.by_hand) {
                copy_by_hand<DIM>(j, p, values, sh.ring[tile]);
                __syncwarp();
                if (lane == 0) barrier_arrive(&sh.full[tile]);
            } else {
                const int box_bytes = box_rows(b.box) * REGION_ROW_BYTES;
                if (lane == 0) barrier_expect(&sh.full[tile], b.n * box_bytes * (DIM / REGION_ELEMS));
                __syncwarp();
                const CUtensorMap *map = values ? &maps.v[at.x][b.box] : &maps.k[at.x][b.box];
                for (int region = 0; region < DIM / REGION_ELEMS && lane < b.n; region++)
                    box_copy(sh.ring[tile] + region * UNIT * REGION_ROW_BYTES + lane * box_bytes, map, region * REGION_ELEMS, at.y, &sh.full[tile]);
            }
            if (++tile == S::TILES) tile = 0, round++;
        }
        p = next;
    }
}

#endif
