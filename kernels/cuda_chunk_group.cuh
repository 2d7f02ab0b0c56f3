/* kernels/cuda_chunk_group.cuh: what becomes of a group in the attention of many rows: it joins its segment, which becomes a node, or the result. */
#ifndef KERNELS_CUDA_CHUNK_GROUP_CUH
#define KERNELS_CUDA_CHUNK_GROUP_CUH

#include "kernels/cuda_chunk_work.cuh"

/* What one thread of a warpgroup has of 64 packed rows: rows h = 0, 1, at 8 from each other. */
template <int SLABS> struct chunk_group {
    using shared = chunk_shared<SLABS>;
    shared &sh;
    const struct chunk_job &j;
    int group;          /* warpgroup */
    int limit[2];       /* position of the packed row, -1: none */
    float o[SLABS][32]; /* the group in work */
    float most[2], sum[2];
    volatile float segment_most[2], segment_sum[2], total_most[2], total_sum[2]; /* seldom used: not in registers */

    __device__ chunk_group(shared &sh, const struct chunk_job &j) : sh(sh), j(j)
    {
        group = __shfl_sync(0xffffffffu, threadIdx.x / WARPGROUP, 0); /* known to be the same in a warp */
    }

    __device__ const struct chunk_work &work() const
    {
        return sh.work[group];
    }

    /* Room for the segment in work. */
    __device__ float *room() const
    {
        float *all = shared::TOTALS ? sh.total : j.totals + (size_t)blockIdx.x * CHUNK_TILE * SLABS * SLAB;
        return all + (size_t)group * GROUP_ROWS * SLABS * SLAB;
    }

    /* This thread's part i of it. */
    __device__ float4 *total(int i) const
    {
        return (float4 *)room() + i * WARPGROUP + threadIdx.x % WARPGROUP;
    }

    /* After it no node is copied from the room any more, and all have read what they had there. */
    __device__ void room_wait()
    {
        if (threadIdx.x % WARPGROUP == 0) copies_out_read();
        named_sync(BAR_OWN + group, WARPGROUP);
    }

    __device__ int packed_row(int h) const
    {
        return group * GROUP_ROWS + threadIdx.x % WARPGROUP / 32 * 16 + threadIdx.x % 32 / 4 + 8 * h;
    }

    __device__ void begin_group()
    {
#pragma unroll
        for (int i = 0; i < SLABS * 32; i++) o[i / 32][i % 32] = 0;
        most[0] = most[1] = -INFINITY;
        sum[0] = sum[1] = 0;
    }

    /* What the segment so far and the group in work are multiplied by as they become one. */
    __device__ void fold_stats(struct fold (&f)[2])
    {
        for (int h = 0; h < 2; h++) {
            f[h] = fold_of(segment_most[h], most[h], j.scale2);
            most[h] = f[h].most;
            sum[h] = fold_sum(segment_sum[h], sum[h], f[h]);
        }
    }

    __device__ float4 fold_part(int i, const struct fold (&f)[2]) const
    {
        const float4 x = *total(i);
        const float *y = &o[i / 8][i % 8 * 4];
        return make_float4(fold_sum(x.x, y[0], f[0]), fold_sum(x.y, y[1], f[0]), fold_sum(x.z, y[2], f[1]),
                           fold_sum(x.w, y[3], f[1]));
    }

    /* The group in work joins the segment, which goes on: of which it is the first. */
    __device__ void keep_total(bool first)
    {
        if (first) {
            if (shared::TOTALS) room_wait();
#pragma unroll
            for (int i = 0; i < SLABS * 8; i++) {
                const float *y = &o[i / 8][i % 8 * 4];
                *total(i) = make_float4(y[0], y[1], y[2], y[3]);
            }
        } else {
            struct fold f[2];
            fold_stats(f);
#pragma unroll
            for (int i = 0; i < SLABS * 8; i++) *total(i) = fold_part(i, f);
        }
        for (int h = 0; h < 2; h++) {
            segment_most[h] = most[h];
            segment_sum[h] = sum[h];
        }
    }

    /* The segment ends with the group in work and takes its place. */
    __device__ void take_total()
    {
        struct fold f[2];
        fold_stats(f);
#pragma unroll
        for (int i = 0; i < SLABS * 8; i++) {
            const float4 x = fold_part(i, f);
            float *y = &o[i / 8][i % 8 * 4];
            y[0] = x.x;
            y[1] = x.y;
            y[2] = x.z;
            y[3] = x.w;
        }
    }

    __device__ void write_stats(int cell)
    {
        float *stats = node_at(j, work().first_cell, cell) + (size_t)PACK * node_stride(j.kv.head_dim);
        for (int h = 0; h < 2; h++) {
            const int packed = blockIdx.x % 2 * CHUNK_TILE + packed_row(h);
            if (limit[h] < 0 || threadIdx.x % 4 != 0) continue;
            stats[packed] = most[h];
            stats[PACK + packed] = sum[h];
        }
    }

    /* o to the workspace, as a node; through the room in shared memory, so that the next group need not wait for it. */
    __device__ void write_node(int cell)
    {
        const int stride = node_stride(j.kv.head_dim), first = blockIdx.x % 2 * CHUNK_TILE + group * GROUP_ROWS;
        float *node = node_at(j, work().first_cell, cell) + (size_t)first * stride;
        float *to = shared::TOTALS ? room() : node;
        if (shared::TOTALS) room_wait();
        for (int h = 0; h < 2; h++) {
            const int row = packed_row(h) % GROUP_ROWS;
#pragma unroll
            for (int i = 0; i < SLABS * 8; i++)
                if (i * 8 < stride)
                    *(float2 *)(to + row * stride + node_column(row, i * 8 + 2 * (threadIdx.x % 4))) =
                        make_float2(o[i / 8][i % 8 * 4 + 2 * h], o[i / 8][i % 8 * 4 + 2 * h + 1]);
        }
        if (shared::TOTALS) {
            copies_follow();
            named_sync(BAR_OWN + group, WARPGROUP);
            if (threadIdx.x % WARPGROUP == 0)
                copy_out(node, to, min(work().n - group * GROUP_ROWS, GROUP_ROWS) * stride * (int)sizeof(float));
        }
        write_stats(cell);
    }

    /* Where the segments of a part that begins its item are folded in place: in the result, if it is all of the item, else in a node. */
    __device__ float *first_segments(int h) const
    {
        const struct chunk_work &w = work();
        if (!w.whole)
            return node_at(j, w.first_cell, 0) +
                   (size_t)(blockIdx.x % 2 * CHUNK_TILE + packed_row(h)) * node_stride(j.kv.head_dim);
        const int packed = w.first + packed_row(h), head = w.part.kv_head * j.group + packed % j.group;
        return j.out + ((size_t)j.rows[w.run + packed / j.group].out_row * j.n_heads + head) * j.kv.head_dim;
    }

    /* The next of them; first, last: of the item. */
    __device__ void add_segment(bool first, bool ends)
    {
        const int t = threadIdx.x % 4;
        for (int h = 0; h < 2; h++) {
            const struct fold f = fold_of(first ? -INFINITY : total_most[h], most[h], j.scale2);
            total_most[h] = most[h] = f.most;
            total_sum[h] = sum[h] = fold_sum(first ? 0.0f : total_sum[h], sum[h], f);
            if (limit[h] < 0) continue;
            float *all = first_segments(h);
            const int turned = work().whole ? 0 : node_column(packed_row(h), 0);
#pragma unroll
            for (int i = 0; i < SLABS * 8; i++) {
                const int d = i * 8 + 2 * t;
                if (d >= j.kv.head_dim) continue;
                float *to = all + (d ^ turned);
                const float2 before = first ? make_float2(0, 0) : *(const float2 *)to;
                const float x = fold_sum(before.x, o[i / 8][i % 8 * 4 + 2 * h], f),
                            y = fold_sum(before.y, o[i / 8][i % 8 * 4 + 2 * h + 1], f);
                *(float2 *)to = ends ? make_float2(__fdiv_rn(x, sum[h]), __fdiv_rn(y, sum[h])) : make_float2(x, y);
            }
        }
    }

    __device__ void end_group(int unit)
    {
        const struct chunk_work &w = work();
        const bool ends = unit + 1 == w.end || (unit + 1) % SEGMENT_UNITS == 0,
                   begun = unit / SEGMENT_UNITS * SEGMENT_UNITS >= w.unit; /* here */
        const bool first = unit % SEGMENT_UNITS < FOLD_UNITS;
        if (begun && !ends) {
            keep_total(first);
        } else {
            if (begun && !first) take_total();
            end_segment(unit, begun);
        }
        begin_group();
    }

    /* The end of a segment, or of a group whose segment was begun by others. */
    __device__ void end_segment(int unit, bool begun)
    {
        const struct chunk_work &w = work();
        const int segment = unit / SEGMENT_UNITS;
        if (!begun) {
            write_node(unit / (w.cell_groups * FOLD_UNITS));
            return;
        }
        const int2 cells = segment_cells(w.cell_groups, segment, w.part.n_cells);
        if (w.part.from > 0 || cells.y > w.part.to)
            write_node(cells.x);
        else {
            add_segment(segment == 0, w.whole && unit + 1 == w.end);
            if (!w.whole) write_stats(0);
        }
    }
};

#endif
