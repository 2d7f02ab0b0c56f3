#include "analysis/origin_sheet.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/text_known.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PREFERRED_INTERVAL = 32 };

/* What is told of a text in each set; NLL above dense but for the first. */
enum column { DENSE_NLL, CLEAN, NEVER, RECTIFIED, EQUAL, RECTIFIED_LESS_EQUAL, N_ORIGIN_COLUMNS };
static const struct {
    const char *key, *label;
} columns[N_ORIGIN_COLUMNS] = {
    [DENSE_NLL] = { "dense_nll", "dense NLL (nat)" },
    [CLEAN] = { "clean", "clean" },
    [NEVER] = { "never", "never" },
    [RECTIFIED] = { "rectified", "rectified" },
    [EQUAL] = { "equal", "equal bytes" },
    [RECTIFIED_LESS_EQUAL] = { "rectified_less_equal", "rectified − equal bytes" },
};

/* The run that a text's name and origin come from. */
static const struct study_run *run_of_text(const struct study *s, int text)
{
    for (int i = 0; i < s->n_runs; i++)
        if (s->runs[i].text == text) return &s->runs[i];
    return &s->runs[0];
}

static const char *origin_of_text(const struct study *s, int text)
{
    return run_of_text(s, text)->facts[FACT_ORIGIN];
}

/* The lane of a role: of the preferred interval where it was run. */
static int lane_of(const struct study *s, const struct corner_set *set, enum corner_role role)
{
    const int lane = corner_lane(set, role, PREFERRED_INTERVAL, s);
    return lane != STUDY_ABSENT ? lane : corner_lane(set, role, 0, s);
}

/* values: [N_ORIGIN_COLUMNS][n_texts] */
static int values_read(const struct study *s, const struct corner_set *set, double *values)
{
    static const enum corner_role roles[] = { [CLEAN] = CORNER_CLEAN, [NEVER] = CORNER_NEVER, [RECTIFIED] = CORNER_RECTIFIED, [EQUAL] = CORNER_EQUAL };
    const size_t n = (size_t)s->n_texts;
    int rc = study_measure(s, 0, MEASURE_NLL, 0, values);
    for (int i = CLEAN; i <= EQUAL && rc == 0; i++) {
        const int lane = lane_of(s, set, roles[i]);
        if (lane != STUDY_ABSENT)
            rc = study_measure(s, lane, MEASURE_ABOVE_DENSE, set->policy.dense_until, values + (size_t)i * n);
        else
            for (size_t k = 0; k < n; k++) values[(size_t)i * n + k] = NAN;
    }
    for (size_t k = 0; k < n; k++) values[RECTIFIED_LESS_EQUAL * n + k] = values[RECTIFIED * n + k] - values[EQUAL * n + k];
    return rc;
}

static int row_head(struct sheet *t, const struct corner_set *set, const char *text, const char *origin)
{
    if (sheet_text(t, set->title) != 0 || sheet_text(t, text) != 0) return -1;
    return sheet_text(t, origin);
}

static struct estimate alone(double x)
{
    struct estimate e = estimate_none();
    e.mean = x;
    e.n = !isnan(x);
    return e;
}

/* The mean over texts whose origin is a package (foreign) or is not. */
static int mean_row(struct sheet *t, const struct study *s, const struct corner_set *set, const double *values, double *some, bool foreign)
{
    char name[64];
    int n = 0;
    for (int text = 0; text < s->n_texts; text++) n += (text_known_pattern(origin_of_text(s, text)) != NULL) == foreign;
    if (n == 0 || n == s->n_texts) return 0;
    snprintf(name, sizeof name, "mean of %d", n);
    if (row_head(t, set, name, foreign ? "all of " TEXT_PREFIX : "all others") != 0) return -1;
    for (int i = 0; i < N_ORIGIN_COLUMNS; i++) {
        for (int text = 0; text < s->n_texts; text++)
            some[text] = (text_known_pattern(origin_of_text(s, text)) != NULL) == foreign ? values[i * s->n_texts + text] : NAN;
        if (sheet_estimate(t, estimate_of(some, s->n_texts)) != 0) return -1;
    }
    return 0;
}

static int set_rows(struct sheet *t, const struct study *s, const struct corner_set *set, double *values, double *some)
{
    if (values_read(s, set, values) != 0) return -1;
    for (int text = 0; text < s->n_texts; text++) {
        if (row_head(t, set, s->texts[text], origin_of_text(s, text)) != 0) return -1;
        for (int i = 0; i < N_ORIGIN_COLUMNS; i++)
            if (sheet_estimate(t, alone(values[i * s->n_texts + text])) != 0) return -1;
    }
    return mean_row(t, s, set, values, some, false) != 0 ? -1 : mean_row(t, s, set, values, some, true);
}

int sheet_of_origins(struct sheet *t, const struct study *s, const struct corners *c, const char *name)
{
    double *values = NULL, *some = NULL;
    TRY(sheet_open(t, name), "tables");
    t->folded = true;
    snprintf(t->caption, sizeof t->caption,
             "The texts and where they come from: NLL of the dense lane, and NLL above it of the lanes of each set (rectified, equal bytes: every "
             "%d, or what was run first), over all steps; the means of each origin with their 95 %% intervals.",
             PREFERRED_INTERVAL);
    int rc = sheet_column(t, COLUMN_TEXT, "set", "set", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "text", "text", 0);
    if (rc == 0) rc = sheet_column(t, COLUMN_TEXT, "origin", "origin", 0);
    for (int i = 0; i < N_ORIGIN_COLUMNS && rc == 0; i++)
        rc = sheet_column(t, COLUMN_ESTIMATE, columns[i].key, columns[i].label, 3);
    if (rc == 0) rc = MEM_NEW(&values, N_ORIGIN_COLUMNS * s->n_texts, "texts");
    if (rc == 0) rc = MEM_NEW(&some, s->n_texts, "texts");
    for (int i = 0; i < c->n_sets && rc == 0; i++) rc = set_rows(t, s, &c->sets[i], values, some);
    mem_free(values);
    mem_free(some);
    return rc;
}
