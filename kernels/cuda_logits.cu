/* kernels/cuda_logits.cu: measures of logits, and the choice of the next token.
 *
 * The formulas are kernels/measure_logits.h's.  A vocabulary is cut into slices of a fixed size, one block of threads each; a lane's
 * slices are summed in order. */
#include "kernels/cuda_measure.cuh"

static constexpr int SLICE = 4096, LOGIT_THREADS = 256;

/* Of one lane and slice, or of the whole row. */
struct logit_sums {
    float max;
    int argmax, n_off, rank; /* n_off: logits that are no finite numbers; argmax -1: none is a number */
    double z, s, kl, kl_clean;
};

struct logits_job {
    struct measure_job m;
    struct measure_logits_args a;
    int n_slices;
    struct logit_sums *slice, *row; /* [n_lanes][n_slices], [n_lanes] */
};

__device__ static int target_of(const struct logits_job &j, int lane)
{
    return j.a.target_at[lane] < 0 ? -1 : j.a.tokens[j.a.target_at[lane]];
}

__device__ static const float *logits_of(const struct logits_job &j, int row)
{
    return j.a.logits + (size_t)row * j.a.vocab;
}

/* Greatest logit of a range and its lowest id, by a block of threads; *n_off: those that are no finite numbers. */
__device__ static float range_max(const float *x, int from, int to, int *argmax, int *n_off, double *shared)
{
    float most = -INFINITY;
    double off = 0;
    for (int i = from + threadIdx.x; i < to; i += blockDim.x) {
        most = fmaxf(most, x[i]); /* passes NaN over */
        off += !isfinite(x[i]);
    }
    most = block_max(most, shared);
    *n_off = (int)block_sum(off, shared);
    double first = 1e18;
    for (int i = from + threadIdx.x; i < to && first == 1e18; i += blockDim.x)
        if (x[i] == most) first = i;
    for (int o = 16; o > 0; o /= 2) first = fmin(first, __shfl_xor_sync(0xffffffffu, first, o));
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = first;
    __syncthreads();
    for (int w = 0; w < (int)blockDim.x / 32; w++) first = fmin(first, shared[w]);
    *argmax = first == 1e18 ? -1 : (int)first;
    return most;
}

/* Grid: slices, lanes. */
__global__ static void slice_max_kernel(const __grid_constant__ struct logits_job j)
{
    __shared__ double shared[32];
    const int lane = blockIdx.y, row = rows_of(j.m, lane).row;
    if (row < 0) return;
    const int from = blockIdx.x * SLICE, to = min(from + SLICE, j.a.vocab);
    int argmax, n_off;
    const float most = range_max(logits_of(j, row), from, to, &argmax, &n_off, shared);
    if (threadIdx.x != 0) return;
    struct logit_sums &s = j.slice[(size_t)lane * j.n_slices + blockIdx.x];
    s.max = most;
    s.argmax = argmax;
    s.n_off = n_off;
}

/* A thread for each lane: its slices become one. */
__global__ static void row_max_kernel(const __grid_constant__ struct logits_job j)
{
    for (int lane = threadIdx.x; lane < j.m.n_lanes; lane += blockDim.x) {
        if (rows_of(j.m, lane).row < 0) continue;
        struct logit_sums r = { -INFINITY, -1, 0, 0, 0, 0, 0, 0 };
        for (int i = 0; i < j.n_slices; i++) {
            const struct logit_sums &s = j.slice[(size_t)lane * j.n_slices + i];
            if (s.argmax >= 0 && (r.argmax < 0 || s.max > r.max)) {
                r.max = s.max;
                r.argmax = s.argmax;
            }
            r.n_off += s.n_off;
        }
        j.row[lane] = r;
    }
}

/* Grid: slices, lanes. */
__global__ static void slice_sums_kernel(const __grid_constant__ struct logits_job j)
{
    __shared__ double shared[32];
    const int lane = blockIdx.y, row = rows_of(j.m, lane).row;
    if (row < 0) return;
    const float *x = logits_of(j, row);
    const double max = j.row[lane].max;
    const int from = blockIdx.x * SLICE, to = min(from + SLICE, j.a.vocab), target = target_of(j, lane);
    const bool ranked = target >= 0 && target < j.a.vocab;
    double z = 0, s = 0, rank = 0;
    for (int i = from + threadIdx.x; i < to; i += blockDim.x) {
        const double below = (double)x[i] - max, e = exp(below);
        z += e;
        s += below * e;
        if (ranked) rank += x[i] > x[target] || (x[i] == x[target] && i < target);
    }
    z = block_sum(z, shared);
    s = block_sum(s, shared);
    rank = block_sum(rank, shared);
    if (threadIdx.x != 0) return;
    struct logit_sums &out = j.slice[(size_t)lane * j.n_slices + blockIdx.x];
    out.z = z;
    out.s = s;
    out.rank = (int)rank;
}

__global__ static void row_sums_kernel(const __grid_constant__ struct logits_job j)
{
    for (int lane = threadIdx.x; lane < j.m.n_lanes; lane += blockDim.x) {
        if (rows_of(j.m, lane).row < 0) continue;
        struct logit_sums &r = j.row[lane];
        for (int i = 0; i < j.n_slices; i++) {
            const struct logit_sums &s = j.slice[(size_t)lane * j.n_slices + i];
            r.z += s.z;
            r.s += s.s;
            r.rank += s.rank;
        }
        if (r.n_off > 0) r.z = NAN;
    }
}

/* KL(r || x) over one slice, before it is divided by r's z: exactly 0 for equal logits. */
__device__ static double slice_kl(const struct logits_job &j, int ref_lane, int lane, int ref_row, int row, double *shared)
{
    const struct logit_sums &r = j.row[ref_lane], &l = j.row[lane];
    const float *ref = logits_of(j, ref_row), *x = logits_of(j, row);
    const double log_ref = log(r.z), log_z = log(l.z);
    const int from = blockIdx.x * SLICE, to = min(from + SLICE, j.a.vocab);
    double sum = 0;
    for (int i = from + threadIdx.x; i < to; i += blockDim.x) {
        const double below = (double)ref[i] - (double)r.max;
        sum += exp(below) * ((below - log_ref) - (((double)x[i] - (double)l.max) - log_z));
    }
    return block_sum(sum, shared);
}

/* Grid: slices, lanes. */
__global__ static void slice_kl_kernel(const __grid_constant__ struct logits_job j)
{
    __shared__ double shared[32];
    const int lane = blockIdx.y;
    const struct measure_rows rows = rows_of(j.m, lane);
    if (rows.ref < 0) return;
    const double kl = slice_kl(j, 0, lane, rows.ref, rows.row, shared);
    const double clean = rows.twin < 0 ? 0 : slice_kl(j, j.m.twin[lane], lane, rows.twin, rows.row, shared);
    if (threadIdx.x != 0) return;
    j.slice[(size_t)lane * j.n_slices + blockIdx.x].kl = kl;
    j.slice[(size_t)lane * j.n_slices + blockIdx.x].kl_clean = clean;
}

/* Token, target, argmax, and what a lane's own logits say. */
__device__ static void put_own(const struct logits_job &j, int lane, int row)
{
    const struct logit_sums &r = j.row[lane];
    const int32_t target = target_of(j, lane);
    const double log_z = log(r.z);
    put_i32(j.m, VAR_TOKEN, lane, j.a.tokens[j.a.rows[row].token_at]);
    put_i32(j.m, VAR_TARGET, lane, target);
    put_i32(j.m, VAR_ARGMAX, lane, r.argmax);
    put_f32(j.m, VAR_ENTROPY, lane, log_z - r.s / r.z);
    if (target < 0 || target >= j.a.vocab) return;
    put_f32(j.m, VAR_NLL, lane, -(((double)logits_of(j, row)[target] - (double)r.max) - log_z));
    if (!isnan(r.z)) put_u8(j.m, VAR_TOP3_HIT, lane, r.rank < 3);
}

__device__ static void put_compared(const struct logits_job &j, int lane, const struct measure_rows &rows)
{
    double kl = 0, clean = 0;
    for (int i = 0; i < j.n_slices; i++) {
        kl += j.slice[(size_t)lane * j.n_slices + i].kl;
        clean += j.slice[(size_t)lane * j.n_slices + i].kl_clean;
    }
    /* A sum that rounding took below 0 stands for 0; NaN stays. */
    kl /= j.row[0].z;
    put_f32(j.m, VAR_LOGIT_KL, lane, kl < 0 ? 0 : kl);
    if (rows.twin >= 0) {
        clean /= j.row[j.m.twin[lane]].z;
        put_f32(j.m, VAR_KL_CLEAN, lane, clean < 0 ? 0 : clean);
    }
    if (!isnan(j.row[lane].z) && !isnan(j.row[0].z)) put_u8(j.m, VAR_TOP1_MATCH, lane, j.row[lane].argmax == j.row[0].argmax);
}

/* One block of threads for each lane. */
__global__ static void logits_kernel(const __grid_constant__ struct logits_job j)
{
    __shared__ double shared[32];
    const int lane = blockIdx.x;
    const bool one = threadIdx.x == 0;
    const struct measure_rows rows = rows_of(j.m, lane);
    if (rows.row < 0) {
        /* A lane before its first step of its own feeds what lane 0 feeds. */
        const int row0 = rows_of(j.m, 0).row;
        if (one && j.m.step[0] < j.m.end[lane] && row0 >= 0) put_i32(j.m, VAR_TOKEN, lane, j.a.tokens[j.a.rows[row0].token_at]);
        return;
    }
    if (one) put_own(j, lane, rows.row);
    if (rows.ref < 0 || !has(j.m, VAR_LOGIT_KL)) return;
    if (one) put_compared(j, lane, rows);
    const size_t n = j.a.hidden;
    const float *x = j.a.hidden_state + rows.row * n;
    const double2 s = block_squares(x, j.a.hidden_state + rows.ref * n, j.a.hidden, shared);
    if (one) put_f32(j.m, VAR_HIDDEN_ERR, lane, rel(s.x, s.y));
    if (rows.twin < 0) return;
    const double2 twin = block_squares(x, j.a.hidden_state + rows.twin * n, j.a.hidden, shared);
    if (one) put_f32(j.m, VAR_HIDDEN_ACCUM, lane, rel(twin.x, s.y));
}

extern "C" size_t cuda_measure_logits_bytes(int n_lanes, int vocab)
{
    return (size_t)n_lanes * (size_t)(ceil_div(vocab, SLICE) + 1) * sizeof(struct logit_sums);
}

extern "C" int cuda_measure_logits(struct device *d, const struct measure_logits_args *a)
{
    struct logits_job j;
    j.m = measure_job_of(&a->m);
    j.a = *a;
    j.n_slices = ceil_div(a->vocab, SLICE);
    const size_t lanes = (size_t)a->m.n_lanes;
    TRY(cuda_work_holds(d, cuda_measure_logits_bytes(a->m.n_lanes, a->vocab), "measure_logits"), "logits");
    j.row = (struct logit_sums *)d->work;
    j.slice = j.row + lanes;
    const dim3 grid((unsigned)j.n_slices, (unsigned)lanes);
    slice_max_kernel<<<grid, LOGIT_THREADS, 0, d->stream>>>(j);
    row_max_kernel<<<1, 64, 0, d->stream>>>(j);
    slice_sums_kernel<<<grid, LOGIT_THREADS, 0, d->stream>>>(j);
    row_sums_kernel<<<1, 64, 0, d->stream>>>(j);
    if (measure_has(&a->m, VAR_LOGIT_KL)) slice_kl_kernel<<<grid, LOGIT_THREADS, 0, d->stream>>>(j);
    logits_kernel<<<(unsigned)lanes, LOGIT_THREADS, 0, d->stream>>>(j);
    LAUNCHED("measure_logits");
    return 0;
}

/* ---- sampling: kernels/sample.c's choice ---- */

static constexpr int SAMPLE_THREADS = 1024;

struct sample_job {
    struct sample_args a;
    int32_t *choice; /* [n_lanes] by the lane whose logits are read; -1: not wanted */
};

struct sample_shared {
    double sums[32];
    int ids[32];
    unsigned long long bins[256];
    unsigned long long above;
    int bin;
};

/* Order-preserving, the greater logit the greater number. */
__device__ static uint32_t logit_key(float x)
{
    const uint32_t bits = __float_as_uint(x + 0.0f);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* A weight exp((x - max) / temperature) in units of 2^-40: integers, so that a sum does not depend on its order. */
__device__ static unsigned long long weight_units(float x, double max, double temperature)
{
    return (unsigned long long)(exp(((double)x - max) / temperature) * 0x1p40);
}

/* Below 2^64 for any vocabulary below 2^24. */
__device__ static unsigned long long weight_of_all(struct sample_shared &s, const float *x, int n, double max, double temperature)
{
    unsigned long long sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += weight_units(x[i], max, temperature);
    for (int o = 16; o > 0; o /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, o);
    if (threadIdx.x == 0) s.above = 0;
    __syncthreads();
    if (threadIdx.x % 32 == 0) atomicAdd(&s.above, sum);
    __syncthreads();
    return s.above;
}

/* The key of the last token of the nucleus (the fewest tokens, in the order of falling logits, ties by rising id, whose weights sum to
 * `enough`), and how many tokens of that key are in it. */
__device__ static uint32_t nucleus(struct sample_shared &s, const float *x, int n, double max, double temperature, unsigned long long enough,
                                   unsigned long long *n_equal)
{
    uint32_t prefix = 0, mask = 0;
    unsigned long long above = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        for (int i = threadIdx.x; i < 256; i += blockDim.x) s.bins[i] = 0;
        __syncthreads();
        for (int i = threadIdx.x; i < n; i += blockDim.x) {
            const uint32_t key = logit_key(x[i]);
            if ((key & mask) == prefix) atomicAdd(&s.bins[(key >> shift) & 255], weight_units(x[i], max, temperature));
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            int bin = 255, last = 0;
            for (int b = 0; b < 256; b++)
                if (s.bins[255 - b] > 0) last = 255 - b; /* the least key that weighs anything */
            while (bin > last && above + s.bins[bin] < enough) above += s.bins[bin--];
            s.bin = bin;
            s.above = above;
        }
        __syncthreads();
        above = s.above;
        prefix |= (uint32_t)s.bin << shift;
        mask |= 255u << shift;
        __syncthreads();
    }
    /* In float order, -0 and 0 are one key: x + 0. */
    const float at = __uint_as_float(prefix & 0x80000000u ? prefix & 0x7fffffffu : ~prefix);
    const unsigned long long each = weight_units(at, max, temperature);
    *n_equal = each == 0 || enough <= above ? 1 : (enough - above + each - 1) / each;
    return prefix;
}

/* The least E / w, the lower id of two equal ones. */
__device__ static int race_winner(struct sample_shared &s, double time, int id)
{
    for (int o = 16; o > 0; o /= 2) {
        const double t = __shfl_xor_sync(0xffffffffu, time, o);
        const int i = __shfl_xor_sync(0xffffffffu, id, o);
        if (i >= 0 && (id < 0 || t < time || (t == time && i < id))) {
            time = t;
            id = i;
        }
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) {
        s.sums[threadIdx.x / 32] = time;
        s.ids[threadIdx.x / 32] = id;
    }
    __syncthreads();
    time = s.sums[0];
    id = s.ids[0];
    for (int w = 1; w < (int)blockDim.x / 32; w++)
        if (s.ids[w] >= 0 && (id < 0 || s.sums[w] < time || (s.sums[w] == time && s.ids[w] < id))) {
            time = s.sums[w];
            id = s.ids[w];
        }
    return id;
}

__device__ static int choose(struct sample_shared &s, const struct sample_args &a, const float *x)
{
    int argmax, n_off;
    const double max = range_max(x, 0, a.vocab, &argmax, &n_off, s.sums);
    if (!(a.temperature > 0) || n_off > 0) return argmax < 0 ? 0 : argmax;
    uint32_t last = 0;
    unsigned long long n_equal = ~0ull, equal_before = 0;
    if (a.top_p < 1) {
        const unsigned long long all = weight_of_all(s, x, a.vocab, max, a.temperature);
        last = nucleus(s, x, a.vocab, max, a.temperature, (unsigned long long)ceil(a.top_p * (double)all), &n_equal);
    }
    double time = INFINITY;
    int id = -1;
    for (int base = 0; base < a.vocab; base += blockDim.x) {
        const int i = base + threadIdx.x;
        const uint32_t key = i < a.vocab ? logit_key(x[i]) : 0;
        bool in = i < a.vocab && key > last;
        if (a.top_p < 1) { /* ties with the last key in the order of ids */
            const bool equal = i < a.vocab && key == last;
            const unsigned vote = __ballot_sync(0xffffffffu, equal);
            __syncthreads();
            if (threadIdx.x % 32 == 0) s.ids[threadIdx.x / 32] = __popc(vote);
            __syncthreads();
            unsigned long long rank = equal_before + __popc(vote & ((1u << threadIdx.x % 32) - 1));
            for (int w = 0; w < (int)blockDim.x / 32; w++) {
                if (w < (int)threadIdx.x / 32) rank += s.ids[w];
                equal_before += s.ids[w];
            }
            in = in || (equal && rank < n_equal);
        } else {
            in = i < a.vocab;
        }
        if (!in) continue;
        const uint4 w = philox((uint32_t)i, (uint32_t)a.step[0], 0, PHILOX_SAMPLE, a.seed);
        const double t = -log(philox_unit(w.x, w.y)) / exp(((double)x[i] - max) / a.temperature);
        if (id < 0 || t < time) { /* a thread's ids rise */
            time = t;
            id = i;
        }
    }
    return race_winner(s, time, id);
}

/* One block of threads for each lane whose logits may be read. */
__global__ static void __launch_bounds__(SAMPLE_THREADS) choose_kernel(struct sample_job j)
{
    __shared__ struct sample_shared s;
    const int from = blockIdx.x, row = j.a.row_of_lane[from];
    bool wanted = false;
    for (int lane = 0; lane < j.a.n_lanes; lane++) wanted = wanted || j.a.from_lane[lane] == from;
    int choice = -1;
    if (wanted && row >= 0) choice = choose(s, j.a, j.a.logits + (size_t)row * j.a.vocab);
    if (threadIdx.x == 0) j.choice[from] = choice;
}

__global__ static void feed_kernel(struct sample_job j)
{
    const int dense = j.a.from_lane[0] < 0 ? -1 : j.choice[j.a.from_lane[0]];
    for (int lane = threadIdx.x; lane < j.a.n_lanes; lane += blockDim.x) {
        const int from = j.a.from_lane[lane];
        if (from < 0 || j.choice[from] < 0) continue;
        j.a.tokens[j.a.token_at[lane]] = j.choice[from];
        if (j.a.diverged && j.a.diverged[lane] < 0 && dense >= 0 && j.choice[from] != dense) j.a.diverged[lane] = j.a.step[0] + 1;
    }
}

extern "C" size_t cuda_sample_bytes(int n_lanes)
{
    return (size_t)n_lanes * sizeof(int32_t);
}

extern "C" int cuda_sample(struct device *d, const struct sample_args *a)
{
    struct sample_job j;
    j.a = *a;
    TRY(cuda_work_holds(d, cuda_sample_bytes(a->n_lanes), "sample"), "sampling");
    j.choice = (int32_t *)d->work;
    choose_kernel<<<a->n_lanes, SAMPLE_THREADS, 0, d->stream>>>(j);
    feed_kernel<<<1, 64, 0, d->stream>>>(j);
    LAUNCHED("sample");
    return 0;
}
