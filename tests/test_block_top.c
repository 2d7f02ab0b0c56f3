/* The scores of blocks and the best of them. */
#include "kv_fixture.h"

#include "kernels/block_top.h"

/* The scores themselves, to the bit: products and sums rounded one by one, the larger product as it is written. */
static void scores_are_as_written(void **state)
{
    (void)state;
    enum { SCORED = 32, TILES = 7, N = TILES * SCORED * KEY_TILE };
    enum cpu_isa isas[3];
    const int n_isas = fixture_isas(isas);
    struct fixture f = { 0 };
    float q[SCORED], keys[2 * N], score[TILES * KEY_TILE];
    fill(&f, q, SCORED, 1);
    q[3] = 0;
    fill(&f, keys, 2 * N, 2);
    for (int i = 0; i < N; i++) { /* a tile's maxima follow its minima */
        float *low = &keys[i / (SCORED * KEY_TILE) * 2 * SCORED * KEY_TILE + i % (SCORED * KEY_TILE)];
        low[SCORED * KEY_TILE] = *low + fabsf(low[SCORED * KEY_TILE]);
    }
    for (int i = 0; i < n_isas; i++) {
        attend_kernels_for(isas[i], SCORED)->key_scores(q, SCORED, keys, TILES, score);
        for (int b = 0; b < TILES * KEY_TILE; b++) {
            const float *low = &keys[b / KEY_TILE * 2 * SCORED * KEY_TILE + b % KEY_TILE], *high = low + SCORED * KEY_TILE;
            float want = 0;
            for (int d = 0; d < SCORED; d++) {
                const float a = q[d] * high[d * KEY_TILE], c = q[d] * low[d * KEY_TILE];
                want += a > c ? a : c;
            }
            assert_true(score[b] == want);
        }
    }
}

/* Equal scores, NaN, both zeros, infinities; all k. */
static void top_takes_the_lower_of_equals(void **state)
{
    (void)state;
    const float score[] = { 1, NAN, -0.0f, 0, 5, 5, -INFINITY, INFINITY, 0, -3, 5, NAN };
    enum { N = sizeof score / sizeof *score };
    static const int32_t order[N] = { 7, 4, 5, 10, 0, 2, 3, 8, 9, 1, 6, 11 }; /* best first; NaN is -inf */
    double wide[N];
    for (int i = 0; i < N; i++) wide[i] = (double)score[i];
    for (int k = 0; k <= N; k++) {
        int32_t key[N], got[N], got_wide[N];
        block_top(&attend_kernels_portable, score, key, N, k, got);
        block_top_f64(wide, N, k, got_wide);
        for (int i = 0, at = 0; i < N; i++)
            for (int j = 0; j < k; j++)
                if (order[j] == i) {
                    assert_int_equal(got[at], i);
                    assert_int_equal(got_wide[at++], i);
                }
    }
}

/* 65,536 scores of 50 values against a count of those better. */
static void top_of_many(void **state)
{
    (void)state;
    enum { N = 65536, K = 6554 };
    struct fixture f = { 0 };
    float *score = NULL;
    int32_t *key = NULL, *chosen = NULL;
    assert_int_equal(MEM_NEW(&score, N, "test") | MEM_NEW(&key, N, "test") | MEM_NEW(&chosen, N, "test"), 0);
    int n_of[51] = { 0 };
    for (int i = 0; i < N; i++) {
        score[i] = (float)(draw_int(&f, 50) - 25);
        n_of[(int)score[i] + 25]++;
    }
    block_top(&attend_kernels_portable, score, key, N, K, chosen);
    int threshold = 50, above = 0;
    while (above + n_of[threshold] < K) above += n_of[threshold--];
    int left = K - above, at = 0;
    for (int i = 0; i < N; i++)
        if ((int)score[i] + 25 > threshold || ((int)score[i] + 25 == threshold && left-- > 0)) assert_int_equal(chosen[at++], i);
    assert_int_equal(at, K);
    mem_free(score);
    mem_free(key);
    mem_free(chosen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_are_as_written),
        cmocka_unit_test(top_takes_the_lower_of_equals),
        cmocka_unit_test(top_of_many),
    };
    return cmocka_run_group_tests_name("block_top", tests, NULL, NULL);
}
