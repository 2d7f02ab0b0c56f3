#include "analysis/paper_sheets.h"

#include "analysis/ablation_points.h"
#include "analysis/paper.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const paper_sheet_names[] = { "paper", "paper-lengths", "paper-numbers", NULL };

/* A lane by what the paper says of it: minmax, block 16, one cache of its own or the dense one. */
struct wanted {
    enum point_role role;
    double sparsity; /* 0: the dense lane */
    int interval;    /* 0: never */
    int sparse_last; /* of the steps decoded sparsely; 0: all */
    int dense_layers;
};

/* What is compared: the first lane minus the second (DIFFERENCE), the part of the second's loss against dense that the first lacks
 * (SHARE), or the first over dense (RATIO). */
enum comparison { DIFFERENCE, SHARE, RATIO };

struct finding {
    const char *source, *says, *published;
    enum comparison comparison;
    enum measure measure;
    int last_steps; /* 0: all */
    struct wanted a, b;
    int sign;       /* of the number here, where the same is seen; 0: none to be seen */
    const char *ours, *differs;
};

#define OWN(s, f) { POINT_OWN, s, f, 0, 0 }
#define LATE(s, n) { POINT_OWN, s, 0, n, 0 }
#define CLEAN(s) { POINT_CLEAN, s, 0, 0, 0 }
#define TASKS "accuracy of answers there, NLL of a text that is followed here"
#define TOP3 "the stream and its length, far shorter here"
#define BOTH "top-3 accuracy there; NLL here, which sees what a rank of three does not"
#define SWEEP "the measure is not stated there, NLL here"
static const struct finding findings[] = {
    { "v2 Table 1", "sparse decoding loses, ReSA less: 46.8, 43.5, 45.6 (1.5B)", "", DIFFERENCE, MEASURE_NLL, 0, OWN(0.9, 0), OWN(0.9, 32), 1,
      "NLL of never rectified minus interval 32, sparsity 0.9", TASKS },
    { "v2 Table 1", "ReSA takes back most of what sparse decoding loses", "62 % (1.5B), 93 % (7B)", SHARE, MEASURE_ABOVE_DENSE, 0, OWN(0.9, 32),
      OWN(0.9, 0), 1, "share of the NLL above dense that interval 32 takes back, sparsity 0.9", TASKS },
    { "v2 Table 1", "leaving the first two layers dense does not help: 57.4 against 57.7 (7B)", "-0.3 points", DIFFERENCE, MEASURE_NLL, 0,
      OWN(0.9, 0), { POINT_OWN, 0.9, 0, 0, 2 }, 0, "NLL of none minus 2 dense layers, sparsity 0.9, never rectified", TASKS },
    { "v2 Figure 4", "accuracy falls with the sparse length", "", DIFFERENCE, MEASURE_TOP3, PAPER_LAST_STEPS, LATE(0.9, 32), OWN(0.9, 0), 1,
      "top-3 accuracy after 32 sparse steps minus after all, sparsity 0.9", TOP3 },
    { "v2 Figure 4", "32 sparse tokens are almost at the bound, sparse reading of a dense cache", "", DIFFERENCE, MEASURE_TOP3, PAPER_LAST_STEPS,
      CLEAN(0.9), LATE(0.9, 32), 0, "top-3 accuracy of clean minus after 32 sparse steps, sparsity 0.9", TOP3 },
    { "v2 Figure 4", "32 sparse tokens are almost at the bound, sparse reading of a dense cache", "", DIFFERENCE, MEASURE_NLL, PAPER_LAST_STEPS,
      LATE(0.9, 32), CLEAN(0.9), 0, "NLL on the same steps, after 32 sparse steps minus clean, sparsity 0.9", BOTH },
    { "v2 Figure 5", "a clear gap between sparsity 0.95 and 0.98", "", DIFFERENCE, MEASURE_TOP3, PAPER_LAST_STEPS, OWN(0.95, 0), OWN(0.98, 0), 1,
      "top-3 accuracy at 0.95 minus at 0.98, all steps sparse", TOP3 },
    { "v2 Figure 5", "sparsity 0.8 equals dense", "", DIFFERENCE, MEASURE_TOP3, PAPER_LAST_STEPS, { POINT_OWN, 0, 0, 0, 0 }, OWN(0.8, 0), 0,
      "top-3 accuracy of dense minus at 0.8, all steps sparse", TOP3 },
    { "v2 Figure 5", "sparsity 0.8 equals dense", "", DIFFERENCE, MEASURE_NLL, 0, OWN(0.8, 0), { POINT_OWN, 0, 0, 0, 0 }, 0,
      "NLL at 0.8 minus dense, over all steps", BOTH },
    { "v2 Figure 9", "rectification helps at every sparsity: 0.9", "", DIFFERENCE, MEASURE_NLL, 0, OWN(0.9, 0), OWN(0.9, 32), 1,
      "NLL of never minus interval 32, sparsity 0.9", SWEEP },
    { "v2 Figure 9", "rectification helps at every sparsity: 0.95", "", DIFFERENCE, MEASURE_NLL, 0, OWN(0.95, 0), OWN(0.95, 32), 1,
      "NLL of never minus interval 32, sparsity 0.95", SWEEP },
    { "v2 Figure 9", "rectification helps at every sparsity: 0.98", "", DIFFERENCE, MEASURE_NLL, 0, OWN(0.98, 0), OWN(0.98, 32), 1,
      "NLL of never minus interval 32, sparsity 0.98", SWEEP },
    { "v2 Figure 9", "interval 16 gains little over 32", "", DIFFERENCE, MEASURE_NLL, 0, OWN(0.9, 32), OWN(0.9, 16), 0,
      "NLL of interval 32 minus 16, sparsity 0.9", SWEEP },
    { "v2 Figure 9", "32 or 64 is the best trade-off: beyond, accuracy is lost", "", DIFFERENCE, MEASURE_NLL, 0, OWN(0.9, 128), OWN(0.9, 64), 1,
      "NLL of interval 128 minus 64, sparsity 0.9", SWEEP },
    { "v2 equation 6", "KV bytes of a step over dense, block 16, sparsity 0.9, interval 32", "0.194", RATIO, MEASURE_BYTES, 0, OWN(0.9, 32),
      { POINT_OWN, 0, 0, 0, 0 }, 0, "bytes counted, over dense", "min_blocks and the current block count for more in a short context; the equation leaves out what a step writes" },
};
enum { N_FINDINGS = sizeof findings / sizeof *findings };

/* What no run of drift can speak to. */
static const struct { const char *source, *says, *published, *needs; } not_here[] = {
    { "v2 Table 2", "RULER: ReSA at 0.9 and 0.8 is as good as dense", "0.559, 0.552 against 0.549", "the benchmark and a model of long contexts" },
    { "v2 Figure 6", "attention with ReSA is faster than dense", "2.74x at 16K, 2.80x at 64K, 2.98x at 256K", "times: the experiment latency" },
    { "v2 and ACL, end to end", "a whole step is faster than dense, at 256K", "2.28x (fp16), 2.44x (int4); ACL: up to 3.77x", "times: the experiment latency" },
    { "v2 Table 3", "faster than self-speculation", "1.92x on average", "drafting and verification, which this program has not" },
};
enum { N_NOT_HERE = sizeof not_here / sizeof *not_here };

/* ---- lanes ---- */

struct search {
    const struct study *s;
    struct ablation_point *points; /* owned [n_points] */
    int n_points;
    double *a, *b;                 /* owned [n_texts] */
};

static bool equal(double x, double y)
{
    return fabs(x - y) < 1e-9;
}

/* The study's lane, or STUDY_ABSENT. */
static int lane_find(const struct search *f, struct wanted w)
{
    if (!(w.sparsity > 0)) return 0;
    const int until = w.sparse_last > 0 ? f->s->n_steps - w.sparse_last : 0;
    for (int i = 0; i < f->n_points; i++) {
        const struct ablation_point *p = &f->points[i];
        if (p->role == w.role && equal(p->at[AXIS_SELECTOR], SELECT_MINMAX) && equal(p->at[AXIS_SPARSITY], w.sparsity) &&
            equal(p->at[AXIS_BLOCK_SIZE], 16) && equal(p->at[AXIS_INTERVAL], w.interval) && equal(p->at[AXIS_DENSE_UNTIL], until) &&
            equal(p->at[AXIS_DENSE_LAYERS], w.dense_layers) && equal(p->at[AXIS_EQUAL_BYTES], 0) && equal(p->at[AXIS_PHASE], 0) &&
            equal(p->at[AXIS_PERTURB], 0))
            return p->lane;
    }
    return STUDY_ABSENT;
}

/* A measure of both lanes, text by text, over the last steps. */
static int pair_measure(struct search *f, int a, int b, enum measure m, int last_steps)
{
    const int first = last_steps > 0 && last_steps < f->s->n_steps ? f->s->n_steps - last_steps : 0;
    return study_measure(f->s, a, m, first, f->a) != 0 ? -1 : study_measure(f->s, b, m, first, f->b);
}

/* e->n is 0 where a lane is missing. */
static int finding_measure(struct search *f, const struct finding *x, struct estimate *e)
{
    const int a = lane_find(f, x->a), b = lane_find(f, x->b);
    *e = estimate_none();
    if (a == STUDY_ABSENT || b == STUDY_ABSENT) return 0;
    if (pair_measure(f, a, b, x->measure, x->last_steps) != 0) return -1;
    if (x->comparison != DIFFERENCE) {
        for (int i = 0; i < f->s->n_texts && x->comparison == SHARE; i++) f->a[i] = f->b[i] - f->a[i];
        const struct ratio r = ratio_of(f->a, f->b, f->s->n_texts);
        *e = (struct estimate){ r.n, 0, 0, r.value, r.low, r.high, NAN, NAN, { NAN, NAN } };
        return 0;
    }
    for (int i = 0; i < f->s->n_texts; i++) f->a[i] -= f->b[i];
    *e = estimate_of(f->a, f->s->n_texts);
    return 0;
}

/* ---- findings ---- */

/* Up to where two settings count as equal: a point of accuracy, two per cent of perplexity. */
static const double EQUAL_ACCURACY = 0.01, EQUAL_NLL = 0.02;

/* That no difference is shown is no equality: the whole interval has to be small. */
static const char *verdict_of_equal(const struct finding *x, struct estimate e)
{
    const bool accuracy = x->measure == MEASURE_TOP3;
    const double margin = accuracy ? EQUAL_ACCURACY : EQUAL_NLL;
    if (e.low >= -margin && e.high <= margin) return accuracy ? "yes: within 0.01" : "yes: within 0.02 nat";
    if (estimate_is_clear(e)) return e.mean > 0 ? "no: a difference is shown" : "no: a difference is shown, the other way";
    return accuracy ? "not decided: 0 and more than 0.01 are possible" : "not decided: 0 and more than 0.02 nat are possible";
}

static const char *verdict(const struct finding *x, struct estimate e)
{
    if (e.n == 0) return "not run";
    if (x->comparison == RATIO) return "counted";
    if (!estimate_has_interval(e)) return "too few texts";
    if (x->comparison == SHARE) return e.low > 0.5 ? "yes" : e.high < 0.5 ? "no: less than half" : "not shown";
    if (x->sign == 0) return verdict_of_equal(x, e);
    if (!estimate_is_clear(e)) return "not shown";
    return e.mean > 0 ? "yes" : "no: the other way";
}

static int finding_columns(struct sheet *t)
{
    static const char *const texts[][2] = { { "source", "source" }, { "finding", "the paper finds" }, { "published", "number there" } };
    int rc = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && rc == 0; i++) rc = sheet_column(t, COLUMN_TEXT, texts[i][0], texts[i][1], 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "measure", "measured here", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_ESTIMATE, "value", "number here", 3);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "seen", "seen here", 0);
    return rc == 0 ? sheet_column(t, COLUMN_TEXT, "differs", "what differs", 0) : rc;
}

static int finding_row(struct sheet *t, const char *const *before, const char *ours, struct estimate e, const char *seen, const char *differs)
{
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++) rc = sheet_text(t, before[i]);
    if (rc == 0) rc = sheet_text(t, ours);
    if (rc == 0) rc = sheet_estimate(t, e);
    if (rc == 0) rc = sheet_text(t, seen);
    return rc == 0 ? sheet_text(t, differs) : rc;
}

static void findings_caption(struct sheet *t, const struct study *s)
{
    snprintf(t->caption, sizeof t->caption,
             "The paper's findings beside this study's. Here: model %s, %d + %d tokens of %d text%s that are followed, on %.100s. There: "
             "DeepSeek-R1-Distill-Qwen 1.5B and 7B and Qwen2.5-7B, contexts of 4K to 256K, A100. It is the direction that can be compared. In "
             "brackets the 95 %% interval over texts. The rule: a difference is seen where its interval excludes 0; two settings are seen to "
             "be equal where the whole interval is within %g of accuracy, or within %g nat of NLL, and a finding of two rows only where both "
             "say so; a share is most of it where its interval is above one half.",
             s->model, s->prompt_tokens, s->n_steps, s->n_texts, s->n_texts == 1 ? "" : "s", s->runs[0].facts[FACT_CPU],
             EQUAL_ACCURACY, EQUAL_NLL);
}

/* n_seen: findings that this study has the lanes for. */
static int findings_sheet(struct sheet *t, struct search *f, const char *name)
{
    struct estimate e;
    TRY(sheet_open(t, name), "tables");
    findings_caption(t, f->s);
    int rc = finding_columns(t);
    for (int i = 0; i < N_FINDINGS && rc == 0; i++) {
        const struct finding *x = &findings[i];
        rc = finding_measure(f, x, &e);
        if (rc == 0)
            rc = finding_row(t, (const char *const[]){ x->source, x->says, x->published }, x->ours, e, verdict(x, e), x->differs);
    }
    for (int i = 0; i < N_NOT_HERE && rc == 0; i++)
        rc = finding_row(t, (const char *const[]){ not_here[i].source, not_here[i].says, not_here[i].published }, "", estimate_none(), "not run",
                         not_here[i].needs);
    return rc;
}

/* ---- sparse lengths ---- */

static int lengths_row(struct sheet *t, struct search *f, double sparsity, const char *length, int lane, int clean)
{
    char text[32];
    snprintf(text, sizeof text, "%g", sparsity);
    int rc = sheet_text(t, lane == 0 ? "" : text);
    if (rc == 0) rc = sheet_text(t, length);
    for (int i = 0; i < 3 && rc == 0; i++) {
        const int other = i == 1 ? 0 : clean;
        struct estimate e = estimate_none();
        if (i == 0 || (other != STUDY_ABSENT && other != lane)) {
            rc = pair_measure(f, lane, i == 0 ? lane : other, MEASURE_TOP3, PAPER_LAST_STEPS);
            for (int k = 0; k < f->s->n_texts && i > 0; k++) f->a[k] -= f->b[k];
            if (rc == 0) e = estimate_of(f->a, f->s->n_texts);
        }
        if (rc == 0) rc = sheet_estimate(t, e);
    }
    return rc;
}

static int lengths_of_sparsity(struct sheet *t, struct search *f, const struct ablation_point *like, double *untils)
{
    const double sparsity = like->at[AXIS_SPARSITY];
    const int clean = f->s->lanes[like->lane].clean, n = axis_values(f->points, f->n_points, like, AXIS_DENSE_UNTIL, N_AXES, untils);
    char length[32];
    if (clean != LANE_NONE && lengths_row(t, f, sparsity, "clean", clean, clean) != 0) return -1;
    for (int i = n - 1; i >= 0; i--) {
        if (f->s->n_steps - untils[i] < PAPER_LAST_STEPS) continue; /* it has no value at some of the steps that count */
        snprintf(length, sizeof length, "%g", f->s->n_steps - untils[i]);
        if (lengths_row(t, f, sparsity, length, point_at(f->points, f->n_points, like, AXIS_DENSE_UNTIL, untils[i])->lane,
                        clean == LANE_NONE ? STUDY_ABSENT : clean) != 0)
            return -1;
    }
    return 0;
}

/* Never rectified with its own cache, sparse from the first step on, and later in another lane. */
static bool begins_lengths(const struct search *f, const struct ablation_point *p, double *untils)
{
    return p->role == POINT_OWN && equal(p->at[AXIS_INTERVAL], 0) && equal(p->at[AXIS_DENSE_UNTIL], 0) && equal(p->at[AXIS_EQUAL_BYTES], 0) &&
           equal(p->at[AXIS_PERTURB], 0) && axis_values(f->points, f->n_points, p, AXIS_DENSE_UNTIL, N_AXES, untils) > 1;
}

static int lengths_sheet(struct sheet_list *l, struct search *f, const char *suffix)
{
    double *untils = NULL;
    char name[96];
    struct sheet *t = NULL;
    TRY(MEM_NEW(&untils, f->n_points + 1, "steps"), "tables");
    snprintf(name, sizeof name, "paper-lengths%.60s", suffix);
    int rc = 0;
    for (int i = 0; i < f->n_points && rc == 0; i++) {
        if (!begins_lengths(f, &f->points[i], untils)) continue;
        if (!t) {
            t = sheet_list_next(l);
            rc = t ? sheet_open(t, name) : -1;
            if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "sparsity", "sparsity", 0);
            if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "sparse_steps", "steps decoded sparsely", 0);
            if (rc == 0) rc = sheet_column(t, COLUMN_ESTIMATE, "top3_accuracy", "top-3 accuracy", 3);
            if (rc == 0) rc = sheet_column(t, COLUMN_SIGNED, "against_dense", "against dense", 3);
            if (rc == 0) rc = sheet_column(t, COLUMN_SIGNED, "against_clean", "against clean", 3);
            if (rc == 0)
                snprintf(t->caption, sizeof t->caption,
                         "Top-3 accuracy on the last %d of %d steps, by how many of them were decoded sparsely (the paper's Figures 1, 4 and 5; its "
                         "\"decode only\" is clean). The first row is dense. The same tokens are predicted in every row.",
                         PAPER_LAST_STEPS, f->s->n_steps);
            if (rc == 0) rc = lengths_row(t, f, 0, "dense", 0, STUDY_ABSENT);
        }
        if (rc == 0) rc = lengths_of_sparsity(t, f, &f->points[i], untils);
    }
    mem_free(untils);
    return rc;
}

/* ---- every number ---- */

static int numbers_sheet(struct sheet *t, const char *name)
{
    static const char *const columns[][2] = { { "source", "source" }, { "what", "what" }, { "setting", "setting" }, { "measure", "measure" } };
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(t->caption, sizeof t->caption, "Every number that is published of the method, and what it would take to run it here.");
    int rc = 0;
    for (size_t i = 0; i < sizeof columns / sizeof *columns && rc == 0; i++) rc = sheet_column(t, COLUMN_TEXT, columns[i][0], columns[i][1], 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_NUMBER, "published", "published", 3);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "needs", "here", 0);
    for (const struct paper_table *p = paper_tables; p->source; p++)
        for (const struct paper_numbers *r = p->rows; r->setting; r++)
            for (int i = 0; i < PAPER_MAX_COLUMNS && p->columns[i] && rc == 0; i++) {
                char needs[160];
                snprintf(needs, sizeof needs, "not run: needs %.120s", p->needs);
                const char *const texts[] = { p->source, p->what, r->setting, p->columns[i] };
                for (int k = 0; k < 4 && rc == 0; k++) rc = sheet_text(t, texts[k]);
                if (rc == 0) rc = sheet_number(t, r->values[i]);
                if (rc == 0) rc = sheet_text(t, needs);
            }
    return rc;
}

/* Whether any finding has its lanes. */
static bool any_is_run(const struct search *f)
{
    for (int i = 0; i < N_FINDINGS; i++)
        if (lane_find(f, findings[i].a) > 0 && lane_find(f, findings[i].b) != STUDY_ABSENT) return true;
    return false;
}

static int sheets_make(struct sheet_list *l, struct search *f, const char *suffix)
{
    char name[96];
    if (!any_is_run(f)) return 0;
    snprintf(name, sizeof name, "paper%.60s", suffix);
    struct sheet *t = sheet_list_next(l);
    if (!t || findings_sheet(t, f, name) != 0 || lengths_sheet(l, f, suffix) != 0) return -1;
    snprintf(name, sizeof name, "paper-numbers%.60s", suffix);
    t = sheet_list_next(l);
    return t ? numbers_sheet(t, name) : -1;
}

int paper_sheets(struct sheet_list *l, const struct study *s, const char *suffix)
{
    struct search f = { .s = s };
    if (!study_is_of_text(s)) return 0; /* the findings are of accuracy and NLL */
    int rc = MEM_NEW(&f.points, s->n_lanes, "lanes");
    if (rc == 0) rc = MEM_NEW(&f.a, s->n_texts, "texts");
    if (rc == 0) rc = MEM_NEW(&f.b, s->n_texts, "texts");
    if (rc == 0) f.n_points = points_make(s, f.points);
    if (rc == 0) rc = sheets_make(l, &f, suffix);
    mem_free(f.points);
    mem_free(f.a);
    mem_free(f.b);
    return rc;
}
