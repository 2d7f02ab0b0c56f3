/* kernels/cuda_chunk_task.cuh: the arithmetic of a warpgroup in the attention of many rows: scores, weights, products with V, their folds into groups. */
#ifndef KERNELS_CUDA_CHUNK_TASK_CUH
#define KERNELS_CUDA_CHUNK_TASK_CUH

#include "kernels/cuda_chunk_group.cuh"

#include <climits>

template <int SLABS> struct chunk_task : chunk_group<SLABS> {
    using base = chunk_group<SLABS>;
    using shared = chunk_shared<SLABS>;
    using base::begin_group, base::end_group, base::group, base::j, base::limit, base::most, base::o, base::packed_row,
        base::sh, base::sum, base::work;
    int last;         /* position of the tile's last row */
    int n, n_cleared; /* units so far; times that V was cleared */
    bool both;        /* the other warpgroup has rows of the part too */
    uint32_t p[32];   /* weights of a unit */
    float unit_most[2], unit_sum[2], run[2], next[2]; /* of the unit in work; what its fold multiplies by */

    __device__ chunk_task(shared &sh, const struct chunk_job &j) : base(sh, j)
    {
        n = n_cleared = 0;
    }

    __device__ void load_queries()
    {
        /* With more at once the loop over units gets other registers, and takes 2 % longer. */
        static constexpr int PIECES = SLABS * (SLAB / 8), STEP = WARPGROUP / PIECES, AT_ONCE = 4;
        const struct chunk_work &w = work();
        const int dim = j.kv.head_dim, d = threadIdx.x % PIECES * 8;
        const float *q = j.qkv + (size_t)w.part.kv_head * j.group * dim + d;
        /* So many loads at once that none waits for another's end. */
#pragma unroll 1
        for (int from = 0; from < GROUP_ROWS; from += AT_ONCE * STEP) {
            const int first = group * GROUP_ROWS + from + threadIdx.x % WARPGROUP / PIECES;
            size_t at[AT_ONCE];
            float4 x[AT_ONCE][2];
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                const int packed = w.first + min(first + i * STEP, w.n - 1);
                at[i] = (size_t)j.rows[w.run + packed / j.group].q_row * j.qkv_stride + packed % j.group * dim;
            }
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++)
                for (int h = 0; h < 2; h++) {
                    x[i][h] = make_float4(0, 0, 0, 0);
                    if (first + i * STEP < w.n && d < dim) x[i][h] = *(const float4 *)(q + at[i] + 4 * h);
                }
#pragma unroll
            for (int i = 0; i < AT_ONCE; i++) {
                __half2 y[4];
                for (int h = 0; h < 2; h++) {
                    y[2 * h] = __floats2half2_rn(x[i][h].x, x[i][h].y);
                    y[2 * h + 1] = __floats2half2_rn(x[i][h].z, x[i][h].w);
                }
                *(uint4 *)&sh.q[d / SLAB][slab_at(first + i * STEP, d % SLAB)] = *(uint4 *)y;
            }
        }
        copies_follow();
        named_sync(BAR_OWN + group, WARPGROUP);
    }

    __device__ void begin_part()
    {
        const struct chunk_work &w = work();
        load_queries();
        for (int h = 0; h < 2; h++) {
            const int row = packed_row(h);
            limit[h] = row < w.n ? w.position + (w.first + row) / j.group : -1;
        }
        begin_group();
    }

    /* The stage of this unit or a later one, known to be the same in a warp. */
    __device__ int stage_of(int n) const
    {
        return shared::STAGES == 1 ? 0 : __shfl_sync(0xffffffffu, n % shared::STAGES, 0);
    }

    __device__ void scores_wait()
    {
        barrier_wait(&sh.k_full[stage_of(n)], n / shared::STAGES % 2);
    }

    __device__ void issue_scores(float (&s)[64])
    {
        const int stage = stage_of(n);
        wgmma_fence();
        const uint32_t q_at = slab_of(sh.q[0]) + group * (GROUP_ROWS * SLAB / 8),
                       k_at = slab_of(sh.k[0]) + stage * (SLABS * UNIT * SLAB / 8);
#pragma unroll
        for (int k = 0; k < SLABS * 4; k++)
            wgmma_rows(s, q_at + k / 4 * (CHUNK_TILE * SLAB / 8) + k % 4 * 2,
                       k_at + k / 4 * (UNIT * SLAB / 8) + k % 4 * 2, k > 0);
        wgmma_commit();
    }

    __device__ void issue_values(float (&u)[32], int stage, int slab)
    {
        wgmma_fence();
        const uint32_t v_at = slab_of(sh.v[0][slab]) + stage * (SLABS * UNIT * SLAB / 8);
#pragma unroll
        for (int k = 0; k < UNIT / 16; k++) wgmma_columns(u, p + 4 * k, v_at + k * (16 * SLAB / 8), k > 0);
        wgmma_commit();
    }

    /* The warpgroups' products take turns, so that the scores of one become weights while the other's products run. */
    __device__ void turn_wait()
    {
        if (both) named_sync(BAR_TURN + group, 2 * WARPGROUP);
    }

    __device__ void turn_pass()
    {
        if (both) named_arrive(BAR_TURN + 1 - group, 2 * WARPGROUP);
    }

    __device__ void release(uint64_t *b)
    {
        if (threadIdx.x % 32 < 2) barrier_arrive_at(b, threadIdx.x % 32);
    }

    /* What a row does not see weighs nothing; the greatest score. */
    __device__ void find_most(float (&s)[64], int unit)
    {
        /* Rows that are none, of limit -1, do not ask for it. */
        if ((uint32_t)((unit + 1) * UNIT - 1) > min((uint32_t)limit[0], (uint32_t)limit[1])) {
#pragma unroll
            for (int i = 0; i < 64; i++)
                if (unit * UNIT + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2 > limit[i / 2 % 2]) s[i] = -INFINITY;
        }
        float m[4] = { s[0], s[1], s[2], s[3] };
#pragma unroll
        for (int i = 4; i < 64; i++) m[i % 4] = fmaxf(m[i % 4], s[i]);
#pragma unroll
        for (int h = 0; h < 2; h++) unit_most[h] = fmaxf(m[2 * h], m[2 * h + 1]);
#pragma unroll
        for (int o = 1; o < 4; o *= 2)
#pragma unroll
            for (int h = 0; h < 2; h++)
                unit_most[h] = fmaxf(unit_most[h], __shfl_xor_sync(0xffffffffu, unit_most[h], o));
    }

    /* Scores to weights, in their place, and this thread's part of the sum of weights. */
    __device__ void weigh(float (&s)[64])
    {
        float bias[2], l[4], even[4],
            odd[4]; /* of elements 0 .. 3 of a tile; sums over bits 5 and 6 of the token, then 3, then 4 */
#pragma unroll
        for (int h = 0; h < 2; h++) bias[h] = attend_bias(unit_most[h], j.scale2);
#pragma unroll
        for (int i = 0; i < 64; i++) s[i] = attend_weight(s[i], j.scale2, bias[i / 2 % 2]);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const float *y = s + i * 4 + e;
                const float sum = __fadd_rn(__fadd_rn(y[0], y[16]), __fadd_rn(y[32], y[48]));
                if (i == 0) even[e] = sum;
                if (i == 1) even[e] = __fadd_rn(even[e], sum);
                if (i == 2) odd[e] = sum;
                if (i == 3) l[e] = __fadd_rn(even[e], __fadd_rn(odd[e], sum));
            }
        unit_sum[0] = __fadd_rn(l[0], l[1]);
        unit_sum[1] = __fadd_rn(l[2], l[3]);
    }

    __device__ void pack(const float (&s)[64])
    {
#pragma unroll
        for (int i = 0; i < 32; i++) {
            const __half2 x = __floats2half2_rn(s[2 * i], s[2 * i + 1]);
            p[i] = *(const uint32_t *)&x;
        }
    }

    /* The unit's greatest score and sum of weights join the group's. */
    __device__ void fold_sums()
    {
#pragma unroll
        for (int o = 1; o < 4; o *= 2)
#pragma unroll
            for (int h = 0; h < 2; h++)
                unit_sum[h] = __fadd_rn(unit_sum[h], __shfl_xor_sync(0xffffffffu, unit_sum[h], o));
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const struct fold f = fold_of(most[h], unit_most[h], j.scale2);
            most[h] = f.most;
            sum[h] = fold_sum(sum[h], unit_sum[h], f);
            run[h] = f.run;
            next[h] = f.next;
        }
    }

    __device__ void fold_values(float (&u)[32], int slab)
    {
        pin(u);
#pragma unroll
        for (int i = 0; i < 32; i++)
            o[slab][i] = __fmaf_rn(o[slab][i], run[i / 2 % 2], __fmul_rn(u[i], next[i / 2 % 2]));
    }

    /* V of tokens after the tile's last may be anything; a weight of 0 does not make NaN nothing.  Before the turn: both
     * warpgroups meet here. */
    __device__ void clear_values(int unit, int stage)
    {
        if ((unit + 1) * UNIT - 1 <= last) return;
        barrier_wait(&sh.v_full[stage], n / shared::STAGES % 2);
        const int first = max(last + 1 - unit * UNIT, 0);
        for (int i = first * 8 + threadIdx.x; i < UNIT * 8; i += 2 * WARPGROUP)
            for (int s = 0; s < SLABS; s++) ((uint4 *)sh.v[stage][s])[i] = make_uint4(0, 0, 0, 0);
        copies_follow();
        __syncwarp();
        if (threadIdx.x % 32 == 0) barrier_arrive(&sh.cleared);
        barrier_wait(&sh.cleared, n_cleared++ % 2);
    }

    /* A unit that was weighed; then the one after it, where there is one (MORE), is weighed.  A turn is that one's scores and this one's products:
     * what must be done before products can begin is done while the scores run. */
    template <bool MORE> __device__ void unit(int unit)
    {
        static constexpr bool AHEAD = MORE && SLABS <= 2; /* registers allow */
        const int stage = stage_of(n), parity = n / shared::STAGES % 2;
        float u[32], s[64];
        clear_values(unit, stage);
        n++;
        if constexpr (AHEAD) scores_wait();
        turn_wait();
        if constexpr (AHEAD) issue_scores(s);
        fold_sums();
        barrier_wait(&sh.v_full[stage], parity);
        issue_values(u, stage, 0);
        if constexpr (AHEAD) {
            wgmma_wait<1>();
            pin(s);
            release(&sh.k_free[n % shared::STAGES]);
            find_most(s, unit + 1);
        }
#pragma unroll
        for (int slab = 1; slab < SLABS; slab++) {
            wgmma_wait<0>();
            fold_values(u, slab - 1);
            issue_values(u, stage, slab);
        }
        turn_pass();
        if constexpr (AHEAD) weigh(s);
        wgmma_wait<0>();
        pin(p);
        release(&sh.v_free[stage]);
        if constexpr (AHEAD) pack(s);
        fold_values(u, SLABS - 1);
        if constexpr (MORE && !AHEAD) first_weights(unit + 1);
    }

    __device__ void first_weights(int unit)
    {
        float s[64];
        scores_wait();
        turn_wait();
        issue_scores(s);
        turn_pass();
        wgmma_wait<0>();
        pin(s);
        release(&sh.k_free[n % shared::STAGES]);
        find_most(s, unit);
        weigh(s);
        pack(s);
    }

    __device__ void part()
    {
        begin_part();
        const int end = work().end;
        first_weights(work().unit);
        for (int i = work().unit; i + 1 < end; i++) {
            unit<true>(i);
            if ((i + 1) % FOLD_UNITS == 0) end_group(i);
        }
        unit<false>(end - 1);
        end_group(end - 1);
    }

    /* No rows for this warpgroup: what the others wait for. */
    __device__ void pass_part()
    {
        const int end = work().end;
        for (int i = work().unit; i < end; i++) pass_unit(i);
    }

    __device__ void pass_unit(int unit)
    {
        const int stage = n % shared::STAGES, parity = n / shared::STAGES % 2;
        barrier_wait(&sh.k_full[stage], parity);
        __syncwarp(); /* none of its lanes still waits for what is let go */
        release(&sh.k_free[stage]);
        barrier_wait(&sh.v_full[stage], parity);
        clear_values(unit, stage);
        __syncwarp();
        release(&sh.v_free[stage]);
        n++;
    }

    __device__ void go()
    {
        const int2 mine = work_of_pair(j);
        if (group == 1) named_arrive(BAR_TURN, 2 * WARPGROUP); /* the first turn is warpgroup 0's */
        for (int at = mine.x; at < mine.y;) {
            struct chunk_work w;
            next_work(j, &at, mine.y, w);
            named_sync(BAR_OWN + group, WARPGROUP); /* all have done the part before */
            if (threadIdx.x % WARPGROUP == 0) sh.work[group] = w;
            named_sync(BAR_OWN + group, WARPGROUP);
            last = w.n > 0 ? w.last : INT_MAX;
            both = __shfl_sync(0xffffffffu, w.n > GROUP_ROWS, 0);
            if (w.n > group * GROUP_ROWS)
                part();
            else
                pass_part();
        }
        if (group == 0) named_sync(BAR_TURN, 2 * WARPGROUP); /* no arrival is left over */
        if (threadIdx.x % WARPGROUP == 0) copies_out_done();
    }
};

#endif
