#include "kernels/block_top.h"

#include <math.h>
#include <string.h>

/* Two's complement of the same order as the float: negative floats count their bits downwards. */
static int32_t key_of_f32(float x)
{
    int32_t bits;
    const float y = x == x ? x + 0.0f : -INFINITY; /* -0 + 0 is 0 */
    memcpy(&bits, &y, sizeof bits);
    return bits ^ (int32_t)((uint32_t)(bits >> 31) >> 1);
}

static int64_t key_of_f64(double x)
{
    int64_t bits;
    const double y = x == x ? x + 0.0 : -(double)INFINITY;
    memcpy(&bits, &y, sizeof bits);
    return bits ^ (int64_t)((uint64_t)(bits >> 63) >> 1);
}

void block_top_keys(const struct attend_kernels *kernels, const int32_t *key, int n, int k, int32_t *chosen)
{
    if (k <= 0) return;
    int64_t low = INT32_MAX, high = INT32_MIN; /* the threshold is the largest t with at least k keys >= t */
    for (int i = 0; i < n; i++) {
        low = key[i] < low ? key[i] : low;
        high = key[i] > high ? key[i] : high;
    }
    while (low < high) {
        const int64_t mid = low + (high - low + 1) / 2;
        if (kernels->count_at_least(key, n, (int32_t)mid) >= k) low = mid;
        else high = mid - 1;
    }
    const int32_t t = (int32_t)low;
    int n_equal = k - (t == INT32_MAX ? 0 : kernels->count_at_least(key, n, t + 1));
    for (int i = 0, at = 0; i < n && at < k; i++)
        if (key[i] > t || (key[i] == t && n_equal-- > 0)) chosen[at++] = i;
}

void block_top(const struct attend_kernels *kernels, const float *score, int32_t *key, int n, int k, int32_t *chosen)
{
    for (int i = 0; i < n; i++) key[i] = key_of_f32(score[i]);
    block_top_keys(kernels, key, n, k, chosen);
}

static int count_at_least_f64(const double *score, int n, int64_t t)
{
    int count = 0;
    for (int i = 0; i < n; i++) count += key_of_f64(score[i]) >= t;
    return count;
}

void block_top_f64(const double *score, int n, int k, int32_t *chosen)
{
    if (k <= 0) return;
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (int i = 0; i < n; i++) {
        const int64_t key = key_of_f64(score[i]);
        low = key < low ? key : low;
        high = key > high ? key : high;
    }
    while (low < high) { /* in unsigned numbers: the span may exceed INT64_MAX */
        const uint64_t span = (uint64_t)high - (uint64_t)low;
        const int64_t mid = (int64_t)((uint64_t)low + span / 2 + (span & 1));
        if (count_at_least_f64(score, n, mid) >= k) low = mid;
        else high = mid - 1;
    }
    int n_equal = k - (low == INT64_MAX ? 0 : count_at_least_f64(score, n, low + 1));
    for (int i = 0, at = 0; i < n && at < k; i++) {
        const int64_t key = key_of_f64(score[i]);
        if (key > low || (key == low && n_equal-- > 0)) chosen[at++] = i;
    }
}
