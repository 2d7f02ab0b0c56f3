/* kernels/cuda_mass.cu: softmax mass by block of a whole context.
 *
 * The context is cut into pieces of at most ATTEND_CHUNK tokens: as many whole blocks as fit, or a part of one block.  The first
 * kernel takes each piece's greatest score and its sums of e = exp(s - m) by block; the second brings them to one scale. */
#include "kernels/cuda_attend.cuh"

struct mass_job {
    struct block_mass_args a;
    struct kv_cache kv;
    int group, max_pieces;
    float scale;
    double *stale, *part; /* [row][head][piece]: sums relative to the piece's greatest score; part: of a part of a block */
    float *most;
};

struct piece_shape {
    int blocks, parts; /* whole blocks of a piece (at least 1); pieces of a block */
};

__device__ static struct piece_shape shape_of(int block_size)
{
    struct piece_shape s;
    s.blocks = max(ATTEND_CHUNK / block_size, 1);
    s.parts = (block_size + ATTEND_CHUNK - 1) / ATTEND_CHUNK;
    return s;
}

/* Tokens first .. end-1 of a piece. */
__device__ static int2 piece_tokens(const struct piece_shape &s, int block_size, int piece, int n_tokens)
{
    const int block = piece / s.parts * s.blocks;
    const int first = block * block_size + piece % s.parts * ATTEND_CHUNK;
    const int end = s.parts > 1 ? min(first + ATTEND_CHUNK, (block + 1) * block_size) : (block + s.blocks) * block_size;
    return make_int2(first, min(end, n_tokens));
}

/* One column: exponentials in place, sums by block into mass (or part), by one warp. */
template <int DIM, int NT>
__device__ static void piece_sums(attend_shared<DIM, NT> &sh, const struct mass_job &j, const struct mass_row &row, int mass_row_at, int head,
                                  int column, int piece, int2 tokens)
{
    const int lane = threadIdx.x % 32, n = tokens.y - tokens.x;
    const struct piece_shape shape = shape_of(row.block_size);
    float most = -INFINITY;
    for (int i = lane; i < n; i += 32) most = fmaxf(most, sh.s[column][i]);
    for (int o = 16; o > 0; o /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, o));
    double stale = 0;
    for (int i = lane; i < n; i += 32) {
        const float e = expf(sh.s[column][i] - most);
        sh.s[column][i] = e;
        if (tokens.x + i >= row.stale_from && tokens.x + i < row.position) stale += e;
    }
    for (int o = 16; o > 0; o /= 2) stale += __shfl_xor_sync(0xffffffffu, stale, o);
    __syncwarp();
    const size_t at = ((size_t)mass_row_at * j.a.n_heads + head) * j.max_pieces + piece;
    if (lane == 0) {
        j.most[at] = most;
        j.stale[at] = stale;
    }
    double *mass = j.a.mass + ((size_t)row.out_row * j.a.n_heads + head) * j.a.mass_blocks;
    for (int b = lane; b * row.block_size < n; b += 32) {
        double sum = 0;
        for (int i = b * row.block_size; i < min((b + 1) * row.block_size, n); i++) sum += sh.s[column][i];
        if (shape.parts > 1) j.part[at] = sum;
        else mass[tokens.x / row.block_size + b] = sum;
    }
}

/* Grid: pieces, KV heads, rows. */
template <int DIM, int NT> __global__ static void __launch_bounds__(ATTEND_THREADS) mass_kernel(const __grid_constant__ struct mass_job j)
{
    extern __shared__ __align__(16) char memory[];
    attend_shared<DIM, NT> &sh = *(attend_shared<DIM, NT> *)memory;
    const struct mass_row row = j.a.rows[blockIdx.z];
    const int kv_head = blockIdx.y, dim = j.kv.head_dim;
    const int2 tokens = piece_tokens(shape_of(row.block_size), row.block_size, blockIdx.x, row.position + 1);
    if (tokens.x >= tokens.y) return;
    struct token token = { NULL, NULL };
    if ((int)threadIdx.x < tokens.y - tokens.x)
        token = token_of(j.kv, j.a.layer, row.store, row.tail, row.position, kv_head, tokens.x + threadIdx.x);
    if (threadIdx.x < ATTEND_CHUNK) sh.token[threadIdx.x] = token;
    load_queries<DIM, NT>(sh, j.a.qkv, j.a.qkv_stride, &j.a.rows[blockIdx.z].q_row, 0, 1, j.group, kv_head * j.group, dim);
    __syncthreads();
    chunk_scores<DIM, NT>(sh, tokens.y - tokens.x, dim, j.scale);
    __syncthreads();
    for (int column = threadIdx.x / 32; column < j.group; column += ATTEND_THREADS / 32)
        piece_sums<DIM, NT>(sh, j, row, blockIdx.z, kv_head * j.group + column, column, blockIdx.x, tokens);
}

/* One block of threads for each head and row. */
__global__ static void mass_scale_kernel(const __grid_constant__ struct mass_job j)
{
    __shared__ double shared[32];
    const struct mass_row row = j.a.rows[blockIdx.y];
    const struct piece_shape shape = shape_of(row.block_size);
    const int head = blockIdx.x, n_blocks = (row.position + row.block_size) / row.block_size;
    const int n_pieces = shape.parts > 1 ? (n_blocks - 1) * shape.parts + (row.position % row.block_size) / ATTEND_CHUNK + 1
                                         : (n_blocks + shape.blocks - 1) / shape.blocks;
    const size_t at = ((size_t)blockIdx.y * j.a.n_heads + head) * j.max_pieces, out = (size_t)row.out_row * j.a.n_heads + head;
    double *mass = j.a.mass + out * j.a.mass_blocks;
    float most = -INFINITY;
    for (int p = threadIdx.x; p < n_pieces; p += blockDim.x) most = fmaxf(most, j.most[at + p]);
    most = block_max(most, shared);
    double sum = 0, stale = 0;
    for (int b = threadIdx.x; b < n_blocks; b += blockDim.x) {
        double x = 0;
        if (shape.parts > 1)
            for (int p = b * shape.parts; p < min((b + 1) * shape.parts, n_pieces); p++) x += j.part[at + p] * exp((double)j.most[at + p] - most);
        else x = mass[b] * exp((double)j.most[at + b / shape.blocks] - most);
        mass[b] = x;
        sum += x;
    }
    sum = block_sum(sum, shared);
    for (int p = threadIdx.x; p < n_pieces; p += blockDim.x) stale += j.stale[at + p] * exp((double)j.most[at + p] - most);
    stale = block_sum(stale, shared);
    for (int b = threadIdx.x; b < j.a.mass_blocks; b += blockDim.x) mass[b] = b < n_blocks ? mass[b] / sum : 0;
    if (threadIdx.x == 0) j.a.stale[out] = stale / sum;
}

template <int DIM, int NT> static int launch(struct device *d, const struct mass_job &j)
{
    const size_t n_bytes = sizeof(attend_shared<DIM, NT>);
    const dim3 grid((unsigned)j.max_pieces, (unsigned)j.kv.n_kv_heads, (unsigned)j.a.n_rows);
    CUDA_TRY(cudaFuncSetAttribute(mass_kernel<DIM, NT>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)n_bytes), "block mass");
    mass_kernel<DIM, NT><<<grid, ATTEND_THREADS, n_bytes, d->stream>>>(j);
    LAUNCHED("block mass");
    return 0;
}

template <int DIM> static int launch_columns(struct device *d, const struct mass_job &j)
{
    return j.group <= 8 ? launch<DIM, 1>(d, j) : launch<DIM, 2>(d, j);
}

extern "C" int cuda_block_mass(struct device *d, const struct block_mass_args *a)
{
    struct mass_job j = {};
    j.a = *a;
    j.kv = *a->kv;
    j.group = a->n_heads / a->kv->n_kv_heads;
    j.scale = attend_scale_of(a->kv->head_dim);
    /* A piece has more than ATTEND_CHUNK / 2 tokens on average, whatever the block size. */
    j.max_pieces = kv_max_tokens(a->kv) / (ATTEND_CHUNK / 2) + 2;
    const size_t n = (size_t)a->n_rows * (size_t)a->n_heads * (size_t)j.max_pieces;
    TRY(cuda_work_holds(d, n * (2 * sizeof(double) + sizeof(float)), "block_mass"), "block mass");
    j.stale = (double *)d->work;
    j.part = j.stale + n;
    j.most = (float *)(j.part + n);
#define LAUNCH(DIM) launch_columns<DIM>(d, j)
    TRY(ATTEND_DIMS(LAUNCH, a->kv->head_dim), "block mass");
    mass_scale_kernel<<<dim3((unsigned)a->n_heads, (unsigned)a->n_rows), 256, 0, d->stream>>>(j);
    LAUNCHED("block mass");
    return 0;
}
