/* experiments/command_plan.c: `resa plan` and `resa fetch`: what happens before anything runs. */
#include "experiments/commands.h"
#include "experiments/session.h"

#include "core/err.h"
#include "core/model_known.h"
#include "core/plan_cost.h"

#include <stdio.h>
#include <string.h>

/* What the back end says of itself, and what the device has free. */
static int price(struct session *s)
{
    struct cost_inputs in;
    cost_inputs_default(&in, &s->model);
    TRY(session_pick_backend(&s->plan, &s->be, &s->dev), "%s", s->plan.config.path);
    in.weight_bytes = weights_bytes(s->be, &s->model);
    return plan_price(&s->plan, &s->model, &in);
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
        int rc = price(&s);
        if (rc == 0) rc = plan_print(&s.plan, &s.model, stdout);
        if (rc != 0) status = complain(EXIT_FAILED);
    }
    session_close(&s);
    return status;
}

static int fetch_known(const char *name)
{
    return model_fetch(name, true) == 0 ? EXIT_OK : complain(EXIT_FAILED);
}

int command_fetch(int argc, char **argv)
{
    struct config c = { 0 };
    if (argc < 2) {
        fprintf(stderr, "usage: resa fetch MODEL | CONFIG [key=value ..]\nknown models: %s\n", model_known_names());
        return EXIT_USAGE;
    }
    if (argc == 2 && model_is_known(argv[1])) return fetch_known(argv[1]);
    int status = EXIT_OK;
    if (config_open(&c, argv[1], argc - 2, argv + 2) != 0) {
        status = EXIT_USAGE;
        if (config_n_errors(&c) > 0)
            config_print_errors(&c, stderr);
        else
            complain(status);
    } else if (c.model && model_is_known(c.model)) {
        status = fetch_known(c.model);
    }
    config_close(&c);
    return status;
}
