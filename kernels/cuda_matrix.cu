/* kernels/cuda_matrix.cu: weights become tiles, from a checkpoint's tensors or from a seed; rows of them as embeddings. */
#include "kernels/cuda_matrix.cuh"

extern "C" {
#include "kernels/tensor_rows.h"
}

#include <cmath>

/* Rows of the checkpoint that are decoded and sent at a time, in floats. */
static constexpr size_t PACK_FLOATS = 1 << 22;

static bool is_paired(const struct tensor *const *parts, int n_parts)
{
    return n_parts == 2 && parts[0]->n_rows == parts[1]->n_rows;
}

static int n_tiles_of(const struct tensor *const *parts, int n_parts)
{
    if (is_paired(parts, n_parts)) return ceil_div(2 * (ceil_div(parts[0]->n_rows, 8) * 8), TILE);
    int n_out = 0;
    for (int i = 0; i < n_parts; i++) n_out += parts[i]->n_rows;
    return ceil_div(n_out, TILE);
}

static size_t bytes_as(enum element element, const struct tensor *const *parts, int n_parts)
{
    const int n_chunks = ceil_div(parts[0]->n_cols, CHUNK);
    return (size_t)n_tiles_of(parts, n_parts) * (element == INT4 ? (size_t)int4_groups(n_chunks) * INT4_BYTES : (size_t)n_chunks * TILE_BYTES);
}

extern "C" size_t cuda_matrix_bytes(const struct tensor *const *parts, int n_parts)
{
    return bytes_as(FP16, parts, n_parts);
}

extern "C" size_t cuda_matrix_int4_bytes(const struct tensor *const *parts, int n_parts)
{
    return bytes_as(INT4, parts, n_parts);
}

extern "C" size_t cuda_operand_bytes(int n_rows, int n)
{
    return (size_t)ceil_div(n_rows, TILE) * operand_block_bytes(ceil_div(n, CHUNK));
}

/* Some rows of one part: float32, or made from a seed. */
struct pack_job {
    const float *x;          /* [n_rows][n_in], or NULL */
    struct tensor_seed seed;
    int from, n_rows, n_in;  /* index of the first in its tensor */
    int first, part;         /* of the part in the matrix */
    bool paired;
    enum element element;
    int n_chunks, *overflow;
    void *w;
};

/* core/tensor.h's value i of a tensor that a seed gives; word: Philox's of the last i / 4. */
__device__ static float seeded(const struct tensor_seed &s, uint64_t i, uint4 &word, bool fresh)
{
    if (fresh || i % 4 == 0) word = philox((uint32_t)(i / 4), (uint32_t)(i / 4 >> 32), s.number, PHILOX_WEIGHTS, s.seed);
    const uint32_t a = i % 4 == 0 ? word.x : i % 4 == 1 ? word.y : i % 4 == 2 ? word.z : word.w;
    return s.size * ((float)((int32_t)(a >> 8) * 2 - (1 << 24)) * 0x1p-24f);
}

__device__ static float pack_value(const struct pack_job &j, int row, int k, uint4 &word, bool fresh)
{
    return j.x ? j.x[(size_t)row * (size_t)j.n_in + k] : seeded(j.seed, (uint64_t)(j.from + row) * (uint64_t)j.n_in + k, word, fresh);
}

/* A thread for a group of a row; w is zero before. */
__global__ static void pack_int4_kernel(const struct pack_job j)
{
    const int n_groups = int4_groups(j.n_chunks);
    const size_t n = (size_t)j.n_rows * (size_t)n_groups;
    for (size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x; at < n; at += (size_t)gridDim.x * blockDim.x) {
        const int row = (int)(at / (size_t)n_groups), group = (int)(at % (size_t)n_groups), k0 = group * INT4_GROUP;
        const int out = packed_out(j.first, j.from + row, j.part, j.paired), n_own = min(INT4_GROUP, j.n_in - k0);
        char *to = (char *)j.w + ((size_t)(out / TILE) * (size_t)n_groups + (size_t)group) * INT4_BYTES;
        uint4 word;
        float most = 0, none = 0; /* none: 0, or NaN where a weight is no number: the group becomes NaN */
        for (int i = 0; i < n_own; i++) {
            const float v = pack_value(j, row, k0 + i, word, i == 0);
            most = fmaxf(most, fabsf(v));
            none += v * 0;
        }
        const __half rounded = __float2half_rn(most / 7 + none);
        const float scale = __half2float(rounded), inverse = scale > 0 ? 1 / scale : 0;
        if (__hisinf(__float2half_rn(7 * scale))) *j.overflow = 1;
        *(__half *)(to + int4_scale_at(out)) = rounded;
        for (int i = 0; i < n_own; i++) {
            const float q = fminf(fmaxf(rintf(pack_value(j, row, k0 + i, word, i == 0) * inverse), -7), 7);
            int shift;
            unsigned *w = (unsigned *)(to + int4_word_at(out, i, &shift));
            atomicOr(w, (unsigned)((int)q + 8) << shift); /* output + 8 shares the word */
        }
    }
}

/* A thread for 8 values of k. */
__global__ static void pack_kernel(const struct pack_job j)
{
    const int n_cores = j.n_chunks * 8;
    const size_t n = (size_t)j.n_rows * (size_t)n_cores;
    for (size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x; at < n; at += (size_t)gridDim.x * blockDim.x) {
        const int row = (int)(at / (size_t)n_cores), core = (int)(at % (size_t)n_cores);
        float v[8];
        uint4 word;
        for (int i = 0; i < 8; i++) {
            const int k = core * 8 + i;
            v[i] = 0;
            if (k >= j.n_in) continue;
            v[i] = pack_value(j, row, k, word, i == 0);
            if (j.element == FP16 && fabsf(v[i]) >= 65520 && !isinf(v[i])) *j.overflow = 1;
        }
        const int out = packed_out(j.first, j.from + row, j.part, j.paired);
        *(uint4 *)((char *)j.w + (size_t)(out / TILE) * j.n_chunks * TILE_BYTES + core_at(out, core)) = elements_of(v, j.element == BF16);
    }
}

/* What packing needs for itself. */
struct packing {
    float *host, *rows; /* host and device, PACK_FLOATS or one row; NULL until a part needs them */
    int *overflow;      /* device */
};

static int packing_buffers(struct device *d, struct packing *p, size_t n_in)
{
    const size_t n = n_in > PACK_FLOATS ? n_in : PACK_FLOATS;
    if (p->host) return 0;
    TRY(MEM_NEW(&p->host, n, "rows"), "weights");
    return cuda_alloc(d, (void **)&p->rows, n * sizeof(float), "rows");
}

static int pack_launch(struct device *d, const struct pack_job &j)
{
    if (j.element == INT4) pack_int4_kernel<<<8 * d->n_sms, 256, 0, d->stream>>>(j);
    else pack_kernel<<<8 * d->n_sms, 256, 0, d->stream>>>(j);
    LAUNCHED("pack");
    return 0;
}

static int pack_part(struct device *d, const struct matrix *m, const struct tensor *t, struct pack_job j, struct packing *p)
{
    const size_t n_in = (size_t)t->n_cols, most = n_in > PACK_FLOATS ? 1 : PACK_FLOATS / n_in;
    j.n_in = t->n_cols;
    j.n_chunks = m->n_chunks;
    j.overflow = p->overflow;
    j.element = m->element;
    j.w = m->w;
    if (t->type == TENSOR_SEED) {
        j.seed = *(const struct tensor_seed *)(const void *)t->data;
        j.n_rows = t->n_rows;
        return pack_launch(d, j);
    }
    TRY(packing_buffers(d, p, n_in), "pack");
    for (j.x = p->rows; j.from < t->n_rows; j.from += j.n_rows) {
        j.n_rows = (size_t)(t->n_rows - j.from) < most ? t->n_rows - j.from : (int)most;
        tensor_rows(t, j.from, j.n_rows, p->host);
        TRY(cuda_upload(d, p->rows, p->host, (size_t)j.n_rows * n_in * sizeof(float)), "weights");
        TRY(pack_launch(d, j), "weights");
    }
    return 0;
}

/* Value k of an output, as it enters a product. */
__device__ static float weight_at(const void *w, enum element element, int n_chunks, int out, int k)
{
    if (element != INT4)
        return element_at((const char *)w + (size_t)(out / TILE) * (size_t)n_chunks * TILE_BYTES + core_at(out, k / 8), k % 8, element == BF16);
    int shift;
    const char *group = (const char *)w + ((size_t)(out / TILE) * (size_t)int4_groups(n_chunks) + (size_t)(k / INT4_GROUP)) * INT4_BYTES;
    const unsigned word = *(const unsigned *)(group + int4_word_at(out, k % INT4_GROUP, &shift));
    return __half2float(__float2half_rn((float)((int)(word >> shift & 15) - 8) * __half2float(*(const __half *)(group + int4_scale_at(out)))));
}

/* Norms of the rows of two interleaved parts, rounded up; a warp for each output. */
__global__ static void row_norms_kernel(const void *w, enum element element, int n_in, int n_chunks, int n_out, unsigned *most)
{
    const int out = (int)(blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (out >= n_out) return;
    float sum = 0;
    for (int k = threadIdx.x % 32; k < n_in; k += 32) {
        const float v = weight_at(w, element, n_chunks, out, k);
        sum += v * v;
    }
    for (int o = 16; o > 0; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (threadIdx.x % 32 == 0) atomicMax(&most[out / 8 % 2], __float_as_uint(sqrtf(sum) * 1.01f)); /* floats >= 0 are in their bits' order */
}

static int pack_all(struct device *d, struct matrix *m, const struct tensor *const *parts, int n_parts, struct packing *p)
{
    struct { int overflow; unsigned most[2]; } flags = {};
    const size_t n_bytes = bytes_as(m->element, parts, n_parts);
    TRY(cuda_alloc(d, (void **)&p->overflow, sizeof flags, "flags"), "weights");
    TRY(cuda_alloc(d, &m->w, n_bytes, "weights"), "weights");
    CUDA_TRY(cudaMemsetAsync(p->overflow, 0, sizeof flags, d->stream), "weights");
    CUDA_TRY(cudaMemsetAsync(m->w, 0, n_bytes, d->stream), "weights");
    struct pack_job j = {};
    j.paired = m->half > 0;
    for (; j.part < n_parts; j.first += parts[j.part++]->n_rows) TRY(pack_part(d, m, parts[j.part], j, p), "part %d", j.part);
    if (m->half > 0) {
        row_norms_kernel<<<m->n_tiles * TILE / 8, 256, 0, d->stream>>>(m->w, m->element, m->n_in, m->n_chunks, m->n_tiles * TILE,
                                                                       (unsigned *)(p->overflow + 1));
        LAUNCHED("pack");
    }
    TRY(cuda_download(d, &flags, p->overflow, sizeof flags), "weights");
    TRY(cuda_sync(d), "weights");
    float norm[2];
    memcpy(norm, flags.most, sizeof norm);
    m->most = norm[0] * norm[1];
    return flags.overflow ? fail("a weight is too large for fp16 (the limit is 65504): device cuda-bf16 takes it") : 0;
}

static int pack_as(struct device *d, struct matrix **out, enum element element, const struct tensor *const *parts, int n_parts)
{
    *out = NULL;
    struct matrix *m = NULL;
    struct packing p = {};
    TRY(MEM_NEW(&m, 1, "matrix"), "cuda");
    m->element = element;
    m->n_in = parts[0]->n_cols;
    m->n_chunks = ceil_div(m->n_in, CHUNK);
    m->n_tiles = n_tiles_of(parts, n_parts);
    m->half = is_paired(parts, n_parts) ? parts[0]->n_rows : 0;
    for (int i = 0; i < n_parts; i++) m->n_out += parts[i]->n_rows;
    const int rc = pack_all(d, m, parts, n_parts, &p);
    mem_free(p.host);
    cuda_release(d, p.rows);
    cuda_release(d, p.overflow);
    if (rc == 0) *out = m;
    else cuda_matrix_free(d, m);
    return rc;
}

extern "C" int cuda_matrix_pack(struct device *d, struct matrix **m, const struct tensor *const *parts, int n_parts)
{
    return pack_as(d, m, d->bf16 ? BF16 : FP16, parts, n_parts);
}

extern "C" int cuda_matrix_pack_int4(struct device *d, struct matrix **m, const struct tensor *const *parts, int n_parts)
{
    return pack_as(d, m, INT4, parts, n_parts);
}

extern "C" void cuda_matrix_free(struct device *d, struct matrix *m)
{
    if (!m) return;
    cuda_release(d, m->w);
    mem_free(m);
}

static constexpr int EMBED_THREADS = 128;

/* A thread for 8 values of a row.  Grid: rows, parts of a row. */
__global__ static void __launch_bounds__(EMBED_THREADS) embed_kernel(const struct embed_args a, const void *w, int n_chunks, bool bf16)
{
    const int core = (int)(blockIdx.y * EMBED_THREADS + threadIdx.x);
    dependents_launch();
    dependency_wait();
    if (core * 8 >= a.hidden) return;
    const int token = a.tokens[a.rows[blockIdx.x].token_at];
    const uint4 x = *(const uint4 *)((const char *)w + (size_t)(token / TILE) * n_chunks * TILE_BYTES + core_at(token, core));
    float *out = a.out + (size_t)blockIdx.x * (size_t)a.hidden + core * 8;
#pragma unroll
    for (int i = 0; i < 8; i++)
        if (core * 8 + i < a.hidden) out[i] = element_at(&x, i, bf16);
}

extern "C" int cuda_embed(struct device *d, const struct embed_args *a)
{
    const dim3 grid((unsigned)a->n_rows, (unsigned)ceil_div(a->hidden, 8 * EMBED_THREADS));
    return cuda_launch(d, "embed", embed_kernel, grid, EMBED_THREADS, 0, 1, *a, (const void *)a->embedding->w, a->embedding->n_chunks, d->bf16);
}
