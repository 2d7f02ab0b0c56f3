/* Curves and maps of a study: what its series and grids say of one text, or of all. */
#include "analysis/study.h"

#include "analysis/study_load.h"
#include "analysis/study_store.h"

#include <math.h>


bool study_text_series(const struct study *s, int text, int lane, enum quantity q, double *out)
{
    bool any = false;
    int n_runs = 0;
    for (int i = 0; i < s->n_runs; i++) n_runs += s->runs[i].text == text;
    for (int step = 0; step < s->n_steps; step++) {
        double sum = 0;
        int n = 0;
        for (int i = 0; i < s->n_runs && n_runs > 0; i++) {
            const float *x = s->runs[i].text == text ? study_series(s, i, lane, q) : NULL;
            if (!x || step >= s->runs[i].n_steps || isnan(x[step])) continue;
            sum += (double)x[step];
            n++;
        }
        out[step] = n ? sum / n : NAN;
        any = any || n > 0;
    }
    return any;
}

bool study_stale_curve(const struct study *s, int text, int lane, enum quantity q, int slot, double *mean, int *n)
{
    double sum[STUDY_STALE_BINS] = { 0 };
    int count[STUDY_STALE_BINS] = { 0 };
    bool any = false;
    for (int i = 0; i < s->n_runs; i++) {
        const float *x = s->runs[i].text == text ? study_series(s, i, lane, q) : NULL,
                    *stale = x ? study_series(s, i, lane, QUANTITY_STALE_TOKENS) : NULL;
        for (int step = 0; stale && step < s->runs[i].n_steps; step++) {
            if (isnan(x[step]) || isnan(stale[step])) continue;
            if (slot != STUDY_ABSENT && study_slot(s, lane, step) != slot) continue;
            const int bin = study_stale_bin((int)stale[step]);
            sum[bin] += (double)x[step];
            count[bin]++;
            any = true;
        }
    }
    for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
        mean[bin] = count[bin] ? sum[bin] / count[bin] : NAN;
        if (n) n[bin] = count[bin];
    }
    return any;
}

/* A grid's lane as [layer][bin]; false: nothing at all. */
static bool grid_print(const struct study_grid *g, int lane, int n_bins, int n_layers, double *out)
{
    const size_t bins = (size_t)n_bins, layers = (size_t)n_layers, at = (size_t)lane * bins * layers;
    bool any = false;
    for (size_t layer = 0; layer < layers; layer++)
        for (size_t bin = 0; bin < bins; bin++) {
            const size_t i = at + bin * layers + layer;
            const uint32_t n = g->n ? g->n[i] : 0;
            out[layer * bins + bin] = n > 0 ? (double)g->sum[i] / n : NAN;
            any = any || n > 0;
        }
    return any;
}

bool study_map(const struct study *s, enum study_map map, int lane, double *out)
{
    return grid_print(&s->steps[map], lane, s->n_bins, s->n_layers, out);
}

/* Sums of a text's runs at one cell: *sum, *n, which are zero or more runs'. */
static void cell_sum(const struct study *s, enum study_axis axis, enum study_map map, int text, int lane, size_t cell,
                     double *sum, double *n)
{
    const size_t one = (size_t)study_axis_bins(s, axis) * (size_t)s->n_layers;
    for (int i = 0; i < s->n_runs; i++) {
        const struct study_run *run = &s->runs[i];
        const struct study_grid *g = &run->grids[axis][map];
        if (run->text != text || !g->sum || lane >= run->n_map || run->map[lane] < 0) continue;
        const size_t at = (size_t)run->map[lane] * one + cell;
        *sum += (double)g->sum[at];
        *n += g->n[at];
    }
}

static bool axis_map(const struct study *s, enum study_axis axis, enum study_map map, int text, int lane, double *out)
{
    const size_t bins = (size_t)study_axis_bins(s, axis), layers = (size_t)s->n_layers;
    const int first = text == STUDY_ABSENT ? 0 : text, last = text == STUDY_ABSENT ? s->n_texts - 1 : text;
    bool any = false;
    study_store_touch(s, (size_t)(last - first + 1) * bins * layers * (sizeof(float) + sizeof(uint32_t)));
    for (size_t layer = 0; layer < layers; layer++)
        for (size_t bin = 0; bin < bins; bin++) {
            double means = 0;
            int n_texts = 0;
            for (int k = first; k <= last; k++) {
                double sum = 0, n = 0;
                cell_sum(s, axis, map, k, lane, bin * layers + layer, &sum, &n);
                means += n > 0 ? sum / n : 0;
                n_texts += n > 0;
            }
            out[layer * bins + bin] = n_texts ? means / n_texts : NAN;
            any = any || n_texts > 0;
        }
    return any;
}

bool study_stale_map(const struct study *s, enum study_map map, int text, int lane, double *out)
{
    return axis_map(s, AXIS_STALE, map, text, lane, out);
}

bool study_slot_map(const struct study *s, enum study_map map, int text, int lane, double *out)
{
    return axis_map(s, AXIS_SLOT, map, text, lane, out);
}
