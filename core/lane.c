#include "core/lane.h"

#include "core/ints.h"

#include <math.h>

int lane_active_millionths(double sparsity, int equal_bytes)
{
    long active = 1000000 - lround(1e6 * sparsity);
    if (equal_bytes > 0) active += lround(1e6 / equal_bytes);
    return (int)(active < 1000000 ? active : 1000000);
}

int lane_n_selected(const struct lane_spec *l, int n_tokens)
{
    const int n_blocks = lane_n_blocks(l, n_tokens);
    if (l->selector == SELECT_DENSE) return n_blocks;
    /* An integer ceiling: in floating point 0.95 at 20 blocks gives 2. */
    const int share = (int)(((int64_t)n_blocks * l->active_millionths + 999999) / 1000000);
    const int want = max_int(max_int(share, l->min_blocks), max_int(l->local_blocks, 1));
    return want < n_blocks ? want : n_blocks;
}

int lane_n_read_tokens(const struct lane_spec *l, int n_tokens)
{
    const int n_blocks = lane_n_blocks(l, n_tokens), n_read = lane_n_selected(l, n_tokens);
    const bool has_last = l->local_blocks >= 1 || n_read == n_blocks;
    return n_read * l->block_size - (has_last ? n_blocks * l->block_size - n_tokens : 0);
}

bool lane_rectifies_after(const struct lane_spec *l, int step)
{
    return l->interval > 0 && step >= l->dense_until && (step + 1 + l->phase) % l->interval == 0;
}

int lane_window_start(const struct lane_spec *l, int step)
{
    if (l->interval == 0) return l->dense_until;
    /* The last step before `step` after which the schedule rectified; before the first step of its own the
     * lane had nothing to rectify. */
    const int last = step - 1 - (step + l->phase) % l->interval;
    return max_int(last + 1, l->dense_until);
}

int lane_stale_tokens(const struct lane_spec *l, int step)
{
    if (l->selector == SELECT_DENSE || step < l->dense_until) return 0;
    return step - lane_window_start(l, step);
}
