#include "analysis/plot_curve.h"

#include "analysis/words.h"

#include "core/err.h"
#include "core/mem.h"

#include <gsl/gsl_cdf.h>
#include <math.h>
#include <stdio.h>

/* ---- numbers ---- */

/* A text's curve, the mean over its runs: out [n_bins], NaN where there is none; x, y: room for steps. */
static void text_curve(const struct study *s, struct plot_source source, struct plot_span span, int text, double *out,
                       double *x, double *y)
{
    const bool there = study_text_series(s, text, source.lane, source.quantity, x) &&
                       (source.minus == STUDY_ABSENT || study_text_series(s, text, source.minus, source.quantity, y));
    for (int bin = 0; bin < span.n_bins; bin++) {
        double sum = 0;
        int n = 0;
        const int first = (int)((long long)bin * span.n_steps / span.n_bins),
                  end = (int)((bin + 1LL) * span.n_steps / span.n_bins);
        for (int step = span.first + first; step < span.first + end && there; step++) {
            const double value = x[step] - (source.minus == STUDY_ABSENT ? 0 : y[step]);
            if (isnan(value)) continue;
            sum += value;
            n++;
        }
        out[bin] = n ? sum / n : NAN;
    }
}

static void reach(struct plot_range *range, double value)
{
    if (value > range->max) range->max = value;
    if (value < range->min) range->min = value;
}

static void number_write(FILE *out, double value)
{
    if (isnan(value))
        fputs(" ?", out);
    else
        fprintf(out, " %.5g", value);
}

static void estimate_write(FILE *out, double x, struct estimate e, struct plot_range *range)
{
    fprintf(out, "%.6g", x);
    number_write(out, e.mean);
    number_write(out, e.low);
    number_write(out, e.high);
    reach(range, e.mean);
    reach(range, e.low);
    reach(range, e.high);
}

void plot_point(FILE *script, double x, struct estimate e, struct plot_range *range)
{
    estimate_write(script, x, e, range);
    fputc('\n', script);
}

/* Mean and Student's interval: a bootstrap at each of a curve's hundreds of places would take minutes. */
static struct estimate estimate_of_place(const double *values, int n)
{
    struct estimate e = estimate_none();
    double squares = 0;
    for (int i = 0; i < n; i++) e.n += !isnan(values[i]);
    e.mean = mean_of(values, (size_t)n);
    for (int i = 0; i < n; i++)
        if (!isnan(values[i])) squares += (values[i] - e.mean) * (values[i] - e.mean);
    if (e.n > 1) e.error = sqrt(squares / (e.n - 1) / e.n);
    if (e.n < ESTIMATE_MIN_TEXTS) return e;
    e.low = e.mean - gsl_cdf_tdist_Pinv(0.975, e.n - 1) * e.error;
    e.high = e.mean + gsl_cdf_tdist_Pinv(0.975, e.n - 1) * e.error;
    return e;
}

/* A place of a curve, where a text has a value: its line of the block. */
static void place_write(FILE *out, double x, const double *values, int n_texts, bool bars, struct plot_range *range)
{
    const struct estimate e = bars ? estimate_of(values, n_texts) : estimate_of_place(values, n_texts);
    if (e.n == 0) return;
    estimate_write(out, x, e, range);
    for (int text = 0; text < n_texts && n_texts < ESTIMATE_MIN_TEXTS; text++) {
        number_write(out, values[text]);
        reach(range, values[text]);
    }
    fputc('\n', out);
}

int plot_block_of(struct figure *f, const char *block, const double *x, const double *values, int n_texts, int n,
                  bool bars, struct plot_range *range)
{
    double *at = NULL;
    bool any = false;
    TRY(MEM_NEW(&at, n_texts, "texts"), "plot %s", f->name);
    for (size_t i = 0; i < (size_t)n_texts * (size_t)n; i++) any = any || !isnan(values[i]);
    if (any) figure_data(f, block);
    for (int i = 0; i < n && any; i++) {
        for (int text = 0; text < n_texts; text++) at[text] = values[(size_t)text * (size_t)n + (size_t)i];
        place_write(f->script.file, x[i], at, n_texts, bars, range);
    }
    if (any) figure_data_end(f);
    mem_free(at);
    return any ? 0 : 1;
}

int plot_block(struct figure *f, const char *block, const struct study *s, struct plot_source source,
               struct plot_span span, struct plot_range *range)
{
    const size_t n = (size_t)span.n_bins;
    double *values = NULL, *x = NULL, *steps = NULL;
    int rc = MEM_NEW(&values, n * (size_t)s->n_texts, "curves");
    if (rc == 0) rc = MEM_NEW(&x, n, "curves");
    if (rc == 0) rc = MEM_NEW(&steps, 2 * s->n_steps, "curves");
    for (int text = 0; text < s->n_texts && rc == 0; text++)
        text_curve(s, source, span, text, values + (size_t)text * n, steps, steps + s->n_steps);
    for (size_t i = 0; i < n && rc == 0; i++) x[i] = span.first + ((double)i + 0.5) * span.n_steps / span.n_bins - 0.5;
    if (rc == 0) rc = plot_block_of(f, block, x, values, s->n_texts, span.n_bins, false, range);
    mem_free(values);
    mem_free(x);
    mem_free(steps);
    return rc;
}

/* ---- drawing ---- */

void plot_panel_add(struct plot_panel *p, const char *block, int style, int every)
{
    if (p->n == PLOT_MAX_CURVES) return;
    struct plot_curve *c = &p->curves[p->n++];
    snprintf(c->block, sizeof c->block, "%s", block);
    c->style = style;
    c->every = every;
}

/* What lies under the means: a band, or each text's line. */
static void under_draw(const struct plot_curve *c, int n_texts, const char *comma, FILE *out)
{
    const char *colour = figure_colours[c->style - 1] + 1;
    if (n_texts < ESTIMATE_MIN_TEXTS)
        fprintf(out, "%sfor [i=5:%d] $%s using 1:i with lines lw 0.5 lc rgb '#90%s'", comma, n_texts + 4, c->block,
                colour);
    else if (c->every == PLOT_BARS)
        fprintf(out, "%s$%s using 1:3:(0):($4-$3) with vectors nohead ls %d dt 1 lw 1", comma, c->block, c->style);
    else
        fprintf(out, "%s$%s using 1:3:4 with filledcurves fc rgb '#c8%s' fs solid noborder", comma, c->block, colour);
}

void plot_panel_draw(const struct plot_panel *p, FILE *out)
{
    const char *comma = "plot ";
    if (p->n == 0) {
        fputs("set label 3 'no values' at graph 0.5, graph 0.5 center\nplot NaN\n", out);
        return;
    }
    for (int i = 0; i < p->n; i++, comma = ", \\\n  ") under_draw(&p->curves[i], p->n_texts, comma, out);
    for (int i = 0; i < p->n; i++) {
        const struct plot_curve *c = &p->curves[i];
        fprintf(out, "%s$%s using 1:2 with ", comma, c->block);
        if (c->every == PLOT_BARS)
            fprintf(out, "linespoints ls %d lw 0.6", c->style);
        else if (c->every > 0)
            fprintf(out, "linespoints ls %d pointinterval %d", c->style, c->every);
        else
            fprintf(out, "lines ls %d lw 1%s", c->style,
                    c->style > 2 ? " dt (3,1)" : ""); /* long gaps would hide what lasts a few steps */
    }
    fputc('\n', out);
}

const char *plot_words_of_texts(const struct study *s, bool bars, char *text, size_t n_bytes)
{
    if (s->n_texts >= ESTIMATE_MIN_TEXTS)
        snprintf(text, n_bytes, "%s: means over texts (n = %d texts); %s.", bars ? "Points" : "Lines", s->n_texts,
                 bars ? "bars: 95 % intervals over texts"
                      : "bands: Student's 95 % intervals over texts, at each place by itself");
    else if (s->n_texts == 1)
        snprintf(text, n_bytes, "One text (n = 1): nothing is known about others.");
    else
        snprintf(text, n_bytes,
                 "%s: means over texts (n = %d texts), thin: each text; from %d texts on there is an interval.",
                 bars ? "Points" : "Thick lines", s->n_texts, ESTIMATE_MIN_TEXTS);
    return text;
}

void plot_note(struct plot_grid *g, const struct study *s)
{
    char runs[32] = "";
    if (s->n_runs != s->n_texts) snprintf(runs, sizeof runs, " (%d runs)", s->n_runs);
    snprintf(g->note, sizeof g->note, "n = %d text%s%s; unit of sampling: a text", s->n_texts, words_s(s->n_texts), runs);
}

/* ---- axes ---- */

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

static double axis_tick(struct plot_range range, int n_ticks)
{
    return plot_tick(range.max > range.min ? range.max - range.min : 1, n_ticks);
}

struct plot_range plot_axis_ends(struct plot_range range, int n_ticks)
{
    const double tick = axis_tick(range, n_ticks);
    return (struct plot_range){ range.min < 0 ? floor(range.min / tick * 2 - 1e-9) * tick / 2 : 0,
                                range.max > range.min ? ceil(range.max / tick * 2 - 1e-9) * tick / 2 : tick };
}

void plot_axis(FILE *script, char axis, int number, struct plot_range range, int n_ticks)
{
    const struct plot_range ends = plot_axis_ends(range, n_ticks);
    fprintf(script, "%c%d_low = %g; %c%d_high = %g; %c%d_tick = %g\n", axis, number, ends.min, axis, number, ends.max,
            axis, number, axis_tick(range, n_ticks));
}

void plot_axis_use(FILE *body, char axis, int number)
{
    fprintf(body, "set %crange [%c%d_low:%c%d_high]\nset %ctics nomirror out scale 0.4 %c%d_tick\n", axis, axis, number,
            axis, number, axis, axis, number);
}

void plot_x_steps(FILE *script, int first, int end)
{
    fprintf(script, "set xrange [%d:%d]\nset xtics nomirror out %g\n", first, end, plot_tick(end - first, 4));
}

void plot_x_stale(FILE *out, int max, bool numbers)
{
    fprintf(out, "set logscale x 2\nset xrange [0.4:%d]\nset xtics nomirror out scale 0.4,0 (\"%s\" %g", max,
            numbers ? "0" : "", PLOT_STALE_ZERO);
    for (int tick = 1; tick <= max; tick *= max > 1024 ? 8 : max > 64 ? 4 : 2)
        if (numbers)
            fprintf(out, ", \"%d\" %d", tick, tick);
        else
            fprintf(out, ", \"\" %d", tick);
    fputs(")\n", out);
}
