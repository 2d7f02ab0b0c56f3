#include "analysis/growth_law.h"

#include "core/err.h"

#include <gsl/gsl_errno.h>
#include <gsl/gsl_fit.h>
#include <gsl/gsl_min.h>
#include <math.h>
#include <stddef.h>

/* TOLERANCE: of the shape's logarithm, far below what any data hold. */
static const double TOLERANCE = 1e-5, MIN_EXPONENT = 0.1, MAX_EXPONENT = 2, MIN_SCALE = 1, MAX_SCALE_RATIO = 2;
enum { MAX_REFINEMENTS = 60 };

const struct growth_law_def growth_law_defs[N_GROWTH_LAWS] = {
    [LAW_CONSTANT] = { "constant", 1, { "jump" }, "jump" },
    [LAW_LINEAR] = { "linear", 2, { "jump", "growth" }, "jump + growth (s - 1)" },
    [LAW_LOGARITHMIC] = { "logarithmic", 2, { "jump", "growth" }, "jump + growth ln s" },
    [LAW_POWER] = { "power", 3, { "jump", "growth", "exponent" }, "jump + growth (s - 1)^exponent" },
    [LAW_SATURATING] = { "saturating", 3, { "jump", "growth", "scale" }, "jump + growth (1 - exp(-(s - 1) / scale))" },
};

/* f - jump where growth is 1. */
static double law_curve(enum growth_law law, double shape, double s)
{
    switch (law) {
    case LAW_LINEAR:
        return s - 1;
    case LAW_LOGARITHMIC:
        return log(s);
    case LAW_POWER:
        return pow(s - 1, shape);
    case LAW_SATURATING:
        return -expm1(-(s - 1) / shape);
    default:
        return 0;
    }
}

static double weighted_mean(const struct growth_axis *a, const double *y)
{
    double sum = 0, weights = 0;
    for (int i = 0; i < a->n; i++) {
        sum += a->weight[i] * y[i];
        weights += a->weight[i];
    }
    return sum / weights;
}

/* Of y about its weighted mean. */
static double weighted_squares(const struct growth_axis *a, const double *y)
{
    const double mean = weighted_mean(a, y);
    double squares = 0;
    for (int i = 0; i < a->n; i++) squares += a->weight[i] * (y[i] - mean) * (y[i] - mean);
    return squares;
}

static void score_make(const struct growth_axis *a, enum growth_law law, double shape, double *score)
{
    double curve[GROWTH_MAX_BINS];
    for (int i = 0; i < a->n; i++) curve[i] = law_curve(law, shape, a->s[i]);
    const double mean = weighted_mean(a, curve), norm = sqrt(weighted_squares(a, curve));
    for (int i = 0; i < a->n; i++) score[i] = norm > 0 ? a->weight[i] * (curve[i] - mean) / norm : 0;
}

static void shapes_make(struct growth_axis *a, enum growth_law law, double low, double high)
{
    const int n = a->n_shapes[law];
    for (int i = 0; i < n; i++) {
        a->shapes[law][i] = n == 1 ? low : low * pow(high / low, (double)i / (n - 1));
        score_make(a, law, a->shapes[law][i], a->scores[law][i]);
    }
}

int growth_axis_open(struct growth_axis *a, const double *s, const double *weight, int n, double s_max)
{
    *a = (struct growth_axis){ 0 };
    if (n < GROWTH_MIN_BINS || n > GROWTH_MAX_BINS)
        return fail("%d bins of stale tokens: a law needs %d to %d", n, GROWTH_MIN_BINS, GROWTH_MAX_BINS);
    for (int i = 0; i < n; i++) {
        if (!(s[i] >= 1) || !(weight[i] > 0) || (i > 0 && !(s[i] > s[i - 1])))
            return fail("bin %d of stale tokens: %g tokens of weight %g", i, s[i], weight[i]);
        a->s[i] = s[i];
        a->weight[i] = weight[i];
    }
    if (!(s_max >= s[n - 1])) return fail("the longest staleness, %g, is in no bin", s_max);
    a->n = n;
    a->s_max = s_max;
    for (int law = 0; law < N_GROWTH_LAWS; law++)
        a->n_shapes[law] = growth_law_defs[law].n_parameters == GROWTH_PARAMETERS ? GROWTH_SHAPES : 1;
    shapes_make(a, LAW_CONSTANT, 1, 1);
    shapes_make(a, LAW_LINEAR, 1, 1);
    shapes_make(a, LAW_LOGARITHMIC, 1, 1);
    shapes_make(a, LAW_POWER, MIN_EXPONENT, MAX_EXPONENT);
    shapes_make(a, LAW_SATURATING, MIN_SCALE, MAX_SCALE_RATIO * s_max);
    return 0;
}

double growth_at(const struct growth_fit *fit, double s)
{
    if (s < 1) return 0;
    if (fit->law == LAW_CONSTANT) return fit->parameters[0];
    return fit->parameters[0] + fit->parameters[1] * law_curve(fit->law, fit->parameters[2], s);
}

/* y = jump + growth * curve, growth at least 0.  Returns the weighted sum of squared residuals. */
static double line_fit(const struct growth_axis *a, const double *curve, const double *y, double *jump, double *growth)
{
    double cov00, cov01, cov11, squares;
    const int rc =
        gsl_fit_wlinear(curve, 1, a->weight, 1, y, 1, (size_t)a->n, jump, growth, &cov00, &cov01, &cov11, &squares);
    if (rc == GSL_SUCCESS && *growth >= 0) return squares;
    *jump = weighted_mean(a, y);
    *growth = 0;
    return weighted_squares(a, y);
}

/* ---- the shape ---- */

struct shape_search {
    const struct growth_axis *axis;
    const double *y;
    enum growth_law law;
};

static double shape_squares(double log_shape, void *data)
{
    const struct shape_search *search = data;
    double curve[GROWTH_MAX_BINS], jump, growth;
    for (int i = 0; i < search->axis->n; i++) curve[i] = law_curve(search->law, exp(log_shape), search->axis->s[i]);
    return line_fit(search->axis, curve, search->y, &jump, &growth);
}

/* Brent's method in the logarithm of the shape.  best: the grid's, which stays where it is no minimum between its neighbours. */
static double shape_refine(struct shape_search *search, int best, const double *squares)
{
    const double *shapes = search->axis->shapes[search->law];
    gsl_function f = { .function = shape_squares, .params = search };
    double low = log(shapes[best - 1]), high = log(shapes[best + 1]), at = log(shapes[best]);
    gsl_min_fminimizer *m = gsl_min_fminimizer_alloc(gsl_min_fminimizer_brent);
    if (!m) return shapes[best];
    int rc =
        gsl_min_fminimizer_set_with_values(m, &f, at, squares[best], low, squares[best - 1], high, squares[best + 1]);
    for (int i = 0; i < MAX_REFINEMENTS && rc == GSL_SUCCESS; i++) {
        rc = gsl_min_fminimizer_iterate(m);
        at = gsl_min_fminimizer_x_minimum(m);
        low = gsl_min_fminimizer_x_lower(m);
        high = gsl_min_fminimizer_x_upper(m);
        if (gsl_min_test_interval(low, high, TOLERANCE, 0) == GSL_SUCCESS) break;
    }
    gsl_min_fminimizer_free(m);
    return exp(at);
}

void growth_fit_law(const struct growth_axis *a, enum growth_law law, const double *y, struct growth_fit *fit)
{
    const double all = weighted_squares(a, y);
    double squares[GROWTH_SHAPES] = { 0 }, curve[GROWTH_MAX_BINS], jump, growth;
    int best = 0;
    *fit = (struct growth_fit){ .law = law, .parameters = { NAN, NAN, NAN } };
    for (int i = 0; i < a->n_shapes[law]; i++) {
        double taken = 0;
        for (int bin = 0; bin < a->n; bin++) taken += a->scores[law][i][bin] * y[bin];
        squares[i] = taken > 0 ? all - taken * taken : all;
        if (squares[i] < squares[best]) best = i;
    }
    double shape = a->shapes[law][best];
    if (best > 0 && best < a->n_shapes[law] - 1 && squares[best] < squares[best - 1] &&
        squares[best] < squares[best + 1])
        shape = shape_refine(&(struct shape_search){ a, y, law }, best, squares);
    for (int i = 0; i < a->n; i++) curve[i] = law_curve(law, shape, a->s[i]);
    fit->squares = line_fit(a, curve, y, &jump, &growth);
    fit->parameters[0] = jump;
    if (growth_law_defs[law].n_parameters > 1) fit->parameters[1] = growth;
    if (growth_law_defs[law].n_parameters > 2) fit->parameters[2] = shape;
}

int growth_fit_at_bound(const struct growth_axis *a, const struct growth_fit *fit)
{
    const int n = a->n_shapes[fit->law];
    if (n == 1) return 0;
    const double *shapes = a->shapes[fit->law];
    return !(fit->parameters[2] > shapes[0] && fit->parameters[2] < shapes[n - 1]);
}
