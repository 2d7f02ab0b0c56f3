/* kernels/cuda_kv.cu: what writes the cache and the block keys, and compares caches. */
#include "kernels/cuda_keys.cuh"
#include "kernels/cuda_rope.cuh"

/* x * weight / sqrt(mean(x^2) + eps) of one head by one warp. */
__device__ static void head_norm(float *x, const float *weight, int dim, double eps)
{
    double sum = 0;
    for (int i = threadIdx.x % 32; i < dim; i += 32) sum += (double)x[i] * (double)x[i];
    const double root = sqrt(warp_sum(sum) / dim + eps);
    for (int i = threadIdx.x % 32; i < dim; i += 32) x[i] = (float)((double)x[i] * (double)weight[i] / root);
    __syncwarp();
}

__device__ static void head_rotate(float *x, const float *cosine, const float *sine, int n_pairs, enum rope_style style)
{
    const int step = style == ROPE_PAIRS ? 2 : 1, apart = style == ROPE_PAIRS ? 1 : n_pairs;
    for (int i = threadIdx.x % 32; i < n_pairs; i += 32) {
        float *a = &x[i * step], *b = a + apart;
        const float x0 = *a, x1 = *b;
        *a = rope_turned(x0, x1, cosine[i], sine[i], false);
        *b = rope_turned(x0, x1, cosine[i], sine[i], true);
    }
    __syncwarp();
}

/* kernels/perturb.h's pair of Gaussians. */
__device__ static double2 noise_pair(uint64_t seed, int step, int layer, int is_v, int pair)
{
    const uint4 w = philox((uint32_t)pair, 2 * (uint32_t)layer + (uint32_t)is_v, (uint32_t)step, PHILOX_PERTURB, seed);
    const double radius = sqrt(-2 * log(1 - philox_unit(w.x, w.y)));
    double sine, cosine;
    sincos(0x1.921fb54442d18p+2 * philox_unit(w.z, w.w), &sine, &cosine);
    return make_double2(radius * cosine, radius * sine);
}

/* x + e |x| g/|g| by the whole block of threads. */
__device__ static void perturb_row(float *x, int n, double e, uint64_t seed, int step, int layer, int is_v, double *shared)
{
    double xx = 0, gg = 0;
    for (int p = threadIdx.x; p < n / 2; p += blockDim.x) {
        const double2 g = noise_pair(seed, step, layer, is_v, p);
        xx += (double)x[2 * p] * (double)x[2 * p] + (double)x[2 * p + 1] * (double)x[2 * p + 1];
        gg += g.x * g.x + g.y * g.y;
    }
    const double size = e * sqrt(block_sum(xx, shared)) / sqrt(block_sum(gg, shared));
    for (int p = threadIdx.x; p < n / 2; p += blockDim.x) {
        const double2 g = noise_pair(seed, step, layer, is_v, p);
        x[2 * p] = (float)((double)x[2 * p] + size * g.x);
        x[2 * p + 1] = (float)((double)x[2 * p + 1] + size * g.y);
    }
}

/* k and v of a row to its store or tail; in qkv they become what the cache holds. */
__device__ static void append(const struct rope_append_args &a, const struct kv_cache &c, const struct row &row, float *k, float *v)
{
    const int dim = c.head_dim;
    for (int i = threadIdx.x; i < c.n_kv_heads * dim; i += blockDim.x) {
        k[i] = kv_append(c, a.layer, row, i / dim, i % dim, false, k[i]);
        v[i] = kv_append(c, a.layer, row, i / dim, i % dim, true, v[i]);
    }
}

static constexpr int ROPE_WARPS = 8;

/* Blocks y = 1 .. of a row have ROPE_WARPS of its query heads each; block 0 all of K and V, which perturbation and a tail's tile need together.
 * A probe's row reads other slots of its store's tile than the owner's row writes. */
__global__ static void __launch_bounds__(ROPE_WARPS * 32) rope_append_kernel(const __grid_constant__ struct rope_append_args a, const __grid_constant__ struct kv_cache c)
{
    __shared__ double shared[32];
    const int r = blockIdx.x, dim = c.head_dim, kv_dim = c.n_kv_heads * dim, n_pairs = dim / 2, warp = threadIdx.x / 32;
    const bool is_kv = blockIdx.y == 0;
    const int first = is_kv ? a.n_heads : ((int)blockIdx.y - 1) * ROPE_WARPS, end = is_kv ? a.n_heads + c.n_kv_heads : min(first + ROPE_WARPS, a.n_heads);
    dependents_launch();
    dependency_wait();
    const struct row row = a.rows[r];
    float *q = a.qkv + (size_t)r * (size_t)((a.n_heads + 2 * c.n_kv_heads) * dim), *k = q + (size_t)a.n_heads * dim, *v = k + kv_dim;
    for (int h = first + warp; h < end; h += ROPE_WARPS) {
        const float *norm = is_kv ? a.k_norm : a.q_norm;
        if (norm) head_norm(q + h * dim, norm, dim, a.eps);
        if (a.k_plain && is_kv) {
            for (int i = threadIdx.x % 32; i < dim; i += 32)
                a.k_plain[(size_t)r * (size_t)kv_dim + (h - a.n_heads) * dim + i] = q[h * dim + i];
            __syncwarp();
        }
        head_rotate(q + h * dim, a.cosine + (size_t)r * n_pairs, a.sine + (size_t)r * n_pairs, n_pairs, a.style);
    }
    if (!is_kv) return;
    __syncthreads();
    const double e = a.lanes && row.flags & ROW_PERTURB ? (double)a.lanes[row.lane].perturb : 0;
    if (e > 0) {
        const int step = row.position - c.prefix_tokens;
        perturb_row(k, kv_dim, e, a.seed, step, a.layer, 0, shared);
        perturb_row(v, kv_dim, e, a.seed, step, a.layer, 1, shared);
        __syncthreads();
    }
    append(a, c, row, k, v);
}

extern "C" int cuda_rope_append(struct device *d, const struct rope_append_args *a)
{
    const dim3 grid((unsigned)a->n_rows, (unsigned)(1 + ceil_div(a->n_heads, ROPE_WARPS)));
    return cuda_launch(d, "rope and append", rope_append_kernel, grid, ROPE_WARPS * 32, 0, 1, *a, *a->kv);
}

__global__ static void kv_copy_kernel(struct kv_copy_args a, struct kv_cache c)
{
    const int p = a.from + blockIdx.x, h = blockIdx.y;
    const struct token from = token_of(c, a.layer, a.from_store, NO_TAIL, p, h, p), to = token_of(c, a.layer, a.to_store, NO_TAIL, p, h, p);
    for (int i = threadIdx.x; i < c.head_dim; i += blockDim.x) {
        to.k[i] = from.k[i];
        to.v[i] = from.v[i];
    }
}

extern "C" int cuda_kv_copy(struct device *d, const struct kv_copy_args *a)
{
    if (a->from >= a->to) return 0;
    const dim3 grid((unsigned)(a->to - a->from), (unsigned)a->kv->n_kv_heads);
    kv_copy_kernel<<<grid, 128, 0, d->stream>>>(*a, *a->kv);
    LAUNCHED("kv_copy");
    return 0;
}

/* One block of threads for each token. */
__global__ static void kv_compare_kernel(struct kv_compare_args a, struct kv_cache c)
{
    __shared__ double shared[32];
    const int p = a.from + blockIdx.x;
    double sum[4] = { 0, 0, 0, 0 };
    for (int i = threadIdx.x; i < c.n_kv_heads * c.head_dim; i += blockDim.x) {
        const int h = i / c.head_dim, e = i % c.head_dim;
        const struct token x = token_of(c, a.layer, a.store, NO_TAIL, p, h, p), r = token_of(c, a.layer, a.ref_store, NO_TAIL, p, h, p);
        const double kr = __half2float(r.k[e]), kd = (double)__half2float(x.k[e]) - kr;
        const double vr = __half2float(r.v[e]), vd = (double)__half2float(x.v[e]) - vr;
        sum[0] += kd * kd;
        sum[1] += kr * kr;
        sum[2] += vd * vd;
        sum[3] += vr * vr;
    }
    for (int i = 0; i < 4; i++) {
        const double all = block_sum(sum[i], shared);
        if (threadIdx.x == 0) a.squares[4 * (size_t)(p - c.prefix_tokens) + i] = all;
    }
}

extern "C" int cuda_kv_compare(struct device *d, const struct kv_compare_args *a)
{
    if (a->from < a->kv->prefix_tokens)
        return fail("kv_compare: position %d lies in the prefix of %d tokens", a->from, a->kv->prefix_tokens);
    if (a->from >= a->to) return 0;
    kv_compare_kernel<<<a->to - a->from, 128, 0, d->stream>>>(*a, *a->kv);
    LAUNCHED("kv_compare");
    return 0;
}

__global__ static void keys_build_kernel(struct keys_build_args a, struct kv_cache c, struct key_set s, int first)
{
    const int block = first + blockIdx.x, h = blockIdx.y, to = min((block + 1) * s.block_size, a.n_tokens);
    const struct block_key key = key_at(c, s, a.layer, h, block);
    for (int i = threadIdx.x; i < c.head_dim; i += blockDim.x) {
        float low = INFINITY, high = -INFINITY;
        for (int p = block * s.block_size; p < to; p++)
            key_fold(&low, &high, __half2float(token_of(c, a.layer, s.store, NO_TAIL, p, h, p).k[i]));
        key.low[(size_t)i * 2 * key.width] = __float2half_rn(low);
        key.low[(size_t)(i * 2 + 1) * key.width] = __float2half_rn(high);
    }
}

extern "C" int cuda_keys_build(struct device *d, const struct keys_build_args *a)
{
    const struct key_set *s = &a->sets[a->set];
    const int end = key_set_end(*a->kv, *s), last = a->to_block < end - 1 ? a->to_block : end - 1;
    if (a->from_block < s->first_block)
        return fail("keys_build: block %d is below the set's first, %d", a->from_block, s->first_block);
    if (last < a->from_block) return 0;
    const dim3 grid((unsigned)(last - a->from_block + 1), (unsigned)a->kv->n_kv_heads);
    keys_build_kernel<<<grid, 128, 0, d->stream>>>(*a, *a->kv, *s, a->from_block);
    LAUNCHED("keys_build");
    return 0;
}
