/* The budget and the schedule of a lane, against a plain simulation of the words of core/lane.h. */
#include "core/lane.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { N_STEPS = 200 };

static struct lane_spec lane(int active_millionths, int block_size, int local_blocks, int min_blocks)
{
    return (struct lane_spec){ .selector = SELECT_MINMAX,
                               .active_millionths = active_millionths,
                               .block_size = block_size,
                               .local_blocks = local_blocks,
                               .min_blocks = min_blocks,
                               .cache_of = LANE_OWN };
}

/* Where a floating-point ceiling goes wrong: 0.05 * 20 and float32's 0.1 * 10 are above 1. */
static void test_exact_ceiling(void **unused)
{
    (void)unused;
    struct lane_spec l = lane(50000, 16, 1, 0);
    assert_int_equal(lane_n_selected(&l, 20 * 16), 1);
    l.active_millionths = 100000;
    assert_int_equal(lane_n_selected(&l, 10 * 16), 1);
    assert_int_equal(lane_n_selected(&l, 10 * 16 + 1), 2);
}

/* The paper's defaults: up to 256 tokens all is read, from there to 2,560 tokens 16 blocks, then a tenth. */
static void test_paper_defaults(void **unused)
{
    (void)unused;
    const struct lane_spec l = lane(100000, 16, 1, 16);
    assert_int_equal(lane_n_selected(&l, 1), 1);
    assert_int_equal(lane_n_selected(&l, 256), 16);
    assert_int_equal(lane_n_selected(&l, 257), 16);
    assert_int_equal(lane_n_selected(&l, 2560), 16);
    assert_int_equal(lane_n_selected(&l, 2561), 17);
    assert_int_equal(lane_n_blocks(&l, 257), 17);
}

/* n_sel is the least number that is at least each of the four, and at most M: searched, not computed. */
static int searched(const struct lane_spec *l, int n_tokens)
{
    int n_blocks = 0;
    while (n_blocks * l->block_size < n_tokens) n_blocks++;
    for (int n = 1; n < n_blocks; n++)
        if ((int64_t)n * 1000000 >= (int64_t)n_blocks * l->active_millionths && n >= l->min_blocks &&
            n >= l->local_blocks)
            return n;
    return n_blocks;
}

static void test_budget(void **unused)
{
    (void)unused;
    static const int active[] = { 0, 1, 20000, 50000, 100000, 131250, 333333, 500000, 999999, 1000000 };
    static const int sizes[] = { 1, 3, 16, 64 };
    for (size_t a = 0; a < sizeof active / sizeof *active; a++)
        for (size_t b = 0; b < sizeof sizes / sizeof *sizes; b++)
            for (int corner = 0; corner < 16; corner++) {
                const struct lane_spec l = lane(active[a], sizes[b], corner % 4 * 3, corner / 4 * 5);
                for (int n = 1; n < 700; n += 1 + n / 16) assert_int_equal(lane_n_selected(&l, n), searched(&l, n));
            }
    struct lane_spec dense = lane(0, 16, 0, 0);
    dense.selector = SELECT_DENSE;
    assert_int_equal(lane_n_selected(&dense, 161), 11);
}

/* The most and the least tokens of n_read blocks among all choices that hold the local blocks: each choice is tried. */
static void search_tokens(const struct lane_spec *l, int n_tokens, int *least, int *most)
{
    const int n_blocks = lane_n_blocks(l, n_tokens), n_read = lane_n_selected(l, n_tokens);
    *least = n_tokens + 1, *most = -1;
    for (unsigned chosen = 0; chosen < 1u << n_blocks; chosen++) {
        int n = 0, n_chosen = 0;
        bool local = true;
        for (int i = 0; i < n_blocks; i++) {
            const bool is_chosen = chosen >> i & 1;
            if (i >= n_blocks - l->local_blocks) local = local && is_chosen;
            for (int t = i * l->block_size; is_chosen && t < (i + 1) * l->block_size && t < n_tokens; t++) n++;
            n_chosen += is_chosen;
        }
        if (n_chosen != n_read || (!local && n_read < n_blocks)) continue;
        if (n < *least) *least = n;
        if (n > *most) *most = n;
    }
}

static void test_read_tokens(void **unused)
{
    (void)unused;
    static const int active[] = { 0, 100000, 333333, 500000, 1000000 }, sizes[] = { 1, 3, 4 };
    int n_open = 0; /* cases in which the choice decides */
    for (int a = 0; a < 5; a++)
        for (int b = 0; b < 3; b++)
            for (int local = 0; local < 4; local++)
                for (int n = 1; n <= 8 * sizes[b]; n++) {
                    const struct lane_spec l = lane(active[a], sizes[b], local, 0);
                    int least, most;
                    search_tokens(&l, n, &least, &most);
                    assert_int_equal(lane_n_read_tokens(&l, n), most);
                    if (local > 0) assert_int_equal(least, most);
                    n_open += least < most;
                }
    assert_true(n_open > 20);
    struct lane_spec dense = lane(1000000, 16, 1, 16);
    dense.selector = SELECT_DENSE;
    assert_int_equal(lane_n_read_tokens(&dense, 257), 257);
}

/* Every token has a mark: copied (before dense_until), stale, or rectified; the marks are then counted. */
static void check_schedule(const struct lane_spec *l)
{
    bool stale[N_STEPS] = { false };
    int first_unrectified = l->dense_until;
    for (int s = 0; s < N_STEPS; s++) {
        const bool has_row = s >= l->dense_until;
        int n_stale = 0;
        for (int t = 0; t < s; t++) n_stale += stale[t];
        assert_int_equal(lane_stale_tokens(l, s), n_stale);
        if (has_row) stale[s] = true;
        const bool due = has_row && l->interval > 0 && (s + 1 + l->phase) % l->interval == 0;
        assert_int_equal(lane_rectifies_after(l, s), due);
        if (has_row) assert_int_equal(lane_window_start(l, s), first_unrectified);
        if (!due) continue;
        for (int t = 0; t <= s; t++) stale[t] = false;
        first_unrectified = s + 1;
    }
}

static void test_schedule(void **unused)
{
    (void)unused;
    static const int intervals[] = { 0, 1, 2, 7, 16, 32 }, untils[] = { 0, 1, 5, 16, 40 };
    for (size_t i = 0; i < sizeof intervals / sizeof *intervals; i++)
        for (size_t u = 0; u < sizeof untils / sizeof *untils; u++)
            for (int phase = 0; phase < (intervals[i] > 0 ? intervals[i] : 1); phase++) {
                struct lane_spec l = lane(100000, 16, 1, 0);
                l.interval = intervals[i];
                l.phase = phase;
                l.dense_until = untils[u];
                check_schedule(&l);
            }
}

static void test_dense_is_never_stale(void **unused)
{
    (void)unused;
    struct lane_spec l = lane(1000000, 16, 1, 0);
    l.selector = SELECT_DENSE;
    for (int s = 0; s < N_STEPS; s++) {
        assert_int_equal(lane_stale_tokens(&l, s), 0);
        assert_false(lane_rectifies_after(&l, s));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_ceiling),
        cmocka_unit_test(test_paper_defaults),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_read_tokens),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_dense_is_never_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
