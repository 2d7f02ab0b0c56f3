#include "analysis/plots.h"

#include "core/err.h"
#include "core/mem.h"

#include <math.h>
#include <stdio.h>

bool plot_curve(const struct study *s, int lane, enum quantity q, int text, int n_bins, double *out)
{
    int *n = NULL;
    bool any = false;
    if (MEM_NEW(&n, n_bins, "bins") != 0) return false;
    for (int i = 0; i < n_bins; i++) out[i] = 0;
    for (int run = 0; run < s->n_runs; run++) {
        const double *x = study_series(s, run, lane, q);
        if (!x || (text != STUDY_ABSENT && s->runs[run].text != text)) continue;
        for (int step = 0; step < s->runs[run].n_steps && step < s->n_steps; step++) {
            const int bin = (int)((long long)step * n_bins / s->n_steps);
            if (isnan(x[step])) continue;
            out[bin] += x[step];
            n[bin]++;
            any = true;
        }
    }
    for (int i = 0; i < n_bins; i++) out[i] = n[i] ? out[i] / n[i] : NAN;
    mem_free(n);
    return any;
}

int plot_block(struct figure *f, const char *name, const struct study *s, int lane, enum quantity q, int n_bins,
               double *max)
{
    const size_t n = (size_t)n_bins, n_texts = (size_t)s->n_texts;
    double *x = NULL;
    bool any = false;
    TRY(MEM_NEW(&x, n * (n_texts + 1), "curves"), "plot");
    for (size_t text = 0; text < n_texts; text++) any |= plot_curve(s, lane, q, (int)text, n_bins, x + text * n);
    for (size_t i = 0; i < n; i++) { /* a text counts once, however many runs it has */
        double sum = 0;
        int n_values = 0;
        for (size_t text = 0; text < n_texts; text++) {
            if (isnan(x[text * n + i])) continue;
            sum += x[text * n + i];
            n_values++;
        }
        x[n_texts * n + i] = n_values ? sum / n_values : NAN;
    }
    if (any) figure_data(f, name);
    for (size_t i = 0; i < n && any; i++) {
        if (isnan(x[n_texts * n + i])) continue;
        fprintf(f->script.file, "%g", ((double)i + 0.5) * s->n_steps / n_bins - 0.5);
        for (size_t text = 0; text <= n_texts; text++) {
            const double value = x[text * n + i];
            if (isnan(value))
                fputs(" ?", f->script.file);
            else
                fprintf(f->script.file, " %.5g", value);
            if (value > *max) *max = value;
        }
        fputc('\n', f->script.file);
    }
    if (any) figure_data_end(f);
    mem_free(x);
    return any ? 0 : 1;
}

double plot_ceil(double x)
{
    static const double rounds[] = { 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10 };
    if (!(x > 0) || isinf(x)) return 1;
    const double power = pow(10, floor(log10(x)));
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++)
        if (rounds[i] * power >= x) return rounds[i] * power;
    return 10 * power;
}

double plot_tick(double max, int n)
{
    static const double rounds[] = { 1, 2, 2.5, 5, 10 };
    if (!(max > 0) || isinf(max)) return 1;
    const double least = max / n * (1 - 1e-9), power = pow(10, floor(log10(least)));
    for (size_t i = 0; i < sizeof rounds / sizeof rounds[0]; i++)
        if (rounds[i] * power >= least) return rounds[i] * power;
    return 10 * power;
}

const char *plot_count(const struct study *s, char *text, size_t n_bytes)
{
    snprintf(text, n_bytes, "n = %d text%s", s->n_texts, s->n_texts == 1 ? "" : "s");
    return text;
}

/* ---- all of them ---- */

const char *const plot_kind_names[N_PLOT_KINDS + 1] = { "stale-drift", "distance-to-clean", "distance-steps", "depth",
                                                        NULL };

static const struct plot_kind {
    int max_sets;
    const char *missing; /* what is said where there is nothing to draw; NULL: another figure says it */
    int (*draw)(struct figure *f, const struct plot_job *job);
} kinds[N_PLOT_KINDS] = {
    { 2, "stale drift is not drawn: no sparse lane has k_stale_drift (metric group cache)", plot_stale },
    { 2,
      "the distance to the clean lane is not drawn: no lane has k_accum, that is a clean twin and the metric group "
      "drift",
      plot_distance },
    { 2, NULL, plot_distance_steps },
    { 3, "drift by layer is not drawn: no sparse lane has k_drift (metric group drift), or the model has one layer",
      plot_depth },
};

static int kind_draw(struct plots *p, int k, const char *results, const struct study *s, const struct corners *c,
                     const char *suffix, struct notes *notes)
{
    const struct plot_kind *kind = &kinds[k];
    int n_drawn = 0;
    for (int first = 0; first < c->n_sets; first += kind->max_sets) {
        const struct plot_job job = { s, c, first,
                                      c->n_sets - first < kind->max_sets ? c->n_sets - first : kind->max_sets };
        char name[96];
        if (p->n_figures == MAX_FIGURES)
            return notes_add(notes, "%s: only the first %d figures are drawn; from set %s on they are left out",
                             plot_kind_names[k], MAX_FIGURES, c->sets[first].title);
        if (first == 0)
            snprintf(name, sizeof name, "%s%.60s", plot_kind_names[k], suffix);
        else
            snprintf(name, sizeof name, "%s%.60s-%d", plot_kind_names[k], suffix, first / kind->max_sets + 1);
        struct figure *f = &p->figures[p->n_figures];
        int rc = figure_open(f, results, name);
        if (rc == 0) rc = kind->draw(f, &job);
        if (rc == 0) rc = figure_draw(f);
        figure_close(f);
        if (rc < 0) return -1;
        p->n_figures += rc == 0;
        n_drawn += rc == 0;
    }
    return n_drawn || !kind->missing ? 0 : notes_add(notes, "%s", kind->missing);
}

int plots_draw(struct plots *p, const char *results, const struct study *s, const struct corners *c, const char *suffix,
               struct notes *notes)
{
    *p = (struct plots){ 0 };
    TRY(MEM_NEW(&p->figures, MAX_FIGURES, "figures"), "plots");
    if (c->n_sets == 0)
        return notes_add(notes, "%s: no lane is sparse with a cache of its own: there is nothing to draw", s->key);
    for (int k = 0; k < N_PLOT_KINDS; k++)
        if (kind_draw(p, k, results, s, c, suffix, notes) != 0) return -1;
    return 0;
}

void plots_close(struct plots *p)
{
    for (int i = 0; i < p->n_figures; i++) figure_close(&p->figures[i]);
    mem_free(p->figures);
    *p = (struct plots){ 0 };
}
