/* Models from GGUF files that the test writes: what is read, what is refused and with which words. */
#include "core/err.h"
#include "core/mem.h"
#include "core/model.h"
#include "tests/gguf_writer.h"
#include "tests/temp_folder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { HIDDEN = 32, FFN = 64, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 8, VOCAB = 270, N_TOKENS = 258 };
enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8 }; /* ggml's numbers */

/* One difference from the sound file. */
struct change {
    const char *arch;    /* NULL: llama */
    const char *without; /* a key or a tensor to leave out */
    const char *key;     /* arch.KEY to replace, or to add (a '.' at its end is left out) .. */
    double number;       /* .. as a number (f32 where it is no integer), or as a text: */
    const char *text;
    const char *tensor; /* an additional tensor, f32 [n_elements], all 4 */
    int n_elements;
    int q_type; /* of blk.0.attn_q.weight, attn_norm.weight */
    int norm_type;
    int tokenizer; /* enum tokenizer_kind */
    int q_rows;    /* more rows of blk.0.attn_q.weight than it should have */
};

/* A tokenizer of the 256 bytes, "ab" and a control token, or one with something wrong. */
enum tokenizer_kind {
    NO_TOKENIZER,
    SOUND,
    SENTENCEPIECE,
    TOO_MANY,
    FEW_TYPES,
    BAD_BOS,
    NO_MERGES,
    TEXT_TOKENS,
    NUL_PRE
};

struct file {
    struct gguf_writer values, tensors;
    uint64_t n_values, n_tensors;
    const struct change *c;
    uint64_t fours_at, fours_n; /* where the additional tensor's data are */
};

static void put_number(struct gguf_writer *w, const char *key, double x)
{
    const bool whole = x == floor(x);
    put_key(w, key, whole ? 4 : 6);
    if (whole)
        put_u32(w, (uint32_t)x);
    else
        put_f32(w, (float)x);
}

static void value(struct file *f, const char *name, double x)
{
    char key[100];
    const struct change *c = f->c;
    snprintf(key, sizeof key, "%s.%s", c->arch ? c->arch : "llama", name);
    if (c->without && strcmp(c->without, name) == 0) return;
    if (c->key && strcmp(c->key, name) == 0) return; /* added at the end */
    put_number(&f->values, key, x);
    f->n_values++;
}

static void tensor(struct file *f, const char *name, int n_rows, int n_cols, int type)
{
    const int block_bytes = type == F32 ? 4 * 32 : type == F16 ? 64 : type == Q8_0 ? 34 : 18;
    if (f->c->without && strcmp(f->c->without, name) == 0) return;
    put_tensor(&f->tensors, name, (uint64_t)n_rows, (uint64_t)n_cols, (uint32_t)type,
               (uint64_t)(n_rows * n_cols / 32 * block_bytes + (type == F32 ? n_rows * n_cols % 32 * 4 : 0)));
    f->n_tensors++;
}

static void put_all_values(struct file *f)
{
    const struct change *c = f->c;
    char key[100];
    put_key(&f->values, "general.architecture", 8);
    put_text(&f->values, c->arch ? c->arch : "llama");
    f->n_values++;
    value(f, "block_count", 1);
    value(f, "context_length", 256);
    value(f, "embedding_length", HIDDEN);
    value(f, "feed_forward_length", FFN);
    value(f, "attention.head_count", HEADS);
    value(f, "attention.head_count_kv", KV_HEADS);
    value(f, "attention.layer_norm_rms_epsilon", 1e-5);
    value(f, "rope.freq_base", 5000);
    value(f, "rope.dimension_count", HEAD_DIM);
    if (!c->key) return;
    snprintf(key, sizeof key, "%s.%s", c->arch ? c->arch : "llama", c->key);
    if (c->text)
        put_key(&f->values, key, 8), put_text(&f->values, c->text);
    else
        put_number(&f->values, key, c->number);
    f->n_values++;
    if (c->text && strcmp(c->text, "none") != 0) put_number(&f->values, "llama.rope.scaling.factor", 4), f->n_values++;
}

/* Byte b in the alphabet of byte-level BPE: itself where it is printable, else U+0100 and up in order. */
static void put_byte_token(struct gguf_writer *w, int b)
{
    int code = b, n_before = 0;
    for (int i = 0; i <= b; i++) {
        const bool printable = (i >= 0x21 && i <= 0x7e) || (i >= 0xa1 && i <= 0xac) || i >= 0xae;
        if (i == b && !printable) code = 0x100 + n_before;
        n_before += !printable;
    }
    const char text[3] = { (char)(code < 128 ? code : 0xc0 | code >> 6), (char)(0x80 | (code & 63)), 0 };
    put_u64(w, code < 128 ? 1 : 2);
    put(w, text, code < 128 ? 1 : 2);
}

static void put_tokenizer(struct file *f, enum tokenizer_kind kind)
{
    struct gguf_writer *w = &f->values;
    if (kind == NO_TOKENIZER) return;
    put_key(w, "tokenizer.ggml.model", 8), put_text(w, kind == SENTENCEPIECE ? "llama" : "gpt2");
    put_key(w, "tokenizer.ggml.pre", 8);
    if (kind == NUL_PRE)
        put_u64(w, 4), put(w, "gp\0t", 4);
    else
        put_text(w, "gpt-2");
    const int n_tokens = kind == TOO_MANY ? VOCAB + 1 : N_TOKENS;
    put_key(w, "tokenizer.ggml.tokens", 9), put_u32(w, kind == TEXT_TOKENS ? 4 : 8), put_u64(w, (uint64_t)n_tokens);
    for (int i = 0; i < n_tokens; i++) {
        if (kind == TEXT_TOKENS)
            put_u32(w, 1);
        else if (i < 256)
            put_byte_token(w, i);
        else
            put_text(w, i == 256 ? "ab" : "<|end|>");
    }
    const int n_types = kind == FEW_TYPES ? n_tokens - 1 : n_tokens;
    put_key(w, "tokenizer.ggml.token_type", 9), put_u32(w, 5), put_u64(w, (uint64_t)n_types);
    for (int i = 0; i < n_types; i++) put_u32(w, i < 257 ? 1 : 3);
    put_key(w, "tokenizer.ggml.eos_token_id", 4), put_u32(w, N_TOKENS - 1);
    put_key(w, "tokenizer.ggml.bos_token_id", 4), put_u32(w, kind == BAD_BOS ? N_TOKENS : N_TOKENS - 1);
    put_key(w, "tokenizer.ggml.add_bos_token", 7), put_u8(w, 1);
    f->n_values += 7;
    if (kind == NO_MERGES) return;
    put_key(w, "tokenizer.ggml.merges", 9), put_u32(w, 8), put_u64(w, 1), put_text(w, "a b");
    f->n_values++;
}

static void put_all_tensors(struct file *f)
{
    const struct change *c = f->c;
    tensor(f, "token_embd.weight", VOCAB, HIDDEN, Q8_0);
    tensor(f, "output_norm.weight", 1, HIDDEN, F32);
    tensor(f, "blk.0.attn_norm.weight", 1, HIDDEN, c->norm_type);
    tensor(f, "blk.0.attn_q.weight", HEADS * HEAD_DIM + c->q_rows, HIDDEN, c->q_type);
    tensor(f, "blk.0.attn_k.weight", KV_HEADS * HEAD_DIM, HIDDEN, F16);
    tensor(f, "blk.0.attn_v.weight", KV_HEADS * HEAD_DIM, HIDDEN, Q8_0);
    tensor(f, "blk.0.attn_output.weight", HIDDEN, HEADS * HEAD_DIM, Q4_0);
    tensor(f, "blk.0.ffn_norm.weight", 1, HIDDEN, F32);
    tensor(f, "blk.0.ffn_gate.weight", FFN, HIDDEN, Q8_0);
    tensor(f, "blk.0.ffn_up.weight", FFN, HIDDEN, Q8_0);
    tensor(f, "blk.0.ffn_down.weight", HIDDEN, FFN, Q8_0);
    f->fours_at = f->tensors.n_data;
    f->fours_n = (uint64_t)c->n_elements;
    if (c->tensor) tensor(f, c->tensor, 1, c->n_elements, F32);
}

/* Writes model.gguf; returns where its data begin. */
static size_t write_model(const struct change *c)
{
    struct file f = { .c = c };
    struct gguf_writer w = { 0 };
    put_all_values(&f);
    put_tokenizer(&f, (enum tokenizer_kind)c->tokenizer);
    put_all_tensors(&f);
    put_head(&w, f.n_tensors, f.n_values);
    put(&w, f.values.bytes, f.values.n);
    put(&w, f.tensors.bytes, f.tensors.n);
    const size_t n_head = w.n, data = (n_head + 31) / 32 * 32;
    w.n_data = f.tensors.n_data;
    put_data(&w);
    for (uint64_t i = 0; i < f.fours_n; i++) memcpy(w.bytes + data + f.fours_at + 4 * i, &(float){ 4 }, 4);
    temp_write("model.gguf", w.bytes, w.n);
    free(w.bytes);
    free(f.values.bytes);
    free(f.tensors.bytes);
    return n_head;
}

static const struct change sound = { 0 };

static void test_sound(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    write_model(&sound);
    assert_int_equal(model_open(&m, temp_path("model.gguf")), 0);
    const struct model_shape *s = &m.shape;
    assert_true(s->family == FAMILY_LLAMA && s->n_layers == 1 && s->hidden == HIDDEN && s->ffn == FFN);
    assert_true(s->n_heads == HEADS && s->n_kv_heads == KV_HEADS && s->head_dim == HEAD_DIM && s->vocab == VOCAB);
    assert_true(s->context == 256 && s->tied && !s->qkv_bias && !s->qk_norm && s->rms_eps == (double)1e-5f);
    assert_true(s->rope.style == ROPE_PAIRS && s->rope.scaling == ROPE_PLAIN && s->rope.base == 5000);
    assert_true(s->rope.attention_factor == 1 && !s->rope.freq_divisors);
    const struct model_layer *l = &m.layers[0];
    assert_true(l->k.type == TENSOR_F16 && l->k.n_rows == KV_HEADS * HEAD_DIM && l->k.n_cols == HIDDEN);
    assert_true(l->o.type == TENSOR_Q4_0 && l->down.n_rows == HIDDEN && l->down.n_cols == FFN);
    assert_true(l->attn_norm.n_rows == 1 && l->attn_norm.n_cols == HIDDEN && !l->q_bias.data && !l->q_norm.data);
    assert_ptr_equal(m.output.data, m.embedding.data);
    assert_string_equal(m.name, "model");
    assert_int_equal(strlen(m.digest), 64);
    assert_true(m.tokenizer.n_tokens == 0 && m.file_bytes > 0);
    model_drop_pages(&m);
    float row[FFN];
    tensor_row(&l->down, HIDDEN - 1, row); /* still there after its pages were dropped */
    model_close(&m);
}

static void test_variants(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    write_model(&(struct change){ .tensor = "rope_freqs.weight", .n_elements = HEAD_DIM / 2 });
    assert_int_equal(model_open(&m, temp_path("model.gguf")), 0);
    assert_true(m.shape.rope.freq_divisors && m.shape.rope.freq_divisors[HEAD_DIM / 2 - 1] == 4);
    model_close(&m);
    write_model(&(struct change){ .key = "rope.scaling.type", .text = "linear" });
    assert_int_equal(model_open(&m, temp_path("model.gguf")), 0);
    assert_true(m.shape.rope.scaling == ROPE_LINEAR && m.shape.rope.factor == 4 && m.shape.rope.attention_factor == 1);
    model_close(&m);
    write_model(&(struct change){ .key = "rope.scaling.type", .text = "yarn" });
    assert_int_equal(model_open(&m, temp_path("model.gguf")), 0);
    assert_true(m.shape.rope.scaling == ROPE_YARN && m.shape.rope.original_context == 256);
    assert_true(m.shape.rope.beta_fast == 32 && m.shape.rope.beta_slow == 1);
    assert_true(fabs(m.shape.rope.attention_factor - (1 + 0.1 * log(4))) < 1e-15);
    model_close(&m);
    write_model(&(struct change){ .without = "rope.freq_base" });
    assert_int_equal(model_open(&m, temp_path("model.gguf")), 0);
    assert_true(m.shape.rope.base == 10000);
    model_close(&m);
}

static void test_tokenizer(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    int32_t *ids = NULL;
    size_t n;
    write_model(&(struct change){ .tokenizer = SOUND });
    if (model_open(&m, temp_path("model.gguf")) != 0) fail_msg("%s", fail_text());
    assert_true(m.tokenizer.n_tokens == N_TOKENS && m.tokenizer.bos_id == 257 && m.tokenizer.eos_id == 257);
    assert_true(m.tokenizer.add_bos);
    assert_int_equal(tokenizer_encode(&m.tokenizer, "cab\n", 4, TOKENIZER_BOS, &ids, &n), 0);
    assert_true(n == 4 && ids[0] == 257 && ids[1] == 'c' && ids[2] == 256 && ids[3] == '\n');
    mem_free(ids);
    model_close(&m);
}

static void test_refused(void **unused)
{
    (void)unused;
    static const struct {
        struct change change;
        const char *message;
    } cases[] = {
        { { .arch = "gemma" }, "key general.architecture: 'gemma' is not supported (llama, qwen2 and qwen3 are)" },
        { { .without = "block_count" }, "key llama.block_count is missing" },
        { { .without = "attention.layer_norm_rms_epsilon" }, "key llama.attention.layer_norm_rms_epsilon is missing" },
        { { .key = "block_count", .number = 0 }, "key llama.block_count: 0, allowed are 1 to" },
        { { .key = "block_count", .number = 2 }, "tensor blk.1.attn_norm.weight is missing" },
        { { .key = "block_count", .number = 2e9 }, "layers: 2000000000, allowed are 1 to 4096" },
        { { .key = "attention.head_count", .number = 5 }, "key llama.rope.dimension_count: 8 of a head's 6" },
        { { .key = "attention.head_count_kv", .number = 3 }, "4 query heads are not a multiple of 3 KV heads" },
        { { .key = "attention.head_count_kv", .number = 0 }, "KV heads: 0, allowed are 1 to" },
        { { .key = "attention.value_length", .number = 16 },
          "key llama.attention.value_length: 16, not the key length 8" },
        { { .key = "rope.dimension_count", .number = 4 }, "key llama.rope.dimension_count: 4 of a head's 8" },
        { { .key = "rope.freq_base", .number = 0 }, "rope base 0" },
        { { .key = "rope.scaling.type", .text = "longrope" },
          "key llama.rope.scaling.type: 'longrope' is not supported" },
        { { .key = "attention.sliding_window", .number = 128 }, "a sliding window of 128 tokens is not supported" },
        { { .key = "expert_count", .number = 8 }, "key llama.expert_count: 8: not supported" },
        { { .key = "feed_forward_length", .number = 96 }, "tensor blk.0.ffn_gate.weight: 64 x 32, should be 96 x 32" },
        { { .without = "token_embd.weight" }, "tensor token_embd.weight is missing or not a matrix" },
        { { .without = "blk.0.ffn_down.weight" }, "tensor blk.0.ffn_down.weight is missing" },
        { { .q_rows = 8 }, "tensor blk.0.attn_q.weight: 40 x 32, should be 32 x 32 by the metadata" },
        { { .norm_type = Q8_0 }, "tensor blk.0.attn_norm.weight: a vector of type Q8_0" },
        { { .tensor = "blk.0.attn_output.bias", .n_elements = 32 }, "tensor blk.0.attn_output.bias is not one of" },
        { { .tensor = "rope_freqs.weight", .n_elements = 3 },
          "tensor rope_freqs.weight: should be F32 with 4 elements" },
        { { .tokenizer = SENTENCEPIECE }, "key tokenizer.ggml.model: 'llama' is not supported (gpt2" },
        { { .tokenizer = TOO_MANY }, "key tokenizer.ggml.tokens: 271 tokens, the embedding has 270" },
        { { .tokenizer = FEW_TYPES }, "key tokenizer.ggml.token_type: 257 types of 258 tokens" },
        { { .tokenizer = BAD_BOS }, "key tokenizer.ggml.bos_token_id: 258, allowed are 0 to 257" },
        { { .tokenizer = NO_MERGES }, "key tokenizer.ggml.merges is missing" },
        { { .tokenizer = TEXT_TOKENS }, "key tokenizer.ggml.tokens: of type array of u32, wanted is array of string" },
        { { .tokenizer = NUL_PRE }, "key tokenizer.ggml.pre: holds a NUL byte" },
        { { .arch = "qwen2" }, "tensor blk.0.attn_q.bias is missing" },
        { { .arch = "qwen3" }, "tensor blk.0.attn_q_norm.weight is missing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model m = { 0 };
        write_model(&cases[i].change);
        const int rc = model_open(&m, temp_path("model.gguf"));
        if (rc != -1 || !strstr(fail_text(), cases[i].message) || !strstr(fail_text(), temp_folder))
            fail_msg("case %zu said '%s', not '%s'", i, rc ? fail_text() : "nothing", cases[i].message);
        model_close(&m);
    }
}

static void read_everything(const struct model *m)
{
    float *row = malloc(sizeof *row << 20);
    for (int r = 0; r < m->embedding.n_rows && m->embedding.n_cols <= 1 << 20; r++) tensor_row(&m->embedding, r, row);
    for (int l = 0; l < m->shape.n_layers; l++) {
        const struct tensor *all[] = { &m->layers[l].q,    &m->layers[l].k,  &m->layers[l].v,   &m->layers[l].o,
                                       &m->layers[l].gate, &m->layers[l].up, &m->layers[l].down };
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            for (int r = 0; r < all[i]->n_rows && all[i]->n_cols <= 1 << 20; r++) tensor_row(all[i], r, row);
    }
    free(row);
}

/* Every bit of the head flipped: refused with a message, or read within bounds. */
static void test_bit_flips(void **unused)
{
    (void)unused;
    const size_t n_head = write_model(&(struct change){ .tokenizer = SOUND });
    FILE *file = fopen(temp_path("model.gguf"), "r+b");
    uint8_t *head = calloc(n_head, 1);
    if (!file || !head || fread(head, 1, n_head, file) != n_head) {
        free(head);
        fail_msg("the file just written cannot be read");
        return;
    }
    setvbuf(file, NULL, _IONBF, 0);
    for (size_t bit = 0; bit < 8 * n_head; bit++) {
        const uint8_t flipped = head[bit / 8] ^ (uint8_t)(1 << bit % 8);
        struct model m = { 0 };
        fseek(file, (long)(bit / 8), SEEK_SET);
        fputc(flipped, file);
        if (model_open(&m, temp_path("model.gguf")) == 0)
            read_everything(&m);
        else
            assert_true(strlen(fail_text()) > strlen(temp_folder));
        model_close(&m);
        fseek(file, (long)(bit / 8), SEEK_SET);
        fputc(head[bit / 8], file);
    }
    fclose(file);
    free(head);
}

static void test_no_memory(void **unused)
{
    (void)unused;
    int n = 0;
    write_model(&(struct change){ .tokenizer = SOUND });
    for (int rc = -1; rc != 0; n++) {
        struct model m = { 0 };
        mem_fail_after(n);
        rc = model_open(&m, temp_path("model.gguf"));
        mem_fail_after(-1);
        if (rc != 0) assert_non_null(strstr(fail_text(), "out of memory"));
        model_close(&m);
    }
    assert_true(n >= 5);
}

static void test_empty_file(void **unused)
{
    (void)unused;
    struct model m = { 0 };
    temp_write("empty.gguf", "", 0);
    assert_int_equal(model_open(&m, temp_path("empty.gguf")), -1);
    assert_non_null(strstr(fail_text(), "empty.gguf: not a GGUF file"));
    model_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound),      cmocka_unit_test(test_variants),  cmocka_unit_test(test_refused),
        cmocka_unit_test(test_tokenizer),  cmocka_unit_test(test_bit_flips), cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_empty_file),
    };
    return cmocka_run_group_tests(tests, temp_folder_open, temp_folder_close);
}
