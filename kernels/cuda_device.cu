#include "kernels/cuda_chunk.cuh"
#include "kernels/cuda_decode.cuh"
#include "kernels/cuda_matrix.cuh"

extern "C" {
#include "core/provenance.h"
}

#include <cstdio>
#include <cstring>

struct graph {
    cudaGraphExec_t exec;
};

int cuda_failed(cudaError_t e, const char *what)
{
    return fail("cuda: %s: %s", what, cudaGetErrorString(e));
}

int cuda_work_holds(const struct device *d, size_t n_bytes, const char *operation)
{
    if (n_bytes <= d->work_bytes) return 0;
    return fail("%s: needs %zu bytes of workspace, %zu were reserved", operation, n_bytes, d->work_bytes);
}

static int open_streams(struct device *d)
{
    int least, most;
    CUDA_TRY(cudaStreamCreateWithFlags(&d->stream, cudaStreamNonBlocking), "stream");
    CUDA_TRY(cudaDeviceGetStreamPriorityRange(&least, &most), "stream");
    CUDA_TRY(cudaStreamCreateWithPriority(&d->side, cudaStreamNonBlocking, most), "stream"); /* few small blocks, not to wait for a product's end */
    CUDA_TRY(cudaEventCreateWithFlags(&d->attended, cudaEventDisableTiming), "event");
    CUDA_TRY(cudaEventCreateWithFlags(&d->measured, cudaEventDisableTiming), "event");
    for (int i = 0; i < DEVICE_MARKS; i++) CUDA_TRY(cudaEventCreate(&d->marks[i]), "event");
    for (int i = 0; i < UPLOAD_SEGMENTS; i++)
        CUDA_TRY(cudaEventCreateWithFlags(&d->segment_free[i], cudaEventDisableTiming), "event");
    CUDA_TRY(cudaMallocHost((void **)&d->upload, (size_t)UPLOAD_SEGMENTS * UPLOAD_SEGMENT_BYTES), "pinned memory");
    CUDA_TRY(cudaMalloc((void **)&d->left, (size_t)d->n_sms * sizeof *d->left), "counters");
    CUDA_TRY(cudaMemsetAsync(d->left, 0, (size_t)d->n_sms * sizeof *d->left, d->stream), "counters");
    CUDA_TRY(cudaMalloc((void **)&d->arrived, MAX_LANES * sizeof *d->arrived), "counters");
    CUDA_TRY(cudaMemsetAsync(d->arrived, 0, MAX_LANES * sizeof *d->arrived, d->stream), "counters");
    return 0;
}

/* 0: there is none; cudaGetDeviceCount() has the same error for no driver and for one that is too old. */
static int driver_version(void)
{
    int version = 0;
    return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

bool cuda_absent(void)
{
    int n_devices = 0;
    const cudaError_t e = cudaGetDeviceCount(&n_devices);
    return e == cudaErrorNoDevice || (e != cudaSuccess && driver_version() == 0);
}

static int no_device(cudaError_t e)
{
    int runtime = 0;
    const int driver = driver_version();
    if (e == cudaErrorNoDevice) return fail("this machine has no CUDA device");
    if (driver == 0) return fail("this machine has no CUDA driver");
    cudaRuntimeGetVersion(&runtime);
    if (e == cudaErrorInsufficientDriver)
        return fail("the CUDA driver is for CUDA %d.%d, this program for %d.%d", driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return fail("no CUDA device: %s", cudaGetErrorString(e));
}

/* The caller names the device. */
int cuda_open(struct device **d, int index)
{
    *d = NULL;
    int n_devices = 0;
    const cudaError_t e = cudaGetDeviceCount(&n_devices);
    if (e != cudaSuccess) return no_device(e);
    if (index < 0 || index >= n_devices) return fail("number %d: this machine's CUDA devices are 0 to %d", index, n_devices - 1);
    cudaDeviceProp p;
    CUDA_TRY(cudaGetDeviceProperties(&p, index), "properties");
    if (p.major != 9 || p.minor != 0)
        return fail("%s has compute capability %d.%d; this program's kernels are for 9.0", p.name, p.major, p.minor);
    CUDA_TRY(cudaSetDevice(index), "device");
    TRY(MEM_NEW(d, 1, "cuda device"), "cuda");
    (*d)->index = index;
    (*d)->n_sms = p.multiProcessorCount;
    (*d)->total_bytes = p.totalGlobalMem;
    snprintf((*d)->name, sizeof (*d)->name, "%s", p.name);
    cudaDeviceGetPCIBusId((*d)->bus_id, sizeof (*d)->bus_id, index);
    if (open_streams(*d) == 0) return 0;
    cuda_close(*d);
    *d = NULL;
    return -1;
}

int cuda_open_bf16(struct device **d, int index)
{
    if (cuda_open(d, index) != 0) return -1;
    (*d)->bf16 = true;
    return 0;
}

void cuda_close(struct device *d)
{
    if (!d) return;
    cuda_clock_close(d);
    if (d->stream) cudaStreamSynchronize(d->stream);
    cudaFree(d->operand);
    cudaFree(d->work);
    cudaFree(d->chunk_plans);
    cudaFree(d->left);
    cudaFree(d->arrived);
    cudaFreeHost(d->upload);
    cudaFreeHost(d->download);
    for (int i = 0; i < DEVICE_MARKS; i++)
        if (d->marks[i]) cudaEventDestroy(d->marks[i]);
    for (int i = 0; i < UPLOAD_SEGMENTS; i++)
        if (d->segment_free[i]) cudaEventDestroy(d->segment_free[i]);
    if (d->attended) cudaEventDestroy(d->attended);
    if (d->measured) cudaEventDestroy(d->measured);
    if (d->side) cudaStreamDestroy(d->side);
    if (d->stream) cudaStreamDestroy(d->stream);
    mem_free(d);
}

int cuda_describe(const struct device *d, char *text, size_t n_bytes)
{
    snprintf(text, n_bytes, "%s, %d SMs, %.0f GiB", d->name, d->n_sms, (double)d->total_bytes / (1 << 30));
    return 0;
}

void cuda_identify(const struct device *d, struct provenance *p)
{
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    snprintf(p->gpu, sizeof p->gpu, "%.127s", d->name);
    snprintf(p->driver, sizeof p->driver, "CUDA %d.%d, runtime %d.%d", driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    snprintf(p->isa, sizeof p->isa, "sm_90a");
    p->n_threads = 1;
}

uint64_t cuda_free_bytes(const struct device *d)
{
    size_t free_bytes = 0, total = 0;
    (void)d;
    if (cudaMemGetInfo(&free_bytes, &total) != cudaSuccess) return 0;
    return free_bytes > 0 ? free_bytes : 1; /* 0 says that it is not known */
}

/* Memory begins as NaN, a workspace too: what is used before it was written shows in results.  compute-sanitizer's initcheck would not see it
 * everywhere: it does not count what bulk copies write. */
int cuda_alloc(struct device *d, void **p, size_t n_bytes, const char *what)
{
    *p = NULL;
    const cudaError_t e = cudaMalloc(p, n_bytes);
    if (e == cudaSuccess) {
        CUDA_TRY(cudaMemsetAsync(*p, 0xff, n_bytes, d->stream), what);
        return 0;
    }
    cudaGetLastError(); /* the failure is told here, not by the next launch */
    *p = NULL;
    if (e == cudaErrorMemoryAllocation)
        return fail("cuda: %s: out of device memory: %zu bytes wanted, %zu are free", what, n_bytes, (size_t)cuda_free_bytes(d));
    return cuda_failed(e, what);
}

void cuda_release(struct device *d, void *p)
{
    if (!p) return;
    cudaStreamSynchronize(d->stream);
    cudaFree(p);
}

static size_t largest(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Elements of the widest row that enters a product. */
static size_t widest_row(const struct model_shape *s)
{
    return largest(largest((size_t)s->hidden, (size_t)s->ffn), (size_t)s->n_heads * (size_t)s->head_dim);
}

static int grow(struct device *d, void **p, size_t n_bytes, const char *what)
{
    cudaStreamSynchronize(d->stream);
    cudaFree(*p);
    return cuda_alloc(d, p, n_bytes, what);
}

/* Attention's.  Few rows: the slots of one launch; rows beyond it come in further launches (kernels/cuda_attend.cu).  Many rows: totals, and
 * nodes, of which any number will do, since cells become coarser where room for nodes is short (kernels/cuda_chunk_plan.cu): as many bytes as O, m, l
 * of each unit of MAX_SPLIT_ROWS rows would take, or of as many rows as 1 GiB holds, at least one. */
static size_t partial_bytes(const struct model_shape *s, int max_rows, int max_tokens)
{
    const size_t chunks = (size_t)(max_tokens / ATTEND_CHUNK) + 2;
    const size_t row = (size_t)s->n_heads * chunks * ((size_t)s->head_dim + 2) * sizeof(float);
    size_t n = max_rows < MAX_SPLIT_ROWS ? (size_t)max_rows : (size_t)MAX_SPLIT_ROWS;
    if (n * row > (size_t)1 << 30) n = largest(((size_t)1 << 30) / row, 1);
    const size_t decode = cuda_decode_bytes(max_rows, s->n_heads, s->n_kv_heads, s->head_dim, max_tokens);
    return largest(largest(n * row, decode), (size_t)32 << 20); /* a chunk's totals are 17 MiB where heads are wide */
}

/* The most that any operation asks for: they use the same memory in turn. */
static size_t work_bytes(const struct model_shape *s, const struct work_extent *e)
{
    const int max_tokens = e->max_context + 2 * KV_TILE; /* a cache's tiles begin and end within a context's */
    const size_t attention = partial_bytes(s, e->max_rows, max_tokens);
    const size_t mass = e->mass_blocks > 0 ? cuda_block_mass_bytes(e->n_lanes, s->n_heads, max_tokens) : 0;
    const size_t layer = cuda_measure_layer_bytes(e->n_lanes, s->n_kv_heads, e->mass_blocks, e->max_blocks);
    const size_t tokens = largest(cuda_measure_logits_bytes(e->n_lanes, s->vocab), cuda_sample_bytes(e->n_lanes));
    return largest(largest(attention, mass), largest(layer, tokens));
}

uint64_t cuda_workspace_bytes(const struct model_shape *s, const struct work_extent *e)
{
    return cuda_operand_bytes(e->max_rows, (int)widest_row(s)) + work_bytes(s, e) + 2 * chunk_plan_bytes(e->max_rows);
}

int cuda_reserve(struct device *d, const struct model_shape *s, const struct work_extent *e)
{
    if (s->head_dim % 16 != 0 || s->head_dim > 256 || s->n_heads > 16 * s->n_kv_heads)
        return fail("cuda: %d query heads on %d KV heads of %d: head_dim must be a multiple of 16 up to 256, and at most 16 query heads share a KV head",
                    s->n_heads, s->n_kv_heads, s->head_dim);
    if (s->hidden > MAX_NORM) return fail("cuda: hidden size %d, allowed are 1 to %d", s->hidden, MAX_NORM);
    const size_t operand_bytes = cuda_operand_bytes(e->max_rows, (int)widest_row(s)), bytes = work_bytes(s, e),
                 plans_bytes = 2 * chunk_plan_bytes(e->max_rows);
    if (operand_bytes > d->operand_bytes) {
        d->operand_bytes = 0;
        TRY(grow(d, &d->operand, operand_bytes, "rows"), "workspace");
        d->operand_bytes = operand_bytes;
    }
    if (plans_bytes > d->chunk_plans_bytes) {
        d->chunk_plans_bytes = 0;
        TRY(grow(d, &d->chunk_plans, plans_bytes, "plans"), "workspace");
        d->chunk_plans_bytes = plans_bytes;
    }
    if (bytes <= d->work_bytes) return 0;
    d->work_bytes = 0;
    TRY(grow(d, (void **)&d->work, bytes, "workspace"), "workspace");
    d->work_bytes = bytes;
    return 0;
}

int cuda_upload(struct device *d, void *to, const void *host, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        if (d->segment_at == UPLOAD_SEGMENT_BYTES) {
            CUDA_TRY(cudaEventRecord(d->segment_free[d->segment], d->stream), "upload");
            d->segment = (d->segment + 1) % UPLOAD_SEGMENTS;
            d->segment_at = 0;
            CUDA_TRY(cudaEventSynchronize(d->segment_free[d->segment]), "upload");
        }
        const size_t room = UPLOAD_SEGMENT_BYTES - d->segment_at, n = n_bytes - at < room ? n_bytes - at : room;
        char *from = d->upload + (size_t)d->segment * UPLOAD_SEGMENT_BYTES + d->segment_at;
        memcpy(from, (const char *)host + at, n);
        CUDA_TRY(cudaMemcpyAsync((char *)to + at, from, n, cudaMemcpyHostToDevice, d->stream), "upload");
        d->segment_at += (n + 63) / 64 * 64; /* a segment is a multiple of 64 bytes */
        at += n;
    }
    return 0;
}

/* The first n downloads, which have left the device, go to the host's memory. */
static void land(struct device *d, long n)
{
    for (; d->n_landed < n; d->n_landed++) {
        const struct download *l = &d->downloads[d->n_landed % MAX_DOWNLOADS];
        memcpy(l->host, d->download + l->at, l->n_bytes);
    }
}

int cuda_sync(struct device *d)
{
    CUDA_TRY(cudaStreamSynchronize(d->stream), "a kernel or a copy");
    land(d, d->n_begun);
    d->download_at = 0;
    return 0;
}

/* Room for n bytes in the ring: where the next download would overwrite one that has not landed, all are waited for. */
static int download_room(struct device *d, size_t n)
{
    if (!d->download) CUDA_TRY(cudaMallocHost((void **)&d->download, DOWNLOAD_BYTES), "pinned memory");
    if (d->n_begun == d->n_landed) d->download_at = 0;
    if (d->download_at + n > DOWNLOAD_BYTES) d->download_at = 0;
    for (long i = d->n_landed; i < d->n_begun; i++) {
        const struct download *l = &d->downloads[i % MAX_DOWNLOADS];
        if (l->at < d->download_at + n && d->download_at < l->at + l->n_bytes) return cuda_sync(d);
    }
    return d->n_begun - d->n_landed < MAX_DOWNLOADS ? 0 : cuda_sync(d);
}

int cuda_download(struct device *d, void *host, const void *from, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        const size_t n = n_bytes - at < DOWNLOAD_BYTES / 4 ? n_bytes - at : DOWNLOAD_BYTES / 4;
        TRY(download_room(d, n), "download");
        char *to = d->download + d->download_at;
        CUDA_TRY(cudaMemcpyAsync(to, (const char *)from + at, n, cudaMemcpyDeviceToHost, d->stream), "download");
        struct download *l = &d->downloads[d->n_begun++ % MAX_DOWNLOADS];
        l->host = (char *)host + at;
        l->at = d->download_at;
        l->n_bytes = n;
        d->download_at += (n + 63) / 64 * 64;
        at += n;
    }
    return 0;
}

void *cuda_stream(struct device *d)
{
    return d->stream;
}

int cuda_mark(struct device *d, int i)
{
    CUDA_TRY(cudaEventRecord(d->marks[i], d->stream), "mark");
    d->marked[i] = d->n_begun;
    return 0;
}

int cuda_wait(struct device *d, int i)
{
    CUDA_TRY(cudaEventSynchronize(d->marks[i]), "a kernel or a copy");
    land(d, d->marked[i]);
    return 0;
}

int cuda_elapsed(struct device *d, int from, int to, double *seconds)
{
    float ms = 0;
    CUDA_TRY(cudaEventElapsedTime(&ms, d->marks[from], d->marks[to]), "time between two marks");
    *seconds = 1e-3 * (double)ms;
    return 0;
}

static int record(struct device *d, struct graph **g, int (*enqueue)(void *context), void *context)
{
    cudaGraph_t graph = NULL;
    CUDA_TRY(cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeRelaxed), "recording");
    const int rc = enqueue(context);
    const cudaError_t e = cudaStreamEndCapture(d->stream, &graph);
    if (rc != 0 || e != cudaSuccess) {
        if (graph) cudaGraphDestroy(graph);
        return rc != 0 ? rc : cuda_failed(e, "recording");
    }
    int made = MEM_NEW(g, 1, "graph");
    if (made == 0) {
        const cudaError_t i = cudaGraphInstantiate(&(*g)->exec, graph, 0);
        if (i != cudaSuccess) made = cuda_failed(i, "instantiating a graph");
    }
    cudaGraphDestroy(graph);
    return made;
}

int cuda_replay(struct device *d, struct graph **g, int (*enqueue)(void *context), void *context)
{
    if (!*g) TRY(record(d, g, enqueue, context), "graph");
    CUDA_TRY(cudaGraphLaunch((*g)->exec, d->stream), "graph");
    return 0;
}

void cuda_graph_free(struct device *d, struct graph *g)
{
    if (!g) return;
    cudaStreamSynchronize(d->stream);
    if (g->exec) cudaGraphExecDestroy(g->exec);
    mem_free(g);
}

struct clearing {
    struct record_layout layout;
    size_t count[N_RECORD_VARS];
    unsigned char type[N_RECORD_VARS];
};

/* One block of threads for each variable. */
__global__ static void clear_kernel(struct clearing c, char *record)
{
    const int v = blockIdx.x;
    if (c.layout.at[v] == RECORD_OFF) return;
    char *at = record + c.layout.at[v];
    for (size_t i = threadIdx.x; i < c.count[v]; i += blockDim.x) {
        if (c.type[v] == REC_F32) ((float *)at)[i] = __int_as_float(0x7fc00000);
        else if (c.type[v] == REC_I32) ((int32_t *)at)[i] = -1;
        else if (c.type[v] == REC_I64) ((int64_t *)at)[i] = -1;
        else ((uint8_t *)at)[i] = 255;
    }
}

int cuda_clear(struct device *d, const struct record_layout *l, void *rec)
{
    struct clearing c;
    c.layout = *l;
    for (int v = 0; v < N_RECORD_VARS; v++) {
        c.count[v] = record_var_count(l, (enum record_var)v);
        c.type[v] = (unsigned char)record_var_defs[v].type;
    }
    clear_kernel<<<N_RECORD_VARS, 256, 0, d->stream>>>(c, (char *)rec);
    LAUNCHED("clear");
    return 0;
}
