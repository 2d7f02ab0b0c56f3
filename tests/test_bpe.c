/* Byte-pair merging against the definition, done naively, on random vocabularies; and pieces of great length. */
#include "core/bpe.h"
#include "core/err.h"
#include "core/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N_LETTERS = 4, MAX_WORDS = 60, MAX_WORD = 16, MAX_PIECE = 40 };

static uint64_t random_state = 88172645463325252u;
static uint32_t random_below(uint32_t n) /* xorshift64, Marsaglia 2003 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

struct toy { /* words over the letters a .. d; word i >= N_LETTERS joins the halves of merge i - N_LETTERS */
    char text[MAX_WORDS][MAX_WORD + 1];
    size_t n_left[MAX_WORDS];
    int n;
    struct bpe_token tokens[MAX_WORDS];
    struct bpe bpe;
};

static int toy_find(const struct toy *v, const char *text, size_t n)
{
    for (int i = 0; i < v->n; i++)
        if (strlen(v->text[i]) == n && memcmp(v->text[i], text, n) == 0) return i;
    return -1;
}

static void toy_open(struct toy *v)
{
    memset(v, 0, sizeof *v);
    for (v->n = 0; v->n < N_LETTERS; v->n++) v->text[v->n][0] = (char)('a' + v->n);
    for (int tries = 0; tries < 200 && v->n < MAX_WORDS; tries++) {
        const char *left = v->text[random_below((uint32_t)v->n)], *right = v->text[random_below((uint32_t)v->n)];
        char both[2 * MAX_WORD + 1];
        snprintf(both, sizeof both, "%s%s", left, right);
        if (strlen(both) > MAX_WORD || toy_find(v, both, strlen(both)) >= 0) continue;
        v->n_left[v->n] = strlen(left);
        strcpy(v->text[v->n++], both);
    }
    for (int i = 0; i < v->n; i++) v->tokens[i] = (struct bpe_token){ { v->text[i], strlen(v->text[i]) }, i };
    assert_int_equal(bpe_open(&v->bpe, v->tokens, (size_t)v->n, (size_t)v->n), 0);
    for (int i = N_LETTERS; i < v->n; i++) /* ranks in another order than ids */
        assert_int_equal(bpe_add_merge(&v->bpe, (uint32_t)(1000 - i * 7 % 61), v->tokens[i].bytes, v->n_left[i]), 0);
}

/* The rank of the merge of words x and y, and its result; -1: there is none. */
static int toy_rank(const struct toy *v, int x, int y, int *joined)
{
    char both[2 * MAX_WORD + 1];
    snprintf(both, sizeof both, "%s%s", v->text[x], v->text[y]);
    const int id = toy_find(v, both, strlen(both));
    if (id < N_LETTERS || v->n_left[id] != strlen(v->text[x])) return -1;
    *joined = id;
    return 1000 - id * 7 % 61;
}

static size_t encode_naively(const struct toy *v, const char *piece, size_t n, int *ids)
{
    for (size_t i = 0; i < n; i++) ids[i] = piece[i] - 'a';
    for (;;) {
        int best = -1, into = -1;
        size_t at = 0;
        for (size_t i = 0; i + 1 < n; i++) {
            int joined = -1;
            const int rank = toy_rank(v, ids[i], ids[i + 1], &joined);
            if (rank < 0 || (best >= 0 && rank >= best)) continue;
            best = rank;
            into = joined;
            at = i;
        }
        if (best < 0) return n;
        ids[at] = into;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

static void test_as_defined(void **state)
{
    (void)state;
    struct bpe_work work = { 0 };
    for (int round = 0; round < 60; round++) {
        struct toy v;
        toy_open(&v);
        for (int i = 0; i < 300; i++) {
            char piece[MAX_PIECE];
            int want[MAX_PIECE];
            struct bpe_output out = { 0 };
            const size_t n = 1 + random_below(MAX_PIECE);
            for (size_t k = 0; k < n; k++) piece[k] = (char)('a' + random_below(N_LETTERS));
            const size_t n_want = encode_naively(&v, piece, n, want);
            assert_int_equal(bpe_encode(&v.bpe, (struct str_view){ piece, n }, &work, &out), 0);
            assert_int_equal(out.n, n_want);
            for (size_t k = 0; k < n_want; k++) assert_int_equal(out.ids[k], want[k]);
            mem_free(out.ids);
        }
        bpe_close(&v.bpe);
    }
    bpe_work_close(&work);
}

/* A million bytes in one piece: what takes time quadratic in them does not come to an end here. */
static void test_long_piece(void **state)
{
    (void)state;
    enum { N = 1 << 20, N_TOKENS = 5 };
    static const char text[] = "aaaaaaaaaaaaaaaa"; /* tokens: a, aa, aaaa, 8 and 16 times a */
    struct bpe_token tokens[N_TOKENS];
    struct bpe b = { 0 };
    struct bpe_work work = { 0 };
    struct bpe_output out = { 0 };
    char *piece = malloc(N + 3);
    assert_non_null(piece);
    memset(piece, 'a', N + 3);
    for (int i = 0; i < N_TOKENS; i++) tokens[i] = (struct bpe_token){ { text, (size_t)1 << i }, i };
    assert_int_equal(bpe_open(&b, tokens, N_TOKENS, N_TOKENS), 0);
    for (uint32_t i = 1; i < N_TOKENS; i++)
        assert_int_equal(bpe_add_merge(&b, i, tokens[i].bytes, tokens[i - 1].bytes.n), 0);
    assert_int_equal(bpe_encode(&b, (struct str_view){ piece, N + 3 }, &work, &out), 0);
    assert_int_equal(out.n, N / 16 + 2); /* the rest is aa, a */
    for (size_t i = 0; i < N / 16; i++) assert_int_equal(out.ids[i], 4);
    assert_int_equal(out.ids[N / 16], 1);
    assert_int_equal(out.ids[N / 16 + 1], 0);
    mem_free(out.ids);
    bpe_work_close(&work);
    bpe_close(&b);
    free(piece);
}

static void test_whole_first(void **state)
{
    (void)state;
    static const char text[] = "abc";
    const struct bpe_token tokens[] = {
        { { text, 1 }, 0 }, { { text + 1, 1 }, 1 }, { { text + 2, 1 }, 2 }, { { text, 3 }, 3 }
    };
    struct bpe b = { 0 };
    struct bpe_work work = { 0 };
    struct bpe_output out = { 0 };
    assert_int_equal(bpe_open(&b, tokens, 4, 0), 0);
    assert_int_equal(bpe_encode(&b, tokens[3].bytes, &work, &out), 0);
    assert_int_equal(out.n, 3); /* no merge leads to abc */
    b.whole_first = true;
    assert_int_equal(bpe_encode(&b, tokens[3].bytes, &work, &out), 0);
    assert_int_equal(out.n, 4);
    assert_int_equal(out.ids[3], 3);
    mem_free(out.ids);
    bpe_work_close(&work);
    bpe_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_defined),
        cmocka_unit_test(test_long_piece),
        cmocka_unit_test(test_whole_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
