/* kernels/cuda_keys.cuh: how a key enters its block's. */
#ifndef KERNELS_CUDA_KEYS_CUH
#define KERNELS_CUDA_KEYS_CUH

#include "kernels/cuda_kv.cuh"

__device__ static inline void key_fold(float *low, float *high, float x)
{
    *low = *low <= x ? *low : x;
    *high = *high >= x ? *high : x;
}

/* A row's k into its block's key, by THREADS threads. */
template <int THREADS> __device__ static void key_commit(const struct kv_cache &c, const struct key_set &s, int layer, int kv_head, int position, const float *k)
{
    const struct block_key key = key_at(c, s, layer, kv_head, position / s.block_size);
    for (int i = threadIdx.x; i < c.head_dim; i += THREADS) {
        __half *at = key.low + (size_t)i * 2 * key.width;
        float low = __half2float(at[0]), high = __half2float(at[key.width]);
        key_fold(&low, &high, k[i]);
        at[0] = __float2half_rn(low);
        at[key.width] = __float2half_rn(high);
    }
}

/* Of all rows that write into the set's store, in order; a thread for each finds them.  By the THREADS threads of a block. */
template <int THREADS>
__device__ static void keys_commit(const struct kv_cache &c, const struct key_set &s, int layer, int kv_head, int n_rows, int n_heads, const struct row *rows,
                                   const float *qkv)
{
    __shared__ unsigned votes[THREADS / 32];
    const int end = key_set_end(c, s);
    for (int base = 0; base < n_rows; base += THREADS) {
        const int r = base + (int)threadIdx.x;
        bool folds = false;
        if (r < n_rows) {
            const struct row row = rows[r];
            const int block = row.position / s.block_size;
            folds = row.tail == NO_TAIL && row.store == s.store && block >= s.first_block && block < end;
        }
        const unsigned vote = __ballot_sync(0xffffffffu, folds);
        __syncthreads();
        if (threadIdx.x % 32 == 0) votes[threadIdx.x / 32] = vote;
        __syncthreads();
        for (int w = 0; w < THREADS / 32; w++)
            for (unsigned left = votes[w]; left; left &= left - 1) {
                const int one = base + w * 32 + __ffs((int)left) - 1;
                const float *k = qkv + ((size_t)one * (size_t)(n_heads + 2 * c.n_kv_heads) + (size_t)(n_heads + kv_head)) * (size_t)c.head_dim;
                key_commit<THREADS>(c, s, layer, kv_head, rows[one].position, k);
            }
    }
}

#endif
