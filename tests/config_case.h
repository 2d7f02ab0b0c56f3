/* A config written to a scratch file and opened, for the tests of config and plan.  Include after cmocka.h. */
#ifndef TESTS_CONFIG_CASE_H
#define TESTS_CONFIG_CASE_H

#include "core/config.h"
#include "tests/temp_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opens `text` as x.yaml with up to one override. */
static inline int case_open(struct config *c, const char *text, const char *override)
{
    char *overrides[] = { (char *)(size_t) override };
    memset(c, 0, sizeof *c);
    temp_write("x.yaml", text, strlen(text));
    return config_open(c, temp_path("x.yaml"), override ? 1 : 0, overrides);
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
