/* kernels/cuda_attend.cu: attention: which kernels compute it, and their workspace. */
#include "kernels/cuda_chunk.cuh"
#include "kernels/cuda_decode.cuh"
#include "kernels/cuda_matrix.cuh"

/* Rows of one launch: pairs that it has room for, and a line of units whose length times the blocks of threads stays below 2^32. */
static int rows_at_once(int n_rows, int n_kv_heads, int max_tokens)
{
    const int64_t units = ceil_div(max_tokens, ATTEND_CHUNK),
                  line = ((int64_t)1 << 32) / (MAX_DECODE_BLOCKS + 1) / (units * n_kv_heads);
    int n = n_rows < MAX_SPLIT_ROWS ? n_rows : MAX_SPLIT_ROWS;
    if (n > MAX_PAIRS / n_kv_heads) n = MAX_PAIRS / n_kv_heads;
    return n < line ? n : (int)line;
}

size_t cuda_decode_bytes(int n_rows, int n_heads, int n_kv_heads, int head_dim, int max_tokens)
{
    const size_t pairs = (size_t)rows_at_once(n_rows, n_kv_heads, max_tokens) * (size_t)n_kv_heads;
    const size_t slots = (size_t)(MAX_DECODE_BLOCKS * BLOCK_SLOTS) +
                         pairs * (size_t)(ceil_div(max_tokens, ATTEND_CHUNK) / SEGMENT_UNITS + 2);
    return slots * (size_t)slot_floats(n_heads / n_kv_heads, head_dim) * sizeof(float);
}

static int attend_few(struct device *d, const struct attend_args *a)
{
    const int n_kv = a->kv->n_kv_heads, dim = a->kv->head_dim, max_tokens = kv_max_tokens(a->kv);
    struct decode_job j = {};
    j.kv = *a->kv;
    j.n_heads = a->n_heads;
    j.group = a->n_heads / n_kv;
    j.layer = a->layer;
    j.qkv = a->qkv;
    j.qkv_stride = a->qkv_stride;
    j.listed = a->lists != NULL;
    if (a->lists) j.lists = *a->lists;
    j.scale2 = attend_scale2_of(dim);
    j.out = a->out;
    j.operand = a->operand;
    j.bf16 = d->bf16;
    j.n_blocks = d->n_sms < MAX_DECODE_BLOCKS ? d->n_sms : MAX_DECODE_BLOCKS;
    j.left = d->left;
    j.state = d->work;
    const int segments = ceil_div(max_tokens, SEGMENT_UNITS * ATTEND_CHUNK);
    if (segments > MAX_PARTS)
        return fail("attention: room for %d tokens, at most %d", max_tokens, MAX_PARTS * SEGMENT_UNITS * ATTEND_CHUNK);
    const int step = rows_at_once(a->n_rows, n_kv, max_tokens);
    if (step < 1)
        return fail("attention: %d KV heads of %d tokens are more than one launch can divide", n_kv, max_tokens);
    TRY(cuda_work_holds(d, cuda_decode_bytes(step, a->n_heads, n_kv, dim, max_tokens), "attend"), "attention");
    for (int r = 0; r < a->n_rows; r += step) {
        j.rows = a->rows + r;
        j.n_rows = a->n_rows - r < step ? a->n_rows - r : step;
        TRY(cuda_decode(d, &j), "attention");
    }
    return 0;
}

extern "C" int cuda_attend(struct device *d, const struct attend_args *a)
{
    if (cuda_chunk_suits(a)) {
        TRY(cuda_attend_chunk(d, a), "attention");
        if (a->operand) TRY(cuda_operand_of(d, a->n_rows, a->n_heads * a->kv->head_dim, a->out, a->operand, false), "attention");
    } else {
        TRY(attend_few(d, a), "attention");
    }
    CUDA_TRY(cudaEventRecord(d->attended, d->stream), "attention");
    return 0;
}
