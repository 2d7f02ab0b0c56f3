/* What the numbers say about themselves: floors, loops, lanes that never differ, mixed origins. */
#include "analysis/evidence.h"

#include "analysis/evidence_budget.h"

#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LOOPING_SHARE = 0.2;

/* ---- floors ---- */

static bool is_control(const struct study *s, int lane)
{
    const struct lane_spec *l = &s->lanes[lane];
    return lane > 0 && !lane_is_probe(l) && l->active_millionths >= 1000000 && !(l->perturb > 0);
}

static double lane_max(const struct study *s, int lane, bool rectified)
{
    double max = NAN;
    for (int i = 0; i < s->n_runs; i++) {
        const struct study_run *r = &s->runs[i];
        const int at = lane < r->n_map ? r->map[lane] : STUDY_ABSENT;
        const double x = at < 0 ? NAN : rectified ? r->k_rect_max[at] : r->k_drift_max[at];
        if (!isnan(x) && !(max >= x)) max = x;
    }
    return max;
}

static int floor_noisy(struct evidence *e, const char *what, const char *lane, double max)
{
    return notes_add(&e->warnings,
                     "noise floor: %s %s: K differs from the dense lane's by up to %.3g (relative), where it should "
                     "not; figures of that size mean nothing",
                     what, lane, max);
}

/* A control lane, and tokens just rectified, hold what the dense lane holds; on the CPU to the last bit. */
static int floors_check(struct evidence *e, const struct study *s)
{
    int n_rectified = 0;
    for (int lane = 1; lane < s->n_lanes; lane++) {
        const struct lane_spec *l = &s->lanes[lane];
        const bool control = is_control(s, lane),
                   rectified = l->interval > 0 && !(l->perturb > 0) && strcmp(s->follow, "self") != 0;
        const double max = control || rectified ? lane_max(s, lane, !control) : NAN;
        if (isnan(max)) continue;
        if (max > 0 &&
            floor_noisy(e, control ? "the control lane" : "just rectified tokens of lane", l->name, max) != 0)
            return -1;
        n_rectified += !control && !(max > 0);
        if (control && !(max > 0) &&
            notes_add(&e->floors, "control lane %s: K drift exactly 0 at every step, layers 1 and up, in %d run%s",
                      l->name, s->n_runs, words_s(s->n_runs)) != 0)
            return -1;
    }
    if (n_rectified == 0) return 0;
    return notes_add(
        &e->floors,
        "just rectified tokens of %d lane%s: K exactly the dense lane's after every rectification, layers 1 "
        "and up, in %d run%s",
        n_rectified, words_s(n_rectified), s->n_runs, words_s(s->n_runs));
}

/* ---- streams ---- */

static int loops_check(struct evidence *e, const struct study *s)
{
    const int n_lanes = strcmp(s->follow, "self") == 0 ? s->n_lanes : 1; /* else every lane is fed lane 0's tokens */
    for (int i = 0; i < s->n_runs; i++) {
        const struct study_run *r = &s->runs[i];
        for (int lane = 0; lane < n_lanes && lane < r->n_map; lane++) {
            const double share = r->map[lane] < 0 ? NAN : r->repeats[r->map[lane]];
            if (!(share > LOOPING_SHARE)) continue;
            if (notes_add(&e->warnings,
                          "run %s, lane %s: the stream loops: %.0f %% of its 4-grams of tokens were there before",
                          r->id, s->lanes[lane].name, 100 * share) != 0)
                return -1;
        }
    }
    return 0;
}

/* ---- lanes without numbers ---- */

static bool all_nan(const float *x, int n)
{
    for (int i = 0; i < n; i++)
        if (!isnan(x[i])) return false;
    return true;
}

/* A lane whose logits ran away, and one that has not a single NLL: its means are infinite, or not there. */
static int numbers_check(struct evidence *e, const struct study *s)
{
    for (int i = 0; i < s->n_runs; i++)
        for (int lane = 0; lane < s->n_lanes; lane++) {
            const struct study_run *r = &s->runs[i];
            const float *nll = study_series(s, i, lane, QUANTITY_NLL);
            if (lane >= r->n_map || r->map[lane] < 0) continue;
            if (r->infinite[r->map[lane]] &&
                notes_add(&e->warnings,
                          "run %s, lane %s: NLL or KL is infinite at some step: its means are infinite, and no interval is "
                          "given",
                          r->id, s->lanes[lane].name) != 0)
                return -1;
            if (nll && all_nan(nll, r->n_steps) &&
                notes_add(&e->warnings, "run %s, lane %s: NLL is not a number at any step: its text does not count there",
                          r->id, s->lanes[lane].name) != 0)
                return -1;
        }
    return 0;
}

/* ---- lanes that never differ ---- */

struct print {
    uint64_t hash;
    int lane;
};

static uint64_t hash_add(uint64_t hash, const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    return hash;
}

/* Of all that a lane's reading shows in; false: there is nothing to tell lanes apart by. */
static bool lane_print(const struct study *s, int lane, uint64_t *hash)
{
    static const enum quantity telling[] = { QUANTITY_NLL, QUANTITY_KL, QUANTITY_K_DRIFT, QUANTITY_ATTN_ERR,
                                             QUANTITY_KEPT_MASS };
    bool any = false;
    *hash = UINT64_C(0xcbf29ce484222325);
    for (int i = 0; i < s->n_runs; i++)
        for (size_t q = 0; q < sizeof telling / sizeof telling[0]; q++) {
            const float *x = study_series(s, i, lane, telling[q]);
            if (!x) continue;
            *hash = hash_add(*hash, &i, sizeof i);
            *hash = hash_add(*hash, x, (size_t)s->runs[i].n_steps * sizeof *x);
            any = true;
        }
    return any;
}

static int print_compare(const void *a, const void *b)
{
    const struct print *x = a, *y = b;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x->lane > y->lane) - (x->lane < y->lane);
}

/* Lanes that are there to be equal: a control and lane 0, a lane rectified after every step and its clean twin. */
static bool meant_equal(const struct study *s, int a, int b)
{
    if ((a == 0 || is_control(s, a)) && (b == 0 || is_control(s, b))) return true;
    return (s->lanes[a].interval == 1 && s->lanes[a].clean == b) ||
           (s->lanes[b].interval == 1 && s->lanes[b].clean == a);
}

static int twins_check(struct evidence *e, const struct study *s)
{
    struct print *prints = NULL;
    int n = 0, rc = 0;
    TRY(MEM_NEW(&prints, s->n_lanes, "lanes"), "%s", s->key);
    for (int lane = 0; lane < s->n_lanes; lane++) {
        prints[n].lane = lane;
        n += lane_print(s, lane, &prints[n].hash);
    }
    qsort(prints, (size_t)n, sizeof *prints, print_compare);
    for (int i = 1; i < n && rc == 0; i++)
        if (prints[i].hash == prints[i - 1].hash && !meant_equal(s, prints[i - 1].lane, prints[i].lane))
            rc = notes_add(&e->warnings, "lanes %s and %s never differ: they are one lane under two names",
                           s->lanes[prints[i - 1].lane].name, s->lanes[prints[i].lane].name);
    mem_free(prints);
    return rc;
}

/* ---- origins ---- */

static int origin_check(struct evidence *e, const struct study *s, enum run_fact fact, const char *what)
{
    const char *first = s->runs[0].facts[fact];
    for (int i = 1; i < s->n_runs; i++)
        if (strcmp(s->runs[i].facts[fact], first) != 0)
            return notes_add(&e->warnings, "the runs are of more than one %s: %.60s (run %s), %.60s (run %s)", what,
                             first, s->runs[0].id, s->runs[i].facts[fact], s->runs[i].id);
    return 0;
}

static int texts_check(struct evidence *e, const struct study *s)
{
    if (s->n_texts < ESTIMATE_MIN_TEXTS &&
        notes_add(&e->warnings, "%s%s%d text%s: with fewer than %d no interval is given and nothing is claimed",
                  e->n_studies > 1 ? s->key : "", e->n_studies > 1 ? ": " : "", s->n_texts, words_s(s->n_texts),
                  ESTIMATE_MIN_TEXTS) != 0)
        return -1;
    for (int i = 0; i < s->n_runs; i++)
        for (int lane = 0; lane < s->n_lanes; lane++)
            if ((lane >= s->runs[i].n_map || s->runs[i].map[lane] < 0) &&
                notes_add(&e->warnings, "run %s has no lane %s: its text does not count there", s->runs[i].id,
                          s->lanes[lane].name) != 0)
                return -1;
    return 0;
}

int evidence_check(struct evidence *e)
{
    for (int i = 0; i < e->n_studies; i++) {
        const struct study *s = &e->studies[i];
        if (texts_check(e, s) != 0 || floors_check(e, s) != 0 || numbers_check(e, s) != 0 || loops_check(e, s) != 0 ||
            twins_check(e, s) != 0 || evidence_budget_check(e, s) != 0 ||
            origin_check(e, s, FACT_COMMIT, "commit") != 0 || origin_check(e, s, FACT_MODEL_DIGEST, "model file") != 0)
            return -1;
    }
    return 0;
}
