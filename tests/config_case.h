/* A config written to a scratch file and opened, for the tests of config and plan.  Include after cmocka.h. */
#ifndef TESTS_CONFIG_CASE_H
#define TESTS_CONFIG_CASE_H

#include "core/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64];

static inline int scratch_make(void **unused)
{
    (void)unused;
    strcpy(scratch, "/tmp/resa-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(void **unused)
{
    (void)unused;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    return system(command);
}

static inline const char *scratch_path(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

static inline void scratch_write(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(scratch_path(name), "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) fail_msg("%s cannot be written", scratch_path(name));
}

/* Opens `text` as x.yaml with up to one override. */
static inline int case_open(struct config *c, const char *text, const char *override)
{
    char *overrides[] = { (char *)(size_t) override };
    memset(c, 0, sizeof *c);
    scratch_write("x.yaml", text, strlen(text));
    return config_open(c, scratch_path("x.yaml"), override ? 1 : 0, overrides);
}

/* What config_print_errors() prints; freed by the caller. */
static inline char *case_errors(const struct config *c)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) fail_msg("no memory");
    config_print_errors(c, f);
    fclose(f);
    return text;
}

#endif
