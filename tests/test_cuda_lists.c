/* tests/test_cuda_lists.c: attention that is queued right behind the selection of its lists, on the device: it divides its work by what the lists
 * were before, while they are being written; whatever they were, a result has the bits that settled lists give. */
#include "tests/cuda_pair.h"

enum {
    HEADS = 14,
    KV = 2,
    DIM = 64,
    PREFIX = 20005,
    STEPS = 32,
    OWN = 11,
    ROWS = 12,
    BUSY_ROWS = 128,
    LISTS = ROWS * KV,
    POSITION = PREFIX + OWN - 1,
    MOST_BLOCKS = POSITION / 8 + 1
};

/* What the lists hold before they are written. */
struct stale {
    int32_t blocks[LISTS * MOST_BLOCKS], count[LISTS], tokens[LISTS];
};

enum kind { OTHER_BLOCKS, LONGER, SHORTER, FEWER_PAIRS, ALL_READ, LISTED, NEVER_WRITTEN, ANYTHING, N_KINDS };
static const char *const kind_names[] = { "other blocks",  "longer",   "shorter",
                                          "fewer pairs",   "no lists", "a list where there is none",
                                          "never written", "anything" };

static void make_stale(struct stale *x, const struct stale *settled, enum kind kind, const struct lane_params *lanes)
{
    *x = *settled;
    for (int l = 0; l < LISTS; l++) {
        const int size = lanes[l / KV].block_size;
        int32_t *blocks = x->blocks + l * MOST_BLOCKS;
        if (kind != SHORTER && kind != FEWER_PAIRS && (kind != LISTED || x->count[l] < 0))
            for (int i = 0; i < MOST_BLOCKS; i++)
                blocks[i] = kind == ANYTHING ? INT32_MIN + i : (i * 7 + l) % MOST_BLOCKS * 8 / size;
        if (kind == LONGER && x->count[l] >= 0) x->count[l] += 100 + l, x->tokens[l] += (100 + l) * size;
        if (kind == SHORTER && x->count[l] >= 0) x->count[l] = x->count[l] / 2, x->tokens[l] = x->count[l] * size;
        if (kind == FEWER_PAIRS && l % 3 == 0) x->count[l] = x->tokens[l] = 0;
        if (kind == ALL_READ) x->count[l] = -1, x->tokens[l] = POSITION + 1;
        if (kind == LISTED && x->count[l] < 0) x->count[l] = POSITION / size + 1; /* as many tokens, all there are */
        if (kind == NEVER_WRITTEN) x->count[l] = x->tokens[l] = -1;
        if (kind == ANYTHING) x->count[l] = l % 2 ? INT32_MAX : l, x->tokens[l] = l % 3 ? INT32_MAX - l : INT32_MIN;
    }
}

struct chain {
    struct choose_args choose;
    struct attend_args attend, busy;
    struct block_lists lists; /* device */
};

static const struct row *rows_of(struct pair *p, struct lane_params *lanes, const struct attend_row **attend)
{
    struct row rows[ROWS];
    struct attend_row of[ROWS];
    for (int r = 0; r < ROWS;
         r++) { /* every third is dense; blocks drawn at random, the first and last ones, all of them */
        lanes[r] = (struct lane_params){ .selector = r % 4 == 3 ? SELECT_WINDOW : SELECT_RANDOM,
                                         .block_size = r % 2 ? 8 : 16,
                                         .local_blocks = 1,
                                         .min_blocks = 2,
                                         .active_millionths = r == 4 ? 1000000 : 50000 * (r + 1),
                                         .key_set = -1,
                                         .prefix_set = -1 };
        rows[r] = (struct row){
            .lane = r, .position = POSITION, .store = r % 2, .tail = NO_TAIL, .flags = r % 3 == 2 ? 0 : ROW_SPARSE
        };
        of[r] = (struct attend_row){ .q_row = r,
                                     .store = r % 2,
                                     .tail = NO_TAIL,
                                     .position = POSITION,
                                     .list_row = r,
                                     .block_size = lanes[r].block_size,
                                     .out_row = r };
    }
    *attend = on_gpu(p, of, sizeof of);
    return on_gpu(p, rows, sizeof rows);
}

static void chain_open(struct pair *p, struct chain *c, struct lane_params *lanes)
{
    pair_cache(p, 1, HEADS, KV, DIM, PREFIX, STEPS, OWN, 2, 1, 1);
    pair_reserve(p, BUSY_ROWS, PREFIX + STEPS);
    const struct attend_row *attend;
    struct attend_row busy[BUSY_ROWS];
    const struct row *rows = rows_of(p, lanes, &attend);
    const size_t stride = (size_t)pair_stride(p), out_bytes = (size_t)(ROWS * HEADS * DIM) * 4;
    const float *qkv = on_gpu(p, random_floats(p, ROWS * stride, 3), ROWS * stride * 4);
    c->lists = (struct block_lists){ MOST_BLOCKS, on_gpu(p, NULL, (size_t)(LISTS * MOST_BLOCKS) * 4),
                                     on_gpu(p, NULL, LISTS * 4), on_gpu(p, NULL, LISTS * 4) };
    c->choose = (struct choose_args){
        .select = { .n_rows = ROWS,
                    .n_heads = HEADS,
                    .rows = rows,
                    .lanes = on_gpu(p, lanes, ROWS * sizeof *lanes),
                    .qkv = qkv,
                    .kv = &p->kv_gpu,
                    .seed = 3,
                    .lists = &c->lists,
                    .scores = on_gpu(p, NULL, (size_t)(LISTS * MOST_BLOCKS) * 4),
                    .max_score_blocks = MOST_BLOCKS },
        .total = on_gpu(p, NULL, LISTS * 8),
    };
    c->attend = (struct attend_args){ .n_rows = ROWS,
                                      .n_heads = HEADS,
                                      .rows = attend,
                                      .qkv = qkv,
                                      .qkv_stride = (int)stride,
                                      .kv = &p->kv_gpu,
                                      .lists = &c->lists,
                                      .out = on_gpu(p, NULL, out_bytes) };
    for (int r = 0; r < BUSY_ROWS; r++)
        busy[r] = (struct attend_row){ .q_row = r % ROWS,
                                       .store = 0,
                                       .tail = NO_TAIL,
                                       .position = POSITION,
                                       .list_row = -1,
                                       .block_size = 16,
                                       .out_row = r };
    c->busy = c->attend;
    c->busy.n_rows = BUSY_ROWS, c->busy.rows = on_gpu(p, busy, sizeof busy), c->busy.lists = NULL;
    c->busy.out = on_gpu(p, NULL, (size_t)(BUSY_ROWS * HEADS * DIM) * 4);
}

/* All is queued while the device is busy with something else, for a millisecond: then nothing lies between a selection and its attention. */
static void run_chain(struct pair *p, const struct chain *c, const struct stale *before)
{
    must(p->cuda->upload(p->gpu, c->lists.blocks, before->blocks, sizeof before->blocks));
    must(p->cuda->upload(p->gpu, c->lists.count, before->count, sizeof before->count));
    must(p->cuda->upload(p->gpu, c->lists.tokens, before->tokens, sizeof before->tokens));
    must(p->cuda->attend(p->gpu, &c->busy));
    must(p->cuda->choose(p->gpu, &c->choose));
    must(p->cuda->attend(p->gpu, &c->attend));
}

static void attention_sees_the_lists_of_now(void **state)
{
    enum { ROUNDS = 3 };
    WITH_PAIR(p);
    struct chain c;
    struct lane_params lanes[ROWS];
    const size_t n_bytes = (size_t)(ROWS * HEADS * DIM) * 4;
    struct stale *settled = hold(&p, sizeof *settled), *before = hold(&p, sizeof *before);
    chain_open(&p, &c, lanes);
    must(p.cuda->choose(p.gpu, &c.choose));
    must(p.cuda->download(p.gpu, settled->blocks, c.lists.blocks, sizeof settled->blocks));
    must(p.cuda->download(p.gpu, settled->count, c.lists.count, sizeof settled->count));
    must(p.cuda->download(p.gpu, settled->tokens, c.lists.tokens, sizeof settled->tokens));
    must(p.cuda->sync(p.gpu));
    for (int l = 0; l < LISTS; l++)
        assert_true(l / KV % 3 == 2 ? settled->count[l] == -1
                                    : settled->count[l] > 0 && settled->count[l] + 100 + l < MOST_BLOCKS);
    must(p.cuda->attend(p.gpu, &c.attend));
    const float *want = from_gpu(&p, c.attend.out, n_bytes);
    for (size_t i = 0; i < n_bytes / 4; i++) assert_true(fabsf(want[i]) <= 1.01f); /* means of V, none left out */
    for (int k = 0; k < N_KINDS * ROUNDS; k++) {
        make_stale(before, settled, (enum kind)(k % N_KINDS), lanes);
        run_chain(&p, &c, before);
        const float *got = from_gpu(&p, c.attend.out, n_bytes);
        if (memcmp(got, want, n_bytes) != 0)
            fail_msg("lists that were \"%s\" before: another result than of settled ones", kind_names[k % N_KINDS]);
        mem_free(p.held[--p.n_held]);
    }
    pair_close(&p);
}

/* test_cuda_lists [PATTERN]: only the tests whose names match, for tools that take their time. */
int main(int argc, char **argv)
{
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = { cmocka_unit_test(attention_sees_the_lists_of_now) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
