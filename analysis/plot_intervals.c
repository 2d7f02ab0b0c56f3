/* Errors and cost against the interval of rectification, beside reading as many bytes more; a column of panels for each set. */
#include "analysis/plot_against.h"

#include "analysis/plot_curve.h"

#include <stdio.h>

enum series { RECTIFIED, EQUAL_BYTES, NEVER, CLEAN, N_SERIES };

static const struct against plain = { .labels = { "rectified", "equal bytes", "never", "clean" },
                                      .styles = { 2, 5, 1, 8 },
                                      .n_series = N_SERIES };

/* What a lane's place is called, 0: it has none. */
static int number_of(const struct lane_spec *l, enum corner_role role)
{
    if (role == CORNER_RECTIFIED && l->phase == 0) return l->interval;
    return role == CORNER_EQUAL ? l->equal_bytes : 0;
}

static int next_number(const struct corner_set *set, const struct study *s, int after)
{
    int next = 0;
    for (int i = 0; i < set->n_corners; i++) {
        const int number = number_of(&s->lanes[set->corners[i].lane], set->corners[i].role);
        if (number > after && (next == 0 || number < next)) next = number;
    }
    return next;
}

/* Places: the intervals, rising, then never.  Whether there are two intervals or more. */
static bool column_fill(struct against_column *column, const struct corner_set *set, const struct study *s)
{
    char name[16];
    int n = 0;
    *column = (struct against_column){ .name = "interval (steps)" };
    snprintf(column->title, sizeof column->title, "%s", set->title);
    for (int number = next_number(set, s, 0); number > 0; number = next_number(set, s, number)) {
        snprintf(name, sizeof name, "%d", number);
        if (column->n == AGAINST_PLACES - 1) break;
        const int place = against_place(column, name);
        column->lanes[RECTIFIED][place] = corner_lane(set, CORNER_RECTIFIED, number, s);
        column->lanes[EQUAL_BYTES][place] = corner_lane(set, CORNER_EQUAL, number, s);
        n += column->lanes[RECTIFIED][place] != STUDY_ABSENT;
    }
    const int last = against_place(column, "never");
    column->lanes[NEVER][last] = corner_lane(set, CORNER_NEVER, 0, s);
    column->lanes[CLEAN][last] = corner_lane(set, CORNER_CLEAN, 0, s);
    return n >= 2;
}

int plot_intervals(struct figure *f, const struct plot_job *job)
{
    const struct study *s = job->study;
    struct against against = plain;
    struct against_column column;
    char texts[200];
    int n = 0, first = 0, n_here = 0, at = 0;
    for (int i = 0; i < job->corners->n_sets; i++) n += column_fill(&column, &job->corners->sets[i], s);
    if (!plot_part(n, AGAINST_COLUMNS, job->part, &first, &n_here)) return 1;
    for (int i = 0; i < job->corners->n_sets; i++) {
        if (!column_fill(&column, &job->corners->sets[i], s)) continue;
        if (at >= first && at < first + n_here) against.columns[against.n_columns++] = column;
        at++;
    }
    const int rc = against_draw(f, s, &against);
    snprintf(f->title, sizeof f->title, "The interval of rectification");
    snprintf(f->caption, sizeof f->caption,
             "%s. %s Beside each interval: never rectified, reading as many bytes more as "
             "rectifying so often costs (equal bytes). At the right: never rectified, and the same policy over the "
             "undisturbed cache (clean), the least that rectification can reach.",
             against_measures(s), plot_words_of_texts(s, true, texts, sizeof texts));
    return rc;
}
