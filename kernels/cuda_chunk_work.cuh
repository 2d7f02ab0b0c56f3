/* kernels/cuda_chunk_work.cuh: what the warpgroups of a block of threads share in the attention of many rows: shared memory, the units and rows
 * in work, and the copying of K and V. */
#ifndef KERNELS_CUDA_CHUNK_WORK_CUH
#define KERNELS_CUDA_CHUNK_WORK_CUH

#include "kernels/cuda_chunk.cuh"
#include "kernels/cuda_wgmma.cuh"

static constexpr int THREADS = 384, WARPGROUP = 128, GROUP_ROWS = 64, UNIT = ATTEND_CHUNK;
static constexpr int HALF = UNIT / 2; /* tokens of a unit that one block of a pair copies, for both */
enum { BAR_OWN = 1, BAR_TURN = 3 };   /* named barriers: of a warpgroup, a warpgroup's turn */

struct chunk_maps {
    CUtensorMap k[2], v[2], k_tile[2], v_tile[2], k_tail,
        v_tail; /* prefix, own: boxes of HALF tokens, of a tile; tails */
};

/* What a block of threads does of a part: the units, and the packed rows of its tile. */
struct chunk_work {
    struct chunk_part part;
    int first, n, unit,
        end; /* packed rows of the run before the tile; the tile's; units unit .. end-1, the same for both tiles */
    int run, position, last; /* first row of the run, its position; the tile's last row's, -1 where it has none */
    int cell_groups, first_cell; /* first_cell: cells before the item, of all KV heads */
    bool whole;                  /* the part is all of its item */
    bool only;                   /* no other item reads this store */
};

template <int SLABS> struct chunk_shared {
    static constexpr int STAGES = SLABS <= 2 ? 2 : 1;
    __half k[STAGES][SLABS][UNIT * SLAB], v[STAGES][SLABS][UNIT * SLAB], q[SLABS][CHUNK_TILE * SLAB];
    static constexpr bool TOTALS = SLABS <= 2; /* there is room for segments in work */
    float total[TOTALS ? CHUNK_TILE * SLABS * SLAB : 4];
    struct chunk_work work[2]; /* of a warpgroup */
    uint64_t k_full[STAGES], k_free[STAGES], v_full[STAGES], v_free[STAGES];
    uint64_t cleared; /* V of the unit in work, after the last row's position, by both warpgroups */
};

__device__ static bool next_work(const struct chunk_job &j, int *at, int end, struct chunk_work &w)
{
    if (*at >= end) return false;
    w.part = part_at(*j.plan, *at, end);
    *at += w.part.to - w.part.from;
    const struct chunk_item t = j.plan->items[w.part.item];
    const int tile = blockIdx.x % 2 * CHUNK_TILE;
    w.cell_groups = j.plan->cell_groups;
    w.first_cell = w.part.kv_head * j.plan->n_cells + t.cell;
    const int cell_units = w.cell_groups * FOLD_UNITS;
    w.n = max(min(t.n_packed - tile, CHUNK_TILE), 0);
    w.first = t.packed + tile;
    w.run = t.run;
    w.position = t.position;
    w.last = w.n > 0 ? position_of(t, j.group, w.first + w.n - 1) : -1;
    const int n_units = last_position(t, j.group) / UNIT + 1;
    w.unit = w.part.from * cell_units;
    w.end = w.part.to == w.part.n_cells ? n_units : w.part.to * cell_units;
    w.only = t.packed == 0 && (w.part.item + 1 == j.plan->n_items || j.plan->items[w.part.item + 1].run != t.run);
    w.whole = w.part.from == 0 && w.part.to == w.part.n_cells;
    return true;
}

__device__ static int2 work_of_pair(const struct chunk_job &j)
{
    const int each = j.plan->cells_each, first = blockIdx.x / 2 * each;
    return make_int2(first, min(first + each, j.plan->n_cells * j.kv.n_kv_heads));
}

template <int SLABS> struct copier {
    using shared = chunk_shared<SLABS>;

    /* This block's half of a unit of K or of V: in one piece where all the unit lies in the prefix or in the store, else tile by tile. */
    __device__ static void copy(const struct chunk_job &j, const struct attend_row &row, int kv_head, int unit,
                                __half (*to)[UNIT * SLAB], const CUtensorMap *maps, const CUtensorMap *tile_maps,
                                const CUtensorMap *tail_map, uint64_t *full, const uint64_t (&policy)[2])
    {
        static constexpr int TILES = UNIT / KV_TILE;
        const struct kv_cache &c = j.kv;
        const int unit_tile = unit * TILES, prefix_run = j.layer * c.n_kv_heads + kv_head, half = blockIdx.x % 2;
        const int own_run = (j.layer * c.n_stores + row.store) * c.n_kv_heads + kv_head;
        const bool prefix = row.store == KV_PREFIX || unit_tile + TILES <= c.first_own_tile,
                   own = !prefix && unit_tile >= c.first_own_tile;
        const bool tail = row.tail != NO_TAIL && row.position / KV_TILE < unit_tile + TILES;
        const int first = unit_tile + half * TILES / 2;
        barrier_expect(full, SLABS * UNIT * SLAB * (int)sizeof(__half));
        for (int s = 0; s < SLABS; s++) {
            __half *at = to[s] + half * HALF * SLAB;
            if ((prefix || own) && !tail) {
                copy_box(at, &maps[own], s * SLAB, (first - (own ? c.first_own_tile : 0)) * KV_TILE,
                         own ? own_run : prefix_run, full, policy[own]);
                continue;
            }
            for (int tile = first; tile < first + TILES / 2; tile++, at += KV_TILE * SLAB) {
                const bool in_own = row.store != KV_PREFIX && tile >= c.first_own_tile;
                if (tail && tile == row.position / KV_TILE)
                    copy_box(at, tail_map, s * SLAB, 0, row.tail * c.n_kv_heads + kv_head, full, policy[1]);
                else
                    copy_box(at, &tile_maps[in_own], s * SLAB, (tile - (in_own ? c.first_own_tile : 0)) * KV_TILE,
                             in_own ? own_run : prefix_run, full, policy[in_own]);
            }
        }
    }

    /* K, or V: neither waits for room for the other. */
    template <bool K> __device__ static void go(shared &sh, const struct chunk_job &j, const struct chunk_maps &m)
    {
        const int2 mine = work_of_pair(j);
        struct chunk_work w;
        int n = 0;
        for (int at = mine.x; next_work(j, &at, mine.y, w);) {
            const struct attend_row row = j.rows[w.run];
            /* Of the prefix, of the store: nodes stay until they are merged. */
            const uint64_t policy[2] = { cache_policy(j.plan->n_items == 1), cache_policy(w.only) };
            for (int unit = w.unit; unit < w.end; unit++, n++) {
                const int stage = n % shared::STAGES;
                barrier_wait_asleep(K ? &sh.k_free[stage] : &sh.v_free[stage], n / shared::STAGES % 2 ^ 1);
                if (K)
                    copy(j, row, w.part.kv_head, unit, sh.k[stage], m.k, m.k_tile, &m.k_tail, &sh.k_full[stage],
                         policy);
                else
                    copy(j, row, w.part.kv_head, unit, sh.v[stage], m.v, m.v_tile, &m.v_tail, &sh.v_full[stage],
                         policy);
            }
        }
    }
};

#endif
