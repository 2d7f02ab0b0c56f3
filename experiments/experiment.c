#include "experiments/experiment.h"

#include <string.h>

const struct experiment *const experiments[] = { &experiment_drift, &experiment_latency, NULL };

const struct experiment *experiment_find(const char *name)
{
    for (int i = 0; experiments[i]; i++)
        if (strcmp(experiments[i]->name, name) == 0) return experiments[i];
    return NULL;
}
