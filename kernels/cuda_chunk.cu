/* kernels/cuda_chunk.cu: attention of many rows on wgmma: a prefill, rectified windows.
 *
 * A block of threads takes a tile of CHUNK_TILE packed rows (kernels/cuda_chunk.cuh) through its units, two of them side by side as a
 * cluster.  A warp copies K of the units ahead and another V, half of them for both blocks; two warpgroups have 64 packed rows each: while
 * one's products run on the tensor cores, the other turns scores into weights. */
#include "kernels/cuda_chunk_task.cuh"

template <int SLABS>
__global__ static void __launch_bounds__(THREADS, 1)
    chunk_kernel(const __grid_constant__ struct chunk_job j, const __grid_constant__ struct chunk_maps maps)
{
    extern __shared__ __align__(1024) char memory[];
    chunk_shared<SLABS> &sh = *(chunk_shared<SLABS> *)memory;
    if (threadIdx.x == 0) {
        for (int i = 0; i < chunk_shared<SLABS>::STAGES; i++) {
            barrier_open(&sh.k_full[i], 1);
            barrier_open(&sh.v_full[i], 1);
            barrier_open(&sh.k_free[i], 4 * WARPGROUP / 32);
            barrier_open(&sh.v_free[i], 4 * WARPGROUP / 32);
        }
        barrier_open(&sh.cleared, 2 * WARPGROUP / 32);
        barriers_ready();
    }
    cluster_sync();
    /* In this order: what follows reads the plan, and the next plan takes the place of the one before, because all of this kernel have waited. */
    dependency_wait();
    dependents_launch();
    if (threadIdx.x >= 2 * WARPGROUP) {
        registers_give<24>();
        if (threadIdx.x == 2 * WARPGROUP) copier<SLABS>::template go<true>(sh, j, maps);
        if (threadIdx.x == 2 * WARPGROUP + 32) copier<SLABS>::template go<false>(sh, j, maps);
    } else {
        registers_take<240>();
        chunk_task<SLABS> task(sh, j);
        task.go();
    }
    cluster_sync();
}

/* ---- host ---- */
/* Boxes of box_rows tokens and SLAB elements of [runs][tokens][head_dim]; what is past a run's tokens or past head_dim reads as 0. */
static int make_map(encode_function encode, CUtensorMap *m, void *p, const struct kv_cache *c, int tokens, size_t runs,
                    int box_rows)
{
    const cuuint64_t dims[3] = { (cuuint64_t)c->head_dim, (cuuint64_t)tokens, runs };
    const cuuint64_t strides[2] = { (cuuint64_t)c->head_dim * 2, (cuuint64_t)c->head_dim * 2 * (cuuint64_t)tokens };
    const cuuint32_t box[3] = { SLAB, (cuuint32_t)box_rows, 1 }, one[3] = { 1, 1, 1 };
    if (tokens == 0 || runs == 0) return 0;
    const CUresult e =
        encode(m, CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, p, dims, strides, box, one, CU_TENSOR_MAP_INTERLEAVE_NONE,
               CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return e == CUDA_SUCCESS ? 0
                             : fail("cuda: cuTensorMapEncodeTiled: error %d for %d tokens of %d elements", (int)e,
                                    tokens, c->head_dim);
}

static int make_maps(struct chunk_maps *m, const struct kv_cache *c)
{
    encode_function encode = NULL;
    TRY(cuda_find_encode(&encode), "attention");
    const size_t layers = (size_t)c->n_layers * (size_t)c->n_kv_heads, own = layers * (size_t)c->n_stores;
    for (int i = 0; i < 2; i++) {
        const int tokens = (i ? c->own_tiles : c->prefix_tiles) * KV_TILE;
        TRY(make_map(encode, &m->k[i], i ? c->k_own : c->k_prefix, c, tokens, i ? own : layers, HALF), "attention");
        TRY(make_map(encode, &m->v[i], i ? c->v_own : c->v_prefix, c, tokens, i ? own : layers, HALF), "attention");
        TRY(make_map(encode, &m->k_tile[i], i ? c->k_own : c->k_prefix, c, tokens, i ? own : layers, KV_TILE),
            "attention");
        TRY(make_map(encode, &m->v_tile[i], i ? c->v_own : c->v_prefix, c, tokens, i ? own : layers, KV_TILE),
            "attention");
    }
    const size_t tails = (size_t)c->n_tails * (size_t)c->n_kv_heads;
    TRY(make_map(encode, &m->k_tail, c->k_tail, c, KV_TILE, tails, KV_TILE), "attention");
    return make_map(encode, &m->v_tail, c->v_tail, c, KV_TILE, tails, KV_TILE);
}

template <int SLABS> static int launch(struct device *d, const struct chunk_job &j, const struct chunk_maps &m)
{
    TRY(chunk_make_plan(d, &j), "attention");
    TRY(cuda_launch(d, "attention", chunk_kernel<SLABS>, (unsigned)j.n_pairs * 2, THREADS, sizeof(chunk_shared<SLABS>),
                    2, j, m),
        "attention");
    return chunk_merge(d, &j);
}

int cuda_attend_chunk(struct device *d, const struct attend_args *a)
{
    struct chunk_job j = {};
    j.kv = *a->kv;
    j.rows = a->rows;
    j.n_rows = a->n_rows;
    j.n_heads = a->n_heads;
    j.group = a->n_heads / a->kv->n_kv_heads;
    j.layer = a->layer;
    j.qkv = a->qkv;
    j.qkv_stride = a->qkv_stride;
    j.scale2 = attend_scale2_of(a->kv->head_dim);
    j.out = a->out;
    j.n_pairs = d->n_sms / 2;
    const int slabs = a->kv->head_dim <= 64 ? 1 : a->kv->head_dim <= 128 ? 2 : 4;
    const size_t plan = chunk_plan_bytes(a->n_rows);
    const size_t totals = slabs <= 2 ? 0 : (size_t)j.n_pairs * PACK * (size_t)(slabs * SLAB) * sizeof(float);
    TRY(cuda_work_holds(d, totals, "attention"), "attention");
    if (2 * plan > d->chunk_plans_bytes)
        return fail("attention: plans of %d rows need %zu bytes, %zu were reserved", a->n_rows, 2 * plan,
                    d->chunk_plans_bytes);
    j.plan = (struct chunk_plan *)((char *)d->chunk_plans + (d->chunk_plans_turn ? d->chunk_plans_bytes / 2 : 0));
    d->chunk_plans_turn = !d->chunk_plans_turn;
    j.totals = d->work;
    j.nodes = (float *)((char *)d->work + totals);
    j.max_nodes =
        (d->work_bytes - totals) / ((size_t)PACK * (size_t)(node_stride(a->kv->head_dim) + 2) * sizeof(float));
    struct chunk_maps m = {};
    TRY(make_maps(&m, a->kv), "attention");
    return slabs == 1 ? launch<1>(d, j, m) : slabs == 2 ? launch<2>(d, j, m) : launch<4>(d, j, m);
}
