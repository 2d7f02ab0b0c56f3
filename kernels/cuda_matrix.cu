/* kernels/cuda_matrix.cu: weights in fp16, rows of them, and products.
 *
 * Every element of a product is 8 sums over 8 segments of k, added in order; a segment's sum is a chain of mma over 32 values of k at
 * a time.  The segments depend on the matrix alone, so both kernels give the same bits: the one for few rows, whose 8 warps take one
 * segment each and stream the weights once, and the one for many rows, which goes through the segments in turn on tiles of 128 x 128. */
#include "kernels/cuda_device.cuh"

#include <cmath>

static constexpr int N_SEGMENTS = 8, FEW_ROWS = 64;

/* Rows of the checkpoint that are decoded and sent at a time, in floats. */
static constexpr size_t PACK_FLOATS = 1 << 22;

static int padded(int n_in)
{
    return ceil_div(n_in, 64) * 64;
}

static size_t matrix_elems(const struct tensor *const *parts, int n_parts)
{
    size_t n_out = 0;
    for (int i = 0; i < n_parts; i++) n_out += (size_t)parts[i]->n_rows;
    return (n_out + 15) / 16 * 16 * (size_t)padded(parts[0]->n_cols);
}

extern "C" size_t cuda_matrix_bytes(const struct tensor *const *parts, int n_parts)
{
    return matrix_elems(parts, n_parts) * sizeof(__half);
}

__global__ static void pack_kernel(const float *x, int n_rows, int n_in, int k_pad, __half *w, int *overflow)
{
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (size_t)n_rows * (size_t)n_in; i += (size_t)gridDim.x * blockDim.x) {
        const __half h = __float2half_rn(x[i]);
        if (__hisinf(h) && !isinf(x[i])) *overflow = 1;
        w[i / (size_t)n_in * (size_t)k_pad + i % (size_t)n_in] = h;
    }
}

/* What packing needs for itself. */
struct packing {
    float *host, *rows; /* host and device, PACK_FLOATS or one row */
    int *overflow;      /* device */
};

static int pack_part(struct device *d, struct matrix *m, const struct tensor *t, int first, const struct packing *p)
{
    const size_t n_in = (size_t)t->n_cols, most = n_in > PACK_FLOATS ? 1 : PACK_FLOATS / n_in;
    for (int row = 0; row < t->n_rows;) {
        const int n = (size_t)(t->n_rows - row) < most ? t->n_rows - row : (int)most;
        for (int i = 0; i < n; i++) tensor_row(t, row + i, p->host + (size_t)i * n_in);
        TRY(cuda_upload(d, p->rows, p->host, (size_t)n * n_in * sizeof(float)), "weights");
        pack_kernel<<<1024, 256, 0, d->stream>>>(p->rows, n, t->n_cols, m->k_pad, m->w + (size_t)(first + row) * (size_t)m->k_pad,
                                                 p->overflow);
        LAUNCHED("pack");
        row += n;
    }
    return 0;
}

static int pack_all(struct device *d, struct matrix *m, const struct tensor *const *parts, int n_parts, struct packing *p)
{
    const size_t n = (size_t)parts[0]->n_cols > PACK_FLOATS ? (size_t)parts[0]->n_cols : PACK_FLOATS;
    TRY(MEM_NEW(&p->host, n, "rows"), "weights");
    TRY(cuda_alloc(d, (void **)&p->rows, n * sizeof(float), "rows"), "weights");
    TRY(cuda_alloc(d, (void **)&p->overflow, sizeof(int), "flag"), "weights");
    TRY(cuda_alloc(d, (void **)&m->w, cuda_matrix_bytes(parts, n_parts), "weights"), "weights");
    CUDA_TRY(cudaMemsetAsync(p->overflow, 0, sizeof(int), d->stream), "weights");
    CUDA_TRY(cudaMemsetAsync(m->w, 0, cuda_matrix_bytes(parts, n_parts), d->stream), "weights");
    for (int i = 0, first = 0; i < n_parts; first += parts[i++]->n_rows) TRY(pack_part(d, m, parts[i], first, p), "part %d", i);
    int overflow = 0;
    TRY(cuda_download(d, &overflow, p->overflow, sizeof overflow), "weights");
    TRY(cuda_sync(d), "weights");
    return overflow ? fail("a weight is too large for fp16 (the limit is 65504)") : 0;
}

extern "C" int cuda_matrix_pack(struct device *d, struct matrix **out, const struct tensor *const *parts, int n_parts)
{
    *out = NULL;
    struct matrix *m = NULL;
    struct packing p = {};
    TRY(MEM_NEW(&m, 1, "matrix"), "cuda");
    m->n_in = parts[0]->n_cols;
    m->k_pad = padded(m->n_in);
    for (int i = 0; i < n_parts; i++) m->n_out += parts[i]->n_rows;
    const int rc = pack_all(d, m, parts, n_parts, &p);
    mem_free(p.host);
    cuda_release(d, p.rows);
    cuda_release(d, p.overflow);
    if (rc == 0) *out = m;
    else cuda_matrix_free(d, m);
    return rc;
}

extern "C" void cuda_matrix_free(struct device *d, struct matrix *m)
{
    if (!m) return;
    cuda_release(d, m->w);
    mem_free(m);
}

__global__ static void embed_kernel(struct embed_args a, const __half *w, int k_pad)
{
    const __half *row = w + (size_t)a.tokens[a.rows[blockIdx.x].token_at] * (size_t)k_pad;
    for (int i = threadIdx.x; i < a.hidden; i += blockDim.x) a.out[(size_t)blockIdx.x * (size_t)a.hidden + i] = __half2float(row[i]);
}

extern "C" int cuda_embed(struct device *d, const struct embed_args *a)
{
    embed_kernel<<<a->n_rows, 256, 0, d->stream>>>(*a, a->embedding->w, a->embedding->k_pad);
    LAUNCHED("embed");
    return 0;
}

/* x 2^-e in fp16, its greatest in 2^13 .. 2^14, and 2^e. */
__global__ static void halve_kernel(const float *x, int n, int k_pad, __half *out, float *scale)
{
    __shared__ double shared[32];
    const float *row = x + (size_t)blockIdx.x * (size_t)n;
    float most = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) most = fmaxf(most, fabsf(row[i]));
    most = block_max(most, shared);
    int e = 0;
    if (most > 0 && most < INFINITY) {
        frexpf(most, &e);
        e = max(e - 14, -100);
    }
    for (int i = threadIdx.x; i < k_pad; i += blockDim.x)
        out[(size_t)blockIdx.x * (size_t)k_pad + i] = __float2half_rn(i < n ? ldexpf(row[i], -e) : 0.0f);
    if (threadIdx.x == 0) scale[blockIdx.x] = ldexpf(1.0f, e);
}

struct product_job {
    const __half *w, *x;  /* [n_out][k_pad], [n_rows][k_pad] */
    const float *scale, *bias, *residual;
    float *y;
    int k_pad, n_out, n_rows;
};

__device__ static int segment_end(int segment, int n_chunks)
{
    return (segment + 1) * n_chunks / N_SEGMENTS;
}

__device__ static void put(const struct product_job &j, int row, int out, float sum)
{
    if (row >= j.n_rows || out >= j.n_out) return;
    const size_t at = (size_t)row * (size_t)j.n_out + (size_t)out;
    float y = sum * j.scale[row];
    if (j.bias) y += j.bias[out];
    if (j.residual) y += j.residual[at];
    j.y[at] = y;
}

/* 16 outputs of 8 NT rows: one warp for each segment of k.  Grid: tiles of outputs, tiles of rows. */
template <int NT> __global__ static void __launch_bounds__(256) few_rows_kernel(struct product_job j)
{
    __shared__ float part[N_SEGMENTS][NT * 8][17];
    const int warp = threadIdx.x / 32, g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    const int out0 = blockIdx.x * 16, row0 = blockIdx.y * NT * 8, n_chunks = j.k_pad / 32;
    const uint4 *a = (const uint4 *)(j.w + (size_t)(out0 + g) * (size_t)j.k_pad) + t;
    const uint4 *a8 = (const uint4 *)(j.w + (size_t)(out0 + g + 8) * (size_t)j.k_pad) + t;
    const uint4 *b[NT];
    float c[NT][4];
#pragma unroll
    for (int n = 0; n < NT; n++) {
        b[n] = (const uint4 *)(j.x + (size_t)min(row0 + n * 8 + g, j.n_rows - 1) * (size_t)j.k_pad) + t;
        c[n][0] = c[n][1] = c[n][2] = c[n][3] = 0;
    }
    int k = warp * n_chunks / N_SEGMENTS;
    const int end = segment_end(warp, n_chunks);
    constexpr int AHEAD = 4; /* chunks loaded before the first is used */
    for (; k + AHEAD <= end; k += AHEAD) {
        uint4 w[AHEAD], w8[AHEAD];
#pragma unroll
        for (int i = 0; i < AHEAD; i++) {
            w[i] = __ldcs(a + (k + i) * 4);
            w8[i] = __ldcs(a8 + (k + i) * 4);
        }
#pragma unroll
        for (int i = 0; i < AHEAD; i++)
#pragma unroll
            for (int n = 0; n < NT; n++) mma_32(c[n], w[i], w8[i], b[n][(k + i) * 4]);
    }
    for (; k < end; k++) {
        const uint4 w = __ldcs(a + k * 4), w8 = __ldcs(a8 + k * 4);
#pragma unroll
        for (int n = 0; n < NT; n++) mma_32(c[n], w, w8, b[n][k * 4]);
    }
#pragma unroll
    for (int n = 0; n < NT; n++) {
        part[warp][n * 8 + 2 * t][g] = c[n][0];
        part[warp][n * 8 + 2 * t + 1][g] = c[n][1];
        part[warp][n * 8 + 2 * t][g + 8] = c[n][2];
        part[warp][n * 8 + 2 * t + 1][g + 8] = c[n][3];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < NT * 8 * 16; i += 256) {
        float sum = 0;
#pragma unroll
        for (int s = 0; s < N_SEGMENTS; s++) sum += part[s][i / 16][i % 16];
        put(j, row0 + i / 16, out0 + i % 16, sum);
    }
}

static constexpr int TILE = 128, STAGES = 4, STAGE_BYTES = 2 * TILE * 64;

/* One stage: 32 values of k of TILE outputs and TILE rows, 64 bytes each. */
__device__ static void load_stage(const struct product_job &j, char *stage, int out0, int row0, int chunk)
{
    const int n_out = (j.n_out + 15) / 16 * 16;
    for (int i = threadIdx.x; i < TILE * 4; i += 256) {
        const int r = i / 4, piece = i % 4;
        const size_t k = (size_t)chunk * 32 + (size_t)piece * 8;
        copy_async(stage + i * 16, j.w + (size_t)min(out0 + r, n_out - 1) * (size_t)j.k_pad + k);
        copy_async(stage + TILE * 64 + i * 16, j.x + (size_t)min(row0 + r, j.n_rows - 1) * (size_t)j.k_pad + k);
    }
}

/* TILE outputs of TILE rows; a warp has 64 x 32 of them.  Grid: tiles of rows (neighbours share the weights), tiles of outputs. */
__global__ static void __launch_bounds__(256, 1) many_rows_kernel(struct product_job j)
{
    extern __shared__ __align__(128) char stages[];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const int out0 = blockIdx.y * TILE, row0 = blockIdx.x * TILE, n_chunks = j.k_pad / 32;
    const int out_w = warp % 2 * 64, row_w = warp / 2 * 32;
    float c[4][4][4] = {}, total[4][4][4] = {};
    int segment = 0;
    while (segment_end(segment, n_chunks) == 0) segment++; /* a narrow matrix has empty ones */
    for (int s = 0; s < STAGES - 1; s++) {
        if (s < n_chunks) load_stage(j, stages + s * STAGE_BYTES, out0, row0, s);
        copy_commit();
    }
    for (int k = 0; k < n_chunks; k++) {
        copy_wait<STAGES - 2>();
        __syncthreads();
        if (k + STAGES - 1 < n_chunks) load_stage(j, stages + (k + STAGES - 1) % STAGES * STAGE_BYTES, out0, row0, k + STAGES - 1);
        copy_commit();
        const uint4 *w = (const uint4 *)(stages + k % STAGES * STAGE_BYTES), *x = w + TILE * 4;
        uint4 b[4];
#pragma unroll
        for (int n = 0; n < 4; n++) b[n] = x[(row_w + n * 8 + g) * 4 + t];
#pragma unroll
        for (int m = 0; m < 4; m++) {
            const uint4 a = w[(out_w + m * 16 + g) * 4 + t], a8 = w[(out_w + m * 16 + g + 8) * 4 + t];
#pragma unroll
            for (int n = 0; n < 4; n++) mma_32(c[m][n], a, a8, b[n]);
        }
        if (k + 1 != segment_end(segment, n_chunks)) continue;
        while (segment < N_SEGMENTS && segment_end(segment, n_chunks) <= k + 1) segment++;
#pragma unroll
        for (int i = 0; i < 64; i++) {
            total[i / 16][i / 4 % 4][i % 4] += c[i / 16][i / 4 % 4][i % 4];
            c[i / 16][i / 4 % 4][i % 4] = 0;
        }
    }
#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
        for (int n = 0; n < 4; n++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                put(j, row0 + row_w + n * 8 + 2 * t + i % 2, out0 + out_w + m * 16 + g + i / 2 * 8, total[m][n][i]);
}

static int launch_product(struct device *d, const struct product_job &j)
{
    const dim3 few((unsigned)ceil_div(j.n_out, 16), (unsigned)ceil_div(j.n_rows, 32));
    if (j.n_rows <= 8) few_rows_kernel<1><<<few, 256, 0, d->stream>>>(j);
    else if (j.n_rows <= 16) few_rows_kernel<2><<<few, 256, 0, d->stream>>>(j);
    else if (j.n_rows <= FEW_ROWS) few_rows_kernel<4><<<few, 256, 0, d->stream>>>(j);
    else {
        CUDA_TRY(cudaFuncSetAttribute(many_rows_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, STAGES * STAGE_BYTES), "product");
        const dim3 grid((unsigned)ceil_div(j.n_rows, TILE), (unsigned)ceil_div(j.n_out, TILE));
        many_rows_kernel<<<grid, 256, STAGES * STAGE_BYTES, d->stream>>>(j);
    }
    LAUNCHED("product");
    return 0;
}

extern "C" int cuda_product(struct device *d, const struct product_args *a)
{
    const struct matrix *m = a->w;
    if (a->n_rows > d->max_rows || (size_t)m->k_pad > d->row_elems)
        return fail("product: %d rows of %d: %d rows of %zu were reserved", a->n_rows, m->n_in, d->max_rows, d->row_elems);
    halve_kernel<<<a->n_rows, 256, 0, d->stream>>>(a->x, m->n_in, m->k_pad, d->rows, d->row_scale);
    LAUNCHED("product");
    struct product_job j;
    j.w = m->w;
    j.x = d->rows;
    j.scale = d->row_scale;
    j.bias = a->bias;
    j.residual = a->residual;
    j.y = a->y;
    j.k_pad = m->k_pad;
    j.n_out = m->n_out;
    j.n_rows = a->n_rows;
    return launch_product(d, j);
}
