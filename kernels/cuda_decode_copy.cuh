/* kernels/cuda_decode_copy.cuh: where a unit's tokens lie, and their way into shared memory. */
#ifndef KERNELS_CUDA_DECODE_COPY_CUH
#define KERNELS_CUDA_DECODE_COPY_CUH

#include "kernels/cuda_decode.cuh"
#include "kernels/cuda_tma.cuh"

static constexpr int THREADS = (WARPS + 1) * 32;
static_assert(WARPS * 16 == UNIT, "a warp has 16 tokens of a unit");

/* What is copied at a time: consecutive tokens of one array. */
enum { BOX_8, BOX_16, BOX_UNIT, N_BOXES };
enum { IN_PREFIX, IN_OWN, IN_TAIL, N_ARRAYS };

__host__ __device__ static constexpr int box_rows(int box)
{
    return box == BOX_8 ? 8 : box == BOX_16 ? 16 : UNIT;
}

/* Whole regions are copied as stripes, but for BOX_8; others as boxes, without BOX_UNIT. */
__host__ __device__ static bool has_stripes(const struct kv_cache &c)
{
    return c.head_dim % REGION_ELEMS == 0;
}

struct decode_maps {
    CUtensorMap k[N_ARRAYS][N_BOXES], v[N_ARRAYS][N_BOXES];
};

/* A ring of 96 KiB leaves room for the next kernel's threads beside these. */
template <int DIM, int NT> struct decode_shared {
    static constexpr int TILE_BYTES = UNIT * DIM * (int)sizeof(__half),
                         TILES = ((DIM <= 128 ? 96 : 192) << 10) / TILE_BYTES, N = NT * 8;
    char ring[TILES][TILE_BYTES];
    __half p[N][UNIT + 8];
    float e[N][UNIT + 4];
    float most[N][WARPS];
    uint64_t full[TILES], empty[TILES];
    struct attend_row rows[MAX_SPLIT_ROWS];
    int base[MAX_PAIRS + 1], n_tokens[MAX_PAIRS],
        list[MAX_PAIRS]; /* of a pair: first unit; what it reads; its list, -1: all tokens */
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

/* The order in which a block of threads takes its units: cut .. end-1, of a group that goes on behind it; whole .. cut-1; first .. whole-1, of a group
 * that began before it. */
struct route {
    int first, whole, cut, end;

    __device__ int start() const
    {
        return cut < end ? cut : whole < cut ? whole : first;
    }

    /* -1: unit was the last. */
    __device__ int after(int unit) const
    {
        const bool last_part = unit < whole;
        unit++;
        if (last_part) return unit < whole ? unit : -1;
        if (unit == end && cut < end) unit = whole;
        if (unit == cut) return first < whole ? first : -1;
        return unit;
    }
};

template <class S> __device__ static int pair_of(const S &sh, const struct decode_job &j, int unit)
{
    int low = 0, high = j.n_rows * j.kv.n_kv_heads;
#pragma unroll 1
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (sh.base[middle] <= unit)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* One past the group that holds a unit of a pair. */
template <class S> __device__ static int group_end(const S &sh, int pair, int unit)
{
    const int x = unit - sh.base[pair];
    return min(unit - x % FOLD_UNITS + FOLD_UNITS, sh.base[pair + 1]);
}

template <class S>
__device__ static struct route route_of(const S &sh, const struct decode_job &j, const struct line &line)
{
    const int first = line.start((int)blockIdx.x), end = line.start((int)blockIdx.x + 1);
    struct route r = { first, first, end, end };
    if (line.is_short()) return r;
    const int a = pair_of(sh, j, first), b = pair_of(sh, j, end - 1);
    if ((first - sh.base[a]) % FOLD_UNITS != 0) r.whole = group_end(sh, a, first);
    if (group_end(sh, b, end - 1) != end) r.cut = end - 1 - (end - 1 - sh.base[b]) % FOLD_UNITS;
    return r;
}

/* A unit of the line. */
struct place {
    int unit, pair, x; /* unit x of the pair */
    int n_tokens;      /* of the pair */
    int kv_head, list;
    struct attend_row row;
};

template <class S> __device__ static struct place place_of(const S &sh, const struct decode_job &j, int unit)
{
    struct place p;
    p.unit = unit;
    p.pair = pair_of(sh, j, unit);
    p.kv_head = p.pair % j.kv.n_kv_heads;
    p.row = sh.rows[p.pair / j.kv.n_kv_heads];
    p.list = sh.list[p.pair];
    p.n_tokens = sh.n_tokens[p.pair];
    p.x = unit - sh.base[p.pair];
    return p;
}

/* The next one of the route; true where its pair is another. */
template <class S>
__device__ static bool place_next(struct place &p, const S &sh, const struct decode_job &j, const struct route &r)
{
    const int before = p.unit;
    p.unit = r.after(before);
    p.x += p.unit - before;
    if (p.unit < 0 || (p.unit >= sh.base[p.pair] && p.unit < sh.base[p.pair + 1])) return false;
    p = place_of(sh, j, p.unit);
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
    if (p.list >= 0)
        b.box = p.row.block_size % 16 == 0 ? BOX_16 : BOX_8;
    else
        b.box = n == UNIT && has_stripes(j.kv) &&
                        (p.row.store == KV_PREFIX || first >= border || first + UNIT <= border) &&
                        (p.row.tail == NO_TAIL || p.row.position / KV_TILE * KV_TILE >= first + UNIT)
                    ? BOX_UNIT
                    : BOX_16;
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
    return j.lists
        .blocks[(size_t)p.list * j.lists.max_blocks + (p.x * UNIT + lane * box_rows(b.box)) / p.row.block_size];
}

/* The i-th token that the pair reads. */
__device__ static int position_of(const struct decode_job &j, const struct place &p, int i)
{
    const int size = p.row.block_size;
    return p.list < 0 ? i : j.lists.blocks[(size_t)p.list * j.lists.max_blocks + i / size] * size + i % size;
}

/* The tile of a unit that suits no box, by ordinary copies of the warp; zeros past its tokens and past head_dim. */
template <int DIM>
__device__ static void copy_by_hand(const struct decode_job &j, const struct place &p, bool values, char *tile)
{
    const int first = p.x * UNIT, n = min(UNIT, p.n_tokens - first);
#pragma unroll 1
    for (int i = threadIdx.x % 32; i < UNIT * DIM / 8; i += 32) {
        const int r = i / (DIM / 8), piece = i % (DIM / 8);
        uint4 x = make_uint4(0, 0, 0, 0);
        if (r < n && piece * 8 < j.kv.head_dim) {
            const struct token t = token_of(j.kv, j.layer, p.row.store, p.row.tail, p.row.position, p.kv_head,
                                            position_of(j, p, first + r));
            x = ((const uint4 *)(values ? t.v : t.k))[piece];
        }
        *(uint4 *)(tile + tile_at(DIM / REGION_ELEMS, r, piece)) = x;
    }
    copies_follow();
}

/* Where this lane's box begins: the array, and its row in it. */
__device__ static int2 box_at(const struct decode_job &j, const struct place &p, const struct boxes &b, int entry)
{
    const int i = p.x * UNIT + threadIdx.x % 32 * box_rows(b.box),
              at = p.list < 0 ? i : entry * p.row.block_size + i % p.row.block_size;
    if (p.row.tail != NO_TAIL && at / KV_TILE == p.row.position / KV_TILE)
        return make_int2(IN_TAIL, (p.row.tail * j.kv.n_kv_heads + p.kv_head) * KV_TILE + at % KV_TILE);
    bool own;
    const int row = (int)token_row(j.kv, j.layer, p.row.store, p.kv_head, at, &own);
    return make_int2(own ? IN_OWN : IN_PREFIX, row);
}

/* The lane's part of a unit's K or V, `to` in shared memory. */
template <int DIM>
__device__ static void copy_boxes(const struct decode_job &j, const struct decode_maps &maps, const struct boxes &b,
                                  int2 at, bool values, char *to, uint64_t *full)
{
    const int lane = threadIdx.x % 32, rows = lane * box_rows(b.box);
    const CUtensorMap *map = values ? &maps.v[at.x][b.box] : &maps.k[at.x][b.box];
    if (lane >= b.n) return;
    if (has_stripes(j.kv) && b.box != BOX_8) {
        stripe_copy(to + tile_at(DIM / REGION_ELEMS, rows, 0), map, at.y / REGION_ROWS, full);
        return;
    }
    for (int i = 0; i < DIM / REGION_ELEMS; i++)
        box_copy(to + tile_at(DIM / REGION_ELEMS, rows, 8 * i), map, i * REGION_ELEMS, at.y, full);
}

/* entry: the lane's of the first unit. */
template <int DIM, int NT>
__device__ static void copy_units(decode_shared<DIM, NT> &sh, const struct decode_job &j,
                                  const struct decode_maps &maps, const struct route &route, struct place p, int entry)
{
    typedef decode_shared<DIM, NT> S;
    const int lane = threadIdx.x % 32;
    int tile = 0, round = 0;
    while (p.unit >= 0) {
        const struct boxes b = boxes_of(j, p);
        const int2 at = box_at(j, p, b, entry);
        struct place next = p;
        if (p.unit == route.start()) dependency_wait(); /* from here on what earlier kernels wrote is read */
#pragma unroll 1
        for (int values = 0; values < 2; values++) {
            if (round > 0) barrier_wait(&sh.empty[tile], (round - 1) % 2);
            if (b.by_hand) {
                copy_by_hand<DIM>(j, p, values, sh.ring[tile]);
                barrier_arrive(&sh.full[tile]);
            } else {
                if (lane == 0)
                    barrier_expect(&sh.full[tile], b.n * box_rows(b.box) * DIM * (int)sizeof(__half));
                else
                    barrier_arrive(&sh.full[tile]);
                __syncwarp();
                copy_boxes<DIM>(j, maps, b, at, values, sh.ring[tile], &sh.full[tile]);
            }
            if (++tile == S::TILES) tile = 0, round++;
            if (values) continue;
            place_next(next, sh, j, route);
            if (next.unit >= 0) entry = list_entry(j, next); /* on its way while V waits for room */
        }
        p = next;
    }
    dependents_launch(); /* the next kernel's first reads come behind these copies */
}

#endif
