#include "analysis/drift_where.h"

#include "core/err.h"
#include "core/mem.h"

#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

/* ---- depth ---- */

void where_stale_layers(const struct study *s, int lane, enum study_map map, double *out)
{
    const size_t one = (size_t)s->n_layers * STUDY_STALE_BINS;
    for (int text = 0; text < s->n_texts; text++) {
        double *at = out + (size_t)text * one;
        if (!study_stale_map(s, map, text, lane, at))
            for (size_t i = 0; i < one; i++) at[i] = NAN;
    }
}

int where_layers(const struct study *s, int lane, enum study_map map, double *out)
{
    double *cells = NULL, mean[STUDY_STALE_BINS];
    int n[STUDY_STALE_BINS];
    TRY(MEM_NEW(&cells, (size_t)s->n_layers * STUDY_STALE_BINS, "layers"), "%s", s->key);
    for (int text = 0; text < s->n_texts; text++) {
        const bool any = study_stale_map(s, map, text, lane, cells) &&
                         study_stale_curve(s, text, lane, study_map_quantities[map], STUDY_ABSENT, mean, n);
        for (int layer = 0; layer < s->n_layers; layer++) {
            double sum = 0, steps = 0;
            for (int bin = 0; bin < STUDY_STALE_BINS && any; bin++) {
                const double x = cells[layer * STUDY_STALE_BINS + bin];
                if (isnan(x) || n[bin] == 0) continue;
                sum += x * n[bin];
                steps += n[bin];
            }
            out[text * s->n_layers + layer] = steps > 0 ? sum / steps : NAN;
        }
    }
    mem_free(cells);
    return 0;
}

/* ---- place in the block, stale tokens ---- */

void where_slots(const struct study *s, int lane, enum quantity q, double *out)
{
    for (int text = 0; text < s->n_texts; text++) {
        double sum[STUDY_SLOTS] = { 0 }, n[STUDY_SLOTS] = { 0 };
        for (int run = 0; run < s->n_runs; run++) {
            const float *x = s->runs[run].text == text ? study_series(s, run, lane, q) : NULL;
            for (int step = 0; x && step < s->runs[run].n_steps; step++) {
                if (isnan(x[step])) continue;
                const int slot = study_slot_bin(study_slot(s, lane, step), s->lanes[lane].block_size);
                sum[slot] += (double)x[step];
                n[slot]++;
            }
        }
        for (int slot = 0; slot < STUDY_SLOTS; slot++)
            out[text * STUDY_SLOTS + slot] = n[slot] > 0 ? sum[slot] / n[slot] : NAN;
    }
}

void where_stale(const struct study *s, const int *lanes, int n_lanes, enum quantity q, double *out)
{
    for (int text = 0; text < s->n_texts; text++) {
        double sum[STUDY_STALE_BINS] = { 0 }, steps[STUDY_STALE_BINS] = { 0 }, mean[STUDY_STALE_BINS];
        int n[STUDY_STALE_BINS];
        for (int i = 0; i < n_lanes; i++) {
            if (!study_stale_curve(s, text, lanes[i], q, STUDY_ABSENT, mean, n)) continue;
            for (int bin = 0; bin < STUDY_STALE_BINS; bin++) {
                sum[bin] += n[bin] ? n[bin] * mean[bin] : 0;
                steps[bin] += n[bin];
            }
        }
        for (int bin = 0; bin < STUDY_STALE_BINS; bin++)
            out[text * STUDY_STALE_BINS + bin] = steps[bin] > 0 ? sum[bin] / steps[bin] : NAN;
    }
}

/* ---- against another quantity ---- */

struct place {
    double x;
    int at; /* of the steps that have both */
};

struct pairs {
    double *x, *y;       /* owned [n], at the steps that have both */
    double *work;        /* owned [2 n] */
    struct place *order; /* owned [n] */
    int n;
};

static int pairs_open(struct pairs *p, const struct study *s)
{
    int most = 1;
    for (int run = 0; run < s->n_runs; run++) most = s->runs[run].n_steps > most ? s->runs[run].n_steps : most;
    *p = (struct pairs){ 0 };
    TRY(MEM_NEW(&p->x, most, "steps"), "%s", s->key);
    TRY(MEM_NEW(&p->y, most, "steps"), "%s", s->key);
    TRY(MEM_NEW(&p->order, most, "steps"), "%s", s->key);
    return MEM_NEW(&p->work, 2 * (size_t)most, "steps");
}

static void pairs_close(struct pairs *p)
{
    mem_free(p->x);
    mem_free(p->y);
    mem_free(p->work);
    mem_free(p->order);
}

static void pairs_read(struct pairs *p, const struct study *s, int run, int lane, enum quantity y, enum quantity x)
{
    const float *a = study_series(s, run, lane, x), *b = study_series(s, run, lane, y);
    p->n = 0;
    for (int step = 0; a && b && step < s->runs[run].n_steps; step++) {
        if (isnan(a[step]) || isnan(b[step])) continue;
        p->x[p->n] = (double)a[step];
        p->y[p->n++] = (double)b[step];
    }
}

static bool varies(const double *x, int n)
{
    for (int i = 1; i < n; i++)
        if (x[i] < x[0] || x[i] > x[0]) return true;
    return false;
}

int where_ranks(const struct study *s, int lane, enum quantity y, enum quantity x, double *out)
{
    struct pairs p;
    const int rc = pairs_open(&p, s);
    for (int text = 0; text < s->n_texts && rc == 0; text++) {
        double sum = 0, n = 0;
        for (int run = 0; run < s->n_runs; run++) {
            if (s->runs[run].text != text) continue;
            pairs_read(&p, s, run, lane, y, x);
            if (p.n < WHERE_MIN_STEPS || !varies(p.x, p.n) || !varies(p.y, p.n)) continue;
            sum += gsl_stats_spearman(p.x, 1, p.y, 1, (size_t)p.n, p.work);
            n++;
        }
        out[text] = n > 0 ? sum / n : NAN;
    }
    pairs_close(&p);
    return rc;
}

/* Steps of the same x stay in their order, which says nothing of y. */
static int place_compare(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    return p->x < q->x || p->x > q->x ? (p->x > q->x) - (p->x < q->x) : p->at - q->at;
}

static void parts_add(struct pairs *p, double *sum_x, double *sum_y)
{
    for (int i = 0; i < p->n; i++) p->order[i] = (struct place){ p->x[i], i };
    qsort(p->order, (size_t)p->n, sizeof *p->order, place_compare);
    for (int part = 0; part < WHERE_PARTS; part++) {
        const int first = part * p->n / WHERE_PARTS, end = (part + 1) * p->n / WHERE_PARTS;
        double x = 0, y = 0;
        for (int i = first; i < end; i++) {
            x += p->order[i].x;
            y += p->y[p->order[i].at];
        }
        sum_x[part] += x / (end - first);
        sum_y[part] += y / (end - first);
    }
}

int where_parts(const struct study *s, int lane, enum quantity y, enum quantity x, double *out_x, double *out_y)
{
    struct pairs p;
    const int rc = pairs_open(&p, s);
    for (int text = 0; text < s->n_texts && rc == 0; text++) {
        double sum_x[WHERE_PARTS] = { 0 }, sum_y[WHERE_PARTS] = { 0 }, n = 0;
        for (int run = 0; run < s->n_runs; run++) {
            if (s->runs[run].text != text) continue;
            pairs_read(&p, s, run, lane, y, x);
            if (p.n < WHERE_MIN_STEPS) continue;
            parts_add(&p, sum_x, sum_y);
            n++;
        }
        for (int part = 0; part < WHERE_PARTS; part++) {
            out_x[text * WHERE_PARTS + part] = n > 0 ? sum_x[part] / n : NAN;
            out_y[text * WHERE_PARTS + part] = n > 0 ? sum_y[part] / n : NAN;
        }
    }
    pairs_close(&p);
    return rc;
}
