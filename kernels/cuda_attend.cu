/* kernels/cuda_attend.cu: attention, split over the tokens that are read.
 *
 * The tokens that a row reads, in the order of their positions, are cut into chunks of ATTEND_CHUNK.  Of each chunk: scores, their
 * greatest m, e = exp(s - m) rounded to fp16, sum of e, sum of e v; MERGE_GROUP chunks are merged one after the other, and then the
 * groups.  Neither the other rows nor the list enter, only the tokens that are read: a list of all blocks gives the bits of no list.
 *
 * A few rows are split: one block of threads for each chunk, and a second kernel merges.  Many rows (prefill, rectification of many
 * lanes) are bundled: one block of threads takes several rows of a store through all chunks and merges as it goes, by the same steps. */
#include "kernels/cuda_attend.cuh"
#include "kernels/cuda_matrix.cuh"

static constexpr int MERGE_GROUP = 16, MERGE_GROUPS = 8; /* groups that are merged side by side */

struct attend_job {
    struct kv_cache kv;
    const struct attend_row *rows;
    int n_rows, bundle, n_heads, group, layer, qkv_stride;
    const float *qkv;
    bool listed, split;
    struct block_lists lists;
    float scale;
    float *out;
    int max_chunks;
    float *part_most, *part_sum, *part; /* split: [row][head][chunk], the last with [head_dim] */
};

__device__ static int list_of(const struct attend_job &j, const struct attend_row &row, int kv_head)
{
    if (!j.listed || row.list_row < 0) return -1;
    const int list = row.list_row * j.kv.n_kv_heads + kv_head;
    return j.lists.count[list] < 0 ? -1 : list;
}

/* The position of the i-th token that is read. */
__device__ static int position_of(const struct attend_job &j, int list, int block_size, int i)
{
    return list < 0 ? i : j.lists.blocks[(size_t)list * j.lists.max_blocks + i / block_size] * block_size + i % block_size;
}

/* What a merge multiplies the sums so far and the chunk's with.  Before the first chunk there is nothing, 0 x exp(-inf). */
__device__ static float2 merge_factors(float run_most, float most)
{
    const float both = fmaxf(run_most, most);
    return make_float2(expf(run_most - both), expf(most - both));
}

__device__ static float merge(float run, float chunk, float2 f)
{
    return __fmaf_rn(run, f.x, __fmul_rn(chunk, f.y));
}

/* Exponentials of the chunk's scores in fp16, their greatest score and their sum: a warp for each column in turn. */
template <int DIM, int NT> __device__ static void chunk_softmax(attend_shared<DIM, NT> &sh, int first, int n_tokens)
{
    const int lane = threadIdx.x % 32;
    for (int column = threadIdx.x / 32; column < NT * 8; column += ATTEND_THREADS / 32) {
        const int n = min(n_tokens, sh.limit[column] - first);
        float s[ATTEND_CHUNK / 32], most = -INFINITY, sum = 0;
#pragma unroll
        for (int i = 0; i < ATTEND_CHUNK / 32; i++) {
            s[i] = lane + 32 * i < n ? sh.s[column][lane + 32 * i] : -INFINITY;
            most = fmaxf(most, s[i]);
        }
        for (int o = 16; o > 0; o /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, o));
        __syncwarp();
        __half *e = (__half *)sh.s[column];
#pragma unroll
        for (int i = 0; i < ATTEND_CHUNK / 32; i++) {
            const __half h = __float2half_rn(lane + 32 * i < n ? expf(s[i] - most) : 0.0f);
            e[lane + 32 * i] = h;
            sum += __half2float(h);
        }
        for (int o = 16; o > 0; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
        if (lane == 0) {
            sh.most[column] = most;
            sh.sum[column] = sum;
        }
    }
}

/* Sums of e v: a warp has 16 elements of head_dim of all columns. */
template <int DIM, int NT> __device__ static void chunk_values(const attend_shared<DIM, NT> &sh, int n_tokens, int d0, float c[NT][4])
{
    const int lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int k = 0; k < n_tokens; k += 16) {
        uint32_t a[4];
        const unsigned at = (unsigned)__cvta_generic_to_shared(&sh.v[k + lane / 16 * 8 + lane % 8][d0 + lane / 8 % 2 * 8]);
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
                     : "r"(at));
#pragma unroll
        for (int n = 0; n < NT; n++) {
            const uint32_t *e = (const uint32_t *)sh.s[n * 8 + g] + k / 2 + t;
            mma(c[n], a[0], a[1], a[2], a[3], e[0], e[4]);
        }
    }
}

/* Rows first .. end-1, which read the same store from its beginning (or one row of any kind), chunks from .. to-1. */
template <int DIM, int NT> struct attend_task {
    static constexpr int TILES = (DIM / 16 + 7) / 8; /* tiles of 16 elements that a warp has */
    float run[TILES][NT][4], total[TILES][NT][4];    /* of the group in work; of the groups before it */

    __device__ static void find_tokens(attend_shared<DIM, NT> &sh, const struct attend_job &j, const struct attend_row &row, int kv_head,
                                       int list, int first, int n_tokens)
    {
        struct token t = { NULL, NULL };
        if ((int)threadIdx.x < n_tokens)
            t = token_of(j.kv, j.layer, row.store, row.tail, row.position, kv_head, position_of(j, list, row.block_size, first + threadIdx.x));
        if (threadIdx.x < ATTEND_CHUNK) sh.token[threadIdx.x] = t;
    }

    __device__ static void load_values(attend_shared<DIM, NT> &sh, int n_tokens, int dim)
    {
        const int pieces = dim / 8, n = (n_tokens + 15) / 16 * 16 * pieces;
        for (int i = threadIdx.x; i < n; i += ATTEND_THREADS) {
            const int p = i / pieces, piece = i % pieces;
            __half *to = &sh.v[p][piece * 8];
            if (sh.token[p].v) copy_async(to, sh.token[p].v + piece * 8);
            else *(uint4 *)to = make_uint4(0, 0, 0, 0);
        }
        copy_commit();
    }

    __device__ void add_chunk(attend_shared<DIM, NT> &sh, const struct attend_job &j, int chunk_row, int kv_head, int chunk, int first, int n_tokens)
    {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
#pragma unroll
        for (int m = 0; m < TILES; m++) {
            const int d0 = (warp + 8 * m) * 16;
            if (d0 >= dim) break;
            float c[NT][4] = {};
            chunk_values<DIM, NT>(sh, n_tokens, d0, c);
#pragma unroll
            for (int i = 0; i < NT * 4; i++) {
                const int column = i / 4 * 8 + 2 * t + i % 2, d = d0 + g + i % 4 / 2 * 8;
                if (j.split) {
                    const int row = chunk_row + column / j.group, head = kv_head * j.group + column % j.group;
                    if (sh.limit[column] > first)
                        j.part[(((size_t)row * j.n_heads + head) * j.max_chunks + chunk) * dim + d] = c[i / 4][i % 4];
                } else if (sh.sum[column] != 0) {
                    run[m][i / 4][i % 4] = merge(run[m][i / 4][i % 4], c[i / 4][i % 4], merge_factors(sh.run_most[column], sh.most[column]));
                }
            }
        }
    }

    __device__ static void add_sums(attend_shared<DIM, NT> &sh, const struct attend_job &j, int chunk_row, int kv_head, int chunk, int first)
    {
        const int column = threadIdx.x;
        if (column >= NT * 8 || sh.limit[column] <= first) return;
        if (j.split) {
            const int row = chunk_row + column / j.group, head = kv_head * j.group + column % j.group;
            const size_t at = ((size_t)row * j.n_heads + head) * j.max_chunks + chunk;
            j.part_most[at] = sh.most[column];
            j.part_sum[at] = sh.sum[column];
        } else if (sh.sum[column] != 0) {
            sh.run_sum[column] = merge(sh.run_sum[column], sh.sum[column], merge_factors(sh.run_most[column], sh.most[column]));
            sh.run_most[column] = fmaxf(sh.run_most[column], sh.most[column]);
        }
    }

    /* The group in work joins the others, and a new one begins. */
    __device__ void end_group(attend_shared<DIM, NT> &sh)
    {
        const int t = threadIdx.x % 4;
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int i = 0; i < NT * 4; i++) {
                const int column = i / 4 * 8 + 2 * t + i % 2;
                if (sh.run_sum[column] != 0)
                    total[m][i / 4][i % 4] = merge(total[m][i / 4][i % 4], run[m][i / 4][i % 4], merge_factors(sh.total_most[column], sh.run_most[column]));
                run[m][i / 4][i % 4] = 0;
            }
        __syncthreads();
        const int column = threadIdx.x;
        if (column < NT * 8 && sh.run_sum[column] != 0) {
            sh.total_sum[column] = merge(sh.total_sum[column], sh.run_sum[column], merge_factors(sh.total_most[column], sh.run_most[column]));
            sh.total_most[column] = fmaxf(sh.total_most[column], sh.run_most[column]);
            sh.run_sum[column] = 0;
            sh.run_most[column] = -INFINITY;
        }
        __syncthreads();
    }

    __device__ void write(const attend_shared<DIM, NT> &sh, const struct attend_job &j, int first_row, int kv_head)
    {
        const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, dim = j.kv.head_dim;
#pragma unroll
        for (int m = 0; m < TILES; m++)
#pragma unroll
            for (int i = 0; i < NT * 4; i++) {
                const int column = i / 4 * 8 + 2 * t + i % 2, d = (warp + 8 * m) * 16 + g + i % 4 / 2 * 8;
                if (sh.limit[column] == 0 || d >= dim) continue;
                const int head = kv_head * j.group + column % j.group;
                j.out[((size_t)j.rows[first_row + column / j.group].out_row * j.n_heads + head) * dim + d] =
                    __fdiv_rn(total[m][i / 4][i % 4], sh.total_sum[column]);
            }
    }

    __device__ void go(attend_shared<DIM, NT> &sh, const struct attend_job &j, int first_row, int end_row, int kv_head)
    {
        const struct attend_row row = j.rows[first_row];
        const int list = list_of(j, row, kv_head), dim = j.kv.head_dim;
        int most = 0; /* tokens that any column reads */
        for (int r = first_row; r < end_row; r++)
            most = max(most, list < 0 ? j.rows[r].position + 1 : j.lists.tokens[list]);
        int chunk = j.split ? blockIdx.x : 0;
        const int end = j.split ? chunk + 1 : (most + ATTEND_CHUNK - 1) / ATTEND_CHUNK;
        if (chunk * ATTEND_CHUNK >= most) return;
        if (threadIdx.x < NT * 8) {
            const int r = first_row + threadIdx.x / j.group;
            sh.limit[threadIdx.x] = r >= end_row ? 0 : list < 0 ? j.rows[r].position + 1 : most;
            sh.run_most[threadIdx.x] = sh.total_most[threadIdx.x] = -INFINITY;
            sh.run_sum[threadIdx.x] = sh.total_sum[threadIdx.x] = 0;
        }
        load_queries<DIM, NT>(sh, j.qkv, j.qkv_stride, &j.rows[first_row].q_row, sizeof(struct attend_row) / sizeof(int32_t), end_row - first_row,
                              j.group, kv_head * j.group, dim);
#pragma unroll
        for (int i = 0; i < TILES * NT * 4; i++) run[i / (NT * 4)][i / 4 % NT][i % 4] = total[i / (NT * 4)][i / 4 % NT][i % 4] = 0;
        for (; chunk < end; chunk++) {
            const int first = chunk * ATTEND_CHUNK, n = min(ATTEND_CHUNK, most - first);
            find_tokens(sh, j, row, kv_head, list, first, n);
            __syncthreads();
            load_values(sh, n, dim);
            chunk_scores<DIM, NT>(sh, n, dim, j.scale);
            __syncthreads();
            chunk_softmax<DIM, NT>(sh, first, n);
            copy_wait<0>();
            __syncthreads();
            add_chunk(sh, j, first_row, kv_head, chunk, first, n);
            __syncthreads();
            add_sums(sh, j, first_row, kv_head, chunk, first);
            __syncthreads();
            if (!j.split && ((chunk + 1) % MERGE_GROUP == 0 || chunk + 1 == end)) end_group(sh);
        }
        if (!j.split) write(sh, j, first_row, kv_head);
    }
};

__device__ static bool may_share(const struct attend_job &j, const struct attend_row &a, const struct attend_row &b, int kv_head)
{
    return a.store == b.store && a.tail == NO_TAIL && b.tail == NO_TAIL && list_of(j, a, kv_head) < 0 && list_of(j, b, kv_head) < 0;
}

/* Grid: chunks (1 where rows are not split), KV heads, bundles of rows. */
template <int DIM, int NT> __global__ static void __launch_bounds__(ATTEND_THREADS) attend_kernel(const __grid_constant__ struct attend_job j)
{
    extern __shared__ __align__(16) char memory[];
    attend_shared<DIM, NT> &sh = *(attend_shared<DIM, NT> *)memory;
    const int end = min((int)(blockIdx.z + 1) * j.bundle, j.n_rows), kv_head = blockIdx.y;
    for (int first = blockIdx.z * j.bundle, next; first < end; first = next) {
        next = first + 1;
        while (next < end && may_share(j, j.rows[first], j.rows[next], kv_head)) next++;
        attend_task<DIM, NT> task;
        task.go(sh, j, first, next, kv_head);
        __syncthreads();
    }
}

/* One block of threads for each head and row: a thread for each element and group. */
__global__ static void __launch_bounds__(1024) merge_kernel(const __grid_constant__ struct attend_job j)
{
    __shared__ float most[MERGE_GROUPS], sum[MERGE_GROUPS], run[MERGE_GROUPS][256];
    const int head = blockIdx.x, d = threadIdx.x, g = threadIdx.y, dim = j.kv.head_dim;
    const struct attend_row row = j.rows[blockIdx.y];
    const int list = list_of(j, row, head / j.group), n = list < 0 ? row.position + 1 : j.lists.tokens[list];
    const int n_chunks = (n + ATTEND_CHUNK - 1) / ATTEND_CHUNK, n_groups = (n_chunks + MERGE_GROUP - 1) / MERGE_GROUP;
    const size_t at = ((size_t)blockIdx.y * j.n_heads + head) * j.max_chunks;
    float total_most = -INFINITY, total_sum = 0, total = 0;
    for (int base = 0; base < n_groups; base += blockDim.y) {
        const int first = (base + g) * MERGE_GROUP, here = min(MERGE_GROUP, n_chunks - first);
        float m = -INFINITY, s = 0, r = 0, ms[MERGE_GROUP], ss[MERGE_GROUP], rs[MERGE_GROUP];
#pragma unroll
        for (int i = 0; i < MERGE_GROUP; i++) {
            const size_t c = at + min(first + i, n_chunks - 1);
            ms[i] = j.part_most[c];
            ss[i] = j.part_sum[c];
            rs[i] = j.part[c * dim + d];
        }
#pragma unroll
        for (int i = 0; i < MERGE_GROUP; i++) {
            if (i >= here) break;
            const float2 f = merge_factors(m, ms[i]);
            s = merge(s, ss[i], f);
            r = merge(r, rs[i], f);
            m = fmaxf(m, ms[i]);
        }
        run[g][d] = r;
        if (d == 0) {
            most[g] = m;
            sum[g] = s;
        }
        __syncthreads();
        for (int i = 0; g == 0 && i < min((int)blockDim.y, n_groups - base); i++) {
            const float2 f = merge_factors(total_most, most[i]);
            total_sum = merge(total_sum, sum[i], f);
            total = merge(total, run[i][d], f);
            total_most = fmaxf(total_most, most[i]);
        }
        __syncthreads();
    }
    if (g == 0) j.out[((size_t)row.out_row * j.n_heads + head) * dim + d] = __fdiv_rn(total, total_sum);
}

template <int DIM, int NT> static int launch(struct device *d, const struct attend_job &j)
{
    const size_t n_bytes = sizeof(attend_shared<DIM, NT>);
    const dim3 grid(j.split ? (unsigned)j.max_chunks : 1, (unsigned)j.kv.n_kv_heads, (unsigned)ceil_div(j.n_rows, j.bundle));
    CUDA_TRY(cudaFuncSetAttribute(attend_kernel<DIM, NT>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)n_bytes), "attend");
    attend_kernel<DIM, NT><<<grid, ATTEND_THREADS, n_bytes, d->stream>>>(j);
    LAUNCHED("attend");
    return 0;
}

template <int DIM> static int launch_columns(struct device *d, const struct attend_job &j)
{
    const int columns = j.bundle * j.group;
    return columns <= 8 ? launch<DIM, 1>(d, j) : columns <= 16 ? launch<DIM, 2>(d, j) : launch<DIM, 4>(d, j);
}

static int attend_rows(struct device *d, const struct attend_args *a)
{
    struct attend_job j = {};
    j.kv = *a->kv;
    j.rows = a->rows;
    j.n_rows = a->n_rows;
    j.n_heads = a->n_heads;
    j.group = a->n_heads / a->kv->n_kv_heads;
    j.layer = a->layer;
    j.qkv = a->qkv;
    j.qkv_stride = a->qkv_stride;
    j.listed = a->lists != NULL;
    if (a->lists) j.lists = *a->lists;
    j.scale = attend_scale_of(a->kv->head_dim);
    j.out = a->out;
    j.max_chunks = ceil_div(kv_max_tokens(a->kv), ATTEND_CHUNK);
    const size_t n = (size_t)a->n_rows * (size_t)a->n_heads * (size_t)j.max_chunks;
    j.split = a->n_rows <= MAX_SPLIT_ROWS && n * (size_t)(a->kv->head_dim + 2) * sizeof(float) <= d->work_bytes;
    /* Rows with lists of their own, and the lanes of a step, have nothing to share. */
    j.bundle = a->lists || a->n_rows < 16 || j.group > 16 ? 1 : 32 / j.group;
    j.part_most = d->work;
    j.part_sum = d->work + n;
    j.part = d->work + 2 * n;
#define LAUNCH(DIM) launch_columns<DIM>(d, j)
    TRY(ATTEND_DIMS(LAUNCH, a->kv->head_dim), "attention");
    if (!j.split) return 0;
    const dim3 threads((unsigned)a->kv->head_dim, MERGE_GROUPS / (a->kv->head_dim > 128 ? 2 : 1));
    merge_kernel<<<dim3((unsigned)a->n_heads, (unsigned)a->n_rows), threads, 0, d->stream>>>(j);
    LAUNCHED("attend");
    return 0;
}

extern "C" int cuda_attend(struct device *d, const struct attend_args *a)
{
    TRY(attend_rows(d, a), "attention");
    return a->operand ? cuda_operand_of(d, a->n_rows, a->n_heads * a->kv->head_dim, a->out, a->operand, false) : 0;
}
