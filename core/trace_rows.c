#include "core/trace_rows.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/trace_values.h"

#include <math.h>
#include <omp.h>
#include <string.h>
#include <zlib.h>

/* A chunk as it is stored, and where it belongs. */
struct trace_chunk {
    unsigned char *stored; /* owned [capacity] */
    size_t n_bytes, capacity;
    int step, lane; /* its first ones */
    bool bad;       /* it could not be unpacked */
};

static size_t row_values(const struct trace_rows *r)
{
    return (size_t)r->f->n_lanes * (size_t)r->f->n_layers;
}

static size_t chunk_values(const struct trace_rows *r)
{
    return (size_t)r->chunk_steps * (size_t)r->chunk_lanes * (size_t)r->f->n_layers;
}

/* Shuffled and then deflated, and nothing else. */
static bool filters_known(hid_t dcpl)
{
    static const H5Z_filter_t wanted[2] = { H5Z_FILTER_SHUFFLE, H5Z_FILTER_DEFLATE };
    if (H5Pget_nfilters(dcpl) != 2) return false;
    for (unsigned i = 0; i < 2; i++) {
        unsigned flags = 0, config = 0;
        size_t n = 0;
        if (H5Pget_filter2(dcpl, i, &flags, &n, NULL, 0, NULL, &config) != wanted[i]) return false;
    }
    return true;
}

/* Whether the chunks can be unpacked here: sets chunk_steps, chunk_lanes, or leaves them 0. */
static void layout_read(struct trace_rows *r)
{
    const uint16_t one = 1;
    hsize_t n[TRACE_MAX_DIMS] = { 0 };
    const hid_t dcpl = H5Dget_create_plist(r->id), type = H5Dget_type(r->id);
    const bool little = *(const unsigned char *)&one == 1;
    if (little && dcpl >= 0 && type >= 0 && H5Tequal(type, H5T_IEEE_F32LE) > 0 && H5Pget_layout(dcpl) == H5D_CHUNKED &&
        H5Pget_chunk(dcpl, TRACE_MAX_DIMS, n) == 3 && n[0] <= TRACE_MAX_LENGTH && n[1] <= (hsize_t)r->f->n_lanes &&
        n[2] == (hsize_t)r->f->n_layers && filters_known(dcpl)) {
        r->chunk_steps = (int)n[0];
        r->chunk_lanes = (int)n[1];
    }
    if (type >= 0) H5Tclose(type);
    if (dcpl >= 0) H5Pclose(dcpl);
}

int trace_rows_open(struct trace_rows *r, const struct trace_file *f, const char *name)
{
    const struct trace_dim_list list = trace_dims_known(name);
    *r = (struct trace_rows){ .f = f, .name = name };
    if (list.n != 3 || list.dims[0] != DIM_STEP || list.dims[1] != DIM_LANE || list.dims[2] != DIM_LAYER)
        return fail("%s: %s is no variable by step, lane and layer", f->path, name);
    const hid_t id = trace_dataset_open(f, name);
    if (id < 0) return -1;
    r->id = id;
    layout_read(r);
    const size_t fit = TRACE_ROWS_BYTES / sizeof(float) / row_values(r),
                 least = r->chunk_steps ? (size_t)r->chunk_steps : 1;
    const size_t most = fit > least ? fit / least * least : least, all = (size_t)f->n_steps;
    r->max_steps = (int)(most < all ? most : all);
    TRY(MEM_NEW(&r->values, (size_t)r->max_steps * row_values(r), name), "%s", f->path);
    if (!r->chunk_steps) return 0;
    r->n_threads = omp_get_max_threads();
    r->n_chunks = ((r->max_steps + r->chunk_steps - 1) / r->chunk_steps) *
                  ((f->n_lanes + r->chunk_lanes - 1) / r->chunk_lanes);
    TRY(MEM_NEW(&r->chunks, r->n_chunks, name), "%s", f->path);
    return mem_alloc((void **)&r->plain, (size_t)r->n_threads, chunk_values(r) * sizeof(float), name);
}

void trace_rows_close(struct trace_rows *r)
{
    if (r->id > 0) H5Dclose(r->id);
    for (int i = 0; r->chunks && i < r->n_chunks; i++) mem_free(r->chunks[i].stored);
    mem_free(r->chunks);
    mem_free(r->values);
    mem_free(r->plain);
    *r = (struct trace_rows){ 0 };
}

/* ---- read by HDF5 ---- */

static int rows_read(struct trace_rows *r)
{
    const hsize_t at[3] = { (hsize_t)r->first },
                  n[3] = { (hsize_t)r->n, (hsize_t)r->f->n_lanes, (hsize_t)r->f->n_layers };
    const hid_t space = H5Dget_space(r->id), memory = H5Screate_simple(3, n, NULL);
    int rc = 0;
    if (space < 0 || memory < 0 || H5Sselect_hyperslab(space, H5S_SELECT_SET, at, NULL, n, NULL) < 0 ||
        H5Dread(r->id, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, r->values) < 0)
        rc = hdf5_fail("%s: %s cannot be read", r->f->path, r->name);
    if (memory >= 0) H5Sclose(memory);
    if (space >= 0) H5Sclose(space);
    return rc;
}

/* ---- read as stored ---- */

/* 1: it was stored without a filter, or beyond what a chunk can need. */
static int chunk_read(struct trace_rows *r, struct trace_chunk *c)
{
    const hsize_t at[3] = { (hsize_t)c->step, (hsize_t)c->lane };
    hsize_t n_bytes = 0;
    uint32_t left_out = 0;
    c->n_bytes = 0;
    if (H5Dget_chunk_storage_size(r->id, at, &n_bytes) < 0) return 1; /* a chunk that was never written too */
    if (n_bytes == 0 || n_bytes > compressBound(chunk_values(r) * sizeof(float))) return 1;
    if (n_bytes > c->capacity) {
        mem_free(c->stored);
        c->stored = NULL;
        c->capacity = 0;
        TRY(MEM_NEW(&c->stored, n_bytes, r->name), "%s", r->f->path);
        c->capacity = n_bytes;
    }
    if (H5Dread_chunk(r->id, H5P_DEFAULT, at, &left_out, c->stored) < 0 || left_out != 0) return 1;
    c->n_bytes = n_bytes;
    return 0;
}

/* The four planes of bytes of n values, together again. */
static void bytes_join(const unsigned char *plain, size_t n, float *out, size_t from, size_t count)
{
    const unsigned char *a = plain + from, *b = a + n, *c = b + n, *d = c + n;
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = a[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16 | (uint32_t)d[i] << 24;
        memcpy(out + i, &bits, sizeof bits);
    }
}

static void chunk_unpack(const struct trace_rows *r, struct trace_chunk *c, unsigned char *plain)
{
    const size_t n = chunk_values(r), n_layers = (size_t)r->f->n_layers;
    const int lanes_left = r->f->n_lanes - c->lane, steps_left = r->first + r->n - c->step,
              n_lanes = r->chunk_lanes < lanes_left ? r->chunk_lanes : lanes_left,
              n_steps = r->chunk_steps < steps_left ? r->chunk_steps : steps_left;
    uLongf got = n * sizeof(float);
    c->bad = uncompress(plain, &got, c->stored, c->n_bytes) != Z_OK || got != n * sizeof(float);
    for (int step = 0; step < n_steps && !c->bad; step++) {
        const size_t from = (size_t)step * (size_t)r->chunk_lanes * n_layers,
                     to = (size_t)(c->step + step - r->first) * row_values(r) + (size_t)c->lane * n_layers;
        bytes_join(plain, n, r->values + to, from, (size_t)n_lanes * n_layers);
    }
}

/* 1: not all of these chunks are stored as expected. */
static int chunks_read(struct trace_rows *r)
{
    int n = 0, bad = 0;
    for (int step = r->first; step < r->first + r->n; step += r->chunk_steps)
        for (int lane = 0; lane < r->f->n_lanes; lane += r->chunk_lanes) {
            struct trace_chunk *c = &r->chunks[n++];
            c->step = step;
            c->lane = lane;
            const int rc = chunk_read(r, c);
            if (rc != 0) return rc;
        }
#pragma omp parallel for schedule(dynamic) reduction(+ : bad)
    for (int i = 0; i < n; i++) {
        chunk_unpack(r, &r->chunks[i], r->plain + (size_t)omp_get_thread_num() * chunk_values(r) * sizeof(float));
        bad += r->chunks[i].bad;
    }
    return bad ? fail("%s: %s: steps %d to %d are damaged: they cannot be unpacked", r->f->path, r->name, r->first,
                      r->first + r->n - 1)
               : 0;
}

int trace_rows_next(struct trace_rows *r)
{
    r->first += r->n;
    const int left = r->f->n_steps - r->first;
    r->n = r->max_steps < left ? r->max_steps : left;
    if (r->n == 0) return 0;
    const int rc = r->chunk_steps ? chunks_read(r) : 1;
    return rc == 1 ? rows_read(r) : rc;
}
