#include "kernels/measure_logits.h"

#include "core/err.h"
#include "kernels/exact_math.h"
#include "kernels/measure.h"

static const struct logit_passes *passes_of(enum cpu_isa isa)
{
#if defined(__x86_64__)
    if (isa == CPU_AVX512) return &logit_passes_avx512;
    if (isa == CPU_AVX2) return &logit_passes_avx2;
#endif
    (void)isa;
    return &logit_passes_portable;
}

void logit_row_fill(enum cpu_isa isa, const float *x, int n, struct logit_row *r)
{
    *r = (struct logit_row){ .x = x, .n = n };
    passes_of(isa)->row(r);
    r->log_z = exact_log(r->z);
    r->entropy = r->log_z - r->entropy;
}

void logit_group_kl(enum cpu_isa isa, struct logit_group *g)
{
    passes_of(isa)->kl(g);
}

int logit_row_rank(enum cpu_isa isa, const struct logit_row *r, int id)
{
    return passes_of(isa)->rank(r, id);
}

double logit_row_weigh(enum cpu_isa isa, const struct logit_row *r, double temperature, double *weight)
{
    return passes_of(isa)->weigh(r, temperature, weight);
}

/* Lanes that are compared with one reference at once. */
struct kl_task {
    int ref, n_lanes, lane[LOGIT_GROUP];
    enum record_var var;
};

/* Everything of one measurement: the rows are filled by the lanes' threads, then read by all. */
struct logit_work {
    const struct measure_logits_args *a;
    enum cpu_isa isa;
    int n_tasks;
    struct measure_rows rows[MAX_LANES];
    struct logit_row logits[MAX_LANES];
    struct kl_task tasks[2 * MAX_LANES]; /* at most one for each lane and variable */
};

static void put_i32(const struct measure *m, enum record_var v, int lane, int32_t x)
{
    int32_t *at = record_at(m->layout, m->record, v);
    if (at) at[lane] = x;
}

static void put_flag(const struct measure *m, enum record_var v, int lane, bool x)
{
    uint8_t *at = record_at(m->layout, m->record, v);
    if (at) at[lane] = x;
}

static int32_t target_of(const struct measure_logits_args *a, int lane)
{
    return a->target_at[lane] < 0 ? -1 : a->tokens[a->target_at[lane]];
}

/* Token, target, argmax, and what a lane's own logits say. */
static void measure_own(struct logit_work *w, int lane)
{
    const struct measure_logits_args *a = w->a;
    const int row = w->rows[lane].row;
    if (row < 0) {
        /* A lane before its first step of its own feeds what lane 0 feeds. */
        if (a->m.step[0] < a->m.end[lane] && w->rows[0].row >= 0)
            put_i32(&a->m, VAR_TOKEN, lane, a->tokens[a->rows[w->rows[0].row].token_at]);
        return;
    }
    struct logit_row *r = &w->logits[lane];
    logit_row_fill(w->isa, a->logits + (size_t)row * (size_t)a->vocab, a->vocab, r);
    const int32_t target = target_of(a, lane);
    put_i32(&a->m, VAR_TOKEN, lane, a->tokens[a->rows[row].token_at]);
    put_i32(&a->m, VAR_TARGET, lane, target);
    put_i32(&a->m, VAR_ARGMAX, lane, r->argmax);
    measure_put(&a->m, VAR_ENTROPY, (size_t)lane, r->entropy);
    measure_put(&a->m, VAR_NLL, (size_t)lane, -logit_log_p(r, target));
    if (target >= 0 && target < a->vocab && measure_has(&a->m, VAR_TOP3_HIT) && !isnan(r->z))
        put_flag(&a->m, VAR_TOP3_HIT, lane, logit_row_rank(w->isa, r, target) < 3);
}

static void measure_hidden(const struct logit_work *w, int lane)
{
    const struct measure_logits_args *a = w->a;
    const struct measure_rows *rows = &w->rows[lane];
    if (rows->ref < 0) return;
    const size_t n = (size_t)a->hidden;
    const float *x = a->hidden_state + (size_t)rows->row * n;
    const struct squares s = squares_of(x, a->hidden_state + (size_t)rows->ref * n, n);
    measure_put(&a->m, VAR_HIDDEN_ERR, (size_t)lane, squares_rel(s.diff, s.ref));
    if (rows->twin >= 0)
        measure_put(&a->m, VAR_HIDDEN_ACCUM, (size_t)lane,
                    squares_rel(squares_of(x, a->hidden_state + (size_t)rows->twin * n, n).diff, s.ref));
}

/* KL(ref || lane) of up to LOGIT_GROUP lanes. */
static void measure_kl(const struct logit_work *w, const struct kl_task *task)
{
    struct logit_group g = { .ref = &w->logits[task->ref], .n_rows = task->n_lanes };
    for (int k = 0; k < task->n_lanes; k++) g.row[k] = &w->logits[task->lane[k]];
    logit_group_kl(w->isa, &g);
    /* A sum that rounding took below 0 stands for 0; NaN stays. */
    for (int k = 0; k < task->n_lanes; k++)
        measure_put(&w->a->m, task->var, (size_t)task->lane[k], g.kl[k] < 0 ? 0 : g.kl[k]);
}

/* Adds the tasks of one reference: lane 0 for logit_kl, the twin for kl_clean. */
static void plan_kl(struct logit_work *w, int ref, enum record_var var)
{
    struct kl_task *task = NULL;
    for (int lane = 0; lane < w->a->m.n_lanes; lane++) {
        const struct measure_rows *rows = &w->rows[lane];
        if (var == VAR_LOGIT_KL ? rows->ref < 0 : rows->twin < 0 || w->a->m.twin[lane] != ref) continue;
        if (!task || task->n_lanes == LOGIT_GROUP) {
            task = &w->tasks[w->n_tasks++];
            *task = (struct kl_task){ .ref = ref, .var = var };
        }
        task->lane[task->n_lanes++] = lane;
    }
}

static void measure_matches(const struct logit_work *w, int lane)
{
    if (w->rows[lane].ref < 0 || isnan(w->logits[lane].z) || isnan(w->logits[0].z)) return;
    put_flag(&w->a->m, VAR_TOP1_MATCH, lane, w->logits[lane].argmax == w->logits[0].argmax);
}

static int measure_all(const struct device *d, struct logit_work *w, const struct measure_logits_args *a)
{
    w->a = a;
    w->isa = d->isa;
    w->n_tasks = 0;
    for (int lane = 0; lane < a->m.n_lanes; lane++) w->rows[lane] = measure_rows_of(&a->m, lane);
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 1)
    for (int lane = 0; lane < a->m.n_lanes; lane++) measure_own(w, lane);
    if (!measure_has(&a->m, VAR_LOGIT_KL)) return 0;
    plan_kl(w, 0, VAR_LOGIT_KL);
    for (int ref = 0; ref < a->m.n_lanes; ref++) plan_kl(w, ref, VAR_KL_CLEAN);
#pragma omp parallel for num_threads(d->n_threads) schedule(dynamic, 1)
    for (int i = 0; i < w->n_tasks; i++) measure_kl(w, &w->tasks[i]);
    for (int lane = 0; lane < a->m.n_lanes; lane++) {
        measure_matches(w, lane);
        measure_hidden(w, lane);
    }
    return 0;
}

int cpu_measure_logits(struct device *d, const struct measure_logits_args *a)
{
    if (a->m.n_lanes > MAX_LANES) return fail("measure_logits: %d lanes, at most %d", a->m.n_lanes, MAX_LANES);
    struct logit_work w; /* some 150 KiB, not cleared: only n_lanes of it are used */
    return measure_all(d, &w, a);
}
