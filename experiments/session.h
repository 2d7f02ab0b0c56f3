/* experiments/session.h: what every command that works on a config opens: the config, its model, the plan, and for a run the
 * device with the model's weights on it. */
#ifndef EXPERIMENTS_SESSION_H
#define EXPERIMENTS_SESSION_H

#include "core/plan.h"
#include "core/provenance.h"
#include "core/weights.h"

struct session {
    struct model model;
    struct plan plan;
    const struct backend *be;
    struct device *dev;
    struct weights weights;
    struct provenance provenance;
    char *config_text;             /* owned by the C library: the plan as YAML, every default written out */
};

/* Exit status: EXIT_OK, or the message is printed and the status returned (EXIT_USAGE for what the config says wrong). */
int  session_open(struct session *s, const char *config, int n_overrides, char *const *overrides);
int  session_open_device(struct session *s, int argc, char *const *argv); /* refused where the weights do not fit */
int  session_open_weights(struct session *s);                             /* on the device */
void session_close(struct session *s);

/* The back end that the config's `device` names, opened; *be is set, with no device, where it is named and this build has it but the
 * device cannot be opened.  Fails where this machine or this build has none, or where it lacks an
 * operation that a selector of the plan needs. */
int  session_pick_backend(const struct plan *plan, const struct backend **be, struct device **dev);

/* Fails with both figures where less is free on the device than is needed; what: of what. */
int  session_check_memory(const struct backend *be, const struct device *dev, uint64_t need_bytes, const char *what);

/* "error: text" on stderr; returns status. */
int  complain(int status);

#endif
