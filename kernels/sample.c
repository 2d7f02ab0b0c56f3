#include "core/err.h"
#include "core/philox.h"
#include "kernels/exact_math.h"
#include "kernels/measure.h"
#include "kernels/measure_logits.h"

#include <omp.h>

/* Choosing by noise: with E = -log u the exponential noise of a token and w its weight, the greatest log w - log E
 * (log w plus Gumbel noise) is the least E / w.  Ties go to the lower id. */
struct race {
    double least;
    int winner;
};

static void race_enter(struct race *r, const struct sample_args *a, int id, double weight)
{
    uint32_t key[2], noise[4];
    const uint32_t counter[4] = { (uint32_t)id, (uint32_t)a->step[0], 0, PHILOX_SAMPLE };
    philox_key(a->seed, key);
    philox4x32(counter, key, noise);
    const double u = philox_uniform(noise[0], noise[1]);
    /* -log u >= 1 - u (exact): most lose by that much already, and need no logarithm.  The slack covers its rounding. */
    if (r->winner >= 0 && (1 - u) * (1 - 0x1p-40) > r->least * weight) return;
    const double time = -exact_log(u) / weight;
    if (r->winner >= 0 && (!(time <= r->least) || (time == r->least && id > r->winner))) return;
    *r = (struct race){ time, id };
}

/* The order of falling logits, ties by rising id. */
static bool comes_before(const float *x, int32_t a, int32_t b)
{
    return x[a] > x[b] || (x[a] == x[b] && a < b);
}

static void heap_sink(int32_t *heap, int n, int at, const float *x)
{
    const int32_t id = heap[at];
    for (int child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && comes_before(x, heap[child + 1], heap[child])) child++;
        if (!comes_before(x, heap[child], id)) break;
        heap[at] = heap[child];
    }
    heap[at] = id;
}

/* The nucleus: the fewest tokens, in the order of falling logits, whose probabilities sum to at least top_p.
 * weight f64 [vocab] and heap [vocab] are workspace. */
static int choose_in_nucleus(const struct device *d, const struct sample_args *a, const struct logit_row *r, double *weight,
                             int32_t *heap)
{
    const double enough = a->top_p * logit_row_weigh(d->isa, r, a->temperature, weight);
    struct race race = { 0, -1 };
    race_enter(&race, a, r->argmax, weight[r->argmax]);
    if (a->top_p >= 1) {
        for (int id = 0; id < r->n; id++) race_enter(&race, a, id, weight[id]);
        return race.winner;
    }
    for (int id = 0; id < r->n; id++) heap[id] = id;
    int n = r->n;
    for (int at = n / 2 - 1; at >= 0; at--) heap_sink(heap, n, at, r->x);
    double sum = 0;
    do {
        const int32_t id = heap[0];
        race_enter(&race, a, id, weight[id]);
        sum += weight[id];
        heap[0] = heap[--n];
        heap_sink(heap, n, 0, r->x);
    } while (n > 0 && sum < enough);
    return race.winner;
}

/* A row with a logit that is no finite number is read greedily, and gives token 0 where it holds no number at all. */
static int32_t choose(const struct device *d, const struct sample_args *a, int row)
{
    struct logit_row r;
    logit_row_fill(d->isa, a->logits + (size_t)row * (size_t)a->vocab, a->vocab, &r);
    if (!(a->temperature > 0) || isnan(r.z)) return r.argmax < 0 ? 0 : r.argmax;
    double *weight = (double *)(void *)(d->workspace + (size_t)omp_get_thread_num() * d->workspace_bytes);
    return choose_in_nucleus(d, a, &r, weight, (int32_t *)(void *)(weight + a->vocab));
}

int cpu_sample(struct device *d, const struct sample_args *a)
{
    if (a->n_lanes > MAX_LANES) return fail("sample: %d lanes, at most %d", a->n_lanes, MAX_LANES);
    if (d->workspace_bytes < sample_workspace(a->vocab))
        return fail("sample: %zu bytes of workspace for each thread, %zu needed for %d tokens", d->workspace_bytes,
                    sample_workspace(a->vocab), a->vocab);
    int32_t choice[MAX_LANES]; /* by the lane whose logits are read; -1: not wanted */
    for (int lane = 0; lane < a->n_lanes; lane++) choice[lane] = -1;
    for (int lane = 0; lane < a->n_lanes; lane++) {
        const int from = a->from_lane[lane];
        if (from >= 0 && a->row_of_lane[from] >= 0) choice[from] = 0;
    }
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 1)
    for (int from = 0; from < a->n_lanes; from++)
        if (choice[from] >= 0) choice[from] = choose(d, a, a->row_of_lane[from]);
    const int dense = a->from_lane[0] < 0 ? -1 : choice[a->from_lane[0]];
    for (int lane = 0; lane < a->n_lanes; lane++) {
        const int from = a->from_lane[lane];
        if (from < 0 || choice[from] < 0) continue;
        a->tokens[a->token_at[lane]] = choice[from];
        if (a->diverged && a->diverged[lane] < 0 && dense >= 0 && choice[from] != dense) a->diverged[lane] = a->step[0] + 1;
    }
    return 0;
}
