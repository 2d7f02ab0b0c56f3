/* kernels/cuda_decode.cu: one warp copies the tokens of unit after unit into a ring of tiles in shared memory, eight others compute.  A tile is the
 * K or the V of a unit. */
#include "kernels/cuda_decode_fold.cuh"
#include "kernels/cuda_decode_unit.cuh"

/* What the computing warps of a block of threads have of the line. */
template <int DIM, int NT> struct decode_work {
    state<DIM, NT> y, group, segment; /* y: the unit */
    struct line line;
    struct route route;
    int told; /* before this launch, by every block of threads */

    /* After unit p. */
    __device__ void fold(const decode_shared<DIM, NT> &sh, const struct decode_job &j, const struct place &p)
    {
        const int block = (int)blockIdx.x, end = sh.base[p.pair + 1], next = p.unit + 1;
        const int segment_first = p.unit - p.x % SEGMENT_UNITS, segment_end = min(segment_first + SEGMENT_UNITS, end);
        const bool cut = next == route.end && route.cut < route.end;
        int slot = p.unit;
        if (p.unit == route.first && route.first < route.whole) {
            wait_for(j, block - 1, block - 1, told + TOLD_CUT);
            group.take(j, cut_slot(block - 1));
        }
        group.add(y, line.is_short() || p.x % FOLD_UNITS == 0, j.scale2);
        if (cut) {
            slot = cut_slot(block);
        } else if (!line.is_short()) {
            if (next != end && (p.x + 1) % FOLD_UNITS != 0) return;
            slot = group_slot(block, p.x / FOLD_UNITS);
            if (segment_first >= route.whole) { /* began here */
                segment.add(group, p.x % SEGMENT_UNITS < FOLD_UNITS, j.scale2);
                if (next != segment_end && next != route.cut) return;
                group = segment;
                slot = segment_slot(j, segment_first, p.pair);
            }
        }
        group.leave(j, slot);
        if (cut) tell(j, told + TOLD_CUT);
    }

    /* What this block of threads folds of a pair: some of the elements, where it begins within the pair or has it alone. */
    __device__ struct pair_fold share_of(const decode_shared<DIM, NT> &sh, const struct decode_job &j, int pair) const
    {
        const int n_vectors = j.group * vectors_of_head(j.kv.head_dim);
        struct pair_fold f = {};
        f.line = line;
        f.pair = pair;
        f.base = sh.base[pair];
        f.end = sh.base[pair + 1];
        f.kv_head = pair % j.kv.n_kv_heads;
        if (f.base == f.end) return f;
        f.first_block = line.owner(f.base);
        f.last_block = line.owner(f.end - 1);
        const int folder = f.first_block + (f.first_block < f.last_block && line.start(f.first_block) < f.base),
                  n_folders = f.last_block - folder + 1, at = (int)blockIdx.x - folder;
        if (at < 0) return f;
        f.first = n_vectors * at / n_folders;
        f.n = n_vectors * (at + 1) / n_folders - f.first;
        f.out_row = sh.rows[pair / j.kv.n_kv_heads].out_row;
        const int n_groups = (f.end - f.base + FOLD_UNITS - 1) / FOLD_UNITS;
        f.n_leaves = line.is_short() ? f.end - f.base : n_groups;
        f.n_loads = (f.n_leaves + LEAVES - 1) / LEAVES;
        f.n_parts = line.is_short() ? n_groups : f.n_loads;
        f.room = ((int)sizeof sh.ring - STAGES_BYTES) / ((int)sizeof(struct leaf) * f.n_parts);
        return f;
    }

    /* f: the share of the first pair. */
    __device__ void fold_pairs(decode_shared<DIM, NT> &sh, const struct decode_job &j, struct pair_fold f)
    {
        static_assert(sizeof sh.ring >= FOLD_BYTES, "the ring is free by then");
        const int last_pair = pair_of(sh, j, route.end - 1);
#pragma unroll 1
        while (true) {
            if (f.n > 0) {
                if (f.first_block < f.last_block) wait_for(j, f.first_block, f.last_block, told + TOLD_ALL);
                fold_vectors(j, f, sh.ring[0]);
            }
            if (f.pair == last_pair) return;
            f = share_of(sh, j, f.pair + 1);
        }
    }
};

template <int DIM, int NT>
__device__ static void compute_units(decode_shared<DIM, NT> &sh, const struct decode_job &j, const struct line &line,
                                     const struct route &route, struct place p)
{
    dependency_wait();
    decode_work<DIM, NT> w;
    w.line = line;
    w.route = route;
    w.told = *(volatile const int *)&j.left[blockIdx.x];
    const struct pair_fold share =
        w.share_of(sh, j, pair_of(sh, j, route.first)); /* while the first copies are on their way */
    queries<DIM, NT> q;
    struct ring_place at = { 0, 0 };
    bool other = true; /* another pair */
    while (p.unit >= 0) {
        if (other) q.load(j, p);
        unit_compute(sh, q, min(UNIT, p.n_tokens - p.x * UNIT), j.scale2, at, w.y);
        w.fold(sh, j, p);
        other = place_next(p, sh, j, route);
    }
    tell(j, w.told + TOLD_ALL);
    w.fold_pairs(sh, j, share);
}

/* ---- both ---- */

/* Tokens that a pair reads, and its list, -1: all tokens.  Whatever a list says while it is being written, what is made of it stays within bounds. */
template <int DIM, int NT>
__device__ static int2 reading(const decode_shared<DIM, NT> &sh, const struct decode_job &j, int pair)
{
    const struct attend_row &row = sh.rows[pair / j.kv.n_kv_heads];
    if (!j.listed || row.list_row < 0) return make_int2(row.position + 1, -1);
    const int list = row.list_row * j.kv.n_kv_heads + pair % j.kv.n_kv_heads;
    const int count = __ldcg(&j.lists.count[list]), n = __ldcg(&j.lists.tokens[list]);
    if (count < 0) return make_int2(row.position + 1, -1);
    return make_int2((int)min((long long)max(n, 0), (long long)j.lists.max_blocks * row.block_size), list);
}

template <int DIM, int NT> __device__ static void line_up(decode_shared<DIM, NT> &sh, const struct decode_job &j)
{
    const int n_pairs = j.n_rows * j.kv.n_kv_heads;
#pragma unroll 1
    for (int i = threadIdx.x; i < n_pairs; i += THREADS) {
        const int2 reads = reading(sh, j, i);
        sh.base[i + 1] = (reads.x + UNIT - 1) / UNIT;
        sh.n_tokens[i] = reads.x;
        sh.list[i] = reads.y;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        int before = 0;
#pragma unroll 1
        for (int i = threadIdx.x; i - (int)threadIdx.x < n_pairs; i += 32) {
            int upto = i < n_pairs ? sh.base[i + 1] : 0;
            for (int o = 1; o < 32; o *= 2) {
                const int other = __shfl_up_sync(0xffffffffu, upto, o);
                if ((int)threadIdx.x >= o) upto += other;
            }
            upto += before;
            if (i < n_pairs) sh.base[i + 1] = upto;
            before = __shfl_sync(0xffffffffu, upto, 31);
        }
        if (threadIdx.x == 0) sh.base[0] = 0;
    }
    __syncthreads();
}

/* Whether the lists are as long as line_up() found them. */
template <int DIM, int NT>
__device__ static bool is_lined_up(const decode_shared<DIM, NT> &sh, const struct decode_job &j)
{
    bool same = true;
#pragma unroll 1
    for (int i = threadIdx.x; i < j.n_rows * j.kv.n_kv_heads; i += THREADS) {
        const int2 reads = reading(sh, j, i);
        same &= sh.n_tokens[i] == reads.x && sh.list[i] == reads.y;
    }
    return __syncthreads_and(same);
}

/* What no earlier kernel writes: barriers, maps, and rows, which are the host's. */
template <int DIM, int NT>
__device__ static void prepare(decode_shared<DIM, NT> &sh, const struct decode_job &j, const struct decode_maps &maps)
{
    const int last_warp = (int)threadIdx.x - WARPS * 32; /* the first reads the rows at once */
    if (last_warp == 0) {
#pragma unroll 1
        for (int i = 0; i < decode_shared<DIM, NT>::TILES; i++) {
            barrier_open(&sh.full[i], 32);
            barrier_open(&sh.empty[i], WARPS);
        }
        barriers_ready();
    }
    if (last_warp >= 0 && last_warp < N_ARRAYS * N_BOXES && has_maps(j.kv, last_warp / N_BOXES)) {
        box_prefetch(&maps.k[0][0] + last_warp);
        box_prefetch(&maps.v[0][0] + last_warp);
    }
#pragma unroll 1
    for (int i = threadIdx.x; i < j.n_rows * (int)(sizeof(struct attend_row) / sizeof(int)); i += THREADS)
        ((int *)sh.rows)[i] = ((const int *)j.rows)[i];
    __syncthreads();
}

template <int DIM, int NT>
__global__ static void __launch_bounds__(THREADS, 1)
    decode_kernel(const __grid_constant__ struct decode_job j, const __grid_constant__ struct decode_maps maps)
{
    extern __shared__ char memory[];
    decode_shared<DIM, NT> &sh = *(decode_shared<DIM, NT> *)(memory + (1024 - shared_address(memory) % 1024) % 1024);
    prepare(sh, j, maps);
    struct line line;
    struct route route;
    struct place p;
    int entry = 0;
    const bool copies = threadIdx.x >= WARPS * 32;
    /* Lists are usually as long as the last ones in their place: what follows from that is prepared while they are still being written. */
#pragma unroll 1
    for (bool sure = !j.listed;; sure = true) {
        line_up(sh, j);
        line.n_units = sh.base[j.n_rows * j.kv.n_kv_heads];
        line.n_blocks = min(j.n_blocks, line.n_units);
        p.unit = -1;
        if ((int)blockIdx.x < line.n_blocks) {
            route = route_of(sh, j, line);
            p = place_of(sh, j, route.start());
        }
        if (!j.listed) break;
        dependency_wait();
        if (copies && p.unit >= 0) entry = list_entry(j, p);
        if (sure || is_lined_up(sh, j)) break;
    }
    if (p.unit < 0) {
        dependency_wait();
        dependents_launch();
        if (threadIdx.x == 0) j.left[blockIdx.x] += TOLD_ALL;
        return;
    }
    if (copies)
        copy_units(sh, j, maps, route, p, entry);
    else
        compute_units(sh, j, line, route, p);
}

static int map_make(CUtensorMap *m, const struct kv_cache *c, const void *array, size_t n_elems, int box,
                    int box_regions)
{
    const uint64_t n_rows = n_elems / (size_t)c->head_dim;
    if (has_stripes(*c) && box != BOX_8)
        return cuda_stripe_map(m, array, n_rows, c->head_dim, box_rows(box), box_regions);
    return cuda_box_map(m, array, n_rows, c->head_dim, box_rows(box));
}

static int maps_make(struct decode_maps *m, const struct kv_cache *c, int box_regions)
{
    const size_t n_elems[N_ARRAYS] = { kv_prefix_elems(c), kv_own_elems(c), kv_tail_elems(c) };
    const void *const k[N_ARRAYS] = { c->k_prefix, c->k_own, c->k_tail }, *const v[N_ARRAYS] = { c->v_prefix, c->v_own,
                                                                                                 c->v_tail };
    for (int a = 0; a < N_ARRAYS; a++)
        for (int b = 0; b < N_BOXES && has_maps(*c, a); b++) {
            TRY(map_make(&m->k[a][b], c, k[a], n_elems[a], b, box_regions), "K");
            TRY(map_make(&m->v[a][b], c, v[a], n_elems[a], b, box_regions), "V");
        }
    return 0;
}

/* More than half of what a multiprocessor has: two blocks of threads on one would leave another idle, where the kernel before still holds some. */
static constexpr size_t ALONE_BYTES = 116 << 10;

template <int DIM, int NT> static int decode_launch(struct device *d, const struct decode_job &j)
{
    const size_t needs = sizeof(decode_shared<DIM, NT>) + 1024, n_bytes = needs > ALONE_BYTES ? needs : ALONE_BYTES;
    struct decode_maps maps = {};
    TRY(maps_make(&maps, &j.kv, DIM / REGION_ELEMS), "attend");
    return cuda_launch(d, "attend", decode_kernel<DIM, NT>, dim3((unsigned)j.n_blocks), THREADS, n_bytes, 1, j, maps);
}

template <int DIM> static int decode_columns(struct device *d, const struct decode_job &j)
{
    return j.group <= 8 ? decode_launch<DIM, 1>(d, j) : decode_launch<DIM, 2>(d, j);
}

int cuda_decode(struct device *d, const struct decode_job *j)
{
    return j->kv.head_dim <= 64    ? decode_columns<64>(d, *j)
           : j->kv.head_dim <= 128 ? decode_columns<128>(d, *j)
                                   : decode_columns<256>(d, *j);
}
