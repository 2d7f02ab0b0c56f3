/* kernels/cuda_measure.cuh: what the measuring kernels share: which lanes have a value (kernels/measure.h says which and why), and
 * places in a record. */
#ifndef KERNELS_CUDA_MEASURE_CUH
#define KERNELS_CUDA_MEASURE_CUH

#include "kernels/cuda_device.cuh"

/* struct measure, its layout by value. */
struct measure_job {
    struct record_layout layout;
    char *record;
    int n_lanes;
    const int32_t *row_of_lane, *twin, *diverged, *end, *step;
};

static inline struct measure_job measure_job_of(const struct measure *m)
{
    struct measure_job j;
    j.layout = *m->layout;
    j.record = (char *)m->record;
    j.n_lanes = m->n_lanes;
    j.row_of_lane = m->row_of_lane;
    j.twin = m->twin;
    j.diverged = m->diverged;
    j.end = m->end;
    j.step = m->step;
    return j;
}

static inline bool measure_has(const struct measure *m, enum record_var v)
{
    return m->layout->at[v] != RECORD_OFF;
}

struct measure_rows {
    int row, ref, twin;
};

__device__ static inline bool lane_has_row(const struct measure_job &m, int lane)
{
    return m.row_of_lane[lane] >= 0 && m.step[0] < m.end[lane];
}

__device__ static inline bool lane_diverged(const struct measure_job &m, int lane)
{
    return m.diverged[lane] >= 0 && m.step[0] >= m.diverged[lane];
}

__device__ static inline struct measure_rows rows_of(const struct measure_job &m, int lane)
{
    struct measure_rows r = { -1, -1, -1 };
    if (!lane_has_row(m, lane)) return r;
    r.row = m.row_of_lane[lane];
    if (!lane_has_row(m, 0) || lane_diverged(m, lane)) return r;
    r.ref = m.row_of_lane[0];
    const int twin = m.twin[lane];
    if (twin >= 0 && lane_has_row(m, twin) && !lane_diverged(m, twin)) r.twin = m.row_of_lane[twin];
    return r;
}

__device__ static inline bool has(const struct measure_job &m, enum record_var v)
{
    return m.layout.at[v] != RECORD_OFF;
}

/* By one thread. */
__device__ static inline void put_f32(const struct measure_job &m, enum record_var v, size_t i, double x)
{
    if (has(m, v)) ((float *)(m.record + m.layout.at[v]))[i] = (float)x;
}

__device__ static inline void put_i32(const struct measure_job &m, enum record_var v, size_t i, int32_t x)
{
    if (has(m, v)) ((int32_t *)(m.record + m.layout.at[v]))[i] = x;
}

__device__ static inline void put_u8(const struct measure_job &m, enum record_var v, size_t i, bool x)
{
    if (has(m, v)) ((uint8_t *)(m.record + m.layout.at[v]))[i] = x;
}

/* |x - r|^2 and |r|^2 of n floats, by a block of threads. */
__device__ static inline double2 block_squares(const float *x, const float *r, int n, double *shared)
{
    double diff = 0, ref = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
        const double d = (double)x[i] - (double)r[i];
        diff += d * d;
        ref += (double)r[i] * (double)r[i];
    }
    diff = block_sum(diff, shared);
    return make_double2(diff, block_sum(ref, shared));
}

/* The relative difference that two sums of squares stand for; 0/0 = 0. */
__device__ static inline double rel(double diff, double ref)
{
    return diff == 0 && ref == 0 ? 0 : sqrt(diff / ref);
}

#endif
