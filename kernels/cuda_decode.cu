/* kernels/cuda_decode.cu: one warp copies the tokens of unit after unit into a ring of tiles in shared memory, eight others compute.
 *
 * A tile is the K or the V of a unit.  For the scores each computing warp has 16 tokens, as the rows of an mma whose columns are the group's
 * query heads; for the weighted sums 16 elements of head_dim.  So every state is spread over all of them. */
#include "kernels/cuda_decode_copy.cuh"
#include "kernels/cuda_decode_state.cuh"

template <int DIM, int NT> struct queries {
    uint32_t b[DIM / 16][NT][2];

    __device__ void load(const struct decode_job &j, const struct place &p)
    {
        const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
        const float *q = j.qkv + (size_t)p.row.q_row * j.qkv_stride + (size_t)(p.kv_head * j.group) * dim;
#pragma unroll
        for (int k = 0; k < DIM / 16; k++)
#pragma unroll
            for (int i = 0; i < NT * 2; i++) {
                const int head = i / 2 * 8 + g, d = k * 16 + i % 2 * 8 + 2 * t;
                const float2 x = head < j.group && d < dim ? *(const float2 *)(q + head * dim + d) : make_float2(0, 0);
                const __half2 h = __floats2half2_rn(x.x, x.y);
                b[k][i / 2][i % 2] = *(const uint32_t *)&h;
            }
    }
};

__device__ static void load_matrix(uint32_t a[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]) : "r"(shared_address(p)));
}

__device__ static void load_transposed(uint32_t a[4], const void *p)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                 : "r"(shared_address(p)));
}

/* Scores of the warp's 16 tokens, -inf past n. */
template <int DIM, int NT> __device__ static void unit_scores(const char *k, const queries<DIM, NT> &q, int n, float s[NT][4])
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int i = 0; i < NT * 4; i++) s[i / 4][i % 4] = 0;
    uint32_t a[DIM / 16][4];
#pragma unroll
    for (int step = 0; step < DIM / 16; step++) load_matrix(a[step], k + tile_at(UNIT, warp * 16 + lane % 16, step * 2 + lane / 16));
#pragma unroll
    for (int step = 0; step < DIM / 16; step++)
#pragma unroll
        for (int i = 0; i < NT; i++) mma(s[i], a[step][0], a[step][1], a[step][2], a[step][3], q.b[step][i][0], q.b[step][i][1]);
    const int row = warp * 16 + lane / 4;
    if (n >= UNIT) return;
#pragma unroll
    for (int i = 0; i < NT * 4; i++)
        if (row + i % 4 / 2 * 8 >= n) s[i / 4][i % 4] = -INFINITY;
}

/* The unit's greatest scores, then its weights in sh.e and sh.p. */
template <int DIM, int NT> __device__ static void unit_weights(decode_shared<DIM, NT> &sh, float s[NT][4], float scale2, state<DIM, NT> &y)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 2 * NT; i++) {
        float most = fmaxf(s[i / 2][i % 2], s[i / 2][i % 2 + 2]);
        for (int o = 4; o < 32; o *= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, o));
        if (g == 0) sh.most[i / 2 * 8 + 2 * t + i % 2][warp] = most;
    }
    warps_meet();
#pragma unroll
    for (int i = 0; i < NT; i++) {
        float bias[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            const float4 low = *(const float4 *)&sh.most[i * 8 + 2 * t + c][0], high = *(const float4 *)&sh.most[i * 8 + 2 * t + c][4];
            y.most[2 * i + c] = fmaxf(fmaxf(fmaxf(low.x, low.y), fmaxf(low.z, low.w)), fmaxf(fmaxf(high.x, high.y), fmaxf(high.z, high.w)));
            bias[c] = attend_bias(y.most[2 * i + c], scale2);
        }
        const float even = __shfl_sync(0xffffffffu, y.most[2 * i], warp / 2), odd = __shfl_sync(0xffffffffu, y.most[2 * i + 1], warp / 2);
        y.l_most[i] = warp % 2 ? odd : even;
#pragma unroll
        for (int c = 0; c < 4; c++) {
            const int head = i * 8 + 2 * t + c % 2, token = warp * 16 + g + c / 2 * 8;
            const float e = attend_weight(s[i][c], scale2, bias[c % 2]);
            sh.e[head][token] = e;
            sh.p[head][token] = __float2half_rn(e);
        }
    }
    warps_meet();
}

/* The sum of the weights of head 8 n + warp, in the order that cuda_fold.cuh states. */
template <int DIM, int NT> __device__ static void unit_sums(const decode_shared<DIM, NT> &sh, state<DIM, NT> &y)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (int n = 0; n < NT; n++) {
        const float *e = sh.e[n * 8 + warp] + lane;
        float sum = __fadd_rn(__fadd_rn(e[0], e[32]), __fadd_rn(e[64], e[96]));
        static constexpr int order[] = { 8, 16, 1, 2, 4 };
#pragma unroll
        for (int i = 0; i < 5; i++) sum = __fadd_rn(sum, __shfl_xor_sync(0xffffffffu, sum, order[i]));
        y.l[n] = sum;
    }
}

/* Zeros in the rows of V past n. */
template <int DIM> __device__ static void clear_past(char *v, int n)
{
    for (int i = threadIdx.x; i < (UNIT - n) * (DIM / 8); i += WARPS * 32)
        *(uint4 *)(v + tile_at(UNIT, n + i / (DIM / 8), i % (DIM / 8))) = make_uint4(0, 0, 0, 0);
    copies_follow();
    warps_meet();
}

/* V as the left operands of the mma's of elements d0 .. d0 + 15. */
__device__ static void load_values(const char *v, int d0, uint32_t a[UNIT / 16][4])
{
    const int lane = threadIdx.x % 32;
    const char *from = v + tile_at(UNIT, lane / 16 * 8 + lane % 8, d0 / 8 + lane / 8 % 2);
#pragma unroll
    for (int step = 0; step < UNIT / 16; step++) load_transposed(a[step], from + step * 16 * REGION_ROW_BYTES);
}

/* a: of the first elements of the warp, loaded before. */
template <int DIM, int NT>
__device__ static void unit_values(const decode_shared<DIM, NT> &sh, const char *v, uint32_t a[UNIT / 16][4], state<DIM, NT> &y)
{
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int m = 0; m < state<DIM, NT>::M_TILES; m++) {
        if (m > 0) load_values(v, (warp + WARPS * m) * 16, a);
#pragma unroll
        for (int i = 0; i < NT; i++) {
            const uint32_t *from = (const uint32_t *)sh.p[i * 8 + g] + t;
            uint32_t p[UNIT / 8];
#pragma unroll
            for (int step = 0; step < UNIT / 8; step++) p[step] = from[step * 4];
            y.o[m][i][0] = y.o[m][i][1] = y.o[m][i][2] = y.o[m][i][3] = 0;
#pragma unroll
            for (int step = 0; step < UNIT / 16; step++)
                mma(y.o[m][i], a[step][0], a[step][1], a[step][2], a[step][3], p[2 * step], p[2 * step + 1]);
        }
    }
}

/* A unit's scores, weights and sums; releases its tiles. */
template <int DIM, int NT>
__device__ static void unit_compute(decode_shared<DIM, NT> &sh, const queries<DIM, NT> &q, int n, float scale2, struct ring_place &at, state<DIM, NT> &y)
{
    typedef decode_shared<DIM, NT> S;
    constexpr bool HELD = state<DIM, NT>::M_TILES == 1; /* all of V that the warp needs is in registers before it computes */
    const bool has_values = DIM / 16 >= WARPS || threadIdx.x / 32 < DIM / 16;
    float s[NT][4];
    uint32_t a[UNIT / 16][4];
    barrier_wait(&sh.full[at.tile], at.round % 2);
    unit_scores<DIM, NT>(sh.ring[at.tile], q, n, s);
    ring_release<S>(sh, at);
    char *v = sh.ring[at.tile];
    barrier_wait(&sh.full[at.tile], at.round % 2);
    if (n < UNIT) clear_past<DIM>(v, n);
    if (has_values) load_values(v, (int)threadIdx.x / 32 * 16, a);
    if (HELD) ring_release<S>(sh, at);
    unit_weights(sh, s, scale2, y);
    if (has_values) unit_values(sh, v, a, y);
    if (!HELD) ring_release<S>(sh, at);
    unit_sums(sh, y);
}

__device__ static float *pair_out(const struct decode_job &j, const struct place &p)
{
    return j.out + ((size_t)j.rows[p.pair / j.kv.n_kv_heads].out_row * j.n_heads + p.kv_head * j.group) * j.kv.head_dim;
}

/* Units first .. end-1 of the line. */
template <int DIM, int NT> struct decode_work {
    state<DIM, NT> y, group, segment, total;
    bool group_open, segment_open, pair_open; /* begun by this block of threads */

    __device__ void segment_ready(const struct decode_job &j, const struct place &p)
    {
        if (pair_open) {
            total.add(segment, j.scale2);
            segment.any = false;
        } else {
            segment.leave(j, segment_slot(j, p.unit - p.x % SEGMENT_UNITS, p.pair));
        }
    }

    __device__ void group_ready(const struct decode_job &j, const struct place &p, int first)
    {
        if (segment_open) {
            segment.add(group, j.scale2);
            group.any = false;
        } else {
            group.leave(j, (int)blockIdx.x * LOOSE_SLOTS + LOOSE_UNITS + (p.unit - p.x % FOLD_UNITS - first) / FOLD_UNITS);
        }
    }

    /* After unit p. */
    __device__ void fold(decode_shared<DIM, NT> &sh, const struct decode_job &j, const struct place &p, int first)
    {
        const bool pair_ends = p.unit + 1 == sh.base[p.pair + 1];
        const bool segment_ends = pair_ends || (p.x + 1) % SEGMENT_UNITS == 0, group_ends = segment_ends || (p.x + 1) % FOLD_UNITS == 0;
        if (group_open) group.add(y, j.scale2);
        else y.leave(j, (int)blockIdx.x * LOOSE_SLOTS + p.unit - first);
        if (!group_ends) return;
        if (group_open) group_ready(j, p, first);
        else tell(j, LEFT_UNITS);
        if (segment_ends && segment_open) segment_ready(j, p);
        if (pair_ends && pair_open) total.write(j, pair_out(j, p), sh.sum);
        group_open = true;
        segment_open = segment_open || segment_ends;
        pair_open = pair_open || pair_ends;
    }

    /* p: the last unit, whose pair goes on elsewhere, or began there.  What began here is completed here. */
    __device__ void finish(decode_shared<DIM, NT> &sh, const struct decode_job &j, const struct place &p, int first, int n_blocks, int n_units)
    {
        const int end = p.unit + 1, pair_end = sh.base[p.pair + 1];
        const int segment_first = p.unit - p.x % SEGMENT_UNITS, segment_end = min(segment_first + SEGMENT_UNITS, pair_end);
        const int group_end = min(p.unit - p.x % FOLD_UNITS + FOLD_UNITS, segment_end);
        const struct follower next = { (int)blockIdx.x, first, end, n_blocks, n_units };
        if (end < group_end) {
            if (!group_open) tell(j, LEFT_UNITS);
            else {
                add_others(group, j, next, end, group_end, 1, LEFT_UNITS, [](const struct follower &f, int unit) { return f.block * LOOSE_SLOTS + unit - f.start; });
                group_ready(j, p, first);
            }
        }
        if (end < segment_end && segment_open) {
            tell(j, LEFT_GROUPS);
            add_others(segment, j, next, group_end, segment_end, FOLD_UNITS, LEFT_GROUPS,
                       [](const struct follower &f, int unit) { return f.block * LOOSE_SLOTS + LOOSE_UNITS + (unit - f.start) / FOLD_UNITS; });
            segment_ready(j, p);
        }
        tell(j, LEFT_SEGMENTS);
        if (end < pair_end && pair_open) {
            const int pair = p.pair;
            add_others(total, j, next, segment_end, pair_end, SEGMENT_UNITS, LEFT_SEGMENTS, [&](const struct follower &, int unit) { return segment_slot(j, unit, pair); });
            total.write(j, pair_out(j, p), sh.sum);
        }
    }
};

template <int DIM, int NT> __device__ static void compute_units(decode_shared<DIM, NT> &sh, const struct decode_job &j, int n_blocks, int n_units, int first, int end)
{
    struct place p = place_of(sh, j, first);
    queries<DIM, NT> q;
    q.load(j, p);
    decode_work<DIM, NT> w;
    w.group.any = w.segment.any = w.total.any = false;
    w.group_open = p.x % FOLD_UNITS == 0, w.segment_open = p.x % SEGMENT_UNITS == 0, w.pair_open = p.x == 0;
    struct ring_place at = { 0, 0 };
    for (;;) {
        unit_compute(sh, q, min(UNIT, p.n_tokens - p.x * UNIT), j.scale2, at, w.y);
        w.fold(sh, j, p, first);
        if (p.unit + 1 == end) break;
        if (place_next(p, sh, j, end)) q.load(j, p);
    }
    w.finish(sh, j, p, first, n_blocks, n_units);
    /* The last to be done clears what all have told. */
    if (threadIdx.x >= 32) return;
    int done = 0;
    if (threadIdx.x == 0) {
        __threadfence(); /* after what it has told */
        done = atomicAdd(&j.left[n_blocks], 1);
    }
    if (__shfl_sync(0xffffffffu, done, 0) != n_blocks - 1) return;
    for (int i = threadIdx.x; i <= n_blocks; i += 32) j.left[i] = 0;
}

/* ---- both ---- */

template <int DIM, int NT> __device__ static void line_up(decode_shared<DIM, NT> &sh, const struct decode_job &j)
{
    const int n_pairs = j.n_rows * j.kv.n_kv_heads;
    for (int i = threadIdx.x; i < n_pairs; i += THREADS) {
        const struct attend_row &row = j.rows[i / j.kv.n_kv_heads];
        const int list = list_of(j, row, i % j.kv.n_kv_heads), n = list < 0 ? row.position + 1 : j.lists.tokens[list];
        sh.base[i + 1] = (n + UNIT - 1) / UNIT;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        int before = 0;
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

template <int DIM, int NT>
__global__ static void __launch_bounds__(THREADS) decode_kernel(const __grid_constant__ struct decode_job j, const __grid_constant__ struct decode_maps maps)
{
    extern __shared__ char memory[];
    decode_shared<DIM, NT> &sh = *(decode_shared<DIM, NT> *)(memory + (1024 - shared_address(memory) % 1024) % 1024);
    if (threadIdx.x == 0) {
        for (int i = 0; i < decode_shared<DIM, NT>::TILES; i++) {
            barrier_open(&sh.full[i], 1);
            barrier_open(&sh.empty[i], WARPS);
        }
        barriers_ready();
    }
    if (threadIdx.x < N_ARRAYS * N_BOXES && has_maps(j.kv, threadIdx.x / N_BOXES)) {
        box_prefetch(&maps.k[0][0] + threadIdx.x);
        box_prefetch(&maps.v[0][0] + threadIdx.x);
    }
    dependency_wait();
    dependents_launch();
    line_up(sh, j);
    const int n_units = sh.base[j.n_rows * j.kv.n_kv_heads], n_blocks = min(j.n_blocks, n_units);
    if ((int)blockIdx.x >= n_blocks) return;
    const int first = unit_start(blockIdx.x, n_blocks, n_units), end = unit_start(blockIdx.x + 1, n_blocks, n_units);
    if (threadIdx.x >= WARPS * 32) {
        copy_units(sh, j, maps, first, end);
        return;
    }
    compute_units(sh, j, n_blocks, n_units, first, end);
}

static int maps_make(struct decode_maps *m, const struct kv_cache *c)
{
    const uint64_t rows[N_ARRAYS] = { kv_prefix_elems(c) / (size_t)c->head_dim, kv_own_elems(c) / (size_t)c->head_dim, kv_tail_elems(c) / (size_t)c->head_dim };
    const void *const k[N_ARRAYS] = { c->k_prefix, c->k_own, c->k_tail }, *const v[N_ARRAYS] = { c->v_prefix, c->v_own, c->v_tail };
    for (int a = 0; a < N_ARRAYS; a++)
        for (int b = 0; b < N_BOXES && has_maps(*c, a); b++) {
            TRY(cuda_box_map(&m->k[a][b], k[a], rows[a], c->head_dim, box_rows(b)), "K");
            TRY(cuda_box_map(&m->v[a][b], v[a], rows[a], c->head_dim, box_rows(b)), "V");
        }
    return 0;
}

template <int DIM, int NT> static int decode_launch(struct device *d, const struct decode_job &j)
{
    const size_t n_bytes = sizeof(decode_shared<DIM, NT>) + 1024;
    struct decode_maps maps = {};
    TRY(maps_make(&maps, &j.kv), "attend");
    return cuda_launch(d, "attend", decode_kernel<DIM, NT>, dim3((unsigned)j.n_blocks), THREADS, n_bytes, 1, j, maps);
}

template <int DIM> static int decode_columns(struct device *d, const struct decode_job &j)
{
    return j.group <= 8 ? decode_launch<DIM, 1>(d, j) : decode_launch<DIM, 2>(d, j);
}

int cuda_decode(struct device *d, const struct decode_job *j)
{
    return j->kv.head_dim <= 64 ? decode_columns<64>(d, *j) : j->kv.head_dim <= 128 ? decode_columns<128>(d, *j) : decode_columns<256>(d, *j);
}
