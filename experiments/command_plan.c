/* experiments/command_plan.c: `resa plan` and `resa fetch`: what happens before anything runs. */
#include "experiments/commands.h"
#include "experiments/progress.h"
#include "experiments/session.h"

#include "core/err.h"
#include "core/mem.h"
#include "core/model_known.h"
#include "core/plan_cost.h"
#include "core/text_fetch.h"

#include <stdio.h>
#include <string.h>

enum { RATE_ROWS = 24 };
static const double RATE_SECONDS = 0.2;

/* FLOP/s of one of the model's own products on this device, the best within RATE_SECONDS: what the estimate of time goes by. */
static int product_rate(struct session *s, struct matrix *m, const struct tensor *up, float *buffer, double *flop_per_second)
{
    const struct product_args a = { .n_rows = RATE_ROWS, .w = m, .x = buffer, .y = buffer + (size_t)RATE_ROWS * (size_t)up->n_cols };
    const double flop = 2.0 * RATE_ROWS * up->n_rows * up->n_cols;
    *flop_per_second = 0;
    for (const double start = progress_seconds(); progress_seconds() - start < RATE_SECONDS;) {
        const double from = progress_seconds();
        TRY(s->be->product(s->dev, &a), "product");
        TRY(s->be->sync(s->dev), "product");
        const double rate = flop / (progress_seconds() - from);
        if (rate > *flop_per_second) *flop_per_second = rate;
    }
    return 0;
}

static int measure_rate(struct session *s, double *flop_per_second)
{
    const struct tensor *const up = &s->model.layers[0].up;
    const size_t n_bytes = (size_t)RATE_ROWS * ((size_t)up->n_cols + (size_t)up->n_rows) * sizeof(float);
    struct matrix *m = NULL;
    float *buffer = NULL, *zero = NULL;
    const struct work_extent extent = { .max_rows = RATE_ROWS, .max_context = RATE_ROWS };
    int rc = s->be->reserve(s->dev, &s->model.shape, &extent);
    if (rc == 0) rc = s->be->layer_matrix_pack(s->dev, &m, &up, 1);
    if (rc == 0) rc = s->be->alloc(s->dev, (void **)&buffer, n_bytes, "rate");
    if (rc == 0) rc = mem_alloc((void **)&zero, 1, n_bytes, "rate");
    if (rc == 0) rc = s->be->upload(s->dev, buffer, zero, n_bytes);
    if (rc == 0) rc = product_rate(s, m, up, buffer, flop_per_second);
    mem_free(zero);
    s->be->release(s->dev, buffer);
    s->be->matrix_free(s->dev, m);
    return rc;
}

/* Prices the plan with what the device says and shows of itself; without the device that is named, with what its back end would hold, and
 * without a time. */
static int price(struct session *s)
{
    struct cost_inputs in;
    char what[200];
    cost_inputs_default(&in, &s->model);
    int rc = session_pick_backend(&s->plan, &s->be, &s->dev);
    if (rc != 0) fail_in("%s", s->plan.config.path);
    if (s->be) {
        in.be = s->be;
        in.weight_bytes = weights_bytes(s->be, &s->model);
    }
    if (rc != 0) in.flop_per_second = 0;
    if (rc == 0 && s->be) rc = measure_rate(s, &in.flop_per_second);
    TRY(plan_price(&s->plan, &s->model, &in), "%s", s->plan.config.path);
    for (int i = 0; i < s->plan.n_runs && rc == 0; i++) {
        snprintf(what, sizeof what, "run %s", s->plan.runs[i].id);
        rc = session_check_memory(s->be, s->dev, s->plan.runs[i].peak_bytes, what);
    }
    return rc;
}

int command_plan(int argc, char **argv)
{
    struct session s = { 0 };
    if (argc < 2) {
        fprintf(stderr, "usage: resa plan CONFIG [key=value ..]\n");
        return EXIT_USAGE;
    }
    int status = session_open(&s, argv[1], argc - 2, argv + 2);
    if (status == EXIT_OK) {
        const int priced = price(&s);
        if (priced != 0) status = complain(EXIT_FAILED); /* the plan is shown all the same */
        if (plan_print(&s.plan, &s.model, stdout) != 0) status = complain(EXIT_FAILED);
    }
    session_close(&s);
    return status;
}

static int fetch_model(const char *name)
{
    return model_fetch(name, true) == 0 ? EXIT_OK : complain(EXIT_FAILED);
}

/* Every known text that matches. */
static int fetch_texts(const char *pattern)
{
    for (const struct text_package *t = NULL; (t = text_known_next(pattern, t)) != NULL;)
        if (text_fetch(t, true) != 0) return complain(EXIT_FAILED);
    return EXIT_OK;
}

/* What a config names that can be fetched. */
static int fetch_config(const struct config *c)
{
    int status = c->model && model_is_known(c->model) ? fetch_model(c->model) : EXIT_OK;
    for (int i = 0; i < c->prompt.n_texts && c->prompt.kind == PROMPT_FILE && status == EXIT_OK; i++)
        if (text_known_pattern(c->prompt.texts[i])) status = fetch_texts(text_known_pattern(c->prompt.texts[i]));
    return status;
}

int command_fetch(int argc, char **argv)
{
    struct config c = { 0 };
    if (argc < 2) {
        fprintf(stderr, "usage: resa fetch MODEL | %sTEXT | CONFIG [key=value ..]\nknown models: %s\nknown texts: %s\n", TEXT_PREFIX,
                model_known_names(), text_known_names());
        return EXIT_USAGE;
    }
    const char *text = text_known_pattern(argv[1]);
    if (argc == 2 && model_is_known(argv[1])) return fetch_model(argv[1]);
    if (argc == 2 && text && text_known_next(text, NULL)) return fetch_texts(text);
    int status = EXIT_OK;
    if (config_open(&c, argv[1], argc - 2, argv + 2) == 0) {
        status = fetch_config(&c);
    } else {
        status = EXIT_USAGE;
        if (config_n_errors(&c) > 0)
            config_print_errors(&c, stderr);
        else
            complain(status);
    }
    config_close(&c);
    return status;
}
