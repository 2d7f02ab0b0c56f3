#include "experiments/session.h"

#include "core/err.h"
#include "core/info.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int complain(int status)
{
    fputs("resa: error: ", stderr);
    info_text(stderr, fail_text(), 0); /* it may quote a file */
    fputc('\n', stderr);
    return status;
}

static const struct backend *backend_find(const char *name)
{
    for (int i = 0; backends[i]; i++)
        if (strcmp(backends[i]->name, name) == 0) return backends[i];
    return NULL;
}

static int check_selectors(const struct plan *plan, const struct backend *be)
{
    for (int i = 0; i < plan->runs[0].n_lanes; i++) {
        const struct lane_spec *l = &plan->runs[0].lanes[i];
        if (!be->selects[l->selector]) return fail("device: %s has no operation for the selector of lane %s", be->name, l->name);
    }
    return 0;
}

/* A machine without such a device is what `auto` is for; anything else that keeps it from being used is told. */
static void say_fallback(const struct backend *be)
{
    if (!be->absent || be->absent()) return;
    fputs("resa: device: auto: the CPU, because CUDA cannot be used: ", stderr);
    info_text(stderr, fail_text(), 0);
    fputc('\n', stderr);
}

static int refuse_device(const char *device)
{
    char why[400];
    snprintf(why, sizeof why, "%s", fail_text());
    return fail("device: %s: %s; device=cpu needs none", device, why);
}

int session_pick_backend(const struct plan *plan, const struct backend **be, struct device **dev)
{
    const struct config *c = &plan->config;
    static const char *const names[] = { [DEVICE_AUTO] = "cuda", [DEVICE_CPU] = "", [DEVICE_CUDA] = "cuda", [DEVICE_CUDA_BF16] = "cuda-bf16",
                                         [DEVICE_CUDA_INT4] = "cuda-int4" };
    const struct backend *cuda = backend_find(names[c->device]);
    *be = NULL;
    if (c->device != DEVICE_CPU && c->device != DEVICE_AUTO && !cuda)
        return fail("device: %s: this program was built without CUDA; device=cpu needs none", c->device_text);
    *be = cuda ? cuda : backends[0];
    if ((*be)->open(dev, c->device_index) != 0) {
        if (c->device != DEVICE_AUTO) return refuse_device(c->device_text);
        say_fallback(*be);
        *be = backends[0];
        TRY((*be)->open(dev, 0), "device: cpu");
    }
    return check_selectors(plan, *be);
}

int session_check_memory(const struct backend *be, const struct device *dev, uint64_t need_bytes, const char *what)
{
    const uint64_t free_bytes = be->free_bytes(dev);
    if (free_bytes == 0 && be != backends[0]) return fail("%s: device %s does not say how much memory is free", what, be->name);
    if (free_bytes == 0 || need_bytes <= free_bytes) return 0; /* a host without /proc */
    return fail("%s: %.0f MiB of memory are needed on device %s, %.0f MiB are free", what, (double)need_bytes / 1048576, be->name,
                (double)free_bytes / 1048576);
}

int session_open(struct session *s, const char *config, int n_overrides, char *const *overrides)
{
    struct config c = { 0 };
    *s = (struct session){ 0 };
    if (config_open(&c, config, n_overrides, overrides) != 0) {
        if (config_n_errors(&c) > 0)
            config_print_errors(&c, stderr);
        else
            complain(EXIT_USAGE);
        config_close(&c);
        return EXIT_USAGE;
    }
    if (config_open_model(&c, &s->model) != 0) { /* a missing or damaged file, no memory */
        config_close(&c);
        return complain(EXIT_FAILED);
    }
    if (plan_open(&s->plan, &c, &s->model) == 0) return EXIT_OK;
    if (config_n_errors(&s->plan.config) == 0) return complain(EXIT_FAILED);
    config_print_errors(&s->plan.config, stderr);
    return EXIT_USAGE;
}

static int open_device(struct session *s, int argc, char *const *argv)
{
    TRY(session_pick_backend(&s->plan, &s->be, &s->dev), "%s", s->plan.config.path);
    TRY(provenance_open(&s->provenance, argc, argv), "provenance");
    snprintf(s->provenance.device, sizeof s->provenance.device, "%s", s->be->name);
    snprintf(s->provenance.numbers, sizeof s->provenance.numbers, "%s", s->be->numbers);
    s->be->identify(s->dev, &s->provenance);
    size_t n_bytes;
    FILE *f = open_memstream(&s->config_text, &n_bytes);
    if (!f) return fail("out of memory for the config's text");
    const int rc = plan_write_yaml(&s->plan, f);
    if (fclose(f) != 0 || rc != 0) return fail_in("the config's text");
    TRY(session_check_memory(s->be, s->dev, weights_bytes(s->be, &s->model), "the model's weights"), "%s", s->plan.config.path);
    return 0;
}

int session_open_device(struct session *s, int argc, char *const *argv)
{
    return open_device(s, argc, argv) == 0 ? EXIT_OK : complain(EXIT_FAILED);
}

int session_open_weights(struct session *s)
{
    return weights_open(&s->weights, s->be, s->dev, &s->model) == 0 ? EXIT_OK : complain(EXIT_FAILED);
}

void session_close(struct session *s)
{
    weights_close(&s->weights);
    if (s->dev) s->be->close(s->dev);
    provenance_close(&s->provenance);
    free(s->config_text);
    plan_close(&s->plan);
    model_close(&s->model);
}
